"""Fractal's task on the images of a plate: its tables are those of a run on the plate.

The task is started as Fractal's server does: the file that the manifest names, two
files of JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import deepspot_scale
from deepspot_scale.errors import PlateError, RunError, SettingsError
from deepspot_scale.exports.formats import export_run
from deepspot_scale.fractal.find_spots import find_spots
from deepspot_scale.pipeline import STAGES
from deepspot_scale.runs.execute import run
from deepspot_scale.runs.merged_run import merge_runs
from deepspot_scale.runs.results import open_run
from deepspot_scale.settings import RUN_FIELDS, make_settings

pytest.importorskip("ngio", reason="no ngio: pip install 'deepspot-scale[fractal]'")
pytestmark = pytest.mark.filterwarnings("ignore:'version' field not specified")
PACKAGE = Path(deepspot_scale.__file__).parent
MANIFEST: dict[str, Any] = json.loads(
    (PACKAGE / "__FRACTAL_MANIFEST__.json").read_text()
)
(TASK,) = MANIFEST["task_list"]
PATHS = ("B/03/0", "B/03/1", "C/04/0")


def needs_tools() -> None:
    why = "no fractal-task-tools: pip install 'deepspot-scale[fractal]'"
    pytest.importorskip("fractal_task_tools", reason=why)


def start(file: Path, arguments: dict[str, Any], folder: Path) -> Any:
    """Start a task as Fractal does; return what it says of the image."""
    needs_tools()
    (folder / "args.json").write_text(json.dumps(arguments))
    files = ["--args-json", folder / "args.json", "--out-json", folder / "out.json"]
    paths = os.pathsep.join((str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")))
    subprocess.run(
        [sys.executable, file, *files],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        check=True,
        capture_output=True,
    )
    return json.loads((folder / "out.json").read_text())


def tables_of(plate: Path) -> dict[str, bytes]:
    """Return every file of every table in a plate, by its path."""
    files = [f for f in plate.rglob("*") if f.is_file() and "tables" in f.parts]
    return {str(file.relative_to(plate)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def pristine(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> Path:
    """A plate of three images with labels."""
    folder = tmp_path_factory.mktemp("fractal")
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    return Path(write_plate(folder / "plate.zarr", scenes))


@pytest.fixture
def plate(pristine: Path, tmp_path: Path) -> Path:
    """A copy that a task may write into."""
    return Path(shutil.copytree(pristine, tmp_path / "plate.zarr"))


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """Arguments as they stand in JSON, and a reference for each field."""
    lines = "well,field,y,x\nB03,0,-500,40\nB03,1,40,900\nC04,0,0,0\n"
    (tmp_path / "wound.csv").write_text(lines)
    return {
        "channels": ["FISH"],
        "cells": "cells",
        "nuclei": "nuclei",
        "reference": str(tmp_path / "wound.csv"),
        "enhance": {"use": False},
        "polarity": {"sectors": 4},
    }


def test_the_task_on_each_image_gives_the_tables_of_a_run_on_the_plate(
    plate: Path, pristine: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    whole = Path(shutil.copytree(pristine, tmp_path / "whole.zarr"))
    run(whole, str(tmp_path / "run"), make_settings(**settings))
    export_run(tmp_path / "run", "ngio")
    first, *others = (str(plate / path) for path in PATHS)
    file = PACKAGE / TASK["executable_parallel"]
    assert start(file, {"zarr_url": first, **settings}, tmp_path) is None
    for url in others:
        find_spots(zarr_url=url, **settings)
    tables = tables_of(plate)
    assert tables == tables_of(whole)
    names = {"/".join(Path(name).parts[:5]) for name in tables}
    kinds = ("cells_FISH", "spots_FISH", "field_ROI_table")
    for path in PATHS:
        assert {f"{path}/tables/deepspot_{kind}" for kind in kinds} <= names


def test_labels_that_the_task_makes_are_those_of_a_run_on_the_plate(
    plate: Path, pristine: Path, tmp_path: Path
) -> None:
    settings = {
        "channels": ["FISH"],
        "segment": {"segments": ["nuclei:DAPI", "cells:FISH"]},
        "enhance": {"use": False},
    }
    for one in (plate, Path(shutil.copytree(pristine, tmp_path / "whole.zarr"))):
        for labels in one.glob("*/*/*/labels"):
            shutil.rmtree(labels)
    whole = tmp_path / "whole.zarr"
    run(whole, str(tmp_path / "run"), make_settings(**settings))
    export_run(tmp_path / "run", "labels", fields=PATHS[:1])
    export_run(tmp_path / "run", "ngio", fields=PATHS[:1])
    find_spots(zarr_url=str(plate / PATHS[0]), **settings)
    assert tables_of(plate) == tables_of(whole) != {}
    for name in ("cells", "nuclei"):
        made, same = (p / PATHS[0] / "labels" / name for p in (plate, whole))
        pixels = [sorted(f for f in p.rglob("c/**/*")) for p in (made, same)]
        assert [f.read_bytes() for f in pixels[0] if f.is_file()] == [
            f.read_bytes() for f in pixels[1] if f.is_file()
        ]


def test_tables_are_replaced_unless_told_not_to(
    plate: Path, settings: dict[str, Any]
) -> None:
    url = str(plate / PATHS[0])
    find_spots(zarr_url=url, **settings)
    before = tables_of(plate)
    find_spots(zarr_url=url, **settings)
    assert tables_of(plate) == before
    with pytest.raises(RunError, match="has the tables"):
        find_spots(zarr_url=url, overwrite=False, **settings)


def test_runs_that_are_kept_are_merged_into_one_with_a_report(
    plate: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    for path in PATHS[:2]:
        find_spots(zarr_url=str(plate / path), runs=str(tmp_path / "runs"), **settings)
    merged = merge_runs(sorted((tmp_path / "runs").iterdir()), tmp_path / "run")
    run(plate, str(tmp_path / "whole"), make_settings(**settings))
    whole = open_run(tmp_path / "whole").only(["B03"])
    columns = ["row", "column", "field", "n_spots"]
    assert merged.fields[columns].equals(whole.fields[columns])
    assert merged.read("spots").equals(whole.read("spots"))


def test_an_image_outside_of_plates_has_tables_too(
    plate: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    alone = Path(shutil.copytree(plate / PATHS[0], tmp_path / "alone.zarr"))
    find_spots(zarr_url=str(alone), **(settings | {"reference": "angle:90"}))
    assert (alone / "tables/deepspot_spots_FISH").is_dir()


def test_an_image_that_fails_fails_the_task(
    plate: Path, settings: dict[str, Any]
) -> None:
    shutil.rmtree(plate / PATHS[0] / "0")
    with pytest.raises(RunError, match="B/03/0: "):
        find_spots(zarr_url=str(plate / PATHS[0]), **settings)
    assert tables_of(plate) == {}


def test_an_image_that_the_plate_does_not_list_is_refused(
    plate: Path, settings: dict[str, Any]
) -> None:
    with pytest.raises(PlateError, match="does not list the image B/03/7"):
        find_spots(zarr_url=str(plate / "B/03/7"), **settings)


def test_images_to_keep_need_a_place(plate: Path, settings: dict[str, Any]) -> None:
    kept = {"enhance": {"keep_enhanced": True}}
    with pytest.raises(SettingsError, match=r"name a folder for it \(runs\)"):
        find_spots(zarr_url=str(plate / PATHS[0]), **(settings | kept))


# -- the manifest ----------------------------------------------------------------------


def test_fractal_finds_the_manifest_valid_and_up_to_date(tmp_path: Path) -> None:
    needs_tools()
    command = import_module("fractal_task_tools._cli").main
    words = ["--package", "deepspot_scale", "--task-list-path", "fractal.task_list"]
    # In a process of its own, since it changes pydantic for all.
    code = f"import {command.__module__} as c; c.main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "check", *words],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "On-disk manifest is up to date" in ended.stderr


def test_the_arguments_are_the_settings_of_a_run_and_of_its_stages() -> None:
    schema = TASK["args_schema_parallel"]
    shown = schema["properties"]
    assert schema["required"] == ["zarr_url", "channels"]
    for name in ("cells", "nuclei", "reference", "project", "spot_sigma"):
        assert shown[name]["description"] == RUN_FIELDS[name].description
    for stage in STAGES:
        if stage.name in shown:
            kind = shown[stage.name]["$ref"].rpartition("/")[2]
            own = schema["$defs"][kind]["properties"]
            assert own.keys() == stage.options.model_fields.keys()
    assert {"segment", "enhance", "detect", "polarity"} <= shown.keys()
    assert not {"localise", "colocalise", "plate_map", "stages"} & shown.keys()


def test_an_example_of_arguments_fits_the_schema(settings: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="no jsonschema")
    schema = TASK["args_schema_parallel"]
    jsonschema.validate({"zarr_url": "/plate.zarr/B/03/0", **settings}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**settings, "zarr_url": "/p", "chanel": "FISH"}, schema)
