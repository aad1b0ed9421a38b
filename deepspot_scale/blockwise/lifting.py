"""Labelled arrays in and out: planes of a DataArray, blocks of a plane.

A DataArray with y and x, and any leading dimensions, comes in; each of its planes is
handled alone, at once when NumPy holds it and as a Dask graph when Dask does. Nothing
here knows what is done to a plane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.geometry import Block, Blocks, Box, whole_box
from deepspot_scale.blockwise.rounds import (
    BlockContext,
    PlaneAnswers,
    Round,
    defer_rounds,
    reduce_rounds,
)
from deepspot_scale.errors import FieldError


@dataclass(frozen=True)
class ArrayReader:
    """Reads planes that are in memory, each held for one box of the field."""

    box: Box
    """Where in the field the arrays stand."""
    arrays: Mapping[str, NDArray[np.generic]]
    """By name, all of the box's shape."""

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return the pixels of `name` in `box`."""
        return self.arrays[name][box.within(self.box)]

    def has(self, name: str) -> bool:
        """Return whether there are such pixels."""
        return name in self.arrays

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the dtype of `name`."""
        return self.arrays[name].dtype


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
    cells: xr.DataArray | None, nuclei: xr.DataArray | None
) -> dict[str, xr.DataArray]:
    """Return the label images by name, y and x last, all of one shape.

    Raises
    ------
    FieldError
        Labels that are no whole numbers, or of different shapes.
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
        if not set(image.dims) <= {"t", "y", "x"}:
            raise FieldError(f"{name}: expected dimensions (t,) y, x; got {image.dims}")
    if len({image.shape[-2:] for image in labels.values()}) > 1:
        raise FieldError(
            f"cells have shape {labels['cells'].shape}, nuclei {labels['nuclei'].shape}"
        )
    # A mask of truth values is one region, with label 1.
    return {
        name: image.astype(np.uint8) if image.dtype.kind == "b" else image
        for name, image in labels.items()
    }


def labels_at(labels: Mapping[str, xr.DataArray], t: int) -> dict[str, xr.DataArray]:
    """Return the label planes of one time point; those without t serve all."""
    return {
        name: image.isel(t=t) if "t" in image.dims else image
        for name, image in labels.items()
    }


def is_lazy(*images: xr.DataArray | None) -> bool:
    """Return whether any of the arrays is held by Dask."""
    return any(image is not None and image.chunks is not None for image in images)


def iter_planes(image: xr.DataArray) -> Iterator[tuple[dict[str, int], xr.DataArray]]:
    """Yield the index of each leading position and the (y, x) plane there."""
    leading = image.dims[:-2]
    for position in np.ndindex(*image.shape[:-2]):
        index = dict(zip(map(str, leading), position, strict=True))
        yield index, image.isel(index)


def stack_planes(planes: list[Any], like: xr.DataArray) -> xr.DataArray:
    """Return planes, in `iter_planes` order, as one array labelled like `like`."""
    lazy = not isinstance(planes[0], np.ndarray)
    if lazy:
        import dask.array as da

        data = da.stack(planes).reshape(like.shape)
    else:
        data = np.stack(planes).reshape(like.shape)
    answer = xr.DataArray(data, dims=like.dims, coords=like.coords, attrs=like.attrs)
    # Given as an argument, no name at all would become Dask's name of the graph.
    return answer.rename(like.name)


def read_whole(images: Mapping[str, xr.DataArray]) -> ArrayReader:
    """Return a reader of planes, loading them if they are lazy."""
    arrays = {name: np.asarray(image.data) for name, image in images.items()}
    shape = next(iter(arrays.values())).shape
    return ArrayReader(whole_box((shape[0], shape[1])), arrays)


def defer_reader(
    images: Mapping[str, xr.DataArray], shape: tuple[int, int]
) -> Callable[[Block], Any]:
    """Return what gives each block a delayed reader of its own window only."""
    from dask.delayed import delayed

    call = delayed(_join_pieces, pure=False)

    def read_at(block: Block) -> Any:
        box = block.window.grow(0, shape)
        pieces = {
            name: _pieces(image.data[box.slices]) for name, image in images.items()
        }
        return call(box, pieces)

    return read_at


def _pieces(cut: Any) -> list[list[Any]]:
    """Return an array, or its delayed chunks, row by row.

    Handed over whole, Dask would optimise each cut's graph by itself, and what two
    windows share (a network's answer) would be computed once for each of them.
    """
    if isinstance(cut, np.ndarray):
        return [[cut]]
    pieces: list[list[Any]] = cut.to_delayed(optimize_graph=False).tolist()
    return pieces


def _join_pieces(box: Box, pieces: Mapping[str, list[list[Any]]]) -> ArrayReader:
    return ArrayReader(box, {name: np.block(parts) for name, parts in pieces.items()})


def reduce_plane(
    rounds: Sequence[Round],
    images: Mapping[str, xr.DataArray],
    blocks: Blocks,
    given: PlaneAnswers | None = None,
) -> Any:
    """Return the answers of all rounds on one plane; delayed when a plane is lazy.

    Parameters
    ----------
    rounds
        Steps, round after round.
    images
        Planes of one shape, by the names the steps read.
    blocks
        Their blocks.
    given
        Answers known beforehand.
    """
    if is_lazy(*images.values()):
        return defer_rounds(rounds, blocks, defer_reader(images, blocks.shape), given)
    return reduce_rounds(rounds, blocks, read_whole(images), given)


def _on_block(
    function: Any, block: Block, shape: tuple[int, int], read: Any, given: Any
) -> Any:
    return function(BlockContext(block, shape, read, {}), given)


def map_cores(
    function: Callable[[BlockContext, PlaneAnswers], NDArray[np.float32]],
    image: xr.DataArray,
    blocks: Blocks,
    given: Any,
) -> Any:
    """Apply `function` to every block and put the cores together again.

    Parameters
    ----------
    function
        Gives the float32 pixels of a block's core; it may read ``"image"``.
    image
        One plane, (y, x).
    blocks
        Its blocks.
    given
        Handed to the function; delayed when the plane is lazy.

    Returns
    -------
    ndarray or dask.array.Array
        float32, (y, x); lazy when the plane is, its chunks the cores.
    """
    if not is_lazy(image):
        read = read_whole({"image": image})
        answer = np.empty(blocks.shape, np.float32)
        for block in blocks.blocks:
            here = BlockContext(block, blocks.shape, read, {})
            answer[block.core.slices] = function(here, given)
        return answer
    import dask.array as da
    from dask.delayed import delayed

    read_at = defer_reader({"image": image}, blocks.shape)
    call = delayed(_on_block, pure=False)
    rows: dict[int, list[Any]] = {}
    for block in blocks.blocks:
        piece = call(function, block, blocks.shape, read_at(block), given)
        array = da.from_delayed(piece, block.core.shape, np.float32)
        rows.setdefault(block.core.y.start, []).append(array)
    return da.block(list(rows.values()))
