"""Denoised images are scored by pixels and by the spots that are left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.evaluation.denoising_scores import (
    COLUMNS,
    DENOISING,
    read_spots,
    score_images,
)

SPOTS = {"n_spots", "n_noisy", "n_found", "matched_noisy", "matched_found"}


def _images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.random((40, 50))
    noise = rng.normal(0, 0.1, clean.shape)
    return clean, clean + noise, clean + noise / 10


def test_a_tenth_of_the_noise_is_a_gain_of_20_db() -> None:
    row = score_images(*_images())
    assert row["psnr_gain"] == pytest.approx(20)
    assert row["psnr"] - row["psnr_noisy"] == row["psnr_gain"]
    assert row["ssim"] > row["ssim_noisy"]
    assert set(row) | SPOTS == {column.name for column in COLUMNS}


def test_a_wrong_gain_costs_psnr_but_not_the_scale_invariant_one() -> None:
    clean, noisy, denoised = _images()
    right, wrong = (score_images(clean, noisy, g * denoised) for g in (1.0, 0.5))
    assert wrong["psnr"] < right["psnr"] - 10
    assert wrong["si_psnr"] == pytest.approx(right["si_psnr"])


def test_a_constant_clean_image_has_no_score() -> None:
    _, noisy, denoised = _images()
    with pytest.raises(SettingsError, match="range of values"):
        score_images(np.ones_like(noisy), noisy, denoised)


def test_spots_are_read_by_the_images_name_whatever_its_ending(tmp_path: Path) -> None:
    assert read_spots(tmp_path) is None
    table = pd.DataFrame({"image": ["a.tif", "a.tif", "b.png"], "y": 1.5, "x": 2})
    table.to_csv(tmp_path / "spots.csv", index=False)
    spots = read_spots(tmp_path)
    assert spots is not None
    assert {name: len(points) for name, points in spots.items()} == {"a": 2, "b": 1}


def _table(**values: list[float]) -> pd.DataFrame:
    names = [column.name for column in COLUMNS]
    n = len(next(iter(values.values())))
    return pd.DataFrame({name: values.get(name, [1.0] * n) for name in names})


def test_recall_is_that_of_all_spots_together() -> None:
    table = _table(
        n_spots=[10, 90, 0],
        matched_noisy=[10, 60, 0],
        matched_found=[5, 70, 0],
        n_noisy=[10, 60, 0],
        n_found=[10, 80, 10],
    )
    summary = DENOISING.summarise(table).set_index("measure")["value"]
    assert summary["spot_recall_noisy"] == 0.7
    assert summary["spot_recall"] == 0.75
    assert summary["spot_recall_change"] == pytest.approx(0.05)
    assert summary["spot_precision"] == 0.75
    assert summary["spot_precision_noisy"] == 1.0


def test_images_whose_spots_are_not_known_do_not_count() -> None:
    unknown = {name: [np.nan, np.nan] for name in SPOTS}
    summary = DENOISING.summarise(_table(**unknown))
    assert not summary["measure"].str.startswith("spot").any()
    assert "psnr_gain" in set(summary["measure"])
