import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.simulation import Truth, broad_image
from deepspot_scale.simulation.broad import (
    LEAST_MATCHED_SNR,
    LEAST_SNR,
    WIDEST,
)

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def many() -> list[Truth]:
    return [broad_image(np.random.default_rng(seed), 128) for seed in range(300)]


@few
@given(seeds, st.sampled_from([16, 32, 64, 100]))
def test_the_truth_lies_inside_its_image(seed, size):
    truth = broad_image(np.random.default_rng(seed), size)
    assert truth.image.shape == (size, size)
    assert truth.image.dtype == np.float32
    assert np.isfinite(truth.image).all()
    assert truth.points.shape == (len(truth.snr), 2)
    assert truth.sigma.shape == truth.snr.shape
    assert ((truth.points >= 0) & (truth.points <= size - 1)).all()


def test_every_true_spot_is_as_visible_as_the_module_says(many):
    snr, sigma = (
        np.concatenate([getattr(truth, name) for truth in many])
        for name in ("snr", "sigma")
    )
    assert LEAST_SNR <= snr.min() < 1.1 * LEAST_SNR
    matched = float((snr * sigma * np.sqrt(np.pi)).min())
    assert LEAST_MATCHED_SNR * (1 - 1e-9) <= matched < 1.1 * LEAST_MATCHED_SNR


def test_sigmas_reach_from_the_sharpest_to_the_widest_and_little_beyond(many):
    sigma = np.concatenate([truth.sigma for truth in many])
    assert sigma.min() > 0.5
    assert 0.9 * WIDEST < sigma.max() <= WIDEST
    assert np.quantile(sigma, 0.01) < 0.9
    per_image = [np.median(truth.sigma) for truth in many if len(truth.sigma)]
    assert np.quantile(per_image, 0.9) > 2.2


def test_signal_to_noise_spans_more_than_a_decade(many):
    snr = np.concatenate([truth.snr for truth in many])
    assert np.quantile(snr, 0.95) / np.quantile(snr, 0.05) > 10


def test_numbers_of_spots_reach_from_none_to_3000_per_512_pixels(many):
    n = np.array([len(truth.points) for truth in many])
    # A sixteenth of the area; the number is Poisson about what was drawn.
    limit = 3000 / 16
    assert n.max() <= limit + 4 * np.sqrt(limit)
    assert n.max() > 100
    assert 0.05 < np.mean(n == 0) < 0.5


def test_images_of_background_alone_have_no_points(many):
    empty = [truth for truth in many if len(truth.points) == 0]
    assert empty
    for truth in empty:
        assert truth.points.shape == (0, 2)
        assert np.ptp(truth.image) > 0


def test_some_images_are_background_subtracted_with_half_their_pixels_zero(many):
    zero = np.array([np.mean(truth.image == 0) for truth in many])
    assert 0.05 < np.mean((zero > 0.3) & (zero < 0.8)) < 0.3


def test_some_images_are_of_eight_bits(many):
    def has_eight_bits(image):
        return image.max() <= 255 and (image == np.round(image)).all()

    assert 0.3 < np.mean([has_eight_bits(truth.image) for truth in many]) < 0.5


def test_some_images_saturate(many):
    top = np.array([np.mean(truth.image == truth.image.max()) for truth in many])
    assert 0.01 < np.mean(top > 0.0005) < 0.2


def test_bright_spots_are_local_peaks_where_they_are_said_to_be():
    shares = []
    for seed in range(40):
        truth = broad_image(np.random.default_rng(seed + 100), 128)
        clear = (truth.snr > 15) & (truth.sigma < 2)
        inside = ((truth.points > 8) & (truth.points < 119)).all(axis=1)
        if not 0 < (clear & inside).sum() < 60:
            continue
        rows, columns = np.round(truth.points[clear & inside]).astype(int).T
        ring = np.stack(
            [
                truth.image[rows + round(8 * np.sin(a)), columns + round(8 * np.cos(a))]
                for a in np.linspace(0, 2 * np.pi, 12, endpoint=False)
            ]
        )
        shares.append(np.mean(truth.image[rows, columns] > np.median(ring, axis=0)))
    assert len(shares) > 5
    assert np.mean(shares) > 0.95


def test_the_seed_decides_everything():
    first, second, other = (
        broad_image(np.random.default_rng(seed), 64) for seed in (5, 5, 6)
    )
    for a, b in zip(vars(first).values(), vars(second).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(other.image, first.image)


def test_faint_dots_that_stand_out_are_told_apart_from_the_spots():
    truths = [broad_image(np.random.default_rng(seed), 256) for seed in range(80)]
    shown = [truth for truth in truths if len(truth.grains)]
    assert len(shown) > 4
    brighter = []
    for truth in shown:
        pairs = np.concatenate([truth.points, truth.grains])
        away = np.hypot(*(pairs[:, None] - pairs[None]).T) + 99 * np.eye(len(pairs))
        assert away.min() >= 1
        rows, columns = np.round(truth.grains).astype(int).T
        around = cv2.medianBlur(truth.image, 5)
        brighter.extend((truth.image > around)[rows, columns])
    assert np.mean(brighter) > 0.6
