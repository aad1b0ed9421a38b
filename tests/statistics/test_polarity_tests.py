import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, mannwhitneyu

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.sectors import sector_sums
from deepspot_scale.statistics.groups import group_keys
from deepspot_scale.statistics.polarity_tests import polarity_statistics
from deepspot_scale.statistics.roses import measure_roses
from deepspot_scale.statistics.sector_index import SectorIndex, measure_group
from deepspot_scale.vocabulary import MEASURES, POLARITY

QUICK = SectorIndex(n_boot=60, n_null=20, n_draws=99)


@pytest.fixture(scope="module")
def plate(cell_pool):
    """Cells of four wells, two of them polarised, and the plate's map."""
    rng = np.random.default_rng(0)
    masks = cell_pool.draw_masks(rng, 20)
    wells = [("B", "02", 1.0), ("B", "03", 1.6), ("C", "02", 1.0), ("C", "10", 1.6)]
    cells = [
        cell_pool.cells_table(
            *cell_pool.throw_cells(rng, masks, 40, factor), row=row, column=column
        )
        for row, column, factor in wells
    ]
    plate_map = pd.DataFrame(
        {
            "row": ["B", "B", "C", "C"],
            "column": [2, 3, 2, 10],
            "condition": ["none", "drug", "none", "drug"],
            "gene": "Actb",
        }
    )
    return pd.concat(cells, ignore_index=True), plate_map


def lines(table, measure):
    return table[table["measure"] == measure].reset_index(drop=True)


def test_each_group_has_one_line_a_measure(plate):
    got = polarity_statistics(*plate, index=QUICK)
    names = [*group_keys(["condition", "gene"]), *(c.name for c in POLARITY)]
    assert list(got) == names
    assert got["measure"].tolist() == 2 * list(MEASURES)
    assert lines(got, "index")["condition"].tolist() == ["drug", "none"]
    assert (got["n_cells"] == 80).all()
    assert (got["n_wells"] == 2).all()
    assert (got["rotation"] == "fixed").all()


def test_enrichment_shows_in_every_measure(plate):
    got = polarity_statistics(*plate, index=QUICK)
    drug, none = (
        got[got["condition"] == name].set_index("measure") for name in ("drug", "none")
    )
    for measure in ("index", "index_corrected"):
        assert drug.loc[measure, "low"] > 0.5 > none.loc[measure, "high"]
        assert drug.loc[measure, "low"] < drug.loc[measure, "value"]
        assert drug.loc[measure, "value"] < drug.loc[measure, "high"]
    for measure in ("index_corrected", "rotation_null", "mann_whitney"):
        assert drug.loc[measure, "p_value"] < 0.02 < none.loc[measure, "p_value"]
    for measure in ("uniform_null", "rotation_null"):
        assert abs(drug.loc[measure, "value"]) < 0.1
        assert drug.loc[measure, "low"] < -0.1 < 0.1 < drug.loc[measure, "high"]
    assert drug.loc["mann_whitney", "value"] > 0.7
    assert none.loc["mann_whitney", "value"] == pytest.approx(0.5, abs=0.1)


def test_levels_are_the_columns_that_are_named(plate):
    cells, plate_map = plate
    whole = polarity_statistics(cells, by=(), index=QUICK)
    assert whole["n_cells"].unique().tolist() == [160]
    wells = polarity_statistics(cells, by=("row", "column"), index=QUICK)
    assert lines(wells, "index")["column"].tolist() == ["02", "03", "02", "10"]
    assert wells["low_wells"].isna().all()
    genes = polarity_statistics(cells, plate_map, by=("gene",), index=QUICK)
    pd.testing.assert_series_equal(
        lines(genes, "index")["value"], lines(whole, "index")["value"]
    )


def test_a_line_is_what_measuring_its_cells_alone_gives(plate):
    cells, _ = plate
    well = cells[(cells["row"] == "C") & (cells["column"] == "10")]
    bins = [np.stack(list(well[name])) for name in ("spot_bins", "area_bins")]
    got = polarity_statistics(cells, by=("row", "column"), index=QUICK)
    got = got[(got["row"] == "C") & (got["column"] == "10")].set_index("measure")
    alone = measure_group(*bins, QUICK, ("FISH", "C", "10"))
    assert got.loc["index", "value"] == alone.polarity_index
    assert got.loc["index", "low"] == alone.polarity_low
    assert got.loc["uniform_null", "value"] == alone.polarity_null
    assert got.loc["index_corrected", "p_value"] == alone.p_value


def test_mann_whitney_is_scipy_s_on_the_two_kinds_of_sectors(plate):
    cells, _ = plate
    spots, areas = (
        sector_sums(np.stack(list(cells[name])), 3)
        for name in ("spot_bins", "area_bins")
    )
    density = spots / areas / (spots.sum(1) / areas.sum(1))[:, None]
    expected = mannwhitneyu(density[:, 0], density[:, 1:].ravel())
    got = lines(polarity_statistics(cells, by=(), index=QUICK), "mann_whitney")
    assert got["p_value"].item() == pytest.approx(expected.pvalue, rel=1e-3)


def test_p_values_are_adjusted_among_lines_of_one_measure(plate):
    cells, _ = plate
    got = polarity_statistics(cells, by=("row", "column"), index=QUICK)
    for measure in ("index_corrected", "rotation_null", "mann_whitney"):
        own = lines(got, measure)
        np.testing.assert_allclose(
            own["p_adjusted"], false_discovery_control(own["p_value"])
        )
    assert lines(got, "index")["p_adjusted"].isna().all()
    drawn = got["measure"].isin(["index_corrected", "rotation_null"])
    assert (got.loc[drawn, "least_p"] == 0.01).all()
    assert (got.loc[drawn, "p_value"] >= 0.01).all()


def test_cells_at_the_border_can_be_left_out(plate):
    cells, _ = plate
    cells = cells.assign(touches_border=np.arange(len(cells)) % 4 == 0)
    index = SectorIndex(n_boot=0, n_null=0, n_draws=0, exclude_border=True)
    assert polarity_statistics(cells, by=(), index=index)["n_cells"][0] == 120


def test_draws_of_zero_leave_the_index_only(plate):
    index = SectorIndex(n_boot=0, n_null=0, n_draws=0)
    got = polarity_statistics(plate[0], by=(), index=index).set_index("measure")
    assert np.isfinite(got.loc["index", "value"])
    kept = got.drop(index=["index", "mann_whitney"])
    assert kept[["value", "low", "p_value"]].isna().all(axis=None)


def test_channels_are_never_mixed(plate):
    cells, _ = plate
    both = pd.concat([cells, cells.assign(channel="other")])
    got = polarity_statistics(both, by=(), index=QUICK)
    assert lines(got, "index")["channel"].tolist() == ["FISH", "other"]
    assert (got["n_cells"] == 160).all()


def test_too_few_cells_have_lines_without_values(plate):
    got = polarity_statistics(plate[0].iloc[:1], by=(), index=QUICK)
    assert got["value"].isna().all()
    assert got["n_cells"].unique().tolist() == [1]


def test_no_cells_give_an_empty_table_with_all_columns(plate):
    got = polarity_statistics(plate[0].iloc[:0], plate[1], index=QUICK)
    assert got.empty
    assert list(got)[-len(POLARITY) :] == [c.name for c in POLARITY]


def test_an_unknown_group_is_refused_with_the_nearest_name(plate):
    with pytest.raises(SettingsError, match=r"'gen'.*Did you mean 'gene'"):
        polarity_statistics(*plate, by=("gen",), index=QUICK)
    with pytest.raises(SettingsError, match="plate map"):
        polarity_statistics(plate[0], index=QUICK)


@pytest.mark.parametrize("axis", ["acquisition", "t", "z"])
def test_cells_that_are_measured_again_have_the_same_lines_each_time(plate, axis):
    cells, plate_map = plate
    cells = cells.assign(z=0)
    twice = pd.concat([cells, cells.assign(**{axis: 1})])
    for measure in (polarity_statistics, measure_roses):
        once = measure(cells, plate_map, index=QUICK)
        got = measure(twice, plate_map, index=QUICK)
        left = ["p_adjusted", axis]
        for n in (0, 1):
            own = got[got[axis] == n].reset_index(drop=True)
            pd.testing.assert_frame_equal(
                own.drop(columns=left, errors="ignore"),
                once.drop(columns=left, errors="ignore"),
                check_exact=True,
            )
