import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.blockwise.geometry import plan_blocks, whole_box
from deepspot_scale.blockwise.lifting import ArrayReader
from deepspot_scale.blockwise.rounds import (
    FAN_IN,
    Pipeline,
    Step,
    combine_shares,
    defer_rounds,
    everything,
    reduce_rounds,
)

few = settings(max_examples=25, deadline=None)


def _count(here, _):
    return int(here.read("image", here.block.core).sum())


def _mean(total, _):
    return total / 100


def _bright(here, field):
    """Pixels above the mean that the round before agreed on, with their places."""
    core = here.block.core
    above = here.read("image", core) > field["mean"]
    return [
        (int(y) + core.y.start, int(x) + core.x.start) for y, x in np.argwhere(above)
    ]


def _number(here, _):
    return here.block.number


def _seen(here, _):
    """What the block itself said in the rounds before."""
    return [(here.block.number, here.answers["number"], len(here.answers["bright"]))]


def _sorted(places, _):
    return sorted(places)


ROUNDS = (
    (
        Step("mean", _count, share=everything, finalize=_mean),
        Step("number", _number, carried=True),
    ),
    (
        Step("bright", _bright, share=everything, finalize=_sorted, carried=True),
        # Steps of one round see each other's answers; older ones must be carried.
        Step("again", _seen, share=everything),
    ),
    (Step("offset", lambda _, field: field["given"], share=everything),),
)


def reader(image):
    return ArrayReader(whole_box(image.shape), {"image": image})


def test_rounds_are_the_plain_formula():
    image = np.random.default_rng(0).integers(0, 9, (10, 10))
    blocks = plan_blocks((10, 10), block=3)
    answers = reduce_rounds(ROUNDS, blocks, reader(image), {"given": 1})
    assert answers["mean"] == image.mean()
    assert answers["bright"] == [
        (y, x) for y, x in np.argwhere(image > image.mean()).tolist()
    ]
    assert [number for number, *_ in answers["again"]] == list(range(16))
    assert all(number == carried for number, carried, _ in answers["again"])
    assert answers["offset"] == 16  # once a block
    assert "number" not in answers  # it was shared with no one


@few
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(5, 30),
    st.integers(0, 1),
)
def test_deferred_rounds_give_what_eager_ones_do(shape, block, halo):
    image = np.random.default_rng(0).integers(0, 9, shape)
    blocks = plan_blocks(shape, block=block, halo=halo)
    read, given_ = reader(image), {"given": 1}
    lazy = defer_rounds(ROUNDS, blocks, lambda _: read, given_)
    now = reduce_rounds(ROUNDS, blocks, read, given_)
    assert lazy.compute(scheduler="synchronous") == now


@few
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(1, 50))
def test_the_size_of_blocks_does_not_change_the_answer(shape, block):
    image = np.random.default_rng(1).integers(0, 9, shape)
    steps = ROUNDS[0][:1], ROUNDS[1][:1]
    whole = reduce_rounds(steps, plan_blocks(shape, block=64), reader(image))
    cut = reduce_rounds(steps, plan_blocks(shape, block=block), reader(image))
    assert cut == whole


def test_building_the_rounds_computes_nothing(forbid_computing):
    def fail(*_):
        raise AssertionError("a step ran while the graph was built")

    blocks = plan_blocks((100, 100), block=10)
    steps = (Step("all", fail, share=everything, combine=fail, finalize=fail),)
    with forbid_computing:
        lazy = defer_rounds((steps, steps), blocks, lambda _: None)
    with pytest.raises(AssertionError, match="a step ran"):
        dask.compute(lazy, scheduler="synchronous")


@pytest.mark.parametrize("n", [1, FAN_IN, FAN_IN + 1, FAN_IN**2 + 1])
def test_shares_are_combined_once_each_and_in_order(n):
    blocks = plan_blocks((1, n), block=1)
    numbers = (Step("numbers", lambda here, _: [here.block.number], share=everything),)
    lazy = defer_rounds((numbers,), blocks, lambda _: None)
    assert lazy.compute(scheduler="synchronous")["numbers"] == list(range(n))


@given(st.lists(st.integers(-9, 9), min_size=1), st.data())
def test_grouping_does_not_change_a_combined_share(values, data):
    steps = (Step("sum", _count, share=everything), Step("kept", _count))
    shares = [{"sum": value} for value in values]
    at = data.draw(st.integers(0, len(values)))
    groups = [group for group in (shares[:at], shares[at:]) if group]
    combined = combine_shares(steps, [combine_shares(steps, g) for g in groups])
    assert combined == {"sum": sum(values)}


def test_a_pipeline_cuts_fields_by_its_own_halo_and_grid():
    pipeline = Pipeline((), halo=10, grid=8, block=64)
    assert pipeline.blocks((100, 30)) == plan_blocks(
        (100, 30), block=64, halo=10, grid=8
    )
