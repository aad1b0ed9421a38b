"""ThunderSTORM's CSV: headers, origins, and what other tools read from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.exports.localised_movies import MovieGeometry
from deepspot_scale.exports.thunderstorm import write_thunderstorm

MOVIE = MovieGeometry(64, 48, 20, 100.0)


def test_headers_are_quoted_and_frames_count_from_one(
    tmp_path: Path, draw_localisations: Any
) -> None:
    table = draw_localisations(1)
    write_thunderstorm(table, MOVIE, tmp_path / "t.csv")
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == (
        '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]",'
        '"offset [photon]","uncertainty_xy [nm]"'
    )
    assert lines[1].startswith(f"1,{table['frame'][0] + 1},")
    assert len(lines) == 201


def test_places_are_those_of_the_table(tmp_path: Path, draw_localisations: Any) -> None:
    table = draw_localisations(2)
    write_thunderstorm(table, MOVIE, tmp_path / "t.csv")
    back = pd.read_csv(tmp_path / "t.csv")
    for axis in "xy":
        np.testing.assert_allclose(back[f"{axis} [nm]"], table[f"{axis}_nm"], atol=1e-4)


def test_without_a_camera_light_is_in_counts(
    tmp_path: Path, draw_localisations: Any
) -> None:
    table = draw_localisations(3, camera=False)
    write_thunderstorm(table, MOVIE, tmp_path / "t.csv")
    back = pd.read_csv(tmp_path / "t.csv")
    assert list(back) == [
        "id", "frame", "x [nm]", "y [nm]", "sigma [nm]", "intensity [ADU]",
        "offset [ADU]",
    ]  # fmt: skip
    np.testing.assert_allclose(back["intensity [ADU]"], table["intensity"], atol=1e-4)


def test_depth_and_merged_frames_have_their_columns(
    tmp_path: Path, draw_localisations: Any
) -> None:
    table = draw_localisations(4).assign(z_nm=250.5, n_frames=2, uncertainty_z_nm=30.0)
    write_thunderstorm(table, MOVIE, tmp_path / "t.csv")
    back = pd.read_csv(tmp_path / "t.csv")
    assert (back["z [nm]"] == 250.5).all()
    assert (back["detections"] == 2).all()
    assert {"sigma1 [nm]", "sigma2 [nm]", "uncertainty_z [nm]"} <= set(back)


def test_no_molecules_leave_the_header(tmp_path: Path, draw_localisations: Any) -> None:
    write_thunderstorm(draw_localisations(5)[:0], MOVIE, tmp_path / "t.csv")
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 1


def test_locan_reads_the_same_nanometres(
    tmp_path: Path, draw_localisations: Any
) -> None:
    locan = pytest.importorskip("locan", reason="locan is not installed")
    table = draw_localisations(6)
    write_thunderstorm(table, MOVIE, tmp_path / "t.csv")
    back = locan.load_thunderstorm_file(tmp_path / "t.csv").data
    for axis in "xy":
        own = table[f"{axis}_nm"]
        np.testing.assert_allclose(back[f"position_{axis}"], own, atol=0.01)
    np.testing.assert_array_equal(back["frame"], table["frame"] + 1)
    np.testing.assert_allclose(back["intensity"], table["photons"], atol=1e-3)
    np.testing.assert_allclose(
        back["uncertainty_x"], table["uncertainty_nm"], atol=1e-3
    )


def test_picasso_takes_it_from_the_corner(
    tmp_path: Path, draw_localisations: Any
) -> None:
    pytest.importorskip("picasso", reason="picassosr is not installed")
    from picasso.io import import_ts

    table = draw_localisations(7)
    write_thunderstorm(table, MOVIE, tmp_path / "t.csv")
    back, _ = import_ts(str(tmp_path / "t.csv"), 100.0)
    # It keeps the corner as origin, half a pixel off its own fits.
    np.testing.assert_allclose(100 * back["x"], table["x_nm"], atol=0.01)
