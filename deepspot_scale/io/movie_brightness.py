"""The scale of a movie, measured on frames all over it.

The entry of a field, or of a segment of a movie, comes in; counts go out. Nothing here
knows what they are used for.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache

from deepspot_scale.io.field import Field, FieldEntry, open_field
from deepspot_scale.io.movie_frames import as_movie
from deepspot_scale.io.stores import is_url
from deepspot_scale.kernels.movie_scale import frame_top, movie_scale, sampled_frames


def open_movie(entry: FieldEntry) -> Field:
    """Return all frames of the movie that a segment belongs to.

    A field that is no segment is a movie of its own. Raises FieldError as `open_field`
    does, or if it has time points and planes.
    """
    own = entry.segment
    if own is None:
        field = open_field(entry)
        return replace(field, image=as_movie(field.image))
    whole = own._replace(start=0, stop=own.n_frames)
    return open_field(replace(entry, segment=whole))


def measure_movie(entry: FieldEntry, channel: int) -> float:
    """Return the scale of the movie that a segment belongs to, in counts.

    It is measured on frames all over the movie, so all its segments have the same.
    """
    address = entry.address
    if entry.segment is not None:
        first = entry.segment._replace(start=0, stop=1)
        address = replace(address, field=first.movie)
        entry = replace(entry, address=address, segment=first)
    further = () if entry.segment is None else entry.segment.files
    stamps = tuple(_stamp(path) for path in (entry.source, *further))
    return _measured(entry, channel, stamps)


_Stamp = tuple[int, int] | None


def _stamp(source: str) -> _Stamp:
    """Return time and size of a file, since a worker may outlive its content."""
    if is_url(source):
        return None
    state = os.stat(source)
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=256)
def _measured(entry: FieldEntry, channel: int, _: tuple[_Stamp, ...]) -> float:
    movie = open_movie(entry)
    chosen = sampled_frames(movie.n_t).tolist()
    tops = [frame_top(movie.read(t=t, channel=channel)) for t in chosen]
    return movie_scale(tops)
