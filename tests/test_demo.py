import numpy as np
import pandas as pd
import pytest

from deepspot_scale.demo import (
    CONDITIONS,
    planted_polarity,
    score_spots,
    simulate_plate,
)
from deepspot_scale.errors import PlateError
from deepspot_scale.io.plate import open_plate
from deepspot_scale.simulation.wound_assay import (
    draw_scene,
    photograph,
    plant_spots,
    true_cells,
)
from deepspot_scale.statistics.sector_index import SectorIndex

ADDRESS = ["row", "column", "field"]
QUICK = SectorIndex(n_boot=50, n_null=100)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return simulate_plate(tmp_path_factory.mktemp("demo") / "plate.zarr")


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(0)
    scene = draw_scene(rng)
    spots = plant_spots(rng, scene, 2.0)
    return scene, spots, photograph(rng, scene, spots)


def test_the_plate_has_six_wells_of_two_fields_with_masks(truth):
    plate = open_plate(truth.plate)
    wells = {entry.address.well for entry in plate.entries}
    assert wells == {"B02", "B03", "B04", "C02", "C03", "C04"}
    assert len(plate.entries) == 12
    opened = plate.open("C/03/1")
    assert opened.channels == ("DAPI", "FISH")
    assert opened.shape == (2, 1024, 1024)
    assert opened.dtype == np.uint16
    assert opened.pixel_size_um == pytest.approx((0.108, 0.108))
    assert set(opened.label_names) == {"cells", "nuclei"}


def test_every_planted_spot_lies_in_the_cell_that_the_truth_names(truth):
    plate = open_plate(truth.plate)
    for key, spots in truth.spots.groupby(ADDRESS):
        opened = plate.open("/".join(key))
        rows, columns = np.round(spots[["y", "x"]].to_numpy()).astype(int).T
        cell = opened.read_labels("cells")[rows, columns]
        nucleus = opened.read_labels("nuclei")[rows, columns]
        np.testing.assert_array_equal(cell, spots["cell"])
        np.testing.assert_array_equal((cell > 0) & (nucleus == 0), spots.in_cytoplasm)


def test_the_truth_on_disk_is_the_truth_returned(truth):
    folder = truth.plate.parent
    stored = pd.read_parquet(folder / "truth.parquet")
    pd.testing.assert_frame_equal(stored, truth.spots)
    wells = pd.read_csv(truth.plate_map, dtype=str)
    assert dict(zip(wells["row"], wells["condition"], strict=True)) == CONDITIONS
    corners = pd.read_csv(truth.reference, dtype=dict.fromkeys(ADDRESS, str))
    assert corners.groupby(ADDRESS).size().tolist() == [9] * 12


def test_planted_spots_point_to_the_wound_in_migrating_cells_only(truth):
    polarity = planted_polarity(truth, QUICK).set_index("condition")
    assert polarity.loc["migrating", "polarity_corrected"] > 0.7
    assert polarity.loc["migrating", "p_value"] < 0.02
    assert abs(polarity.loc["control", "polarity_corrected"]) < 0.4
    assert polarity["n_cells_used"].min() > 70


def test_the_planted_spots_themselves_score_one(truth):
    found = truth.spots.assign(channel="FISH")
    assert score_spots(found, truth).f1 == 1
    assert score_spots(found.assign(channel="DAPI"), truth).n_found == 0
    half = score_spots(found.iloc[::2], truth)
    assert half.recall == pytest.approx(0.5, abs=0.01)
    assert half.precision == 1


def test_spots_of_another_field_do_not_match(truth):
    found = truth.spots.assign(channel="FISH")
    swapped = found.assign(row=found["row"].map({"B": "C", "C": "B"}))
    assert score_spots(swapped, truth).f1 < 0.3


def test_an_existing_plate_is_not_overwritten(truth):
    with pytest.raises(PlateError):
        simulate_plate(truth.plate)


def test_the_same_seed_gives_the_same_field(field):
    rng = np.random.default_rng(0)
    scene = draw_scene(rng)
    spots = plant_spots(rng, scene, 2.0)
    np.testing.assert_array_equal(photograph(rng, scene, spots), field[2])


@pytest.mark.parametrize("seed", range(4))
def test_every_cell_has_a_nucleus_and_keeps_out_of_the_wound(seed):
    scene = draw_scene(np.random.default_rng(seed))
    n = len(scene.centres)
    assert 10 <= n <= 26
    np.testing.assert_array_equal(np.unique(scene.nuclei), np.arange(n + 1))
    inside = scene.nuclei > 0
    np.testing.assert_array_equal(scene.nuclei[inside], scene.cells[inside])
    corners = np.clip(np.round(scene.wound), 0, 1023).astype(int)
    assert (scene.cells[corners[:, 0], corners[:, 1]] == 0).all()


def test_true_cells_count_every_planted_spot_once(field):
    scene, spots, _ = field
    cells = true_cells(scene, spots)
    assert cells["n_spots"].sum() == (spots["cell"] > 0).sum()
    bins = np.stack(list(cells["spot_bins"]))
    np.testing.assert_array_equal(bins.sum(axis=1), cells["n_spots_cytoplasm"])
    areas = np.stack(list(cells["area_bins"])).sum(axis=1)
    nuclei = np.bincount(scene.nuclei.ravel())[1:]
    np.testing.assert_array_equal(areas + nuclei, cells["area"])


def test_planted_spots_are_brighter_than_what_is_around_them(field):
    _, spots, image = field
    inner = spots[spots["y"].between(8, 1015) & spots["x"].between(8, 1015)]
    rows, columns = np.round(inner[["y", "x"]].to_numpy()).astype(int).T
    fish = image[1].astype(float)
    around = np.mean([fish[rows + a, columns + b] for a, b in ((7, 0), (-7, 0))], 0)
    assert np.mean(fish[rows, columns] > around) > 0.97
