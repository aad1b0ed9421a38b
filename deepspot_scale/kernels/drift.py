"""How a sample moved under the microscope, by pictures of its molecules.

Pictures of equal runs of frames come in, the shift of each frame goes out. All pairs of
pictures are correlated; the shifts that agree best with all of them are taken, after
pairs that contradict the others are left out; a spline goes through the middles of the
runs. Nothing here knows tables.

Source: redundant cross-correlation, Wang, Schnitzbauer et al. 2014
(doi:10.1364/OE.22.015982).
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.interpolate import make_interp_spline
from scipy.optimize import least_squares

Real = NDArray[np.float64]
Index = NDArray[np.int64]
_BLUR: Final = 1.0
"""Pixels; a picture of single molecules has a correlation of single pixels."""
_BOX: Final = 2
"""Pixels to each side of a correlation's peak that its Gaussian is fitted to."""
_WORST: Final = 1.0
"""Pixels by which a pair may contradict the others."""


def segment_of(frames: Index, n_frames: int, n_segments: int) -> Index:
    """Return (n,) the run of frames in which each frame is, of nearly equal runs."""
    return frames * n_segments // max(n_frames, 1)


def segment_middles(n_frames: int, n_segments: int) -> Real:
    """Return (n_segments,) the middle frame of each run, as `segment_of` makes them."""
    edges = -(-np.arange(n_segments + 1) * n_frames // n_segments)
    return (edges[:-1] + edges[1:] - 1) / 2


def segment_shifts(pictures: NDArray[Any]) -> Real:
    """Return (n, 2) how far each picture lies from the first, y and x in pixels.

    Parameters
    ----------
    pictures
        (n, y, x) molecules of each run, by `rendering.render`. One without molecules
        gets NaN, and so does one that fits no other.
    """
    lit = np.flatnonzero(pictures.reshape(len(pictures), -1).any(axis=1))
    spectra = {int(i): _spectrum(pictures[i]) for i in lit}
    pairs = np.array(list(combinations(spectra, 2)), np.int64).reshape(-1, 2)
    shape = pictures.shape[1:]
    moved = [_pair_shift(spectra[int(a)], spectra[int(b)], shape) for a, b in pairs]
    shifts = np.array(moved).reshape(-1, 2)
    kept = np.isfinite(shifts).all(axis=1)
    return _agree(len(pictures), pairs[kept], shifts[kept], lit)


def _spectrum(picture: NDArray[Any]) -> NDArray[np.complex128]:
    light = ndimage.gaussian_filter(picture.astype(np.float64), _BLUR)
    light -= light.mean()
    # Twice the size: a shift must not come in again at the other side.
    return np.asarray(fft.rfft2(light, [2 * n for n in light.shape]))


def _pair_shift(one: Any, other: Any, shape: tuple[int, ...]) -> Real:
    """Return (2,) how far the other picture lies from the one; NaN: not to be told."""
    size = [2 * n for n in shape]
    alike = fft.irfft2(np.conj(one) * other, size)
    alike = fft.fftshift(alike)[shape[0] // 2 : -shape[0] // 2, shape[1] // 2 :]
    alike = alike[:, : shape[1]]
    centre = np.array(shape) - np.array(shape) // 2
    peak = np.array(np.unravel_index(np.argmax(alike), alike.shape))
    if np.any(peak < _BOX) or np.any(peak + _BOX >= alike.shape):
        return np.full(2, np.nan)
    box = alike[tuple(slice(p - _BOX, p + _BOX + 1) for p in peak)]
    return np.asarray(peak - centre + _gaussian_peak(box))


def _gaussian_peak(box: Real) -> Real:
    """Return (2,) where a Gaussian on a constant has its top, from the box's centre."""
    y, x = np.indices(box.shape) - _BOX
    low, high = box.min(), box.max()
    scaled = (box - low) / (high - low) if high > low else np.zeros_like(box)

    def left(values: Real) -> Real:
        height, base, down, right, width = values
        far = (y - down) ** 2 + (x - right) ** 2
        return np.asarray(
            (height * np.exp(-far / (2 * width**2)) + base - scaled).ravel()
        )

    bounds = ([0, -2, -_BOX, -_BOX, 0.3], [4, 1, _BOX, _BOX, 10])
    fit = least_squares(left, [1.0, 0.0, 0.0, 0.0, 1.5], bounds=bounds)
    return np.asarray(fit.x[2:4])


def _agree(n: int, pairs: Index, shifts: Real, lit: Index) -> Real:
    """Return (n, 2) the shifts that agree best with those of pairs."""
    place = np.full((n, 2), np.nan)
    if not lit.size:
        return place
    kept = np.ones(len(pairs), bool)
    while True:
        design = np.zeros((np.count_nonzero(kept), n))
        rows = np.arange(len(design))
        design[rows, pairs[kept, 0]], design[rows, pairs[kept, 1]] = -1, 1
        found = np.linalg.lstsq(design, shifts[kept], rcond=None)[0]
        off = np.hypot(*(shifts - (found[pairs[:, 1]] - found[pairs[:, 0]])).T)
        worst = np.where(kept, off, 0.0)
        if not (len(worst) and worst.max() > _WORST):
            break
        kept[np.argmax(worst)] = False
    known = {int(lit[0]), *pairs[kept].ravel().tolist()}
    joined = _joined(int(lit[0]), pairs[kept])
    own = np.array(sorted(known & joined))
    place[own] = found[own] - found[lit[0]]
    return place


def _joined(first: int, pairs: Index) -> set[int]:
    """Return what pairs join to the first, over others or not."""
    joined, size = {first}, 0
    while len(joined) > size:
        size = len(joined)
        for one, other in pairs.tolist():
            if one in joined or other in joined:
                joined |= {one, other}
    return joined


def drift_curve(middles: Real, shifts: Real, n_frames: int) -> Real:
    """Return (n_frames, 2) the shift of each frame, by a spline through the runs.

    Before the first and after the last middle the curve goes on straight. Runs whose
    shift is NaN are left out; without any, the curve is NaN.
    """
    known = np.isfinite(shifts).all(axis=1)
    n = int(np.count_nonzero(known))
    if n == 0:
        return np.full((n_frames, 2), np.nan)
    if n == 1:
        return np.repeat(shifts[known], n_frames, axis=0)
    at, frames = middles[known], np.arange(n_frames)
    degree = min(3, n - 1)
    spline = make_interp_spline(at, shifts[known], k=degree)
    inside = np.clip(frames, at[0], at[-1])
    slope = spline.derivative()(inside)
    return np.asarray(spline(inside) + (frames - inside)[:, None] * slope)
