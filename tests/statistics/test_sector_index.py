import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.statistics.sector_index import (
    ROTATION_NOTES,
    SectorIndex,
    measure_group,
)

QUICK = SectorIndex(n_boot=100, n_null=60, n_draws=99)


def test_uniform_spots_give_a_corrected_index_about_zero(cell_pool):
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        areas = cell_pool.uneven_areas(rng, 100)
        found.append(
            measure_group(cell_pool.thrown(rng, areas), areas, QUICK).polarity_corrected
        )
    assert abs(np.mean(found)) < 0.08  # three standard errors of 30 groups
    assert np.std(found) < 0.25


def test_planted_enrichment_raises_the_index(cell_pool):
    rng = np.random.default_rng(0)
    areas = cell_pool.uneven_areas(rng, 150)
    steps = [
        measure_group(cell_pool.thrown(rng, areas, e), areas, QUICK)
        for e in (0.5, 1, 1.4, 2.5)
    ]
    corrected = [step.polarity_corrected for step in steps]
    assert corrected == sorted(corrected)
    assert corrected[0] < -0.3 < 0.3 < corrected[2]
    assert steps[3].p_value == pytest.approx(1 / 100)
    assert steps[3].polarity_low > 0.8


def test_the_null_follows_nuclei_that_are_off_centre_towards_the_reference(cell_pool):
    # FACTS of the method: under uniform spots the index is then above 0 by itself.
    rng = np.random.default_rng(1)
    angle = np.radians(np.arange(360))
    areas = np.tile(np.round(60 * (1.05 - np.cos(angle))).astype(int), (200, 1))
    got = measure_group(cell_pool.thrown(rng, areas, n_spots=40), areas, QUICK)
    assert abs(got.polarity_null) > 0.04
    assert abs(got.polarity_corrected) < 0.3


def test_turning_every_cell_by_a_sector_moves_the_enrichment_away(cell_pool):
    rng = np.random.default_rng(2)
    areas = cell_pool.uneven_areas(rng, 80)
    spots = cell_pool.thrown(rng, areas, 3.0)
    towards = measure_group(spots, areas, QUICK)
    away = measure_group(np.roll(spots, 120, 1), np.roll(areas, 120, 1), QUICK)
    assert towards.polarity_corrected > 0.8
    assert away.polarity_corrected < -0.4


def test_the_interval_holds_the_index_and_the_seed_decides(cell_pool):
    rng = np.random.default_rng(3)
    areas = cell_pool.uneven_areas(rng, 50)
    spots = cell_pool.thrown(rng, areas, 1.3)
    got = measure_group(spots, areas, QUICK, ("B", "02"))
    assert got.polarity_low <= got.polarity_index <= got.polarity_high
    assert got == measure_group(spots, areas, QUICK, ("B", "02"))
    assert got != measure_group(spots, areas, QUICK, ("B", "03"))


def test_batches_of_draws_do_not_change_the_answer(cell_pool, monkeypatch):
    rng = np.random.default_rng(4)
    areas = cell_pool.uneven_areas(rng, 30)
    spots = cell_pool.thrown(rng, areas)
    whole = measure_group(spots, areas, QUICK)
    monkeypatch.setattr("deepspot_scale.statistics.null_models._LARGEST", 700)
    assert measure_group(spots, areas, QUICK) == whole


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_cells_have_no_index(n):
    areas = np.full((n, 360), 9)
    got = measure_group(areas, areas, QUICK)
    assert got.n_cells_used == n
    assert np.isnan(got.polarity_index)
    assert np.isnan(got.p_value)


def test_draws_of_zero_leave_interval_and_null_out(cell_pool):
    areas = cell_pool.uneven_areas(np.random.default_rng(6), 20)
    got = measure_group(areas, areas, SectorIndex(n_boot=0, n_null=0))
    assert np.isnan([got.polarity_low, got.polarity_null, got.p_value]).all()
    assert np.isfinite(got.polarity_index)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sectors": 1},
        {"sectors": 7},
        {"min_spots": -1},
        {"n_null": -1},
        {"n_draws": -1},
        {"rotation": "densest"},
    ],
)
def test_an_index_that_can_not_be_is_refused(wrong):
    with pytest.raises(SettingsError):
        SectorIndex(**wrong)


def test_every_rotation_has_words_to_show_beside_its_numbers():
    assert set(ROTATION_NOTES) == {"fixed", "published"}
    assert "raises the index" in ROTATION_NOTES["published"]
    for rotation in ROTATION_NOTES:
        assert SectorIndex(rotation=rotation).rotation == rotation


def test_lists_of_bins_are_measured_like_arrays(cell_pool):
    rng = np.random.default_rng(8)
    areas = cell_pool.uneven_areas(rng, 30)
    spots = cell_pool.thrown(rng, areas)
    as_lists = measure_group(list(spots), [row.tolist() for row in areas], QUICK)
    assert as_lists == measure_group(spots, areas, QUICK)
