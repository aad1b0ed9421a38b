"""The command segment: labels in the plate, made once, resumable, never lost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage

from deepspot_scale.cli import main
from deepspot_scale.io.ome_zarr.writing import write_labels
from deepspot_scale.io.plate import open_plate
from deepspot_scale.networks.segmenters import Segmenter
from deepspot_scale.plugins import own_version
from deepspot_scale.report.page import write_report
from deepspot_scale.runs.results import open_results
from deepspot_scale.vocabulary import FieldAddress

FIELDS = ("B/03/0", "B/03/1")


def _bright(image: np.ndarray) -> np.ndarray:
    return ndimage.label(ndimage.gaussian_filter(image, 1) > 0.5)[0]


FIND = Segmenter(_bright, largest=40, tile=128)
NUCLEI = f"{__name__}:FIND@DAPI"


@pytest.fixture
def plate(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> str:
    """Two fields whose nuclei and cells can be seen, without labels."""
    scenes = {}
    for number, path in enumerate(FIELDS):
        scene = draw_scene(number, n=60)
        light = np.stack([300 * (scene.nuclei > 0), 60 * (scene.cells > 0)])
        image = (scene.image + light).astype(np.uint16)
        scenes[path] = replace(scene, image=image)
    return write_plate(tmp_path / "plate.zarr", scenes, masks=())


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Give a command; returns its exit code."""

    def give(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["deepspot-scale", *words])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return give


def files_in(folder: str | Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def test_a_run_on_the_plates_new_labels_equals_one_that_segments(
    plate: str,
    call: Callable[..., int],
    run_quickly: Callable[..., Any],
    tmp_path: Path,
) -> None:
    given = {"reference": "point:-500,40", "channels": ("FISH",)}
    segments = [f"nuclei:{NUCLEI}", "cells:FISH"]
    at_once = tmp_path / "at_once"
    run_quickly(plate, at_once, cells=None, nuclei=None, segments=segments, **given)
    assert call("segment", plate, "--nuclei", NUCLEI, "--cells", "FISH") == 0
    for path in FIELDS:
        field = open_plate(plate).open(path)
        assert field.label_names == ("nuclei", "cells")
        nuclei, cells = (field.read_labels(name) for name in field.label_names)
        assert len(np.unique(nuclei)) == 7
        np.testing.assert_array_equal(cells[nuclei > 0], nuclei[nuclei > 0])
    run_quickly(plate, tmp_path / "after", **given)
    one, other = open_results(at_once), open_results(tmp_path / "after")
    for name in ("spots", "cells"):
        pd.testing.assert_frame_equal(one.read(name), other.read(name))
    for name, table in one.summaries.items():
        pd.testing.assert_frame_equal(table, other.summaries[name])
    assert (one.read("spots")["cell"] > 0).any()


def test_the_same_command_again_does_nothing_and_another_run_overwrites_nothing(
    plate: str, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("segment", plate, "--nuclei", NUCLEI)
    assert call(*words) == 0
    there = files_in(plate)
    capsys.readouterr()
    assert call(*words) == 0
    assert "2 skipped as done before" in capsys.readouterr().err
    assert call(*words, "--out", f"{plate}-2") == 2
    assert "already; replace them by --overwrite" in capsys.readouterr().err
    assert not Path(f"{plate}-2", "manifest").exists()  # no field was begun
    assert files_in(plate) == there
    assert call(*words, "--out", f"{plate}-2", "--overwrite") == 0


def test_labels_of_other_settings_are_refused_and_info_says_what_made_which(
    plate: str, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    def told() -> list[str]:
        capsys.readouterr()
        assert call("info", plate) == 0
        lines = capsys.readouterr().out.splitlines()
        return [line for line in lines if line.startswith("labels ")]

    assert told() == []
    by_plugin = ("segment", plate, "--nuclei", NUCLEI)
    assert call(*by_plugin, "--limit", "1") == 0
    (line,) = told()
    assert line.startswith(f"labels nuclei: plug-in {NUCLEI.partition('@')[0]} (")
    assert line.endswith(f"DAPI; deepspot-scale {own_version()} (in 1 of 2 fields)")
    assert call(*by_plugin) == 0
    (line,) = told()
    assert line.endswith(f"DAPI; deepspot-scale {own_version()}")
    there = files_in(plate)
    other = ("segment", plate, "--nuclei", f"{__name__}:FIND@FISH")
    assert call(*other) == 2
    assert "holds a run with other settings" in capsys.readouterr().err
    assert call(*other, "--out", f"{plate}-2") == 2
    assert "already; replace them by --overwrite" in capsys.readouterr().err
    assert files_in(plate) == there
    assert call(*other, "--out", f"{plate}-2", "--overwrite", "--limit", "1") == 0
    assert ["FISH" in line for line in told()] == [False, True]
    labels = open_plate(plate).open(FIELDS[1]).read_labels("nuclei")
    write_labels(plate, FieldAddress.from_path(FIELDS[1]), "nuclei", labels)
    assert "labels nuclei: nothing says what made them (in 1 of 2 fields)" in told()


def test_a_killed_run_that_is_continued_gives_the_same_bytes(
    plate: str, call: Callable[..., int], tmp_path: Path
) -> None:
    words = ("segment", plate, "--nuclei", NUCLEI, "--cells", "FISH")
    out = tmp_path / "run"
    assert call(*words, "--out", str(out)) == 0
    layers = {name: files_in(out / f"{name}.zarr") for name in ("nuclei", "cells")}
    labels = files_in(plate)
    # As a kill leaves it: layers of the second field begun, its entry not written.
    (out / "manifest" / "B-03-1.parquet").unlink()
    for name in ("nuclei", "cells"):
        begun = out / f"{name}.zarr" / "B/03/1/0"
        (begun / "c/0/0/0/0/0").write_bytes(b"half")
    assert call(*words, "--out", str(out)) == 0
    for name, before in layers.items():
        assert files_in(out / f"{name}.zarr") == before
    assert files_in(plate) == labels


def test_a_run_does_not_go_on_with_other_weights_of_a_plugin(
    plate: str,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = tmp_path / "net.h5"
    weights.write_text("first")
    named = Segmenter(_bright, largest=40, tile=128, files=(str(weights),))
    monkeypatch.setitem(globals(), "NAMED", named)
    words = ("segment", plate, "--nuclei", f"{__name__}:NAMED@DAPI")
    assert call(*words) == 0
    weights.write_text("second")
    capsys.readouterr()
    assert call(*words) == 2
    told = capsys.readouterr().err
    assert "holds a run with other input" in told
    assert "segmenter of nuclei, net.h5: '" in told
    weights.write_text("first")
    assert call(*words) == 0


def test_labels_of_others_are_refused_before_a_field_is_read(
    plate: str, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    address = FieldAddress.from_path(FIELDS[1])
    write_labels(plate, address, "nuclei", np.ones((128, 160), np.uint8))
    assert call("segment", plate, "--nuclei", NUCLEI) == 2
    assert "B/03/1" in capsys.readouterr().err
    assert open_plate(plate).open(FIELDS[0]).label_names == ()


def test_images_that_are_no_plate_are_refused_before_they_are_read(
    tmp_path: Path, call: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    image = np.zeros((2, 64, 64), np.uint16)
    tifffile.imwrite(tmp_path / "one.tif", image, imagej=True, metadata={"axes": "CYX"})
    words = ("segment", str(tmp_path / "one.tif"), "--nuclei", f"{__name__}:FIND@0")
    assert call(*words, "--overwrite") == 2
    assert "is no OME-Zarr plate" in capsys.readouterr().err
    assert not (tmp_path / "one.tif-segmented" / "manifest").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "--nuclei CHANNEL"),
        (("--cells", "FISH"), "cells are grown from nuclei"),
        (("--nuclei", "module:function"), "module:function@CHANNEL"),
        (("--nuclei", "no-such@DAPI"), "no segmenter 'no-such'"),
        (("--nuclei", "no-such@"), "no-such@CHANNEL"),
        (("--nuclei", f"{__name__}:FIND@DAPY"), "Did you mean 'DAPI'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    plate: str,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    reason: str,
) -> None:
    assert call("segment", plate, *words) == 2
    assert reason in capsys.readouterr().err


def test_the_report_says_what_made_the_labels_and_speaks_of_no_spots(
    plate: str, call: Callable[..., int]
) -> None:
    call("segment", plate, "--nuclei", NUCLEI, "--cells", "FISH")
    run = plate.replace(".zarr", "-segmented")
    html = write_report(run, plate=open_plate(plate)).read_text("utf-8")
    assert "12 nuclei were segmented in this run, in DAPI, by the plug-in" in html
    assert "Cells were segmented in this run, in FISH" in html
    assert "No cells were measured" not in html
    assert "no spot was found" not in html
    assert ">spots</" not in html.split("Fields to look at")[0]
    assert html.count("<path stroke") >= 4
