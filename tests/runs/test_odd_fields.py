"""Odd images, masks and references: an answer for each, and the right one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.io.writing import write_labels
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
