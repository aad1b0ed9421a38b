import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.blockwise.geometry import (
    Box,
    Span,
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
        assert all(span.start % grid == 0 for span in block.window)
        # What a core needs is inside its window.
        needed = block.core.grow(halo, blocks.shape)
        for need, window in zip(needed, block.window, strict=True):
            assert window.start <= need.start
            assert need.stop <= window.stop
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
    box = Box(*(Span(a, a + n) for a, n in zip(corner, size, strict=True)))
    field = np.arange(50 * 50).reshape(shape)
    outer = box.grow(by, shape)
    np.testing.assert_array_equal(
        field[outer.slices][box.within(outer)], field[box.slices]
    )
    moved = Span(3, 7).shift(by)
    assert moved == (3 + by, 7 + by)
