from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from dask.highlevelgraph import HighLevelGraph
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.blockwise.contract import Answers, Key, Layer, Pixels, Step, Work
from deepspot_scale.blockwise.geometry import plan_blocks
from deepspot_scale.blockwise.graphs import FAN_IN, defer_rounds, join_pieces
from deepspot_scale.blockwise.lifting import lift_plane, read_whole
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds

few = settings(max_examples=25, deadline=None)
SUM, NUMBER, SEEN, OFFSET = Key("sum"), Key("number"), Key("seen"), Key("offset")
GIVEN = Key("given")
ABOVE = Layer("above", "uint8")
IMAGE = {"image": 0}
KNOWN = Answers({"given": 1})


def _sum(here, _):
    return int(here.pixels("image").values.sum())


def _number(here, _):
    return here.block.number


def _above(here, agreed):
    pixels = here.read("image", here.wanted) > agreed[SUM] / 100
    return Pixels(here.wanted, pixels.astype(np.uint8))


def _seen(here, agreed):
    """What the block said in the round before, and the pixels it has above."""
    above = here.read("above", here.block.core)
    return [(here.block.number, here.answers[NUMBER], int(above.sum()))]


STEPS = (
    Step(SUM, _sum, IMAGE),
    Step(NUMBER, _number),
    Step(ABOVE, _above, IMAGE, agreed=(SUM,)),
    Step(SEEN, _seen, {"above": 0}, uses=(NUMBER,), agreed=(SUM,)),
    Step(OFFSET, lambda _, agreed: agreed[GIVEN], agreed=(GIVEN,)),
)


def planned(*steps, wanted, block=2560):
    return plan_pipeline(
        {"stage": Work(steps)}, wanted=wanted, given=(GIVEN,), block=block
    )


ALL = planned(*STEPS, wanted=(SUM, ABOVE, SEEN, OFFSET), block=8)


class CountedTasks(Mapping):
    """The tasks of chunks of ones, and how often anyone looked at them."""

    def __init__(self, name, places):
        self.tasks = {(name, *place): (np.ones, (8, 8), int) for place in places}
        self.looks = Counter()

    def __getitem__(self, key):
        self.looks["task"] += 1
        return self.tasks[key]

    def __contains__(self, key):
        self.looks["whether"] += 1
        return key in self.tasks

    def __iter__(self):
        self.looks["all"] += 1
        return iter(self.tasks)

    def __len__(self):
        self.looks["number"] += 1
        return len(self.tasks)


def counted_image(n):
    """A lazy image of n x n chunks, and its tasks."""
    tasks = CountedTasks("ones", np.ndindex(n, n))
    graph = HighLevelGraph({"ones": tasks}, {"ones": set()})
    array = da.Array(graph, "ones", ((8,) * n, (8,) * n), int)
    return xr.DataArray(array, dims=("y", "x")), tasks


@few
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.integers(5, 30),
    st.integers(0, 1),
)
def test_deferred_rounds_give_what_eager_ones_do(shape, block, halo):
    image = np.random.default_rng(0).integers(0, 9, shape)
    blocks, read = plan_blocks(shape, block=block, halo=halo), read_whole
    read = read({"image": image})
    now = reduce_rounds(ALL, blocks, read, KNOWN)
    np.testing.assert_array_equal(now.by_name["above"], image > image.sum() / 100)
    answers, pieces = defer_rounds(ALL, blocks, lambda _: read, KNOWN)
    assert len(pieces["above"]) == len(blocks.blocks)
    whole = join_pieces(ALL, answers, pieces).compute(scheduler="synchronous").by_name
    np.testing.assert_array_equal(whole.pop("above"), now.by_name.pop("above"))
    assert whole == now.by_name
    assert whole["offset"] == len(blocks.blocks)  # once a block
    assert sum(n for *_, n in whole["seen"]) == (image > image.sum() / 100).sum()


def test_every_way_to_compute_gives_the_same_answers():
    image = np.random.default_rng(0).integers(0, 9, (40, 50))
    lazy = xr.DataArray(image, dims=("y", "x")).chunk(y=9, x=16)
    plane = lift_plane(ALL, {"image": lazy}, KNOWN)
    now = reduce_rounds(
        ALL, ALL.blocks(image.shape), read_whole({"image": image}), KNOWN
    )
    above = now.by_name.pop("above")
    both = plane.answers, plane.layers["above"]
    for answers, layer in (
        dask.compute(*both, scheduler="synchronous"),
        dask.compute(*both, scheduler="threads"),
        dask.compute(*dask.persist(*both, scheduler="threads"), scheduler="threads"),
        dask.compute(*dask.optimize(*both), scheduler="synchronous"),
    ):
        assert answers.by_name == now.by_name
        np.testing.assert_array_equal(layer, above)


def test_building_the_rounds_computes_nothing(forbid_computing):
    def fail(*_):
        raise AssertionError("a step ran while the graph was built")

    blocks = plan_blocks((100, 100), block=10)
    first = Step(SUM, fail, combine=fail, finalize=fail)
    second = replace(first, gives=SEEN, agreed=(SUM,))
    both = planned(first, second, wanted=(SEEN,))
    assert len(both.rounds) == 2
    with forbid_computing:
        lazy, _ = defer_rounds(both, blocks, lambda _: None)
    with pytest.raises(AssertionError, match="a step ran"):
        dask.compute(lazy, scheduler="synchronous")


@pytest.mark.parametrize("n", [1, FAN_IN, FAN_IN + 1, FAN_IN**2 + 1])
def test_shares_are_combined_once_each_and_in_order(n):
    blocks = plan_blocks((1, n), block=1)
    numbers = Step(NUMBER, lambda here, _: [here.block.number])
    lazy, _ = defer_rounds(planned(numbers, wanted=(NUMBER,)), blocks, lambda _: None)
    assert lazy.compute(scheduler="synchronous")[NUMBER] == list(range(n))


@pytest.mark.parametrize("edge", [1, 2, 8, 24])
def test_a_graph_has_as_many_tasks_as_its_blocks_need(edge):
    blocks = plan_blocks((edge, edge), block=1)
    n = edge**2
    answers, pieces = defer_rounds(ALL, blocks, lambda _: None)
    combined, level = 0, n
    while level > 1:
        level = -(-level // FAN_IN)
        combined += level
    # Two rounds: a block's work and its share, the shares together, what is agreed.
    assert len(answers.dask) == 2 * (2 * n + combined + 1) + n
    assert {id(piece.dask) for piece in pieces["above"]} == {id(answers.dask)}


@pytest.mark.parametrize("n", [2, 8, 16])
def test_building_never_looks_at_the_tasks_of_what_is_read(n):
    image, tasks = counted_image(n)
    plane = lift_plane(ALL, {"image": image}, KNOWN)
    again = lift_plane(ALL, {"image": image.copy(data=plane.layers["above"])}, KNOWN)
    assert tasks.looks == {}
    sums = dask.compute(plane.answers, again.answers, scheduler="synchronous")
    assert tasks.looks["task"] > 0
    assert [answers[SUM] for answers in sums] == [64 * n**2, 0]
