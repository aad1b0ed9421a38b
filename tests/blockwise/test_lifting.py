import math
from fractions import Fraction

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.blockwise.contract import Answers, Key, Layer, Pixels, Step, Work
from deepspot_scale.blockwise.geometry import plan_blocks, whole_box
from deepspot_scale.blockwise.lifting import (
    ArrayReader,
    check_image,
    check_labels,
    is_lazy,
    iter_planes,
    lift_plane,
    read_whole,
    stack_planes,
)
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.errors import FieldError

few = settings(max_examples=25, deadline=None)
SHAPE = (23, 31)


def numbers(shape=SHAPE, dims=("y", "x")):
    data = np.arange(np.prod(shape)).reshape(shape) % 97
    return xr.DataArray(data, dims=dims)


ADD, SUM, AGAIN = Key("add"), Key("sum"), Key("again")
MAPPED = Layer("mapped", "float32")


def neighbours(here, agreed):
    """Sum of the pixels next to each one along every axis, zeros beyond the field."""
    axes = here.wanted.axes
    box = here.wanted.grow(dict.fromkeys(axes, 1), here.shape)
    pixels = here.read("image", box)
    # Zeros where the box was cut at the field's edges.
    pairs = zip(here.wanted.spans, box.spans, strict=True)
    padded = np.pad(
        pixels, [(1 - (a.start - b.start), 1 - (b.stop - a.stop)) for a, b in pairs]
    )
    shape = here.wanted.shape
    total = sum(
        padded[tuple(slice(o, o + n) for o, n in zip(off, shape, strict=True))]
        for off in np.ndindex(*[3] * len(shape))
    )
    return Pixels(here.wanted, (total + agreed[ADD]).astype(np.float32))


def _sum(layer):
    return lambda here, _: int(here.read(layer, here.block.core).sum())


def map_neighbours(image, block, add=5, axes="yx"):
    """The sums of neighbours of every pixel, block by block."""
    step = Step(MAPPED, neighbours, {"image": dict.fromkeys(axes, 1)}, agreed=(ADD,))
    pipeline = plan_pipeline(
        {"map": Work((step,), axes=axes)}, given=(ADD,), wanted=(MAPPED,), block=block
    )
    return lift_plane(pipeline, {"image": image}, Answers({"add": add})).layers[
        "mapped"
    ]


@few
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.integers(3, 40),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
def test_mapped_cores_are_the_whole_in_memory_and_lazy(shape, block, chunks):
    image = numbers(shape)
    whole = map_neighbours(image, 64)
    ones = np.pad(image.to_numpy(), 1)
    rows = ones[:-2] + ones[1:-1] + ones[2:]
    np.testing.assert_array_equal(whole, rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] + 5)
    np.testing.assert_array_equal(map_neighbours(image, block), whole)
    chunked = image.copy(data=da.from_array(image.data, chunks))
    lazy = map_neighbours(chunked, block)
    assert lazy.dtype == np.float32
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), whole)


def test_mapped_cores_of_a_stack_are_the_whole_in_memory_and_lazy():
    image = numbers((150, 11, 13), ("z", "y", "x"))
    whole = map_neighbours(image[60:80], 64, axes="zyx")  # one block
    cut = map_neighbours(image, 7, axes="zyx")
    np.testing.assert_array_equal(cut[61:79], whole[1:-1])
    chunked = image.chunk(z=40, y=5, x=13)
    lazy = map_neighbours(chunked, 7, axes="zyx")
    assert lazy.shape == image.shape
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), cut)


@pytest.mark.parametrize("scale", [2, Fraction(1, 2), Fraction(3, 2)])
def test_a_layer_of_another_scale_is_the_same_lazy(scale):
    layer = Layer("scaled", "float32", scale=scale)

    def pick(here, _):
        core = here.wanted.scaled(1 / Fraction(scale)).grow(0, here.shape)
        pixels = here.read("image", core.grow(1, here.shape))
        assert pixels.size
        y, x = (
            np.minimum(np.arange(*span) / scale, n - 1).astype(int)
            for span, n in zip(here.wanted.spans, here.shape, strict=True)
        )
        box = core.grow(1, here.shape)
        return Pixels(
            here.wanted, pixels[np.ix_(y - box.y.start, x - box.x.start)].astype("f4")
        )

    step = Step(layer, pick, {"image": 1})
    image = numbers((23, 31))
    planes = []
    for block in (2560, 8):
        pipeline = plan_pipeline({"s": Work((step,))}, wanted=(layer,), block=block)
        planes.append(lift_plane(pipeline, {"image": image}).layers["scaled"])
        lazy = lift_plane(pipeline, {"image": image.chunk(y=7, x=9)}).layers["scaled"]
        assert lazy.shape == planes[0].shape
        planes.append(lazy.compute(scheduler="synchronous"))
    for plane in planes[1:]:
        np.testing.assert_array_equal(plane, planes[0])
    assert planes[0].shape == tuple(math.ceil(n * scale) for n in (23, 31))


def test_a_lazy_piece_is_computed_once_for_all_blocks_and_rounds(here_and_now):
    counted = []

    def load(values):
        counted.append(1)
        return values

    image = numbers()
    data = da.from_array(image.data, chunks=(12, 16))
    lazy = image.copy(data=data.map_blocks(load, meta=image.data[:0, :0]))
    mapped = image.copy(data=map_neighbours(lazy, 8, add=0))
    steps = (
        Step(SUM, _sum("image"), {"image": 1, "raw": 1}),
        Step(AGAIN, _sum("image"), {"image": 1}, agreed=(SUM,)),
    )
    pipeline = plan_pipeline(
        {"sum": Work(steps)}, images=("image", "raw"), wanted=(AGAIN,), block=7
    )
    assert len(pipeline.rounds) == 2
    images = {"image": mapped, "raw": lazy}
    answer = lift_plane(pipeline, images).answers.compute()
    assert answer[AGAIN] > image.sum()
    assert len(counted) == 4


@pytest.mark.parametrize("chunks", [(5, 40), (1, 1), (11, 7), (23, 31)])
def test_chunks_of_any_size_are_put_together_under_blocks(chunks, here_and_now):
    image = numbers((40, 50))
    step = Step(SUM, _sum("image"), {"image": 3})
    pipeline = plan_pipeline({"sum": Work((step,))}, wanted=(SUM,), block=13)
    lazy = lift_plane(pipeline, {"image": image.chunk(y=chunks[0], x=chunks[1])})
    assert lazy.answers.compute()[SUM] == image.sum()


def test_a_chunk_of_another_shape_than_promised_is_an_error(here_and_now):
    """NumPy would stretch one row over all."""
    image = numbers().chunk(y=5, x=31)
    wrong = image.copy(data=image.data.map_blocks(lambda rows: rows[:1], dtype=int))
    step = Step(SUM, _sum("image"), {"image": 0})
    pipeline = plan_pipeline({"sum": Work((step,))}, wanted=(SUM,), block=9)
    with pytest.raises(FieldError, match=r"has shape \(1, 31\), .* promises \(5, 31\)"):
        lift_plane(pipeline, {"image": wrong}).answers.compute()


@pytest.mark.parametrize("lazy", [False, True])
def test_a_plane_is_reduced_to_the_same_answer(lazy, forbid_computing, here_and_now):
    image = numbers()
    step = Step(SUM, _sum("image"), {"image": 1})
    pipeline = plan_pipeline({"sum": Work((step,))}, wanted=(SUM,), block=9)
    images = {"image": image.chunk(y=5) if lazy else image}
    with forbid_computing:
        answer = lift_plane(pipeline, images).answers
    answer = answer.compute() if lazy else answer
    assert answer.by_name == {"sum": int(image.sum())}


@pytest.mark.parametrize("lazy", [False, True])
def test_a_joined_layer_is_a_plane_too(lazy, here_and_now):
    joined = Layer("joined", "int64", joined=True)
    step = Step(
        joined,
        lambda here, _: [here.block.number],
        finalize=lambda numbers, _: np.full(SHAPE, sum(numbers)),
    )
    pipeline = plan_pipeline({"join": Work((step,))}, wanted=(joined,), block=9)
    image = numbers().chunk(y=5) if lazy else numbers()
    plane = lift_plane(pipeline, {"image": image}).layers["joined"]
    assert is_lazy(xr.DataArray(plane)) == lazy
    n = len(pipeline.blocks(SHAPE).blocks)
    np.testing.assert_array_equal(plane, np.full(SHAPE, n * (n - 1) // 2))


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
    window = outer.window
    read = ArrayReader({"image": Pixels(window, image[window.slices])})
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
    np.testing.assert_array_equal(
        read_whole({"image": image})("image", whole_box(SHAPE)), image
    )


def test_the_axes_of_a_block_are_the_images_last_and_others_are_looped_over():
    image = numbers((2, 3, 4, 5), ("c", "z", "y", "x"))
    index, volumes = zip(*iter_planes(image, "zyx"), strict=True)
    assert index == ({"c": 0}, {"c": 1})
    assert volumes[0].dims == ("z", "y", "x")
    stacked = stack_planes([volume.data for volume in volumes], image, "zyx")
    xr.testing.assert_identical(stacked, image)
    with pytest.raises(FieldError, match="expected the dimensions zyx last"):
        list(iter_planes(image.transpose("z", "c", "y", "x"), "zyx"))


def test_planes_of_another_size_lose_the_coordinates_of_pixels_alone():
    image = numbers((2, 4, 5), ("c", "y", "x"))
    image = image.assign_coords(c=["a", "b"], y=np.arange(4) * 0.1)
    stacked = stack_planes([np.ones((8, 10))] * 2, image)
    assert stacked.shape == (2, 8, 10)
    assert list(stacked.coords) == ["c"]
