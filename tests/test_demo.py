import re

import numpy as np
import pandas as pd
import pytest

from deepspot_scale import demo
from deepspot_scale.demo import (
    CONDITIONS,
    planted_polarity,
    run_demo,
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
def stacks(tmp_path_factory):
    """One well of each condition, since stacks take long to write."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "_COLUMNS", ("02",))
        return simulate_plate(tmp_path_factory.mktemp("stacks") / "p.zarr", volume=True)


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
    assert score_spots(found, truth).score.f1 == 1
    assert score_spots(found.assign(channel="DAPI"), truth).score.n_found == 0
    half, gaps = score_spots(found.iloc[::2], truth)
    assert gaps.shape == (half.n_matched, 2)
    assert half.recall == pytest.approx(0.5, abs=0.01)
    assert half.precision == 1


def test_spots_of_another_field_do_not_match(truth):
    found = truth.spots.assign(channel="FISH")
    swapped = found.assign(row=found["row"].map({"B": "C", "C": "B"}))
    assert score_spots(swapped, truth).score.f1 < 0.3


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


def test_the_plate_of_stacks_has_a_stack_in_each_well(stacks):
    plate = open_plate(stacks.plate)
    assert [entry.address.path for entry in plate.entries] == ["B/02/0", "C/02/0"]
    opened = plate.open("C/02/0")
    assert opened.shape == (2, 11, 1024, 1024)
    assert opened.image.spacing_um == pytest.approx({"z": 0.3, "y": 0.108, "x": 0.108})
    stored = pd.read_parquet(stacks.plate.parent / "truth.parquet")
    pd.testing.assert_frame_equal(stored, stacks.spots)
    assert list(stored.columns[3:6]) == ["z", "y", "x"]


def test_the_stacks_have_the_cells_and_places_of_a_flat_plate_of_that_seed(
    truth, stacks
):
    first = {"row": "B", "column": "02", "field": "0"}
    flat, deep = (
        each.spots[(each.spots[ADDRESS] == first).all(axis=1)]
        for each in (truth, stacks)
    )
    pd.testing.assert_frame_equal(deep.drop(columns="z"), flat)
    assert "z" not in truth.spots


def test_spots_of_stacks_match_in_depth_too(stacks):
    found = stacks.spots.assign(channel="FISH")
    higher, gaps = score_spots(found.assign(z=found["z"] + 1.5), stacks)
    assert higher.f1 == 1
    np.testing.assert_allclose(np.median(gaps, axis=0), [1.5, 0, 0])
    assert score_spots(found.assign(z=found["z"] + 6), stacks).score.f1 < 0.1


def test_the_demo_of_stacks_compares_depth_and_shows_it_in_its_report(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(demo, "_COLUMNS", ("02",))
    outcome = run_demo(tmp_path / "demo", volume=True)
    score, gaps = outcome.spots
    assert outcome.progress.failed == 0
    assert score.f1 > 0.96
    off = np.sqrt((gaps**2).mean(axis=0))
    assert off == pytest.approx([0.3, 0.2, 0.2], abs=0.1)
    assert "matched within 3 px and 2 planes" in outcome.lines[0]
    z, yx = re.findall(r"to (\d\.\d\d) (?:planes|px)", outcome.lines[1])
    assert float(z) == pytest.approx(off[0], abs=0.006)
    assert min(off[1:]) - 0.01 < float(yx) < max(off[1:]) + 0.01
    assert sum("polarity of" in line for line in outcome.lines) == 2
    page = outcome.report.read_text()
    assert '<figure id="depth">' in page
    assert "from the right" in page
