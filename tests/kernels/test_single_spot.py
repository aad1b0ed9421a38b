import numpy as np
import pytest

from deepspot_scale.kernels.single_spot import (
    SAMPLE,
    Sample,
    draw_lots,
    single_spot,
)
from deepspot_scale.kernels.volumes import SpotWidths

WIDTH = SpotWidths(1.2, 1.47)


def sample_of(heights, alone, seed=0):
    """Return a sample in which spots that stand alone were fitted."""
    rng = np.random.default_rng(seed)
    rank = draw_lots(rng.choice(10**6, len(heights), replace=False), alone)
    order = np.argsort(rank)[:SAMPLE]
    fitted = np.where(alone, heights * 1.1, np.nan)
    z, yx = (np.where(alone, sigma, np.nan) for sigma in (1.1, 1.4))
    return Sample(rank[order], *(v[order] for v in (heights, fitted, z, yx)))


def test_one_molecule_is_the_median_of_the_spots_that_stand_alone():
    heights = np.concatenate([np.full(11, 400.0), np.full(30, 2000.0)])
    single = single_spot(sample_of(heights, np.arange(41) < 11), WIDTH)
    assert single == (400.0, pytest.approx(480.0), (1.1, 1.4), pytest.approx(440.0))
    few = single_spot(sample_of(heights, np.arange(41) < 5), WIDTH)
    assert (few.height, few.peak, few.width) == (2000.0, 2000.0, WIDTH)
    none = single_spot(sample_of(heights[:5], np.ones(5, bool)), WIDTH)
    assert np.isnan(none.height)
    assert none.limit == np.inf


def test_where_single_spots_differ_more_a_site_must_be_brighter():
    rng = np.random.default_rng(1)
    for spread in (0.2, 0.4):
        heights = 400 * np.exp(rng.normal(0, spread, SAMPLE))
        single = single_spot(sample_of(heights, np.ones(SAMPLE, bool)), WIDTH)
        share = single.limit / single.height
        assert share == pytest.approx(np.exp(3.0 * spread), rel=0.25)


def test_a_sample_does_not_depend_on_how_a_field_is_divided():
    rng = np.random.default_rng(4)
    voxels, alone = rng.choice(10**9, 900, replace=False), rng.random(900) < 0.3
    heights = rng.uniform(100, 900, 900)

    def of(chosen):
        rank = draw_lots(voxels[chosen], alone[chosen])
        order = np.argsort(rank)[:SAMPLE]
        return Sample(rank[order], *[heights[chosen][order]] * 4)

    whole = of(np.arange(900))
    parts = np.array_split(rng.permutation(900), 5)
    one, two, three, four, five = (of(part) for part in parts)
    for joined in (
        one + two + three + four + five,
        five + (four + (three + two)) + one,
    ):
        for got, expected in zip(joined, whole, strict=True):
            np.testing.assert_array_equal(got, expected)
    chosen = np.isin(heights, whole.heights)
    assert alone[chosen].all()  # there are enough of them
