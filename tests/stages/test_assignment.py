import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.delayed import delayed
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.blockwise.identity import PlaneIdentity, identify, lazy_table
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.errors import FieldError
from deepspot_scale.simulation import render_spots
from deepspot_scale.stages.assignment import (
    ASSIGN,
    AssignOptions,
    look_up,
    nearest_pixels,
)
from deepspot_scale.stages.detection.detect import DETECT, DetectOptions
from deepspot_scale.tables import empty_table
from deepspot_scale.verbs.cells import assign
from deepspot_scale.verbs.images import apply, detect
from deepspot_scale.vocabulary import SPOTS, FieldAddress

few = settings(max_examples=50, deadline=None)
SHAPE = (23, 31)


def spot_table(y, x, **plane):
    n = len(y)
    zero = np.zeros(n)
    columns = {
        "y": y,
        "x": x,
        "cell": zero,
        "nucleus": zero,
        "cluster": zero,
        "area": np.ones(n),
    }
    columns |= dict.fromkeys(("enhanced", "intensity", "snr"), zero)
    columns |= {"probability": zero, "molecules": zero, "site": zero > 0}
    return identify(pd.DataFrame(columns), PlaneIdentity(**plane), SPOTS)


def scatter(n, seed=0, **plane):
    rng = np.random.default_rng(seed)
    y, x = (rng.uniform(-0.5, length - 0.5, n) for length in SHAPE)
    return spot_table(y, x, **plane)


def regions(seed=0, shape=SHAPE, dtype=np.uint16):
    return np.random.default_rng(seed).integers(0, 5, shape).astype(dtype)


def as_labels(plane, dims=("y", "x")):
    return xr.DataArray(plane, dims=dims)


@few
@given(
    st.lists(st.tuples(*(st.floats(-0.5, n - 0.51) for n in SHAPE)), max_size=20),
    st.integers(0, 99),
)
def test_a_spot_has_the_labels_of_the_nearest_pixel(points, seed):
    y, x = np.array(points).reshape(-1, 2).T
    cells, nuclei = regions(seed), regions(seed + 1)
    table = assign(spot_table(y, x), cells=as_labels(cells), nuclei=as_labels(nuclei))
    grid = np.argwhere(np.ones(SHAPE, bool))
    for row in table.itertuples():
        distance = np.abs(grid - [row.y, row.x]).max(axis=1)
        nearest = grid[distance <= 0.5 + 1e-9]
        assert row.cell in {cells[tuple(pixel)] for pixel in nearest}
        assert row.nucleus in {nuclei[tuple(pixel)] for pixel in nearest}


def test_positions_beyond_the_edge_belong_to_the_edge():
    got = nearest_pixels(np.array([-0.5, -0.4, 0.49, 0.5, 9.4, 9.5]), 10)
    np.testing.assert_array_equal(got, [0, 0, 0, 1, 9, 9])


@few
@given(st.integers(0, 99), st.integers(0, 3), st.booleans())
def test_assignment_flips_and_turns_with_the_field(seed, turns, flip):
    spots, cells = scatter(40, seed), regions(seed)

    def moved(plane):
        return np.rot90(plane[::-1] if flip else plane, turns)

    # A quarter turn takes (y, x) to (width - 1 - x, y).
    y, x, (height, width) = spots["y"], spots["x"], SHAPE
    y = height - 1 - y if flip else y
    for _ in range(turns):
        y, x, height, width = width - 1 - x, y, width, height
    before = assign(spots, cells=as_labels(cells))
    after = assign(spot_table(y, x), cells=as_labels(moved(cells)))
    np.testing.assert_array_equal(after["cell"], before["cell"])


@pytest.mark.parametrize(
    "dtype", [bool, np.uint8, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_every_dtype_of_labels_is_read(dtype):
    cells = regions(dtype=dtype)
    table = assign(scatter(50), cells=as_labels(cells))
    assert table["cell"].dtype == np.int64
    y, x = np.floor(table[["y", "x"]].to_numpy() + 0.5).astype(int).T
    np.testing.assert_array_equal(table["cell"], cells[y, x].astype(int))


def test_only_the_labels_that_are_given_are_filled():
    table = assign(scatter(50), nuclei=as_labels(regions()))
    assert not table["cell"].any()
    assert table["nucleus"].any()


def test_spots_get_the_labels_of_their_time_point():
    cells = np.stack([np.full(SHAPE, 7), np.full(SHAPE, 9)])
    spots = pd.concat([scatter(5, 1, t=1), scatter(5, 0, t=0)], ignore_index=True)
    labels = as_labels(cells, ("t", "y", "x"))
    table = assign(spots, cells=labels)
    assert table["cell"].tolist() == [9] * 5 + [7] * 5
    pd.testing.assert_frame_equal(
        table.drop(columns="cell"), spots.drop(columns="cell")
    )
    swapped = assign(spots, cells=labels.transpose("x", "t", "y"))
    pd.testing.assert_frame_equal(swapped, table)


def test_rows_stay_in_place_even_where_the_index_repeats():
    # This is the index of a computed Dask table with two partitions.
    spots = pd.concat([scatter(5, 0, t=0), scatter(4, 1, t=1), scatter(3, 2, t=0)])
    table = assign(spots, cells=as_labels(regions()))
    assert table.index.tolist() == spots.index.tolist()
    np.testing.assert_array_equal(table["y"], spots["y"])


def test_no_spots_are_assigned_to_nothing():
    none = assign(empty_table(SPOTS), cells=as_labels(regions()))
    assert none.empty
    assert list(none.columns) == [column.name for column in SPOTS]


@pytest.mark.parametrize("lazy_labels", [False, True])
@pytest.mark.parametrize("time", [False, True])
def test_a_lazy_table_gets_the_same_labels_and_computes_nothing_before(
    lazy_labels, time, forbid_computing, here_and_now
):
    parts = [scatter(20, t, t=t) for t in range(3)]
    parts[1] = parts[1].iloc[:0]
    shape = (3, *SHAPE) if time else SHAPE
    cells = as_labels(regions(shape=shape), ("t", "y", "x")[-len(shape) :])
    nuclei = as_labels(regions(1))
    eager = assign(pd.concat(parts, ignore_index=True), cells=cells, nuclei=nuclei)
    if lazy_labels:
        cells = cells.copy(data=da.from_array(cells.data, chunks=7))
    with forbid_computing:
        lazy = assign(
            lazy_table([delayed(part) for part in parts], SPOTS),
            cells=cells,
            nuclei=nuclei,
        )
    assert lazy.npartitions == 3
    got = lazy.compute().reset_index(drop=True)
    pd.testing.assert_frame_equal(got, eager, check_exact=True)


def test_lazy_labels_serve_a_table_in_memory(here_and_now):
    spots, cells = scatter(30), regions()
    eager = assign(spots, cells=as_labels(cells))
    lazy = assign(spots, cells=as_labels(da.from_array(cells, chunks=(5, 9))))
    pd.testing.assert_frame_equal(lazy, eager)


def test_a_block_reads_only_what_its_spots_need():
    spots = scatter(10)
    read = read_whole({"cells": regions()})
    whole = look_up(spots, read, SHAPE)
    for i in range(len(spots)):
        alone = look_up(spots.iloc[[i]], read, SHAPE)
        pd.testing.assert_frame_equal(alone, whole.iloc[[i]])


def test_unfit_labels_are_named_errors():
    spots, labels = scatter(3), as_labels(regions())
    with pytest.raises(FieldError, match="got neither"):
        assign(spots)
    with pytest.raises(FieldError, match="whole-number labels"):
        assign(spots, cells=labels.astype(float))
    with pytest.raises(FieldError, match=r"cells have shape .* nuclei have shape"):
        assign(spots, cells=labels, nuclei=labels[:5])
    with pytest.raises(FieldError, match="got ndarray"):
        assign(spots, cells=labels.to_numpy())
    with pytest.raises(FieldError, match=r"dimensions \(t,\) \(z,\) y, x"):
        assign(spots, cells=labels.expand_dims("c"))


def test_spots_far_outside_the_labels_are_an_error_not_clipped():
    labels = as_labels(np.full(SHAPE, 9))
    rim = spot_table([-5.0, SHAPE[0] + 5.0], [3.0, 3.0])
    assert assign(rim, cells=labels)["cell"].tolist() == [9, 9]
    for far in ([3.0, 40.0], [-20.0, 3.0], [3.0, np.nan]):
        with pytest.raises(FieldError, match=r"1 spots lie outside the labels"):
            assign(spot_table(far, [3.0, 3.0]), cells=labels)
        with pytest.raises(FieldError, match="give labels of the image"):
            assign(spot_table([3.0, 3.0], far), nuclei=labels)


@pytest.mark.parametrize("lazy", [False, True])
def test_spots_of_two_fields_are_an_error_that_names_them(lazy, here_and_now):
    parts = [
        scatter(n, n, address=FieldAddress("B", column, "0"))
        for n, column in ((5, "03"), (0, "05"), (4, "04"))
    ]
    spots = lazy_table([delayed(part) for part in parts], SPOTS)
    spots = spots if lazy else spots.compute()
    with pytest.raises(FieldError, match=r"2 fields \(B/03/0, B/04/0\)"):
        len(assign(spots, cells=as_labels(regions())))


def test_partitions_are_computed_once_though_each_needs_the_fields_of_all(here_and_now):
    counted = []

    def make(t):
        counted.append(t)
        return scatter(5, t, t=t)

    spots = lazy_table([delayed(make)(t) for t in range(3)], SPOTS)
    assert len(assign(spots, cells=as_labels(regions())).compute()) == 15
    assert sorted(counted) == [0, 1, 2]


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("name", ["cells", "nuclei"])
@pytest.mark.parametrize(
    ("value", "dtype"), [(-1, np.int16), (-3, np.int64), (2**63, np.uint64)]
)
def test_labels_that_no_table_can_hold_are_an_error(
    lazy, name, value, dtype, here_and_now
):
    plane = np.ones(SHAPE, dtype)
    plane[20, 30] = value
    labels = as_labels(da.from_array(plane, chunks=40) if lazy else plane)
    with pytest.raises(FieldError, match=f"^{name} go from .*Number them again"):
        assign(spot_table([3.0], [3.0]), **{name: labels})


def test_labels_of_one_time_point_serve_all_and_more_must_reach_the_spots():
    spots, one = scatter(5, t=3), as_labels(regions(shape=(1, *SHAPE)), ("t", "y", "x"))
    same = assign(spots, cells=one[0])
    pd.testing.assert_frame_equal(assign(spots, cells=one), same)
    two = xr.concat([one, one], "t")
    with pytest.raises(FieldError, match=r"2 time points, counted from 0.* t = 3"):
        assign(spots, cells=two)


STAGES = {DETECT: DetectOptions(detector="raw"), ASSIGN: AssignOptions()}


def movie(n_t=3):
    light = render_spots((64, 96), np.array([[20, 30]]), [500.0], [1.3])
    counts = np.stack([100 + light] * n_t).astype(np.uint16)
    return xr.DataArray(counts, dims=("t", "y", "x"), coords={"t": np.arange(n_t)})


def test_one_time_point_of_a_movie_has_the_labels_of_that_time_in_all_verbs():
    image, shape = movie()[2], (3, 64, 96)
    cells = as_labels(
        np.arange(1, 4)[:, None, None] * np.ones(shape, int), ("t", "y", "x")
    )
    found = apply(STAGES, image, cells=cells)["spots"]
    assert found["cell"].tolist() == [3]
    assert assign(detect(image, method="raw"), cells=cells)["cell"].tolist() == [3]


def test_labels_of_another_shape_than_the_image_are_refused_by_apply():
    cells = as_labels(np.full((32, 48), 9))
    with pytest.raises(FieldError, match=r"cells .*\(32, 48\), the image .*\(64, 96\)"):
        apply(STAGES, movie(), cells=cells)
