"""Cells in volumes: every number is that of a loop, whatever the blocks."""

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.blockwise import geometry
from deepspot_scale.blockwise.answers import LABEL_HEIGHT, PIXEL, REFERENCE
from deepspot_scale.blockwise.contract import Answers, Key, Step, Work
from deepspot_scale.blockwise.geometry import plan_blocks
from deepspot_scale.blockwise.graphs import defer_rounds
from deepspot_scale.blockwise.identity import identify
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.blockwise.spots import ASSIGNED, Spots
from deepspot_scale.errors import FieldError
from deepspot_scale.kernels.pixel_shape import pixel_shape, voxel_height
from deepspot_scale.kernels.references import Reference
from deepspot_scale.stages.polarity.measure import PolarityMeasure
from deepspot_scale.verbs.cells import assign, measure_polarity
from deepspot_scale.vocabulary import PROJECTED, SPOTS, VOLUMES, PlaneIdentity

few = settings(max_examples=12, deadline=None)
SHAPE = (9, 22, 26)
SIZES = st.sampled_from([(0.3, 0.1, 0.1), (0.05, 0.1, 0.1), (0.25, 0.2, 0.1)])
GIVEN_SPOTS = Key("given_spots")
CORNER = Reference(line=((-3.0, -4.0),))


def scene(seed, shape=SHAPE):
    """Cells in a Voronoi pattern with gaps, their nuclei, and spots everywhere."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, shape, (5, 3))
    grid = np.stack(np.mgrid[tuple(slice(n) for n in shape)], -1)
    away = np.sqrt((((grid[..., None, :] - centres) * (2, 1, 1)) ** 2).sum(-1))
    cells = away.argmin(-1) * 3 + 1
    cells[away.min(-1) > 11] = 0
    nuclei = np.where(away.min(-1) < rng.uniform(2, 6), cells, 0)
    nuclei[cells == 4] = 0  # one cell has no nucleus
    n = int(rng.integers(0, 150))
    points = rng.uniform(-0.4, np.array(shape) - 0.6, (n, 3))
    return cells.astype(np.uint16), nuclei.astype(np.int32), points


def as_labels(stack, size=None):
    dims = "zyx"[-stack.ndim :]
    if size is None:
        return xr.DataArray(stack, dims=tuple(dims))
    coords = {
        axis: (axis, np.arange(n) * step, {"units": "um"})
        for axis, n, step in zip(dims, stack.shape, size[-stack.ndim :], strict=True)
    }
    return xr.DataArray(stack, dims=tuple(dims), coords=coords)


def identity(size=None, plane=PROJECTED):
    known = {} if size is None else {"pixel_size_um": size[1:], "z_step_um": size[0]}
    return PlaneIdentity(z=plane, **known)


def spot_table(points, size=None, plane=PROJECTED):
    """Spots of a stack; of a single plane, points are (y, x)."""
    points = np.asarray(points, float)
    axes = "zyx" if plane == PROJECTED else "yx"
    columns = dict(zip(axes, points.reshape(-1, len(axes)).T, strict=True))
    zero = np.zeros(len(columns["y"]))
    columns |= {"cell": zero, "nucleus": zero, "cluster": zero, "area": zero + 1}
    columns |= dict.fromkeys(("enhanced", "intensity", "snr"), zero)
    columns |= {"probability": zero, "molecules": zero, "site": zero > 0}
    return identify(pd.DataFrame(columns), identity(size, plane), SPOTS)


def measure(cells, nuclei, points, size=None, **options):
    labels = {"cells": as_labels(cells, size)}
    if nuclei is not None:
        labels["nuclei"] = as_labels(nuclei, size)
    spots = assign(spot_table(points, size), **labels)
    return measure_polarity(spots, **labels, **options)


def same_cells(got, expected):
    bins = ["area_bins", "spot_bins"]
    pd.testing.assert_frame_equal(
        got.drop(columns=bins), expected.drop(columns=bins), check_exact=True
    )
    for name in bins:
        np.testing.assert_array_equal(
            np.stack(got[name]) if len(got) else [],
            np.stack(expected[name]) if len(expected) else [],
        )


def slow_faces(number, cells, size):
    """Areas of the faces of one cell, voxel by voxel: all, and with other cells."""
    areas = {0: size[1] * size[2], 1: size[0] * size[2], 2: size[0] * size[1]}
    total = contact = 0.0
    for place in np.argwhere(cells == number).tolist():
        for axis, area in areas.items():
            for way in (-1, 1):
                other = list(place)
                other[axis] += way
                if not 0 <= other[axis] < cells.shape[axis]:
                    continue  # what is beyond the field is not known
                label = cells[tuple(other)]
                total += area * (label != number)
                contact += area * (label not in (0, number))
    return total, contact


def slow_distance(places, targets, sides):
    if len(places) == 0 or len(targets) == 0:
        return math.nan
    away = (np.asarray(places)[:, None] - targets) * sides
    return np.sqrt((away**2).sum(axis=2)).min(axis=1).mean()


def slow_bins(places, centre, sides, zero):
    """Places (y, x) by degree about a centre, counter-clockwise from `zero`."""
    dy, dx = ((np.asarray(places) - centre) * sides).T
    angle = np.round((np.degrees(np.arctan2(-dy, dx)) - zero) % 360, 9) % 360
    return np.bincount(np.floor(angle).astype(int), minlength=360).tolist()


def slow_cell(number, cells, nuclei, points, size):
    """All numbers of one cell, by loops over its voxels and spots."""
    inside = np.argwhere(cells == number)
    nucleus = np.argwhere((cells == number) & (nuclei > 0))
    outer = np.argwhere((cells == number) & (nuclei == 0))
    voxels = np.clip(np.floor(points + 0.5), 0, np.array(cells.shape) - 1).astype(int)
    own = cells[tuple(voxels.T)] == number
    out = own & (nuclei[tuple(voxels.T)] == 0)
    side = math.sqrt(size[1] * size[2])
    sides, volume = np.array(size) / side, math.prod(size)
    others = np.argwhere(cells != number)
    surface, contact = slow_faces(number, cells, size)
    centre = nucleus.mean(axis=0) if len(nucleus) else np.full(3, math.nan)
    areas = spots = [0] * 360
    zero = math.nan
    if len(nucleus):
        to = (np.array([-3.0, -4.0]) - centre[1:]) * sides[1:]
        zero = math.degrees(math.atan2(-to[0], to[1])) % 360
        areas = slow_bins(outer[:, 1:], centre[1:], sides[1:], zero)
        spots = slow_bins(points[out][:, 1:], centre[1:], sides[1:], zero)
    edges = np.array(cells.shape) - 1
    at_edge = ((inside == 0) | (inside == edges)).any(axis=0)
    return {
        "area": len(inside),
        "nucleus_area": len(nucleus),
        "area_um2": math.nan,
        **dict(zip(("cell_z", "cell_y", "cell_x"), inside.mean(axis=0), strict=True)),
        **dict(zip(("nucleus_z", "nucleus_y", "nucleus_x"), centre, strict=True)),
        "touches_border": bool(at_edge[1:].any()),
        "touches_ends": bool(at_edge[0]),
        "volume_um3": len(inside) * volume,
        "nucleus_volume_um3": len(nucleus) * volume,
        "surface_um2": surface,
        "contact_um2": contact,
        "n_spots": own.sum(),
        "n_spots_nucleus": (own & ~out).sum(),
        "n_spots_cytoplasm": out.sum(),
        "reference_deg": zero,
        "edge_distance": slow_distance(voxels[out], others, sides),
        "edge_distance_um": slow_distance(voxels[out], others, sides) * side,
        "edge_distance_uniform": slow_distance(outer, others, sides),
        "nucleus_distance": slow_distance(voxels[out], nucleus, sides),
        "nucleus_distance_um": slow_distance(voxels[out], nucleus, sides) * side,
        "nucleus_distance_uniform": slow_distance(outer, nucleus, sides),
        "area_bins": areas,
        "spot_bins": spots,
    }


@few
@given(st.integers(0, 999), SIZES)
def test_every_number_is_that_of_a_loop_over_voxels(seed, size):
    cells, nuclei, points = scene(seed)
    table = measure(cells, nuclei, points, size, reference=CORNER)
    assert table["cell"].tolist() == [n for n in np.unique(cells).tolist() if n]
    assert (table["z"] == PROJECTED).all()
    for row in table.to_dict("records"):
        slow = slow_cell(row["cell"], cells, nuclei, points, size)
        for name, expected in slow.items():
            if name.endswith("bins"):
                assert list(row[name]) == expected, name
            else:  # distances count in 1/64 pixel
                near = pytest.approx(expected, rel=1e-6, abs=0.01, nan_ok=True)
                assert row[name] == near, name


def _own(here, agreed):
    """Only the spots in the block's core, as a block's detector would give them."""
    spots = agreed[GIVEN_SPOTS]
    kept = np.ones(len(spots), bool)
    for axis, span, n in zip("zyx", here.block.core.spans, here.shape, strict=True):
        pixel = np.clip(np.floor(spots[axis] + 0.5), 0, n - 1)
        kept &= (span.start <= pixel) & (pixel < span.stop)
    return Spots(spots[kept], 0)


def in_blocks(scene, block, planes, size, lazy=False, name="cells"):
    """Measure block by block; what crosses seams is merged."""
    cells, nuclei, points = scene
    spots = assign(spot_table(points), cells=as_labels(cells), nuclei=as_labels(nuclei))
    labels = {"cells": cells, "nuclei": nuclei}
    given = Work((Step(ASSIGNED, _own, agreed=(GIVEN_SPOTS,)),), axes="zyx")
    pipeline = plan_pipeline(
        {"given": given, "polarity": PolarityMeasure().work(labels)},
        images=(),
        labels=tuple(labels),
        given=(GIVEN_SPOTS, REFERENCE, PIXEL, LABEL_HEIGHT),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(geometry, "MOST_PLANES", planes)
        blocks = plan_blocks(SHAPE, block=block, axes="zyx")
    read, known = read_whole(labels), Answers({"given_spots": spots})
    known[REFERENCE], known[PIXEL] = CORNER, pixel_shape(size[1:])
    known[LABEL_HEIGHT] = voxel_height(size[1:], size[0])
    if lazy:
        answers, _ = defer_rounds(pipeline, blocks, lambda _: read, known)
        answers = answers.compute(scheduler="synchronous")
    else:
        answers = reduce_rounds(pipeline, blocks, read, known)
    table = {each.name: each for each in pipeline.tables}[name]
    return table.make(answers, identity(size))


@few
@given(st.integers(0, 999), st.integers(5, 30), st.integers(1, 9), SIZES, st.booleans())
def test_a_cell_that_crosses_blocks_along_any_axis_gives_the_numbers_of_one(
    seed, block, planes, size, lazy
):
    own = scene(seed)
    expected = measure(*own, size, reference=CORNER)
    same_cells(in_blocks(own, block, planes, size, lazy), expected)


@few
@given(st.integers(0, 999), st.integers(5, 20), st.integers(1, 4), SIZES)
def test_distances_are_the_same_when_cells_are_larger_than_their_reach(
    seed, block, planes, size
):
    with pytest.MonkeyPatch.context() as patch:
        stage = "deepspot_scale.stages.polarity"
        for module in ("cell_voxels", "measure"):
            patch.setattr(f"{stage}.{module}.REACH", 4)
            patch.setattr(f"{stage}.{module}.SLACK", 1)
        patch.setattr("deepspot_scale.kernels.distances.REACH", 4)
        own = scene(seed)
        expected = measure(*own, size, reference=CORNER)
        same_cells(in_blocks(own, block, planes, size), expected)


def ball(radius_um, size, shape):
    """A ball in the middle of a stack."""
    grid = np.stack(np.mgrid[tuple(slice(n) for n in shape)], -1)
    away = (grid - (np.array(shape) - 1) / 2) * size
    return np.sqrt((away**2).sum(-1)) <= radius_um


def test_a_ball_has_its_volume_and_half_as_much_again_as_its_surface():
    size = (0.2, 0.1, 0.1)
    cells = ball(4, size, (45, 90, 90)).astype(np.uint8)
    (row,) = measure(cells, None, [], size).to_dict("records")
    assert row["volume_um3"] == pytest.approx(4 / 3 * math.pi * 4**3, rel=0.01)
    assert row["surface_um2"] == pytest.approx(1.5 * 4 * math.pi * 4**2, rel=0.02)
    assert row["contact_um2"] == 0
    assert row["nucleus_volume_um3"] == 0
    assert (row["cell_z"], row["cell_y"]) == (22, 44.5)
    # The mean distance of a ball's points from its surface is a quarter of its radius.
    edge_um = row["edge_distance_uniform"] * 0.1
    assert edge_um == pytest.approx(1, abs=0.1)
    assert not row["touches_ends"]


def test_a_box_has_its_exact_volume_surface_and_contact():
    size = (0.5, 0.2, 0.1)
    cells = np.zeros((8, 12, 16), np.uint8)
    cells[2:5, 3:7, 2:10], cells[2:5, 3:7, 10:14] = 4, 9  # 3 x 4 x 8, and 3 x 4 x 4
    cells[5:7, 3:5, 2:5] = 9  # and 2 x 2 x 3 above the first
    first, second = measure(cells, None, [], size).to_dict("records")
    z, y, x = (3 * 0.5, 4 * 0.2, 8 * 0.1)
    assert first["volume_um3"] == pytest.approx(z * y * x)
    assert first["surface_um2"] == pytest.approx(2 * (z * y + z * x + y * x))
    contact = pytest.approx(z * y + 2 * 0.2 * 3 * 0.1)
    assert first["contact_um2"] == second["contact_um2"] == contact
    assert first["cell_z"] == 3
    assert math.isnan(first["area_um2"])


def test_a_spot_above_the_nucleus_is_in_the_cytoplasm():
    cells, nuclei = np.ones((11, 20, 20), np.uint8), np.zeros((11, 20, 20), np.uint8)
    nuclei[3:8, 5:15, 5:15] = 1
    size = (0.3, 0.1, 0.1)
    points = [[9, 10, 10], [5, 10, 10], [1.2, 8, 12]]
    (row,) = measure(cells, nuclei, points, size).to_dict("records")
    assert (row["n_spots_cytoplasm"], row["n_spots_nucleus"]) == (2, 1)
    # Both are two planes away from it, .6 micrometres.
    assert row["nucleus_distance_um"] == pytest.approx(0.6, abs=1e-3)
    assert row["nucleus_distance"] == pytest.approx(6, abs=1 / 64)
    flat = measure(cells[0], nuclei[5], points, size)
    assert flat["n_spots_nucleus"].tolist() == [3]


def test_spots_on_one_side_of_a_ball_point_there_whatever_their_depth():
    size = (0.2, 0.1, 0.1)
    shape = (31, 60, 60)
    cells = ball(2.8, size, shape).astype(np.uint8)
    nuclei = ball(1.2, size, shape).astype(np.uint8)
    rng = np.random.default_rng(1)
    places = np.argwhere((cells > 0) & (nuclei == 0))
    right = places[(places[:, 2] > 34) & (abs(places[:, 1] - 29.5) < 8)]
    points = right[rng.choice(len(right), 50)]
    assert np.ptp(points[:, 0]) > 10
    toward = Reference(angle_deg=0)
    (row,) = measure(cells, nuclei, points, size, reference=toward).to_dict("records")
    assert row["resultant_length"] > 0.8
    assert abs((row["resultant_deg"] + 180) % 360 - 180) < 15
    assert row["polarization_index"] > 0.5
    bins = np.array(row["spot_bins"])
    assert bins[:90].sum() + bins[-90:].sum() == 50
    assert sum(row["area_bins"]) == row["area"] - row["nucleus_area"]
    (even,) = measure(cells, nuclei, places[::7], size).to_dict("records")
    assert even["dispersion_index"] == pytest.approx(1, abs=0.1)
    assert even["peripheral_index"] == pytest.approx(1.1, abs=0.1)


def test_a_margin_about_the_nucleus_goes_along_z():
    cells, nuclei = np.ones((11, 20, 20), np.uint8), np.zeros((11, 20, 20), np.uint8)
    nuclei[4:7, 8:12, 8:12] = 1
    points, size = [[8, 9, 9], [10, 9, 9]], (0.3, 0.1, 0.1)
    (row,) = measure(cells, nuclei, points, size, nucleus_margin=7).to_dict("records")
    assert sum(row["spot_bins"]) == 1  # one is 6 pixels away, the other 12
    assert row["n_spots_cytoplasm"] == 2
    near = np.argwhere(cells - nuclei)
    away = [slow_distance([p], np.argwhere(nuclei), (3, 1, 1)) for p in near]
    assert sum(row["area_bins"]) == (np.array(away) > 7).sum()


def test_without_the_distance_of_planes_no_distance_is_guessed():
    cells, nuclei, points = scene(3)
    known = measure(cells, nuclei, points, (0.3, 0.1, 0.1))
    table = measure(cells, nuclei, points)
    unknown = [c for c in table if "distance" in c or c.endswith(("um2", "um3"))]
    assert len(unknown) == 11
    assert table[unknown].isna().all(axis=None)
    same = ["area", "n_spots_cytoplasm", "cell_z", "nucleus_z", "touches_ends"]
    pd.testing.assert_frame_equal(table[same], known[same])
    with pytest.raises(FieldError, match="how far its planes are apart"):
        measure(cells, nuclei, points, nucleus_margin=2)


def test_flat_cells_have_no_volume():
    cells, nuclei, points = scene(3)
    table = measure(cells[4], nuclei[4], points, (0.3, 0.1, 0.1))
    assert not table["touches_ends"].any()
    assert table[list(VOLUMES[1:])].isna().all(axis=None)
    np.testing.assert_allclose(table["area_um2"], table["area"] * 0.01)


def test_equal_planes_of_a_stack_are_a_volume_with_the_distances_of_one():
    cells, nuclei, points = scene(5)
    size = (0.3, 0.1, 0.1)
    flat = measure(cells[4], nuclei[4], points, size)
    stack = [np.repeat(each[4:5], len(cells), axis=0) for each in (cells, nuclei)]
    deep = measure(*stack, points, size)
    assert (deep["area"] == flat["area"] * len(cells)).all()
    assert (deep["cell_z"] == (len(cells) - 1) / 2).all()
    same = [c for c in flat if "distance" in c or "index" in c or "spots" in c]
    pd.testing.assert_frame_equal(deep[same], flat[same])
    bins = np.stack(deep["area_bins"]), np.stack(flat["area_bins"])
    np.testing.assert_array_equal(bins[0], bins[1] * len(cells))
    one = measure(cells[4:5], nuclei[4:5], points, size)
    same_cells(one, flat)  # labels of one plane are flat


def test_flat_nuclei_go_with_each_plane_of_cells_in_a_volume():
    cells, nuclei, points = scene(6)
    size = (0.3, 0.1, 0.1)
    stack = np.repeat(nuclei[4:5], len(cells), axis=0)
    same_cells(
        measure(cells, nuclei[4], points, size), measure(cells, stack, points, size)
    )


def test_spots_of_single_planes_are_measured_in_their_plane_of_the_volume():
    cells, nuclei, points = scene(7)
    own = [points[np.rint(points[:, 0]) == z][:, 1:] for z in (3, 5)]
    labels = {"cells": as_labels(cells), "nuclei": as_labels(nuclei)}
    spots = [spot_table(p, plane=z) for p, z in zip(own, (3, 5), strict=True)]
    both = assign(pd.concat(spots), **labels)
    table = measure_polarity(both, **labels)
    for z, alone in zip((3, 5), spots, strict=True):
        flat = {"cells": as_labels(cells[z]), "nuclei": as_labels(nuclei[z])}
        expected = measure_polarity(assign(alone, **flat), **flat)
        same_cells(table[table["z"] == z].reset_index(drop=True), expected)


def test_spots_of_projected_planes_have_no_depth_in_label_volumes():
    cells, _, points = scene(7)
    spots = spot_table(np.column_stack([np.full(len(points), -1.0), points[:, 1:]]))
    with pytest.raises(FieldError, match="have no depth"):
        assign(spots, cells=as_labels(cells))
    with pytest.raises(FieldError, match="have no depth"):
        measure_polarity(spots, cells=as_labels(cells))
    assigned = assign(spots, cells=as_labels(cells[4]))
    assert (assigned["cell"] > 0).any()


@pytest.mark.parametrize("lazy", ["spots", "labels"])
def test_lazy_inputs_give_the_same_cells(lazy, here_and_now):
    own, size = scene(8), (0.3, 0.1, 0.1)
    expected = measure(*own, size)
    labels = dict(zip(("cells", "nuclei"), own[:2], strict=True))
    labels = {name: as_labels(stack, size) for name, stack in labels.items()}
    spots = spot_table(own[2], size)
    if lazy == "labels":
        labels = {name: image.chunk(z=4, y=9) for name, image in labels.items()}
    else:
        import dask.dataframe as dd

        spots = dd.from_pandas(spots, npartitions=2)
    table = measure_polarity(assign(spots, **labels), **labels).compute()
    same_cells(table.reset_index(drop=True), expected)


def test_a_stack_that_the_spots_come_from_tells_the_sizes():
    cells, nuclei, points = scene(9)
    size = (0.3, 0.1, 0.1)
    expected = measure(cells, nuclei, points, size)
    labels = {"cells": as_labels(cells), "nuclei": as_labels(nuclei)}
    like = as_labels(np.zeros(SHAPE, np.uint16), size)
    spots = assign(spot_table(points), **labels)
    same_cells(measure_polarity(spots, **labels, like=like), expected)
    none = measure_polarity(spots[:0], **labels, like=like)
    assert none["volume_um3"].tolist() == expected["volume_um3"].tolist()
    by_spots = measure_polarity(assign(spot_table(points, size), **labels), **labels)
    np.testing.assert_allclose(by_spots["volume_um3"], expected["volume_um3"])


def test_volumes_that_do_not_fit_are_named_errors():
    cells, nuclei, points = scene(9)
    size, spots = (0.3, 0.1, 0.1), spot_table(points)
    with pytest.raises(FieldError, match=r"grid, along \(z\): cells have shape \(9,\)"):
        assign(spots, cells=as_labels(cells), nuclei=as_labels(nuclei[:5]))
    with pytest.raises(FieldError, match="other coordinates along z"):
        assign(
            spots,
            cells=as_labels(cells, size),
            nuclei=as_labels(nuclei, (0.2, 0.1, 0.1)),
        )
    with pytest.raises(FieldError, match="along z, spots are up to"):
        assign(spot_table(points, (0.4, 0.1, 0.1)), cells=as_labels(cells, size))
    plane = as_labels(np.zeros(SHAPE[1:], np.uint16))
    with pytest.raises(FieldError, match="the image has no z"):
        measure_polarity(spots, cells=as_labels(cells), like=plane)
    deep = spot_table([[40, 5, 5]])
    with pytest.raises(FieldError, match=r"at \(z, y, x\) = \(40.0, 5.0, 5.0\)"):
        assign(deep, cells=as_labels(cells))
