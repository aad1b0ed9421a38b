"""A run over a plate that was copied half: fields fail or are counted, none passes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from deepspot_scale.errors import InputWarning
from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.io.plate import open_plate
from deepspot_scale.runs.execute import run
from deepspot_scale.runs.loose_images import detect_images
from deepspot_scale.runs.prepare import Selection
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import assemble, make_settings

WELLS = [f"B/{column:02d}/0" for column in range(1, 7)]
SETTINGS = make_settings(
    channels=["FISH"], cells="cells", nuclei="nuclei", enhance=False
)


@pytest.fixture
def plate(tmp_path: Path, draw_scene: Any, write_plate: Callable[..., str]) -> Path:
    """Six equal fields of 2 x 2 chunks; of B02 to B05 some were not copied."""
    place = tmp_path / "p.zarr"
    write_plate(place, dict.fromkeys(WELLS, draw_scene(0, (128, 128))))
    shutil.rmtree(place / "B/02/0/0/c/1")
    (place / "B/03/0/0/c/1/1/0").unlink()
    (place / "B/04/0/labels/cells/0/c/0/0").unlink()
    shutil.rmtree(place / "B/05/0/labels/cells/0/c")
    return place


def _fields(out: Path) -> dict[str, Any]:
    rows = open_results(out).fields.to_dict("records")
    return {row["column"]: row for row in rows}


def test_fields_that_were_copied_half_fail_and_say_what_is_absent(
    plate: Path, tmp_path: Path
) -> None:
    end = run(str(plate), str(tmp_path / "run"), SETTINGS)
    assert (end.done, end.failed) == (2, 4)
    found = _fields(tmp_path / "run")
    absent = {column: row["n_absent"] for column, row in found.items()}
    assert absent == {"01": 0, "02": 4, "03": 1, "04": 1, "05": 4, "06": 0}
    assert found["01"]["n_spots"] == found["06"]["n_spots"] > 0
    assert found["01"]["n_cells"] == 4
    assert "4 of the 4 chunks of the image" in found["02"]["reason"]
    assert "1 of the 4 chunks of the image" in found["03"]["reason"]
    assert "1 of the 4 chunks of the labels cells" in found["04"]["reason"]


def test_sparse_plates_are_allowed_and_counted(plate: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    run(str(plate), str(out), SETTINGS)
    with pytest.warns(InputWarning, match="2 fields have chunks that are not stored"):
        run(
            str(plate),
            str(out),
            SETTINGS,
            selection=Selection(failed=True, allow_absent="labels"),
        )
    found = _fields(out)
    assert [found[c]["status"] for c in ("02", "03", "04")] == ["failed"] * 2 + ["done"]
    assert (found["04"]["n_cells"], found["04"]["n_absent"]) == (3, 1)
    with pytest.warns(InputWarning, match="2 fields"):
        run(
            str(plate),
            str(out),
            SETTINGS,
            selection=Selection(failed=True, allow_absent="all"),
        )
    assert {c: row["n_absent"] for c, row in _fields(out).items()} == {
        "01": 0,
        "02": 4,
        "03": 1,
        "04": 1,
        "05": 4,
        "06": 0,
    }


def test_a_field_that_is_spread_is_checked_as_well(plate: Path) -> None:
    pipeline = assemble(SETTINGS)
    entries = {entry.address.column: entry for entry in open_plate(plate).entries}
    with pytest.raises(ValueError, match="1 of the 4 chunks of the image"):
        defer_field(FieldTask(entries["03"]), SETTINGS, pipeline)
    task = FieldTask(entries["03"], allow_absent="all")
    (plane,) = defer_field(task, SETTINGS, pipeline)
    assert plane.compute(scheduler="synchronous").state.n_absent == 1


def test_loose_images_are_checked_as_well(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = rng.poisson(100, (128, 128)).astype(np.uint16)
    place = tmp_path / "a.zarr"
    zarr.create_array(place, data=image, chunks=(64, 64))
    settings = make_settings(channels=["0"], enhance=False)
    assert detect_images([place], settings).n_images == 1
    (place / "c/1/1").unlink()
    (reason,) = detect_images([place], settings).failed.values()
    assert "1 of the 4 chunks of the image are not stored" in reason
    with pytest.warns(InputWarning, match=r"a\.zarr: 1 chunks are not stored"):
        found = detect_images([place], settings, allow_absent="all")
    assert found.n_images == 1


def test_info_says_which_fields_lack_chunks(plate: Path, command: Any) -> None:
    told = command("info", plate, "--no-enhance").out
    assert (
        "chunks that are not stored: in 4 fields: B/02/0 4 of 8 chunks of image; "
        "B/03/0 1 of 8 chunks of image; B/04/0 1 of 4 chunks of labels cells; "
        "B/05/0 4 of 4 chunks of labels cells\n"
    ) in told


def test_the_command_allows_sparse_labels_and_says_so(
    plate: Path, tmp_path: Path, command: Any
) -> None:
    words = ("--channel", "FISH", "--cells", "cells", "--no-enhance")
    where = (plate, "--out", tmp_path / "run", "--wells", "B04")
    ended = command("run", *where, *words, "--allow-absent", "labels")
    assert ended.code == 0
    assert "warning: 1 field has chunks that are not stored" in ended.err
    page = (tmp_path / "run/report.html").read_text()
    assert "1 chunks are not stored, and count as black" in page
