"""Runs over movies: segments, summaries, pictures, exports, report."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.cli import main
from deepspot_scale.errors import InputWarning, RunError
from deepspot_scale.evaluation.localisation_report import evaluate_localisations
from deepspot_scale.exports.formats import export_run
from deepspot_scale.io import movies
from deepspot_scale.io.plate import open_plate
from deepspot_scale.runs.movie_parts import iter_segments, list_movies

CAMERA = """
offset = 100
gain = 1.0
pixel_size = 0.1
wavelength_nm = 650
numerical_aperture = 1.05
"""
SIGMA = 0.21 * 650 / 1.05


@pytest.fixture(scope="module")
def short() -> Any:
    """Segments of sixteen frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(movies, "SEGMENT_PIXELS", 16 * 70 * 90)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, blinking: Any) -> Path:
    """Two movies, one of them as planes, and a camera file."""
    folder = tmp_path_factory.mktemp("movies")
    frames, _ = blinking
    tifffile.imwrite(folder / "a.tif", frames, imagej=True, metadata={"axes": "TYX"})
    more = frames[::-1][:21]
    tifffile.imwrite(folder / "b.tif", more, imagej=True, metadata={"axes": "ZYX"})
    (folder / "camera.toml").write_text(CAMERA)
    return folder


def call(*words: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["deepspot-scale", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
    return 0


def localise(folder: Path, out: Path, model: str, *more: object) -> int:
    camera = folder / "camera.toml"
    words = ("--model", model, "--camera", camera, "--out", out, "--drift", *more)
    return call("localise", folder, *words)


@pytest.fixture(scope="module")
def out(
    short: None, folder: Path, localiser: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("runs") / "RUN"
    assert localise(folder, out, localiser) == 0
    return out


def test_a_run_finds_what_the_verb_finds(
    out: Path, localiser: str, blinking: Any
) -> None:
    camera = {"offset": 100.0, "gain": 1.0}
    known = {
        "model": localiser, "pixel_size": 0.1, "psf_sigma": SIGMA, "camera": camera,
    }  # fmt: skip
    movie = xr.DataArray(blinking[0], dims=("t", "y", "x"))
    table = ds.localise(movie, **known)
    results = ds.open_run(out)
    first, second = list_movies(results)
    assert (first.address.field, first.n_frames, second.n_frames) == ("a", 60, 21)
    own = pd.concat(iter_segments(results, first), ignore_index=True)
    same = [name for name in table if name not in {"field", "channel"}]
    pd.testing.assert_frame_equal(own[same], table[same], check_exact=True)
    assert len(pd.read_parquet(out / "fields.parquet")) == 4 + 2


def test_movies_are_summed_up(out: Path) -> None:
    tables = ds.open_run(out).movie_tables
    movie, other = tables["movies"].to_dict("records")
    frames = tables["movie_frames"]
    assert (movie["movie"], movie["n_frames"], movie["n_failed"]) == ("a", 60, 0)
    assert frames.groupby("movie")["n_localisations"].sum().tolist() == [
        movie["n_localisations"], other["n_localisations"],
    ]  # fmt: skip
    area = 7.0 * 9.0
    assert movie["density"] == pytest.approx(movie["n_localisations"] / 60 / area)
    molecules = pd.concat(map(pd.read_parquet, sorted(out.glob("molecules/a_0-*"))))
    assert len(molecules) == movie["n_molecules"]


def test_the_picture_holds_every_molecule_where_it_is(out: Path) -> None:
    movies = ds.open_run(out).movie_tables["movies"]
    path = out / movies["picture"][0]
    field = open_plate(path).open(next(iter(open_plate(path))))
    picture = field.read()
    assert picture.shape == (700, 900)
    assert field.pixel_size_um == pytest.approx((0.01, 0.01))
    assert picture.sum() == pytest.approx(movies["n_molecules"][0], rel=0.03)
    molecules = pd.concat(map(pd.read_parquet, sorted(out.glob("molecules/a_0-*"))))
    y, x = (molecules[["y_nm", "x_nm"]] / 10).astype(int).to_numpy().T
    inside = (y > 2) & (y < 697) & (x > 2) & (x < 897)
    assert (picture[y[inside], x[inside]] > 0).all()


def test_a_bad_frame_fails_its_segment_and_changes_no_other(
    short: None, blinking: Any, folder: Path, localiser: str, tmp_path: Path
) -> None:
    frames, truth = blinking
    bad = frames.astype(np.float32)
    bad[20, 3, 3] = np.nan
    for name, own in (("bad", bad), ("good", frames.astype(np.float32))):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "m.tif"
        tifffile.imwrite(path, own, imagej=True, metadata={"axes": "TYX"})
    words = ("--model", localiser, "--camera", folder / "camera.toml", "--out")
    assert call("localise", tmp_path / "good", *words, tmp_path / "G") == 0
    assert call("localise", tmp_path / "bad", *words, tmp_path / "B") == 3
    one, other = (ds.open_run(tmp_path / name) for name in "GB")
    assert other.failed["field"].tolist() == ["m@16"]
    whole, rest = one.read("localisations"), other.read("localisations")
    kept = whole[whole["field"] != "m@16"]
    assert len(rest) == pytest.approx(len(kept), rel=0.02)
    (movie,), (full,) = (
        run.movie_tables["movies"].to_dict("records") for run in (other, one)
    )
    assert movie["n_failed"] == 16
    assert movie["density"] == pytest.approx(len(rest) / 44 / 63)
    assert full["n_failed"] == 0
    # Scores: a movie of several segments is one, and what is lacking is said.
    table = pd.DataFrame(truth._asdict()).assign(z_nm=np.nan)
    score = evaluate_localisations(tmp_path / "G", table, movie="m").score
    assert score.n_found == len(whole)
    with pytest.warns(InputWarning, match="not whole"):
        evaluate_localisations(tmp_path / "B", table)


def test_a_later_file_that_has_changed_is_found(
    short: None, blinking: Any, folder: Path, localiser: str, tmp_path: Path
) -> None:
    frames, _ = blinking
    where = tmp_path / "movie"
    where.mkdir()
    for name, own in (("m.tif", frames[:20]), ("m_X2.tif", frames[20:40])):
        tifffile.imwrite(where / name, own, imagej=True, metadata={"axes": "TYX"})
    words = (where, "--model", localiser, "--camera", folder / "camera.toml")
    assert call("localise", *words, "--out", tmp_path / "R") == 0
    later = where / "m_X2.tif"
    tifffile.imwrite(later, frames[40:], imagej=True, metadata={"axes": "TYX"})
    os.utime(later, (1, 1))
    assert call("localise", *words, "--out", tmp_path / "R") == 2
    assert call("localise", *words, "--redo-changed", "--out", tmp_path / "R") == 0


def test_a_picture_too_large_is_refused(out: Path) -> None:
    assert call("render", out, "--pixel", 0.0000001) == 2


def test_an_interrupted_run_continues_to_the_same_bytes(
    short: None, folder: Path, localiser: str, out: Path, tmp_path: Path
) -> None:
    again = tmp_path / "RUN"
    assert localise(folder, again, localiser, "--limit", 3) == 0
    assert localise(folder, again, localiser, "--workers", 1) == 0
    for name in ("movie_frames.parquet", "movies.parquet", "rings.parquet"):
        assert (again / name).read_bytes() == (out / name).read_bytes(), name
    for one in sorted(out.glob("molecules/*")):
        assert (again / "molecules" / one.name).read_bytes() == one.read_bytes()
    for one in sorted(out.glob("pictures/**/c/**/*")):
        if one.is_file():
            assert (again / one.relative_to(out)).read_bytes() == one.read_bytes()


def test_render_draws_again(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = ds.open_run(out).movie_tables["movies"]
    assert call("render", out, "--pixel", 0.05, "--method", "sum", "--merge", 30) == 0
    assert "pictures/a_0.zarr" in capsys.readouterr().out
    movies = ds.open_run(out).movie_tables["movies"]
    assert movies["picture_nm"].tolist() == [50.0, 50.0]
    assert (movies["n_molecules"] <= before["n_molecules"]).all()
    path = out / movies["picture"][0]
    picture = open_plate(path).open(next(iter(open_plate(path)))).read()
    assert picture.shape == (140, 180)
    assert picture.sum() == movies["n_molecules"][0]
    assert call("render", out) == 0


def test_the_report_shows_pictures_and_figures(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") == 2
    for words in ("Molecules of movies", "localisations in 60 frames", "1/7"):
        assert words in page
    assert (out / "report" / "movie_counts_1.csv").is_file()


def test_exports_hold_the_localisations(out: Path, tmp_path: Path) -> None:
    export_run(out, "thunderstorm", tmp_path / "ts")
    first = list_movies(ds.open_run(out))[0]
    own = pd.concat(iter_segments(ds.open_run(out), first), ignore_index=True)
    (file,) = tmp_path.glob("ts/a*.csv")
    table = pd.read_csv(file)
    np.testing.assert_allclose(table["x [nm]"], own["x_nm"], atol=0.01)
    assert (table["frame"] - 1).tolist() == own["frame"].tolist()
    listing = pd.read_csv(tmp_path / "ts" / "movies.csv")
    assert listing["pixel_nm"].tolist() == [100.0, 100.0]


def test_a_run_of_spots_has_no_movies(
    run_quickly: Any, tmp_path: Path, write_plate: Any, draw_scene: Any
) -> None:
    scene = draw_scene(1, (96, 96), n=5)
    plate = write_plate(tmp_path / "p.zarr", {"B/02/0": scene}, masks=())
    chosen = ds.make_settings(channels=["FISH"], enhance=False)
    ds.run(plate, str(tmp_path / "R"), chosen)
    with pytest.raises(RunError, match="no localisations"):
        list_movies(ds.open_run(tmp_path / "R"))


def test_what_is_missing_is_said(
    folder: Path, localiser: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = folder / "a.tif"
    assert call("localise", "--out", tmp_path / "R") == 2
    assert "give a movie" in capsys.readouterr().err
    words = ("--psf", "tetrapod", "--out", tmp_path / "R")
    assert call("localise", movie, *words) == 2
    assert "there is no model for --psf tetrapod" in capsys.readouterr().err
    out = tmp_path / "R2"
    assert call("localise", movie, "--model", localiser, "--out", out) == 3
    assert "size of a pixel is not known" in capsys.readouterr().err + str(
        pd.read_parquet(out / "fields.parquet")["reason"].tolist()
    )


def test_a_camera_file_with_an_unknown_word_is_refused(
    folder: Path, localiser: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = tmp_path / "camera.toml"
    camera.write_text("offset = 100\ngian = 2\n")
    words = ("--camera", camera, "--model", localiser, "--out", tmp_path / "R")
    assert call("localise", folder / "a.tif", *words) == 2
    assert "gian" in capsys.readouterr().err


def test_importing_the_command_line_stays_light() -> None:
    code = "import sys, deepspot_scale.cli; print('keras' in sys.modules)"
    words = [sys.executable, "-c", code]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
