"""One field's planes: which there are, how their pixels are read, what they answer.

Both executors read through `FieldReader` and end in `plane_tables`; they differ only
in where the blocks run. Nothing here knows the order of stages or a scheduler.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.geometry import Box, whole_box
from deepspot_scale.blockwise.identity import PlaneIdentity, identify
from deepspot_scale.blockwise.rounds import PlaneAnswers, Reader
from deepspot_scale.errors import FieldError, did_you_mean
from deepspot_scale.io.plate import Field, FieldEntry, open_field
from deepspot_scale.kernels.references import Reference
from deepspot_scale.settings import Settings
from deepspot_scale.stages.polarity.measure import plane_table
from deepspot_scale.tables import empty_table
from deepspot_scale.vocabulary import CELLS, PROJECTED, SPOTS


class PlaneIndex(NamedTuple):
    """Which pixels of a field one plane is."""

    t: int
    channel: int
    z: int | Literal["max", "mean"]
    """A plane, or how all planes become one."""


class PlaneAnswer(NamedTuple):
    """What one plane comes to."""

    spots: pd.DataFrame
    """The columns `vocabulary.SPOTS`."""
    cells: pd.DataFrame
    """The columns `vocabulary.CELLS`; no rows where no cells were asked for."""
    n_dropped: int
    """Peaks dropped because their object is too large."""
    n_faint: int
    """Spots left out: far fainter than typical of the field, or doubtful."""
    enhanced: NDArray[np.uint8] | None
    """The enhanced plane, when it is to be kept."""
    seconds: Mapping[str, float] | None = None
    """Time of each step by name; None where blocks went to several workers."""


@dataclass(frozen=True)
class FieldTask:
    """All that a worker needs to know about one field; small, and safe to send."""

    entry: FieldEntry
    """Where the field is."""
    reference: Reference | None = None
    """Where "toward" is in this field."""


@lru_cache(maxsize=8)
def _opened(entry: FieldEntry) -> Field:
    return open_field(entry)


class OpenReader(NamedTuple):
    """Reads windows of one plane of an open field."""

    source: Field
    plane: PlaneIndex
    labels: tuple[tuple[str, str], ...]
    """Names that steps use (cells, nuclei) and the names in the store."""

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return the pixels of the image or of labels in `box`."""
        t, channel, z = self.plane
        if name == "image":
            return self.source.read(t=t, channel=channel, z=z, window=box.slices)
        stored = dict(self.labels)[name]
        of_plane: int | Literal["max"] = z if isinstance(z, int) else "max"
        return self.source.read_labels(stored, t=t, z=of_plane, window=box.slices)

    def has(self, name: str) -> bool:
        """Return whether the image or labels of this name were asked for."""
        return name == "image" or name in dict(self.labels)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype; a mean over planes is float32."""
        if name != "image":
            return np.dtype(np.int64)
        mean = self.plane.z == "mean"
        return np.dtype(np.float32) if mean else self.source.dtype


@dataclass(frozen=True)
class FieldReader:
    """Reads windows of one plane from the store, on whichever worker it is used."""

    entry: FieldEntry
    plane: PlaneIndex
    labels: tuple[tuple[str, str], ...]
    """As in `OpenReader`."""

    def open(self) -> OpenReader:
        """Return the reader of the field, which is opened once by each worker."""
        return OpenReader(_opened(self.entry), self.plane, self.labels)

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return the pixels of the image or of labels in `box`."""
        return self.open()(name, box)

    def has(self, name: str) -> bool:
        """Return whether the image or labels of this name were asked for."""
        return name == "image" or name in dict(self.labels)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype; a mean over planes is float32."""
        return self.open().dtype(name)


@dataclass(frozen=True)
class LoadedReader:
    """Reads each plane from the store once and keeps it: for a field on one worker."""

    reader: Reader
    shape: tuple[int, int]
    loaded: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return the pixels of `name` in `box`."""
        if name not in self.loaded:
            self.loaded[name] = self.reader(name, whole_box(self.shape))
        return self.loaded[name][box.slices]

    def has(self, name: str) -> bool:
        """Return whether the image or labels of this name were asked for."""
        return self.reader.has(name)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype of `name`."""
        return self.reader.dtype(name)


def iter_field_planes(source: Field, settings: Settings) -> Iterator[PlaneIndex]:
    """Yield all planes of a field that the settings ask for.

    Raises
    ------
    FieldError
        A channel or label image that the field does not have.
    """
    for name in (settings.cells, settings.nuclei):
        if name is not None and name not in source.label_names:
            raise FieldError(
                f"no labels {name!r}: the field has "
                f"{', '.join(source.label_names) or 'no labels at all'}."
                + did_you_mean(name, source.label_names)
            )
    channels = [source.channel_index(name) for name in settings.channels]
    for t in range(source.n_t):
        for channel in channels:
            if settings.project == "none":
                for z in range(source.n_z):
                    yield PlaneIndex(t, channel, z)
            else:
                yield PlaneIndex(t, channel, settings.project if source.n_z > 1 else 0)


def plane_reader(
    entry: FieldEntry, plane: PlaneIndex, settings: Settings
) -> FieldReader:
    """Return the reader of one plane and of the labels that were asked for."""
    return FieldReader(entry, plane, labels_in_use(settings))


def labels_in_use(settings: Settings) -> tuple[tuple[str, str], ...]:
    """Return the labels that were asked for: the names of steps and of the store."""
    named = {"cells": settings.cells, "nuclei": settings.nuclei}
    return tuple((use, name) for use, name in named.items() if name is not None)


def plane_tables(
    answers: PlaneAnswers, source: Field, plane: PlaneIndex
) -> PlaneAnswer:
    """Return the tables of one plane from the answers of all rounds."""
    identity = PlaneIdentity(
        source.address,
        plane.t,
        source.channels[plane.channel],
        plane.z if isinstance(plane.z, int) else PROJECTED,
        source.pixel_size_um,
    )
    assigned = answers["assigned"]
    has_cells = "polarity" in answers
    return PlaneAnswer(
        identify(assigned.table, identity, SPOTS),
        plane_table(answers, identity) if has_cells else empty_table(CELLS),
        assigned.n_dropped,
        assigned.n_faint,
        answers.get("enhanced_image"),
    )
