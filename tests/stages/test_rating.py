"""Ratings of images: tiles that are fixed to the plane, whatever the blocks are."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from deepspot_scale.blockwise import geometry
from deepspot_scale.blockwise.answers import ENHANCED
from deepspot_scale.blockwise.answers import STEP as Z_STEP
from deepspot_scale.blockwise.contract import Answers, RunContext
from deepspot_scale.blockwise.lifting import lift_plane
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.blockwise.ratings import DISTANCE, RATING
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.networks import rater
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import get_engine
from deepspot_scale.networks.families import RATER
from deepspot_scale.networks.weights import write_weights
from deepspot_scale.pipeline import assemble_stages
from deepspot_scale.simulation import render_spots
from deepspot_scale.stages.brightness import (
    MEASURE_BRIGHTNESS,
    BrightnessOptions,
)
from deepspot_scale.stages.enhancement import ENHANCE, EnhanceOptions
from deepspot_scale.stages.rating import RATE, RateOptions, plan_rating, tile_boxes
from deepspot_scale.stages.volume import VOLUME, VolumeOptions
from deepspot_scale.testing.steps import read_whole, send_copy
from deepspot_scale.verbs.rating import rate
from deepspot_scale.vocabulary import RATINGS, TILE_RATINGS, PlaneIdentity

STEP = 1 / (1 << 16)


@pytest.fixture(scope="module")
def weights(raters: Path) -> str:
    return str(raters / "detection.safetensors")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    rng = np.random.default_rng(0)
    waves = 60 * np.sin(np.arange(601) / 30) * np.cos(np.arange(700) / 50)[:, None]
    return (rng.poisson(100, (700, 601)) + waves + 60).astype(np.uint16)


def plan(weights: str, block: int = 2560, **context: Any) -> Pipeline:
    told = RunContext(**context)
    options = RateOptions(
        use=True, rater=weights, rater_engine="keras", min_quality=0.9
    )
    choices = {MEASURE_BRIGHTNESS: BrightnessOptions(), RATE: options}
    return assemble_stages(choices, told, wanted=(), block=block)


def tables(
    pipeline: Pipeline, image: np.ndarray, *, lazy: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    given = xr.DataArray(image, dims=("y", "x"))
    if lazy:
        given = given.chunk(y=300, x=170)
    answers = lift_plane(pipeline, {"image": given}).answers
    if lazy:
        answers = answers.compute(scheduler="synchronous")
    one, other = (t.make(answers, PlaneIdentity()) for t in pipeline.tables)
    return one, other


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("block", [190, 256, 512])
def test_blocks_rate_as_one_block_does_to_the_last_bit(
    weights: str, image: np.ndarray, block: int, lazy: bool
) -> None:
    whole = tables(plan(weights), image)
    parts = plan(weights, block)
    assert len(parts.blocks(image.shape).blocks) > 3
    for one, other in zip(whole, tables(parts, image, lazy=lazy), strict=True):
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_the_blocks_of_a_run_are_as_without_ratings(weights: str) -> None:
    choices = {MEASURE_BRIGHTNESS: BrightnessOptions(), ENHANCE: EnhanceOptions()}
    alone = assemble_stages(choices, RunContext(), wanted=(ENHANCED,), block=512)
    rated = plan(weights, 512)
    assert rated.grid == alone.grid
    assert rated.halo == alone.halo
    assert rated.stages == ("enhance", "brightness", "rate")


def test_a_tile_is_rated_as_an_image_of_its_own(
    weights: str, image: np.ndarray
) -> None:
    _, found = tables(plan(weights), image)
    assert found[["y", "x"]].to_numpy().tolist() == [
        [y, x] for y in (0, 256, 444) for x in (0, 256, 345)
    ]
    pipeline = plan(weights)
    step = next(
        each.step
        for some in pipeline.rounds
        for each in some.steps
        if each.step.gives.name == "rating_of_whole_tiles"
    )
    work: Any = step.chunk
    seen: list[np.ndarray] = []
    original = work.prepare
    spied = type(work)(
        lambda *given: seen.append(original(*given)) or seen[-1],
        work.work,
        work.finish,
    )
    object.__setattr__(step, "chunk", spied)
    tables(pipeline, image)
    assert seen[0].shape == (9, 128, 128, 2)
    answers = get_engine(EngineChoice(weights, "keras")).predict(seen[0][4][None])
    recall, precision = np.rint(answers[0, 0, 0].astype(float) / STEP) * STEP
    middle = found.iloc[4]
    assert middle["expected_recall"] == recall
    assert middle["expected_precision"] == precision
    f1 = 2 * recall * precision / (recall + precision)
    assert abs(middle["score"] - f1) <= STEP / 2


def test_a_plane_has_the_mean_of_its_tiles(weights: str, image: np.ndarray) -> None:
    image = image.copy()
    places = np.random.default_rng(3).integers(0, 600, (2, 500))
    image[tuple(places)] += 2000
    rows, found = tables(plan(weights), image)
    (row,) = rows.to_dict("records")
    assert row["n_tiles"] == len(found) == 9
    assert found["score"].nunique() > 4
    for name in ("score", "expected_recall", "expected_precision"):
        mean = np.average(found[name], weights=found["weight"])
        assert row[name] == pytest.approx(mean, abs=1e-12)
    assert found["weight"].min() >= 4
    assert found["weight"].nunique() > 3


def test_parts_without_spots_say_little_of_the_others() -> None:
    pytest.importorskip("openvino")
    rng = np.random.default_rng(4)
    points = rng.uniform(4, 508, (300, 2))  # in one of four quarters
    light = render_spots((1024, 1024), points, np.full(300, 400.0), np.full(300, 1.3))
    counts = rng.poisson(100 + light).astype(np.uint16)
    image = xr.DataArray(counts, dims=("y", "x"))
    (row,) = rate(image).to_dict("records")
    tiles = rate(image, tiles=True)
    within = (tiles["y"] < 512) & (tiles["x"] < 512)
    assert tiles.loc[within, "score"].min() > 0.9
    assert tiles.loc[~within, "score"].max() < 0.2
    assert row["score"] > 0.85  # the plain mean is below .4
    assert 0 < row["distance"] < 1  # the shipped rater knows such images
    assert (tiles.loc[~within, "weight"] == 4).all()


def test_an_expert_s_rater_says_nothing_of_recall(
    raters: Path, image: np.ndarray
) -> None:
    rows, found = tables(plan(str(raters / "taste.safetensors")), image)
    assert rows["score"].between(0, 1).all()
    for table in (rows, found):
        assert table[["expected_recall", "expected_precision"]].isna().all(axis=None)
    assert rows["distance"].isna().all()  # its training images are not known
    assert (found["weight"] == 1).all()  # she looks at all parts alike


@pytest.mark.parametrize("shape", [(40, 300), (1, 2), (256, 256), (257, 30)])
def test_small_planes_have_full_tiles(weights: str, shape: tuple[int, int]) -> None:
    values = np.random.default_rng(1).poisson(90, shape).astype(np.uint16)
    rows, found = tables(plan(weights), values)
    assert rows["score"].between(0, 1).all()
    assert (found["height"] == min(shape[0], 256)).all()
    assert (found["width"] == min(shape[1], 256)).all()
    assert len(found) == -(-shape[0] // 256) * -(-shape[1] // 256)


def test_tiles_reach_the_plane_s_end_and_none_lies_beyond() -> None:
    for length in (1, 255, 256, 257, 511, 512, 513, 2048):
        spans = [box.x for box in tile_boxes((1, length), 256)]
        assert spans[0].start == 0
        assert spans[-1].stop == length
        covered = np.zeros(length, int)
        for span in spans:
            assert span.stop - span.start == min(256, length)
            covered[span.start : span.stop] += 1
        assert covered.min() == 1


def test_what_was_not_imaged_has_no_score(weights: str) -> None:
    values = np.random.default_rng(7).poisson(1000, (700, 601)).astype(np.uint16)
    values[:, :290] = 0
    rows, found = tables(plan(weights), values)
    left = found["x"] == 0
    assert found.loc[left, "score"].isna().all()
    assert found.loc[~left, "score"].notna().all()
    assert rows["n_tiles"].tolist() == [6]
    blocks = tables(plan(weights, 256), values)
    pd.testing.assert_frame_equal(blocks[1], found, check_exact=True)


@pytest.mark.parametrize("value", [0, 100, 65535])
def test_an_image_whose_pixels_are_all_alike_has_no_score(
    weights: str, value: int
) -> None:
    values = np.full((300, 520), value, np.uint16)
    rows, found = tables(plan(weights), values)
    assert rows[["score", "noise", "snr"]].isna().all(axis=None)
    assert rows["n_tiles"].tolist() == [0]
    assert found["score"].isna().all()
    pipeline = plan(weights)
    given = {"image": xr.DataArray(values, dims=("y", "x"))}
    answers = lift_plane(pipeline, given).answers
    counts = {c.name: c.count(answers[c.of]) for c in pipeline.counts}
    assert counts["n_unrated"] == 1


def test_an_image_unlike_the_training_is_farther(
    weights: str, image: np.ndarray
) -> None:
    noise = np.random.default_rng(5).normal(100, 5, (600, 600))
    like, unlike = noise.astype(np.uint16), (image // 20 * 400).astype(np.uint16)
    near, far = (
        tables(plan(weights), each)[0]["distance"][0] for each in (like, unlike)
    )
    assert near < far
    assert far > 1


def test_counts_say_what_is_left_out_and_what_is_unlike(
    weights: str, image: np.ndarray
) -> None:
    pipeline = plan(weights)
    given = {"image": xr.DataArray(image, dims=("y", "x"))}
    answers = lift_plane(pipeline, given).answers
    counts = {c.name: c.count(answers[c.of]) for c in pipeline.counts}
    row = tables(pipeline, image)[0].iloc[0]
    assert row["score"] < 0.9
    assert counts == {
        "n_left_out": 1,
        "n_unlike_rated": int(row["distance"] > 1),
        "n_unrated": 0,
    }
    (mean,) = pipeline.means
    assert mean.value(answers[mean.of]) == row["score"]


def test_noise_and_how_far_the_brightest_stand_out_are_beside_it(weights: str) -> None:
    values = np.random.default_rng(8).normal(200, 6, (600, 500)).round()
    values[::20, ::20] = 500
    (row,) = tables(plan(weights), values.astype(np.uint16))[0].to_dict("records")
    assert row["noise"] == pytest.approx(6, rel=0.1)
    assert row["snr"] == pytest.approx(300 / row["noise"], rel=0.02)


def test_wide_spots_are_seen_in_larger_tiles(weights: str) -> None:
    values = np.random.default_rng(6).poisson(90, (900, 520)).astype(np.uint16)
    wide = plan(weights, spot_sigma=5.0)
    rows, found = tables(wide, values)
    assert found["height"].unique().tolist() == [512]
    assert rows["score"].between(0, 1).all()
    smaller = plan(weights, 400, spot_sigma=5.0)
    pd.testing.assert_frame_equal(tables(smaller, values)[1], found, check_exact=True)


def test_every_plane_of_a_stack_is_rated(weights: str) -> None:
    rng = np.random.default_rng(10)
    stack = rng.poisson(90, (3, 270, 300)).astype(np.uint16)
    choices = {
        VOLUME: VolumeOptions(use=True, sigma_z=1.0),
        MEASURE_BRIGHTNESS: BrightnessOptions(),
        RATE: RateOptions(use=True, rater=weights, rater_engine="keras"),
    }
    found = []
    for block in (2560, 200):
        pipeline = assemble_stages(
            choices, RunContext(in_volume=True), wanted=(), block=block
        )
        assert pipeline.axes == "zyx"
        given = {"image": xr.DataArray(stack, dims=("z", "y", "x"))}
        known = Answers({Z_STEP.name: None})
        answers = lift_plane(pipeline, given, known).answers
        made = {t.name: t.make(answers, PlaneIdentity(z=-1)) for t in pipeline.tables}
        found.append(made)
    tiles = found[0]["tile_ratings"]
    assert tiles.groupby("plane").size().to_dict() == dict.fromkeys(range(3), 4)
    assert found[0]["ratings"]["n_tiles"].tolist() == [12]
    for name in ("ratings", "tile_ratings"):
        for other in found[1:]:
            pd.testing.assert_frame_equal(found[0][name], other[name], check_exact=True)


def test_no_other_model_rates() -> None:
    with pytest.raises(SettingsError, match="caso_fast, which rates no images"):
        plan("deepspot-fast")


def test_a_rater_that_answers_nan_is_refused(tmp_path: Path, image: np.ndarray) -> None:
    network = rater.Architecture(maps=(1, 1, 1, 1, 1, 1), stride=2, dense=1)
    arrays = [np.full_like(a, np.nan) for a in rater.build(network).get_weights()]
    path = tmp_path / "broken.safetensors"
    write_weights(path, arrays, network, family=RATER)
    with pytest.raises(FieldError, match=r"rates a tile as NaN"):
        tables(plan(str(path)), image)


def test_the_order_of_blocks_changes_nothing(weights: str, image: np.ndarray) -> None:
    pipeline = send_copy(plan(weights, 256))
    blocks = pipeline.blocks(image.shape)
    backwards = replace(blocks, blocks=blocks.blocks[::-1])
    forward, back = (
        reduce_rounds(pipeline, each, read_whole({"image": image}))
        for each in (blocks, backwards)
    )
    np.testing.assert_array_equal(forward[RATING].tiles, back[RATING].tiles)
    assert forward[DISTANCE] == back[DISTANCE]


def test_a_tile_that_begins_with_a_block_is_of_that_block_alone(raters: Path) -> None:
    values = np.random.default_rng(9).poisson(90, (672, 448)).astype(np.uint16)
    weights = str(raters / "paper.safetensors")  # of 224 px, and needs no halo
    pipeline, read = plan(weights), read_whole({"image": values})
    blocks = geometry.plan_blocks(values.shape, block=224)
    assert [block.core.y.start for block in blocks.blocks[::2]] == [0, 224, 448]
    whole, parts = (
        reduce_rounds(pipeline, each, read)[RATING].tiles
        for each in (pipeline.blocks(values.shape), blocks)
    )
    np.testing.assert_array_equal(whole, parts)
    assert len(parts) == 6


def test_a_stack_that_is_cut_along_z_is_rated_as_a_whole_one(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (5, 270, 300)
    values = np.random.default_rng(9).poisson(90, shape).astype(np.uint16)
    pipeline, read = plan(weights), read_whole({"image": values})
    whole = geometry.plan_blocks(shape, grid=pipeline.grid, axes="zyx")
    monkeypatch.setattr(geometry, "MOST_PLANES", 2)
    small = {"block": 300, "halo": pipeline.halo, "grid": pipeline.grid}
    blocks = geometry.plan_blocks(shape, **small, axes="zyx")
    assert {block.core.spans[0] for block in blocks.blocks} == {(0, 2), (2, 4), (4, 5)}
    one, other = (
        reduce_rounds(pipeline, b, read)[RATING].tiles for b in (whole, blocks)
    )
    np.testing.assert_array_equal(one, other)
    assert len(one) == 5 * 4


def test_tables_have_the_declared_columns(weights: str, image: np.ndarray) -> None:
    rows, found = tables(plan(weights), image)
    assert list(rows) == [column.name for column in RATINGS]
    assert list(found) == [column.name for column in TILE_RATINGS]
    assert str(found["y"].dtype) == "int64"


ENGINE = """
from deepspot_scale.networks.keras_engine import load as keras

CALLS = []


class Four:
    name, pixels_per_call = "four tiles", 4 * 128 * 128

    def __init__(self, choice):
        self.own = keras(choice)

    def predict(self, batch):
        CALLS.append(len(batch))
        return self.own.predict(batch)


load = Four
"""


def test_tiles_of_several_blocks_share_calls_and_change_nothing(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "four_tiles.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(tmp_path)
    options = RateOptions(use=True, rater=weights, rater_engine="four_tiles:load")
    work = plan_rating(options, RunContext())
    predict = next(s.chunk.work for s in work.steps if s.gives.name == "rating")
    rng = np.random.default_rng(4)
    shape = (128, 128, 2)
    sets = [rng.normal(size=(n, *shape)).astype(np.float32) for n in (3, 1, 0, 2)]
    together = predict(sets)
    assert importlib.import_module("four_tiles").CALLS == [4, 4]
    for one, other in zip(together, (predict([each])[0] for each in sets), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [len(each) for each in together] == [3, 1, 0, 2]


# --- in Python --------------------------------------------------------------------


def test_the_verb_gives_the_tables_of_the_stage(
    weights: str, image: np.ndarray, forbid_computing: Any
) -> None:
    engine = EngineChoice(weights, "keras")
    both = xr.DataArray(np.stack([image, image[::-1]]), dims=("c", "y", "x"))
    rows, found = (rate(both, engine=engine, tiles=each) for each in (False, True))
    for name, table in (("score", rows), ("expected_recall", found)):
        alone = tables(plan(weights), image)[int(table is found)]
        own = table[table["channel"] == "0"]
        pd.testing.assert_series_equal(own[name], alone[name], check_exact=True)
    assert rows["channel"].tolist() == ["0", "1"]
    pd.testing.assert_frame_equal(both.deepspot.rate(engine=engine), rows)
    with forbid_computing:
        lazy = rate(both.chunk(y=200, x=200), engine=engine, block=256)
    answer = lazy.compute(scheduler="synchronous").reset_index(drop=True)
    pd.testing.assert_frame_equal(answer, rows, check_exact=True)
