"""Molecules in CSV files of ThunderSTORM, of the challenge, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.evaluation.localisation_truth import COLUMNS, read_molecules


def written(folder: Path, text: str) -> Path:
    """Return a new file with the text."""
    (path := folder / "truth.csv").write_text(text, "utf-8")
    return path


def test_columns_of_thunderstorm_are_read(tmp_path: Path) -> None:
    text = (
        '"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]"\n'
        "1,1,67.5,2484.1,111.2,2458.4\n2,3,28.9,3531.1,107.3,2253.5\n"
    )
    table = read_molecules(written(tmp_path, text))
    assert tuple(table.columns) == COLUMNS
    assert table["frame"].tolist() == [0, 2]
    assert table["frame"].dtype == np.int64
    assert table["x_nm"].tolist() == [67.5, 28.9]
    assert table["photons"].tolist() == [2458.4, 2253.5]
    assert table["z_nm"].isna().all()


@pytest.mark.parametrize(
    ("header", "x"),
    [
        ("frame,x [nm],y [nm],z [nm]", 7.0),
        ("Ground-truth,frame,xnano,ynano,znano,intensity", 1.0),
        ("frame, x (um), y (um), z (um)", 7000.0),
        ("Frame,X,Y,Z", 7.0),
    ],
)
def test_headers_of_relatives_are_read(tmp_path: Path, header: str, x: float) -> None:
    n = header.count(",") + 1
    row = ",".join(["1", "7.0", "2.0", "3.0", "4.0", "5.0"][:n])
    row = row if "frame," in header.lower()[:6] else "9,1,1.0,2.0,3.0,4.0"
    table = read_molecules(written(tmp_path, f"{header}\n{row}\n"))
    assert table["x_nm"].tolist() == [x]
    assert table["z_nm"].notna().all()


def test_light_in_counts_is_not_taken_for_photons(tmp_path: Path) -> None:
    text = "frame,x [nm],y [nm],intensity [ADU]\n1,2,3,400\n"
    assert read_molecules(written(tmp_path, text))["photons"].isna().all()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("frame,x [px],y [px]\n1,2,3\n", "'px'"),
        ("time,x [nm],y [nm]\n1,2,3\n", "frame is missing"),
        ("frame,a,b\n1,2,3\n", "x .nm. is missing"),
        ("frame,x [nm],y [nm]\n0,2,3\n", "count from 1"),
        ("frame,x [nm],y [nm]\n1.5,2,3\n", "whole numbers"),
        ("frame,x [nm],y [nm]\n1,2,3\n2,no,4\n", "line 3.*'no'"),
        ("frame,x [nm],x [um],y [nm]\n1,2,3,4\n", "both mean x_nm"),
        ("", "cannot be read"),
    ],
)
def test_a_table_that_would_be_misread_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        read_molecules(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.csv"):
        read_molecules(tmp_path / "absent.csv")


@pytest.mark.parametrize(
    ("name", "n", "last"),
    [("bundled_tubes", 27035, 119), ("dense_20_frames", 4956, 19)],
)
def test_shared_truths_are_read(
    shared_data: Path, name: str, n: int, last: int
) -> None:
    table = read_molecules(shared_data / "smlm" / f"{name}.csv")
    assert (len(table), table["frame"].min(), table["frame"].max()) == (n, 0, last)
