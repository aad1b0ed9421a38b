"""The stage localise with a network that tells depths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.evaluation.localisation_matching import MatchTerms, match_molecules
from deepspot_scale.simulation.optics import make_pupil
from deepspot_scale.training.volume_recipe import VolumeRanges
from deepspot_scale.training.volume_scenes import draw_counts

MODEL = "deepstorm3d-1um"
EDGE, RIM = 70, 12


@pytest.fixture(scope="module")
def scene() -> Any:
    """Six frames, and their molecules."""
    ranges = VolumeRanges(emitters=(6, 6), photons=(2e4, 6e4), background=(20, 40))
    pupil = make_pupil(ranges.optics(), ranges.phases())
    rng = np.random.default_rng(12)
    drawn = [draw_counts(rng, ranges, pupil, EDGE) for _ in range(6)]
    edge = pupil.optics.pixel
    truth = [
        pd.DataFrame(
            {
                "frame": n,
                "x_nm": 1000 * (points[:, 2] + 0.5 * edge),
                "y_nm": 1000 * (points[:, 1] + 0.5 * edge),
                "z_nm": 1000 * points[:, 0],
                "photons": np.nan,
            }
        )
        for n, (_, points, _) in enumerate(drawn)
    ]
    frames = np.stack([counts for counts, *_ in drawn]).astype(np.float32)
    return xr.DataArray(frames, dims=("t", "y", "x")), pd.concat(truth)


def test_molecules_have_their_depth_and_no_bias(scene: Any) -> None:
    movie, truth = scene
    found = ds.localise(movie, model=MODEL, pixel_size=0.11)
    terms = MatchTerms(150, 150, border_nm=RIM * 110, extent_nm=(EDGE * 110.0,) * 2)
    score = match_molecules(found, truth, terms)
    assert score.jaccard > 0.8
    assert score.rmse_lateral_nm < 35
    assert score.rmse_axial_nm < 50
    # Half a fine pixel would be 27 nm, half a plane 25 nm.
    assert score.pairs[["dx_nm", "dy_nm", "dz_nm"]].mean().abs().max() < 13


def test_blocks_change_no_bit(scene: Any) -> None:
    movie, _ = scene
    whole = ds.localise(movie[:2], model=MODEL, pixel_size=0.11)
    cut = ds.localise(movie[:2], model=MODEL, pixel_size=0.11, block=64)
    pd.testing.assert_frame_equal(cut, whole, check_exact=True)


def test_another_microscope_is_refused(scene: Any) -> None:
    movie, _ = scene
    with pytest.raises(FieldError, match="not those that the model was trained for"):
        ds.localise(movie, model=MODEL, pixel_size=0.1)
    with pytest.raises(SettingsError, match="no one width"):
        ds.localise(movie, model=MODEL, pixel_size=0.11, psf_sigma=130.0)
