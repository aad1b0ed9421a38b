import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.blockwise.geometry import plan_blocks, whole_box
from deepspot_scale.blockwise.lifting import (
    ArrayReader,
    check_image,
    check_labels,
    is_lazy,
    iter_planes,
    map_cores,
    reduce_plane,
    stack_planes,
)
from deepspot_scale.blockwise.rounds import Step, everything
from deepspot_scale.errors import FieldError

few = settings(max_examples=25, deadline=None)
SHAPE = (23, 31)


def numbers(shape=SHAPE, dims=("y", "x")):
    data = np.arange(np.prod(shape)).reshape(shape) % 97
    return xr.DataArray(data, dims=dims)


def neighbours(here, add):
    """Sum of the 3x3 pixels about each one, with zeros beyond the field."""
    core = here.block.core
    box = core.grow(1, here.shape)
    pixels = here.read("image", box)
    # Zeros where the box was cut at the field's edges.
    before = [1 - (a.start - b.start) for a, b in zip(core, box, strict=True)]
    after = [1 - (b.stop - a.stop) for a, b in zip(core, box, strict=True)]
    padded = np.pad(pixels, list(zip(before, after, strict=True)))
    height, width = core.shape
    total = sum(
        padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)
    )
    return (total + add).astype(np.float32)


def _sum(here, _):
    return int(here.read("image", here.block.core).sum())


SUM = (Step("sum", _sum, share=everything),)


@few
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.integers(3, 40),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_mapped_cores_are_the_whole_in_memory_and_lazy(shape, block, chunks):
    image = numbers(shape)
    whole = map_cores(neighbours, image, plan_blocks(shape, block=64, halo=1), 5)
    blocks = plan_blocks(shape, block=block, halo=1)
    np.testing.assert_array_equal(map_cores(neighbours, image, blocks, 5), whole)
    chunked = image.copy(data=da.from_array(image.data, chunks))
    lazy = map_cores(neighbours, chunked, blocks, 5)
    assert lazy.dtype == np.float32
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), whole)


def test_a_lazy_piece_is_computed_once_for_all_blocks_and_rounds(here_and_now):
    counted = []

    def load(values):
        counted.append(1)
        return values

    image = numbers()
    data = da.from_array(image.data, chunks=(12, 16))
    lazy = image.copy(data=data.map_blocks(load, meta=image.data[:0, :0]))
    mapped = map_cores(neighbours, lazy, plan_blocks(SHAPE, block=8, halo=1), 0)
    mapped = image.copy(data=mapped)
    blocks = plan_blocks(SHAPE, block=7, halo=1)
    images = {"image": mapped, "raw": lazy}
    answer = reduce_plane((SUM, SUM), images, blocks).compute()
    assert answer["sum"] > image.sum()
    assert len(counted) == 4


@pytest.mark.parametrize("lazy", [False, True])
def test_a_plane_is_reduced_to_the_same_answer(lazy, forbid_computing, here_and_now):
    image = numbers()
    blocks = plan_blocks(SHAPE, block=9, halo=1)
    images = {"image": image.chunk(y=5) if lazy else image}
    with forbid_computing:
        answer = reduce_plane((SUM,), images, blocks)
    answer = answer.compute() if lazy else answer
    assert answer == {"sum": int(image.sum())}


@pytest.mark.parametrize("lazy", [False, True])
def test_planes_are_stacked_as_they_were_taken_apart(lazy):
    image = numbers((2, 3, *SHAPE), ("t", "c", "y", "x"))
    image = image.assign_coords(c=["a", "b", "c"]).assign_attrs(address="B/03/0")
    image.name = "image"
    image = image.chunk(y=10) if lazy else image
    indices, planes = zip(*iter_planes(image), strict=True)
    assert indices[0] == {"t": 0, "c": 0}
    assert indices[-1] == {"t": 1, "c": 2}
    stacked = stack_planes([plane.data for plane in planes], image)
    assert is_lazy(stacked) == lazy
    xr.testing.assert_identical(stacked, image)


def test_a_reader_gives_the_pixels_of_any_box_inside_its_own():
    image = numbers().to_numpy()
    outer = plan_blocks(SHAPE, block=12, halo=2).blocks[-1]
    read = ArrayReader(outer.window, {"image": image[outer.window.slices]})
    np.testing.assert_array_equal(read("image", outer.core), image[outer.core.slices])
    assert read.has("image")
    assert not read.has("cells")
    assert read.dtype("image") == image.dtype


def test_y_and_x_come_last_whatever_the_order_was():
    image = numbers((4, 5, 6), ("x", "t", "y"))
    assert check_image(image).dims == ("t", "y", "x")
    assert check_image(image).shape == (5, 6, 4)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((3, 5)), "DataArray"),
        (xr.DataArray(np.zeros((3, 5)), dims=("y", "z")), "dimensions y and x"),
        (xr.DataArray(np.zeros((3, 5), complex), dims=("y", "x")), "real numbers"),
        (xr.DataArray(np.full((3, 5), "a"), dims=("y", "x")), "real numbers"),
        (xr.DataArray(np.zeros((0, 5)), dims=("y", "x")), "no pixels"),
        (xr.DataArray(np.zeros((0, 3, 5)), dims=("t", "y", "x")), "no pixels"),
    ],
)
def test_what_is_no_image_is_a_named_error(wrong, words):
    with pytest.raises(FieldError, match=words):
        check_image(wrong)


def test_a_mask_of_truth_values_becomes_one_label_and_stays_lazy():
    mask = numbers() > 50
    assert check_labels(mask, None)["cells"].dtype == np.uint8
    lazy = check_labels(None, mask.chunk(y=5))["nuclei"]
    assert is_lazy(lazy)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), mask)
    assert check_labels(None, None) == {}


def test_the_whole_box_holds_every_pixel():
    image = numbers().to_numpy()
    np.testing.assert_array_equal(image[whole_box(SHAPE).slices], image)
