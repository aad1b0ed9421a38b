"""Labelled arrays in and out: planes of a DataArray, blocks of a plane.

A DataArray with y and x, and any leading dimensions, comes in; each of its planes goes
through a pipeline alone, at once when NumPy holds it and as a Dask graph when Dask
does. Nothing here knows what the pipeline does to a plane.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise, product
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import Answers, Pixels
from deepspot_scale.blockwise.geometry import Block, Box, Span, whole_box
from deepspot_scale.blockwise.graphs import Tasks, defer_rounds, layer_arrays
from deepspot_scale.blockwise.identity import OFF_GRID
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.errors import FieldError
from deepspot_scale.kernels.regions import check_label_values


@dataclass(frozen=True)
class ArrayReader:
    """Reads layers that are in memory, each held for some box of the field."""

    layers: Mapping[str, Pixels]

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return the pixels of `name` in `box`."""
        at, values = self.layers[name]
        cut: NDArray[Any] = values[box.within(at)]
        return cut

    def has(self, name: str) -> bool:
        """Return whether there is such a layer."""
        return name in self.layers

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype of `name`."""
        return self.layers[name].values.dtype


def check_image(image: xr.DataArray, what: str = "image") -> xr.DataArray:
    """Return `image` with y and x last; leading dimensions stay as they are.

    Raises
    ------
    FieldError
        Not a DataArray of numbers with dimensions y and x of at least one pixel.
    """
    if not isinstance(image, xr.DataArray):
        raise FieldError(
            f"{what}: expected an xarray.DataArray with dimensions y and x, got "
            f"{type(image).__name__}; wrap it: xr.DataArray(array, dims=('y', 'x'))"
        )
    if not {"y", "x"} <= set(image.dims):
        raise FieldError(f"{what}: expected dimensions y and x, got {image.dims}")
    if image.dtype.kind not in "uifb":
        raise FieldError(f"{what}: expected real numbers, got {image.dtype}")
    if 0 in image.shape:
        raise FieldError(f"{what}: has no pixels, its shape is {image.shape}")
    return image.transpose(..., "y", "x")


def check_labels(
    cells: xr.DataArray | None,
    nuclei: xr.DataArray | None,
    like: xr.DataArray | None = None,
) -> dict[str, xr.DataArray]:
    """Return the label images by name, y and x last, all on the grid of `like`.

    Label volumes keep their axis z, in front of y and x; of one plane they are flat.

    Raises
    ------
    FieldError
        Labels that are no whole numbers, or of different shapes or places; or negative
        labels, of lazy ones when they are computed.
    """
    given = {"cells": cells, "nuclei": nuclei}
    labels = {
        name: check_image(image, name)
        for name, image in given.items()
        if image is not None
    }
    for name, image in labels.items():
        if image.dtype.kind not in "uib":
            raise FieldError(f"{name}: expected whole-number labels, got {image.dtype}")
        if not set(image.dims) <= {"t", "z", "y", "x"}:
            raise FieldError(
                f"{name}: expected dimensions (t,) (z,) y, x; got {image.dims}"
            )
    labels = {name: _in_depth(image) for name, image in labels.items()}
    _check_grids(labels if like is None else {**labels, "the image": like}, labels)
    return {name: _check_values(image, name) for name, image in labels.items()}


def _in_depth(labels: xr.DataArray) -> xr.DataArray:
    """Return label volumes with z before y and x, and others without z."""
    if labels.sizes.get("z", 1) == 1:
        return labels.isel(z=0, drop=True) if "z" in labels.dims else labels
    return labels.transpose(..., "z", "y", "x")


def _check_grids(
    grids: Mapping[str, xr.DataArray], labels: Mapping[str, xr.DataArray]
) -> None:
    """Raise FieldError if images have other grids, along z where labels have one."""
    volumes = [name for name, image in labels.items() if "z" in image.dims]
    deep = {name: image for name, image in grids.items() if "z" in image.dims}
    if volumes and "the image" in grids and "the image" not in deep:
        raise FieldError(
            f"{volumes[0]} have {labels[volumes[0]].sizes['z']} planes along z, and "
            "the image has no z; give flat labels (y, x), or the stack"
        )
    for axes in ("yx", "z") if volumes else ("yx",):
        same = deep if axes == "z" else grids
        shapes = {n: tuple(im.sizes[axis] for axis in axes) for n, im in same.items()}
        if len(set(shapes.values())) > 1:
            raise FieldError(
                f"labels need the image's grid, along ({', '.join(axes)}): "
                + ", ".join(f"{name} have shape {n}" for name, n in shapes.items())
            )
        for axis in axes:
            _check_coordinates(same, axis)


def _check_coordinates(grids: Mapping[str, xr.DataArray], axis: str) -> None:
    """Raise FieldError if images say, in the same units, that they are elsewhere."""
    seen: dict[object, tuple[str, NDArray[Any]]] = {}
    for name, image in grids.items():
        places = image.coords.get(axis)
        if places is None or places.dtype.kind not in "uif":
            continue
        own = places.to_numpy().astype(np.float64)
        first, known = seen.setdefault(places.attrs.get("units"), (name, own))
        step = abs(own[-1] - own[0]) / max(len(own) - 1, 1) or 1.0
        if np.abs(own - known).max() > OFF_GRID * step:
            raise FieldError(
                f"{name} and {first} have other coordinates along {axis}: they begin "
                f"at {own[0]:g} and {known[0]:g} and end at {own[-1]:g} and "
                f"{known[-1]:g}; cut them out alike"
            )


def _check_values(labels: xr.DataArray, name: str) -> xr.DataArray:
    """Return labels whose values are checked: now, or when they are computed."""
    if labels.dtype.kind == "b":  # a mask is one region, with label 1
        return labels.astype(np.uint8)
    if not is_lazy(labels):
        check_label_values(labels.to_numpy(), name)
        return labels
    meta = np.empty((0,) * labels.ndim, labels.dtype)
    return labels.copy(data=labels.data.map_blocks(check_label_values, name, meta=meta))


def labels_at(
    labels: Mapping[str, xr.DataArray], t: int, z: int | None = None
) -> dict[str, xr.DataArray]:
    """Return the labels of one time point; labels of a single one serve all.

    Of label volumes, plane `z` is returned; all of them where it is None.

    Raises FieldError if the labels end before `t` or `z`.
    """
    planes = {}
    for name, image in labels.items():
        n_t = image.sizes.get("t", 1)
        if n_t > 1 and not 0 <= t < n_t:
            raise FieldError(
                f"{name} have {n_t} time points, counted from 0, and none for t = {t}"
            )
        index = {"t": t if n_t > 1 else 0} if "t" in image.dims else {}
        if z is not None and "z" in image.dims:
            if not 0 <= z < image.sizes["z"]:
                raise FieldError(
                    f"{name} have {image.sizes['z']} planes, counted from 0, and none "
                    f"for z = {z}; give flat labels for planes that were projected"
                )
            index["z"] = z
        planes[name] = image.isel(index)
    return planes


def is_volume(labels: Mapping[str, xr.DataArray]) -> bool:
    """Return whether any of checked labels is a volume."""
    return any("z" in image.dims for image in labels.values())


def same_depth(labels: Mapping[str, xr.DataArray]) -> dict[str, xr.DataArray]:
    """Return labels of one shape: flat ones go with each plane of a volume."""
    depths = [image.sizes["z"] for image in labels.values() if "z" in image.dims]
    return {
        name: image
        if "z" in image.dims or not depths
        else image.expand_dims({"z": depths[0]}, axis=-3)
        for name, image in labels.items()
    }


def labels_over(
    labels: Mapping[str, xr.DataArray], plane: xr.DataArray, t: int, z: int = 0
) -> dict[str, xr.DataArray]:
    """Return the labels that go with one plane or stack, of its dimensions.

    Flat labels go with each plane of a stack, those of a single time point with all
    time points; of label volumes, the plane or all of them.

    Parameters
    ----------
    labels
        As `check_labels` gives them.
    plane
        An image plane, or a stack that blocks take whole.
    t, z
        The time point and the plane of `plane`, where that has no such axis.

    Raises
    ------
    FieldError
        The labels have other time points than the image.
    """
    further = plane.sizes
    if "t" not in further:
        labels = labels_at(labels, t)
    if "z" not in further:
        labels = {
            name: image.isel(z=z) if "z" in image.dims else image
            for name, image in labels.items()
        }
    spread = {}
    for name, image in labels.items():
        if image.sizes.get("t", 1) not in (1, further.get("t", 1)):
            raise FieldError(
                f"{name} have {image.sizes['t']} time points, the image has "
                f"{further['t']}"
            )
        own = image.isel(t=0) if image.sizes.get("t") == 1 else image
        missing = {a: n for a, n in further.items() if a not in own.dims}
        spread[name] = own.drop_vars(own.coords).expand_dims(missing)
    return {name: image.transpose(*plane.dims) for name, image in spread.items()}


def is_lazy(*images: xr.DataArray | None) -> bool:
    """Return whether any of the arrays is held by Dask."""
    return any(image is not None and image.chunks is not None for image in images)


def iter_planes(
    image: xr.DataArray, axes: str = "yx"
) -> Iterator[tuple[dict[str, int], xr.DataArray]]:
    """Yield the index of each leading position, and what is there along `axes`."""
    if tuple(image.dims[-len(axes) :]) != tuple(axes):
        raise FieldError(
            f"image: expected the dimensions {axes} last, got {image.dims}"
        )
    leading = image.dims[: -len(axes)]
    for position in np.ndindex(*image.shape[: -len(axes)]):
        index = dict(zip(map(str, leading), position, strict=True))
        yield index, image.isel(index)


def stack_planes(
    planes: list[Any], like: xr.DataArray, axes: str = "yx"
) -> xr.DataArray:
    """Return planes, in `iter_planes` order, as one array labelled like `like`.

    Coordinates along y and x are left out where the planes have another size.
    """
    shape = (*like.shape[: -len(axes)], *planes[0].shape)
    if isinstance(planes[0], np.ndarray):
        data = np.stack(planes).reshape(shape)
    else:
        import dask.array as da

        data = da.stack(planes).reshape(shape)
    answer = xr.DataArray(data, dims=like.dims, attrs=like.attrs)
    kept = like.coords if shape == like.shape else like.isel(y=0, x=0, drop=True).coords
    # Given as an argument, no name at all would become Dask's name of the graph.
    return answer.assign_coords(kept).rename(like.name)


class LiftedPlane(NamedTuple):
    """What one plane comes to."""

    answers: Any
    """`Answers` of the field; delayed where a layer was lazy."""
    layers: dict[str, Any]
    """Planes of the layers that leave the field: NumPy, or Dask chunked by cores."""


def lift_plane(
    pipeline: Pipeline,
    layers: Mapping[str, xr.DataArray],
    given: Answers | None = None,
) -> LiftedPlane:
    """Run a pipeline on one plane: at once, or as a graph when a layer is lazy.

    Parameters
    ----------
    pipeline
        What to do.
    layers
        Stored layers by name, all of one shape, (y, x) last.
    given
        Answers known beforehand.
    """
    shape = next(iter(layers.values())).shape
    blocks = pipeline.blocks(shape)
    if not is_lazy(*layers.values()):
        arrays = {name: np.asarray(image.data) for name, image in layers.items()}
        answers = reduce_rounds(pipeline, blocks, read_whole(arrays), given)
        planes = {layer.name: answers[layer] for layer in pipeline.layers}
        return LiftedPlane(answers, planes)
    reads = _ChunkReads(pipeline, layers, shape)
    tasks = [reads(block) for block in blocks.blocks]
    delayed_answers, pieces = defer_rounds(
        pipeline, blocks, lambda block: tasks[block.number], given, reads.graph
    )
    return LiftedPlane(
        delayed_answers, layer_arrays(pipeline, blocks, delayed_answers, pieces)
    )


def read_whole(arrays: Mapping[str, NDArray[Any]]) -> ArrayReader:
    """Return a reader of layers that are whole, y and x last."""
    return ArrayReader(
        {n: Pixels(whole_box(a.shape, "tzyx"[-a.ndim :]), a) for n, a in arrays.items()}
    )


class _ChunkReads:
    """Gives each block the task that reads its own pixels of lazy layers.

    Handed over whole, Dask would optimise each cut's graph by itself, and what two
    windows share (a network's answer) would be computed once for each of them.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        layers: Mapping[str, xr.DataArray],
        shape: tuple[int, ...],
    ) -> None:
        self.layers, self.shape = layers, shape
        self.reads = pipeline.reads
        self.cuts = Tasks()

    @property
    def graph(self) -> Any:
        """What the tasks need, once all of them were given."""
        lazy = [image.data.dask for image in self.layers.values() if is_lazy(image)]
        return self.cuts.graph(*lazy)

    def __call__(self, block: Block) -> Any:
        window = block.window.grow(0, self.shape)
        held, places, parts = {}, {}, []
        for name, margin in self.reads.items():
            box = block.core.grow(margin, self.shape)
            box = window if box.lies_in(window) else box
            if not is_lazy(self.layers[name]):
                held[name] = Pixels(box, np.asarray(self.layers[name].data[box.slices]))
                continue
            cuts = self._cuts(self.layers[name].data, box)
            places[name] = box, tuple(place for place, _ in cuts)
            parts.append([task for _, task in cuts])
        return partial(_join_chunks, held, places), *parts

    def _cuts(self, array: Any, box: Box) -> list[tuple[Box, Any]]:
        """Return where in `box` the chunks under it stand, and what cuts them out."""
        along = map(_spans_under, array.chunks, box.spans)
        cuts = []
        for numbered in product(*along):
            numbers, spans = zip(*numbered, strict=True)
            chunk = Box(spans, box.axes)
            place = chunk.overlap(box)
            cut = partial(_cut, place.within(chunk), chunk.shape)
            task: Any = (cut, (array.name, *numbers))
            if _is_small(place.shape, chunk.shape):  # it travels without its chunk
                task = self.cuts.add("cut", *task)
            cuts.append((place, task))
        return cuts


def _spans_under(sizes: Sequence[int], span: Span) -> list[tuple[int, Span]]:
    """Return the chunks along one axis that share pixels with `span`."""
    edges = list(accumulate(sizes, initial=0))
    return [
        (number, Span(*ends))
        for number, ends in enumerate(pairwise(edges))
        if max(ends[0], span.start) < min(ends[1], span.stop)
    ]


def _is_small(shape: tuple[int, ...], of: tuple[int, ...]) -> bool:
    return 2 * math.prod(shape) < math.prod(of)


def _cut(index: tuple[slice, ...], shape: tuple[int, ...], chunk: Any) -> NDArray[Any]:
    values = np.asarray(chunk)
    if values.shape != shape:
        raise FieldError(
            f"a chunk of a lazy image has shape {values.shape}, where the image "
            f"promises {shape}"
        )
    cut = values[index]
    # A view would keep the whole chunk in memory.
    return cut.copy() if _is_small(cut.shape, shape) else cut


def _join_chunks(
    held: Mapping[str, Pixels],
    places: Mapping[str, tuple[Box, tuple[Box, ...]]],
    *parts: list[NDArray[Any]],
) -> ArrayReader:
    layers = dict(held)
    for (name, (box, boxes)), values in zip(places.items(), parts, strict=True):
        joined = values[0]
        if len(values) > 1:
            joined = np.empty(box.shape, np.result_type(*values))
            for place, part in zip(boxes, values, strict=True):
                joined[place.within(box)] = part
        layers[name] = Pixels(box, joined)
    return ArrayReader(layers)
