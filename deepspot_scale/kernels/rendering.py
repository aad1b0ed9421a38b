"""Pictures of localised molecules that add up exactly, whatever the order.

Places in nanometres come in, an image of whole numbers goes out: each pixel counts in
units of 2^-20, so that the pictures of the parts of a table add up to the picture of
the table bit for bit. `as_light` gives the numbers in the unit of the weights. A place
is measured from the outer corner of the first pixel, as in `vocabulary.LOCALISATIONS`.
Nothing here knows tables or files.

Averaged shifted histogram: Scott 1985 (doi:10.1214/aos/1176349654), with the triangular
weights of ThunderSTORM (doi:10.1093/bioinformatics/btu202).
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

Real = NDArray[np.float64]
Picture = NDArray[np.int64]
Method = Literal["sum", "ash", "gaussian"]
UNIT: Final = 2.0**-20
"""Of a picture's whole numbers: a millionth of a molecule, or of a photon."""
FULL: Final = 2**62
"""A pixel that reaches so much is near the end of the number format: 4e12 photons."""
CUT: Final = 3.0
"""Sigmas at which a Gaussian ends."""
SHIFTS: Final = 2
"""Shifted histograms along each axis that are averaged."""
_AT_A_TIME: Final = 2_000_000
"""Pixels that are drawn at the same time, which bounds the memory."""


class Canvas(NamedTuple):
    """The pixels of a picture."""

    shape: tuple[int, int]
    """(y, x)"""
    pixel_nm: float


def canvas_of(size_nm: tuple[float, float], pixel_nm: float) -> Canvas:
    """Return the pixels that cover a field of this height and width.

    Examples
    --------
    >>> canvas_of((6400.0, 6405.0), 10.0)
    Canvas(shape=(640, 641), pixel_nm=10.0)
    """
    # Rounding first: 64 pixels of 100 nm over 10 nm must not be 641.
    rows, columns = (int(np.ceil(round(n / pixel_nm, 6))) for n in size_nm)
    return Canvas((max(rows, 1), max(columns, 1)), pixel_nm)


def render(
    method: Method, yx_nm: Real, weights: Real, sigma_nm: Real, canvas: Canvas
) -> Picture:
    """Return the picture of molecules, see `draw_onto`."""
    picture = np.zeros(canvas.shape, np.int64)
    draw_onto(picture, method, yx_nm, weights, sigma_nm, pixel_nm=canvas.pixel_nm)
    return picture


def draw_onto(
    picture: Picture,
    method: Method,
    yx_nm: Real,
    weights: Real,
    sigma_nm: Real,
    *,
    pixel_nm: float,
) -> None:
    """Add molecules to a picture (y, x), in units of `UNIT`.

    Parameters
    ----------
    picture
        Changed in place. Its pixels must stay below `FULL`.
    method
        ``sum``: each weight in the pixel of its place. ``ash``: averaged shifted
        histogram. ``gaussian``: a Gaussian of `sigma_nm`, integrated over pixels and
        cut at three sigmas; its whole weight lies inside.
    yx_nm
        (n, 2) places. Those outside of the canvas are left out, also where a Gaussian
        of theirs would reach in; a Gaussian that reaches out loses light.
    weights
        (n,) ones, or photons; finite.
    sigma_nm
        (n,) above 0; only for ``gaussian``.
    pixel_nm
        Side of a pixel of the picture.
    """
    place = np.asarray(yx_nm, np.float64) / pixel_nm
    inside = ((place >= 0) & (place < picture.shape)).all(axis=1)
    place, weights = place[inside], np.asarray(weights, np.float64)[inside]
    if method == "sum":
        _add(picture, np.floor(place).astype(np.int64), np.rint(weights / UNIT))
    elif method == "ash":
        _add_shifted(picture, np.floor(place).astype(np.int64), weights)
    else:
        sigma = np.asarray(sigma_nm, np.float64)[inside] / pixel_nm
        _add_gaussians(picture, place, weights, sigma)


def as_light(picture: Picture) -> Real:
    """Return a picture in the unit of its weights."""
    return np.asarray(picture * UNIT, np.float64)


def _add(image: Picture, pixels: NDArray[np.int64], units: Real) -> None:
    """Add whole units to pixels (n, 2); those outside are left out."""
    inside = ((pixels >= 0) & (pixels < image.shape)).all(axis=1)
    flat = pixels[inside, 0] * image.shape[1] + pixels[inside, 1]
    np.add.at(image.reshape(-1), flat, units[inside].astype(np.int64))


def _add_shifted(image: Picture, pixels: NDArray[np.int64], weights: Real) -> None:
    offsets = range(1 - SHIFTS, SHIFTS)
    for down in offsets:
        for right in offsets:
            share = (SHIFTS - abs(down)) * (SHIFTS - abs(right)) / SHIFTS**4
            _add(
                image, pixels + np.array([down, right]), np.rint(weights * share / UNIT)
            )


def _add_gaussians(image: Picture, place: Real, weights: Real, sigma: Real) -> None:
    """Add Gaussians at places in pixels, those of one size together."""
    sizes = np.ceil(CUT * sigma).astype(np.int64)
    for size in np.unique(sizes):
        own = np.flatnonzero(sizes == size)
        step = max(1, _AT_A_TIME // int(2 * size + 1) ** 2)
        for first in range(0, own.size, step):
            some = own[first : first + step]
            _add_windows(image, place[some], weights[some], sigma[some], int(size))


def _add_windows(
    image: Picture, place: Real, weights: Real, sigma: Real, size: int
) -> None:
    """Add one window of pixels for each Gaussian, as far as it is in the image."""
    corner = np.floor(place).astype(np.int64) - size
    pixels = corner[:, :, None] + np.arange(2 * size + 1)
    y, x = (
        _shares(pixels[:, axis], place[:, axis, None], sigma[:, None])
        for axis in range(2)
    )
    height, width = image.shape
    there = [
        (pixels[:, a] >= 0) & (pixels[:, a] < n) for a, n in enumerate(image.shape)
    ]
    y, x = y * there[0], x * there[1]  # what is outside adds 0 to the nearest pixel
    units = np.rint((weights[:, None] * y / UNIT)[:, :, None] * x[:, None, :])
    rows = np.clip(pixels[:, 0], 0, height - 1) * width
    flat = rows[:, :, None] + np.clip(pixels[:, 1], 0, width - 1)[:, None, :]
    np.add.at(image.reshape(-1), flat.reshape(-1), units.reshape(-1).astype(np.int64))


def _shares(pixels: NDArray[np.int64], centre: Real, sigma: Real) -> Real:
    """Return the share of each Gaussian's light, cut off, in each pixel of an axis."""
    scale = np.sqrt(2.0)
    below = np.clip((pixels - centre) / sigma, -CUT, CUT) / scale
    above = np.clip((pixels + 1 - centre) / sigma, -CUT, CUT) / scale
    return np.asarray((erf(above) - erf(below)) / (2 * erf(CUT / scale)))
