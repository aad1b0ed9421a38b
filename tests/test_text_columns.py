"""Text has one type in every table, with pandas 2 and 3, and also without rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.runs.loose_images import detect_images
from deepspot_scale.runs.user_tables import read_plate_map
from deepspot_scale.settings import make_settings
from deepspot_scale.vocabulary import (
    QUALITY,
    SPOTS,
    SUMMARIES,
    Column,
    FieldAddress,
)


@pytest.fixture(params=["", "as pandas 3"], autouse=True)
def world(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let pandas 2 take text for its new type, as pandas 3 does by itself."""
    if not request.param or pd.__version__ >= "3":
        yield
        return
    with pd.option_context("future.infer_string", True):
        yield


def _check(table: pd.DataFrame, columns: tuple[Column, ...]) -> None:
    plain = {"string": "object", "bins": "object"}
    declared = {
        column.name: plain.get(column.dtype, column.dtype) for column in columns
    }
    for name, dtype in table.dtypes.items():
        assert (name, str(dtype)) == (name, declared.get(str(name), "object"))


@pytest.fixture
def scene(draw_scene: Callable[..., Any]) -> Any:
    return draw_scene()


def test_tables_of_a_run_have_the_declared_types(
    tmp_path: Path,
    scene: Any,
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    twice = replace(scene, image=scene.image[[1, 1]])
    scenes = {"B/03/0": twice, "C/04/0": twice}
    plate = write_plate(tmp_path / "p.zarr", scenes, channels=("FISH", "Cy5"))
    (tmp_path / "wells.csv").write_text("well,condition\nB03,ctrl\nC04,drug\n")
    run_quickly(
        plate,
        tmp_path / "run",
        reference="angle:30",
        plate_map=str(tmp_path / "wells.csv"),
        min_spots=1,
        channels=("FISH", "Cy5"),
        colocalise=("FISH:Cy5",),
        cluster_um=50.0,
        cluster_molecules=2,
    )
    run = ds.open_run(tmp_path / "run")
    declared = run.contents.tables
    tables = [(run.read(name), declared[name]) for name in declared]
    tables += [(table, SUMMARIES[name]) for name, table in run.summaries.items()]
    for field in run.iter_fields():
        tables += [(table, declared[name]) for name, table in field.tables.items()]
    counted = (*SPOTS, Column("n_spots", "int64", ""))
    tables.append((run.count_spots(), counted))
    for table, columns in tables:
        # No image is left out without a least score; all else has rows.
        assert len(table) or columns == SUMMARIES["left_out"]
        _check(table, columns)
        _check(table.iloc[:0], columns)
    assert set(run.plate_map.dtypes.astype(str)) == {"object"}


@pytest.mark.parametrize("light", [0, 1])
@pytest.mark.parametrize("n_t", [1, 2])
@pytest.mark.usefixtures("here_and_now")
def test_tables_of_verbs_have_the_declared_types(
    scene: Any, light: int, n_t: int
) -> None:
    image = xr.DataArray(np.stack([scene.image[1] * light] * n_t), dims=("t", "y", "x"))
    labels = {
        name: xr.DataArray(getattr(scene, name), dims=("y", "x"))
        for name in ("cells", "nuclei")
    }
    for given in (image, image.chunk({"t": 1})):
        spots = ds.detect(given, method="raw")
        quality = ds.measure_quality(given)
        if not isinstance(spots, pd.DataFrame):
            spots, quality = spots.compute(), quality.compute()
        assigned = ds.assign(spots, **labels)
        _check(spots, SPOTS)
        _check(assigned, SPOTS)
        _check(quality, QUALITY)
        assert bool(len(spots)) == bool(light)


@pytest.mark.parametrize("light", [0, 1])
def test_tables_of_loose_images_have_the_declared_types(
    tmp_path: Path, scene: Any, light: int
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", scene.image[1] * light)
    settings = make_settings(channels=("0",), enhance=False)
    seen: list[pd.DataFrame] = []
    found = detect_images([tmp_path / "a.tif"], settings, on_image=seen.append)
    for table in (found.table, *seen):
        _check(table, SPOTS)


@pytest.mark.parametrize("header", ["well,condition", "well,treatment"])
@pytest.mark.filterwarnings("default::deepspot_scale.errors.InputWarning")
def test_words_of_a_plate_map_are_objects(tmp_path: Path, header: str) -> None:
    (tmp_path / "wells.csv").write_text(f"{header}\nB03,NA\n")
    table = read_plate_map(
        str(tmp_path / "wells.csv"),
        [FieldAddress("B", "03", ""), FieldAddress("C", "1", "")],
    )
    assert set(table.dtypes.astype(str)) == {"object"}
    assert table["condition"].tolist() == ["NA"]
    assert table.to_dict("list") == {
        "row": ["B"], "column": ["03"], "condition": ["NA"], "gene": [""],
        "replicate": [""],
    }  # fmt: skip
