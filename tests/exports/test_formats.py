"""The verb export: where its results go, and that they are complete or absent."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from deepspot_scale.errors import PlateError, RunError, SettingsError
from deepspot_scale.exports.formats import FORMATS, export_run
from deepspot_scale.io.plate import open_plate

EXTRAS = {"anndata": "anndata", "spatialdata": "spatialdata", "ngio": "ngio"}


def test_an_unknown_format_names_the_nearest(screen: Any) -> None:
    with pytest.raises(SettingsError, match=r"csv, anndata.*Did you mean 'anndata'"):
        export_run(screen.run, "andata")


def test_exports_go_below_the_run_unless_told_otherwise(own_screen: Any) -> None:
    out = export_run(own_screen.run, "csv")
    assert out == own_screen.run / "exports/csv"
    assert os.listdir(out.parent) == ["csv"]


def test_a_run_goes_on_beside_its_exports(
    own_screen: Any, run_quickly: Any, screen: Any
) -> None:
    export_run(own_screen.run, "csv")
    settings = {"reference": "point:-500,40", "plate_map": None}
    settings["plate_map"] = str(screen.plate.parent / "wells.csv")
    again = run_quickly(str(own_screen.plate), own_screen.run, **settings)
    assert (again.progress.done, again.progress.skipped) == (0, 4)
    assert (own_screen.run / "exports/csv/spots.csv").is_file()


@pytest.mark.parametrize("to", ["csv", "napari"])
def test_an_export_is_replaced_only_on_request(own_screen: Any, to: Any) -> None:
    out = Path(export_run(own_screen.run, to))
    with pytest.raises(RunError, match="ask to overwrite"):
        export_run(own_screen.run, to)
    (out / "stale.csv").write_text("")
    export_run(own_screen.run, to, overwrite=True)
    assert not (out / "stale.csv").exists()


@pytest.mark.parametrize("to", ["csv", "napari", "spatialdata", "anndata"])
def test_somebody_elses_folder_is_never_replaced(
    screen: Any, tmp_path: Path, to: Any
) -> None:
    if to in EXTRAS:
        pytest.importorskip(EXTRAS[to])
    out = tmp_path / "mine.zarr"
    out.mkdir()
    (out / "thesis.txt").write_text("five years")
    with pytest.raises(RunError, match="not replaced"):
        export_run(screen.run, to, out, overwrite=True)
    assert (out / "thesis.txt").read_text() == "five years"


def test_an_export_that_fails_midway_leaves_nothing(own_screen: Any) -> None:
    own_screen.plate.rename(own_screen.plate.with_name("moved.zarr"))
    with pytest.raises(PlateError, match="say where it is now"):
        export_run(own_screen.run, "napari")
    assert os.listdir(own_screen.run / "exports") == []


def test_what_a_killed_export_left_is_swept_by_the_next(own_screen: Any) -> None:
    left = own_screen.run / "exports/.partial-csv"
    left.mkdir(parents=True)
    (left / "spots.csv").write_text("half")
    export_run(own_screen.run, "csv")
    assert os.listdir(own_screen.run / "exports") == ["csv"]


@pytest.mark.parametrize("to", ["ngio", "sectors"])
def test_exports_into_the_plate_take_no_other_place(
    screen: Any, tmp_path: Path, to: Any
) -> None:
    with pytest.raises(SettingsError, match="goes inside the plate"):
        export_run(screen.run, to, tmp_path / "here")


@pytest.mark.parametrize("to", sorted(EXTRAS))
def test_a_missing_library_is_named_with_what_installs_it(
    screen: Any, tmp_path: Path, to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, EXTRAS[to], None)
    out = {"anndata": "a.h5ad", "spatialdata": "a.zarr"}.get(to)
    with pytest.raises(SettingsError, match=rf"pip install 'deepspot-scale\[{to}\]'"):
        export_run(screen.run, to, tmp_path / out if out else None)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_cells_says_what_is_lacking(without_cells: Any) -> None:
    with pytest.raises(RunError, match="without --cells"):
        export_run(without_cells.run, "sectors")


def test_a_run_in_an_object_store_is_exported_to_a_place_that_is_named(
    tmp_path: Path, draw_scene: Any, write_plate: Any, run_quickly: Any
) -> None:
    plate = write_plate("memory://exported/p.zarr", {"B/03/0": draw_scene(0)})
    run_quickly(plate, "memory://exported/run")
    with pytest.raises(SettingsError, match="say where the export is to go"):
        export_run("memory://exported/run", "csv")
    export_run("memory://exported/run", "csv", tmp_path / "csv")
    assert (tmp_path / "csv/spots.csv").read_text().count("\n") > 30
    assert export_run("memory://exported/run", "sectors") == plate
    assert "sectors" in open_plate(plate).open("B/03/0").label_names


def test_each_format_is_explained() -> None:
    text = str(export_run.__doc__)
    assert all(f"``{name}``: " in text for name in FORMATS)
