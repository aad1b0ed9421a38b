import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.blockwise.contract import Answers, Key, Layer, Pixels, Step, Work
from deepspot_scale.blockwise.geometry import plan_blocks
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import (
    combine_shares,
    put_together,
    reduce_rounds,
)

few = settings(max_examples=25, deadline=None)
MEAN, NUMBER, BRIGHT = Key("mean"), Key("number"), Key("bright")
AGAIN, OFFSET, GIVEN, SUM = Key("again"), Key("offset"), Key("given"), Key("sum")
ABOVE = Layer("above", "uint8")
IMAGE = {"image": 0}


def _count(here, _):
    return int(here.pixels("image").values.sum())


def _mean(total, _):
    return total / 100


def _bright(here, agreed):
    """Pixels above the mean that the round before agreed on, with their places."""
    core = here.block.core
    above = here.read("image", core) > agreed[MEAN]
    return [
        (int(y) + core.y.start, int(x) + core.x.start) for y, x in np.argwhere(above)
    ]


def _number(here, _):
    return here.block.number


def _seen(here, _):
    """What the block itself said, in the round before and in this one."""
    return [(here.block.number, here.answers[NUMBER], len(here.answers[BRIGHT]))]


def _sorted(places, _):
    return sorted(places)


def _above(here, agreed):
    pixels = here.read("image", here.wanted) > agreed[MEAN]
    return Pixels(here.wanted, pixels.astype(np.uint8))


def _given(_, agreed):
    return agreed[GIVEN]


FIRST = Step(MEAN, _count, IMAGE, finalize=_mean)
SECOND = Step(BRIGHT, _bright, IMAGE, agreed=(MEAN,), finalize=_sorted)
STEPS = (
    FIRST,
    Step(NUMBER, _number),
    SECOND,
    # A step finds what earlier rounds made of its block, and what this one did.
    Step(AGAIN, _seen, uses=(NUMBER, BRIGHT)),
    Step(OFFSET, _given, agreed=(GIVEN,)),
)
KNOWN = Answers({"given": 1})


def pipeline(*steps, wanted, given=(), block=2560):
    return plan_pipeline(
        {"stage": Work(steps)}, wanted=wanted, given=given, block=block
    )


ALL = pipeline(*STEPS, wanted=(MEAN, BRIGHT, AGAIN, OFFSET), given=(GIVEN,))


def reader(image):
    return read_whole({"image": image})


def test_rounds_are_the_plain_formula():
    image = np.random.default_rng(0).integers(0, 9, (10, 10))
    blocks = plan_blocks((10, 10), block=3)
    answers = reduce_rounds(ALL, blocks, reader(image), KNOWN)
    assert answers[MEAN] == image.mean()
    assert answers[BRIGHT] == [
        (y, x) for y, x in np.argwhere(image > image.mean()).tolist()
    ]
    assert [number for number, *_ in answers[AGAIN]] == list(range(16))
    assert all(number == carried for number, carried, _ in answers[AGAIN])
    assert sum(n for *_, n in answers[AGAIN]) == len(answers[BRIGHT])
    assert answers[OFFSET] == 16  # once a block
    assert NUMBER not in answers  # it was shared with no one


@few
@given(st.tuples(st.integers(1, 20), st.integers(1, 20)), st.integers(1, 30))
def test_a_layer_that_is_kept_is_put_together_from_the_cores(shape, block):
    image = np.random.default_rng(0).integers(0, 9, shape)
    kept = pipeline(
        FIRST,
        Step(ABOVE, _above, IMAGE, agreed=(MEAN,)),
        wanted=(MEAN, ABOVE),
    )
    blocks, read = plan_blocks(shape, block=block), reader(image)
    now = reduce_rounds(kept, blocks, read)
    np.testing.assert_array_equal(now.by_name["above"], image > image.sum() / 100)
    assert now.by_name["above"].dtype == np.uint8


@given(st.permutations(range(12)))
def test_cores_are_put_together_in_any_order(order):
    image = np.arange(12 * 9).reshape(12, 9)
    cores = [block.core for block in plan_blocks((12, 9), block=3).blocks]
    pieces = [Pixels(cores[i], image[cores[i].slices]) for i in order]
    np.testing.assert_array_equal(put_together(pieces, "int64"), image)


@few
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(1, 50))
def test_the_size_of_blocks_does_not_change_the_answer(shape, block):
    image = np.random.default_rng(1).integers(0, 9, shape)
    steps = pipeline(FIRST, SECOND, wanted=(MEAN, BRIGHT))
    whole = reduce_rounds(steps, plan_blocks(shape, block=64), reader(image))
    cut = reduce_rounds(steps, plan_blocks(shape, block=block), reader(image))
    assert cut.by_name == whole.by_name
    assert set(cut) == {"mean", "bright"}


@given(st.lists(st.integers(-9, 9), min_size=1), st.data())
def test_grouping_does_not_change_a_combined_share(values, data):
    steps = Step(SUM, _count, IMAGE), Step(NUMBER, _count, IMAGE)
    seen = Step(AGAIN, _seen, uses=(NUMBER,))
    (round_,) = pipeline(*steps, seen, wanted=(SUM, AGAIN)).rounds
    shares = [{"sum": value, "again": [value]} for value in values]
    at = data.draw(st.integers(0, len(values)))
    groups = [group for group in (shares[:at], shares[at:]) if group]
    combined = combine_shares(round_, [combine_shares(round_, g) for g in groups])
    assert combined == {"sum": sum(values), "again": values}


def test_a_pipeline_cuts_fields_by_its_own_halo_and_grid():
    step = Step(SUM, _count, {"image": 10})
    planned = plan_pipeline({"stage": Work((step,), grid=8)}, wanted=(SUM,), block=64)
    assert planned.blocks((100, 30)) == plan_blocks(
        (100, 30), block=64, halo=10, grid=8
    )
