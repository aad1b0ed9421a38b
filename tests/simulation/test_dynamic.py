import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.simulation import Truth
from deepspot_scale.simulation.dynamic import (
    LEAST_FOR_GRAINS,
    LEAST_MATCHED_SNR,
    LEAST_SNR,
    WIDEST,
    dynamic_image,
)

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def many() -> list[Truth]:
    return [dynamic_image(np.random.default_rng(seed), 128) for seed in range(300)]


@few
@given(seeds, st.sampled_from([32, 64, 100]))
def test_the_truth_lies_inside_its_image(seed, size):
    truth = dynamic_image(np.random.default_rng(seed), size)
    assert truth.image.shape == (size, size)
    assert truth.image.dtype == np.float32
    assert np.isfinite(truth.image).all()
    assert truth.image.min() >= 0
    assert truth.points.shape == (len(truth.snr), 2)
    assert truth.sigma.shape == truth.snr.shape
    assert ((truth.points >= 0) & (truth.points <= size - 1)).all()


def test_every_true_spot_stands_out_by_itself(many):
    snr, sigma = (
        np.concatenate([getattr(truth, name) for truth in many])
        for name in ("snr", "sigma")
    )
    assert LEAST_SNR <= snr.min() < 1.1 * LEAST_SNR
    assert (snr * sigma * np.sqrt(np.pi)).min() >= LEAST_MATCHED_SNR * (1 - 1e-9)
    assert sigma.max() <= WIDEST


def test_spots_of_one_image_span_two_decades(many):
    spans = [truth.snr.max() / truth.snr.min() for truth in many if len(truth.snr) > 30]
    assert np.quantile(spans, 0.9) > 30
    assert np.quantile(spans, 0.1) < 8


def test_many_images_have_no_spot_or_a_few(many):
    n = np.array([len(truth.points) for truth in many])
    # Small images: a few spots of 512 px are none or one here.
    assert 0.15 < (n == 0).mean() < 0.35
    assert 0.3 < ((n > 0) & (n < 6)).mean() < 0.5
    assert n.max() > 100


def test_no_two_true_spots_are_one_for_the_eye(many):
    for truth in many:
        apart = np.hypot(*(truth.points[:, None] - truth.points).transpose(2, 0, 1))
        np.fill_diagonal(apart, np.inf)
        assert apart.min(initial=np.inf) >= 2


def test_true_spots_were_imaged():
    """With rims and missing tiles, which are black, no true spot lies in them."""
    hidden = [dynamic_image(np.random.default_rng(seed), 96) for seed in range(400)]
    black = 0
    for truth in hidden:
        if (truth.image == 0).mean() < 0.02 or (truth.image[1:-1, 1:-1] > 0).all():
            continue
        rows, columns = np.round(truth.points).astype(int).T
        black += int((truth.image == 0).all(axis=1).any())
        bright = truth.snr > 8
        assert (truth.image[rows, columns][bright] > 0).all()
    assert black > 3


def test_grains_are_a_second_population_far_fainter_than_the_spots():
    shown = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = dynamic_image(rng, 160, grains=1.0)
        plain = dynamic_image(np.random.default_rng(seed), 160)
        assert len(plain.grains) == 0
        if len(truth.grains) == 0:
            continue
        shown += 1
        assert len(truth.points) >= LEAST_FOR_GRAINS
        above = truth.image - np.median(truth.image)
        light = [
            np.median(above[tuple(np.round(points).astype(int).T)])
            for points in (truth.points, truth.grains)
        ]
        assert light[1] < 0.6 * light[0]
    assert shown >= 5
