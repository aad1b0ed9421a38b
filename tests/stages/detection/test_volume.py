"""Every spot of a stack once, whatever the blocks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.blockwise import geometry
from deepspot_scale.errors import FieldError, RunError, SettingsError
from deepspot_scale.evaluation.matching import pair_one_to_one
from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.field import run_field
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.exports.formats import export_run
from deepspot_scale.exports.viewer import field_layers
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_plate,
    write_image,
    write_labels,
)
from deepspot_scale.io.plate import open_plate
from deepspot_scale.pipeline import STAGES
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.loose_images import detect_images
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
    target = tmp_path / "plate.zarr"
    points = _write_stack(target, (16, 128, 128))
    cells = np.kron([[1, 2], [3, 4]], np.ones((64, 64), int))
    cells[:, 60:68] = 0
    write_labels(target, ADDRESS, "cells", cells.astype(np.uint16))
    return str(target), points


def _write_stack(
    target: Path, shape: tuple[int, int, int], step: float | None = 0.3
) -> np.ndarray:
    """Write a field with a stack; return its spots."""
    truth = simulate_stack(StackKind(shape, spots=60, peak=20.0), 5)
    create_plate(target, [ADDRESS])
    counts = truth.image.astype(np.uint16)[None]
    layout = ImageLayout(
        "czyx", counts.shape, np.uint16, ("FISH",), (0.1, 0.1), 64, z_step_um=step
    )
    write_image(target, ADDRESS, counts, layout)
    return truth.points


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


def _write_volumes(source: str) -> tuple[np.ndarray, np.ndarray]:
    """Write two cells side by side in 8 planes, and nuclei in 16, as labels."""
    cells = np.zeros((8, 128, 128), np.uint16)
    cells[2:6, 10:60, 10:60], cells[1:7, 10:60, 60:110] = 7, 9
    nuclei = np.zeros((16, 128, 128), np.uint16)
    nuclei[6:10, 25:45, 25:45] = nuclei[6:10, 25:45, 75:95] = 1
    write_labels(source, ADDRESS, "cells", cells, axes="zyx")
    write_labels(source, ADDRESS, "nuclei", nuclei, axes="zyx")
    return np.repeat(cells, 2, axis=0), nuclei


def test_label_volumes_of_any_planes_give_a_run_cells_in_depth(
    plate: tuple[str, np.ndarray], tmp_path: Path
) -> None:
    source, _ = plate
    cells, nuclei = _write_volumes(source)
    settings = make_settings(
        channels=("FISH",), volume=True, cells="cells", nuclei="nuclei"
    )
    out = str(tmp_path / "run")
    assert not execute_run(prepare_run(source, out, settings)).failed
    results = open_results(out)
    spots, table = results.read("spots"), results.read("cells")
    z, y, x = (spots[axis].round().astype(int).clip(lower=0) for axis in PLACE)
    assert (spots["cell"] == cells[z, y, x]).all()
    assert (spots["nucleus"] == nuclei[z, y, x]).all()
    assert len(set(spots["cell"])) == 3
    assert table["cell"].tolist() == [7, 9]
    voxel = 0.3 * 0.1 * 0.1
    np.testing.assert_allclose(
        table["volume_um3"], [8 * 2500 * voxel, 12 * 2500 * voxel]
    )
    np.testing.assert_allclose(table["nucleus_volume_um3"], 4 * 400 * voxel)
    np.testing.assert_allclose(table["contact_um2"], 8 * 50 * 0.3 * 0.1)
    np.testing.assert_allclose(table["cell_z"], 7.5)
    assert results.fields["n_without_distances"].tolist() == [0]
    assert (table["z"] == -1).all()
    own = [(spots["cell"] == cell).sum() for cell in (7, 9)]
    assert table["n_spots"].tolist() == own
    _assert_same_by_verb(spots, table, cells, nuclei)
    with pytest.raises(RunError, match="sectors are drawn for flat cells"):
        export_run(out, "sectors")


def _assert_same_by_verb(
    spots: pd.DataFrame, table: pd.DataFrame, cells: np.ndarray, nuclei: np.ndarray
) -> None:
    """Measure the same cells in Python, from the run's spots."""
    size = {"z": 0.3, "y": 0.1, "x": 0.1}
    places = {
        a: (a, np.arange(n) * size[a]) for a, n in zip("zyx", cells.shape, strict=True)
    }
    labels = {
        name: xr.DataArray(stack, dims=("z", "y", "x"), coords=places)
        for name, stack in (("cells", cells), ("nuclei", nuclei))
    }
    for image in labels.values():
        for axis in "zyx":
            image[axis].attrs["units"] = "um"
    again = ds.measure_polarity(spots, **labels)
    bins = ["area_bins", "spot_bins"]
    pd.testing.assert_frame_equal(again.drop(columns=bins), table.drop(columns=bins))
    for name in bins:
        np.testing.assert_array_equal(np.stack(again[name]), np.stack(table[name]))


def test_a_run_that_is_spread_over_blocks_has_the_same_cells_in_depth(
    tmp_path: Path,
) -> None:
    _write_stack(tmp_path, (16, 128, 240))
    cells = np.zeros((8, 128, 240), np.uint16)
    cells[2:6, 10:60, 80:160], cells[1:7, 60:110, 70:150] = 7, 9
    write_labels(tmp_path, ADDRESS, "cells", cells, axes="zyx")
    settings = make_settings(channels=("FISH",), volume=True, cells="cells")
    task = FieldTask(open_plate(tmp_path).entries[0])
    (whole,) = run_field(task, settings, assemble(settings))
    pipeline = replace(assemble(settings), block=236)
    assert len(pipeline.blocks((16, 128, 240)).blocks) > 1
    spread = dask.compute(
        *defer_field(task, settings, pipeline), scheduler="synchronous"
    )
    for name in ("spots", "cells"):
        one, other = (result.tables[name] for result in (whole, spread[0]))
        assert len(one)
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_cells_in_depth_without_a_z_step_have_no_distances_and_are_counted(
    tmp_path: Path,
) -> None:
    source = str(tmp_path / "plate.zarr")
    _write_stack(tmp_path / "plate.zarr", (16, 128, 128), None)
    _write_volumes(source)
    settings = make_settings(channels=("FISH",), volume=True, cells="cells")
    out = str(tmp_path / "run")
    assert not execute_run(prepare_run(source, out, settings)).failed
    results = open_results(out)
    assert results.fields["n_without_distances"].tolist() == [2]
    table = results.read("cells")
    assert table[["volume_um3", "edge_distance_uniform"]].isna().all(axis=None)
    assert table["area"].tolist() == [8 * 2500, 12 * 2500]


def test_labels_whose_planes_do_not_fit_fail_with_the_reason(
    plate: tuple[str, np.ndarray], tmp_path: Path
) -> None:
    source, _ = plate
    _write_volumes(source)
    document = Path(source, ADDRESS.path, "labels", "nuclei", "zarr.json")
    document.write_text(document.read_text().replace("0.3", "0.4"))
    settings = make_settings(channels=("FISH",), volume=True, cells="nuclei")
    out = str(tmp_path / "run")
    assert execute_run(prepare_run(source, out, settings)).failed
    (reason,) = open_results(out).fields["reason"]
    assert "along z a pixel of theirs is 0.4 micrometres" in reason


def test_labels_are_written_for_the_whole_stack(
    plate: tuple[str, np.ndarray],
) -> None:
    source, _ = plate
    with pytest.raises(SettingsError, match="of 5 planes cannot cover an image of 16"):
        write_labels(
            source, ADDRESS, "cells", np.ones((5, 128, 128), np.uint8), axes="zyx"
        )


def test_a_thin_stack_is_measured_and_its_spots_lie_in_it():
    kind = StackKind((5, 96, 96), spots=60, peak=12.0)
    truth = simulate_stack(kind, 4)
    image = xr.DataArray(truth.image.astype(np.uint16), dims=("z", "y", "x"))
    spots = ds.detect(ds.enhance(image, volume=True), raw=image, volume=True)
    assert len(spots) > 40
    places = spots[["z", "y", "x"]].to_numpy()
    assert (places >= -0.5).all()
    assert (places <= np.array(kind.shape) - 0.5).all()


def test_gaussians_are_fitted_on_request_alike_in_every_block(tmp_path: Path) -> None:
    image, truth = draw(3)
    stages = {stage.name: stage for stage in STAGES}
    chosen = {
        stages[name]: stages[name].options(use=True)
        for name in ("volume", "enhance", "assign")
    }
    chosen[stages["detect"]] = stages["detect"].options(fit=True)
    whole = ds.apply(chosen, image)
    cut = ds.apply(chosen, image, block=232)
    pd.testing.assert_frame_equal(whole["fits"], cut["fits"], check_exact=True)
    fits = whole["fits"]
    good = fits[fits["converged"]]
    assert len(good) > 0.8 * len(fits)
    assert good[["amplitude", "sigma_z", "sigma_yx", "residual"]].notna().all(None)
    assert fits.loc[~fits["converged"], "amplitude"].isna().all()
    places = good[PLACE].to_numpy()
    pairs = pair_one_to_one(places, truth, (2, 2, 2))
    error = places[pairs[:, 0]] - truth[pairs[:, 1]]
    assert len(pairs) > 0.9 * len(good)
    assert np.median(np.abs(error), axis=0).max() < 0.2


def test_fits_without_a_volume_or_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--volume"):
        assemble(make_settings(channels=("0",), fit=True))
    settings = make_settings(channels=("0",), fit=True, volume=True)
    with pytest.raises(SettingsError, match="detect writes spots only"):
        detect_images([tmp_path], settings)


@pytest.mark.parametrize("value", [0, 100])
def test_a_stack_of_one_value_has_no_spots(value: int) -> None:
    blank = np.full((8, 64, 64), value, np.uint16)
    assert find(xr.DataArray(blank, dims=("z", "y", "x"))).empty


def test_the_unit_of_a_stack_does_not_matter() -> None:
    image, _ = draw(2, spots=120, shape=(12, 96, 96))
    counts, shares = find(image), find((image / 65535.0).astype(np.float32))
    pairs = pair_one_to_one(counts[PLACE].to_numpy(), shares[PLACE].to_numpy(), 0.2)
    assert len(pairs) >= 0.97 * len(counts)
    assert abs(len(shares) - len(counts)) <= 0.03 * len(counts)
