import math
from dataclasses import replace
from itertools import pairwise

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.delayed import delayed
from dask_image import ndmeasure
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from deepspot_scale.blockwise.answers import LABEL_HEIGHT, PIXEL, REFERENCE
from deepspot_scale.blockwise.contract import Answers, Key, Step, Work
from deepspot_scale.blockwise.geometry import plan_blocks
from deepspot_scale.blockwise.graphs import defer_rounds
from deepspot_scale.blockwise.identity import PlaneIdentity, identify, lazy_table
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.blockwise.spots import ASSIGNED, Spots
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.pixel_shape import pixel_shape
from deepspot_scale.kernels.references import Reference
from deepspot_scale.kernels.sectors import sector_sums
from deepspot_scale.stages.polarity.measure import PolarityMeasure
from deepspot_scale.tables import empty_table
from deepspot_scale.verbs.cells import assign, measure_polarity
from deepspot_scale.vocabulary import CELLS, SPOTS, FieldAddress

few = settings(max_examples=25, deadline=None)
SIZES = st.sampled_from([None, (0.1, 0.1), (0.2, 0.1), (0.13, 0.21)])
SHAPE = (37, 45)
GIVEN_SPOTS = Key("given_spots")
WOUND = Reference(line=((-3.2, -4.1), (-7.3, 61.7), (50.1, 66.6)))


def scene(seed, shape=SHAPE):
    """Cells in a Voronoi pattern with gaps, their nuclei, and spots everywhere."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, shape, (5, 2))
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(*(np.stack([y, x], -1)[..., None, :] - centres).T).T
    cells = distance.argmin(-1) * 3 + 1
    cells[distance.min(-1) > 13] = 0
    nuclei = np.where(distance.min(-1) < rng.uniform(2, 6), cells, 0)
    nuclei[cells == 4] = 0  # one cell has no nucleus
    n = int(rng.integers(0, 150))
    points = rng.uniform(-0.4, np.array(shape) - 0.6, (n, 2))
    return cells.astype(np.uint16), nuclei.astype(np.int32), points


def as_labels(plane, size=None):
    if size is None:
        return xr.DataArray(plane, dims=("y", "x"))
    coords = {
        axis: (axis, np.arange(n) * step, {"units": "um"})
        for axis, n, step in zip("yx", plane.shape, size, strict=True)
    }
    return xr.DataArray(plane, dims=("y", "x"), coords=coords)


def spot_table(points, **plane):
    y, x = np.reshape(points, (-1, 2)).T
    zero = np.zeros(len(y))
    columns = {
        "y": y,
        "x": x,
        "cell": zero,
        "nucleus": zero,
        "cluster": zero,
        "area": zero + 1,
    }
    columns |= dict.fromkeys(("enhanced", "intensity", "snr"), zero)
    columns |= {"probability": zero, "molecules": zero, "site": zero > 0}
    return identify(pd.DataFrame(columns), PlaneIdentity(**plane), SPOTS)


def measure(cells, nuclei, points, reference=None, size=None):
    labels = {"cells": as_labels(cells, size)}
    if nuclei is not None:
        labels["nuclei"] = as_labels(nuclei, size)
    spots = assign(spot_table(points, pixel_size_um=size), **labels)
    return measure_polarity(spots, **labels, reference=reference)


def direction(dy, dx):
    """Counter-clockwise from +x as seen on the screen, rounding noise removed."""
    return round(math.degrees(math.atan2(-dy, dx)) % 360, 9) % 360


def toward(reference, y, x):
    """The reference direction from one centre, by brute force along the line."""
    if reference.angle_deg is not None:
        return reference.angle_deg % 360
    corners = [np.array(corner) for corner in reference.line]
    best = corners[0]
    for a, b in pairwise(corners):
        along = np.dot([y - a[0], x - a[1]], b - a) / np.dot(b - a, b - a)
        foot = a + np.clip(along, 0, 1) * (b - a)
        best = min(best, foot, key=lambda p: math.hypot(p[0] - y, p[1] - x))
    return direction(best[0] - y, best[1] - x)


def slow_cell(number, cells, nuclei, points, reference, sides=(1.0, 1.0)):
    """All numbers of one cell, pixel by pixel and spot by spot.

    `sides` are height and width of a pixel.
    """
    reference = reference and replace(
        reference, line=tuple((y * sides[0], x * sides[1]) for y, x in reference.line)
    )
    inside = np.argwhere(cells == number)
    nucleus = [p for p in inside.tolist() if nuclei is not None and nuclei[tuple(p)]]
    centred_on = nucleus if nuclei is not None else inside
    centre = np.mean(centred_on, axis=0) if len(centred_on) else np.full(2, np.nan)
    zero = 0.0 if reference is None else toward(reference, *centre * sides)
    areas, spots = np.zeros(360, int), np.zeros(360, int)
    counts = [0, 0, 0]
    for y, x in inside.tolist():
        if [y, x] not in nucleus and len(centred_on):
            areas[slow_bin(*((y, x) - centre) * sides, zero)] += 1
    for y, x in points:
        pixel = tuple(
            min(max(math.floor(v + 0.5), 0), n - 1)
            for v, n in zip((y, x), cells.shape, strict=True)
        )
        if cells[pixel] == number:
            in_nucleus = nuclei is not None and nuclei[pixel] > 0
            counts[0] += 1
            counts[1 if in_nucleus else 2] += 1
            if not in_nucleus and len(centred_on):
                spots[slow_bin(*((y, x) - centre) * sides, zero)] += 1
    edges = (inside == 0) | (inside == np.array(cells.shape) - 1)
    return slow_spread(number, cells, nuclei, points, centre, np.array(sides)) | {
        "area": len(inside),
        "nucleus_area": len(nucleus),
        "cell_y": inside[:, 0].mean(),
        "cell_x": inside[:, 1].mean(),
        "touches_border": bool(edges.any()),
        "n_spots": counts[0],
        "n_spots_nucleus": counts[1],
        "n_spots_cytoplasm": counts[2],
        "reference_deg": (
            zero if reference is not None and len(centred_on) else math.nan
        ),
        "area_bins": areas.tolist(),
        "spot_bins": spots.tolist(),
    }


def slow_spread(number, cells, nuclei, points, centre, sides):
    """Indices and distances of one cell, from lists of its pixels and spots."""
    shape = np.array(cells.shape)
    where = np.clip(np.floor(points + 0.5), 0, shape - 1).astype(int)
    own = cells[tuple(where.T)] == number
    spots, at = points[own], where[own]
    pixels = np.argwhere(cells == number).astype(float)
    nucleus = np.zeros((0, 2))
    if nuclei is not None:
        nucleus = np.argwhere((cells == number) & (nuclei > 0)).astype(float)
        at = at[nuclei[tuple(at.T)] == 0]
    others = np.argwhere(cells != number).astype(float)
    pixels, nucleus, others, spots, at, centre = (
        places * sides for places in (pixels, nucleus, others, spots, at, centre)
    )
    outer = [p for p in pixels.tolist() if p not in nucleus.tolist()]

    def spread(these, middle):
        return ((these - middle) ** 2).sum(axis=1).mean() if len(these) else math.nan

    def over(value, by):
        return value / by if by > 0 else math.nan

    def mean_distance(these, targets):
        if len(these) == 0 or len(targets) == 0:
            return math.nan
        return np.mean([np.hypot(*(targets - p).T).min() for p in these])

    middle = spots.mean(axis=0) if len(spots) else np.full(2, math.nan)
    body = pixels.mean(axis=0)
    return {
        "polarization_index": over(
            np.hypot(*(middle - body)), math.sqrt(spread(pixels, body))
        ),
        "dispersion_index": over(spread(spots, middle), spread(pixels, middle)),
        "peripheral_index": over(spread(spots, centre), spread(pixels, centre)),
        "nucleus_distance": mean_distance(at, nucleus),
        "nucleus_distance_uniform": mean_distance(outer, nucleus),
        "edge_distance": mean_distance(at, others),
        "edge_distance_uniform": mean_distance(outer, others),
    }


def slow_bin(dy, dx, zero):
    return math.floor(round((direction(dy, dx) - zero) % 360, 9) % 360)


@few
@given(
    st.integers(0, 999),
    st.booleans(),
    st.sampled_from([None, WOUND, Reference(angle_deg=-100.3)]),
    SIZES,
)
def test_every_number_is_that_of_a_loop_over_cells(seed, with_nuclei, reference, size):
    cells, nuclei, points = scene(seed)
    nuclei = nuclei if with_nuclei else None
    table = measure(cells, nuclei, points, reference, size)
    side = 1.0 if size is None else math.sqrt(size[0] * size[1])
    sides = (1.0, 1.0) if size is None else (size[0] / side, size[1] / side)
    assert table["cell"].tolist() == [n for n in np.unique(cells).tolist() if n]
    for row in table.to_dict("records"):
        slow = slow_cell(row["cell"], cells, nuclei, points, reference, sides)
        for name in ("nucleus_distance", "edge_distance"):
            um = math.nan if size is None else row[name] * side
            assert row[f"{name}_um"] == pytest.approx(um, nan_ok=True)
        for name, expected in slow.items():
            value = row[name]
            if name.endswith("bins"):
                assert list(value) == expected, name
            else:
                # Positions count in 1/256 pixel, distances in 1/64.
                near = pytest.approx(expected, rel=1e-6, abs=0.01, nan_ok=True)
                assert value == near, name


def _own(here, agreed):
    """Only the spots in the block's core, as a block's detector would give them."""
    spots, core = agreed[GIVEN_SPOTS], here.block.core
    y, x = (
        np.clip(np.floor(spots[axis] + 0.5), 0, n - 1)
        for axis, n in zip("yx", here.shape, strict=True)
    )
    inside = (core.y.start <= y) & (y < core.y.stop)
    return Spots(spots[inside & (core.x.start <= x) & (x < core.x.stop)], 0)


@few
@given(st.integers(0, 999), st.integers(1, 60), st.booleans(), SIZES)
def test_a_cell_that_crosses_seams_gives_the_numbers_of_one_block(
    seed, block, lazy, size
):
    cells, nuclei, points = scene(seed)
    expected = measure(cells, nuclei, points, WOUND, size)
    same_cells(in_blocks(cells, nuclei, points, block, size, lazy), expected)


def in_blocks(cells, nuclei, points, block, size=None, lazy=False, *, name="cells"):
    """Measure block by block; what crosses seams is merged."""
    spots = assign(spot_table(points), cells=as_labels(cells), nuclei=as_labels(nuclei))
    labels = {"cells": cells, "nuclei": nuclei}
    pipeline = plan_pipeline(
        {
            "given": Work((Step(ASSIGNED, _own, agreed=(GIVEN_SPOTS,)),)),
            "polarity": PolarityMeasure().work(labels),
        },
        images=(),
        labels=tuple(labels),
        given=(GIVEN_SPOTS, REFERENCE, PIXEL, LABEL_HEIGHT),
    )
    blocks, read = plan_blocks(SHAPE, block=max(block, 5)), read_whole(labels)
    known = Answers({"given_spots": spots, "reference": WOUND})
    known[PIXEL], known[LABEL_HEIGHT] = pixel_shape(size), None
    if lazy:
        answers, _ = defer_rounds(pipeline, blocks, lambda _: read, known)
        answers = answers.compute(scheduler="synchronous")
    else:
        answers = reduce_rounds(pipeline, blocks, read, known)
    table = {each.name: each for each in pipeline.tables}[name]
    return table.make(answers, PlaneIdentity(pixel_size_um=size))


@few
@given(st.integers(0, 999), st.integers(5, 60), SIZES)
def test_rings_across_seams_are_those_of_one_block(seed, block, size):
    one, many = (
        in_blocks(*scene(seed), edge, size, name="radial") for edge in (64, block)
    )
    pd.testing.assert_frame_equal(one, many)


@few
@given(st.integers(0, 999))
def test_rings_hold_each_cytoplasm_pixel_and_spot_at_its_share_of_the_way(seed):
    cells, nuclei, points = scene(seed)
    rings = in_blocks(cells, nuclei, points, 64, name="radial").set_index("cell")
    whole = in_blocks(cells, nuclei, points, 64).set_index("cell")
    assert list(rings.index) == list(whole.index[whole["nucleus_area"] > 0])
    for cell, row in rings.iterrows():
        own, inside = np.argwhere((cells == cell) & (nuclei == 0)), cells == cell
        there = (np.argwhere(inside & (nuclei > 0)), np.argwhere(~inside))
        inner, outer = (np.rint(64 * cdist(own, far).min(axis=1)) for far in there)
        ring = np.minimum(10 * inner // (inner + outer), 9).astype(int)
        counts = np.bincount(ring, minlength=10)
        assert row[[f"pixels_{k}" for k in range(10)]].tolist() == counts.tolist()
        n_spots = row[[f"spots_{k}" for k in range(10)]].sum()
        assert n_spots == whole.loc[cell, "n_spots_cytoplasm"]


def test_a_spot_near_the_nucleus_is_in_an_inner_ring_and_one_at_the_edge_in_the_last():
    cells, nuclei = np.zeros((2, *SHAPE), np.int32)
    cells[2:35, 2:43], nuclei[15:20, 20:25] = 1, 1
    points = [(17, 26), (17, 42), (17, 22)]
    (row,) = in_blocks(cells, nuclei, points, 64, name="radial").to_dict("records")
    counts = [row[f"spots_{k}"] for k in range(10)]
    assert counts == [0, 1, *[0] * 7, 1]  # 2 of 18 pixels on the way; in the nucleus


@few
@given(st.integers(0, 999), st.integers(5, 20), SIZES)
def test_distances_are_the_same_when_cells_are_larger_than_their_reach(
    seed, block, size
):
    with pytest.MonkeyPatch.context() as patch:
        stage = "stages.polarity"
        for module in (f"{stage}.cell_places", f"{stage}.measure", "kernels.distances"):
            patch.setattr(f"deepspot_scale.{module}.REACH", 4)
        for module in ("cell_places", "measure"):
            patch.setattr(f"deepspot_scale.{stage}.{module}.SLACK", 1)
        cells, nuclei, points = scene(seed)
        expected = measure(cells, nuclei, points, WOUND, size)
        same_cells(in_blocks(cells, nuclei, points, block, size), expected)


def round_cell():
    """A round cell of 9 micrometres in pixels of .2 x .1, and spots in it."""
    y, x = np.mgrid[:128, :256]
    away = np.hypot(y * 0.2 - 12.8, x * 0.1 - 12.8)
    rng = np.random.default_rng(2)
    angle, far = rng.uniform(0, 2 * np.pi, 60), rng.uniform(4, 8.5, 60)
    points = np.stack([far * np.sin(angle) / 0.2 + 64, far * np.cos(angle) / 0.1 + 128])
    return (away <= 9).astype(int), (away <= 3).astype(int), points.T


def test_directions_and_distances_are_those_of_the_specimen():
    corner, size = Reference(line=((0.0, 0.0),)), (0.2, 0.1)
    (row,) = measure(*round_cell(), corner, size).to_dict("records")
    assert row["reference_deg"] == 135
    areas = np.asarray(row["area_bins"])
    assert areas[[*range(60), *range(300, 360)]].sum() / areas.sum() == pytest.approx(
        1 / 3, abs=2e-3
    )
    assert row["nucleus_distance_um"] == pytest.approx(3.25, abs=0.25)
    assert row["edge_distance_um"] == pytest.approx(2.75, abs=0.25)


@pytest.mark.parametrize("told_by", ["labels", "like", "spots"])
def test_whoever_knows_the_pixel_size_is_asked(told_by):
    cells, nuclei, points = round_cell()
    corner, size = Reference(line=((0.0, 0.0),)), (0.2, 0.1)
    known = {"labels": size if told_by == "labels" else None}
    labels = {"cells": cells, "nuclei": nuclei}
    labels = {n: as_labels(i, known["labels"]) for n, i in labels.items()}
    table = spot_table(points, pixel_size_um=size if told_by == "spots" else None)
    like = as_labels(cells, size) if told_by == "like" else None
    spots = assign(table.assign(channel="", z=0), **labels)
    got = measure_polarity(spots, **labels, reference=corner, like=like)
    assert got["reference_deg"].item() == 135
    assert got["area_um2"].item() == pytest.approx(math.pi * 81, rel=0.01)


def test_labels_that_are_cut_out_elsewhere_are_an_error():
    cells, nuclei, points = round_cell()
    size = (0.2, 0.1)
    whole = as_labels(cells, size)
    spots = spot_table(points - [15, 30], pixel_size_um=size, origin_um=(3.0, 3.0))
    window = {"y": slice(15, 115), "x": slice(30, 230)}
    assert (assign(spots, cells=whole.isel(window))["cell"] == 1).all()
    elsewhere = whole.isel(y=slice(16, 116), x=slice(30, 230))
    with pytest.raises(FieldError, match=r"along y, spots are up to 1\.00 pixels off"):
        assign(spots, cells=elsewhere)
    nuclei = as_labels(nuclei, size)[16:116, 30:230]
    with pytest.raises(FieldError, match="nuclei and cells have other coordinates"):
        measure_polarity(spots, cells=whole.isel(window), nuclei=nuclei)


def test_a_margin_takes_the_nucleus_rim_out_of_the_bins():
    cells, nuclei = np.ones((2, 31, 31), int)
    nuclei[:] = 0
    nuclei[15, 15] = 1
    points = [(15.0, 15.0 + off) for off in (0, 1, 3, 4, 9)]
    labels = {"cells": as_labels(cells), "nuclei": as_labels(nuclei)}
    spots = assign(spot_table(points), **labels)
    whole = measure_polarity(spots, **labels).iloc[0]
    rim = measure_polarity(spots, **labels, nucleus_margin=3.0).iloc[0]
    assert whole["spot_bins"].sum() == whole["n_spots_cytoplasm"] == 4
    assert rim["spot_bins"].sum() == 2
    y, x = np.mgrid[-15:16, -15:16]
    assert rim["area_bins"].sum() == (np.hypot(y, x) > 3).sum()
    kept = [c.name for c in CELLS if not c.name.endswith("bins")]
    kept = [name for name in kept if not name.startswith("resultant")]
    pd.testing.assert_series_equal(whole[kept], rim[kept])


@pytest.mark.parametrize("margin", [-1.0, 600.0, math.nan])
def test_a_margin_that_is_no_distance_is_refused(margin):
    with pytest.raises(SettingsError, match="nucleus_margin"):
        PolarityMeasure(margin)


def test_cells_without_nuclei_have_no_distance_from_one():
    cells, _, points = scene(1)
    table = measure(cells, None, points)
    far = ["nucleus_distance", "nucleus_distance_uniform"]
    assert table[far].isna().all(axis=None)
    assert table["edge_distance_uniform"].notna().all()


def same_cells(got, expected):
    bins = ["area_bins", "spot_bins"]
    pd.testing.assert_frame_equal(
        got.drop(columns=bins), expected.drop(columns=bins), check_exact=True
    )
    for name in bins:
        np.testing.assert_array_equal(
            np.reshape(got[name].tolist(), (-1, 360)),
            np.reshape(expected[name].tolist(), (-1, 360)),
        )


@few
@given(st.integers(0, 999))
def test_bins_hold_every_cytoplasm_pixel_and_spot_once(seed):
    cells, nuclei, points = scene(seed)
    for row in measure(cells, nuclei, points, WOUND).itertuples():
        if row.nucleus_area:
            assert row.area_bins.sum() == row.area - row.nucleus_area
            assert row.spot_bins.sum() == row.n_spots_cytoplasm
        else:
            assert not row.area_bins.any()
        assert row.n_spots == row.n_spots_nucleus + row.n_spots_cytoplasm


@few
@given(st.integers(0, 999), st.floats(0, 36), st.floats(0, 44))
def test_one_added_spot_changes_one_sector_of_one_cell_by_one(seed, y, x):
    cells, nuclei, points = scene(seed)
    before = measure(cells, nuclei, points, WOUND)
    after = measure(cells, nuclei, [*points, (y, x)], WOUND)
    bins = [np.reshape(t["spot_bins"].tolist(), (-1, 360)) for t in (before, after)]
    pixel = math.floor(y + 0.5), math.floor(x + 0.5)
    counts = cells[pixel] > 0 and nuclei[pixel] == 0 and cells[pixel] != 4
    for n_sectors in (3, 4, 360 // 2):
        change = sector_sums(bins[1], n_sectors) - sector_sums(bins[0], n_sectors)
        assert sorted(change.ravel())[-1:] == [int(counts)]
        assert change.sum() == np.abs(change).sum() == int(counts)
    assert after["n_spots"].sum() - before["n_spots"].sum() == int(cells[pixel] > 0)


def moved(seed, turns, flip):
    """Return a scene, the same one flipped and turned, and how points go along."""
    cells, nuclei, points = scene(seed)

    def image(plane):
        return np.ascontiguousarray(np.rot90(plane[::-1] if flip else plane, turns))

    def place(where):
        y, x = np.reshape(where, (-1, 2)).T
        height, width = SHAPE
        y = height - 1 - y if flip else y
        for _ in range(turns):
            y, x, height, width = width - 1 - x, y, width, height
        return np.stack([y, x], 1)

    line = tuple(map(tuple, place(WOUND.line).tolist()))
    there = (image(cells), image(nuclei), place(points), Reference(line=line))
    return measure(cells, nuclei, points, WOUND), measure(*there)


SAME = ["cell", "area", "nucleus_area", "touches_border", "n_spots"]
SAME += ["n_spots_nucleus", "n_spots_cytoplasm"]


@few
@given(st.integers(0, 999), st.integers(1, 3))
def test_quarter_turns_change_no_bin(seed, turns):
    before, after = moved(seed, turns, flip=False)
    pd.testing.assert_frame_equal(after[SAME], before[SAME])
    for name in ("area_bins", "spot_bins"):
        for a, b in zip(before[name], after[name], strict=True):
            np.testing.assert_array_equal(a, b)
    turned = (before["reference_deg"] + 90 * turns) % 360
    np.testing.assert_allclose(
        angle_between(after["reference_deg"], turned), 0, atol=1e-6
    )


@few
@given(st.integers(0, 999), st.integers(0, 3))
def test_a_flip_mirrors_the_bins(seed, turns):
    before, after = moved(seed, turns, flip=True)
    pd.testing.assert_frame_equal(after[SAME], before[SAME])
    for name in ("area_bins", "spot_bins"):
        for a, b in zip(before[name], after[name], strict=True):
            # A pixel just on the edge of two bins goes to the other one when flipped.
            crossed = np.abs(np.cumsum(a[::-1] - b))
            assert crossed[-1] == 0
            assert crossed.max() <= 3
            assert np.count_nonzero(crossed) <= 2
    np.testing.assert_allclose(
        before["resultant_length"], after["resultant_length"], atol=1e-9
    )


def angle_between(a, b):
    return np.nan_to_num((np.asarray(a) - np.asarray(b) + 180) % 360 - 180)


def test_spots_on_one_side_point_there():
    cells, nuclei = np.ones((2, 41, 41), int)
    nuclei[:] = 0
    nuclei[18:23, 18:23] = 1
    right = [(20.2, x) for x in np.linspace(26, 40, 12)]
    table = measure(cells, nuclei, right, Reference(line=((20.0, 500.0),)))
    row = table.iloc[0]
    assert (row["nucleus_y"], row["nucleus_x"]) == (20, 20)
    assert row["reference_deg"] == 0
    assert row["resultant_length"] > 0.99
    assert abs(angle_between(row["resultant_deg"], 0)) < 2
    assert sector_sums(row["spot_bins"], 3).tolist() == [12, 0, 0]
    away = measure(cells, nuclei, right, Reference(angle_deg=180.0)).iloc[0]
    assert sector_sums(away["spot_bins"], 2).tolist() == [0, 12]
    assert away["resultant_deg"] == pytest.approx(row["resultant_deg"])


def test_areas_and_centroids_are_those_of_dask_image(here_and_now):
    cells, nuclei, points = scene(3)
    table = measure(cells, nuclei, points)
    image = da.ones(SHAPE, chunks=(10, 13))
    labels = da.from_array(cells, chunks=(10, 13))
    numbers = table["cell"].to_numpy()
    areas = ndmeasure.sum_labels(image, labels, numbers).compute()
    centres = ndmeasure.center_of_mass(image, labels, numbers).compute()
    np.testing.assert_array_equal(table["area"], areas)
    np.testing.assert_allclose(table[["cell_y", "cell_x"]], centres)


@pytest.mark.parametrize("with_nuclei", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), SHAPE])
def test_a_field_without_cells_has_an_empty_table(with_nuclei, shape):
    nothing = np.zeros(shape, np.uint8)
    table = measure(nothing, nothing if with_nuclei else None, [(0.0, 0.0)], WOUND)
    assert table.empty
    assert list(table.columns) == [column.name for column in CELLS]


def test_cells_without_spots_are_measured_too():
    cells, nuclei, _ = scene(1)
    table = measure(cells, nuclei, [], WOUND)
    assert len(table) == len(np.unique(cells)) - 1
    assert not table[["n_spots", "n_spots_nucleus", "n_spots_cytoplasm"]].any(axis=None)
    assert table[["resultant_length", "resultant_deg"]].isna().all(axis=None)
    assert sum(bins.sum() for bins in table["area_bins"]) > 0


def test_a_cell_that_is_all_nucleus_and_one_without_keep_their_rows():
    cells = np.array([[1, 1, 2, 2]] * 4)
    nuclei = np.where(cells == 1, 1, 0)
    spots = [(1.0, 0.0), (1.0, 3.0)]
    one, two = measure(cells, nuclei, spots, WOUND).itertuples()
    assert (one.area, one.nucleus_area, one.n_spots_nucleus) == (8, 8, 1)
    assert not one.area_bins.any()
    assert (two.nucleus_area, two.n_spots_cytoplasm) == (0, 1)
    assert math.isnan(two.nucleus_y)
    assert math.isnan(two.reference_deg)
    assert not two.spot_bins.any()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32, np.uint64, np.int64])
def test_every_dtype_of_labels_gives_the_same_cells(dtype):
    cells, nuclei, points = scene(2)
    expected = measure(cells, nuclei, points, WOUND)
    same_cells(
        measure(cells.astype(dtype), nuclei.astype(dtype), points, WOUND), expected
    )


def test_a_mask_of_truth_values_is_one_cell():
    cells, _, points = scene(2)
    got = measure(cells > 0, None, points)
    same_cells(got, measure((cells > 0).astype(np.uint8), None, points))
    assert got["cell"].tolist() == [1]


def test_labels_far_beyond_the_usual_are_kept():
    cells, nuclei, points = scene(2)
    far = np.where(cells > 0, cells.astype(np.int64) + (1 << 40), 0)
    expected = measure(cells, nuclei, points, WOUND)
    got = measure(far, nuclei, points, WOUND)
    got["cell"] -= 1 << 40
    same_cells(got, expected)


PLANES = [
    {"t": t, "channel": channel} for t in range(2) for channel in ("DAPI", "FISH")
]


def movie():
    """Labels of two time points and a table of two channels in each."""
    scenes = [scene(seed) for seed in (1, 2)]
    cells, nuclei = (
        xr.DataArray(np.stack([one[i] for one in scenes]), dims=("t", "y", "x"))
        for i in (0, 1)
    )
    parts = [
        spot_table(np.random.default_rng(i).uniform(0, 36, (30, 2)), **plane)
        for i, plane in enumerate(PLANES)
    ]
    return cells, nuclei, parts


def test_every_plane_is_measured_with_the_labels_of_its_time_point():
    cells, nuclei, parts = movie()
    spots = assign(pd.concat(parts, ignore_index=True), cells=cells, nuclei=nuclei)
    table = measure_polarity(spots, cells=cells, nuclei=nuclei, reference=WOUND)
    for part, plane in zip(parts, PLANES, strict=True):
        own = table[(table["t"] == plane["t"]) & (table["channel"] == plane["channel"])]
        labels = {"cells": cells[plane["t"]], "nuclei": nuclei[plane["t"]]}
        here = assign(part.assign(t=0), **labels)
        alone = measure_polarity(here, **labels, reference=WOUND)
        same_cells(own.reset_index(drop=True), alone.assign(t=own["t"].to_numpy()))


def test_planes_of_the_image_are_reported_even_without_spots():
    cells, nuclei, _ = movie()
    like = xr.DataArray(
        np.zeros((2, 2, *SHAPE), np.uint8),
        dims=("t", "c", "y", "x"),
        coords={"c": ["DAPI", "FISH"]},
        attrs={"address": "B/03/0", "pixel_size_um": (0.5, 0.5)},
    )
    table = measure_polarity(empty_table(SPOTS), cells=cells, nuclei=nuclei, like=like)
    expected = sum(len(np.unique(plane)) - 1 for plane in cells.to_numpy()) * 2
    assert len(table) == expected
    assert set(table["channel"]) == {"DAPI", "FISH"}
    assert set(table["row"]) == {"B"}
    np.testing.assert_allclose(table["area_um2"], table["area"] / 4)


@pytest.mark.parametrize("lazy", ["spots", "labels", "both"])
def test_lazy_inputs_give_the_same_cells_and_compute_nothing_before(
    lazy, forbid_computing, here_and_now
):
    cells, nuclei, parts = movie()
    labels = {"cells": cells, "nuclei": nuclei}
    spots = assign(pd.concat(parts, ignore_index=True), **labels)
    eager = measure_polarity(spots, **labels, reference=WOUND)
    if lazy in {"labels", "both"}:
        labels = {
            name: image.chunk(t=1, y=(30, 1, 6), x=11) for name, image in labels.items()
        }
    with forbid_computing:
        if lazy in {"spots", "both"}:
            spots = assign(lazy_table([delayed(p) for p in parts], SPOTS), **labels)
        table = measure_polarity(spots, **labels, reference=WOUND)
    same_cells(table.compute().reset_index(drop=True), eager)


def test_a_reference_is_one_thing():
    for wrong in ({}, {"angle_deg": 3.0, "line": ((0.0, 0.0),)}):
        with pytest.raises(SettingsError):
            Reference(**wrong)


def test_unfit_labels_are_named_errors():
    spots = spot_table([(1.0, 1.0)])
    with pytest.raises(FieldError, match="whole-number labels"):
        measure_polarity(spots, cells=as_labels(np.zeros((3, 5))))
    with pytest.raises(FieldError, match="cells have shape"):
        measure_polarity(
            spots,
            cells=as_labels(np.zeros((3, 5), int)),
            nuclei=as_labels(np.zeros((5, 3), int)),
        )


def two_fields():
    """Assigned spots of B/03/0 and of B/04/0, and the labels, which serve both."""
    cells, nuclei, points = scene(1)
    labels = {"cells": as_labels(cells), "nuclei": as_labels(nuclei)}
    both = [
        assign(spot_table(part, address=FieldAddress("B", column, "0")), **labels)
        for column, part in (("03", points[::2]), ("04", points[1::2]))
    ]
    return both, labels


def image_of(path, **more):
    return xr.DataArray(
        np.zeros(SHAPE), dims=("y", "x"), attrs={"address": path}, **more
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_spots_of_two_fields_are_an_error_or_those_of_the_named_one(lazy, here_and_now):
    both, labels = two_fields()
    spots = pd.concat(both)
    if lazy:
        spots = lazy_table([delayed(part) for part in both], SPOTS)
    with pytest.raises(FieldError, match=r"2 fields \(B/03/0, B/04/0\)"):
        measure_polarity(spots, **labels).compute()
    with pytest.raises(FieldError, match="2 fields"):
        measure_polarity(spots, **labels, like=image_of("")).compute()
    for own in both:
        path = FieldAddress(*own.iloc[0, :3]).path
        got = measure_polarity(spots, **labels, like=image_of(path))
        got = got.compute() if lazy else got
        same_cells(got.reset_index(drop=True), measure_polarity(own, **labels))
        assert got["n_spots"].sum() == (own["cell"] > 0).sum()
    none = measure_polarity(spots, **labels, like=image_of("C/05/0"))["n_spots"]
    assert (none.compute() if lazy else none).sum() == 0


def test_spots_or_an_image_without_a_name_are_of_the_others_field():
    both, labels = two_fields()
    named = measure_polarity(both[0], **labels)
    same_cells(measure_polarity(both[0], **labels, like=image_of("")), named)
    nameless = both[0].assign(row="", column="", field="")
    same_cells(measure_polarity(nameless, **labels, like=image_of("B/03/0")), named)


@pytest.mark.parametrize("other", [{"t": 1}, {"plane": -1}, {"channel": "FISH"}])
def test_spots_of_planes_that_the_image_lacks_are_an_error(other):
    both, labels = two_fields()
    spots = both[0].assign(**other)
    with pytest.raises(FieldError, match="spots are in no plane of like"):
        measure_polarity(spots, **labels, like=image_of("B/03/0"))


def test_spots_that_other_labels_were_given_to_are_an_error():
    (spots, _), labels = two_fields()
    unassigned = spots.assign(cell=0, nucleus=0)
    other = {**labels, "cells": labels["cells"][::-1, ::-1]}
    for table, given_labels in (
        (unassigned, labels),
        (spots, other),
        (spots, {"cells": labels["cells"]}),
    ):
        with pytest.raises(FieldError, match="assign the spots first, with the same"):
            measure_polarity(table, **given_labels)


def test_labels_of_another_shape_than_the_image_are_an_error():
    (spots, _), labels = two_fields()
    like = image_of("B/03/0").pad(y=(0, 3))
    with pytest.raises(FieldError, match=r"cells .*nuclei .*the image .*\(40, 45\)"):
        measure_polarity(spots, **labels, like=like)


def test_negative_labels_are_an_error_also_lazy(here_and_now):
    cells, _, points = scene(1)
    wrong = cells.astype(np.int16)
    wrong[-1, -1] = -7
    spots = assign(spot_table(points), cells=as_labels(cells))
    with pytest.raises(FieldError, match="cells go from -7"):
        measure_polarity(spots, cells=as_labels(wrong))
    lazy = measure_polarity(spots, cells=as_labels(wrong).chunk(y=9))
    with pytest.raises(FieldError, match="cells go from -7"):
        lazy.compute()
