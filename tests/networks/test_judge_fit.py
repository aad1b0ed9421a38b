import numpy as np

from deepspot_scale.kernels.populations import N_FEATURES
from deepspot_scale.networks.judge_fit import fit_layers


def test_a_judge_learns_what_tells_spots_apart_and_how_sure_that_is():
    rng = np.random.default_rng(0)
    features = np.rint(rng.normal(3, 2, (60_000, N_FEATURES)) * 256) / 256
    # Two features tell three quarters of the truth.
    clear = features[:, 1] > features[:, 7] + 0.5
    labels = np.where(rng.random(60_000) < 0.75, clear, ~clear)
    judge = fit_layers(
        features.astype(np.float32), labels, np.ones(60_000, np.float32), epochs=6
    )
    fresh = np.rint(rng.normal(3, 2, (4000, N_FEATURES)) * 256) / 256
    margin = fresh[:, 1] - fresh[:, 7] - 0.5
    found = judge.probability(fresh)
    # Not only the side is right, but how often.
    assert 0.68 < found[margin > 1].mean() < 0.82
    assert 0.18 < found[margin < -1].mean() < 0.32
