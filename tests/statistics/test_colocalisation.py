"""Shares of groups: sums by hand, and intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.statistics.colocalisation import ratio_interval, summarise_pairs
from deepspot_scale.vocabulary import COLOCALISATION

MAP = pd.DataFrame(
    {"row": ["B", "B"], "column": ["2", "10"], "condition": "drug", "gene": "Actb"}
)


def _cells(n: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n_spots = rng.integers(0, 30, n)
    return pd.DataFrame(
        {
            "row": "B",
            "column": np.where(np.arange(n) % 3, "2", "10"),
            "field": "0",
            "acquisition": 0,
            "t": 0,
            "z": 0,
            "channel": "A",
            "other": "C",
            "cell": np.arange(1, n + 1),
            "n_spots": n_spots,
            "n_pairs": rng.binomial(n_spots, 0.3),
            "chance": np.where(n_spots, 0.1, np.nan),
            "chance_sd": np.where(n_spots, 0.05, np.nan),
        }
    )


def _images(cells: pd.DataFrame) -> pd.DataFrame:
    keys = ["row", "column", "field", "acquisition", "t", "z", "channel", "other"]
    sums = cells.groupby(keys, as_index=False)[["n_spots", "n_pairs"]].sum()
    # Five spots and one pair of each image are outside all cells.
    sums["n_spots"] += 5
    sums["n_pairs"] += 1
    return sums.assign(n_other=40)


def test_a_condition_has_the_sums_of_its_wells_and_they_follow_it() -> None:
    cells = _cells(60)
    table = summarise_pairs(cells, _images(cells), MAP)
    assert list(table.columns) == [column.name for column in COLOCALISATION]
    assert table["column"].tolist() == ["", "2", "10"]
    whole, wells = table.iloc[0], table.iloc[1:]
    for name in (
        "n_wells",
        "n_spots",
        "n_other",
        "n_pairs",
        "n_cells",
        "n_spots_cells",
    ):
        assert whole[name] == wells[name].sum()
    assert whole["n_cells"] == (cells["n_spots"] > 0).sum()
    assert whole["share"] == cells["n_pairs"].sum() / cells["n_spots"].sum()
    assert whole["n_spots"] == cells["n_spots"].sum() + 10
    assert whole["share_all"] == whole["n_pairs"] / whole["n_spots"]
    assert whole["chance"] == pytest.approx(0.1)
    spots = cells["n_spots"]
    spread = 0.05 * np.sqrt((spots**2).sum()) / spots.sum()
    assert whole["chance_high"] - whole["chance"] == pytest.approx(1.96 * spread)
    assert whole["excess"] == whole["share"] - whole["chance"]
    assert whole["ratio"] == whole["share"] / whole["chance"]
    assert whole[["low_wells", "high_wells"]].notna().all()
    assert wells[["low_wells", "high_wells"]].isna().all(axis=None)


def test_the_order_of_cells_does_not_change_a_bit() -> None:
    cells = _cells(200).assign(chance=np.random.default_rng(1).uniform(0, 0.2, 200))
    first = summarise_pairs(cells, _images(cells), MAP)
    mixed = cells.sample(frac=1, random_state=2)
    again = summarise_pairs(mixed, _images(cells)[::-1], MAP)
    pd.testing.assert_frame_equal(again, first, check_exact=True)


def test_outside_a_plate_there_is_a_line_for_all_and_none_for_wells() -> None:
    cells = _cells(20).assign(row="", column="")
    table = summarise_pairs(cells, _images(cells), MAP.iloc[:0])
    assert len(table) == 1


def test_without_cells_there_is_the_share_of_all_spots_alone() -> None:
    cells = _cells(20)
    table = summarise_pairs(cells.iloc[:0], _images(cells), MAP)
    assert len(table) == 3
    assert (table["share_all"] > 0).all()
    assert (
        table[["share", "low", "chance", "chance_low", "ratio"]].isna().all(axis=None)
    )
    assert summarise_pairs(cells.iloc[:0], _images(cells).iloc[:0], MAP).empty


def test_time_points_and_pairs_of_channels_have_lines_of_their_own() -> None:
    cells = pd.concat(
        [_cells(20), _cells(20).assign(t=1), _cells(20).assign(other="D")]
    )
    table = summarise_pairs(cells, _images(cells), MAP)
    lines = table[table["row"] == ""][["other", "t"]].to_numpy().tolist()
    assert sorted(lines) == [["C", 0], ["C", 1], ["D", 0]]


@pytest.mark.parametrize("truth", [0.02, 0.3])
@pytest.mark.parametrize("few", [False, True])
def test_the_interval_holds_the_truth_as_often_as_it_says(
    truth: float, few: bool
) -> None:
    rng, held, n = np.random.default_rng(5), 0, 6 if few else 60
    for _ in range(400):
        below = rng.integers(100, 200, n) if few else rng.integers(1, 60, n)
        # Cells differ more than chance alone makes them differ.
        own = rng.beta(40 * truth, 40 * (1 - truth), n)
        interval = ratio_interval(rng.binomial(below, own), below, few=few)
        held += interval.low <= truth <= interval.high
    assert 0.92 <= held / 400 <= 0.99


def test_one_unit_or_none_has_no_interval() -> None:
    nothing = np.zeros(0, np.int64)
    for above, below in ((nothing, nothing), (np.array([1]), np.array([2]))):
        assert np.isnan(ratio_interval(above, below).low)
    some = ratio_interval(np.zeros(30, np.int64), np.full(30, 20))
    assert some.low == 0.0
    assert 0 < some.high < 0.02
