"""An evaluation of localisations: what is read, what is written, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.evaluation.localisation_matching import MatchTerms, sweep
from deepspot_scale.evaluation.localisation_report import (
    evaluate_localisations,
    read_localisations,
)


@pytest.fixture
def truth() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 6400, (200, 2))
    table = pd.DataFrame(places, columns=["x_nm", "y_nm"])
    return table.assign(frame=np.arange(200) // 20, z_nm=np.nan, photons=1000.0)


def as_csv(table: pd.DataFrame, path: Path) -> Path:
    """Save molecules as ThunderSTORM does."""
    columns = {"x [nm]": table["x_nm"], "y [nm]": table["y_nm"]}
    pd.DataFrame({"frame": table["frame"] + 1, **columns}).to_csv(path, index=False)
    return path


def test_everything_is_written_and_says_the_same(
    truth: pd.DataFrame, tmp_path: Path
) -> None:
    found = truth.iloc[:150].assign(x_nm=truth["x_nm"] + 25.0)
    result = evaluate_localisations(found, truth, tmp_path / "out")
    assert result.score.jaccard == 0.75
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "report.md", "sweep.csv", "sweep.parquet", "pairs.parquet", "sweep.svg",
        "errors.svg",
    }  # fmt: skip
    text = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert "Jaccard 0.750" in text
    assert "25.0 nm in the plane" in text
    assert "x +25.0 nm, y +0.0 nm" in text
    stored = pd.read_parquet(tmp_path / "out" / "sweep.parquet")
    pd.testing.assert_frame_equal(stored, sweep(found, truth))
    assert (tmp_path / "out" / "errors.svg").read_text("utf-8").count("<svg") == 1


def test_equal_evaluations_give_equal_files(
    truth: pd.DataFrame, tmp_path: Path
) -> None:
    for name in "ab":
        evaluate_localisations(truth, truth, tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path


def test_csv_parquet_and_table_are_the_same_localisations(
    truth: pd.DataFrame, tmp_path: Path
) -> None:
    csv = as_csv(truth, tmp_path / "found.csv")
    truth.to_parquet(tmp_path / "found.parquet")
    for source in (csv, tmp_path / "found.parquet", truth):
        assert evaluate_localisations(source, csv).score.jaccard == 1.0


def test_nothing_found_is_a_score_of_zero_and_not_an_error(
    truth: pd.DataFrame, tmp_path: Path
) -> None:
    result = evaluate_localisations(truth.iloc[:0], truth, tmp_path / "out")
    assert result.score.jaccard == 0.0
    assert "no pairs" in (tmp_path / "out" / "report.md").read_text("utf-8")


def test_one_of_several_movies_must_be_named(truth: pd.DataFrame) -> None:
    named = {"row": "", "column": "", "channel": "0"}
    both = pd.concat([truth.assign(field=name, **named) for name in "ab"])
    with pytest.raises(SettingsError, match="a/0, b/0"):
        read_localisations(both)
    with pytest.raises(SettingsError, match="'c'"):
        read_localisations(both, "c")
    assert set(read_localisations(both, "b")["field"]) == {"b"}


def test_a_folder_that_is_no_run_is_refused(
    truth: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="holds no run"):
        evaluate_localisations(tmp_path, truth)


def test_with_depth_axial_errors_are_drawn_and_told(
    truth: pd.DataFrame, tmp_path: Path
) -> None:
    deep = truth.assign(z_nm=np.linspace(0, 900, len(truth)))
    found = deep.assign(z_nm=deep["z_nm"] + 30.0)
    terms = MatchTerms(axial_nm=100.0)
    result = evaluate_localisations(found, deep, tmp_path / "out", terms)
    assert result.score.rmse_axial_nm == pytest.approx(30.0)
    assert "30.0 nm in depth" in (tmp_path / "out" / "report.md").read_text("utf-8")
