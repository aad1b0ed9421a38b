"""Judges of quality against experts and against measured F1, on real files."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepspot_scale.errors import SettingsError
from deepspot_scale.evaluation.quality import evaluate_quality, is_judged_by_pairs
from deepspot_scale.networks import rater
from deepspot_scale.networks.families import RATER
from deepspot_scale.networks.weights import write_weights
from deepspot_scale.simulation import simulate_image
from deepspot_scale.statistics.image_bootstrap import (
    estimate_rank_correlation,
    estimate_rms,
)

pytest.importorskip("openvino")


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return an untrained judge of an expert."""
    file = tmp_path_factory.mktemp("judges") / "expert.safetensors"
    network = rater.Architecture((4, 4, 6, 6, 6, 6), dense=8, outputs=rater.SCORE)
    arrays = rater.build(network).get_weights()
    write_weights(file, arrays, network, family=RATER)
    return str(file)


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Four simulated images; two experts scored three of them."""
    folder = tmp_path / "rated"
    (folder / "images").mkdir(parents=True)
    rows: list[Any] = [("image", "expert", "score")]
    for number in range(4):
        image = simulate_image("paper", 1, number, size=256).image
        tifffile.imwrite(folder / "images" / f"{number}.tif", image.astype(np.uint16))
        if number < 3:
            rows += [(number, "ann", 20 * number), (number, "ben", 20 * number + 10)]
    with (folder / "scores.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


def test_a_judge_is_compared_with_the_mean_of_experts(
    rated: Path, tmp_path: Path
) -> None:
    assert is_judged_by_pairs("rater")
    result = evaluate_quality(["rater"], rated, tmp_path / "out")
    (sheet,) = result.sheets
    images = sheet.images.set_index("image").sort_index()
    assert images.index.tolist() == ["0", "1", "2"]  # nobody has scored the last
    np.testing.assert_allclose(images["target"], [0.05, 0.25, 0.45])
    assert (images["n_experts"] == 2).all()
    np.testing.assert_allclose(images["error"], images["score"] - images["target"])
    rmse = sheet.summary.set_index("measure").loc["rmse"]
    assert rmse["value"] == pytest.approx(np.sqrt(np.mean(images["error"] ** 2)))
    assert rmse["low"] < rmse["value"] < rmse["high"]
    assert "Spearman" in result.page.read_text("utf-8")


def test_a_judge_of_detection_is_compared_with_measured_f1(
    rated: Path, expert: str, tmp_path: Path
) -> None:
    rows: list[Any] = [("image", "y", "x")]
    for number in range(2):
        points = simulate_image("paper", 1, number, size=256).points
        rows += [(f"{number}.tif", *point) for point in points]
    (rated / "scores.csv").unlink()
    with (rated / "spots.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    (sheet,) = evaluate_quality(["rater"], rated, tmp_path / "out").sheets
    targets = sheet.images.set_index("image")["target"]
    assert (targets[["0.tif", "1.tif"]] > 0.8).all()  # clear spots
    assert (sheet.images["n_experts"] == 0).all()
    with pytest.raises(SettingsError, match=r"true spots: give a study"):
        evaluate_quality([expert], rated, tmp_path / "other")


def test_a_folder_without_any_score_is_refused(
    rated: Path, expert: str, tmp_path: Path
) -> None:
    (rated / "scores.csv").write_text("image,score\n")
    with pytest.raises(SettingsError, match="no image has a score"):
        evaluate_quality([expert], rated, tmp_path / "out")


def test_estimates_are_those_of_scipy_and_have_intervals() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    one = rng.normal(0, 1, 60)
    other = one + rng.normal(0, 0.5, 60)
    ranks = estimate_rank_correlation(one, other)
    assert ranks.value == pytest.approx(spearmanr(one, other).statistic)
    assert ranks.low < ranks.value < ranks.high <= 1
    error = estimate_rms(other - one)
    assert error.value == pytest.approx(np.sqrt(np.mean((other - one) ** 2)))
    assert error.low < error.value < error.high
    assert np.isnan(estimate_rank_correlation([1, 1, 1], [1, 2, 3]).value)
