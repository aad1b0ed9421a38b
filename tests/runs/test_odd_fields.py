"""Odd images, masks and references: an answer for each, and the right one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr

from deepspot_scale.errors import SettingsError
from deepspot_scale.io.ome_zarr.writing import write_labels
from deepspot_scale.io.plate import open_plate
from deepspot_scale.report.page import write_report
from deepspot_scale.runs.prepare import Selection
from deepspot_scale.runs.results import open_run
from deepspot_scale.vocabulary import FieldAddress

PATHS = ("B/03/0", "B/03/1", "C/04/0")


def _whole(scene: Any, dtype: str, factor: float = 1.0) -> Any:
    return replace(scene, image=(scene.image * factor).astype(dtype))


@pytest.mark.parametrize(
    "dtype", ["int16", "uint32", "int32", "int64", "uint64", "float32", "float64"]
)
def test_the_pixel_type_does_not_change_the_spots(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    complete: Any,
    dtype: str,
) -> None:
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": _whole(draw_scene(), dtype)})
    outcome = run_quickly(plate, tmp_path / "run")
    expected = complete.spots.query("row == 'B' and field == '0'")
    places = ["y", "x", "cell", "nucleus"]
    pd.testing.assert_frame_equal(
        outcome.spots[places], expected[places].reset_index(drop=True)
    )


def test_eight_bit_images_have_their_spots(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    plate = write_plate(
        tmp_path / "p.zarr", {"B/03/0": _whole(draw_scene(), "uint8", 0.4)}
    )
    assert abs(len(run_quickly(plate, tmp_path / "run").spots) - 40) < 8


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 0),
        ("uint8", 255),
        ("uint16", 65535),
        ("int32", -5),
        ("float32", 0),
        ("float32", 7.5),
    ],
)
def test_a_constant_image_has_no_spots_and_all_its_cells(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    dtype: str,
    value: float,
) -> None:
    scene = draw_scene()
    flat = replace(scene, image=np.full(scene.image.shape, value, dtype))
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": flat})
    outcome = run_quickly(plate, tmp_path / "run")
    assert outcome.fields[["status", "n_spots", "n_cells"]].to_numpy().tolist() == [
        ["done", 0, 6]
    ]
    assert outcome.wells["n_spots"].tolist() == [0]


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (5, 3), (1, 40), (64, 64)])
@pytest.mark.parametrize("enhance", [False, True])
def test_fields_smaller_than_any_halo_are_processed(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    shape: tuple[int, int],
    enhance: bool,
) -> None:
    scene = draw_scene(0, shape, n=5, edge=32)
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": scene}, chunk=8)
    outcome = run_quickly(plate, tmp_path / "run", enhance=enhance)
    assert outcome.reasons == {}
    assert outcome.spots["y"].between(-0.5, shape[0] - 0.5).all()
    assert outcome.spots["x"].between(-0.5, shape[1] - 0.5).all()


def test_masks_at_half_resolution_give_the_same_cells(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    scene = draw_scene()
    half = {name: getattr(scene, name)[::2, ::2] for name in ("cells", "nuclei")}
    full = {
        name: np.kron(mask, np.ones((2, 2), mask.dtype)) for name, mask in half.items()
    }
    coarse = write_plate(tmp_path / "half.zarr", {"B/03/0": replace(scene, **half)})
    fine = write_plate(tmp_path / "full.zarr", {"B/03/0": replace(scene, **full)})
    outcomes = [
        run_quickly(plate, tmp_path / f"run{number}")
        for number, plate in enumerate((coarse, fine))
    ]
    outcomes[0].assert_same(outcomes[1])
    assert outcomes[0].cells["n_spots"].sum() > 10


@pytest.mark.parametrize("offset", [1 << 22, 1 << 33, (1 << 62) + 5])
def test_cells_may_have_very_large_numbers(
    plate: Path,
    tmp_path: Path,
    complete: Any,
    run_quickly: Callable[..., Any],
    draw_scene: Callable[..., Any],
    offset: int,
) -> None:
    for seed, path in enumerate(PATHS):
        cells = draw_scene(seed).cells.astype(np.int64)
        shifted = np.where(cells > 0, cells + offset, 0)
        write_labels(str(plate), FieldAddress.from_path(path), "cells", shifted)
    outcome = run_quickly(str(plate), tmp_path / "run")
    moved = complete.cells.assign(cell=complete.cells["cell"] + offset)
    pd.testing.assert_frame_equal(outcome.cells, moved)


@pytest.mark.parametrize("name", ["cells", "nuclei"])
def test_negative_labels_are_the_failure_of_their_field_alone(
    plate: Path,
    tmp_path: Path,
    run_quickly: Callable[..., Any],
    draw_scene: Callable[..., Any],
    name: str,
) -> None:
    labels = getattr(draw_scene(1), name).astype(np.int32)
    labels[-1, -1] = -3
    # Another program may write what our own writer refuses.
    array = plate / "B/03/1/labels" / name / "0"
    zarr.create_array(array, data=labels, overwrite=True)
    outcome = run_quickly(str(plate), tmp_path / "run")
    assert list(outcome.reasons) == ["B/03/1"]
    assert f"labels/{name}/0 go from -3" in outcome.reasons["B/03/1"]


def test_a_cell_without_nucleus_keeps_its_counts_and_has_no_direction(
    plate: Path,
    tmp_path: Path,
    complete: Any,
    run_quickly: Callable[..., Any],
    draw_scene: Callable[..., Any],
) -> None:
    nuclei = draw_scene(0).nuclei
    nuclei[nuclei == 1] = 0
    write_labels(str(plate), FieldAddress.from_path(PATHS[0]), "nuclei", nuclei)
    outcome = run_quickly(str(plate), tmp_path / "run", reference="angle:90")
    cell, before = outcome.cells.iloc[0], complete.cells.iloc[0]
    assert cell["n_spots"] == cell["n_spots_cytoplasm"] == before["n_spots"]
    assert np.isnan([cell["nucleus_y"], cell["reference_deg"]]).all()
    assert sum(cell["spot_bins"]) == sum(cell["area_bins"]) == 0
    assert np.isfinite(outcome.cells["reference_deg"].iloc[1:]).all()


def test_a_field_without_cells_is_done(
    plate: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    empty = np.zeros((128, 160), np.uint8)
    for path in PATHS:
        for name in ("cells", "nuclei"):
            write_labels(str(plate), FieldAddress.from_path(path), name, empty)
    outcome = run_quickly(str(plate), tmp_path / "run", reference="angle:0")
    assert outcome.fields["n_cells"].tolist() == [0, 0, 0]
    assert (outcome.spots["cell"] == 0).all()
    assert outcome.wells["polarity_index"].isna().all()


def test_a_reference_at_the_nucleus_itself_is_answered(
    pristine: str, tmp_path: Path, complete: Any, run_quickly: Callable[..., Any]
) -> None:
    y, x = complete.cells[["nucleus_y", "nucleus_x"]].iloc[0]
    outcome = run_quickly(pristine, tmp_path / "run", reference=f"point:{y},{x}")
    cell = outcome.cells.iloc[0]
    assert sum(cell["spot_bins"]) == cell["n_spots_cytoplasm"]
    assert outcome.reasons == {}


def test_fields_without_reference_are_done_and_have_no_direction(
    pristine: str, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    table = tmp_path / "wound.csv"
    table.write_text("row,column,field,y,x\nB,3,0,-50,20\nB,3,0,-50,90\n")
    outcome = run_quickly(pristine, tmp_path / "run", reference=str(table))
    known = outcome.cells.groupby(["row", "field"])["reference_deg"].count()
    assert known.to_dict() == {("B", "0"): 6, ("B", "1"): 0, ("C", "0"): 0}
    wells = outcome.wells
    assert wells["n_fields"].tolist() == [2, 1]


def test_planes_have_the_cells_of_their_own_plane(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    scene = draw_scene()
    deep = replace(scene, image=np.stack([scene.image] * 3, axis=1)[None])
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": deep}, masks=("nuclei",))
    cells = np.stack([scene.cells, 0 * scene.cells, scene.cells[:, ::-1]])
    address = FieldAddress("B", "03", "0")
    write_labels(plate, address, "cells", cells, axes="zyx")
    outcome = run_quickly(plate, tmp_path / "run", project="none", nuclei=None)
    assert set(outcome.cells["z"]) == {0, 2}
    spots = outcome.spots
    edges = dict(zip("yx", cells.shape[1:], strict=True))
    rows, columns = (
        np.rint(spots[axis]).astype(int).clip(0, edge - 1)
        for axis, edge in edges.items()
    )
    np.testing.assert_array_equal(spots["cell"], cells[spots["plane"], rows, columns])
    areas = outcome.cells.query("z == 2").set_index("cell")["area"]
    assert areas.to_dict() == dict(enumerate(np.bincount(cells[2].flat)[1:], 1))
    # Fewer planes than the image: nobody can say whose they are.
    with pytest.raises(SettingsError, match="2 planes cannot cover an image of 3"):
        write_labels(plate, address, "cells", cells[:2], axes="zyx")


def test_kept_images_have_a_place_whatever_their_names_are(
    tmp_path: Path, draw_scene: Callable[..., Any], run_quickly: Callable[..., Any]
) -> None:
    names = ["pos1_11", "pos11_1", "\u7d30\u80de 1", "a"]
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, name in enumerate(names):
        tifffile.imwrite(folder / f"{name}.tif", draw_scene(seed).image[1])
    words = {"channels": ("0",), "cells": None, "nuclei": None}
    outcome = run_quickly(
        str(folder), tmp_path / "run", enhance=True, keep_enhanced=True, **words
    )
    assert outcome.progress.done == len(names)
    kept = open_plate(tmp_path / "run" / "enhanced.zarr")
    assert len(kept) == len(names)
    assert all(kept.open(path).read().max() > 0 for path in kept)
    assert "A/1/a" in kept


def test_a_name_may_be_long_or_no_text_at_all(
    tmp_path: Path, draw_scene: Callable[..., Any], run_quickly: Callable[..., Any]
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    names = ["\u7d30" * 80 + "1", "\u7d30" * 80 + "2", os.fsdecode(b"im\xe9")]
    for seed, name in enumerate(names):
        tifffile.imwrite(str(folder / f"{name}.tif"), draw_scene(seed).image[1])
    (folder / os.fsdecode(b"bad\xe9.tif")).write_bytes(b"no image")
    words = {"channels": ("0",), "cells": None, "nuclei": None}
    outcome = run_quickly(str(folder), tmp_path / "run", **words)
    assert outcome.progress.done == 3
    assert list(outcome.reasons) == ["//bad\\udce9"]
    assert set(outcome.spots["field"]) == {*names[:2], "im\\udce9"}


def test_a_plate_for_kept_images_that_was_not_finished_is_completed(
    tmp_path: Path,
    plate: Path,
    run_quickly: Callable[..., Any],
) -> None:
    words = {"enhance": True, "keep_enhanced": True}
    run_quickly(str(plate), tmp_path / "run", selection=Selection(limit=1), **words)
    shutil.rmtree(tmp_path / "run/enhanced.zarr/C")
    outcome = run_quickly(str(plate), tmp_path / "run", **words)
    assert outcome.reasons == {}
    assert len(list(open_plate(tmp_path / "run/enhanced.zarr"))) == len(PATHS)


@pytest.mark.parametrize("axis", ["acquisition", "t", "z"])
def test_cells_that_are_measured_again_are_not_more_cells(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    axis: str,
) -> None:
    scene = draw_scene()
    options = {"reference": "angle:30", "min_spots": 2, "project": "none"}
    paths = [f"B/03/{n}" for n in range(3 if axis == "acquisition" else 1)]
    stacked = {
        "acquisition": scene.image,
        "t": np.stack([scene.image[:, None]] * 3),
        "z": np.stack([scene.image] * 3, axis=1)[None],
    }[axis]
    scenes = dict.fromkeys(paths, replace(scene, image=stacked))
    plate = write_plate(tmp_path / "again.zarr", scenes)
    if axis == "acquisition":
        well = zarr.open_group(f"{plate}/B/03", mode="a")
        images = [{"path": str(n), "acquisition": n} for n in range(3)]
        well.attrs["ome"] = {**well.attrs["ome"], "well": {"images": images}}
    again = run_quickly(plate, tmp_path / "again", **options)
    run_quickly(
        write_plate(tmp_path / "once.zarr", {"B/03/0": scene}),
        tmp_path / "once",
        **options,
    )
    assert again.fields["n_planes"].sum() == 3
    summaries = open_run(tmp_path / "again").summaries
    for name, table in open_run(tmp_path / "once").summaries.items():
        got = summaries[name]
        if name == "chromatic_shifts":  # the same at all of them
            continue
        assert sorted(set(got[axis])) == ([0, 1, 2] if len(table) else [])
        for n in range(3):
            own = got[got[axis] == n].reset_index(drop=True)
            left = [axis, "p_adjusted", "field"]
            pd.testing.assert_frame_equal(
                own.drop(columns=left, errors="ignore"),
                table.drop(columns=left, errors="ignore"),
                check_exact=True,
            )
    assert set(again.cells["acquisition"]) == set(again.wells["acquisition"])
    write_report(tmp_path / "again")
    page = (tmp_path / "again/report.html").read_text()
    assert "no interval or p value takes two of them together" in page
    assert f"<b>{again.wells['n_cells'][0]}</b>" in page


def test_micrometres_of_spots_are_where_the_image_lies(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": draw_scene()}, masks=())
    plain = run_quickly(plate, tmp_path / "plain", cells=None, nuclei=None)
    group = zarr.open_group(f"{plate}/B/03/0", mode="a")
    block = group.attrs["ome"]
    moved = {"type": "translation", "translation": [0.0, 1000.0, -200.0]}
    block["multiscales"][0]["coordinateTransformations"] = [moved]
    group.attrs["ome"] = block
    placed = run_quickly(plate, tmp_path / "placed", cells=None, nuclei=None)
    assert len(placed.spots)
    for axis, by in (("y", 1000.0), ("x", -200.0)):
        np.testing.assert_array_equal(placed.spots[axis], plain.spots[axis])
        um = plain.spots[f"{axis}_um"] + by
        np.testing.assert_allclose(placed.spots[f"{axis}_um"], um)
