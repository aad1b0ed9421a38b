"""A run is not continued over fields that changed since, nor by another version."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import zarr

from deepspot_scale.errors import InputWarning, RunError
from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.exports.formats import export_run
from deepspot_scale.exports.viewer import field_layers
from deepspot_scale.io.plate import open_plate
from deepspot_scale.report.page import write_report
from deepspot_scale.runs.execute import run
from deepspot_scale.runs.prepare import Selection
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import Settings, assemble, make_settings

Run = Callable[..., Any]
FIRST = Selection(("B03",))


def _settings(**values: Any) -> Settings:
    chosen = {"channels": ["FISH"], "cells": "cells", "nuclei": "nuclei"}
    return make_settings(**(chosen | {"enhance": False} | values))


def _run(plate: Path, out: Path, selection: Selection = Selection()) -> Any:
    return run(str(plate), str(out), _settings(), selection=selection)


def _write(array: Path, window: tuple[slice, slice], value: int) -> None:
    zarr.open_array(array, mode="r+")[(..., *window)] = value


def _spots(out: Path) -> Any:
    return open_results(str(out)).read("spots")


def test_a_field_whose_pixels_changed_is_named_and_refused(
    plate: Path, tmp_path: Path
) -> None:
    _run(plate, tmp_path / "run", FIRST)
    _write(plate / "B/03/1/0", np.s_[:64, :64], 500)
    with pytest.raises(RunError, match=r"results of 1 field .* since: B/03/1\. Use"):
        _run(plate, tmp_path / "run")
    with pytest.raises(RunError, match=r"B/03/1\. .*--redo-changed"):
        _run(plate, tmp_path / "run", Selection(("C04",)))


def test_cells_that_were_segmented_again_are_refused(
    plate: Path, tmp_path: Path
) -> None:
    _run(plate, tmp_path / "run", FIRST)
    _write(plate / "B/03/0/labels/cells/0", np.s_[:40, :40], 9)
    with pytest.raises(RunError, match=r"since: B/03/0\. Use"):
        _run(plate, tmp_path / "run")


def test_labels_that_the_run_does_not_use_may_change(
    plate: Path, tmp_path: Path
) -> None:
    shutil.copytree(plate / "B/03/0/labels/cells", plate / "B/03/0/labels/other")
    _run(plate, tmp_path / "run", FIRST)
    _write(plate / "B/03/0/labels/other/0", np.s_[:40, :40], 9)
    assert _run(plate, tmp_path / "run").done == 1


def test_changed_fields_done_again_are_those_of_a_new_run(
    plate: Path, tmp_path: Path
) -> None:
    _run(plate, tmp_path / "run")
    _write(plate / "B/03/1/0", np.s_[:64, :64], 500)
    _write(plate / "C/04/0/labels/cells/0", np.s_[:40, :40], 9)
    before = _spots(tmp_path / "run")
    end = _run(plate, tmp_path / "run", Selection(redo_changed=True))
    assert end.done + end.skipped == 3
    assert end.done >= 2
    _run(plate, tmp_path / "new")
    keys = ["row", "column", "field", "y", "x"]
    again, new = (
        _spots(tmp_path / name).sort_values(keys, ignore_index=True)
        for name in ("run", "new")
    )
    assert again.equals(new)
    assert len(before) != len(new) or not before.equals(new)
    # Whoever reads the folder with another tool finds no row twice either.
    files = (tmp_path / "run" / "spots").glob("*.parquet")
    assert sum(len(pd.read_parquet(file)) for file in files) == len(new)
    assert _run(plate, tmp_path / "run").skipped == 3


def test_a_failed_field_may_change_before_it_is_tried_again(
    plate: Path, tmp_path: Path
) -> None:
    whole = shutil.copytree(plate, tmp_path / "whole.zarr")
    shutil.rmtree(plate / "B/03/1/0")
    assert _run(plate, tmp_path / "run").failed == 1
    shutil.copytree(whole / "B/03/1/0", plate / "B/03/1/0")
    assert _run(plate, tmp_path / "run", Selection(failed=True)).done == 1


def test_a_copy_with_other_times_is_refused_and_told_from_a_change(
    plate: Path, tmp_path: Path
) -> None:
    _run(plate, tmp_path / "run")
    for path in (plate / "B/03/1/0/c").rglob("*"):
        os.utime(path, ns=(1, 1))
    words = r"B/03/1\. Of these, 1 have files with the names and sizes of before"
    with pytest.raises(RunError, match=words):
        _run(plate, tmp_path / "run")
    _write(plate / "B/03/0/0", np.s_[:64, :64], 500)
    with pytest.raises(RunError, match=r"2 fields .* Of these, 1 have files"):
        _run(plate, tmp_path / "run")


def _moved(plate: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy.zarr"
    shutil.copytree(plate, copy, copy_function=shutil.copyfile)
    shutil.rmtree(plate)
    return copy


@pytest.mark.parametrize("to", ["napari", "sectors"])
def test_nothing_is_drawn_on_a_field_that_changed(
    plate: Path, tmp_path: Path, to: Any
) -> None:
    out = tmp_path / "run"
    _run(plate, out)
    _write(plate / "B/03/1/0", np.s_[:64, :64], 500)
    words = r"1 field changed since the run .*: B/03/1\. Spots and cells"
    with pytest.raises(RunError, match=words):
        export_run(out, to)
    with pytest.raises(RunError, match=words):
        field_layers(out, "B/03/1")
    assert field_layers(out, "B/03/0")
    assert export_run(out, "csv")
    _run(plate, out, Selection(redo_changed=True))
    assert export_run(out, to)


def test_a_report_has_no_picture_of_a_field_that_changed(
    plate: Path, tmp_path: Path
) -> None:
    _run(plate, tmp_path / "run")
    opened = open_plate(plate)
    told = "It cannot be shown: 1 field changed since the run"
    page = write_report(tmp_path / "run", plate=opened).read_text()
    assert '<svg class="overlay"' in page
    assert told not in page
    for path in ("B/03/0", "B/03/1", "C/04/0"):
        _write(plate / path / "0", np.s_[:64, :64], 500)
    page = write_report(tmp_path / "run", plate=opened).read_text()
    assert '<svg class="overlay"' not in page
    assert told in page


def test_of_a_copy_elsewhere_it_is_said_that_pixels_were_not_compared(
    plate: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    _run(plate, out)
    copy = _moved(plate, tmp_path)
    told = "the files of 3 fields have other times than in the run"
    with pytest.warns(InputWarning, match=told):
        export_run(out, "napari", plate=copy)
    page = write_report(out, plate=open_plate(copy)).read_text()
    assert "the files of 1 field have other times than in the run" in page
    assert '<svg class="overlay"' in page
    # Another size is another content, wherever it is.
    chunk = copy / "B/03/0/0/c/1/0/0"
    chunk.write_bytes(chunk.read_bytes() + b" ")
    with pytest.raises(RunError, match=r"1 field changed .* B/03/0\."):
        export_run(out, "napari", plate=copy, overwrite=True)


def test_python_is_told_of_fields_whose_files_are_not_listed(
    plate: Path, tmp_path: Path, served: str
) -> None:
    url = f"{served}/{plate.relative_to(tmp_path)}"
    with pytest.warns(InputWarning, match="3 fields have chunks that are not stored"):
        run(url, str(tmp_path / "run"), _settings())
    with pytest.warns(InputWarning, match="of 3 fields .* only the metadata were"):
        run(url, str(tmp_path / "run"), _settings())
    with pytest.warns(InputWarning, match="of 3 fields .* only the metadata were"):
        export_run(tmp_path / "run", "napari")


def test_a_field_that_cannot_be_opened_any_more_has_changed(
    plate: Path, tmp_path: Path
) -> None:
    _run(plate, tmp_path / "run")
    (plate / "C/04/0/zarr.json").write_text("{")
    with pytest.raises(RunError, match=r"since: C/04/0"):
        _run(plate, tmp_path / "run")


def test_many_changed_fields_are_counted_and_some_named(
    tmp_path: Path, draw_scene: Run, write_plate: Run
) -> None:
    paths = [f"B/03/{n}" for n in range(14)]
    scene = draw_scene(0, (64, 64))
    plate = Path(write_plate(tmp_path / "p.zarr", dict.fromkeys(paths, scene)))
    _run(plate, tmp_path / "run")
    for path in paths:
        _write(plate / path / "0", np.s_[:9, :9], 500)
    with pytest.raises(RunError, match=r"results of 14 fields .*B/03/11 and 2 more\."):
        _run(plate, tmp_path / "run")


def test_another_version_of_the_package_is_refused(plate: Path, tmp_path: Path) -> None:
    _run(plate, tmp_path / "run", FIRST)
    provenance = tmp_path / "run" / "provenance.json"
    facts = json.loads(provenance.read_text())
    facts["versions"]["deepspot-scale"] = "0.0.1"
    provenance.write_text(json.dumps(facts))
    with pytest.raises(RunError, match=r"deepspot-scale: '0\.0\.1' there, now"):
        _run(plate, tmp_path / "run")


@pytest.mark.parametrize("dtype", [np.float32, np.uint16])
def test_a_worker_that_lives_on_reads_a_plate_that_was_written_again(
    tmp_path: Path, draw_scene: Run, write_plate: Run, here_and_now: None, dtype: Any
) -> None:
    place, scene = tmp_path / "p.zarr", draw_scene(0)
    settings = _settings()
    pipeline = assemble(settings)

    def measure() -> Any:
        (entry,) = open_plate(place).entries
        (plane,) = dask.compute(*defer_field(FieldTask(entry), settings, pipeline))
        # Certainty and area depend on the range of the dtype, and so may the pixel that
        # is highest, where intensity and SNR are measured.
        return plane.tables["spots"][["y", "x", "intensity", "snr", "cell"]]

    write_plate(place, {"B/03/0": _as(scene, np.int32)})
    first = measure()
    shutil.rmtree(place)
    write_plate(place, {"B/03/0": _as(scene, dtype)}, chunk=50)
    second = measure()
    assert len(first)
    places = ["y", "x", "cell"]
    pd.testing.assert_frame_equal(first[places], second[places], rtol=1e-4)
    pd.testing.assert_frame_equal(first, second, rtol=0.05)


def _as(scene: Any, dtype: Any) -> Any:
    return replace(scene, image=scene.image.astype(dtype))
