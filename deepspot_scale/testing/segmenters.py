"""The rules of a segmenter, checked on images with objects on every seam.

A `Segmenter` comes in, nothing goes out, or a `ContractError`. Nothing here knows how
objects are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from deepspot_scale.blockwise.contract import Answers, BlockContext, Key
from deepspot_scale.blockwise.geometry import one_block
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.errors import ContractError, FieldError
from deepspot_scale.kernels.objects import Objects, arrange, draw_labels, find_objects
from deepspot_scale.networks.segmenters import Segmenter, run_segmenter
from deepspot_scale.stages.segmentation.found import Found
from deepspot_scale.stages.segmentation.plugin import Owned, PluginObjects
from deepspot_scale.stages.segmentation.stacks import Stack
from deepspot_scale.testing.steps import send_copy

Image = NDArray[np.float32]
Labels = NDArray[np.int64]
_STEP = 32
"""Cores of the check are multiples of it, as the strides of usual networks are."""
_NAME = "that is checked"
_FURTHER = (2, 4, 8)
"""Reaches that are tried for the advice, in those that are declared."""
_PLANES = 24
"""Of a stack that is drawn."""
_LAYERS = {6.0: 3.0, 17.0: 4.0}
"""Planes of a stack in which objects have their centres, and how many planes these
objects go to either side."""


def check_segmenter(
    segmenter: Segmenter,
    *,
    images: Sequence[NDArray[Any]] = (),
    least_iou: float = 1.0,
    seed: int = 0,
) -> None:
    """Check that a segmenter may be run on tiles of a plane, or of a stack.

    Its labels are labels, nothing is found in an empty image, no object is larger than
    was declared, an image's answer is its own, objects follow an image that is moved,
    and tiles give the objects of the whole image.

    Parameters
    ----------
    segmenter
        As it would be named in ``run --segment nuclei:my_module:segmenter@DAPI``.
    images
        (y, x) images such as it is made for, (z, y, x) if it takes volumes, scaled so
        that percentiles 1 and 99.8 are 0 and 1; none: round objects of a third to half
        of `largest`, bright on dark, in a stack above one another.
    least_iou
        From 0 to 1: how alike an object must be to the same one in another window,
        as intersection over union. Networks sum in another order in other windows:
        0.95 allows for a few pixels on an object's rim.
    seed
        Of the objects that are drawn.

    Raises
    ------
    ContractError
        The first rule that is broken.
    """
    if not isinstance(segmenter, Segmenter):
        raise ContractError(
            f"{type(segmenter).__name__} is no Segmenter; say how large its objects "
            "are: Segmenter(function, largest=80)"
        )
    send_copy(segmenter)
    small = replace(segmenter, tile=2 * segmenter.halo + _core(segmenter))
    given = [np.asarray(image, np.float32) for image in images]
    for image in given or [_draw(small, seed)]:
        if image.ndim != len(small.axes):
            raise ContractError(
                f"the segmenter takes images ({', '.join(small.axes)}), and one of "
                f"{image.shape} is given; give others, or change volume"
            )
        if max(image.shape[-2:]) <= small.tile:
            raise ContractError(
                f"an image of {image.shape} px is one tile; with largest and reach of "
                f"{small.halo} px give images of more than {small.tile} px"
            )
        whole = _find(small, image, "an image of objects")
        _check_sizes(small, whole)
        _check_own(small, image)
        _check_shift(small, image, least_iou)
        _check_tiles(small, image, whole, least_iou)
    _check_odd(small)


def _core(segmenter: Segmenter) -> int:
    return -(-segmenter.largest // _STEP) * _STEP


def _find(segmenter: Segmenter, image: Image, what: str) -> Objects:
    return find_objects(_label(segmenter, image, what))


def _label(segmenter: Segmenter, image: Image, what: str) -> Labels:
    """Return labels of an image, which must be labels."""
    try:
        return run_segmenter(segmenter, image, _NAME)
    except FieldError as error:
        raise ContractError(f"on {what}: {error}") from error


def _check_sizes(segmenter: Segmenter, whole: Objects) -> None:
    sides = (whole.stops - whole.starts)[:, -2:].max(axis=1)
    if not len(sides):
        raise ContractError(
            "no object was found, so nothing can be compared; give images with objects "
            "for this segmenter: images=[...]"
        )
    if sides.max() > segmenter.largest:
        raise ContractError(
            f"the object at {_place(whole, int(sides.argmax()))} spans "
            f"{sides.max()} px, and largest={segmenter.largest} is declared; declare "
            "what objects may span at most, or leave larger ones out"
        )


def _check_own(segmenter: Segmenter, image: Image) -> None:
    first = _label(segmenter, image, "an image of objects")
    _label(segmenter, image[..., ::-1, :].copy(), "a mirrored image")
    again = _label(segmenter, image, "an image of objects")
    if not np.array_equal(first, again):
        raise ContractError(
            "the same image has other labels after another image; keep no state "
            "between calls, and draw no random numbers without a seed"
        )


def _check_shift(segmenter: Segmenter, image: Image, least_iou: float) -> None:
    core = _core(segmenter)
    shift = (core, 2 * core)
    frame = max(shift) + segmenter.halo
    wide = -(-frame // _STEP) * _STEP
    flat = [(0, 0)] * (image.ndim - 2)  # along z nothing is cut, so nothing moves
    width = [*flat, (wide, wide), (wide, wide)]
    padded = np.pad(image, width, constant_values=image.min())
    still = _find(segmenter, padded, "an image in an even frame")
    moved = _find(segmenter, np.roll(padded, shift, (-2, -1)), "a shifted image")
    back = moved.moved([*[0] * len(flat), -shift[0], -shift[1]])
    other = _first_unlike(still, back, padded.shape, least_iou)
    if other is not None:
        raise ContractError(
            f"objects do not follow an image that is moved by {shift} px, such as the "
            f"one at {other} in an even frame; use no tiles of your own that "
            "begin where the image does"
        )


def _check_tiles(
    segmenter: Segmenter, image: Image, whole: Objects, least_iou: float
) -> None:
    owned = _in_tiles(segmenter, image)
    other = _first_unlike(whole, owned.objects, image.shape, least_iou)
    if other is None:
        return
    raise ContractError(
        f"tiles of {segmenter.tile} px and the whole image of {image.shape} px give "
        f"other objects, such as the one at {other}. " + _advise(segmenter, least_iou)
    )


def _advise(segmenter: Segmenter, least_iou: float) -> str:
    """Say whether a wider reach mends what tiles answer, on larger images too."""
    for times in _FURTHER:
        reach = times * max(segmenter.reach, segmenter.largest // 4, 1)
        halo = segmenter.largest + reach
        wider = replace(segmenter, reach=reach, tile=2 * halo + _core(segmenter))
        image = _draw(wider, 0)
        whole = _find(wider, image, "a larger image")
        found = _in_tiles(wider, image).objects
        if (
            len(whole.masks)
            and _first_unlike(whole, found, image.shape, least_iou) is None
        ):
            return f"With reach={reach} they agree: declare what is needed"
    return (
        f"All that decides about an object must lie within reach={segmenter.reach} px "
        "of it: raise the reach, and take no threshold or scale from the image that is "
        "handed over (its maximum, a quantile, Otsu), which differs from tile to tile"
    )


def _in_tiles(segmenter: Segmenter, image: Image) -> Owned:
    """Return the objects that the stage would find."""
    key: Key[Stack] = Key("checked_stack")
    method = PluginObjects(
        _NAME, segmenter, key, Key[Owned]("checked"), Key[Found]("checked_found")
    )
    shape = image.shape
    (block,) = one_block(shape, segmenter.axes).blocks
    here = BlockContext(block, shape, read_whole({}), Answers(), block.core)
    try:
        agreed = Answers({key.name: Stack(image, None)})
        owned = method.chunk(here, agreed)
    except FieldError as error:
        raise ContractError(f"on a tile: {error}") from error
    return owned._replace(objects=arrange(owned.objects, shape).objects)


def _first_unlike(
    one: Objects, other: Objects, shape: Sequence[int], least_iou: float
) -> str | None:
    """Return the place of the first object that the other list lacks; None: none."""
    origin = [0] * len(shape)
    for these, those in ((one, other), (other, one)):
        drawn = draw_labels(those, origin, shape)
        for number, mask in enumerate(these.masks):
            start, stop = these.starts[number], these.stops[number]
            low, high = np.maximum(start, 0), np.minimum(stop, shape)
            box = tuple(slice(*span) for span in zip(low, high, strict=True))
            seen = mask[
                tuple(slice(*s) for s in zip(low - start, high - start, strict=True))
            ]
            names, sizes = np.unique(drawn[box][seen], return_counts=True)
            common = [(n, name) for n, name in zip(sizes, names, strict=True) if name]
            n, name = max(common, default=(0, 0))
            union = mask.sum() + (those.masks[name - 1].sum() if name else 0) - n
            if n < least_iou * union:
                return _place(these, number)
    return None


def _place(objects: Objects, number: int) -> str:
    """Return where an object is, such as ``(y, x) = (3, 4)``."""
    anchor = tuple(int(at) for at in objects.anchors[number])
    return f"({', '.join('zyx'[-len(anchor) :])}) = {anchor}"


def _check_odd(segmenter: Segmenter) -> None:
    deep = (_PLANES,) if segmenter.volume else ()
    for flat in ((64, 80), (16, 16), (16, 70), (70, 16)):
        shape = (*deep, *flat)
        black = np.zeros(shape, np.float32)
        found = _find(segmenter, black, "a black image")
        if len(found.masks):
            raise ContractError(
                f"{len(found.masks)} objects were found in a black image of {shape} "
                f"px, such as at {_place(found, 0)}"
            )


def _around(centre: Sequence[float], reach: Sequence[float]) -> tuple[slice, ...]:
    """Return the pixels that lie as near to a place, and a few more."""
    ends = zip(centre, reach, strict=True)
    return tuple(slice(max(0, int(c - r)), int(c + r) + 2) for c, r in ends)


def _draw(segmenter: Segmenter, seed: int) -> Image:
    """Return an image of round objects, on seams and between; brighter to the right.

    In a stack there are two layers of them.
    """
    rng = np.random.default_rng(seed)
    core, halo, largest = _core(segmenter), segmenter.halo, segmenter.largest
    shape = 2 * halo + 3 * core, 2 * halo + 2 * core + 11
    layers = _LAYERS if segmenter.volume else {0.0: 1.0}
    image = np.zeros((_PLANES if segmenter.volume else 1, *shape), np.float32)
    apart = max(3.0, 0.8 * largest)
    steps = [np.arange(apart / 2, n - apart / 4, apart) for n in shape]
    planes, rows, columns = np.ogrid[: len(image), : shape[0], : shape[1]]
    for z, *place in product(layers, *steps):
        y, x = place + rng.uniform(-0.1, 0.1, 2) * apart
        radius = max(0.5, rng.uniform(0.15, 0.26) * largest)
        height = 0.4 + 0.6 * x / shape[1]
        reach = (layers[z], radius, radius)
        box = _around((z, y, x), reach)
        at = (planes[box[0]], rows[:, box[1]], columns[:, :, box[2]])
        far = [((n - c) / r) ** 2 for n, c, r in zip(at, (z, y, x), reach, strict=True)]
        image[box][sum(far) <= 1] = height
    image = image if segmenter.volume else image[0]
    soft = ndimage.gaussian_filter(image, min(1.0, largest / 20))
    soft += abs(rng.normal(0, 0.01, image.shape))
    drawn: Image = soft.astype(np.float32)
    return drawn
