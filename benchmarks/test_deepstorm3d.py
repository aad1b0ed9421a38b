"""The authors' weights on our optics, on one small frame, and our own on some."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.deepstorm3d import AUTHORS_OPTICS, authors_localiser, run_ours
from deepspot_scale.simulation.emitter_frames import emitter_light, expose
from deepspot_scale.simulation.optics import make_pupil

pytest.importorskip("openvino")


@pytest.fixture
def weights() -> Path:
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DEEPSPOT_SHARED_DATA", beside)) / "deepstorm3d"
    if not folder.is_dir():
        pytest.skip(f"no weights of the authors at {folder}; set DEEPSPOT_SHARED_DATA")
    return folder


def test_the_authors_weights_find_a_molecule_of_our_optics(weights: Path) -> None:
    pupil = make_pupil(AUTHORS_OPTICS, np.load(weights / "mask_tetrapod_printed.npy"))
    shape, pixel = (67, 63), pupil.optics.pixel
    true = np.array([[0.9, 34.2 * pixel, 29.6 * pixel]])
    light = emitter_light(
        pupil, true, np.array([5e4]), shape, sigma=np.ones(1), window=61
    )
    counts = expose(np.random.default_rng(2), light + 30)
    frame = (counts - counts.min()) / np.ptp(counts)
    found = authors_localiser(weights, pupil.optics).points(frame)
    # Half a camera pixel is 55 nm: the wrong convention fails here.
    np.testing.assert_allclose(found, true, atol=0.04)


def test_our_weights_find_molecules_of_fresh_frames() -> None:
    options = argparse.Namespace(
        model="deepstorm3d-1um", threshold=0.2, emitters=[3], frames=6, seed=7
    )
    (row, _) = run_ours(options)
    assert row["jaccard"] > 0.8
    assert row["lateral_rmse_nm"] < 30
    assert row["axial_rmse_nm"] < 45
