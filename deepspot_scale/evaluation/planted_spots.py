"""Spots planted in a plate's own images: how many are found before and after denoising.

Windows of the plate and a denoiser come in, a table of recall and precision goes out. A
network may remove spots together with noise, and no score of pixels shows it. Spots of
one height at a time are drawn on the windows, away from what is found there already,
with the noise that their own light brings. The default detector, which ``run`` uses,
looks for them in the window and in the window without noise. Nothing here knows plates
or run folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.evaluation.matching import REACH, pair_one_to_one
from deepspot_scale.evaluation.scores import detect_array
from deepspot_scale.kernels.denoising import measure_noise
from deepspot_scale.networks.engine_types import Device, EngineChoice
from deepspot_scale.runs.planted_table import PLANTED
from deepspot_scale.settings import assemble, make_settings
from deepspot_scale.simulation.drawing import Points, render_spots
from deepspot_scale.tables import make_table
from deepspot_scale.verbs.images import denoise

SNRS: Final = (3.0, 4.0, 5.0, 8.0, 15.0)
"""Heights of planted spots over the noise around them."""
SIGMA: Final = 1.3
"""Standard deviation of a planted spot in pixels, typical of smFISH."""
_SPOTS: Final = 40
"""Most spots in a window."""
_APART: Final = 10.0
"""Smallest distance of planted spots, and from the window's edge, pixels."""
_CLEAR: Final = 6.0
"""Smallest distance from what is found in the window as it is, pixels."""
_AROUND: Final = 9
"""Edge of the square whose mean is the light around a spot, pixels."""


def score_planted(
    windows: Sequence[NDArray[Any]],
    model: str,
    *,
    sigma: float = SIGMA,
    seed: int = 0,
    device: Device = "auto",
) -> pd.DataFrame:
    """Plant spots in images and count those found before and after noise is removed.

    Parameters
    ----------
    windows
        Images (y, x) of one camera and exposure, counts, with edges of 2 `_APART` or
        more.
    model
        Weights file of the denoiser.
    sigma
        Standard deviation of the spots in pixels.
    seed
        Of places and noise.
    device
        Where networks run.

    Returns
    -------
    DataFrame
        `PLANTED`, one row for each of `SNRS`. What is found and was not planted counts
        as false unless the raw window shows it without planted spots too; so real
        spots that only appear when noise is removed count as false.
    """
    planter = _Planter.of(windows, sigma)
    engine = EngineChoice(model, device=device)
    detector = _detector(sigma, device)
    there = [detect_array(window, detector).points for window in windows]
    rows = []
    for number, snr in enumerate(SNRS):
        counts = np.zeros((2, 2), np.int64)
        n_planted = 0
        for i, (window, known) in enumerate(zip(windows, there, strict=True)):
            rng = np.random.default_rng((seed, number, i))
            image, points = planter.plant(rng, window, known, snr)
            n_planted += len(points)
            clean = denoise(
                xr.DataArray(image, dims=("y", "x")), model=model, engine=engine
            )
            for row, each in enumerate((image, clean.to_numpy())):
                found = detect_array(each, detector).points
                counts[row] += _count(found, points, known)
        what = {"snr": snr, "sigma": sigma, "seed": seed, "n_windows": len(windows)}
        rows.append({**what, **_shares(n_planted, counts)})
    return make_table(rows, PLANTED)


def _shares(n_planted: int, counts: NDArray[np.int64]) -> dict[str, float]:
    row: dict[str, float] = {"n_planted": n_planted}
    for (matched, other), end in zip(counts.tolist(), ("_raw", ""), strict=True):
        row |= {
            f"n_matched{end}": matched,
            f"n_other{end}": other,
            f"recall{end}": matched / n_planted if n_planted else np.nan,
            f"precision{end}": (
                matched / (matched + other) if matched + other else np.nan
            ),
        }
    return row


def _count(found: Points, planted: Points, known: Points) -> tuple[int, int]:
    """Return planted spots that are found, and others that were not known before."""
    pairs = pair_one_to_one(found, planted, REACH.radius(2))
    other = np.delete(found, pairs[:, 0], axis=0)
    if len(known) and len(other):
        other = other[KDTree(known).query(other)[0] > REACH.pixels]
    return len(pairs), len(other)


def _detector(sigma: float, device: Device) -> Pipeline:
    off: dict[str, Any] = {name: {"use": False} for name in ("quality", "clusters")}
    wide = sigma if sigma > 3.5 else None
    settings = make_settings(channels=("0",), spot_sigma=wide, **off)
    return assemble(settings, device=device)


@dataclass(frozen=True)
class _Planter:
    """Draws spots on images whose noise is known."""

    least: float
    """Smallest variance of the noise."""
    variance: float
    """Variance at 0 counts."""
    slope: float
    """Variance that a further count brings."""
    sigma: float
    """Standard deviation of the spots in pixels."""

    @classmethod
    def of(cls, windows: Sequence[NDArray[Any]], sigma: float) -> _Planter:
        """Measure the noise of images."""
        return cls(*measure_noise(windows), sigma)

    def plant(
        self, rng: np.random.Generator, window: NDArray[Any], known: Points, snr: float
    ) -> tuple[NDArray[Any], Points]:
        """Return the window with spots, in its own dtype, and their places (n, 2)."""
        points = _choose_places(rng, window.shape, known)
        counts = window.astype(np.float64)
        around = ndimage.uniform_filter(counts, _AROUND, mode="nearest")
        light = around[tuple(np.rint(points).astype(np.int64).T)]
        noise = np.sqrt(np.maximum(self.variance + self.slope * light, self.least))
        widths = np.full(len(points), self.sigma)
        spots = render_spots(window.shape, points, snr * noise, widths)
        counts += spots + np.sqrt(self.slope * spots) * rng.normal(size=spots.shape)
        if window.dtype.kind in "ui":
            ends = np.iinfo(window.dtype)
            counts = np.clip(np.rint(counts), ends.min, ends.max)
        return counts.astype(window.dtype), points


def _choose_places(
    rng: np.random.Generator, shape: tuple[int, ...], known: Points
) -> Points:
    """Return places with room around; in a crowded window fewer than `_SPOTS`."""
    kept: list[NDArray[np.float64]] = []
    for at in rng.uniform(_APART, np.array(shape) - 1 - _APART, (20 * _SPOTS, 2)):
        alone = not kept or np.hypot(*(np.array(kept) - at).T).min() >= _APART
        clear = not len(known) or np.hypot(*(known - at).T).min() >= _CLEAR
        if alone and clear:
            kept.append(at)
        if len(kept) == _SPOTS:
            break
    return np.reshape(np.array(kept), (-1, 2))
