import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.delayed import delayed
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.blockwise.identity import (
    delayed_table,
    gather_tables,
    identify,
    in_reading_order,
    plane_identity,
)
from deepspot_scale.vocabulary import SPOTS, FieldAddress, PlaneIdentity


def spots(n, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "y": rng.uniform(0, 100, n),
            "x": rng.uniform(0, 100, n),
            "enhanced": rng.random(n, dtype=np.float32),
            "intensity": rng.random(n, dtype=np.float32),
            "snr": rng.random(n, dtype=np.float32),
            "area": rng.integers(1, 9, n),
            "probability": rng.random(n, dtype=np.float32),
            "molecules": rng.random(n, dtype=np.float32),
            "site": rng.random(n) < 0.1,
            "cell": np.zeros(n, np.int64),
            "nucleus": np.zeros(n, np.int64),
            "cluster": np.zeros(n, np.int64),
        }
    )


def make(n, plane):
    return identify(spots(n), plane, SPOTS)


PLANE = PlaneIdentity(FieldAddress("B", "03", "0"), 2, "FISH", 1, (0.2, 0.1))


def test_every_row_says_where_it_comes_from_and_its_micrometres():
    table = identify(spots(5), PLANE, SPOTS)
    assert list(table.columns) == [column.name for column in SPOTS]
    first = table.iloc[0]
    assert tuple(first[["row", "column", "field", "t", "channel", "z"]]) == (
        "B",
        "03",
        "0",
        2,
        "FISH",
        1,
    )
    np.testing.assert_array_equal(table["y_um"], table["y"] * 0.2)
    np.testing.assert_array_equal(table["x_um"], table["x"] * 0.1)


def test_without_a_pixel_size_there_are_no_micrometres():
    table = identify(spots(5), PlaneIdentity(), SPOTS)
    assert table[["y_um", "x_um"]].isna().all(axis=None)


@given(st.permutations(range(12)))
def test_reading_order_does_not_depend_on_the_order_before(order):
    table = spots(12)
    table["y"] = np.repeat([3.0, 1.0, 2.0], 4)
    table["x"] = np.tile([5.0, 5.0, 4.0, 6.0], 3)  # two spots in one place
    expected = in_reading_order(table)
    assert expected["y"].is_monotonic_increasing
    pd.testing.assert_frame_equal(in_reading_order(table.iloc[list(order)]), expected)


def test_a_plane_takes_its_name_from_the_images_coordinates():
    image = xr.DataArray(
        np.zeros((3, 2, 4, 5, 5)),
        dims=("t", "c", "z", "y", "x"),
        coords={"c": ["DAPI", "FISH"]},
        attrs={"address": "B/03/0", "pixel_size_um": (0.2, 0.1)},
    )
    assert plane_identity(image, {"t": 2, "c": 1, "z": 1}) == PLANE
    assert plane_identity(image.sel(c="FISH"), {"t": 2, "z": 1}) == PLANE
    bare = xr.DataArray(np.zeros((5, 5)), dims=("y", "x"))
    assert plane_identity(bare, {}) == PlaneIdentity()


def _at(y, x, **attrs):
    return xr.DataArray(
        np.zeros((len(y), len(x))), {"y": y, "x": x}, ("y", "x"), attrs=attrs
    )


def _um(image):
    """Micrometres of the pixels (0, 0) and (2, 3)."""
    table = spots(2).assign(y=[0.0, 2.0], x=[0.0, 3.0])
    return identify(table, plane_identity(image, {}), SPOTS)[
        ["y_um", "x_um"]
    ].to_numpy()


def test_micrometres_follow_the_coordinates_of_a_cut_out():
    whole = _at(np.arange(50) * 0.2, np.arange(60) * 0.1, pixel_size_um=(0.2, 0.1))
    assert plane_identity(whole, {}) == PlaneIdentity(pixel_size_um=(0.2, 0.1))
    cut = [[2.0, 4.0], [2.4, 4.3]]
    np.testing.assert_allclose(_um(whole.isel(y=slice(10, 30), x=slice(40, 50))), cut)
    np.testing.assert_allclose(_um(whole.sel(y=slice(2, 6), x=slice(4, 5))), cut)
    np.testing.assert_allclose(_um(whole[::2, ::2]), [[0, 0], [0.8, 0.6]])
    counted = _at(np.arange(10, 30), np.arange(40, 50), pixel_size_um=(0.2, 0.1))
    np.testing.assert_allclose(_um(counted), cut)


def test_coordinates_that_say_so_are_micrometres():
    image = _at(2 + np.arange(20) * 0.2, 4 + np.arange(10) * 0.1)
    assert np.isnan(_um(image)).all()
    for axis in "yx":
        image[axis].attrs["units"] = "um"
    np.testing.assert_allclose(_um(image), [[2.0, 4.0], [2.4, 4.3]])


def test_lazy_and_eager_planes_make_the_same_table(forbid_computing):
    sizes = [3, 0, 4]
    eager = gather_tables([(n, PLANE) for n in sizes], make, SPOTS)
    with forbid_computing:
        lazy = gather_tables([(delayed(n), PLANE) for n in sizes], make, SPOTS)
    assert isinstance(lazy, dd.DataFrame)
    assert lazy.npartitions == 3
    got = lazy.compute(scheduler="synchronous").reset_index(drop=True)
    pd.testing.assert_frame_equal(got, eager)


@pytest.mark.parametrize("wrap", [int, delayed])
def test_planes_without_rows_still_have_every_column(wrap):
    table = gather_tables([(wrap(0), PLANE)] * 2, make, SPOTS)
    if isinstance(table, dd.DataFrame):
        table = table.compute(scheduler="synchronous")
    assert table.empty
    expected = make(1, PLANE).dtypes
    pd.testing.assert_series_equal(table.dtypes, expected)


def test_partitions_become_one_delayed_table_in_their_order(forbid_computing):
    eager = gather_tables([(3, PLANE), (4, PLANE)], make, SPOTS)
    assert delayed_table(eager) is eager
    with forbid_computing:
        lazy = gather_tables([(delayed(3), PLANE), (delayed(4), PLANE)], make, SPOTS)
        whole = delayed_table(lazy)
    pd.testing.assert_frame_equal(whole.compute(scheduler="synchronous"), eager)
