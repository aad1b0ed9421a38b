import numpy as np
import pandas as pd
import pytest

from deepspot_scale.evaluation.matching import nearest_distances
from deepspot_scale.simulation.wound_assay import draw_scene, plant_spots
from deepspot_scale.simulation.wound_stacks import (
    GLASS,
    PLANES,
    add_depth,
    cell_tops,
    photograph_stack,
)


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(5)
    scene = draw_scene(rng)
    spots = add_depth(rng, scene, plant_spots(rng, scene, 2.0))
    return scene, spots, photograph_stack(rng, scene, spots)


def test_every_spot_is_between_the_glass_and_the_top_of_its_cell(field):
    scene, spots, _ = field
    rows, columns = np.round(spots[["y", "x"]].to_numpy()).astype(int).T
    assert (spots["z"] >= GLASS).all()
    assert (spots["z"] <= cell_tops(scene)[rows, columns]).all()
    assert spots["z"].max() < PLANES - 2
    assert (spots.loc[spots["cell"] == 0, "z"] == GLASS).all()


def test_cells_are_thicker_in_the_middle_than_at_the_rim(field):
    scene, _, _ = field
    tops = cell_tops(scene)
    assert (tops[scene.cells == 0] == GLASS).all()
    inside = scene.cells > 0
    order = np.argsort(scene.depth[inside])
    assert (np.diff(tops[inside][order]) >= 0).all()


def test_a_spot_is_brightest_in_the_plane_where_it_was_planted(field):
    _, spots, image = field
    inner = spots[spots["y"].between(8, 1015) & spots["x"].between(8, 1015)]
    points = np.round(inner[["y", "x"]].to_numpy()).astype(int)
    alone = nearest_distances(points) > 9
    profiles = image[1][:, points[:, 0], points[:, 1]].astype(float)
    brightest = np.argmax(profiles, axis=0)[alone]
    off = np.abs(brightest - inner["z"].to_numpy()[alone])
    assert np.mean(off <= 1) > 0.97


def test_the_same_chance_gives_the_same_stack(field):
    rng = np.random.default_rng(5)
    scene = draw_scene(rng)
    spots = add_depth(rng, scene, plant_spots(rng, scene, 2.0))
    pd.testing.assert_frame_equal(spots, field[1])
    np.testing.assert_array_equal(photograph_stack(rng, scene, spots), field[2])
