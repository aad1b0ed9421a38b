"""Pairs and shares of one image: by hand, and whatever the order of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import FieldError
from deepspot_scale.kernels.chromatic import Shift
from deepspot_scale.kernels.compartments import find_compartments
from deepspot_scale.statistics.channel_pairs import (
    NEEDED,
    ImageSpots,
    PairRule,
    measure_cells,
    pair_spots,
    shift_table,
)
from deepspot_scale.vocabulary import CELL_PAIRS, CHROMATIC_SHIFTS, PAIRS

NAMES = {
    **{"row": "B", "column": "03", "field": "0", "acquisition": 0, "t": 0, "plane": 0},
    **{"channel": "A", "other": "B"},
}
CELLS = np.repeat([[1] * 20 + [2] * 20], 20, axis=0)


def _spots(places: Any, channel: str) -> pd.DataFrame:
    rows = pd.DataFrame(np.atleast_2d(places), columns=["z", "y", "x"]).astype(float)
    cell = np.where(rows["x"] < 19.5, 1, 2)
    known = {**NAMES, "channel": channel, "cell": cell, "nucleus": 0}
    del known["other"]
    return rows.assign(**known)[[*NEEDED]]


def _image(one: Any, other: Any, *, depth: bool = False) -> ImageSpots:
    return ImageSpots.of(NAMES, _spots(one, "A"), _spots(other, "B"), depth=depth)


def test_distances_are_those_once_the_shift_is_undone() -> None:
    image = _image([[0, 5, 5], [0, 9, 30]], [[0, 7, 1.5], [0, 2, 20]])
    rule = PairRule(shift=Shift("given", dy=2.0, dx=-4.0))
    pairs = pair_spots(image, rule, (None, 0.2, 0.1))
    assert list(pairs.columns) == [column.name for column in PAIRS]
    (pair,) = pairs.to_dict("records")
    assert (pair["y"], pair["x"], pair["other_y"], pair["other_x"]) == (5, 5, 7, 1.5)
    assert pair["distance"] == pytest.approx(0.5)
    assert pair["distance_um"] == pytest.approx(0.05)
    assert pair["cell"] == 1
    (bare,) = pair_spots(image, rule)["distance_um"]
    assert np.isnan(bare)


def test_the_reach_along_z_is_its_own() -> None:
    one, rule = [[3, 5, 5]], PairRule(distance=2.0, planes=1.5)
    assert len(pair_spots(_image(one, [[4.4, 5, 5]], depth=True), rule)) == 1
    assert len(pair_spots(_image(one, [[4.6, 5, 5]], depth=True), rule)) == 0
    assert len(pair_spots(_image(one, [[4.2, 6.9, 5]], depth=True), rule)) == 0
    (pair,) = pair_spots(
        _image(one, [[4, 5, 6]], depth=True), rule, (0.3, 0.1, 0.1)
    ).to_dict("records")
    assert (pair["distance"], pair["distance_z"]) == (1.0, 1.0)
    assert pair["distance_um"] == pytest.approx(np.hypot(0.3, 0.1))
    # Without depth, z is the number of a plane and no place.
    assert len(pair_spots(_image(one, [[9, 5, 5]]), rule)) == 1


def test_cells_are_counted_and_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    one, other = (np.c_[np.zeros(40), rng.uniform(0, 19, (40, 2))] for _ in range(2))
    one[:, 2] *= 2
    other[:15] = one[:15]
    compartments, rule = find_compartments([(CELLS, None)]), PairRule(n_draws=50)

    def measured(*spots: np.ndarray) -> tuple[pd.DataFrame, pd.DataFrame]:
        image = _image(*spots)
        pairs = pair_spots(image, rule)
        cells = np.array([1, 2])
        return pairs, measure_cells(image, pairs, rule, cells, compartments)

    pairs, cells = measured(one, other)
    assert list(cells.columns) == [column.name for column in CELL_PAIRS]
    for number, row in cells.set_index("cell").iterrows():
        assert row["n_spots"] == ((one[:, 2] < 19.5) == (number == 1)).sum()
        assert row["n_pairs"] == (pairs["cell"] == number).sum()
        assert row["share"] == row["n_pairs"] / row["n_spots"]
        assert row["chance_low"] <= row["chance"] <= row["chance_high"]
        assert 1 / 51 <= row["p_value"] <= 1
    for again, first in zip(
        measured(one[::-1], other[::-1]), (pairs, cells), strict=True
    ):
        pd.testing.assert_frame_equal(again, first, check_exact=True)


def test_a_cell_without_spots_has_no_share_and_one_without_others_no_chance() -> None:
    image = _image([[0, 5, 5]], [[0, 5, 35]])
    found = measure_cells(
        image,
        pair_spots(image, PairRule()),
        PairRule(),
        np.array([1, 2]),
        find_compartments([(CELLS, None)]),
    )
    assert found["share"].tolist()[0] == 0.0
    assert found["chance"].tolist()[0] == 0.0
    assert found["p_value"].tolist()[0] == 1.0
    assert found[["share", "chance", "p_value"]].iloc[1].isna().all()


def test_spots_of_other_labels_are_refused() -> None:
    image = _image([[0, 5, 5]], [[0, 5, 35]])
    pairs, rule = pair_spots(image, PairRule()), PairRule()
    with pytest.raises(FieldError, match="B/03/0 has spots in the cells 2"):
        measure_cells(image, pairs, rule, np.array([1]), None)
    lost = find_compartments([(np.where(CELLS == 2, 0, CELLS), None)])
    with pytest.raises(FieldError, match="labels that the spots were assigned with"):
        measure_cells(image, pairs, rule, np.array([1, 2]), lost)


def test_shifts_are_written_with_all_their_numbers() -> None:
    shift = Shift("measured", 1.0, -4.0, n_pairs=9)
    table = shift_table({("A", "B"): shift})
    assert list(table.columns) == [column.name for column in CHROMATIC_SHIFTS]
    assert table[["how", "dx", "n_pairs"]].to_numpy().tolist() == [
        ["measured", -4.0, 9]
    ]
