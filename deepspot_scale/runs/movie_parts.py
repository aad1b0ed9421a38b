"""The movies of a run: their size, and their localisations in the order of frames.

Results of a run come in; each movie goes out, and its table segment by segment, however
the segments were spread over parts: what is made of them does not depend on workers.
Nothing here measures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError, RunError
from deepspot_scale.io.field import FieldEntry, open_field
from deepspot_scale.io.movies import cut_movies
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import RunResults
from deepspot_scale.stages.localisation import LocaliseOptions, stated_edge
from deepspot_scale.statistics.movie_parts import MovieSize
from deepspot_scale.vocabulary import FieldAddress

TABLE = "localisations"


@dataclass(frozen=True)
class RunMovie:
    """One movie and channel of a run."""

    address: FieldAddress
    """Of the movie."""
    channel: str
    segments: tuple[FieldEntry, ...]
    """In the order of frames."""
    height: int
    """Pixels of a frame."""
    width: int
    n_frames: int
    pixel_nm: float

    @property
    def size(self) -> MovieSize:
        """Its extent."""
        edge = self.pixel_nm
        return MovieSize(self.height * edge, self.width * edge, self.n_frames)

    @property
    def key(self) -> dict[str, str]:
        """What names it in tables."""
        row, column, movie = self.address.row, self.address.column, self.address.field
        return {"row": row, "column": column, "movie": movie, "channel": self.channel}


def check_localised(results: RunResults) -> None:
    """Raise RunError unless the run has a table of localisations."""
    if TABLE not in results.contents.tables:
        raise RunError(
            f"the run {results.folder.url} has no localisations; they are of runs of "
            "deepspot-scale localise. Export csv for the tables that it has"
        )


def list_movies(results: RunResults) -> list[RunMovie]:
    """Return the movies of which any frame is done, in the order of the plate.

    Raises
    ------
    RunError
        The run has no localisations.
    FieldError
        The size of a movie's pixels is not known, or not the same along y and x.
    PlateError
        The run's input is not there.
    """
    check_localised(results)
    done = set(addresses_of(results.done))
    movies: dict[FieldAddress, list[FieldEntry]] = defaultdict(list)
    for entry in cut_movies(results.plate).entries:
        name = entry.address.field if entry.segment is None else entry.segment.movie
        movies[replace(entry.address, field=name)].append(entry)
    found: list[RunMovie] = []
    for address, segments in movies.items():
        there = [entry for entry in segments if entry.address in done]
        if there:
            found.extend(_movies_of(address, segments, there[0], results))
    return found


def _movies_of(
    address: FieldAddress,
    segments: list[FieldEntry],
    example: FieldEntry,
    results: RunResults,
) -> Iterator[RunMovie]:
    field = open_field(example)
    given = results.settings.of(LocaliseOptions).pixel_nm
    edge = given or stated_edge(field.pixel_size_um)
    height, width = field.shape_yx
    segment = example.segment
    n = field.n_t if segment is None else segment.n_frames
    for word in results.settings.channels:
        try:
            channel = field.channels[field.channel_index(word)]
        except FieldError:
            continue
        ordered = tuple(segments)
        yield RunMovie(address, channel, ordered, height, width, n, edge)


def iter_segments(results: RunResults, movie: RunMovie) -> Iterator[pd.DataFrame]:
    """Yield the localisations of each segment that is done, in the order of frames.

    The column ``field`` holds the movie's name.
    """
    parts = dict(
        zip(addresses_of(results.done), results.done["part"].astype(str), strict=True)
    )
    held: tuple[str, dict[str, pd.DataFrame]] = ("", {})
    for entry in movie.segments:
        part = parts.get(entry.address)
        if part is None:
            continue
        if held[0] != part:
            table = results.read_part(TABLE, part)
            own = table[
                (table["channel"] == movie.channel)
                & (table["row"] == movie.address.row)
                & (table["column"] == movie.address.column)
            ]
            by_field = {str(name): t for name, t in own.groupby("field", sort=False)}
            held = (part, by_field)
        found = held[1].get(entry.address.field)
        if found is not None:
            found = found.sort_values("frame", kind="stable", ignore_index=True)
            yield found.assign(field=movie.address.field)


def frames_done(results: RunResults, movie: RunMovie) -> NDArray[np.bool_]:
    """Return (n_frames,) which frames of a movie are done."""
    there = set(addresses_of(results.done))
    done = np.zeros(movie.n_frames, bool)
    for entry in movie.segments:
        if entry.address in there:
            own = entry.segment
            done[slice(None) if own is None else slice(own.start, own.stop)] = True
    return done
