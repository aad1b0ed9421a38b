"""SMLM files: the manifest, the binary rows, and what locan reads from them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.exports.localised_movies import MovieGeometry
from deepspot_scale.exports.smlm import write_smlm

MOVIE = MovieGeometry(64, 48, 20, 100.0)


def read(file: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Read by the words of the specification."""
    with zipfile.ZipFile(file) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        (stored,) = manifest["files"]
        layout = manifest["formats"][stored["format"]]
        types = list(zip(layout["headers"], layout["dtype"], strict=True))
        rows = np.frombuffer(archive.read(stored["name"]), np.dtype(types))
    assert len(rows) == stored["rows"]
    assert len(layout["units"]) == len(layout["shape"]) == layout["columns"]
    return layout, rows


def test_rows_are_those_of_the_table(tmp_path: Path, draw_localisations: Any) -> None:
    table = draw_localisations(1)
    write_smlm(table, MOVIE, tmp_path / "t.smlm")
    layout, rows = read(tmp_path / "t.smlm")
    np.testing.assert_array_equal(rows["x"], table["x_nm"])
    np.testing.assert_array_equal(rows["y"], table["y_nm"])
    np.testing.assert_array_equal(rows["frame"], table["frame"] + 1)
    np.testing.assert_allclose(rows["intensity"], table["photons"], rtol=1e-6)
    units = dict(zip(layout["headers"], layout["units"], strict=True))
    assert (units["x"], units["intensity"]) == ("nm", "photon")
    assert "z" not in units


def test_without_a_camera_light_is_in_counts(
    tmp_path: Path, draw_localisations: Any
) -> None:
    table = draw_localisations(2, camera=False)
    write_smlm(table, MOVIE, tmp_path / "t.smlm")
    layout, rows = read(tmp_path / "t.smlm")
    units = dict(zip(layout["headers"], layout["units"], strict=True))
    assert units["intensity"] == "count"
    np.testing.assert_allclose(rows["intensity"], table["intensity"], rtol=1e-6)
    assert "x_precision" not in units


def test_the_same_table_gives_the_same_bytes(
    tmp_path: Path, draw_localisations: Any
) -> None:
    contents = []
    for _ in range(2):
        write_smlm(draw_localisations(3), MOVIE, tmp_path / "t.smlm")
        contents.append((tmp_path / "t.smlm").read_bytes())
    assert contents[0] == contents[1]


def test_no_molecules_give_a_table_without_rows(
    tmp_path: Path, draw_localisations: Any
) -> None:
    write_smlm(draw_localisations(4)[:0], MOVIE, tmp_path / "t.smlm")
    assert len(read(tmp_path / "t.smlm")[1]) == 0


def test_locan_reads_the_same_nanometres(
    tmp_path: Path, draw_localisations: Any
) -> None:
    locan = pytest.importorskip("locan", reason="locan is not installed")
    table = draw_localisations(5).assign(z_nm=77.0)
    write_smlm(table, MOVIE, tmp_path / "t.smlm")
    back = locan.load_SMLM_file(tmp_path / "t.smlm").data
    for axis in "xyz":
        own = table[f"{axis}_nm"]
        np.testing.assert_allclose(back[f"position_{axis}"], own, atol=0.01)
    np.testing.assert_array_equal(back["frame"], table["frame"] + 1)
