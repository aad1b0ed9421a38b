"""How a microscope with a phase mask images single molecules at any depth.

An `Optics` value, a phase mask and places in micrometres go in, the light of every
molecule on the camera goes out. A molecule's wave in the back focal plane is a phase:
its depth counted through water, minus the focal plane counted through oil, plus the
mask. The image is the squared Fourier transform of that wave, which is sampled straight
at the camera's pixels by two matrix products: the aperture fills less than half of the
samples that a fast transform would need, windows are small, and any wavelength meets
any pixel. Nothing here knows noise, networks or files.

Sources: Nehme et al. 2020, https://doi.org/10.1038/s41592-020-0853-5 (the model);
Soummer et al. 2007, https://doi.org/10.1364/OE.15.015935 (transform by matrices).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Waves = NDArray[np.complex64]
_WAVES_AT_ONCE = 2_000_000
"""Complex numbers of the waves computed together, to bound the memory."""


@dataclass(frozen=True)
class Optics:
    """An oil immersion microscope with a phase mask in a 4f system.

    Lengths are micrometres. The sample is in a medium with a lower index than the oil,
    whose surface on the coverslip is depth 0.
    """

    wavelength: float = 0.67
    """Of the emitted light, in vacuum."""
    numerical_aperture: float = 1.45
    """Of the objective; rays beyond the critical angle of the medium are lost."""
    n_oil: float = 1.518
    """Refractive index of the immersion oil."""
    n_water: float = 1.33
    """Refractive index of the medium around the molecules."""
    magnification: float = 100.0
    """From the sample to the camera."""
    camera_pixel: float = 11.0
    """Edge of a pixel of the camera."""
    slm_pixel: float = 30.0
    """Edge of a pixel of the phase mask."""
    focal_length: float = 1e5
    """Of the lenses of the 4f system."""
    focal_plane: float = 1.5
    """Depth to which the objective is set, as if all were oil."""

    @property
    def pixel(self) -> float:
        """Edge of a camera pixel in the sample, micrometres."""
        return self.camera_pixel / self.magnification

    @property
    def aperture_radius(self) -> float:
        """Radius of the back focal plane for the nominal aperture, mask pixels."""
        na = self.numerical_aperture
        radius = self.focal_length * na / math.sqrt(self.magnification**2 - na**2)
        return radius / self.slm_pixel

    @property
    def effective_aperture(self) -> float:
        """The aperture that light from the medium fills."""
        return min(self.numerical_aperture, self.n_water)

    @property
    def mask_edge(self) -> int:
        """Mask pixels at which a fast transform would have the camera's pixels, odd."""
        exact = self.wavelength * self.focal_length / self.slm_pixel / self.camera_pixel
        return 2 * math.floor(exact / 2) + 1


@dataclass(frozen=True)
class Pupil:
    """What all molecules of one microscope and mask share; made by `make_pupil`."""

    optics: Optics
    """The microscope."""
    wave: Waves
    """(k, k), mask and focal plane, 0 outside the aperture; its squares sum to the
    inverse of one camera pixel's share, so a PSF sums to 1 over an endless camera."""
    axial: NDArray[np.float64]
    """(rings,), radians that one micrometre of depth adds."""
    ring: NDArray[np.intp]
    """(k, k), which of them applies: pixels as far from the axis share one."""
    lateral: NDArray[np.floating]
    """(k,), radians that one micrometre along an axis adds."""

    def transform(self, length: int) -> Waves:
        """Return the matrix (length, k) to pixels 0, 1, ... along one axis."""
        pixels = np.arange(length) * self.optics.pixel
        return _turned(-pixels[:, None] * self.lateral)

    def waves(self, points: NDArray[np.float64]) -> Waves:
        """Return the waves (n, k, k) of molecules at (n, 3) z, y, x in micrometres."""
        z, y, x = points.T[..., None]
        waves = _turned(z * self.axial)[:, self.ring] * self.wave
        waves *= _turned(y * self.lateral)[:, :, None]
        waves *= _turned(x * self.lateral)[:, None, :]
        return waves


def make_pupil(optics: Optics, mask: NDArray[np.floating] | None = None) -> Pupil:
    """Return the pupil of a microscope with a phase mask.

    Parameters
    ----------
    optics
        The microscope.
    mask
        (edge, edge) phases in radians, at pixels of the mask, of any odd edge; the
        middle pixel is on the axis and rows are along y. A mask that is smaller than
        the aperture is flat around. None: flat everywhere.

    Raises
    ------
    ValueError
        The mask is not a square of an odd edge.
    """
    steps, sine = _samples(optics)
    inside = (sine < optics.numerical_aperture / optics.n_oil) & (
        sine * optics.n_oil < optics.n_water
    )
    turns = 2 * math.pi / optics.wavelength
    k_water = turns * optics.n_water * _cosine(sine * optics.n_oil / optics.n_water)
    k_oil = turns * optics.n_oil * _cosine(sine)
    phase = _centred(mask, steps.size) - optics.focal_plane * k_oil
    step = optics.slm_pixel / (optics.wavelength * optics.focal_length)
    lateral = np.asarray(2 * math.pi * step * optics.magnification * steps)
    # Parseval: |transform|^2 sums to the number of samples, over one period of
    # 1 / step on the camera; a pixel takes this share along each axis.
    share = step * optics.camera_pixel
    wave = np.where(inside, np.exp(1j * phase), 0) * share / math.sqrt(inside.sum())
    around = steps[:, None] ** 2 + steps**2
    _, first, ring = np.unique(around, return_index=True, return_inverse=True)
    axial = k_water.ravel()[first]
    return Pupil(optics, wave.astype(np.complex64), axial, ring, lateral)


def psf(
    pupil: Pupil,
    points: NDArray[np.floating],
    photons: NDArray[np.floating],
    shape: tuple[int, int],
    corners: NDArray[np.integer] | None = None,
) -> Array:
    """Return the light of every molecule, photons per pixel.

    Parameters
    ----------
    pupil
        From `make_pupil`.
    points
        (n, 3), z, y, x in micrometres: z is the depth above the coverslip, y and x
        count from the centre of the camera's first pixel.
    photons
        (n,), of each molecule on an endless camera.
    shape
        Rows and columns of the image of each.
    corners
        (n, 2), first row and column of each image on the camera; None: 0, 0.

    Returns
    -------
    Array
        (n, *shape). Light that falls beyond is lost. The model repeats itself at
        wavelength * focal_length / slm_pixel on the camera (`Optics.mask_edge`
        pixels), so images are taken within half of that of their molecule.
    """
    places = np.array(points, np.float64).reshape(-1, 3)
    if corners is not None:
        places[:, 1:] -= np.asarray(corners) * pupil.optics.pixel
    down, across = (pupil.transform(length) for length in shape)
    result = np.empty((len(places), *shape), np.float32)
    step = max(1, _WAVES_AT_ONCE // (pupil.wave.size + max(shape) ** 2))
    for start in range(0, len(places), step):
        images = down @ pupil.waves(places[start : start + step]) @ across.T
        result[start : start + step] = images.real**2 + images.imag**2
    result *= np.asarray(photons, np.float32)[:, None, None]
    return result


def blur(images: Array, sigma: NDArray[np.floating], radius: int = 4) -> Array:
    """Return every image blurred by a Gaussian of its own.

    `images` is (n, y, x) and `sigma` (n,) in pixels; a kernel of 2 `radius` + 1 pixels
    sums to 1, and beyond the border is nothing.
    """
    offsets = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (offsets / np.asarray(sigma, np.float64)[:, None]) ** 2)
    taps /= taps.sum(1, keepdims=True)
    down, across = (_bands(taps, length) for length in images.shape[1:])
    return np.asarray(down @ images @ across.transpose(0, 2, 1), np.float32)


def flat_mask(optics: Optics) -> Array:
    """Return the mask that changes nothing, (edge, edge)."""
    return np.zeros((optics.mask_edge,) * 2, np.float32)


def zernike_mask(optics: Optics, degree: int, order: int, amplitude: float) -> Array:
    r"""Return a mask of one Zernike polynomial of root mean square `amplitude`.

    :math:`R_n^{|m|}(\rho) \cos(m \theta)`, or the sine for `order` m below 0, with
    :math:`\rho` 1 at the effective aperture and :math:`\theta` from x to y; the mask,
    in radians, is 0 outside. Degrees n and orders m have the same parity, |m| <= n.
    Degree 2, order 2 is the astigmatism of a cylindrical lens: two focal lines, along y
    and along x, on the two sides of the focus.

    Source: Noll 1976, https://doi.org/10.1364/JOSA.66.000207.
    """
    edge = optics.mask_edge
    steps = np.arange(edge) - edge // 2
    radius = optics.aperture_radius * (
        optics.effective_aperture / optics.numerical_aperture
    )
    rho = np.hypot(steps[:, None], steps) / radius
    theta = np.arctan2(steps[:, None], steps)
    m = abs(order)
    radial = np.zeros_like(rho)
    for s in range((degree - m) // 2 + 1):
        sign = (-1) ** s * math.factorial(degree - s)
        below = math.factorial(s) * math.factorial((degree + m) // 2 - s)
        radial += (
            sign
            / (below * math.factorial((degree - m) // 2 - s))
            * (rho ** (degree - 2 * s))
        )
    around = np.cos(m * theta) if order >= 0 else np.sin(m * theta)
    norm = math.sqrt((degree + 1) * (1 if m == 0 else 2))
    return np.where(rho < 1, amplitude * norm * radial * around, 0).astype(np.float32)


def _samples(optics: Optics) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Return mask pixels from the axis (k,), and the sine in oil of each (k, k)."""
    fills = optics.effective_aperture / optics.numerical_aperture
    half = math.floor(optics.aperture_radius * fills)
    steps = np.arange(-half, half + 1)
    sine = optics.numerical_aperture / optics.n_oil / optics.aperture_radius * steps
    return steps, np.hypot(sine[:, None], sine)


def _cosine(sine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.maximum(0, 1 - sine**2))


def _centred(mask: NDArray[np.floating] | None, edge: int) -> NDArray[np.float64]:
    """Return the middle of the mask, or the mask with zeros around, (edge, edge)."""
    if mask is None:
        return np.zeros((edge, edge))
    if mask.ndim != 2 or mask.shape[0] != mask.shape[1] or mask.shape[0] % 2 == 0:
        raise ValueError(f"a mask is a square of an odd edge; got {mask.shape}")
    outside = max(0, edge - mask.shape[0]) // 2
    inside = max(0, mask.shape[0] - edge) // 2
    middle = mask[inside : inside + edge, inside : inside + edge]
    return np.pad(middle.astype(np.float64), outside)


def _turned(phase: NDArray[np.floating]) -> Waves:
    """Return exp(i phase)."""
    return np.asarray(np.exp(1j * phase), np.complex64)


def _bands(taps: NDArray[np.float64], length: int) -> Array:
    """Return matrices (n, length, length) that convolve with each row of taps."""
    radius = taps.shape[1] // 2
    between = np.subtract.outer(np.arange(length), np.arange(length))
    near = np.abs(between) <= radius
    rows = taps[:, np.where(near, between + radius, 0)]
    return np.where(near, rows, 0).astype(np.float32)
