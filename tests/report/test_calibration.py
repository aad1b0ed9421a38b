"""Simulated plates with known truth: do index, interval and p mean what they say.

Masks are drawn (elongated cells, nuclei off the middle), cells have 20 to 300 spots.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from deepspot_scale.kernels.sectors import polarity_index
from deepspot_scale.statistics.bootstrap import interval_over_cells, interval_over_wells
from deepspot_scale.statistics.null_models import (
    draw_indices,
    measured_sectors,
    rotation_pool,
    two_sided,
)
from deepspot_scale.statistics.sector_index import SectorIndex, measure_group

N_PLATES, N_CELLS = 200, 400
UNIFORM = SectorIndex(n_boot=0, n_null=63, n_draws=199)


def plates(cell_pool, seed, n_plates, n_cells, factor=1.0, towards=0.0):
    """Yield spot bins and area bins of plates."""
    rng = np.random.default_rng(seed)
    masks = cell_pool.draw_masks(rng, 150, towards)
    for _ in range(0, n_plates, 20):  # a few plates at once: fast, and little memory
        spots, areas = cell_pool.throw_cells(rng, masks, 20 * n_cells, factor)
        for start in range(0, 20 * n_cells, n_cells):
            yield spots[start : start + n_cells], areas[start : start + n_cells]


@pytest.fixture(scope="module")
def uniform_plates(cell_pool):
    """Polarity of plates whose nuclei lie off the middle, away from the reference."""
    made = plates(cell_pool, 1, N_PLATES, N_CELLS, towards=-20.0)
    return pd.DataFrame(
        [vars(measure_group(*bins, UNIFORM, [i])) for i, bins in enumerate(made)]
    )


def test_uniform_spots_give_a_corrected_index_of_zero(uniform_plates):
    assert abs(uniform_plates["polarity_corrected"].mean()) < 0.02
    # The raw index would have said something else.
    assert abs(uniform_plates["polarity_index"].mean()) > 0.03


def test_uniform_spots_give_uniform_p_values(uniform_plates):
    p = uniform_plates["p_value"]
    assert kstest(p, "uniform").pvalue > 0.01
    assert (p <= 0.05).mean() < 0.05 + 4 * np.sqrt(0.05 * 0.95 / N_PLATES)


def test_gathered_spots_in_turned_cells_give_uniform_p_values_of_rotation(cell_pool):
    rng = np.random.default_rng(2)
    by_rotation, by_throwing = [], []
    for i, (spots, areas) in enumerate(plates(cell_pool, 3, N_PLATES, N_CELLS)):
        bins = cell_pool.turn_cells(rng, cell_pool.gather(rng, spots, areas), areas)
        pool = rotation_pool(*bins, 3, "fixed")
        measured = float(polarity_index(pool[:, 0]))
        by_rotation.append(two_sided(measured, draw_indices(pool, 199, rng)))
        if i < 20:
            by_throwing.append(measure_group(*bins, UNIFORM, [i]).p_value)
    assert kstest(by_rotation, "uniform").pvalue > 0.01
    # Most sectors are empty then, which spots thrown one by one hardly give.
    assert np.mean(np.array(by_throwing) <= 0.05) > 0.8


def test_the_corrected_index_grows_with_planted_enrichment(cell_pool):
    index = SectorIndex(n_boot=0, n_draws=0)
    factors = (0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0)
    found = [
        np.mean(
            [
                measure_group(*bins, index).polarity_corrected
                for bins in plates(cell_pool, 4, 20, N_CELLS, factor)
            ]
        )
        for factor in factors
    ]
    assert (np.diff(found) > 0.01).all()
    assert found[0] < -0.6
    assert found[-1] > 0.6


@pytest.mark.parametrize("factor", [1.0, 1.15, 1.3])
def test_the_interval_over_cells_covers_the_truth(cell_pool, factor):
    rng = np.random.default_rng(5)
    groups = [
        measured_sectors(*bins, 3, "fixed")
        for bins in plates(cell_pool, 6, 1000, 100, factor)
    ]
    truth = float(polarity_index(np.concatenate(groups)))
    ends = np.array([interval_over_cells(group, 199, rng) for group in groups])
    covered = np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize("n_wells", [3, 8])
def test_the_interval_over_wells_covers_the_truth_where_wells_differ(
    cell_pool, n_wells
):
    rng = np.random.default_rng(7)
    masks = cell_pool.draw_masks(rng, 60)
    wells = [
        measured_sectors(
            *cell_pool.throw_cells(rng, masks, 50, 1.2 * np.exp(0.15 * rng.normal())),
            3,
            "fixed",
        )
        for _ in range(250 * n_wells)
    ]
    truth = float(polarity_index(np.concatenate(wells)))
    numbers = np.repeat(np.arange(n_wells), 50)
    over_wells, over_cells = [], []
    for start in range(0, len(wells), n_wells):
        group = np.concatenate(wells[start : start + n_wells])
        low, high = interval_over_wells(group, numbers, 199, rng)
        over_wells.append(low <= truth <= high)
        low, high = interval_over_cells(group, 199, rng)
        over_cells.append(low <= truth <= high)
    assert np.mean(over_wells) > 0.91  # three standard errors of 250 below 0.95
    assert np.mean(over_cells) < 0.85  # cells of a well are not independent


def test_the_published_rotation_raises_the_index_and_its_null_alike(cell_pool):
    index = SectorIndex(rotation="published", n_boot=0, n_null=15, n_draws=99)
    found = pd.DataFrame(
        [
            vars(measure_group(*bins, index, [i]))
            for i, bins in enumerate(plates(cell_pool, 8, 20, 200))
        ]
    )
    assert found["polarity_index"].mean() > 0.8
    assert abs(found["polarity_corrected"].mean()) < 0.02
    assert (found["p_value"] <= 0.05).mean() <= 0.2
