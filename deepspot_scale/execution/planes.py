"""One field's planes: which there are, how their pixels are read, what they answer.

A plane is what a pipeline takes at once: y and x, or more axes where its stages ask for
them. Both executors read through `FieldReader` and end in `plane_result`; they differ
only in where the blocks run. Nothing here knows a stage or a scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import product
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import (
    IMAGE,
    LABEL_HEIGHT,
    LABELS,
    MOVIE_SCALE,
    PIXEL,
    PIXEL_UM,
    REFERENCE,
    STEP,
    channel_of,
)
from deepspot_scale.blockwise.contract import Answers
from deepspot_scale.blockwise.geometry import Box, whole_box
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.errors import FieldError, did_you_mean
from deepspot_scale.io.absent_chunks import Allowed, check_chunks
from deepspot_scale.io.field import Field, FieldEntry, open_field
from deepspot_scale.io.movie_brightness import measure_movie
from deepspot_scale.io.source_digest import digest_source, list_source
from deepspot_scale.kernels.pixel_shape import pixel_shape, voxel_height
from deepspot_scale.kernels.references import Reference
from deepspot_scale.vocabulary import PROJECTED, PlaneIdentity

ALL: Literal["all"] = "all"
"""Along this axis a pipeline takes all positions at once."""


LabelNames = tuple[tuple[str, str], ...]
"""Labels that are used: the names of stages (cells, nuclei), and those in the store."""


class InputChoice(Protocol):
    """Which channels, planes and labels of a field are asked for; as `Settings` say."""

    @property
    def channels(self) -> tuple[str, ...]:
        """By name or index."""

    @property
    def further_channels(self) -> tuple[str, ...]:
        """Channels that are read beside them, to see cells."""

    @property
    def project(self) -> Literal["max", "mean", "none"]:
        """How the planes of a z-stack become one; none: each plane alone."""

    @property
    def cells(self) -> str | None:
        """Name of the label image of the cells."""

    @property
    def nuclei(self) -> str | None:
        """Name of the label image of the nuclei."""


class PlaneIndex(NamedTuple):
    """Which pixels of a field one plane is."""

    t: int | Literal["all"]
    channel: int
    z: int | Literal["max", "mean", "all"]
    """A plane, or how all planes become one, or all of them."""


class SourceState(NamedTuple):
    """A field's files just before it is read."""

    digest: str = ""
    """See `io.source_digest`."""
    n_absent: int = 0
    """Chunks in use that are not stored, see `io.absent_chunks`."""


class PlaneResult(NamedTuple):
    """What one plane comes to."""

    tables: Mapping[str, pd.DataFrame]
    """By name, with their declared columns."""
    counts: Mapping[str, int]
    """By name."""
    means: Mapping[str, float]
    """Numbers whose mean is taken over the planes, by name."""
    layers: Mapping[str, NDArray[Any]]
    """Layers that are kept, by name."""
    seconds: Mapping[str, float] | None = None
    """Time of each stage; None where blocks went to several workers."""
    state: SourceState = SourceState()
    """Of the whole field."""
    t: int = 0
    """Time point; 0: all of them at once."""
    z: int = 0
    """Plane, or `PROJECTED`."""


@dataclass(frozen=True)
class FieldTask:
    """All that a worker needs to know about one field; small, and safe to send."""

    entry: FieldEntry
    """Where the field is."""
    reference: Reference | Mapping[int, Reference] | None = None
    """Where "toward" is in this field, always or by time point."""
    allow_absent: Allowed = "none"
    """Which chunks that are not stored are taken for zeros."""

    def given(
        self,
        plane: PlaneIndex,
        source: Field,
        labels: LabelNames = (),
        *,
        makes_volumes: bool = False,
    ) -> Answers:
        """Return what the user and the field's metadata say of a plane.

        Parameters
        ----------
        plane
            Which plane, or stack.
        source
            The field.
        labels
            Those that are used.
        makes_volumes
            Whether labels with a depth are made beside.

        Raises
        ------
        FieldError
            The reference has other time points than the field, or labels are damaged.
        """
        reference, n_t = self.reference, source.n_t
        if isinstance(reference, Mapping):
            if set(reference) != set(range(n_t)):
                raise FieldError(
                    f"the reference has the time points {sorted(reference)}, but the "
                    f"field has {n_t}, from 0; give one for each"
                )
            if plane.t == ALL:
                raise FieldError(
                    "a stage takes all time points at once and needs one reference; "
                    "leave the column t out"
                )
            reference = reference[plane.t]
        pixel = pixel_shape(source.pixel_size_um)
        step = source.image.spacing_um.get("z")
        known = Answers({REFERENCE.name: reference, PIXEL.name: pixel, STEP.name: step})
        known[PIXEL_UM] = source.pixel_size_um
        planes = (source.open_labels(name).n_z for _, name in labels)
        deep = makes_volumes or any(n > 1 for n in planes)
        height = voxel_height(source.pixel_size_um, step)
        known[LABEL_HEIGHT] = height if deep and plane.z == ALL else None
        scale: Callable[[], float] = partial(measure_movie, self.entry, plane.channel)
        known[MOVIE_SCALE] = scale
        return known


def _is_image(name: str) -> bool:
    """Return whether a layer is an image: the plane's own, or another channel's."""
    return name == IMAGE or channel_of(name) is not None


@lru_cache(maxsize=8)
def _opened(entry: FieldEntry, digest: str) -> Field:
    """Open a field once: a worker may outlive the content that a path has."""
    del digest
    return open_field(entry)


class OpenReader(NamedTuple):
    """Reads windows of one plane of an open field."""

    source: Field
    plane: PlaneIndex
    labels: LabelNames

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return the pixels of the image or of labels in `box`."""
        further = box.axes[:-2]
        if not further:
            return self._read(name, self.plane, box.slices)
        if not _is_image(name) and further == "z" and self._is_flat(name):
            plane = self._read(name, self.plane._replace(z=0), box.slices[-2:])
            return np.broadcast_to(plane, box.shape)
        stack: NDArray[Any] | None = None
        for position in product(*(range(*span) for span in box.spans[:-2])):
            at = self.plane._replace(**dict(zip(further, position, strict=True)))
            place = tuple(
                n - s.start for n, s in zip(position, box.spans, strict=False)
            )
            values = self._read(name, at, box.slices[-2:])
            if stack is None:  # planes come one by one: a list of them takes as much
                stack = np.empty(box.shape, values.dtype)
            stack[place] = values
        return np.empty(box.shape, self.dtype(name)) if stack is None else stack

    def _read(
        self, name: str, plane: PlaneIndex, window: tuple[slice, ...]
    ) -> NDArray[Any]:
        t, channel, z = plane
        rows_columns = (window[0], window[1])
        if _is_image(name):
            other = channel_of(name)
            channel = channel if other is None else self.source.channel_index(other)
            return self.source.read(t=t, channel=channel, z=z, window=rows_columns)  # type: ignore[arg-type]  # "all" has become positions
        stored = dict(self.labels)[name]
        of_plane: int | Literal["max"] = z if isinstance(z, int) else "max"
        return self.source.read_labels(stored, t=t, z=of_plane, window=rows_columns)  # type: ignore[arg-type]  # likewise

    def _is_flat(self, name: str) -> bool:
        """Return whether the labels have one plane, which goes with all others."""
        return self.source.open_labels(dict(self.labels)[name]).n_z == 1

    def has(self, name: str) -> bool:
        """Return whether the image or labels of this name were asked for."""
        return _is_image(name) or name in dict(self.labels)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype; a mean over planes is float32."""
        if not _is_image(name):
            return np.dtype(np.int64)
        mean = self.plane.z == "mean"
        return np.dtype(np.float32) if mean else self.source.dtype


@dataclass(frozen=True)
class FieldReader:
    """Reads windows of one plane from the store, on whichever worker it is used."""

    entry: FieldEntry
    plane: PlaneIndex
    labels: LabelNames
    digest: str
    """Of the field's content, see `io.source_digest`."""

    def open(self) -> OpenReader:
        """Return the reader of the field, which is opened once by each worker."""
        return OpenReader(_opened(self.entry, self.digest), self.plane, self.labels)

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return the pixels of the image or of labels in `box`."""
        return self.open()(name, box)

    def has(self, name: str) -> bool:
        """Return whether the image or labels of this name were asked for."""
        return _is_image(name) or name in dict(self.labels)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype; a mean over planes is float32."""
        return self.open().dtype(name)


@dataclass(frozen=True)
class LoadedReader:
    """Reads each layer from the store once and keeps it: for a field on one worker."""

    reader: OpenReader
    whole: Box
    """The box of the whole plane."""
    loaded: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return the pixels of `name` in `box`."""
        if name not in self.loaded:
            self.loaded[name] = self.reader(name, self.whole)
        return self.loaded[name][box.slices]

    def has(self, name: str) -> bool:
        """Return whether the image or labels of this name were asked for."""
        return self.reader.has(name)

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype of `name`."""
        return self.reader.dtype(name)


def plane_box(source: Field, axes: str) -> Box:
    """Return the box of one whole plane along a pipeline's axes."""
    height, width = source.shape_yx
    sizes = {"t": source.n_t, "z": source.n_z, "y": height, "x": width}
    return whole_box(tuple(sizes[axis] for axis in axes), axes)


def iter_field_planes(
    source: Field, choice: InputChoice, axes: str = "yx"
) -> Iterator[PlaneIndex]:
    """Yield all planes of a field that are asked for.

    Parameters
    ----------
    source
        The field.
    choice
        Which channels, planes and labels.
    axes
        Those of a pipeline's blocks; planes along others are looped over.

    Raises
    ------
    FieldError
        A channel or label image that the field does not have.
    """
    for name in (choice.cells, choice.nuclei):
        if name is not None and name not in source.label_names:
            raise FieldError(
                f"no labels {name!r}: the field has "
                f"{', '.join(source.label_names) or 'no labels at all'}."
                + did_you_mean(name, source.label_names)
            )
    channels = [source.channel_index(name) for name in choice.channels]
    times: Iterable[Any] = (ALL,) if "t" in axes else range(source.n_t)
    for t, channel in product(times, channels):
        if "z" in axes:
            yield PlaneIndex(t, channel, ALL)
        elif choice.project == "none":
            for z in range(source.n_z):
                yield PlaneIndex(t, channel, z)
        else:
            yield PlaneIndex(t, channel, choice.project if source.n_z > 1 else 0)


def digest_inputs(source: Field, choice: InputChoice) -> str:
    """Return the digest of a field's image and of the labels that were asked for."""
    names = (name for _, name in labels_in_use(choice))
    return digest_source(source, list_source(source, names))


def check_inputs(source: Field, choice: InputChoice, allowed: Allowed) -> SourceState:
    """Return the state of what is read of a field.

    Raises
    ------
    FieldError
        Chunks must have been lost, or there is no such channel or label image.
    """
    listing = list_source(source, (name for _, name in labels_in_use(choice)))
    names_ = (*choice.channels, *choice.further_channels)
    channels = sorted({source.channel_index(name) for name in names_})
    n_absent = check_chunks(source, listing, channels, allowed)
    return SourceState(digest_source(source, listing), n_absent)


def labels_in_use(choice: InputChoice) -> LabelNames:
    """Return the labels that were asked for: the names of stages and of the store."""
    named = {name: getattr(choice, name) for name in LABELS.values()}
    return tuple((use, name) for use, name in named.items() if name is not None)


def plane_result(
    answers: Answers,
    source: Field,
    plane: PlaneIndex,
    pipeline: Pipeline,
    state: SourceState,
) -> PlaneResult:
    """Return what leaves the field, from the answers of all rounds."""
    identity = PlaneIdentity(
        source.address,
        source.first_frame + plane.t if isinstance(plane.t, int) else 0,
        source.channels[plane.channel],
        plane.z if isinstance(plane.z, int) else PROJECTED,
        source.pixel_size_um,
        source.image.origin_um,
        acquisition=source.acquisition,
        z_step_um=source.image.spacing_um.get("z"),
        z_origin_um=source.image.begin_um.get("z", 0.0),
    )
    return PlaneResult(
        {table.name: table.make(answers, identity) for table in pipeline.tables},
        {count.name: count.count(answers[count.of]) for count in pipeline.counts},
        {mean.name: mean.value(answers[mean.of]) for mean in pipeline.means},
        {layer.name: answers.by_name[layer.name] for layer in pipeline.layers},
        state=state,
        t=identity.t,
        z=identity.z,
    )
