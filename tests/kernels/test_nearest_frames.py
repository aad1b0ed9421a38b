"""Precision by the next frame: simulated molecules whose precision is known."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.kernels.nearest_frames import (
    count_distances,
    nearest_precision_nm,
    no_distances,
)


def draw(
    seed: int, sigma: float, n: int = 1500, size: float = 6400.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw molecules that stay on for some of 400 frames, seen to `sigma` nm."""
    rng = np.random.default_rng(seed)
    start, long = rng.integers(0, 400, n), rng.geometric(0.4, n)
    frames = np.concatenate(
        [s + np.arange(k) for s, k in zip(start, long, strict=True)]
    )
    places = np.repeat(rng.uniform(0, size, (n, 2)), long, axis=0)
    order = np.argsort(frames, kind="stable")
    places = places + rng.normal(0, sigma, places.shape)
    return frames[order], places[order]


@pytest.mark.parametrize("sigma", [6.0, 12.0, 25.0])
def test_a_known_precision_is_found(sigma: float) -> None:
    counts = count_distances(no_distances(), *draw(1, sigma)).counts
    assert nearest_precision_nm(counts) == pytest.approx(sigma, rel=0.06)


def test_many_molecules_a_frame_change_it_little() -> None:
    counts = count_distances(no_distances(), *draw(2, 12.0, n=20000)).counts
    assert nearest_precision_nm(counts) == pytest.approx(12, rel=0.1)


def test_parts_of_a_movie_give_the_counts_of_the_whole() -> None:
    frames, places = draw(3, 12.0)
    whole = count_distances(no_distances(), frames, places)
    state = no_distances()
    for low in range(0, 500, 7):
        own = (frames >= low) & (frames < low + 7)
        state = count_distances(state, frames[own], places[own])
    np.testing.assert_array_equal(state.counts, whole.counts)


def test_only_the_very_next_frame_counts() -> None:
    places = np.zeros((2, 2))
    counts = count_distances(no_distances(), np.array([0, 2]), places).counts
    assert counts.sum() == 0
    counts = count_distances(no_distances(), np.array([1, 2]), places).counts
    assert counts[0] == counts.sum() == 1


def test_few_pairs_tell_no_precision() -> None:
    counts = count_distances(no_distances(), *draw(4, 12.0, n=40)).counts
    assert np.isnan(nearest_precision_nm(counts))


@pytest.mark.parametrize("seed", range(5))
def test_molecules_that_are_never_seen_again_tell_no_precision(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = np.sort(rng.integers(0, 400, 8000))
    places = rng.uniform(0, 6400, (8000, 2))
    found = nearest_precision_nm(count_distances(no_distances(), frames, places).counts)
    assert np.isnan(found)


def test_picasso_finds_the_same_precision() -> None:
    pytest.importorskip("picasso", reason="picassosr is not installed")
    import pandas as pd
    from picasso.postprocess import nena

    frames, places = draw(6, 12.0)
    table = pd.DataFrame({"frame": frames.astype(np.uint32)})
    table["y"], table["x"] = (places / 100).astype(np.float32).T
    table["lpx"] = table["lpy"] = np.float32(0.12)
    ours = nearest_precision_nm(count_distances(no_distances(), frames, places).counts)
    assert 100 * nena(table, {})[1] == pytest.approx(ours, rel=0.1)
