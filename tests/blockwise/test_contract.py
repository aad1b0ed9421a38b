"""A step reaches what it has declared and nothing else."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from deepspot_scale.blockwise.contract import (
    Answers,
    Key,
    Layer,
    Pixels,
    Step,
    Work,
    scaled_shape,
)
from deepspot_scale.blockwise.graphs import defer_rounds
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.errors import ContractError

SUM: Key[int] = Key("sum")
FOUND: Key[int] = Key("found")
SMOOTH = Layer("smooth", "float32")
LABELS = {"cells": np.ones((60, 50), np.int32)}
IMAGE = np.arange(60 * 50, dtype=np.float32).reshape(60, 50)


def _smooth(here: Any, _: Any) -> Pixels:
    return Pixels(here.wanted, here.read("image", here.wanted))


def _sum_of(layer: str, margin: int) -> Any:
    return lambda here, _: float(here.pixels(layer, margin).values.sum())


def _use(key: Key[Any]) -> Any:
    return lambda here, _: here.answers[key]


def _want(key: Key[Any]) -> Any:
    return lambda _, agreed: agreed[key]


MAKE = Step(SMOOTH, _smooth, {"image": 0})
FIND = Step(FOUND, lambda *_: 1)


def _run(*steps: Step, lazy: bool = False) -> Any:
    pipeline = plan_pipeline(
        {"stage": Work(steps)}, labels=("cells",), wanted=(SUM,), block=24
    )
    read = read_whole({"image": IMAGE, **LABELS})
    blocks = pipeline.blocks(IMAGE.shape)
    assert len(blocks.blocks) > 6
    if lazy:
        answers, _ = defer_rounds(pipeline, blocks, lambda _: read)
        return answers.compute(scheduler="synchronous")[SUM]
    return reduce_rounds(pipeline, blocks, read)[SUM]


lazy_or_not = pytest.mark.parametrize("lazy", [False, True])


@lazy_or_not
def test_what_is_declared_is_reached(lazy: bool) -> None:
    reads = {"image": 3, "cells": 2, "smooth": 2}
    step = Step(SUM, lambda here, known: here.answers[FOUND], reads, uses=(FOUND,))
    assert _run(MAKE, FIND, step, lazy=lazy) == 9
    for layer, margin in reads.items():
        total = _run(MAKE, Step(SUM, _sum_of(layer, margin), reads), lazy=lazy)
        assert total > {"image": IMAGE, "smooth": IMAGE, **LABELS}[layer].sum()


@lazy_or_not
@pytest.mark.parametrize("layer", ["image", "smooth", "cells"])
def test_a_layer_that_is_not_declared_cannot_be_read(layer: str, lazy: bool) -> None:
    step = Step(SUM, _sum_of(layer, 0), uses=(FOUND,))
    reader = Step(Key("other"), _sum_of("smooth", 0), {"smooth": 0, "cells": 0})
    total = Step(SUM, step.chunk, uses=(FOUND, reader.gives))
    with pytest.raises(ContractError, match=f"{layer!r} without naming it in `reads`"):
        _run(MAKE, FIND, reader, total, lazy=lazy)


@pytest.mark.parametrize("layer", ["image", "smooth", "cells"])
def test_a_layer_is_not_read_beyond_the_margin_that_is_declared(layer: str) -> None:
    step = Step(SUM, _sum_of(layer, 4), {layer: 3})
    with pytest.raises(ContractError, match=f"{layer!r} beyond the margin 3"):
        _run(MAKE, step)
    assert _run(MAKE, Step(SUM, _sum_of(layer, 3), {layer: 3})) > 0


@pytest.mark.parametrize("layer", ["image", "smooth", "cells"])
def test_what_another_step_reads_widens_no_margin(layer: str) -> None:
    wide = Step(FOUND, _sum_of(layer, 9), {layer: 9})
    narrow = Step(SUM, _sum_of(layer, 4), {layer: 3}, uses=(FOUND,))
    with pytest.raises(ContractError, match=f"{layer!r} beyond the margin 3"):
        _run(MAKE, wide, narrow)


@lazy_or_not
def test_an_answer_of_the_block_must_be_declared(lazy: bool) -> None:
    known = Step(Key("other"), lambda *_: 1, uses=(FOUND,))
    step = Step(SUM, _use(FOUND), uses=(known.gives,))
    with pytest.raises(ContractError, match=r"'found' is not there; .*`uses`"):
        _run(FIND, known, step, lazy=lazy)


@lazy_or_not
def test_an_answer_of_the_field_must_be_declared(lazy: bool) -> None:
    known = Step(Key("other"), lambda *_: 1, agreed=(FOUND,))
    step = Step(SUM, _want(FOUND), uses=(known.gives,))
    with pytest.raises(ContractError, match=r"'found' is not there; .*`agreed`"):
        _run(FIND, known, step, lazy=lazy)
    finalize = Step(SUM, lambda *_: 1, finalize=lambda _, agreed: agreed[FOUND])
    with pytest.raises(ContractError, match="'found' is not there"):
        _run(FIND, known, finalize, lazy=lazy)


def test_a_reader_tells_which_layers_a_step_has_and_their_dtypes() -> None:
    seen = []

    def look(here: Any, _: Any) -> int:
        names = ("image", "cells", "smooth", "nuclei")
        seen.append([here.read.has(name) for name in names])
        seen.append([here.read.dtype(name) for name in ("cells", "smooth")])
        with pytest.raises(ContractError, match="without naming it"):
            here.read.dtype("image")
        return 0

    _run(MAKE, Step(SUM, look, {"cells": 0, "smooth": 0}))
    assert seen[:2] == [[False, True, True, False], [np.int32, np.float32]]


def test_answers_are_reached_by_their_keys_alone() -> None:
    answers = Answers({"sum": 3})
    answers[FOUND] = 4
    assert (answers[SUM], answers[FOUND]) == (3, 4)
    assert SUM in answers
    assert Key("none") not in answers
    assert list(answers.only((FOUND, Key("none")))) == ["found"]


def test_a_layer_of_another_scale_covers_the_whole_image() -> None:
    assert scaled_shape((7, 5), Fraction(1, 2)) == (4, 3)
    assert scaled_shape((3, 7, 5), Fraction(8)) == (3, 56, 40)
