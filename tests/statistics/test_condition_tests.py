from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, ttest_ind

from deepspot_scale.errors import SettingsError
from deepspot_scale.statistics.condition_tests import compare_conditions
from deepspot_scale.statistics.polarity_tests import polarity_statistics
from deepspot_scale.statistics.sector_index import SectorIndex
from deepspot_scale.vocabulary import COMPARISONS

QUICK = SectorIndex(n_boot=0, n_null=20, n_draws=300)


@pytest.fixture(scope="module")
def screen(cell_pool):
    """Cells of wells in columns 1 to 4 of each row; a row is a condition."""
    rng = np.random.default_rng(0)
    masks = cell_pool.draw_masks(rng, 20)
    cells = [
        cell_pool.cells_table(
            *cell_pool.throw_cells(rng, masks, 25, factor),
            row=row,
            column=str(column),
            condition=condition,
            gene="Actb",
        )
        for row, condition, factor in (
            ("A", "none", 1.0),
            ("B", "drug", 1.5),
            ("C", "also none", 1.0),
        )
        for column in range(1, 5)
    ]
    return pd.concat(cells, ignore_index=True)


def values(screen, condition):
    """Corrected index of each well."""
    wells = polarity_statistics(
        screen[screen["condition"] == condition],
        by=("gene", "condition", "row", "column"),
        index=QUICK,
    )
    return wells.loc[wells["measure"] == "index_corrected", "value"].to_numpy()


def test_all_pairs_or_all_against_a_control(screen):
    pairs = compare_conditions(screen, index=QUICK)
    assert list(pairs) == ["gene", *(c.name for c in COMPARISONS)]
    assert len(pairs) == 3
    got = compare_conditions(screen, control="none", index=QUICK)
    assert got["condition"].tolist() == ["also none", "drug"]
    assert got["versus"].tolist() == ["none", "none"]
    assert (got[["n_wells", "n_wells_versus"]] == 4).all(axis=None)


def test_the_p_value_is_that_of_trying_every_split_of_the_wells(screen):
    got = compare_conditions(screen, control="none", index=QUICK)
    for line in got.itertuples():
        one, other = values(screen, line.condition), values(screen, "none")
        both = np.concatenate([one, other])
        splits = [
            both[list(chosen)].mean() - np.delete(both, chosen).mean()
            for chosen in combinations(range(8), 4)
        ]
        assert line.difference == pytest.approx(one.mean() - other.mean())
        as_far = np.mean(np.array(splits) >= abs(line.difference) - 1e-9)
        assert line.p_value == pytest.approx(2 * as_far)
        interval = ttest_ind(one, other, equal_var=False).confidence_interval()
        assert (line.low, line.high) == pytest.approx((interval.low, interval.high))


def test_a_planted_difference_has_the_least_p_there_is(screen):
    got = compare_conditions(screen, control="none", index=QUICK)
    drug = got[got["condition"] == "drug"].iloc[0]
    assert drug["difference"] > 0.5
    assert drug["low"] > 0
    assert drug["exact"]
    assert drug["least_p"] == drug["p_value"] == pytest.approx(2 / 70)
    assert got[got["condition"] == "also none"]["p_value"].item() > 0.1
    np.testing.assert_allclose(
        got["p_adjusted"], false_discovery_control(got["p_value"])
    )


def test_many_wells_are_sampled_and_the_least_p_says_so(screen):
    index = SectorIndex(n_boot=0, n_null=20, n_draws=49)  # of 70 splits
    got = compare_conditions(screen, control="none", index=index)
    assert not got["exact"].any()
    np.testing.assert_allclose(got["least_p"], 2 / 50)
    assert (got["p_value"] >= 2 / 50 - 1e-9).all()


def test_one_well_on_a_side_has_a_difference_but_no_p(screen):
    few = screen[(screen["row"] != "B") | (screen["column"] == "1")]
    got = compare_conditions(few, control="none", index=QUICK)
    drug = got[got["condition"] == "drug"].iloc[0]
    assert np.isfinite(drug["difference"])
    assert np.isnan(drug[["p_value", "least_p", "low"]].astype(float)).all()


def test_wells_that_agree_to_the_last_digit_have_no_interval(cell_pool):
    cell = np.zeros((4, 360), int)
    cell[:, ::120] = 10  # area and spots alike in all sectors: no index but -1
    copies = pd.concat(
        cell_pool.cells_table(
            cell, cell, row=row, column=column, condition=row, gene=""
        )
        for row in "AB"
        for column in "12"
    )
    index = SectorIndex(n_boot=0, n_null=200, n_draws=99, seed=1)
    got = compare_conditions(copies, index=index)
    assert got["p_value"].item() > 0.3
    assert abs(got["difference"].item()) < 0.2


def test_genes_are_compared_apart(screen):
    genes = pd.concat([screen, screen.assign(gene="Gapdh")])
    got = compare_conditions(genes, control="none", index=QUICK)
    assert got["gene"].tolist() == ["Actb", "Actb", "Gapdh", "Gapdh"]


def test_a_control_that_is_not_there_is_refused(screen):
    with pytest.raises(SettingsError, match="Did you mean 'none'"):
        compare_conditions(screen, control="non", index=QUICK)


def test_no_cells_give_an_empty_table(screen):
    got = compare_conditions(screen.iloc[:0], index=QUICK)
    assert got.empty
    assert list(got) == ["gene", *(c.name for c in COMPARISONS)]


def test_wells_that_are_measured_again_are_compared_each_time(screen):
    once = compare_conditions(screen, index=QUICK)
    twice = pd.concat([screen, screen.assign(t=1)])
    got = compare_conditions(twice, index=QUICK)
    assert got["t"].tolist() == [0, 0, 0, 1, 1, 1]
    assert (got[["n_wells", "n_wells_versus"]] == 4).all(axis=None)
    for t in (0, 1):
        own = got[got["t"] == t].reset_index(drop=True)
        named = ["t", "p_adjusted"]  # adjusted for twice as many lines
        pd.testing.assert_frame_equal(
            own.drop(columns=named), once.drop(columns=named), check_exact=True
        )
