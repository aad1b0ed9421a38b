"""Runs on parts of a plate, merged: equal to one run in one go, or refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.errors import RunError
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs import merged_run
from deepspot_scale.runs.lease import hold_run
from deepspot_scale.runs.merged_run import merge_runs
from deepspot_scale.runs.prepare import Selection
from deepspot_scale.runs.results import open_run

PATHS = ("B/03/0", "B/03/1", "C/04/0", "D/05/0")
LOST = "D/06/0"
GIVEN: dict[str, Any] = {"reference": "point:-500,40"}
WELLS = (("B03",), ("C4",), ("D05", "D06"))


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> Path:
    """A plate of four wells, one of them lost; wells of two conditions."""
    folder = tmp_path_factory.mktemp("merged")
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    write_plate(folder / "plate.zarr", scenes, listed=(LOST,))
    words = "well,condition,gene\nB03,still,RAB13\nC04,moving,RAB13\nD05,moving,ACTB\n"
    (folder / "wells.csv").write_text(words)
    return folder


def given(place: Path, **more: Any) -> dict[str, Any]:
    return GIVEN | {"plate_map": str(place / "wells.csv")} | more


@pytest.fixture(scope="module")
def whole(place: Path, run_quickly: Callable[..., Any]) -> Any:
    """What one run on the plate comes to."""
    return run_quickly(str(place / "plate.zarr"), place / "whole", **given(place))


@pytest.fixture(scope="module")
def parts(place: Path, run_quickly: Callable[..., Any]) -> list[Path]:
    """Runs on its wells, by rows."""
    folders = [place / f"part-{n}" for n in range(len(WELLS))]
    for folder, wells in zip(folders, WELLS, strict=True):
        chosen = {"selection": Selection(wells)}
        run_quickly(str(place / "plate.zarr"), folder, **given(place, **chosen))
    return folders


def _run_twice(
    run_quickly: Any, plate: str, folder: Path, settings: dict[str, Any]
) -> tuple[Any, list[Path]]:
    """Run on two wells in one go, and on each by itself."""
    both = Selection((*WELLS[0], *WELLS[1]))
    whole = run_quickly(plate, folder / "whole", selection=both, **settings)
    parts = [folder / "part-0", folder / "part-1"]
    for part, wells in zip(parts, WELLS, strict=False):
        run_quickly(plate, part, selection=Selection(wells), **settings)
    return whole, parts


def _interrupt(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


def outcome(like: Any, run: Any) -> Any:
    return type(like)(like.progress, run.folder)


def test_merged_runs_are_one_run_in_one_go_whatever_their_order_also_after_a_stop(
    whole: Any, parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(merged_run, "summarise_run", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            merge_runs(parts[::-1], tmp_path / "run")
    merged = merge_runs(parts[::-1], tmp_path / "run")
    whole.assert_same(outcome(whole, merged))
    assert list(outcome(whole, merged).reasons) == [LOST]
    assert merged.plate_map["condition"].tolist() == ["still", "moving", "moving", ""]
    assert merged.provenance["merged"] == [str(part) for part in parts[::-1]]
    assert merged.provenance["input"]["n_fields"] == len(PATHS) + 1


def test_a_merged_run_goes_on(
    whole: Any, parts: list[Path], place: Path, tmp_path: Path, run_quickly: Any
) -> None:
    merge_runs(parts[:2], tmp_path / "run")
    plate = str(place / "plate.zarr")
    ended = run_quickly(plate, tmp_path / "run", **given(place))
    assert (ended.progress.skipped, ended.progress.done) == (3, 1)
    whole.assert_same(ended)


def test_shifts_of_channels_are_those_of_all_runs(
    place: Path, tmp_path: Path, run_quickly: Any
) -> None:
    plate = str(place / "plate.zarr")
    # Not in the order of their names.
    channels = {"channels": ("FISH", "DAPI"), "colocalise": ("FISH:DAPI",)}
    whole, parts = _run_twice(run_quickly, plate, tmp_path, channels)
    merged = merge_runs(parts, tmp_path / "run")
    whole.assert_same(outcome(whole, merged))
    assert merged.summaries["colocalisation"]["channel"].unique() == ["FISH"]


def test_labels_that_runs_made_come_along(
    place: Path, tmp_path: Path, run_quickly: Any, tissue: str
) -> None:
    own = {"cells": None, "nuclei": None, "stages": (tissue,)}
    plate = str(place / "plate.zarr")
    whole, parts = _run_twice(run_quickly, plate, tmp_path, own)
    merged = merge_runs(parts, tmp_path / "run")
    whole.assert_same(outcome(whole, merged))
    runs = (tmp_path / "whole", tmp_path / "run")
    one, other = (open_plate(run / "cells.zarr") for run in runs)
    assert list(one) == list(other)
    for path in PATHS[:3]:
        np.testing.assert_array_equal(
            one.open(path).image[(slice(None),) * 5],
            other.open(path).image[(slice(None),) * 5],
        )


def test_a_field_in_two_runs_is_refused(parts: list[Path], tmp_path: Path) -> None:
    other = Path(shutil.copytree(parts[0], tmp_path / "other"))
    with pytest.raises(RunError, match=r"B/03/0, B/03/1 of .*other are in .*part-0"):
        merge_runs([parts[0], other], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_settings_are_refused_and_named(
    parts: list[Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(parts[1], tmp_path / "other"))
    text = (other / "settings.toml").read_text()
    (other / "settings.toml").write_text(text.replace("sectors = 3", "sectors = 4"))
    with pytest.raises(RunError, match=r"(?s)other settings than.*sectors"):
        merge_runs([parts[0], other], tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("input", {"source": "elsewhere.zarr"}),
        ("versions", {"deepspot-scale": "0.0.1"}),
        ("model", {"name": "deepspot", "sha256": "0" * 64}),
    ],
)
def test_another_plate_version_or_network_is_refused(
    parts: list[Path], tmp_path: Path, key: str, value: dict[str, str]
) -> None:
    other = Path(shutil.copytree(parts[1], tmp_path / "other"))
    facts = json.loads((other / "provenance.json").read_text())
    facts[key] = value
    (other / "provenance.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="other input than"):
        merge_runs([parts[0], other], tmp_path / "run")


def test_a_run_that_is_not_finished_is_refused(
    parts: list[Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(parts[1], tmp_path / "other"))
    (other / "wells.parquet").unlink()
    with pytest.raises(RunError, match=r"no wells\.parquet"):
        merge_runs([parts[0], other], tmp_path / "run")


def test_a_run_that_a_client_works_on_is_refused(
    parts: list[Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(parts[1], tmp_path / "other"))
    with hold_run(Folder(str(other))), pytest.raises(RunError, match="works on"):
        merge_runs([parts[0], other], tmp_path / "run")


def test_a_run_is_not_merged_into_itself(parts: list[Path]) -> None:
    with pytest.raises(RunError, match="one of the runs to merge"):
        merge_runs(parts, parts[0])


def test_a_folder_with_other_fields_is_refused(
    parts: list[Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(parts[2], tmp_path / "run"))
    with pytest.raises(RunError, match=r"holds the fields D/05/0, D/06"):
        merge_runs(parts[:2], other)


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run to merge"):
        merge_runs([], tmp_path / "run")


def test_the_command_merges_and_reports(
    parts: list[Path], tmp_path: Path, command: Any
) -> None:
    ended = command("merge", *parts[1:], "--out", tmp_path / "run")
    assert ended.code == 3  # the lost well
    assert "2 runs merged: 2 fields done, 1 failed" in ended.err
    assert Path(ended.out.strip()).is_file()
    assert len(open_run(tmp_path / "run").done) == 2
