"""The contract of segmenters: those that keep it pass, each slip is named."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from deepspot_scale import Segmenter
from deepspot_scale.errors import ContractError
from deepspot_scale.testing import check_segmenter

Image = NDArray[np.float32]
LARGEST = 24
CALLS: list[int] = []


def bright(image: Image, least: float = 0.2) -> Any:
    """Return the connected parts that are brighter than a number."""
    return ndimage.label(image > least)[0]


def smooth(image: Image, sigma: float = 2) -> Any:
    """Look a few pixels beyond an object."""
    return bright(ndimage.gaussian_filter(image, sigma, truncate=3))


def as_fractions(image: Image) -> Any:
    return bright(image).astype(float)


def one_row_less(image: Image) -> Any:
    return bright(image)[1:]


def background_below_zero(image: Image) -> Any:
    return np.where(image > 0.2, bright(image), -1)


def all_in_one(image: Image) -> Any:
    """Give neighbours one label."""
    return (bright(image) + 1) // 2


def share_of_the_maximum(image: Image) -> Any:
    return bright(image, 0.42 * image.max(initial=0) + 1e-3)


def always_something(image: Image) -> Any:
    return bright(image) if image.any() else np.ones(image.shape, int)


def nothing(image: Image) -> Any:
    return np.zeros(image.shape, int)


def every_call_another(image: Image) -> Any:
    CALLS.append(1)
    labels = bright(image)
    return labels * (labels != len(CALLS))


def own_squares(image: Image) -> Any:
    """Cut objects at every 40th row from where the image starts."""
    rows = np.arange(image.shape[0])[:, None] // 40
    labels = bright(image)
    return np.where(labels > 0, labels + 10_000 * rows, 0)


def crash_on_small(image: Image) -> Any:
    if min(image.shape) < 20:
        raise ValueError("too small")
    return bright(image)


@pytest.mark.parametrize("function", [bright, partial(smooth, sigma=1)])
def test_segmenters_that_keep_the_contract_pass(function: Any) -> None:
    check_segmenter(Segmenter(function, LARGEST, reach=8))


def test_the_default_size_of_a_nucleus_is_checked_too() -> None:
    check_segmenter(Segmenter(bright, largest=60))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (as_fractions, "float64; labels are whole"),
        (one_row_less, "gave labels of shape"),
        (background_below_zero, "below 0"),
        (all_in_one, "largest=24 is declared"),
        (share_of_the_maximum, "take no threshold or scale from the image"),
        (always_something, "in a black image"),
        (nothing, "no object was found.*images="),
        (every_call_another, "after another image; keep no state"),
        (own_squares, "do not follow an image that is moved"),
        (crash_on_small, "fails on an image of .16, 16.*too small"),
    ],
)
def test_a_slip_is_named(function: Callable[[Image], Any], reason: str) -> None:
    CALLS.clear()
    with pytest.raises(ContractError, match=reason):
        check_segmenter(Segmenter(function, LARGEST))


def test_a_plain_function_is_told_what_to_add() -> None:
    with pytest.raises(ContractError, match=r"no Segmenter.*largest=80"):
        check_segmenter(bright)  # type: ignore[arg-type]


def test_a_function_that_looks_further_is_told_how_far() -> None:
    # What is 30 px away decides: no object's own box and 24 px tell it.
    def crowd(image: Image) -> Any:
        near = ndimage.maximum_filter(image, 71) > 0.75
        return bright(np.where(near, image, 0))

    check_segmenter(Segmenter(crowd, LARGEST, reach=48))
    with pytest.raises(ContractError, match=r"With reach=\d+ they agree"):
        check_segmenter(Segmenter(crowd, LARGEST))


def test_pixels_on_the_rim_may_be_allowed_for() -> None:
    def unsteady(image: Image) -> Any:
        return bright(image, 0.2 + 0.05 * (image.shape[0] > 100))

    segmenter = Segmenter(unsteady, LARGEST)
    check_segmenter(segmenter, least_iou=0.7)
    with pytest.raises(ContractError):
        check_segmenter(segmenter)


def test_an_image_that_is_one_tile_proves_nothing() -> None:
    with pytest.raises(ContractError, match=r"is one tile.*more than 80 px"):
        check_segmenter(Segmenter(bright, 24), images=[np.zeros((60, 70), np.float32)])


def test_what_cannot_travel_to_workers_is_refused() -> None:
    import threading

    lock = threading.Lock()

    def held(image: Image) -> Any:
        with lock:
            return bright(image)

    with pytest.raises(ContractError, match="cannot be sent to workers"):
        check_segmenter(Segmenter(held, LARGEST))


def brightest_plane(image: Image) -> Any:
    """Give each object the number of what lies in its column."""
    return np.where(image > 0.2, bright(image.max(axis=0)), 0)


@pytest.mark.parametrize(
    "function", [bright, brightest_plane, partial(smooth, sigma=1)]
)
def test_segmenters_of_volumes_that_keep_the_contract_pass(function: Any) -> None:
    check_segmenter(Segmenter(function, LARGEST, reach=8, volume=True))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (one_row_less, "gave labels of shape"),
        (all_in_one, r"the object at \(z, y, x\) = .*largest=24 is declared"),
        (share_of_the_maximum, r"at \(z, y, x\).*take no threshold or scale"),
        (always_something, r"in a black image of \(24, 64, 80\)"),
        (every_call_another, "after another image; keep no state"),
    ],
)
def test_a_slip_in_volumes_is_named(
    function: Callable[[Image], Any], reason: str
) -> None:
    CALLS.clear()
    with pytest.raises(ContractError, match=reason):
        check_segmenter(Segmenter(function, LARGEST, volume=True))


def test_images_have_the_axes_that_the_segmenter_takes() -> None:
    plane, stack = np.zeros((99, 99)), np.zeros((5, 99, 99))
    for image, volume in ((plane, True), (stack, False)):
        with pytest.raises(ContractError, match="or change volume"):
            check_segmenter(Segmenter(bright, LARGEST, volume=volume), images=[image])
