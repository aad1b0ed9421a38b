"""Simulated nuclei are where their labels say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from deepspot_scale.simulation.nuclei import draw_nuclei


def drawn(seed=0, shape=(256, 256), **options):
    return draw_nuclei(np.random.default_rng(seed), shape, **options)


def test_the_seed_alone_decides():
    one, same, other = drawn(3), drawn(3), drawn(4)
    np.testing.assert_array_equal(one.counts, same.counts)
    np.testing.assert_array_equal(one.labels, same.labels)
    assert (one.labels != other.labels).any()


def test_labels_and_counts_have_the_asked_shape():
    made = drawn(shape=(96, 130))
    assert made.counts.shape == made.labels.shape == (96, 130)
    assert made.counts.dtype == np.float32
    assert np.isfinite(made.counts).all()


@pytest.mark.parametrize("seed", range(6))
def test_each_nucleus_is_one_piece_and_brighter_than_the_background(seed):
    made = drawn(seed, cover=0.5, touching=0.7)
    names = np.unique(made.labels)[1:]
    assert len(names) > 10
    for name in names:
        assert ndimage.label(made.labels == name)[1] == 1
    dark = np.median(made.counts[made.labels == 0])
    levels = ndimage.median(made.counts, made.labels, names)
    assert (levels > dark).mean() > 0.95


def test_area_of_nuclei_is_that_of_the_diameter():
    sizes = []
    for seed in range(4):
        labels = drawn(seed, (400, 400), diameter=24, cover=0.15, touching=0).labels
        inner = labels[1:-1, 1:-1]
        outer = set(np.unique(labels)) - set(np.unique(inner))
        counts = np.bincount(labels.ravel())[1:]
        sizes += [n for i, n in enumerate(counts, 1) if n and i not in outer]
    assert 2 * np.sqrt(np.median(sizes) / np.pi) == pytest.approx(24, rel=0.15)


def test_more_cover_and_more_touching_do_as_they_say():
    def covered(cover):
        return np.mean([(drawn(s, cover=cover).labels > 0).mean() for s in range(4)])

    def contacts(touching):
        n = 0
        for seed in range(6):
            labels = drawn(seed, cover=0.2, touching=touching).labels
            right, left = labels[:, 1:], labels[:, :-1]
            n += ((right > 0) & (left > 0) & (right != left)).sum()
        return n

    assert covered(0.4) > 1.5 * covered(0.15)
    assert contacts(0.9) > 2 * contacts(0.0)


def test_no_cover_gives_noise_without_nuclei():
    made = drawn(cover=0.0)
    assert not made.labels.any()
    assert made.counts.std() > 0
