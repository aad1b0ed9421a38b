"""Spots that are chosen among candidates are those that are found with the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.simulation import render_spots
from deepspot_scale.verbs.decisions import choose_spots, find_candidates, has_judge


@pytest.fixture(scope="module")
def images() -> tuple[xr.DataArray, xr.DataArray]:
    """Two time points of spots of every brightness, raw and enhanced."""
    rng, n = np.random.default_rng(0), 60
    times = []
    for faintest in (30, 60):
        points = rng.uniform(0, (127, 159), (n, 2))
        peaks = np.geomspace(faintest, 300, n)
        light = render_spots((128, 160), points, peaks, np.full(n, 1.3))
        times.append(rng.poisson(100 + light).astype(np.uint16))
    raw = xr.DataArray(np.stack(times), dims=("t", "y", "x"))
    return raw, ds.enhance(raw)


@pytest.fixture(scope="module")
def candidates(images: tuple[xr.DataArray, xr.DataArray]) -> pd.DataFrame:
    """All that may be spots of them."""
    raw, enhanced = images
    return find_candidates(enhanced, raw)


@pytest.mark.parametrize(
    "numbers",
    [
        {},
        {"floor": 0.0},
        {"floor": 0.9},
        {"min_relative_intensity": 0.8},
        {"floor": 0.2, "min_relative_intensity": 0.6},
        {"floor": 1.0},
    ],
)
def test_chosen_spots_are_those_that_are_found_with_the_numbers(
    images: Any, candidates: pd.DataFrame, numbers: dict[str, float]
) -> None:
    raw, enhanced = images
    found = ds.detect(enhanced, raw, **numbers)
    chosen = choose_spots(candidates, **numbers)
    pd.testing.assert_frame_equal(chosen, found, check_exact=True)


def test_numbers_change_what_is_chosen(candidates: pd.DataFrame) -> None:
    counts = [len(choose_spots(candidates, floor=floor)) for floor in (0, 0.5, 0.99)]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 3


def test_no_candidates_are_no_spots(candidates: pd.DataFrame) -> None:
    chosen = choose_spots(candidates.iloc[:0])
    assert chosen.empty
    assert list(chosen) == list(candidates)


@pytest.mark.parametrize("name", ["floor", "min_relative_intensity"])
def test_numbers_out_of_range_are_refused(candidates: Any, name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} lies in"):
        choose_spots(candidates, **{name: -0.1})


def test_a_model_without_judge_has_no_candidates(images: Any) -> None:
    raw, enhanced = images
    by_rules = enhanced.drop_attrs()
    assert has_judge(enhanced, raw)
    assert not has_judge(by_rules, raw)
    with pytest.raises(SettingsError, match="use detect"):
        find_candidates(by_rules, raw)


def test_lazy_images_are_refused(images: Any) -> None:
    raw, enhanced = images
    with pytest.raises(FieldError, match=r"load it \(image.load"):
        find_candidates(enhanced.chunk(), raw.chunk())
