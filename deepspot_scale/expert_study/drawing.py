"""Draws the images of a study from a plate, spread over its wells and fields.

An open plate comes in; a study folder goes out. Fields are cut into places that do not
overlap; wells take turns, in each well its fields do, so no image is there twice and no
two show one piece of a field. Nothing here knows experts.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import DeepspotError, InputWarning, StudyError
from deepspot_scale.io.field import Field, FieldEntry
from deepspot_scale.io.plate import Plate
from deepspot_scale.io.study_folder import (
    STUDY_FILE,
    Origin,
    Study,
    list_images,
    read_study,
    write_crop,
    write_study,
)

SIZE: Final = 224
"""Edge of the paper's images in pixels."""
_MOST_NAMED: Final = 5
_DIGITS: Final = 12
"""Of an image's name, drawn by chance: it says nothing of well and field."""

Project = Literal["max", "mean", "none"]


@dataclass(frozen=True)
class Asked:
    """What a study is to show."""

    images: int = 200
    channel: str | None = None
    """Name or number; None: the first."""
    size: int = SIZE
    """Edge of an image in pixels."""
    project: Project = "none"
    """How a z-stack becomes a plane; none: planes are drawn."""
    seed: int = 0
    experts: tuple[str, ...] = ()
    consent: str = ""


def draw_study(plate: Plate, folder: Path, asked: Asked) -> Study:
    """Write a study of a plate's images into a new folder.

    Where the folder holds a study that was asked for in the same way, it is taken up.

    Raises
    ------
    StudyError
        The plate has fewer places than images are asked for, or the folder holds
        something else.

    Warns
    -----
    InputWarning
        Fields could not be read, or places show one grey value alone.
    """
    if (folder / STUDY_FILE).is_file():
        return _take_up(plate, folder, asked)
    if list_images(folder):
        raise StudyError(f"{folder} holds images already; give a new folder")
    reader = _Reader(plate, asked)
    rng = np.random.default_rng((asked.seed, 1))
    images: dict[str, Origin] = {}
    for origin, own, pixels in reader.draw():
        name = _name(rng, images)
        write_crop(folder, name, pixels, own.pixel_size_um)
        images[name] = origin
        if len(images) == asked.images:
            break
    reader.warn()
    if len(images) < asked.images:
        for path in list_images(folder).values():
            path.unlink()
        raise StudyError(
            f"{plate.source} has {len(images)} places of {asked.size} x {asked.size} "
            f"pixels that do not overlap, and {asked.images} images are asked for"
            f"{reader.left_out()}. Ask for fewer (--images) or smaller ones (--size)"
        )
    # In the order of names, which is by chance: the file does not give it away.
    study = _study(plate, dict(sorted(images.items())), asked)
    write_study(folder, study)
    return study


def _study(plate: Plate, images: dict[str, Origin], asked: Asked) -> Study:
    channel = next(iter(images.values())).channel
    return Study(
        images,
        plate.source,
        channel,
        asked.size,
        asked.seed,
        asked.experts,
        asked.consent,
    )


def _take_up(plate: Plate, folder: Path, asked: Asked) -> Study:
    """Return the study in a folder if it is the one that is asked for."""
    there = read_study(folder)
    channel = there.channel if asked.channel is None else asked.channel
    old = (there.source, there.channel, there.size, there.seed, len(there.images))
    new = (plate.source, channel, asked.size, asked.seed, asked.images)
    names = ("plate", "channel", "size", "seed", "images")
    for name, had, wants in zip(names, old, new, strict=True):
        if had != wants:
            raise StudyError(
                f"{folder} holds a study of another {name}: {had}, not {wants}. Open "
                "it by 'rate serve', or give a new folder"
            )
    experts = tuple(dict.fromkeys((*there.experts, *asked.experts)))
    study = replace(there, experts=experts, consent=asked.consent or there.consent)
    if study != there:
        write_study(folder, study)
    return study


def _name(rng: np.random.Generator, taken: dict[str, Origin]) -> str:
    while True:
        name = rng.bytes(_DIGITS // 2).hex()
        if name not in taken:
            return name


def places_of(
    shape: tuple[int, int], size: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Return first row and column of squares that do not overlap, in chance order.

    The grid of squares is moved by chance as far as the field's edges let it.

    Examples
    --------
    >>> len(places_of((500, 700), 224, np.random.default_rng(0)))
    6
    """
    numbers = [length // size for length in shape]
    begin = [int(rng.integers(length % size + 1)) for length in shape]
    grid = [
        (begin[0] + size * row, begin[1] + size * column)
        for row in range(numbers[0])
        for column in range(numbers[1])
    ]
    return [grid[k] for k in rng.permutation(len(grid))]


@dataclass
class _Reader:
    """Draws images from fields, and counts what is left out."""

    plate: Plate
    asked: Asked
    failed: dict[str, str] = field(default_factory=dict)
    small: list[str] = field(default_factory=list)
    n_flat: int = 0

    def draw(self) -> Iterator[tuple[Origin, Field, NDArray[np.generic]]]:
        """Yield images: one of each well in turn, until no place is left."""
        wells: dict[str, list[FieldEntry]] = {}
        for entry in self.plate.entries:
            wells.setdefault(entry.address.well, []).append(entry)
        rng = np.random.default_rng((self.asked.seed, 0))
        names = sorted(wells)
        turns = [
            self._of_well(wells[names[k]], rng) for k in rng.permutation(len(names))
        ]
        while turns:
            left = []
            for turn in turns:
                found = next(turn, None)
                if found is not None:
                    left.append(turn)
                    yield found
            turns = left

    def _of_well(
        self, entries: list[FieldEntry], rng: np.random.Generator
    ) -> Iterator[tuple[Origin, Field, NDArray[np.generic]]]:
        """Yield images of one well: one of each field in turn."""
        own_rng = np.random.default_rng(rng.integers(2**63, size=2))
        order = [entries[k] for k in own_rng.permutation(len(entries))]
        seeds = own_rng.integers(2**63, size=(len(order), 2))
        turns = [
            self._of_field(entry, np.random.default_rng(seed))
            for entry, seed in zip(order, seeds, strict=True)
        ]
        for several in zip_longest(*turns):
            yield from (found for found in several if found is not None)

    def _of_field(
        self, entry: FieldEntry, rng: np.random.Generator
    ) -> Iterator[tuple[Origin, Field, NDArray[np.generic]]]:
        path, size = entry.address.path, self.asked.size
        try:
            own = self.plate.open(path)
            channel = own.channel_index(self.asked.channel or "0")
        except DeepspotError as error:
            self.failed[path] = str(error)
            return
        places = places_of(own.shape_yx, size, rng)
        if not places:
            self.small.append(path)
        for y, x in places:
            t, z = int(rng.integers(own.n_t)), int(rng.integers(own.n_z))
            project = self.asked.project
            plane = z if project == "none" or own.n_z == 1 else project
            window = (slice(y, y + size), slice(x, x + size))
            try:
                pixels = own.read(t=t, channel=channel, z=plane, window=window)
            except DeepspotError as error:
                self.failed[path] = str(error)
                return
            if not np.isfinite(pixels).all() or pixels.min() == pixels.max():
                self.n_flat += 1
                continue
            well, name = entry.address.well, own.channels[channel]
            yield Origin(well, path, name, t, plane, y, x), own, pixels

    def left_out(self) -> str:
        """Return what was left out, in words for the end of a sentence."""
        parts = []
        if self.failed:
            parts.append(f"{len(self.failed)} fields could not be read")
        if self.small:
            parts.append(f"{len(self.small)} fields are smaller than that")
        if self.n_flat:
            parts.append(f"{self.n_flat} places show one value or NaN")
        return f" ({'; '.join(parts)})" if parts else ""

    def warn(self) -> None:
        """Warn of fields and places that were left out."""
        for path in list(self.failed)[:_MOST_NAMED]:
            text = f"no image was drawn from field {path}: {self.failed[path]}"
            warnings.warn(text, InputWarning, stacklevel=3)
        if len(self.failed) > _MOST_NAMED:
            n = len(self.failed) - _MOST_NAMED
            warnings.warn(f"nor from {n} more fields", InputWarning, stacklevel=3)
        if self.n_flat:
            warnings.warn(
                f"{self.n_flat} places were left out: all of their pixels have one "
                "value, as where nothing was imaged, or some are NaN",
                InputWarning,
                stacklevel=3,
            )
