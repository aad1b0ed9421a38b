"""Movies as plates of segments: runs of frames that are done, and kept, one by one.

A plate, an image or files come in; the same movies go out, each as fields of some
hundred frames, so that a run resumes inside a movie and memory does not grow with its
length. Files that one camera wrote for one movie are put together. Nothing here knows
what is done with the frames.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Final

from deepspot_scale.errors import DeepspotError, InputWarning, PlateError
from deepspot_scale.io.field import FieldEntry, open_field
from deepspot_scale.io.image_files.movie_files import group_files
from deepspot_scale.io.image_files.tiff_png import is_image_file, open_file
from deepspot_scale.io.movie_frames import Segment, as_movie
from deepspot_scale.io.plate import Plate
from deepspot_scale.io.stores import is_url
from deepspot_scale.vocabulary import segment_name

SEGMENT_PIXELS: Final = 1 << 22
"""Pixels of a segment: 64 frames of 256 x 256, a few seconds of work. Workers then end
at about the same time, and little is lost if one dies."""


def cut_movies(plate: Plate) -> Plate:
    """Return a plate whose fields are segments of its movies.

    A movie that cannot be opened stays one field, whose own task says why.

    Raises
    ------
    PlateError
        A file that is given alone continues another one.
    """
    if any(entry.segment is not None for entry in plate.entries):
        return plate
    entries: list[FieldEntry] = []
    for entry, files in _whole_movies(plate):
        try:
            entries.extend(_segments(entry, files))
        except (DeepspotError, OSError):  # its own task will report it
            entries.append(entry)
    return replace(plate, entries=tuple(entries))


def _whole_movies(plate: Plate) -> list[tuple[FieldEntry, tuple[str, ...]]]:
    """Return the first file of each movie, and the files that continue it."""
    by_path = {entry.source: entry for entry in plate.entries}
    local = [p for p in by_path if not is_url(p) and is_image_file(p)]
    if len(local) == len(plate.entries) == 1:
        groups = _beside(local[0])
    else:
        groups = group_files(local)
    continued = {group[0]: group[1:] for group in groups}
    later = {path for rest in continued.values() for path in rest}
    return [
        (entry, continued.get(path, ()))
        for path, entry in by_path.items()
        if path not in later
    ]


def _beside(path: str) -> tuple[tuple[str, ...], ...]:
    """Return the group of a file that is given alone, with its files beside it.

    Raises PlateError if it continues another one.
    """
    folder = Path(path).parent
    names = [str(folder / name) for name in sorted(os.listdir(folder))]
    found = group_files(name for name in names if is_image_file(name))
    own = next((group for group in found if path in group), (path,))
    if own[0] != path:
        raise PlateError(
            f"{path} continues the movie {own[0]}; give that file, or the folder"
        )
    if len(own) > 1:
        warnings.warn(
            f"{path} is continued by {len(own) - 1} files beside it, up to "
            f"{Path(own[-1]).name}; they are read as one movie",
            InputWarning,
            stacklevel=4,
        )
    return (own,)


def _segments(entry: FieldEntry, files: tuple[str, ...]) -> list[FieldEntry]:
    field = open_field(entry)
    images = [field.image, *(open_file(path) for path in files)]
    movies = [as_movie(image) for image in images]
    n_frames = sum(movie.size("t") for movie in movies)
    height, width = field.shape_yx
    first = movies[0]
    piece = 1
    if first.files is not None and "t" in first.axes:
        piece = first.files.file[first.axes.index("t")]
    length = max(1, SEGMENT_PIXELS // (height * width))
    length = -(-length // piece) * piece
    name = entry.address.field
    entries = []
    for start in range(0, n_frames, length):
        stop = min(start + length, n_frames)
        address = replace(entry.address, field=segment_name(name, start))
        segment = Segment(name, start, stop, n_frames, files)
        entries.append(replace(entry, address=address, segment=segment))
    return entries
