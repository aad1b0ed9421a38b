"""How many spots cells have, against every cell one by one."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.statistics.spot_counts import (
    SHARES,
    add_counts,
    count_cells,
    spread,
)


def cells_of(counts, column="01"):
    named = {"row": "A", "column": column, "field": "0", "channel": "RNA"}
    return pd.DataFrame({"n_spots": counts}).assign(**named, acquisition=0, t=0, z=-1)


def test_counts_hold_every_cell():
    table = count_cells(cells_of([3, 0, 3, 7]))
    assert table["n_spots"].tolist() == [0, 3, 7]
    assert table["n_cells"].tolist() == [1, 2, 1]
    assert set(table["z"]) == {0}  # a projection is one occasion with plane 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1), st.lists(st.integers(0, 9), min_size=1))
def test_parts_add_up_to_the_whole_and_spread_is_that_of_the_cells(one, other):
    parts = [count_cells(cells_of(counts)) for counts in (one, other)]
    (row,) = spread(add_counts(parts), ["row", "column"]).to_dict("records")
    whole = np.array(one + other)
    assert row["n_cells"] == len(whole)
    assert row["mean"] == pytest.approx(whole.mean())
    assert (row["least"], row["most"]) == (whole.min(), whole.max())
    for name, share in SHARES.items():
        assert row[name] == np.quantile(whole, share, method="inverted_cdf")


def test_wells_are_apart():
    counts = add_counts(
        [count_cells(cells_of([1, 1])), count_cells(cells_of([9], "02"))]
    )
    assert spread(counts, ["column"])["median"].tolist() == [1, 9]
