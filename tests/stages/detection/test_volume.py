"""Every spot of a stack once, whatever the blocks."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.blockwise import geometry
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.evaluation.matching import pair_one_to_one
from deepspot_scale.exports.formats import export_run
from deepspot_scale.exports.viewer import field_layers
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_plate,
    write_image,
    write_labels,
)
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import assemble, make_settings
from deepspot_scale.simulation.stacks import StackKind, simulate_stack
from deepspot_scale.stages.detection.volume import VolumeDetector
from deepspot_scale.vocabulary import FieldAddress

PLACE = ["z", "y", "x"]


def draw(seed: int = 0, **values: Any) -> tuple[xr.DataArray, np.ndarray]:
    truth = simulate_stack(StackKind(**values), seed)
    image = xr.DataArray(truth.image.astype(np.uint16), dims=("z", "y", "x"))
    return image, truth.points


def find(image: xr.DataArray, **values: Any) -> pd.DataFrame:
    enhanced = ds.enhance(image, volume=True, **values)
    spots = ds.detect(enhanced, raw=image, volume=True, **values)
    assert isinstance(spots, pd.DataFrame)
    return spots


def f1(spots: pd.DataFrame, points: np.ndarray) -> float:
    pairs = pair_one_to_one(spots[PLACE].to_numpy(), points, (2.0, 2.0, 2.0))
    return 2 * len(pairs) / (len(spots) + len(points))


@pytest.mark.parametrize(("peak", "least"), [(15.0, 0.97), (4.0, 0.94)])
def test_every_spot_is_found_once(peak: float, least: float) -> None:
    image, points = draw(shape=(20, 128, 128), spots=60, peak=peak)
    spots = find(image)
    assert f1(spots, points) >= least
    assert (spots["plane"] == -1).all()
    assert spots["z_um"].isna().all()


def test_the_depth_is_right_where_the_planes_are_fine_or_coarse() -> None:
    for planes in (0.7, 2.3):
        sigma = (planes, 1.45, 1.45)
        image, points = draw(shape=(24, 128, 128), spots=40, peak=20.0, sigma=sigma)
        spots = find(image)
        pairs = pair_one_to_one(spots[PLACE].to_numpy(), points, (2.0, 2.0, 2.0))
        assert len(pairs) >= 37
        error = spots["z"].to_numpy()[pairs[:, 0]] - points[pairs[:, 1], 0]
        assert np.median(np.abs(error)) < 0.1
        given = find(image, sigma_z=planes)
        assert abs(len(given) - len(spots)) <= 1


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    image, _ = draw(shape=(70, 230, 246), spots=600, peak=8.0)
    whole = find(image)
    wide = find(image, block=236)
    pd.testing.assert_frame_equal(wide, whole, check_exact=True)
    monkeypatch.setattr(geometry, "MOST_PLANES", 30)
    deep = find(image)
    pd.testing.assert_frame_equal(deep, whole, check_exact=True)


def test_a_lazy_stack_gives_the_same_table() -> None:
    image, _ = draw(shape=(12, 96, 96), spots=20)
    lazy = image.chunk({"z": 5, "y": 40})
    enhanced = ds.enhance(lazy, volume=True)
    assert enhanced.chunks is not None
    spots = ds.detect(enhanced, raw=lazy, volume=True).compute()
    pd.testing.assert_frame_equal(spots, find(image), check_exact=True)


def test_a_stack_of_noise_has_no_spots_and_a_plane_is_no_stack() -> None:
    image, _ = draw(shape=(12, 128, 128), spots=0)
    assert len(find(image)) <= 1
    with pytest.raises(FieldError, match="z-stack of 3 planes or more"):
        find(image.isel(z=slice(0, 2)))


def test_what_does_not_go_with_volumes_is_refused() -> None:
    image, _ = draw(shape=(5, 64, 64), spots=2)
    with pytest.raises(SettingsError, match="give them as raw"):
        ds.detect(image.astype("float32") / 1e4, volume=True)
    with pytest.raises(SettingsError, match="leave method"):
        ds.detect(image, raw=image, volume=True, method="raw")
    with pytest.raises(SettingsError, match="not found in volumes"):
        ds.detect(image, raw=image, volume=True, spot_sigma=8.0)
    with pytest.raises(SettingsError, match="floor"):
        VolumeDetector(floor=2.0)
    with pytest.raises(SettingsError, match="at most 4 planes, got 6"):
        ds.enhance(image, volume=True, sigma_z=6.0)


ADDRESS = FieldAddress("B", "02", "0")


@pytest.fixture
def plate(tmp_path: Path) -> tuple[str, np.ndarray]:
    """One stack of planes .3 um apart, with four flat cells."""
    truth = simulate_stack(StackKind((16, 128, 128), spots=60, peak=20.0), 5)
    target = tmp_path / "plate.zarr"
    create_plate(target, [ADDRESS])
    counts = truth.image.astype(np.uint16)[None]
    layout = ImageLayout(
        "czyx", counts.shape, np.uint16, ("FISH",), (0.1, 0.1), 64, z_step_um=0.3
    )
    write_image(target, ADDRESS, counts, layout)
    cells = np.kron([[1, 2], [3, 4]], np.ones((64, 64), int))
    cells[:, 60:68] = 0
    write_labels(target, ADDRESS, "cells", cells.astype(np.uint16))
    return str(target), truth.points


def test_a_run_on_stacks_has_depth_in_spots_and_flat_cells(
    plate: tuple[str, np.ndarray], tmp_path: Path
) -> None:
    source, points = plate
    settings = make_settings(channels=("FISH",), volume=True, cells="cells")
    out = str(tmp_path / "run")
    end = execute_run(prepare_run(source, out, settings))
    assert not end.failed
    results = open_results(out)
    spots, cells = results.read("spots"), results.read("cells")
    assert f1(spots, points) > 0.95
    np.testing.assert_allclose(spots["z_um"], spots["z"] * 0.3)
    column, row = (spots[axis].round().astype(int) for axis in "xy")
    there = np.where(column < 60, 1, np.where(column >= 68, 2, 0))
    there = there + np.where(there, 2 * (row >= 64), 0)
    assert (spots["cell"] == there).all()
    assert cells["n_spots"].sum() == (spots["cell"] > 0).sum()
    assert (cells["area"] == 64 * 60).all()
    assert (cells["z"] == -1).all()
    assert results.fields["n_z"].tolist() == [1]
    wells = results.summaries["wells"]
    assert wells["n_spots"].tolist() == [len(spots)]


def test_a_volume_is_shown_and_exported_with_its_depth(
    plate: tuple[str, np.ndarray], tmp_path: Path
) -> None:
    source, _ = plate
    settings = make_settings(
        channels=("FISH",), volume=True, cells="cells", keep_enhanced=True
    )
    out = str(tmp_path / "run")
    assert not execute_run(prepare_run(source, out, settings)).failed
    spots = open_results(out).read("spots")
    layers = {layer[1]["name"]: layer for layer in field_layers(out, "B/02/0")}
    assert layers["FISH"][0].shape == (16, 128, 128)
    assert layers["FISH, enhanced"][0].shape == (16, 128, 128)
    points = layers["FISH, spots"]
    np.testing.assert_array_equal(points[0], spots[PLACE])
    assert points[1]["scale"] == (0.3, 0.1, 0.1)
    export_run(out, "napari", tmp_path / "napari")
    (file,) = (tmp_path / "napari").rglob("spots_FISH.csv")
    table = pd.read_csv(file)
    np.testing.assert_allclose(table["axis-0"], spots["z_um"])
    np.testing.assert_allclose(table["axis-1"], spots["y_um"])
    (file,) = (tmp_path / "napari").rglob("cells_FISH.csv")
    assert "axis-2" not in pd.read_csv(file)


def test_a_volume_is_not_projected() -> None:
    with pytest.raises(SettingsError, match="a volume is not projected"):
        make_settings(channels=("0",), volume=True, project="none")
    with pytest.raises(SettingsError, match="works on planes"):
        assemble(make_settings(channels=("0",), volume=True, detector="raw"))
    with pytest.raises(SettingsError, match="on enhanced planes"):
        assemble(make_settings(channels=("0",), volume=True, enhance=False))


def test_labels_that_differ_from_plane_to_plane_are_no_flat_cells(
    plate: tuple[str, np.ndarray], tmp_path: Path
) -> None:
    source, _ = plate
    labels = np.zeros((16, 128, 128), np.uint16)
    labels[4:9, 20:60, 20:60] = 7
    write_labels(source, ADDRESS, "cells", labels, axes="zyx")
    settings = make_settings(channels=("FISH",), volume=True, cells="cells")
    out = str(tmp_path / "run")
    end = execute_run(prepare_run(source, out, settings))
    assert end.failed
    (reason,) = open_results(out).fields["reason"]
    assert "differ from plane to plane" in reason
    bare = make_settings(channels=("FISH",), volume=True, cells="cells", polarity=False)
    assert not execute_run(prepare_run(source, f"{out}2", bare)).failed
    spots = open_results(f"{out}2").read("spots")
    own = spots[spots["cell"] == 7]
    assert len(own)
    assert own["z"].between(3.5, 8.5).all()
