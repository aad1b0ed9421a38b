import numpy as np
import pytest

from deepspot_scale.kernels.sectors import sector_sums
from deepspot_scale.statistics.compact_bins import (
    bin_edges,
    fold_bins,
    n_petals,
    unfold_bins,
)
from deepspot_scale.statistics.null_models import rotation_pool

SECTORS = [n for n in range(2, 181) if 180 % n == 0]


@pytest.fixture
def bins():
    rng = np.random.default_rng(0)
    return rng.poisson(0.3, (9, 360)), rng.integers(0, 900, (9, 360))


@pytest.mark.parametrize("sectors", SECTORS)
def test_sectors_in_every_turn_and_petals_are_those_of_whole_bins(bins, sectors):
    edges = bin_edges(sectors, "fixed")
    folded = [unfold_bins(fold_bins(each, edges), edges) for each in bins]
    whole, made = (rotation_pool(*each, sectors, "fixed") for each in (bins, folded))
    np.testing.assert_array_equal(whole, made)
    for each, again in zip(bins, folded, strict=True):
        petals = n_petals(sectors)
        np.testing.assert_array_equal(
            sector_sums(each, petals), sector_sums(again, petals)
        )
        assert (each.sum(axis=1) == again.sum(axis=1)).all()


def test_with_the_published_rotation_no_bin_is_lost(bins):
    edges = bin_edges(3, "published")
    for each in bins:
        np.testing.assert_array_equal(fold_bins(each, edges), each)


def test_folded_bins_of_three_sectors_are_48_small_numbers(bins):
    folded = fold_bins(bins[0], bin_edges(3, "fixed"))
    assert folded.shape == (9, 48)
    assert folded.dtype == np.uint8


def test_no_cells_are_folded_to_no_cells():
    assert fold_bins(np.zeros((0, 360), int), bin_edges(3, "fixed")).shape == (0, 48)
