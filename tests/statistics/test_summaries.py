import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.statistics.sector_index import SectorIndex
from deepspot_scale.statistics.summaries import summarise_groups
from deepspot_scale.tables import empty_table
from deepspot_scale.vocabulary import CELLS, CONDITIONS, FIELDS, WELLS

QUICK = SectorIndex(n_boot=50, n_null=20, n_draws=49)


def fields_table(*addresses, status="done", n_spots=100):
    rows = [
        {"row": r, "column": c, "field": f, "status": status, "n_spots": n_spots}
        for r, c, f in addresses
    ]
    return pd.DataFrame(rows).assign(acquisition=0, n_t=1, n_z=1)


NO_MAP = pd.DataFrame()
NO_CELLS = empty_table(CELLS)


def test_cells_with_few_spots_or_without_reference_are_not_used(cell_pool):
    rng = np.random.default_rng(5)
    areas = cell_pool.uneven_areas(rng, 6)
    spots = cell_pool.thrown(rng, areas, n_spots=12)
    spots[0] = 0
    spots[0, :9] = 1  # one short of ten
    reference = [0.0, np.nan, 0.0, 0.0, 0.0, 0.0]
    cells = cell_pool.cells_table(spots, areas, reference_deg=reference)
    fields = fields_table(("B", "02", "0"))
    got = summarise_groups(fields, cells, NO_MAP, channels=["FISH"], index=QUICK)[
        "wells"
    ]
    assert got["n_cells"].item() == 6
    assert got["n_cells_used"].item() == 4


def test_wells_and_conditions_count_fields_spots_and_cells(cell_pool):
    rng = np.random.default_rng(7)
    areas = cell_pool.uneven_areas(rng, 8)
    spots = cell_pool.thrown(rng, areas)
    cells = pd.concat(
        [
            cell_pool.cells_table(spots[:4], areas[:4], column="02"),
            cell_pool.cells_table(spots[4:], areas[4:], column="03"),
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
    wells = summarise_groups(*inputs, channels=["FISH"], index=QUICK)["wells"]
    assert list(wells) == [c.name for c in WELLS]
    assert wells["column"].tolist() == ["02", "03", "10"]
    assert wells["condition"].tolist() == ["x", "x", ""]
    assert wells["replicate"].tolist() == ["1", "2", ""]
    assert wells["n_fields"].tolist() == [1, 1, 1]
    assert wells["n_failed"].tolist() == [1, 0, 0]
    assert wells["n_spots"].tolist() == [100, 100, 100]
    assert wells["spots_per_cell"].tolist()[:2] == [60, 60]
    conditions = summarise_groups(*inputs, channels=["FISH"], index=QUICK)["conditions"]
    assert list(conditions) == [c.name for c in CONDITIONS]
    assert conditions["condition"].tolist() == ["", "x"]
    assert conditions["n_wells"].tolist() == [1, 2]
    assert conditions["n_cells_used"].tolist() == [0, 8]


def test_a_plate_without_cells_has_spots_only():
    fields = fields_table(("B", "02", "0"))
    got = summarise_groups(fields, NO_CELLS, NO_MAP, channels=["FISH"])["wells"]
    assert got["n_spots"].item() == 100
    assert got["n_cells"].item() == 0
    assert np.isnan(got["spots_per_cell"].item())


def test_no_fields_give_empty_tables():
    inputs = (empty_table(FIELDS), NO_CELLS, NO_MAP)
    assert len(summarise_groups(*inputs, channels=["FISH"])["wells"]) == 0
    assert len(summarise_groups(*inputs, channels=["FISH"])["conditions"]) == 0


def test_several_channels_need_their_own_spot_counts():
    fields = fields_table(("B", "02", "0"), ("B", "02", "1"))
    with pytest.raises(SettingsError, match="several channels"):
        summarise_groups(fields, NO_CELLS, NO_MAP, channels=["a", "b"])["wells"]
    spots = fields.assign(channel="a", n_spots=30, t=0, z=0)
    got = summarise_groups(fields, NO_CELLS, NO_MAP, channels=["a", "b"], spots=spots)[
        "wells"
    ]
    assert got[["channel", "n_spots"]].to_numpy().tolist() == [["a", 60], ["b", 0]]


@pytest.mark.parametrize("axis", ["acquisition", "t", "z"])
def test_the_same_cells_measured_again_are_the_same_cells(cell_pool, axis):
    rng = np.random.default_rng(8)
    areas = cell_pool.uneven_areas(rng, 9)
    once = cell_pool.cells_table(cell_pool.thrown(rng, areas, n_spots=40), areas)
    field = fields_table(("B", "02", "0"))
    count = field.assign(channel="FISH", t=0, z=0)
    options = {"channels": ["FISH"], "index": QUICK}
    alone = summarise_groups(field, once, NO_MAP, spots=count, **options)
    # Acquisitions are other fields of the same well.
    names = ["0", "1", "2", "3"] if axis == "acquisition" else ["0"] * 4
    fields, cells, spots = (
        pd.concat(table.assign(field=name, **{axis: n}) for n, name in enumerate(names))
        for table in (field, once, count)
    )
    if axis != "acquisition":
        fields = field.assign(**{f"n_{axis}": 4})
    again = summarise_groups(fields, cells, NO_MAP, spots=spots, **options)
    for name, table in again.items():
        assert table[axis].tolist() == [0, 1, 2, 3]
        expected = pd.concat([alone[name]] * 4, ignore_index=True)
        expected[axis] = table[axis]
        pd.testing.assert_frame_equal(table, expected, check_exact=True)
    assert again["wells"]["n_cells"].tolist() == [9] * 4
    assert again["wells"]["spots_per_cell"].tolist() == [40] * 4


def test_fields_of_one_plane_go_with_projected_ones(cell_pool):
    bins = np.ones((4, 360), np.int64)
    cells = cell_pool.cells_table(bins, bins, z=[-1, -1, 0, 0])
    got = summarise_groups(
        fields_table(("B", "02", "0")), cells, NO_MAP, channels=["FISH"], index=QUICK
    )["wells"]
    assert got[["z", "n_cells"]].to_numpy().tolist() == [[0, 4]]


def test_a_field_counts_at_its_own_time_points_and_a_failed_one_at_all():
    fields = pd.concat(
        [
            fields_table(("B", "02", "0")).assign(n_t=3),
            fields_table(("B", "03", "0")).assign(n_t=2),
            fields_table(("B", "03", "1"), status="failed").assign(n_t=0, n_z=0),
            fields_table(("C", "03", "1"), status="failed").assign(acquisition=5),
        ]
    )
    spots = fields_table(("B", "03", "0")).assign(t=1, z=0, channel="FISH")
    wells = summarise_groups(fields, NO_CELLS, NO_MAP, channels=["FISH"], spots=spots)[
        "wells"
    ].set_index(["row", "column", "acquisition", "t"])[
        ["n_fields", "n_failed", "n_spots"]
    ]
    assert wells.T.to_dict("list") == {
        ("B", "02", 0, 0): [1, 0, 0],
        ("B", "02", 0, 1): [1, 0, 0],
        ("B", "02", 0, 2): [1, 0, 0],
        ("B", "03", 0, 0): [1, 1, 0],
        ("B", "03", 0, 1): [1, 1, 100],
        ("B", "03", 0, 2): [0, 1, 0],
        ("C", "03", 5, 0): [0, 1, 0],
    }


def test_cells_that_cannot_be_told_apart_or_are_of_no_field_are_refused(cell_pool):
    bins = np.ones((4, 360), np.int64)
    cells, fields = cell_pool.cells_table(bins, bins), fields_table(("B", "02", "0"))
    with pytest.raises(SettingsError, match="lacks the columns acquisition"):
        summarise_groups(
            fields, cells.drop(columns="acquisition"), NO_MAP, channels=["FISH"]
        )
    with pytest.raises(SettingsError, match="no field has that time point"):
        summarise_groups(fields, cells.assign(t=1), NO_MAP, channels=["FISH"])
    with pytest.raises(SettingsError, match="several channels, time points"):
        summarise_groups(fields.assign(n_t=2), cells, NO_MAP, channels=["FISH"])


def test_a_plate_map_that_names_a_well_twice_is_refused():
    fields = fields_table(("B", "02", "0"))
    twice = pd.DataFrame({"row": ["B", "B"], "column": ["2", "02"]})
    with pytest.raises(SettingsError, match="B2 twice"):
        summarise_groups(fields, NO_CELLS, twice, channels=["FISH"])["wells"]
    with pytest.raises(SettingsError, match="row and column"):
        summarise_groups(
            fields, NO_CELLS, pd.DataFrame({"well": ["B2"]}), channels=["FISH"]
        )["wells"]
