import cv2
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from deepspot_scale.simulation import simulate_image
from deepspot_scale.simulation.trials import DECADES, SPARSE_LIGHT, SPARSE_NUMBERS

SETS = ("sparse", "sites", "singles", "decades")


def images(name, n=12, size=256):
    return [simulate_image(name, 3, number, size=size) for number in range(n)]


@pytest.mark.parametrize("name", SETS)
def test_spots_are_bright_inside_and_far_from_one_another(name):
    for truth in images(name):
        assert truth.image.shape == (256, 256)
        assert truth.image.dtype == np.float32
        assert (truth.image == np.rint(truth.image)).all()
        assert len(truth.points) == len(truth.snr) == len(truth.sigma)
        if len(truth.points) > 1:
            assert pdist(truth.points).min() >= 14
        rows, columns = np.round(truth.points).astype(int).T
        background = cv2.blur(truth.image, (41, 41))
        above = (truth.image - background)[rows, columns]
        noise = np.median(np.abs(np.diff(truth.image))) * 1.4826 / 2**0.5
        # Within the noise and the pixel's share of the height.
        assert (above > 0.5 * truth.snr * noise - 4 * noise).all()


def test_sparse_fields_have_one_of_some_numbers_of_spots():
    truths = images("sparse", 40)
    assert {len(truth.points) for truth in truths} <= set(SPARSE_NUMBERS)
    assert {0, 1} <= {len(truth.points) for truth in truths}
    snr = np.concatenate([truth.snr for truth in truths])
    assert SPARSE_LIGHT[0] / 10 <= snr.min() < 3 * SPARSE_LIGHT[0] / 10
    assert SPARSE_LIGHT[1] / 30 < snr.max() <= SPARSE_LIGHT[1] / 10


def test_sites_are_added_to_the_same_field():
    for with_them, without in zip(images("sites"), images("singles"), strict=True):
        np.testing.assert_array_equal(with_them.points, without.points)
        np.testing.assert_array_equal(with_them.snr, without.snr)
        assert len(without.uncounted) == 0
        assert 1 <= len(with_them.uncounted) <= 8 + 1 + 6
        changed = np.argwhere(with_them.image != without.image)
        away = np.abs(changed[:, None] - with_them.uncounted[None]).max(axis=2)
        assert away.min(axis=1).max() < 14
        assert with_them.image.max() > 2 * without.image.max()


def test_the_decades_are_evenly_filled():
    snr = np.concatenate([truth.snr for truth in images("decades", size=512)])
    assert DECADES[0] <= snr.min()
    assert snr.max() <= DECADES[1]
    share = np.mean(snr < 20)
    assert share == pytest.approx(0.5, abs=0.05)
