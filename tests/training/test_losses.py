import numpy as np
import pytest

from deepspot_scale.training.losses import deepspot_loss


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
