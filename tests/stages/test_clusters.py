"""Clusters of spots and transcription sites, in planes and in stacks."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from deepspot_scale.blockwise.answers import PIXEL_UM, STEP
from deepspot_scale.blockwise.contract import Answers
from deepspot_scale.blockwise.spots import Spots
from deepspot_scale.pipeline import STAGES
from deepspot_scale.simulation.drawing import render_spots
from deepspot_scale.stages.clusters import CLUSTERED, Clustering
from deepspot_scale.tables import empty_table
from deepspot_scale.verbs.images import apply
from deepspot_scale.vocabulary import CLUSTERS, SPOTS, PlaneIdentity

PIXEL = (0.1, 0.1)
BY_NAME = {stage.name: stage for stage in STAGES}


def spots_at(places, **columns):
    axes = "zyx"[-places.shape[1] :]
    n = len(places)
    table = {
        **dict(zip(axes, places.T, strict=True)),
        "enhanced": np.ones(n, np.float32),
        "intensity": np.full(n, 100.0, np.float32),
        "snr": np.full(n, 9.0, np.float32),
        "area": np.full(n, 9, np.int32),
        "probability": np.full(n, np.nan, np.float32),
        "molecules": np.full(n, 1.0, np.float32),
        "site": np.zeros(n, bool),
        "cell": np.zeros(n, np.int64),
        "nucleus": np.zeros(n, np.int64),
        **columns,
    }
    return pd.DataFrame(table)


def find(spots, pixel=PIXEL, step=0.3, reach=0.35, least=4):
    (step_,) = Clustering(reach, least).work().steps
    known = Answers({PIXEL_UM.name: pixel, STEP.name: step})
    return step_.finalize(Spots(spots, 0), known)


def group(centre, n=6, spread=0.8, seed=0):
    rng = np.random.default_rng(seed)
    return np.array(centre) + rng.uniform(-spread, spread, (n, len(centre)))


def test_a_dense_group_is_one_cluster_with_its_centroid_and_molecules():
    places = np.concatenate([group([20.0, 30.0]), [[60.0, 60.0], [5.0, 90.0]]])
    found = find(spots_at(places))
    (row,) = found.clusters.to_dict("records")
    inside = places[:6]
    assert (row["cluster"], row["n_spots"], row["molecules"]) == (1, 6, 6.0)
    assert (row["y"], row["x"]) == pytest.approx(tuple(inside.mean(axis=0)))
    away = ((inside - inside.mean(axis=0)) ** 2).sum(axis=1)
    assert row["radius_um"] == pytest.approx(0.1 * np.sqrt(away.mean()))
    assert (found.spots["cluster"] > 0).sum() == 6
    assert found.n_unknown == 0


def test_the_depth_between_planes_counts_in_micrometres():
    places = np.array([[z, 20.0, 20.0] for z in (5.0, 6.0, 7.0, 8.0, 9.0)])
    assert len(find(spots_at(places), step=0.3, least=3).clusters) == 1
    assert find(spots_at(places), step=0.4, least=3).clusters.empty
    assert find(spots_at(places), step=0.3, least=4).clusters.empty


def test_a_site_in_a_plane_is_a_cluster_by_itself():
    places = np.array([[20.0, 20.0], [60.0, 60.0]])
    molecules = np.array([5.3, 1.0], np.float32)
    site = np.array([True, False])
    found = find(spots_at(places, molecules=molecules, site=site))
    (row,) = found.clusters.to_dict("records")
    assert (row["n_spots"], row["molecules"]) == (1, pytest.approx(5.3, abs=1e-6))
    assert found.spots["cluster"].tolist() == [1, 0]


def test_a_transcription_site_lies_in_a_nucleus_with_most_of_its_spots():
    places = np.concatenate([group([20.0, 20.0]), group([60.0, 60.0], seed=1)])
    nucleus = np.array([3] * 4 + [0] * 2 + [0] * 3 + [5] * 3)
    cell = np.array([3] * 6 + [5] * 6)
    found = find(spots_at(places, cell=cell, nucleus=nucleus)).clusters
    assert found["transcription_site"].tolist() == [True, False]
    assert found["nucleus"].tolist() == [3, 0]
    assert found["cell"].tolist() == [3, 5]


@pytest.mark.parametrize(
    ("axes", "pixel", "step", "known"),
    [(2, None, 0.3, False), (3, PIXEL, None, False), (2, PIXEL, None, True)],
)
def test_without_micrometres_there_are_no_clusters_and_spots_are_counted(
    axes, pixel, step, known
):
    found = find(spots_at(group([20.0] * axes)), pixel, step)
    assert found.n_unknown == (0 if known else 6)
    assert len(found.clusters) == (1 if known else 0)


def test_tables_have_their_declared_columns():
    work = Clustering(0.35, 4).work()
    tables = {each.name: each for each in work.gives if hasattr(each, "columns")}
    plane = PlaneIdentity(pixel_size_um=PIXEL, z_step_um=0.3)
    for places in (group([9.0, 20.0, 30.0]), np.zeros((0, 3)), group([20.0, 30.0])):
        found = Answers({CLUSTERED.name: find(spots_at(places))})
        for name, columns in (("spots", SPOTS), ("clusters", CLUSTERS)):
            table = tables[name].make(found, plane)
            pd.testing.assert_series_equal(table.dtypes, empty_table(columns).dtypes)
    assert find(spots_at(group([9.0, 20.0, 30.0]))).clusters["z"].notna().all()


def test_a_stage_of_a_pipeline_finds_the_planted_site_whatever_the_blocks():
    rng = np.random.default_rng(4)
    singles = rng.uniform(10, 246, (30, 2)) * [1, 1.8]
    site = np.array([[128.0, 231.5]])
    singles = singles[np.abs(singles - site).max(axis=1) > 12]
    points = np.concatenate([singles, site])
    heights = np.append(np.full(len(singles), 300.0), 2400.0)
    light = 100 + render_spots((256, 480), points, heights, np.full(len(points), 1.4))
    image = xr.DataArray(
        rng.poisson(light).astype(np.uint16),
        dims=("y", "x"),
        attrs={"pixel_size_um": PIXEL},
    )
    names = ("enhance", "detect", "assign", "clusters")
    stages = {BY_NAME[name]: BY_NAME[name].options() for name in names}
    whole = apply(stages, image)
    cut = apply(stages, image, block=232)
    for name in ("spots", "clusters"):
        pd.testing.assert_frame_equal(whole[name], cut[name], check_exact=True)
    (row,) = whole["clusters"].to_dict("records")
    assert np.hypot(row["y"] - 128, row["x"] - 231.5) < 0.5
    assert row["molecules"] > 4
