"""A stored image reads as NumPy would, whatever the size of its stored pieces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import FieldError
from deepspot_scale.io.stored_image import StoredImage, check_axes

PIXELS = np.random.default_rng(0).integers(0, 60000, (2, 3, 7, 8, 9), "uint16")
AXES = "tczyx"


def _image(chunks: tuple[int, ...] = PIXELS.shape, **changes: object) -> StoredImage:
    given: dict[str, object] = {
        "source": "memory",
        "axes": AXES,
        "shape": PIXELS.shape,
        "dtype": PIXELS.dtype,
        "chunks": chunks,
        "reader": PIXELS.__getitem__,
    }
    return StoredImage(**(given | changes))


@given(st.data())
def test_a_selection_is_that_of_numpy(data: st.DataObject) -> None:
    selection = tuple(
        data.draw(st.integers(0, size - 1) | st.slices(size)) for size in PIXELS.shape
    )
    np.testing.assert_array_equal(_image()[selection], PIXELS[selection])


@given(depth=st.integers(1, 9), t=st.integers(0, 1), c=st.integers(0, 2))
def test_a_projection_does_not_depend_on_the_stored_pieces(
    depth: int, t: int, c: int
) -> None:
    image = _image((1, 1, depth, 4, 4))
    window = (slice(1, 8), slice(0, 5))
    stack = PIXELS[t, c, :, 1:8, :5]
    index = {"t": t, "c": c}
    np.testing.assert_array_equal(image.plane(index, "max", window), stack.max(0))
    mean = image.plane(index, "mean", window)
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, stack.mean(0, dtype=float).astype("float32"))
    np.testing.assert_array_equal(image.plane(index, 3, window), stack[3])


def test_a_projection_without_planes_is_the_plane_itself() -> None:
    flat = PIXELS[0, 0, 0]
    image = _image(axes="yx", shape=flat.shape, chunks=(4, 4), reader=flat.__getitem__)
    whole = (slice(None), slice(None))
    for z in ("max", "mean", 0):
        np.testing.assert_array_equal(image.plane({}, z, whole), flat)
    assert (image.size("z"), image.ndim) == (1, 2)


def test_a_reader_that_gives_too_few_pixels_is_an_error() -> None:
    image = _image(reader=lambda selection: PIXELS[selection][..., :-1])
    with pytest.raises(FieldError, match=r"reading memory failed: got .* instead of"):
        image.plane({}, 0, (slice(None), slice(None)))


@pytest.mark.parametrize("axes", ["", "y", "xy", "zyxc", "tyx0", "yxz", "zczyx"])
def test_axes_out_of_order_are_refused(axes: str) -> None:
    with pytest.raises(FieldError, match="in this order"):
        check_axes(axes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shape": PIXELS.shape[1:]}, "expected an array with the axes tczyx"),
        ({"shape": (0, 3, 7, 8, 9)}, "expected 1 to"),
        ({"shape": (2, 3, 7, 8, 2**32)}, "expected 1 to"),
        ({"shape": (1, 1, 1, 2**31, 2**31)}, "no microscope gives that"),
        ({"shape": (2**20, 1, 1, 2**12, 2**12)}, "no microscope gives that"),
        ({"dtype": np.dtype("complex64")}, "expected integers or floats"),
    ],
)
def test_values_that_are_no_image_are_refused(
    changes: dict[str, object], reason: str
) -> None:
    with pytest.raises(FieldError, match=reason):
        _image(**changes)
