"""The stage localise, on arrays: `ds.localise`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.errors import FieldError, InputWarning, SettingsError
from deepspot_scale.evaluation.localisation_matching import MatchTerms, match_molecules
from deepspot_scale.networks.localisers import check_density
from deepspot_scale.vocabulary import LOCALISATIONS

CAMERA = {"offset": 100.0, "gain": 1.0}


@pytest.fixture(scope="module")
def movie(blinking: Any) -> xr.DataArray:
    return xr.DataArray(blinking[0], dims=("t", "y", "x"))


@pytest.fixture(scope="module")
def known(localiser: str) -> dict[str, Any]:
    return {
        "model": localiser, "pixel_size": 0.1, "psf_sigma": 130.0, "camera": CAMERA,
    }  # fmt: skip


@pytest.fixture(scope="module")
def table(movie: xr.DataArray, known: dict[str, Any]) -> pd.DataFrame:
    return ds.localise(movie, **known)


def test_single_molecules_are_found_where_they_are(
    table: pd.DataFrame, blinking: Any
) -> None:
    truth = pd.DataFrame(blinking[1]._asdict()).assign(z_nm=np.nan)
    score = match_molecules(table, truth, MatchTerms(tolerance_nm=150))
    assert score.recall > 0.8
    assert score.precision > 0.9
    # By the origin: half a pixel of error would be 50 nm.
    assert np.abs(score.pairs[["dx_nm", "dy_nm"]].median()).max() < 8


def test_their_light_is_measured(table: pd.DataFrame, blinking: Any) -> None:
    assert [c.name for c in LOCALISATIONS] == list(table)
    assert table["photons"].median() == pytest.approx(4000, rel=0.08)
    assert table["background_photons"].median() == pytest.approx(5, abs=2)
    assert table["uncertainty_nm"].median() == pytest.approx(130 / 4000**0.5, rel=0.6)


def test_without_camera_and_width_light_is_not_known(
    movie: xr.DataArray, known: dict[str, Any], table: pd.DataFrame
) -> None:
    plain = {**known, "camera": None}
    own = ds.localise(movie, **plain)
    assert own[["photons", "background_photons", "uncertainty_nm"]].isna().all().all()
    np.testing.assert_array_equal(own["intensity"], table["intensity"])
    blind = ds.localise(movie, **{**plain, "psf_sigma": None})
    assert blind[["intensity", "background", "sigma_nm"]].isna().all().all()
    np.testing.assert_array_equal(blind["x_nm"], own["x_nm"])


@pytest.mark.parametrize("block", [64, 80])
def test_blocks_change_no_bit(
    movie: xr.DataArray, known: dict[str, Any], table: pd.DataFrame, block: int
) -> None:
    own = ds.localise(movie, **known, block=block)
    pd.testing.assert_frame_equal(own, table, check_exact=True)


def test_a_lazy_movie_gives_a_lazy_table_with_the_same_rows(
    movie: xr.DataArray,
    known: dict[str, Any],
    table: pd.DataFrame,
    forbid_computing: Any,
) -> None:
    with forbid_computing:
        lazy = movie.chunk({"t": 17, "y": 32}).deepspot.localise(**known)
    assert lazy.npartitions == 4
    own = lazy.compute(scheduler="synchronous").reset_index(drop=True)
    pd.testing.assert_frame_equal(own, table, check_exact=True)


def test_frames_know_their_number(table: pd.DataFrame) -> None:
    assert table["frame"].is_monotonic_increasing
    assert (table["frame"].min(), table["frame"].max()) == (0, 59)


def test_counts_times_three_plus_an_offset_give_the_same_places(
    movie: xr.DataArray, known: dict[str, Any], table: pd.DataFrame
) -> None:
    brighter = (movie.astype(np.int64) * 3 + 500).astype(np.uint16)
    own = ds.localise(brighter, **known)
    assert len(own) == len(table)
    np.testing.assert_allclose(own["x_nm"], table["x_nm"], atol=1e-3)
    np.testing.assert_allclose(own["intensity"], 3 * table["intensity"], rtol=1e-3)


def test_an_empty_movie_has_no_molecules(known: dict[str, Any]) -> None:
    black = xr.DataArray(np.zeros((3, 70, 70), np.uint16), dims=("t", "y", "x"))
    assert ds.localise(black, **known).empty


def test_pixels_of_unknown_size_or_not_finite_are_refused(
    movie: xr.DataArray, known: dict[str, Any]
) -> None:
    with pytest.raises(FieldError, match="size of a pixel is not known"):
        ds.localise(movie, **{**known, "pixel_size": None})
    broken = movie[:3].astype(np.float64)
    broken[1, 5, 5] = np.nan
    with pytest.raises(FieldError, match="NaN or infinite"):
        ds.localise(broken, **known)
    with pytest.raises(FieldError, match="dimensions t, y and x"):
        ds.localise(movie.expand_dims(z=2), **known)


def test_pixel_size_comes_from_coordinates(
    movie: xr.DataArray, known: dict[str, Any], table: pd.DataFrame
) -> None:
    own = movie.assign_attrs(pixel_size_um=(0.1, 0.1))
    found = ds.localise(own, **{**known, "pixel_size": None})
    np.testing.assert_allclose(found["x_nm"], table["x_nm"], rtol=1e-12)
    flat = movie.assign_attrs(pixel_size_um=(0.1, 0.2))
    with pytest.raises(FieldError, match="not square"):
        ds.localise(flat, **{**known, "pixel_size": None})


def test_models_and_options_that_do_not_localise_are_refused(
    movie: xr.DataArray, known: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError, match="does not localise"):
        ds.localise(movie, **{**known, "model": "deepspot-fast"})
    with pytest.raises(SettingsError, match="give both or neither"):
        ds.localise(movie, **{**known, "camera": {"gain": 1.0}})
    with pytest.raises(SettingsError, match="pixels wide"):
        ds.localise(movie, **{**known, "psf_sigma": 500.0})


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"pixel_size": 100.0}, "in micrometres"),
        ({"psf_sigma": 0.12}, "in nanometres"),
        ({"psf_sigma": 20.0}, "pixels wide"),
        ({"certainty": 2.0}, "certainty"),
    ],
)
def test_numbers_in_other_units_are_refused(
    movie: xr.DataArray, known: dict[str, Any], wrong: dict[str, float], told: str
) -> None:
    with pytest.raises(SettingsError, match=told):
        ds.localise(movie, **{**known, **wrong})


def test_a_density_beyond_the_model_is_named(localiser: str) -> None:
    check_density(localiser, 1.5)
    with pytest.warns(InputWarning, match="up to 2 molecules"):
        check_density(localiser, 6.0)
