"""scikit-image's blob detectors in blocks: what the library finds on the plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from skimage import feature

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.normalisation import quantile_scale
from deepspot_scale.simulation import render_spots
from deepspot_scale.stages.detection.adapters.skimage_blobs import blob_detector
from deepspot_scale.testing import check_detector
from deepspot_scale.verbs.images import detect

SHAPE = (170, 203)


def _counts(n: int = 60) -> np.ndarray:
    rng = np.random.default_rng(1)
    places = rng.uniform(0, np.array(SHAPE) - 1, (n, 2))
    light = 100 + render_spots(SHAPE, places, rng.uniform(80, 300, n), np.full(n, 1.3))
    return rng.poisson(light).astype(np.uint16)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("log", {"threshold": 0.15, "num_sigma": 4}),
        ("dog", {"threshold": 0.1, "sigma_ratio": 1.5}),
        ("doh", {"threshold": 0.01, "max_sigma": 4.0, "num_sigma": 6}),
    ],
)
def test_blobs_are_those_of_the_library_on_the_scaled_plane(
    kind: str, options: dict[str, Any]
) -> None:
    counts = _counts()
    scaled = quantile_scale(counts)(counts).astype(np.float64)
    find = getattr(feature, f"blob_{kind}")
    given = {"min_sigma": 1.0, "max_sigma": 3.0, "overlap": 0.5, **options}
    expected = sorted(map(tuple, find(scaled, **given)[:, :2]))
    assert len(expected) > 25
    image = xr.DataArray(counts, dims=("y", "x"))
    for block in (128, 2560):
        table: Any = detect(image, method=blob_detector(kind, **options), block=block)
        assert sorted(zip(table["y"], table["x"], strict=True)) == expected


@pytest.mark.parametrize("kind", ["log", "dog"])
def test_it_keeps_the_contract_of_detectors(kind: str) -> None:
    check_detector(blob_detector(kind))


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("hog", {}, "found by log, dog, doh"),
        ("log", {"min_sigma": 0}, "0 < min_sigma"),
        ("log", {"max_sigma": 0.5}, "0 < min_sigma"),
        ("log", {"sigma_ratio": 2}, "not of blob_log"),
        ("log", {"num_sigma": 0}, "num_sigma is 1"),
        ("dog", {"num_sigma": 3}, "not of blob_dog"),
        ("dog", {"sigma_ratio": 1}, "above 1"),
        ("doh", {"threshold": 0}, "above 0"),
        ("doh", {"overlap": 1.5}, "a share"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(
    kind: str, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        blob_detector(kind, **options)
