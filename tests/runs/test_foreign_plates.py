"""Plates as other programs write them, through a whole run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ngio
import pandas as pd
import pytest
import zarr

from deepspot_scale.io.plate import open_plate

PATHS = ("B/03/0", "B/03/1", "C/04/0")


def test_a_plate_written_by_bioformats2raw_is_run(
    shared_data: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    plate = shared_data / "plate_bioformats2raw_0.4.zarr"
    outcome = run_quickly(
        str(plate),
        tmp_path / "run",
        channels=("Name", "Channel 2"),
        cells=None,
        nuclei=None,
        enhance=True,
    )
    assert (outcome.progress.done, outcome.progress.failed) == (8, 0)
    assert outcome.fields["n_planes"].min() >= 2


def test_a_plate_written_by_fractal_is_run(
    shared_data: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    plate = shared_data / "plate_fractal_ones_0.4.zarr"
    channels = ("some-label-2",)
    outcome = run_quickly(
        str(plate), tmp_path / "run", channels=channels, cells=None, nuclei=None
    )
    assert outcome.fields[["status", "n_spots"]].to_numpy().tolist() == [["done", 0]]


# ngio announces a new default for building pyramids, and reads the plate that it
# wrote without a version, as the 0.5 schema has it.
@pytest.mark.filterwarnings("ignore:Pyramid consolidation")
@pytest.mark.filterwarnings("ignore:'version' field not specified")
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_written_by_ngio_is_run(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    run_quickly: Callable[..., Any],
    complete: Any,
    version: str,
) -> None:
    scene, target = draw_scene(), str(tmp_path / "ngio.zarr")
    wells = [ngio.ImageInWellPath(row="B", column="3", path="0")]
    plate = ngio.create_empty_plate(target, "n", images=wells, ngff_version=version)
    container = ngio.create_ome_zarr_from_array(
        plate.get_image_store("B", "3", "0"),
        scene.image,
        pixelsize=0.1,
        axes_names=("c", "y", "x"),
        channels_meta=["DAPI", "FISH"],
        ngff_version=version,
        overwrite=True,
    )
    for name in ("cells", "nuclei"):
        label = container.derive_label(name)
        label.set_array(getattr(scene, name).astype(label.dtype))
    outcome = run_quickly(target, tmp_path / "run")
    expected = complete.spots.query("row == 'B' and field == '0'")
    places = ["y", "x", "cell", "nucleus"]
    pd.testing.assert_frame_equal(
        outcome.spots[places], expected[places].reset_index(drop=True)
    )


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_written_by_ome_zarr_py_is_run(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    run_quickly: Callable[..., Any],
    complete: Any,
    version: str,
) -> None:
    writer = pytest.importorskip("ome_zarr.writer")
    formats = pytest.importorskip("ome_zarr.format")
    fmt = formats.FormatV04() if version == "0.4" else formats.FormatV05()
    scene = draw_scene()
    target = str(tmp_path / "omezarr.zarr")
    root = zarr.open_group(target, mode="w", zarr_format=fmt.zarr_format)
    writer.write_plate_metadata(root, ["B"], ["3"], ["B/3"], fmt=fmt)
    well = root.require_group("B/3")
    writer.write_well_metadata(well, ["0"], fmt=fmt)
    image = well.require_group("0")
    writer.write_image(scene.image, image, axes="cyx", fmt=fmt)
    for name in ("cells", "nuclei"):
        mask = getattr(scene, name)
        writer.write_labels(mask, image, name, scaler=None, axes="yx", fmt=fmt)
    outcome = run_quickly(target, tmp_path / "run", channels=("1",))
    expected = complete.spots.query("row == 'B' and field == '0'")
    places = ["y", "x", "cell", "nucleus"]
    pd.testing.assert_frame_equal(
        outcome.spots[places], expected[places].reset_index(drop=True)
    )


@pytest.mark.parametrize(
    "layout",
    [{"version": "0.4"}, {"chunk": 33}, {"chunk": 32, "shard": 64, "n_levels": 2}],
)
def test_how_a_plate_is_stored_does_not_change_the_answer(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    complete: Any,
    layout: dict[str, Any],
) -> None:
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    plate = write_plate(tmp_path / "p.zarr", scenes, **layout)
    run_quickly(plate, tmp_path / "run").assert_same(complete)
    assert open_plate(plate).open(PATHS[0]).chunks[-1] == layout.get(
        "shard", layout.get("chunk", 64)
    )


def test_a_truncated_shard_is_a_failed_field(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    scenes = {path: draw_scene(0) for path in PATHS}
    plate = write_plate(tmp_path / "p.zarr", scenes, chunk=32, shard=64)
    shard = Path(plate) / "B/03/1/0/c/1/0/0"
    shard.write_bytes(shard.read_bytes()[:50])
    outcome = run_quickly(plate, tmp_path / "run")
    assert list(outcome.reasons) == ["B/03/1"]


def test_channel_metadata_may_be_missing(
    plate: Path, tmp_path: Path, complete: Any, run_quickly: Callable[..., Any]
) -> None:
    for document in plate.glob("*/*/*/zarr.json"):
        content = json.loads(document.read_text())
        del content["attributes"]["ome"]["omero"]
        document.write_text(json.dumps(content))
    outcome = run_quickly(str(plate), tmp_path / "run", channels=("1",))
    named = outcome.spots.assign(channel="FISH")
    pd.testing.assert_frame_equal(named, complete.spots)
