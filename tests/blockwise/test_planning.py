"""What follows from declarations: order, rounds, halos, and what leaves the field."""

from __future__ import annotations

import pickle
from fractions import Fraction
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from deepspot_scale.blockwise.contract import (
    Answers,
    Count,
    Key,
    Layer,
    Pixels,
    Step,
    Table,
    Work,
)
from deepspot_scale.blockwise.geometry import Margin, one_block
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import Pipeline, plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds, run_block
from deepspot_scale.errors import SettingsError
from deepspot_scale.vocabulary import Column

few = settings(max_examples=25, deadline=None)
A, B, C, D = (Key(name) for name in "abcd")
SMOOTH = Layer("smooth")
SMOOTHER = Layer("smoother")
CELLS = Layer("objects", "int32", labels=True, joined=True)
COLUMNS = (Column("n", "int64", "A number."),)


def _nothing(*_: Any) -> None:
    return None


def _step(gives: Key[Any], reads: Any = (), uses: Any = (), agreed: Any = ()) -> Step:
    return Step(gives, _nothing, dict(reads), tuple(uses), tuple(agreed))


def _table(name: str, *agreed: Key[Any]) -> Table:
    return Table(name, COLUMNS, agreed, _nothing)  # type: ignore[arg-type]  # not run


def _plan(*steps: Step, wanted: Any = (), **options: Any) -> Pipeline:
    return plan_pipeline({"stage": Work(steps)}, wanted=wanted, **options)


def _names(pipeline: Pipeline) -> list[list[str]]:
    return [[each.step.gives.name for each in r.steps] for r in pipeline.rounds]


# --- order ------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_order_follows_from_reads_and_uses_whatever_is_declared(
    order: tuple[int, ...],
) -> None:
    steps = (
        _step(A, {"image": 1}),
        _step(SMOOTH, {"image": 2}, agreed=(A,)),
        _step(B, {"smooth": 0}),
        _step(C, uses=(B,), agreed=(A,)),
    )
    declared = [steps[i] for i in order]
    assert _names(_plan(*declared, wanted=(C,))) == [["a"], ["smooth", "b", "c"]]
    works = {f"stage {i}": Work((steps[i],)) for i in order}
    of_stages = plan_pipeline(works, wanted=(C,))
    assert _names(of_stages) == [["a"], ["smooth", "b", "c"]]
    assert of_stages.stages == tuple(works)


def test_a_step_comes_one_round_after_what_the_field_agrees_on() -> None:
    steps = (_step(A), _step(B, agreed=(A,)), _step(C, agreed=(B,), uses=(A,)))
    planned = _plan(*steps, wanted=(C,))
    assert _names(planned) == [["a"], ["b"], ["c"]]
    shared = [each.shared for round_ in planned.rounds for each in round_.steps]
    assert shared == [True, True, True]
    known = _plan(*steps[1:], _step(A), wanted=(C,), given=(B,))
    assert _names(known) == [["a", "c"]]


def test_what_the_field_settles_goes_by_its_own_key() -> None:
    count = Step(A, _nothing, settles=B)
    assert _names(_plan(count, _step(C, agreed=(B,)), wanted=(C,))) == [["a"], ["c"]]


def test_steps_that_nobody_needs_do_not_run() -> None:
    planned = _plan(_step(A), _step(B), _step(C, uses=(A,)), wanted=(C,))
    assert _names(planned) == [["a", "c"]]


def test_no_stage_at_all_is_a_pipeline_of_no_rounds() -> None:
    assert plan_pipeline({}).rounds == ()


@pytest.mark.parametrize(
    ("steps", "circle"),
    [
        ((_step(A, uses=(B,)), _step(B, uses=(A,))), "a -> b -> a"),
        ((_step(A, agreed=(B,)), _step(B, agreed=(A,))), "a -> b -> a"),
        ((_step(A, uses=(A,)),), "a -> a"),
        (
            (
                _step(A, {"smooth": 1}),
                _step(SMOOTH, {"smoother": 1}),
                _step(SMOOTHER, {"smooth": 1}),
            ),
            "smooth -> smoother -> smooth",
        ),
    ],
)
def test_a_circle_is_an_error_that_names_it(
    steps: tuple[Step, ...], circle: str
) -> None:
    with pytest.raises(SettingsError, match=f"circle: {circle}$"):
        _plan(*steps, wanted=(A,))


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (_step(A, {"nuclei": 0}), "nuclei"),
        (_step(A, uses=(B,)), "b"),
        (_step(A, agreed=(B,)), "b"),
    ],
)
def test_what_no_stage_gives_is_an_error_that_names_the_reader(
    step: Step, name: str
) -> None:
    words = f"the stage stage reads '{name}', which no stage gives .* a, cells, image$"
    with pytest.raises(SettingsError, match=words):
        _plan(step, wanted=(A,), labels=("cells",))


def test_what_is_wanted_and_not_given_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"'b' is wanted, and no stage gives it"):
        _plan(_step(A), wanted=(B,))
    works = {"stage": Work((_step(A),), (_table("spots", B),))}
    with pytest.raises(SettingsError, match=r"'b' is wanted, and no stage gives it"):
        plan_pipeline(works)


def test_two_givers_of_one_answer_are_refused() -> None:
    works = {"one": Work((_step(A),)), "other": Work((_step(A),))}
    with pytest.raises(SettingsError, match="one and other both give 'a'"):
        plan_pipeline(works, wanted=(A,))
    with pytest.raises(SettingsError, match="stage gives 'smooth', and the field has"):
        _plan(_step(SMOOTH), wanted=(SMOOTH,), images=("image", "smooth"))


def test_of_two_tables_of_one_name_the_one_that_is_made_of_the_other_stays() -> None:
    first = Work((_step(A),), (_table("spots", A),))
    second = Work((_step(B, uses=(A,)),), (_table("spots", B),))
    (table,) = plan_pipeline({"find": first, "assign": second}).tables
    assert table.agreed == (B,)
    apart = Work((_step(B),), (_table("spots", B),))
    with pytest.raises(SettingsError, match="find and assign both give the table"):
        plan_pipeline({"find": first, "assign": apart})


def test_a_layer_that_is_made_for_nobody_is_refused() -> None:
    works = {"smooth": Work((_step(SMOOTH),)), "count": Work((_step(A),))}
    with pytest.raises(SettingsError, match=r"'smooth', which no stage.*--no-smooth"):
        plan_pipeline(works, wanted=(A,))
    kept = Work((_step(Layer("smooth", keep=True)),))
    assert len(plan_pipeline({**works, "smooth": kept}, wanted=(A,)).layers) == 1
    offered = Work((_step(Layer("smooth", offered=True)),))
    assert plan_pipeline({**works, "smooth": offered}, wanted=(A,)).stages == ("count",)


def test_stages_of_other_axes_are_refused_unless_they_take_stacks() -> None:
    flat, deep = Work((_step(A),)), Work((_step(B),), axes="zyx")
    with pytest.raises(SettingsError, match="stage flat works on yx, another one on"):
        plan_pipeline({"flat": flat, "deep": deep}, wanted=(A, B))
    looped = Work((_step(A),), stacks=True)
    planned = plan_pipeline({"flat": looped, "deep": deep}, wanted=(A, B))
    assert planned.axes == "zyx"
    assert plan_pipeline({"flat": looped}, wanted=(A,)).axes == "yx"


# --- what leaves the field --------------------------------------------------------


def test_tables_counts_and_layers_come_from_what_stages_give() -> None:
    count = Count("n_faint", "too faint", A, int)
    image = Layer("image_kept", "uint8", keep=True, folder="kept")
    works = {
        "find": Work((_step(A),), (_table("spots", A), count), networks=("engine",)),
        "keep": Work((_step(image, {"image": 0}),)),
        "idle": Work((_step(D),), networks=("other",)),
    }
    planned = plan_pipeline(works)
    assert [table.name for table in planned.tables] == ["spots"]
    assert planned.counts == (count,)
    assert planned.layers == (image,)
    assert image.stored_name == "kept"
    assert planned.stages == ("find", "keep")
    assert planned.networks == ("engine",)
    named = [column.name for column in planned.field_columns]
    assert named == ["n_faint", "seconds_find", "seconds_keep"]
    assert pickle.loads(pickle.dumps(planned.reads)) == {"image": {"y": 0, "x": 0}}


def test_a_block_carries_only_what_a_later_round_uses() -> None:
    steps = (
        _step(A),
        _step(SMOOTH, {"image": 1}),
        _step(B, {"smooth": 0}, agreed=(A,)),
        _step(C, uses=(A,)),
        _step(D, uses=(C,), agreed=(B,)),
    )
    planned = _plan(*steps, wanted=(D,))
    assert _names(planned) == [["a", "c", "smooth"], ["b"], ["d"]]
    carried = [sorted(round_.carries) for round_ in planned.rounds]
    assert carried == [["c", "smooth"], ["c"], []]
    answer = run_block(
        planned.rounds[0],
        one_block((5, 5)).blocks[0],
        (5, 5),
        read_whole({"image": np.zeros((5, 5))}),
        Answers(),
        {},
    )
    assert sorted(answer.carried) == ["c", "smooth"]
    assert list(answer.shares) == ["a"]


# --- margins ----------------------------------------------------------------------


def _reach(pipeline: Pipeline) -> dict[str, Any]:
    return {
        each.step.gives.name: each.reach
        for round_ in pipeline.rounds
        for each in round_.steps
        if isinstance(each.step.gives, Layer)
    }


@pytest.mark.parametrize(
    ("margin", "own", "scale", "expected"),
    [
        (3, 5, 1, 8),
        (3, 5, 2, 7),  # ceil(3 / 2) + 5
        (4, 5, 2, 7),
        (3, 5, 8, 6),
        (3, 5, Fraction(1, 2), 11),
        (0, 0, 4, 0),
    ],
)
def test_margins_add_up_backwards_over_the_readers(
    margin: int, own: int, scale: Any, expected: int
) -> None:
    fine = Layer("fine", scale=scale)
    steps = (_step(fine, {"image": own}), _step(A, {"fine": margin}))
    planned = _plan(*steps, wanted=(A,))
    assert planned.reads == {"image": {"y": expected, "x": expected}}
    assert planned.halo == {"y": expected, "x": expected}
    assert _reach(planned) == {"fine": {"y": margin, "x": margin}}


def test_margins_go_along_each_axis_and_the_widest_reader_counts() -> None:
    steps = (
        _step(SMOOTH, {"image": {"z": 1, "y": 2}}),
        _step(SMOOTHER, {"smooth": {"z": 4, "x": 3}}),
        _step(A, {"smoother": 1, "image": {"x": 2}}),
        _step(B, {"smooth": {"z": 6}, "cells": 90}),
    )
    work = {"stage": Work(steps, axes="zyx")}
    planned = plan_pipeline(work, wanted=(A, B), labels=("cells",))
    assert _reach(planned)["smooth"] == {"z": 6, "y": 1, "x": 4}
    assert planned.reads["image"] == {"z": 7, "y": 3, "x": 4}
    assert planned.reads["cells"] == {"y": 90, "x": 90}
    assert planned.halo == planned.reads["image"]  # labels are read as they are asked


def test_readers_of_a_joined_layer_widen_nothing() -> None:
    steps = (_step(CELLS, {"image": 2}), _step(A, {"objects": 50}))
    planned = _plan(*steps, wanted=(A,))
    assert _names(planned) == [["objects"], ["a"]]
    assert planned.halo == {"y": 2, "x": 2}


def test_grids_are_kept_and_those_on_which_coarse_layers_tile_too() -> None:
    coarse = Layer("coarse", scale=Fraction(2, 3))
    works = {
        "one": Work((_step(coarse, {"image": 1}),), grid=4),
        "other": Work((_step(A, {"coarse": 1}),), grid=2),
    }
    assert plan_pipeline(works, wanted=(A,)).grid == 12


# --- pixels -----------------------------------------------------------------------


def _box_filter(layer: str, margin: int, scale: Fraction = Fraction(1)) -> Any:
    """Return the mean of the pixels about each, made larger or smaller by a factor."""

    def chunk(here: Any, _: Any) -> Pixels:
        shape = here.shape
        core = here.wanted.scaled(1 / scale).grow(0, shape)
        box = core.grow(margin, shape)
        mean = ndimage.uniform_filter(
            here.read(layer, box), 2 * margin + 1, mode="nearest"
        )
        rows, columns = (
            np.minimum(np.arange(*span) / scale, n - 1).astype(int) - start
            for span, n, start in zip(
                here.wanted.spans, shape, (box.y.start, box.x.start), strict=True
            )
        )
        return Pixels(here.wanted, mean[np.ix_(rows, columns)])

    return chunk


def _chain(*, keep: bool = True, block: int = 2560) -> Pipeline:
    kept = Layer("smoother", keep=keep)
    works = {
        "again": Work((Step(kept, _box_filter("smooth", 3), {"smooth": 3}),)),
        "once": Work((Step(SMOOTH, _box_filter("image", 2), {"image": 2}),)),
    }
    return plan_pipeline(works, block=block)


def _run(pipeline: Pipeline, image: Any) -> Any:
    read = read_whole({"image": image})
    return reduce_rounds(pipeline, pipeline.blocks(image.shape), read)


@few
@given(st.tuples(st.integers(20, 50), st.integers(20, 50)), st.data())
def test_an_impulse_never_reaches_beyond_the_derived_halo(
    shape: tuple[int, int], data: st.DataObject
) -> None:
    place = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    block = data.draw(st.integers(13, 40))
    image = np.zeros(shape, np.float32)
    image[place] = 64.0
    pipeline = _chain(block=block)
    assert pipeline.halo == {"y": 5, "x": 5}
    answer = _run(pipeline, image).by_name["smoother"]
    once = ndimage.uniform_filter(image, 5, mode="nearest")
    twice = ndimage.uniform_filter(once, 7, mode="nearest")
    np.testing.assert_allclose(answer, twice, atol=1e-4)
    lit = np.argwhere(twice > 1e-3)
    assert abs(lit - place).max() == min(
        5, max(max(p, n - 1 - p) for p, n in zip(place, shape, strict=True))
    )


def test_no_pixel_beyond_the_halo_decides_about_a_core() -> None:
    image = np.random.default_rng(0).random((60, 70), np.float32)
    pipeline = _chain(block=32)
    whole = _run(_chain(), image).by_name["smoother"]
    for block in pipeline.blocks(image.shape).blocks:
        seen = np.full_like(image, np.nan)
        near = block.core.grow(pipeline.halo, image.shape).slices
        seen[near] = image[near]
        answer = _run(pipeline, seen).by_name["smoother"][block.core.slices]
        np.testing.assert_allclose(answer, whole[block.core.slices], rtol=1e-5)
        seen[near][0] = seen[near][-1] = np.nan  # one row less, and it would show
        less = _run(pipeline, seen).by_name["smoother"][block.core.slices]
        assert np.isnan(less).any()


@pytest.mark.parametrize("scale", [2, 3, Fraction(1, 2), Fraction(3, 2), 8])
@pytest.mark.parametrize("shape", [(41, 50), (7, 9)])
def test_a_layer_of_another_scale_is_the_same_in_blocks(
    scale: Any, shape: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).random(shape, np.float32)
    fine = Layer("fine", scale=scale, keep=True)
    total = Layer("total", "float32", keep=True)
    margin = 3

    def sum_around(here: Any, _: Any) -> Pixels:
        """Take the pixel of the finer grid that holds each pixel's corner."""
        finer = here.wanted.scaled(Fraction(scale))
        limits = tuple(int(np.ceil(n * Fraction(scale))) for n in here.shape)
        box = finer.grow(margin, limits)
        pixels = here.read("fine", box)
        mean = ndimage.uniform_filter(pixels, 2 * margin + 1, mode="nearest")
        rows, columns = (
            (np.arange(*span) * Fraction(scale)).astype(int) - start
            for span, start in zip(
                here.wanted.spans, (box.y.start, box.x.start), strict=True
            )
        )
        return Pixels(here.wanted, mean[np.ix_(rows, columns)])

    def plan(block: int) -> Pipeline:
        enlarge = _box_filter("image", 2, Fraction(scale))
        steps = (Step(fine, enlarge, {"image": 2}),)
        return plan_pipeline(
            {
                "enlarge": Work(steps),
                "sum": Work((Step(total, sum_around, {"fine": margin}),)),
            },
            block=block,
        )

    assert len(plan(30).blocks((41, 50)).blocks) > 1
    whole, cut = (_run(plan(block), image).by_name for block in (2560, 30))
    for name in ("fine", "total"):
        np.testing.assert_allclose(cut[name], whole[name], rtol=1e-5, err_msg=name)
    assert whole["fine"].shape == tuple(int(np.ceil(n * scale)) for n in shape)


def _threshold(here: Any, _: Any) -> Pixels:
    core = here.block.core
    return Pixels(core, here.read("image", core) > 0.6)


def _as_list(pixels: Pixels) -> list[Pixels]:
    return [pixels]


def _label(pieces: list[Pixels], _: Any) -> Any:
    ends = np.max([[span.stop for span in box.spans] for box, _ in pieces], axis=0)
    mask = np.zeros(ends, bool)
    for box, values in pieces:
        mask[box.slices] = values
    return ndimage.label(mask)[0].astype(np.int32)


def _largest(here: Any, _: Any) -> Any:
    return np.bincount(here.pixels("objects").values.ravel(), minlength=9999)


@pytest.mark.parametrize("block", [7, 16, 2560])
def test_labels_that_reach_over_blocks_are_joined_before_they_are_read(
    block: int,
) -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(0).random((50, 60)), 1) * 1.15
    make = Step(CELLS, _threshold, {"image": 0}, share=_as_list, finalize=_label)
    areas = Step(A, _largest, {"objects": 0})
    works = {"label": Work((make,)), "measure": Work((areas,))}
    planned = plan_pipeline(works, wanted=(A, CELLS), block=block)
    answers = _run(planned, image)
    labels, n = ndimage.label(image > 0.6)
    assert n > 5
    np.testing.assert_array_equal(answers.by_name["objects"], labels)
    np.testing.assert_array_equal(
        answers[A], np.bincount(labels.ravel(), minlength=9999)
    )
    assert [layer.name for layer in planned.layers] == ["objects"]


def test_margins_may_be_given_along_each_axis() -> None:
    margin: Margin = {"y": 3}
    planned = _plan(_step(A, {"image": margin}), wanted=(A,))
    assert planned.halo == {"y": 3, "x": 0}
