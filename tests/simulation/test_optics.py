"""The light of single molecules through a microscope with a phase mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import fft, ndimage

from deepspot_scale.simulation.optics import (
    Optics,
    blur,
    flat_mask,
    make_pupil,
    psf,
    zernike_mask,
)

RNG = np.random.default_rng(0)


def matching(**values: float) -> Optics:
    """An objective at which a transform of `mask_edge` has the camera's pixels."""
    given = Optics(**values)
    light = given.wavelength * given.focal_length
    return replace(given, camera_pixel=light / given.slm_pixel / given.mask_edge)


def by_fast_transform(optics, mask, point, photons):
    """The slow twin: the whole back focal plane, transformed as it stands."""
    edge = optics.mask_edge
    steps = np.arange(edge) - edge // 2
    sine = optics.numerical_aperture / optics.n_oil / optics.aperture_radius * steps
    r = np.hypot(sine[:, None], sine)
    in_water = r * optics.n_oil / optics.n_water
    inside = (r < optics.numerical_aperture / optics.n_oil) & (in_water < 1)
    turns = 2 * np.pi / optics.wavelength
    z, y, x = point
    phase = mask + z * turns * optics.n_water * np.sqrt(np.maximum(0, 1 - in_water**2))
    phase -= (
        optics.focal_plane * turns * optics.n_oil * np.sqrt(np.maximum(0, 1 - r**2))
    )
    slope = turns * optics.magnification * optics.slm_pixel / optics.focal_length
    middle = edge // 2 * optics.pixel
    phase += slope * ((y - middle) * steps[:, None] + (x - middle) * steps)
    wave = fft.ifftshift(inside * np.exp(1j * phase))
    light = np.abs(fft.fftshift(fft.fft2(wave))) ** 2
    return light * photons / light.sum()


@pytest.mark.parametrize("wavelength", [0.58, 0.67])
def test_the_image_is_the_fast_transform_of_the_whole_back_focal_plane(wavelength):
    optics = matching(wavelength=wavelength)
    edge = optics.mask_edge
    mask = RNG.uniform(-3, 3, (edge, edge))
    point = np.array([2.2, 10.1, 11.4])
    twin = by_fast_transform(optics, mask, point, 1000.0)
    image = psf(make_pupil(optics, mask), point, np.array([1000.0]), (edge, edge))[0]
    np.testing.assert_allclose(image, twin, atol=1e-4 * twin.max())


def test_all_photons_fall_on_one_period_of_the_model():
    optics = matching()
    edge = optics.mask_edge
    point = np.array([0.3, 11.0, 11.0])
    image = psf(make_pupil(optics), point, np.array([700.0]), (edge, edge))
    assert image.sum() == pytest.approx(700, rel=1e-4)


def test_a_molecule_one_pixel_on_shifts_its_image_by_one_pixel():
    pupil = make_pupil(Optics(), zernike_mask(Optics(), 2, 2, 1.0))
    pixel = pupil.optics.pixel
    points = np.array([[1.0, 1.0, 1.2], [1.0, 1.0 + pixel, 1.2 + 2 * pixel]])
    one, other = psf(pupil, points, np.ones(2), (25, 25))
    np.testing.assert_allclose(one[:-1, :-2], other[1:, 2:], atol=1e-6)


def test_a_window_is_cut_from_the_camera():
    pupil = make_pupil(Optics())
    points = np.array([[0.5, 2.0, 3.0], [1.5, 3.0, 2.0]])
    corners = np.array([[7, 9], [11, 3]])
    photons = np.array([500.0, 800.0])
    camera = psf(pupil, points, photons, (50, 50))
    windows = psf(pupil, points, photons, (20, 22), corners)
    for whole, window, (y, x) in zip(camera, windows, corners, strict=True):
        np.testing.assert_allclose(window, whole[y : y + 20, x : x + 22], atol=1e-4)


def test_the_brightest_pixel_holds_the_molecule_in_focus():
    # In focus in water is deeper than the plane set in oil by about n_water / n_oil.
    optics = Optics(focal_plane=0.0)
    place = np.array([0.0, 7 * optics.pixel, 9 * optics.pixel])
    image = psf(make_pupil(optics), place, np.ones(1), (21, 21))[0]
    assert np.unravel_index(image.argmax(), image.shape) == (7, 9)


def test_astigmatism_turns_the_image_across_the_focus():
    optics = Optics(focal_plane=0.0, n_water=1.518)
    pupil = make_pupil(optics, zernike_mask(optics, 2, 2, 1.0))
    middle = 15 * optics.pixel
    points = np.array([[-0.4, middle, middle], [0.4, middle, middle]])
    before, after = psf(pupil, points, np.ones(2), (31, 31))
    np.testing.assert_allclose(before, after.T, atol=1e-5)
    offsets = (np.arange(31) - 15) ** 2
    assert before.sum(1) @ offsets < 0.7 * (before.sum(0) @ offsets)


def test_light_beyond_the_critical_angle_is_lost():
    water = make_pupil(Optics())
    nominal = make_pupil(Optics(numerical_aperture=1.33))
    assert (water.wave != 0).sum() == pytest.approx((nominal.wave != 0).sum(), rel=0.01)


def test_a_larger_mask_is_cut_and_a_smaller_one_is_flat_around():
    optics = Optics()
    large = RNG.uniform(-1, 1, (301, 301))
    edge = make_pupil(optics).wave.shape[0]
    corner = (301 - edge) // 2
    middle = large[corner : corner + edge, corner : corner + edge]
    np.testing.assert_array_equal(
        make_pupil(optics, large).wave, make_pupil(optics, middle).wave
    )
    np.testing.assert_array_equal(
        make_pupil(optics, np.zeros((3, 3))).wave,
        make_pupil(optics, flat_mask(optics)).wave,
    )


@pytest.mark.parametrize("shape", [(4, 4), (5, 7), (5,)])
def test_a_mask_without_a_middle_is_refused(shape):
    with pytest.raises(ValueError, match="odd edge"):
        make_pupil(Optics(), np.zeros(shape))


def test_zernike_masks_have_their_root_mean_square_and_are_orthogonal():
    optics = Optics(slm_pixel=8.0)
    inside = zernike_mask(optics, 0, 0, 1.0) != 0
    modes = [(2, 0), (2, 2), (2, -2), (3, 1), (4, 0), (4, 2)]
    masks = [zernike_mask(optics, n, m, 0.7)[inside] for n, m in modes]
    products = np.array(masks) @ np.array(masks).T / inside.sum()
    np.testing.assert_allclose(products, 0.49 * np.eye(len(modes)), atol=0.005)


def test_blurring_is_a_convolution_with_a_gaussian_of_each_image():
    images = RNG.random((2, 12, 15)).astype(np.float32)
    blurred = blur(images, np.array([0.8, 1.2]))
    for image, given, sigma in zip(images, blurred, (0.8, 1.2), strict=True):
        twin = ndimage.gaussian_filter(image, sigma, radius=4, mode="constant")
        np.testing.assert_allclose(given, twin, atol=1e-5)


def test_no_molecules_give_no_images():
    assert psf(make_pupil(Optics()), np.zeros((0, 3)), np.zeros(0), (9, 9)).shape == (
        0,
        9,
        9,
    )
