"""A movie's molecules in one look: parts give the whole, and what was planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.rendering import as_light
from deepspot_scale.statistics.localisation_drift import find_drift
from deepspot_scale.statistics.localisation_summary import (
    LocalisationSummary,
    PictureOptions,
    summarise_localisations,
)
from deepspot_scale.statistics.merged_localisations import Merging
from deepspot_scale.statistics.movie_parts import MovieSize
from deepspot_scale.tables import table_of
from deepspot_scale.vocabulary import LOCALISATIONS

N_FRAMES, SIZE = 500, 3000.0
MOVIE = MovieSize(SIZE, SIZE, N_FRAMES)
OPTIONS = PictureOptions(merging=Merging(60.0, 1))


def draw(
    seed: int, n: int = 6000, sigma: float = 12.0, drift: np.ndarray | None = None
) -> pd.DataFrame:
    """Draw molecules of 600 sites that stay on for 2.5 frames on average."""
    rng = np.random.default_rng(seed)
    sites = rng.uniform(200, SIZE - 200, (600, 2))[rng.integers(0, 600, n)]
    start, long = rng.integers(0, N_FRAMES, n), rng.geometric(0.4, n)
    runs = [s + np.arange(k) for s, k in zip(start, long, strict=True)]
    frames = np.concatenate(runs)
    yx = np.repeat(sites, long, axis=0)
    kept = frames < N_FRAMES
    order = np.argsort(frames[kept], kind="stable")
    frames, yx = frames[kept][order], yx[kept][order]
    yx = yx + rng.normal(0, sigma, yx.shape)
    if drift is not None:
        yx = yx + drift[frames]
    unknown, words = np.full(len(yx), np.nan), np.full(len(yx), "m", object)
    values: dict[str, Any] = {c.name: unknown for c in LOCALISATIONS}
    values |= dict.fromkeys(("row", "column", "field", "channel"), words)
    values |= {"frame": frames, "y_nm": yx[:, 0], "x_nm": yx[:, 1]}
    values |= {"photons": rng.lognormal(6, 1, len(yx)), "n_frames": np.ones(len(yx))}
    values |= {"uncertainty_nm": np.full(len(yx), sigma), "certainty": unknown}
    return table_of(values, LOCALISATIONS)


def cut(table: pd.DataFrame, edges: list[int]) -> list[pd.DataFrame]:
    which = np.searchsorted(sorted(edges), table["frame"], side="right")
    return [table[which == i] for i in range(len(edges) + 1)]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return draw(1)


@pytest.fixture(scope="module")
def whole(table: pd.DataFrame) -> LocalisationSummary:
    return summarise_localisations([table], MOVIE, OPTIONS)


def agree(one: LocalisationSummary, other: LocalisationSummary) -> None:
    for name in ("counts", "picture", "n_molecules", "density", "precision_nm"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for values in zip(one.rings, other.rings, strict=True):
        np.testing.assert_array_equal(*values)
    assert one.resolution_nm == other.resolution_nm


@given(edges=st.lists(st.integers(0, N_FRAMES), max_size=6))
@settings(max_examples=6, deadline=None)
def test_parts_give_the_summary_of_the_whole_bit_for_bit(
    table: pd.DataFrame, whole: LocalisationSummary, edges: list[int]
) -> None:
    parts = summarise_localisations(cut(table, edges), MOVIE, OPTIONS)
    agree(parts, whole)
    pd.testing.assert_frame_equal(parts.molecules, whole.molecules, check_exact=True)


def test_the_planted_precision_and_density_are_found(
    table: pd.DataFrame, whole: LocalisationSummary
) -> None:
    assert whole.precision_nm == pytest.approx(12, rel=0.1)
    assert whole.counts.sum() == len(table)
    assert whole.density == pytest.approx(len(table) / N_FRAMES / 9)
    assert 20 < whole.resolution_nm < 60


def test_each_molecule_is_drawn_once(whole: LocalisationSummary) -> None:
    assert whole.molecules is not None
    assert whole.n_molecules == len(whole.molecules)
    light = as_light(whole.picture).sum()
    assert light == pytest.approx(whole.n_molecules, rel=1e-3)


def test_molecules_can_be_written_instead_of_kept(
    table: pd.DataFrame, whole: LocalisationSummary
) -> None:
    written: list[pd.DataFrame] = []
    parts = cut(table, list(range(0, N_FRAMES, 50)))
    found = summarise_localisations(parts, MOVIE, OPTIONS, write=written.append)
    assert found.molecules is None
    agree(found, whole)
    assert len(written) > 8
    order = ["frame", "x_nm"]
    one, other = (
        each.sort_values(order, ignore_index=True)
        for each in (pd.concat(written), whole.molecules)
    )
    pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_photons_can_weigh(table: pd.DataFrame) -> None:
    options = PictureOptions(method="sum", by_photons=True)
    found = summarise_localisations([table], MOVIE, options)
    light = as_light(found.picture).sum()
    assert light == pytest.approx(table["photons"].sum(), rel=1e-6)


def test_a_planted_drift_is_found_and_taken_off(whole: LocalisationSummary) -> None:
    t = np.arange(N_FRAMES) / N_FRAMES
    drift = np.column_stack([150 * t, 80 * t**2])
    moved = draw(1, drift=drift)
    found = find_drift(cut(moved, [100, 333]), MOVIE)
    left = found - drift
    assert np.std(left - left.mean(axis=0)) < 4
    blurred = summarise_localisations([moved], MOVIE, OPTIONS)
    sharp = summarise_localisations([moved], MOVIE, OPTIONS, drift_nm=found)
    assert not blurred.resolution_nm < 1.3 * whole.resolution_nm
    assert sharp.resolution_nm < 1.2 * whole.resolution_nm


def test_a_movie_without_molecules_has_a_summary() -> None:
    found = summarise_localisations([draw(2)[:0]], MOVIE, OPTIONS)
    assert found.n_molecules == 0
    assert found.molecules is not None
    assert len(found.molecules) == 0
    assert not found.picture.any()
    assert np.isnan([found.precision_nm, found.resolution_nm]).all()
    assert np.isnan(find_drift([], MOVIE)).all()


@pytest.mark.parametrize("drift", [np.zeros((9, 2)), np.full((N_FRAMES, 2), np.nan)])
def test_a_drift_that_is_not_known_is_refused(
    table: pd.DataFrame, drift: np.ndarray
) -> None:
    with pytest.raises(SettingsError, match="expected a drift"):
        summarise_localisations([table], MOVIE, OPTIONS, drift_nm=drift)


@pytest.mark.parametrize(
    "wrong", [{"pixel_nm": 0.0}, {"blur_nm": np.nan}, {"method": "splat"}]
)
def test_options_that_make_no_picture_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        PictureOptions(**wrong)
