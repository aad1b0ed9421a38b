"""Comparing channels in Python; equal tables from a run: runs/test_colocalise.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from deepspot_scale import colocalise, measure_chromatic_shift
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.chromatic import Shift
from deepspot_scale.simulation import render_spots
from deepspot_scale.statistics.colocalisation import ratio_interval
from deepspot_scale.tables import empty_table, table_of
from deepspot_scale.verbs.images import detect
from deepspot_scale.vocabulary import CELL_PAIRS, PAIRS, SPOTS

CELLS = xr.DataArray(np.full((120, 140), 3, np.uint8), dims=("y", "x"))


def _image(moved: tuple[float, float], channel: str) -> xr.DataArray:
    points = np.random.default_rng(0).uniform(8, 112, (40, 2)) + moved
    light = render_spots((120, 140), points, np.full(40, 600.0), np.full(40, 1.2))
    return xr.DataArray(100 + light, dims=("y", "x"), coords={"c": channel})


@pytest.fixture(scope="module")
def spots() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same spots in two channels, moved by (1.4, -3.2)."""
    moved = ((0.0, 0.0), (1.4, -3.2))
    one, other = (
        detect(_image(shift, channel), method="raw")
        for shift, channel in zip(moved, "AB", strict=True)
    )
    return one, other


def test_a_shift_is_measured_and_undone(
    spots: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    found = colocalise(*spots, cells=CELLS)
    assert (found.shift.how, found.shift) == (
        "measured",
        measure_chromatic_shift(*spots),
    )
    assert abs(found.shift.dy - 1.4) < 0.1
    assert abs(found.shift.dx + 3.2) < 0.1
    assert len(found.pairs) >= 0.95 * len(spots[0])
    (cell,) = found.cells.to_dict("records")
    assert (cell["channel"], cell["other"], cell["cell"]) == ("A", "B", 3)
    assert cell["share"] > 0.95
    assert cell["chance"] < 0.2
    assert len(colocalise(*spots, shift="none").pairs) < 0.2 * len(spots[0])
    given = colocalise(*spots, shift=Shift("given", 1.4, -3.2))
    assert len(given.pairs) == len(found.pairs)


@pytest.mark.parametrize("planted", [0.0, 0.3])
def test_planted_partners_are_within_the_interval(planted: float) -> None:
    rng, held = np.random.default_rng(1), 0
    y, x = np.indices((300, 300))
    cells = xr.DataArray(y // 60 * 5 + x // 60 + 1, dims=("y", "x"))
    for _ in range(20):
        one, other = (rng.uniform(0, 299, (900, 2)) for _ in range(2))
        same = rng.random(900) < planted
        other[same] = one[same] + rng.normal(0, 0.1, (same.sum(), 2))
        other = other.clip(0, 299)
        found = colocalise(
            _table(one, "A"), _table(other, "B"), cells=cells, shift="none"
        ).cells
        n_spots = found["n_spots"].to_numpy()
        chance = (found["chance"] * n_spots).sum() / n_spots.sum()
        interval = ratio_interval(found["n_pairs"].to_numpy(), n_spots, few=False)
        # Spots without a partner of their own find one by chance among the others.
        expected = planted + (1 - planted) ** 2 * chance
        held += interval.low <= expected <= interval.high
    assert held >= 16


def _table(places: np.ndarray, channel: str) -> pd.DataFrame:
    n = len(places)
    zeros = {c.name: np.full(n, "" if c.dtype == "string" else 0) for c in SPOTS}
    known = {"y": places[:, 0], "x": places[:, 1], "channel": np.full(n, channel)}
    nowhere = dict.fromkeys(("z_um", "y_um", "x_um"), np.full(n, np.nan))
    return table_of({**zeros, **known, **nowhere}, SPOTS)


def test_lazy_tables_are_computed(spots: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    lazy = [
        detect(_image(moved, name).chunk({"y": 60}), method="raw")
        for moved, name in (((0.0, 0.0), "A"), ((1.4, -3.2), "B"))
    ]
    assert not isinstance(lazy[0], pd.DataFrame)
    found, expected = colocalise(*lazy, cells=CELLS), colocalise(*spots, cells=CELLS)
    pd.testing.assert_frame_equal(found.pairs, expected.pairs)
    pd.testing.assert_frame_equal(found.cells, expected.cells)


def test_without_spots_or_cells_tables_have_their_columns(
    spots: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    nothing = empty_table(SPOTS)
    for one, other in ((nothing, nothing), (spots[0], nothing), (nothing, spots[1])):
        found = colocalise(one, other)
        assert list(found.pairs.columns) == [column.name for column in PAIRS]
        assert list(found.cells.columns) == [column.name for column in CELL_PAIRS]
        assert len(found.pairs) == len(found.cells) == 0
        assert found.shift.how == "not measurable"
    (cell,) = colocalise(spots[0], nothing, cells=CELLS).cells.to_dict("records")
    assert (cell["share"], cell["chance"], cell["p_value"]) == (0.0, 0.0, 1.0)


def test_what_does_not_go_together_is_refused(
    spots: tuple[pd.DataFrame, pd.DataFrame],
) -> None:
    one, other = spots
    with pytest.raises(FieldError, match="several channels, A, B"):
        colocalise(pd.concat(spots), other)
    with pytest.raises(FieldError, match="2 fields"):
        colocalise(one.assign(field="1"), other.assign(field="2"))
    with pytest.raises(FieldError, match="nuclei need cells"):
        colocalise(one, other, nuclei=CELLS)
    with pytest.raises(SettingsError, match="distances above 0"):
        colocalise(one, other, pair_distance=0.0)


def test_chance_in_label_volumes_is_that_of_their_voxels() -> None:
    rng = np.random.default_rng(3)
    labels = np.zeros((12, 90, 90), np.int32)
    labels[2:10, 10:80, 10:80] = 4
    places = rng.uniform((2, 10, 10), (9.4, 79, 79), (2, 150, 3))
    one, other = (
        _table(each[:, 1:], channel).assign(z=each[:, 0], plane=-1)
        for each, channel in zip(places, "AB", strict=True)
    )
    cells = xr.DataArray(labels, dims=("z", "y", "x"))
    found = colocalise(one, other, cells=cells, shift="none", n_draws=400).cells
    (row,) = found.to_dict("records")
    ellipsoid = 4 / 3 * np.pi * 2 * 2 * 1.5
    # Near the cell's rim a part of it lies outside.
    assert row["chance"] < 150 * ellipsoid / (labels > 0).sum()
    assert row["chance"] > 0.6 * 150 * ellipsoid / (labels > 0).sum()
    assert row["chance_low"] <= row["share"] <= row["chance_high"]
