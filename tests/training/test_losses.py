import numpy as np
import pytest
from scipy import ndimage

from deepspot_scale.training.losses import deepspot_loss, star_loss, volume_loss


def test_the_loss_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    truth, guess = rng.uniform(0.01, 0.99, (2, 3, 8, 8, 1)).astype(np.float32)
    entropy = -(truth * np.log(guess) + (1 - truth) * np.log(1 - guess)).mean()
    brightest = [array.max(axis=(1, 2, 3)) for array in (truth, guess)]
    maximum = np.square(brightest[0] - brightest[1]).mean()
    got = deepspot_loss(truth, guess, cross_entropy=2.0, maximum=3.0)
    assert float(got) == pytest.approx(2 * entropy + 3 * maximum, rel=1e-4)
    # The brightest pixel is that of each image, not of the batch.
    assert maximum != pytest.approx(np.square(truth.max() - guess.max()), rel=0.01)


def test_the_loss_of_volumes_is_that_of_convolutions():
    rng = np.random.default_rng(0)
    truth, predicted = (rng.random((2, 12, 11, 5)).astype(np.float32) for _ in "ab")
    blurred = np.zeros((2, 6, 5, 5))
    taps = np.exp(-(np.arange(-3, 4) ** 2) / 2)
    kernel = taps[:, None, None] * taps[:, None] * taps
    for image, difference in zip(blurred, predicted - truth, strict=True):
        whole = ndimage.convolve(difference, kernel, mode="constant")
        image[:] = whole[3:-3, 3:-3]
    overlap = (predicted * truth).sum()
    dice = 1 - (2 * overlap + 1) / (overlap + (truth**2).sum() + 1)
    expected = 100**2 * np.mean(blurred**2) + dice
    assert float(volume_loss(truth, predicted)) == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_volumes_is_least_for_the_truth():
    truth = np.zeros((1, 16, 16, 6), np.float32)
    truth[0, 8, 8, 3] = 1
    near, far = np.roll(truth, 1, 1), np.roll(truth, 5, 1)
    losses = [float(volume_loss(truth, each)) for each in (truth, near, far)]
    assert losses == sorted(losses)
    assert losses[0] == pytest.approx(0, abs=1e-6)


def test_the_loss_of_stars_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    truth, guess = rng.uniform(0.02, 0.98, (2, 2, 6, 5, 37)).astype(np.float32)
    truth[..., 1:33] *= 20
    guess[..., 1:33] *= 20
    truth[0, :3, :, :33] = 0  # background

    def entropy(t, p):
        return -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()

    central = truth[..., :1]
    error = np.abs(truth[..., 1:33] - guess[..., 1:33])
    expected = (
        entropy(central, guess[..., :1])
        + 0.2 * (central * error).mean()
        + 1e-4 * np.where(central > 0, 0, error).mean()
        + 0.5 * entropy(truth[..., 33:], guess[..., 33:])
    )
    assert float(star_loss(truth, guess)) == pytest.approx(expected, rel=1e-4)
