import numpy as np

from deepspot_scale.simulation.stacks import StackKind, simulate_stack


def test_a_stack_has_its_spots_where_they_are_said_to_be():
    kind = StackKind((12, 64, 64), spots=5, peak=200.0)
    truth = simulate_stack(kind, 3)
    again = simulate_stack(kind, 3)
    np.testing.assert_array_equal(truth.image, again.image)
    assert not np.array_equal(truth.image, simulate_stack(kind, 4).image)
    z, y, x = np.round(truth.points).astype(int).T
    bright = truth.image[z, y, x] - kind.background
    noise = np.hypot(10, 3)
    assert (bright > 0.5 * truth.snr * noise).all()
    assert (np.abs(truth.snr / kind.peak - 1) <= kind.spread).all()
    assert np.median(truth.image) == np.float32(kind.background)
