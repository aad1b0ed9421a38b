"""Localisations of a run: one file for each movie, read back by what reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import deepspot_scale as ds
from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.exports.formats import export_run
from deepspot_scale.exports.localised_movies import MovieGeometry, check_table

FORMATS = ("thunderstorm", "picasso", "smlm")


@pytest.fixture
def localise(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    localiser: str,
) -> Callable[..., Path]:
    """Localise the fields of a small plate, as movies of one frame."""

    def run(pixel_size_um: tuple[float, float], **known: Any) -> Path:
        scenes = {path: draw_scene(i) for i, path in enumerate(("B/03/0", "C/04/0"))}
        size = {"pixel_size_um": pixel_size_um}
        plate = write_plate(tmp_path / "plate.zarr", scenes, masks=(), **size)
        names = ("enhance", "detect", "quality", "clusters")
        off = {name: {"use": False} for name in names}
        chosen = {"use": True, "localiser": localiser, **known}
        settings = ds.make_settings(channels=["FISH"], localise=chosen, **off)
        ds.run(plate, str(tmp_path / "run"), settings)
        return tmp_path / "run"

    return run


@pytest.fixture
def localised_run(localise: Callable[..., Path]) -> Path:
    return localise((0.1, 0.1))


@pytest.mark.parametrize("to", FORMATS)
def test_each_movie_is_a_file_and_listed_with_its_geometry(
    localised_run: Path, to: Any
) -> None:
    folder = Path(export_run(localised_run, to))
    assert folder == localised_run / "exports" / to
    listed = pd.read_csv(folder / "movies.csv", dtype={"column": str})
    assert listed["row"].tolist() == ["B", "C"]
    table = ds.open_run(localised_run).read("localisations")
    assert listed["n"].tolist() == table.groupby("row").size().tolist()
    assert listed["n"].min() > 5
    assert listed["file"].str.startswith(("B_03_0_FISH", "C_04_0_FISH")).all()
    assert all((folder / name).is_file() for name in listed["file"])
    geometry = ["width", "height", "n_frames", "pixel_nm"]
    assert listed[geometry].iloc[0].tolist() == [160, 128, 1, 100.0]


def test_an_export_is_replaced_on_request_and_nothing_else(
    localised_run: Path, tmp_path: Path
) -> None:
    export_run(localised_run, "smlm")
    with pytest.raises(RunError, match="ask to overwrite"):
        export_run(localised_run, "smlm")
    export_run(localised_run, "smlm", overwrite=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(RunError, match="not replaced"):
        export_run(localised_run, "smlm", tmp_path / "mine", overwrite=True)


def test_only_the_movies_that_were_asked_for(localised_run: Path) -> None:
    folder = Path(export_run(localised_run, "thunderstorm", fields=["C04"]))
    assert pd.read_csv(folder / "movies.csv")["row"].tolist() == ["C"]


@pytest.mark.parametrize("to", FORMATS)
def test_a_run_without_localisations_says_so(
    screen: Any, tmp_path: Path, to: Any
) -> None:
    with pytest.raises(RunError, match="has no localisations"):
        export_run(screen.run, to, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_pixels_of_a_size_that_was_given_are_those_of_the_file(
    localise: Callable[..., Path],
) -> None:
    run = localise((0.1, 0.2), pixel_nm=160.0)
    folder = Path(export_run(run, "picasso"))
    assert pd.read_csv(folder / "movies.csv")["pixel_nm"].tolist() == [160.0, 160.0]


def test_nearly_square_pixels_have_one_edge_from_frame_to_file(
    localise: Callable[..., Path],
) -> None:
    folder = Path(export_run(localise((0.1, 0.1005)), "picasso"))
    assert pd.read_csv(folder / "movies.csv")["pixel_nm"].tolist() == [100.25, 100.25]


def test_pixels_that_are_not_square_are_not_localised(
    localise: Callable[..., Path],
) -> None:
    run = localise((0.1, 0.2))
    failed = ds.open_run(run).failed
    assert failed["reason"].str.contains("not square").all()
    assert len(failed) == 2


def test_frames_beyond_the_movie_and_places_of_nowhere_are_refused(
    draw_localisations: Any,
) -> None:
    table = draw_localisations(0, n=5, n_frames=9)
    with pytest.raises(SettingsError, match="expected frames 0 to"):
        check_table(table, MovieGeometry(32, 32, int(table["frame"].max()), 100.0))
    lost = table.assign(x_nm=np.nan)
    with pytest.raises(SettingsError, match="must be finite"):
        check_table(lost, MovieGeometry(32, 32, 9, 100.0))
    with pytest.raises(SettingsError, match="larger than 0"):
        check_table(table, MovieGeometry(32, 32, 9, np.nan))
