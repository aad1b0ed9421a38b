import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.report.polarity import SectorIndex, measure_group
from deepspot_scale.report.statistics import summarise_conditions, summarise_wells
from deepspot_scale.vocabulary import CELLS, CONDITIONS, FIELDS, WELLS, empty_table

QUICK = SectorIndex(n_boot=100, n_null=60)


def uneven_areas(rng, n):
    """Cytoplasm of cells whose nuclei are off their middle, anywhere."""
    angle = np.radians(np.arange(360) - rng.uniform(0, 360, (n, 1)))
    return np.round(60 * (1.2 + rng.uniform(0, 1, (n, 1)) * np.cos(angle))).astype(int)


def thrown(rng, areas, enrichment=1.0, n_spots=60):
    """Spots in proportion to area, denser within 60 degrees of the reference."""
    weight = areas.astype(float)
    weight[:, :60] *= enrichment
    weight[:, 300:] *= enrichment
    return rng.multinomial(n_spots, weight / weight.sum(axis=1, keepdims=True))


def cells_table(spot_bins, area_bins, **columns):
    n = len(spot_bins)
    counts = spot_bins.sum(axis=1)
    table = {c.name: [0] * n for c in CELLS} | {
        "row": "B",
        "column": "02",
        "field": "0",
        "channel": "FISH",
        "z": -1,
        "cell": np.arange(1, n + 1),
        "n_spots": counts,
        "n_spots_cytoplasm": counts,
        "reference_deg": 0.0,
        "area_bins": list(area_bins),
        "spot_bins": list(spot_bins),
    }
    return pd.DataFrame(table | columns)


def fields_table(*addresses, status="done", n_spots=100):
    rows = [
        {"row": r, "column": c, "field": f, "status": status, "n_spots": n_spots}
        for r, c, f in addresses
    ]
    return pd.DataFrame(rows)


NO_MAP = pd.DataFrame()
NO_CELLS = empty_table(CELLS)


def test_uniform_spots_give_a_corrected_index_about_zero():
    found = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        areas = uneven_areas(rng, 100)
        found.append(measure_group(thrown(rng, areas), areas, QUICK).polarity_corrected)
    assert abs(np.mean(found)) < 0.08  # three standard errors of 30 groups
    assert np.std(found) < 0.25


def test_planted_enrichment_raises_the_index():
    rng = np.random.default_rng(0)
    areas = uneven_areas(rng, 150)
    steps = [
        measure_group(thrown(rng, areas, e), areas, QUICK) for e in (0.5, 1, 1.4, 2.5)
    ]
    corrected = [step.polarity_corrected for step in steps]
    assert corrected == sorted(corrected)
    assert corrected[0] < -0.3 < 0.3 < corrected[2]
    assert steps[3].p_value == pytest.approx(1 / 61)
    assert steps[3].polarity_low > 0.8


def test_the_null_follows_nuclei_that_are_off_centre_towards_the_reference():
    # FACTS of the method: under uniform spots the index is then above 0 by itself.
    rng = np.random.default_rng(1)
    angle = np.radians(np.arange(360))
    areas = np.tile(np.round(60 * (1.05 - np.cos(angle))).astype(int), (200, 1))
    got = measure_group(thrown(rng, areas, n_spots=40), areas, QUICK)
    assert abs(got.polarity_null) > 0.04
    assert abs(got.polarity_corrected) < 0.3


def test_turning_every_cell_by_a_sector_moves_the_enrichment_away():
    rng = np.random.default_rng(2)
    areas = uneven_areas(rng, 80)
    spots = thrown(rng, areas, 3.0)
    towards = measure_group(spots, areas, QUICK)
    away = measure_group(np.roll(spots, 120, 1), np.roll(areas, 120, 1), QUICK)
    assert towards.polarity_corrected > 0.8
    assert away.polarity_corrected < -0.4


def test_the_interval_holds_the_index_and_the_seed_decides():
    rng = np.random.default_rng(3)
    areas = uneven_areas(rng, 50)
    spots = thrown(rng, areas, 1.3)
    got = measure_group(spots, areas, QUICK, ("B", "02"))
    assert got.polarity_low <= got.polarity_index <= got.polarity_high
    assert got == measure_group(spots, areas, QUICK, ("B", "02"))
    assert got != measure_group(spots, areas, QUICK, ("B", "03"))


def test_batches_of_draws_do_not_change_the_answer(monkeypatch):
    rng = np.random.default_rng(4)
    areas = uneven_areas(rng, 30)
    spots = thrown(rng, areas)
    whole = measure_group(spots, areas, QUICK)
    monkeypatch.setattr("deepspot_scale.report.polarity._LARGEST", 700)
    assert measure_group(spots, areas, QUICK) == whole


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_cells_have_no_index(n):
    areas = np.full((n, 360), 9)
    got = measure_group(areas, areas, QUICK)
    assert got.n_cells_used == n
    assert np.isnan(got.polarity_index)
    assert np.isnan(got.p_value)


def test_cells_with_few_spots_or_without_reference_are_not_used():
    rng = np.random.default_rng(5)
    areas = uneven_areas(rng, 6)
    spots = thrown(rng, areas, n_spots=12)
    spots[0] = 0
    spots[0, :9] = 1  # one short of ten
    reference = [0.0, np.nan, 0.0, 0.0, 0.0, 0.0]
    cells = cells_table(spots, areas, reference_deg=reference)
    fields = fields_table(("B", "02", "0"))
    got = summarise_wells(fields, cells, NO_MAP, channels=["FISH"], index=QUICK)
    assert got["n_cells"].item() == 6
    assert got["n_cells_used"].item() == 4


def test_draws_of_zero_leave_interval_and_null_out():
    areas = uneven_areas(np.random.default_rng(6), 20)
    got = measure_group(areas, areas, SectorIndex(n_boot=0, n_null=0))
    assert np.isnan([got.polarity_low, got.polarity_null, got.p_value]).all()
    assert np.isfinite(got.polarity_index)


def test_wells_and_conditions_count_fields_spots_and_cells():
    rng = np.random.default_rng(7)
    areas = uneven_areas(rng, 8)
    spots = thrown(rng, areas)
    cells = pd.concat(
        [
            cells_table(spots[:4], areas[:4], column="02"),
            cells_table(spots[4:], areas[4:], column="03"),
        ]
    )
    fields = pd.concat(
        [
            fields_table(("B", "02", "0"), ("B", "03", "0"), ("C", "10", "0")),
            fields_table(("B", "02", "1"), status="failed", n_spots=0),
        ]
    )
    plate_map = pd.DataFrame(
        {"row": ["b", "B"], "column": [2, 3], "condition": "x", "replicate": [1, 2]}
    )
    inputs = (fields, cells, plate_map)
    wells = summarise_wells(*inputs, channels=["FISH"], index=QUICK)
    assert list(wells) == [c.name for c in WELLS]
    assert wells["column"].tolist() == ["02", "03", "10"]
    assert wells["condition"].tolist() == ["x", "x", ""]
    assert wells["replicate"].tolist() == ["1", "2", ""]
    assert wells["n_fields"].tolist() == [1, 1, 1]
    assert wells["n_failed"].tolist() == [1, 0, 0]
    assert wells["n_spots"].tolist() == [100, 100, 100]
    assert wells["spots_per_cell"].tolist()[:2] == [60, 60]
    conditions = summarise_conditions(*inputs, channels=["FISH"], index=QUICK)
    assert list(conditions) == [c.name for c in CONDITIONS]
    assert conditions["condition"].tolist() == ["", "x"]
    assert conditions["n_wells"].tolist() == [1, 2]
    assert conditions["n_cells_used"].tolist() == [0, 8]


def test_a_plate_without_cells_has_spots_only():
    fields = fields_table(("B", "02", "0"))
    got = summarise_wells(fields, NO_CELLS, NO_MAP, channels=["FISH"])
    assert got["n_spots"].item() == 100
    assert got["n_cells"].item() == 0
    assert np.isnan(got["spots_per_cell"].item())


def test_no_fields_give_empty_tables():
    inputs = (empty_table(FIELDS), NO_CELLS, NO_MAP)
    assert len(summarise_wells(*inputs, channels=["FISH"])) == 0
    assert len(summarise_conditions(*inputs, channels=["FISH"])) == 0


def test_several_channels_need_their_own_spot_counts():
    fields = fields_table(("B", "02", "0"), ("B", "02", "1"))
    with pytest.raises(SettingsError, match="several channels"):
        summarise_wells(fields, NO_CELLS, NO_MAP, channels=["a", "b"])
    spots = fields.assign(channel="a", n_spots=30)
    got = summarise_wells(fields, NO_CELLS, NO_MAP, channels=["a", "b"], spots=spots)
    assert got[["channel", "n_spots"]].to_numpy().tolist() == [["a", 60], ["b", 0]]


def test_planes_of_a_stack_are_one_cell():
    rng = np.random.default_rng(8)
    areas = uneven_areas(rng, 5)
    spots = thrown(rng, areas, n_spots=6)  # enough only when planes are added
    cells = pd.concat([cells_table(spots, areas, z=z) for z in range(3)])
    fields = fields_table(("B", "02", "0"))
    got = summarise_wells(fields, cells, NO_MAP, channels=["FISH"], index=QUICK)
    assert got["n_cells"].item() == got["n_cells_used"].item() == 5
    assert got["spots_per_cell"].item() == 18


def test_a_plate_map_that_names_a_well_twice_is_refused():
    fields = fields_table(("B", "02", "0"))
    twice = pd.DataFrame({"row": ["B", "B"], "column": ["2", "02"]})
    with pytest.raises(SettingsError, match="B2 twice"):
        summarise_wells(fields, NO_CELLS, twice, channels=["FISH"])
    with pytest.raises(SettingsError, match="row and column"):
        summarise_wells(
            fields, NO_CELLS, pd.DataFrame({"well": ["B2"]}), channels=["FISH"]
        )


@pytest.mark.parametrize(
    "wrong", [{"sectors": 1}, {"sectors": 7}, {"min_spots": -1}, {"n_null": -1}]
)
def test_an_index_that_can_not_be_is_refused(wrong):
    with pytest.raises(SettingsError):
        SectorIndex(**wrong)
