"""Images that score too low are in no statistics, and every table says so."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import deepspot_scale as ds
from deepspot_scale.cli.describe import describe_run
from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.report.page import write_report
from deepspot_scale.runs.left_out import read_least
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.runs.results import open_run
from deepspot_scale.runs.status import describe_status, read_status
from deepspot_scale.runs.summarise import with_statistics
from deepspot_scale.settings import load_settings, make_settings
from deepspot_scale.vocabulary import CELLS, LEFT_OUT, SPOTS

PATHS = ("B/03/0", "B/03/1", "C/04/0", "C/04/1")
ADDRESS = ["row", "column", "field"]
Outcome = Any


@pytest.fixture(scope="session")
def scenes(draw_scene: Callable[..., Any]) -> dict[str, Any]:
    return {path: draw_scene(seed, n=60) for seed, path in enumerate(PATHS)}


@pytest.fixture(scope="session")
def plate(
    tmp_path_factory: pytest.TempPathFactory,
    scenes: dict[str, Any],
    write_plate: Callable[..., str],
) -> str:
    return write_plate(tmp_path_factory.mktemp("rated") / "plate.zarr", scenes)


@pytest.fixture(scope="session")
def options(raters: Path) -> dict[str, Any]:
    """How the images are rated, and polarity measured."""
    rater = str(raters / "detection.safetensors")
    how = {"rate": True, "rater": rater, "rater_engine": "keras"}
    return {**how, "reference": "angle:90", "min_spots": 2}


@pytest.fixture(scope="session")
def rated(
    plate: str,
    options: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
    run_quickly: Callable[..., Outcome],
) -> Outcome:
    return run_quickly(plate, tmp_path_factory.mktemp("rated") / "RUN", **options)


@pytest.fixture(scope="session")
def scores(rated: Outcome) -> pd.Series:
    """The score of each field by its path, the least first."""
    ratings = open_run(rated.folder.url).read("ratings")
    paths = ratings["row"] + "/" + ratings["column"] + "/" + ratings["field"]
    found = pd.Series(ratings["score"].to_numpy(), paths).sort_values()
    assert (np.diff(found) > 1e-6).all()
    return found


@pytest.fixture(scope="session")
def least(scores: pd.Series) -> float:
    """A score that one field does not reach."""
    return float(scores.iloc[:2].mean())


def test_a_run_says_first_what_is_rated(
    plate: str, options: dict[str, Any], tmp_path: Path
) -> None:
    settings = make_settings(channels=["0"], enhance=False, **options)
    lines = list(describe_run(prepare_run(plate, str(tmp_path / "RUN"), settings)))
    assert [line for line in lines if "tile of 256 px a plane" in line] == [
        f"rating: 1 tile of 256 px a plane by {options['rater']}"
    ]


def copied(run: Outcome, to: Path) -> str:
    return str(shutil.copytree(run.folder.url, to))


def test_a_run_rates_as_the_verb_does(
    plate: str, rated: Outcome, raters: Path, scores: pd.Series
) -> None:
    engine = ds.EngineChoice(str(raters / "detection.safetensors"), "keras")
    found = open_run(rated.folder.url)
    for path in PATHS:
        field = open_plate(plate)[path]["image"].sel(c="FISH")
        for name, tiles in (("ratings", False), ("tile_ratings", True)):
            alone = ds.rate(field, engine=engine, tiles=tiles).compute()
            own = found.of_field(open_plate(plate).open(path).address)[name]
            pd.testing.assert_frame_equal(
                own.reset_index(drop=True), alone.reset_index(drop=True)
            )
    fields = found.fields.set_index(ADDRESS)
    assert fields["score"].sort_values().tolist() == scores.tolist()
    assert fields["n_left_out"].eq(0).all()
    assert found.summaries["left_out"].empty
    assert read_least(found) is None


@pytest.fixture
def without(
    scenes: dict[str, Any],
    options: dict[str, Any],
    scores: pd.Series,
    tmp_path: Path,
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Outcome],
) -> Outcome:
    """A run on the plate without the field that scores least."""
    others = {path: scene for path, scene in scenes.items() if path != scores.index[0]}
    fewer = write_plate(tmp_path / "fewer.zarr", others)
    return run_quickly(fewer, tmp_path / "FEWER", **options)


def test_statistics_are_those_of_a_plate_without_the_image(
    plate: str,
    without: Outcome,
    options: dict[str, Any],
    scores: pd.Series,
    tmp_path: Path,
    run_quickly: Callable[..., Outcome],
) -> None:
    bad, least = str(scores.index[0]), float(scores.iloc[:2].mean())
    strict = run_quickly(plate, tmp_path / "RUN", min_quality=least, **options)
    for name in ("wells", "conditions", "polarity", "roses", "field_polarity"):
        mine, theirs = (
            open_run(each.folder.url).summaries[name] for each in (strict, without)
        )
        assert len(mine)
        if "n_left_out" in mine:
            assert mine["n_left_out"].sum() == 1
            assert theirs["n_left_out"].sum() == 0
            mine, theirs = (t.drop(columns="n_left_out") for t in (mine, theirs))
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)
    run = open_run(strict.folder.url)
    (row,) = run.summaries["left_out"].to_dict("records")
    assert f"{row['row']}/{row['column']}/{row['field']}" == bad
    assert (row["score"], row["min_quality"]) == (scores.iloc[0], least)
    assert strict.progress.counts["n_left_out"] == 1
    for name, columns in (("spots", SPOTS), ("cells", CELLS)):  # these keep it
        assert list(run.read(name)) == [column.name for column in columns]
        table = run.read(name)
        paths = table["row"] + "/" + table["column"] + "/" + table["field"]
        assert bad in set(paths)


def test_the_least_score_can_be_chosen_after_the_run(
    rated: Outcome, scores: pd.Series, least: float, tmp_path: Path
) -> None:
    folder = copied(rated, tmp_path / "RUN")
    before = open_run(folder)
    strict = with_statistics(before, min_quality=least)
    assert strict.wells["n_left_out"].sum() == 1
    assert strict.wells["n_spots"].sum() < before.wells["n_spots"].sum()
    assert len(strict.summaries["left_out"]) == 1
    fields = pd.read_parquet(Path(folder) / "fields.parquet")
    assert fields["n_left_out"].sum() == 1
    assert fields.loc[fields["n_left_out"] == 1, "score"].tolist() == [scores.iloc[0]]
    assert read_least(open_run(folder)) == least
    again = with_statistics(open_run(folder))  # it stays
    assert again.wells["n_left_out"].sum() == 1
    back = with_statistics(open_run(folder), min_quality=0)
    pd.testing.assert_frame_equal(back.wells, before.wells, check_exact=True)


def test_all_images_may_be_left_out(rated: Outcome, tmp_path: Path) -> None:
    strict = with_statistics(open_run(copied(rated, tmp_path / "R")), min_quality=1)
    assert strict.wells["n_left_out"].tolist() == [2, 2]
    conditions = pd.read_parquet(strict.folder.local_path / "conditions.parquet")
    assert conditions["n_wells"].eq(0).all()  # a well left out is none of them
    assert strict.wells[["n_fields", "n_spots", "n_cells"]].eq(0).all(axis=None)
    assert strict.wells["spots_per_cell"].isna().all()
    page = write_report(strict.folder.local_path).read_text()
    assert "4 of 4 images" in page


def test_without_ratings_it_is_an_error_and_the_folder_stays(
    plate: str, tmp_path: Path, run_quickly: Callable[..., Outcome]
) -> None:
    folder = Path(run_quickly(plate, tmp_path / "RUN").folder.url)
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match="were not rated, so none can be left out"):
        write_report(folder, min_quality=0.5)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    with pytest.raises(SettingsError, match="none has a score: add rate"):
        ds.make_settings(channels=["FISH"], min_quality=0.5)


def test_a_score_beyond_0_and_1_is_an_error(rated: Outcome, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="from 0 to 1, got 50"):
        write_report(copied(rated, tmp_path / "RUN"), min_quality=50)


def test_another_rater_does_not_continue_a_run(
    plate: str, rated: Outcome, raters: Path, options: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    own = str(folder / "own.safetensors")
    shutil.copy(raters / "detection.safetensors", own)
    run = copied(rated, tmp_path / "RUN")
    text = (Path(run) / "settings.toml").read_text()
    (Path(run) / "settings.toml").write_text(text.replace(options["rater"], own))
    settings = load_settings(open_run(run).settings)
    ds.run(plate, run, settings)  # the same network by another name
    shutil.copy(raters / "taste.safetensors", own)
    with pytest.raises(RunError, match="rater"):
        ds.run(plate, run, settings)


def test_an_engine_of_somebody_else_runs_only_if_it_is_named_again(
    raters: Path,
) -> None:
    settings = ds.make_settings(
        channels=["FISH"],
        rate=True,
        rater=str(raters / "taste.safetensors"),
        rater_engine="their_module:load",
    )
    with pytest.raises(SettingsError, match="--engine their_module:load"):
        load_settings(settings)
    assert load_settings(settings, allowed=("their_module:load",)) == settings


def test_status_says_how_many_images_are_left_out(
    rated: Outcome, least: float, tmp_path: Path
) -> None:
    folder = copied(rated, tmp_path / "RUN")
    with_statistics(open_run(folder), min_quality=least)
    found = read_status(Folder(folder))
    assert found.n_left_out == 1
    assert found.score is not None
    run = open_run(folder)
    n_counted = int(run.wells["n_spots"].sum())
    assert found.n_spots == n_counted + found.n_spots_left_out
    assert found.n_spots_left_out > 0
    told = f"1 image scores too low to count, {found.n_spots_left_out} of the spots"
    assert any(told in line for line in describe_status(found))
    page = write_report(folder).read_text()
    assert f"their {found.n_spots_left_out} spots and their cells stay" in page
    inside = round((run.wells["spots_per_cell"] * run.wells["n_cells"]).sum())
    outside = n_counted - inside
    assert f"FISH: {n_counted} spots, {inside} of them in cells" in page
    assert (f"and {outside} outside, which are in no cell's number" in page) == (
        outside > 0
    )


def test_a_least_score_of_0_is_none(
    rated: Outcome, least: float, tmp_path: Path
) -> None:
    folder = copied(rated, tmp_path / "RUN")
    before = (Path(folder) / "wells.parquet").stat().st_mtime_ns
    with_statistics(open_run(folder), min_quality=0)
    assert (Path(folder) / "wells.parquet").stat().st_mtime_ns == before
    page = write_report(folder, min_quality=0).read_text()
    assert "All images count in the statistics" in page
    assert "scores below 0" not in page
    with_statistics(open_run(folder), min_quality=least)
    write_report(folder, min_quality=0)
    assert read_least(open_run(folder)) is None
    assert open_run(folder).summaries["left_out"].empty


def test_report_says_which_least_score_it_keeps(
    rated: Outcome, least: float, tmp_path: Path, command: Callable[..., Any]
) -> None:
    folder = copied(rated, tmp_path / "RUN")

    def told(*words: object) -> str:
        return str(command("report", folder, *words).err)

    assert "stay left out" not in told()
    assert "stay left out" not in told("--min-quality", least)
    assert f"images that score below {least:g} stay left out" in told()
    assert "stay left out" not in told("--min-quality", 0)


def test_the_table_of_images_left_out_has_the_declared_columns(
    rated: Outcome,
) -> None:
    table = open_run(rated.folder.url).summaries["left_out"]
    assert list(table) == [column.name for column in LEFT_OUT]
