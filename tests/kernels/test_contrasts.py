import numpy as np
import pytest

from deepspot_scale.kernels import contrasts, wavelet
from deepspot_scale.simulation import render_spots


def scene(n=10, height=5000.0, noise=10.0, size=200):
    rng = np.random.default_rng(n)
    points = rng.permutation(np.argwhere(np.ones((8, 8))))[:n] * 24.0 + 14
    light = render_spots((size, size), points, np.full(n, height), np.full(n, 1.4))
    return np.rint(light + rng.normal(200, noise, light.shape)).astype(np.float32)


def whole(shape):
    return tuple(slice(0, n) for n in shape)


@pytest.mark.parametrize("n", [1, 10, 40])
def test_a_few_spots_say_how_bright_spots_are(n):
    counts = contrasts.count_contrasts(scene(n), whole((200, 200)))
    # A spot of sigma 1.4 px keeps half of its height.
    assert contrasts.typical_contrast(counts, 10) == pytest.approx(2600, rel=0.1)


def test_maxima_of_noise_say_nothing():
    counts = contrasts.count_contrasts(scene(0), whole((200, 200)))
    assert counts.sum() > 500
    assert contrasts.typical_contrast(counts, 10) == 0


def test_blocks_count_what_the_whole_counts():
    image = scene()
    total = np.zeros(wavelet.LEVELS + 1, np.int64)
    for top in range(0, 200, 64):
        for left in range(0, 200, 80):
            low = np.maximum(np.array([top, left]) - contrasts.REACH, 0)
            high = np.array([top + 64, left + 80])
            window = image[
                low[0] : high[0] + contrasts.REACH, low[1] : high[1] + contrasts.REACH
            ]
            core = tuple(
                slice(first - before, min(last, 200) - before)
                for first, before, last in zip((top, left), low, high, strict=True)
            )
            total += contrasts.count_contrasts(window, core)
    np.testing.assert_array_equal(
        total, contrasts.count_contrasts(image, whole(image.shape))
    )
