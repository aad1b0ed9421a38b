import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.blockwise.geometry import (
    MOST_PLANES,
    MOST_VOXELS,
    Box,
    Span,
    margin_along,
    one_block,
    plan_blocks,
    split_axis,
    whole_box,
)
from deepspot_scale.errors import SettingsError


@st.composite
def axes(draw):
    """Length, block, halo and grid that fit together."""
    grid = draw(st.sampled_from([1, 2, 8]))
    halo = grid * draw(st.integers(0, 20))
    block = 2 * halo + grid * draw(st.integers(1, 30))
    return draw(st.integers(1, 700)), block, halo, grid


@st.composite
def plans(draw):
    """Any field and settings, the halo not yet on the grid."""
    grid = draw(st.sampled_from([1, 2, 8]))
    halo = draw(st.integers(0, 40))
    block = 2 * (halo + grid) + grid + draw(st.integers(0, 60))
    shape = draw(st.integers(1, 400)), draw(st.integers(1, 400))
    return plan_blocks(shape, block=block, halo=halo, grid=grid), halo, grid


def test_blocks_are_those_of_the_drawing():
    spans = split_axis(11, block=4, halo=1, grid=1)
    assert [core for core, _ in spans] == [(0, 3), (3, 5), (5, 7), (7, 9), (9, 11)]
    assert [window for _, window in spans] == [
        (0, 4),
        (2, 6),
        (4, 8),
        (6, 10),
        (7, 11),
    ]


@given(axes())
def test_cores_tile_an_axis(axis):
    length, *rest = axis
    cores = [core for core, _ in split_axis(length, *rest)]
    assert [i for core in cores for i in range(*core)] == list(range(length))
    assert all(core.start < core.stop for core in cores)


@given(axes())
def test_windows_have_one_shape_and_stand_on_the_grid(axis):
    length, block, halo, grid = axis
    windows = [window for _, window in split_axis(length, block, halo, grid)]
    widths = {window.stop - window.start for window in windows}
    padded = -(-length // grid) * grid
    assert len(widths) == 1
    assert widths.pop() <= min(block, padded)
    assert all(window.start % grid == window.stop % grid == 0 for window in windows)
    assert windows[0].start == 0
    assert windows[-1].stop == padded


@given(axes())
def test_a_core_keeps_the_halo_from_the_ends_of_its_window_inside_the_field(axis):
    length, block, halo, grid = axis
    for core, window in split_axis(length, block, halo, grid):
        assert window.start == 0 or core.start - window.start >= halo
        assert window.stop >= length or window.stop - core.stop >= halo
        assert window.start <= core.start < core.stop <= window.stop


@given(axes())
def test_windows_are_no_longer_than_their_number_needs(axis):
    length, block, halo, grid = axis
    spans = split_axis(length, block, halo, grid)
    window = spans[0][1].stop
    if len(spans) > 1:
        shorter = window - grid
        fits = shorter > 2 * halo
        assert not fits or len(split_axis(length, shorter, halo, grid)) > len(spans)
        assert len(spans) == len(split_axis(length, window, halo, grid))


@given(plans())
def test_every_pixel_has_one_owner(plan):
    blocks, halo, grid = plan
    owners = np.zeros(blocks.shape, int)
    for number, block in enumerate(blocks.blocks):
        owners[block.core.slices] += 1
        assert block.number == number
        assert block.window.shape == blocks.window_shape
        assert all(span.start % grid == 0 for span in block.window.spans)
        # What a core needs is inside its window.
        needed = block.core.grow(halo, blocks.shape)
        for need, window in zip(needed.spans, block.window.spans, strict=True):
            assert window.start <= need.start
            assert need.stop <= window.stop
        assert needed.lies_in(block.window)
    assert (owners == 1).all()


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_field_that_fits_is_one_block(height, width):
    blocks = plan_blocks((height, width), block=5008, halo=128, grid=8)
    assert len(blocks.blocks) == 1
    assert blocks.blocks[0].core == whole_box((height, width))
    assert [n % 8 for n in blocks.window_shape] == [0, 0]
    alone = one_block((height, width)).blocks[0]
    assert alone.core == alone.window == whole_box((height, width))


def test_a_block_without_room_for_a_core_is_refused():
    with pytest.raises(SettingsError, match="at least 264 px"):
        plan_blocks((1000, 1000), block=256, halo=121, grid=8)
    assert plan_blocks((1000, 1000), block=264, halo=121, grid=8).window_shape == (
        264,
        264,
    )


@given(
    st.tuples(*[st.integers(1, 30)] * 2),
    st.tuples(*[st.integers(0, 20)] * 2),
    st.integers(0, 40),
)
def test_a_grown_box_is_found_again_in_its_window(size, corner, by):
    shape = (50, 50)
    box = Box(tuple(Span(a, a + n) for a, n in zip(corner, size, strict=True)))
    field = np.arange(50 * 50).reshape(shape)
    outer = box.grow(by, shape)
    np.testing.assert_array_equal(
        field[outer.slices][box.within(outer)], field[box.slices]
    )
    moved = Span(3, 7).shift(by)
    assert moved == (3 + by, 7 + by)


margins = st.one_of(
    st.integers(0, 9), st.dictionaries(st.sampled_from("zyx"), st.integers(0, 9))
)


@given(st.tuples(*[st.integers(1, 200)] * 3), margins, st.sampled_from([1, 2, 8]))
def test_every_voxel_has_one_owner_and_its_halo_along_each_axis(shape, halo, grid):
    blocks = plan_blocks(shape, block=64, halo=halo, grid=grid, axes="zyx")
    owners = np.zeros(shape, np.uint8)
    for block in blocks.blocks:
        owners[block.core.slices] += 1
        assert block.core.axes == block.window.axes == "zyx"
        assert block.window.shape == blocks.window_shape
        assert block.core.grow(halo, shape).lies_in(block.window)
        assert block.window.y.start % grid == block.window.x.start % grid == 0
    assert (owners == 1).all()
    assert blocks.window_shape[0] <= MOST_PLANES + 2 * margin_along(halo, "z")


def test_windows_of_stacks_are_bounded_and_those_of_planes_are_not():
    halo = {"z": 13, "y": 89, "x": 89}
    stack = plan_blocks((41, 2048, 2048), halo=halo, grid=4, axes="zyx")
    assert len(stack.blocks) == 4
    assert math.prod(stack.window_shape) <= MOST_VOXELS
    assert plan_blocks((2048, 2048), halo=89, grid=4).window_shape == (2048, 2048)
    thick = plan_blocks((4000, 900, 900), halo={"y": 400, "x": 400}, axes="zyx")
    assert thick.window_shape[1] > 800  # a core is left, whatever it takes


def test_a_deep_stack_is_cut_along_z_and_only_as_far_as_it_must_be():
    deep = plan_blocks((150, 40, 50), axes="zyx", halo={"z": 3, "y": 2, "x": 2})
    assert [block.core.along("z") for block in deep.blocks] == [
        (0, 51),
        (51, 99),
        (99, 150),
    ]
    flat = plan_blocks((64, 40, 50), axes="zyx", halo={"z": 3})
    assert [block.core for block in flat.blocks] == [whole_box((64, 40, 50), "zyx")]


def test_a_number_alone_is_a_margin_along_y_and_x():
    box = Box((Span(5, 6), Span(10, 20), Span(10, 20)), "zyx")
    assert box.grow(3, (9, 30, 22)).spans == ((5, 6), (7, 23), (7, 22))
    assert box.grow({"z": 2, "x": 1}, (7, 30, 30)).spans == ((3, 7), (10, 20), (9, 21))
    assert [margin_along(4, axis) for axis in "tzyx"] == [0, 0, 4, 4]


boxes = st.builds(
    lambda corner, size: Box(
        tuple(Span(a, a + n) for a, n in zip(corner, size, strict=True)), "zyx"
    ),
    st.tuples(*[st.integers(0, 50)] * 3),
    st.tuples(*[st.integers(1, 50)] * 3),
)
scales = st.fractions(Fraction(1, 8), 8, max_denominator=8)


@given(boxes, scales)
def test_a_scaled_box_is_the_least_that_holds_the_same_place(box, scale):
    scaled = box.scaled(scale)
    assert scaled.along("z") == box.along("z")
    for axis in "yx":
        span, finer = box.along(axis), scaled.along(axis)
        assert finer.start <= span.start * scale < finer.start + 1
        assert finer.stop - 1 < span.stop * scale <= finer.stop
    assert box.lies_in(scaled.scaled(1 / scale))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 8))
def test_cores_on_a_finer_grid_tile_it(height, width, scale):
    cores = [b.core for b in plan_blocks((height, width), block=7, halo=1).blocks]
    owners = np.zeros((height * scale, width * scale), np.uint8)
    for core in cores:
        owners[core.scaled(Fraction(scale)).slices] += 1
    assert (owners == 1).all()
