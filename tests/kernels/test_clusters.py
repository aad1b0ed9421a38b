import numpy as np
import pytest

from deepspot_scale.kernels.clusters import number_clusters


def test_dense_groups_are_clusters_in_the_order_of_their_points():
    rng = np.random.default_rng(0)
    centres = np.array([[50.0, 50, 50], [10.0, 10, 10], [90.0, 10, 40]])
    groups = [centre + rng.uniform(-0.5, 0.5, (8, 3)) for centre in centres]
    far = np.array([[0.0, 90, 90], [90.0, 90, 0], [30.0, 30, 30]])
    points = np.concatenate([far[:1], *groups, far[1:]])
    found = number_clusters(points, np.ones(27), 1.0, 4)
    assert found.tolist() == [0] + [1] * 8 + [2] * 8 + [3] * 8 + [0, 0]


def test_a_point_counts_as_many_times_as_it_weighs():
    points = np.array([[0.0, 0], [5, 5]])
    assert number_clusters(points, np.array([4.0, 1]), 1, 4).tolist() == [1, 0]
    assert number_clusters(points, np.array([3.0, 1]), 1, 4).tolist() == [0, 0]


def test_no_points_are_no_clusters():
    assert number_clusters(np.zeros((0, 2)), np.zeros(0), 1, 4).tolist() == []


@pytest.mark.parametrize("seed", range(12))
def test_clusters_are_those_of_scikit_learn(seed):
    cluster = pytest.importorskip("sklearn.cluster")
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 400)), int(rng.integers(2, 4))
    points = rng.uniform(0, 12, (n, d))
    if seed % 2:  # on a grid many distances are equal to the reach, and points coincide
        points = points.round()
    weights = rng.integers(1, 4, n).astype(float)
    reach, least = float(rng.integers(1, 3)), int(rng.integers(3, 12))
    scan = cluster.DBSCAN(eps=reach, min_samples=least)
    expected = scan.fit(points, sample_weight=weights).labels_ + 1
    found = number_clusters(points, weights, reach, least)
    assert found.tolist() == expected.tolist()
