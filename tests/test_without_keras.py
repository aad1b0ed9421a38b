"""What runs needs neither Keras nor a backend of it; what trains says what to install.

A process that cannot import them gives the same tables as one that can. The command
`demo`, with its workers, is run in CI where they are really not installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import deepspot_scale as ds
from deepspot_scale.simulation import wound_assay
from deepspot_scale.simulation.movies import MovieRecipe, simulate_movie

pytest.importorskip("openvino")
REFUSED = ("keras", "tensorflow", "torch", "jax")
HOOK = f"""
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {REFUSED}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuse())
"""
COMMANDS = """
import json, sys
from typer.testing import CliRunner
from deepspot_scale.cli import app

answers = [CliRunner().invoke(app, line.split()) for line in sys.argv[1:]]
errors = [str(each.exception or "") for each in answers]
print(json.dumps([errors, [name for name in sys.modules if "." not in name]]))
"""
CONVERT = "convert FOLDER PLATE.zarr --pixel-size 0.108"
RUNS = """
import tifffile
import xarray as xr
import deepspot_scale as ds
from typer.testing import CliRunner
from deepspot_scale.cli import app

for line in (CONVERT, "detect FOLDER/B03_0_FISH.tif --out detected.csv"):
    answer = CliRunner().invoke(app, line.split())
    assert answer.exit_code == 0, answer.output
made = {"use": True, "segments": ["nuclei:DAPI", "cells:FISH"]}
settings = ds.make_settings(channels=["FISH"], segment=made)
assert ds.run("PLATE.zarr", "RUN", settings).failed == 0
movie = xr.DataArray(tifffile.imread("movie.tif"), dims=("t", "y", "x"))
known = {"pixel_size": 0.1, "psf_sigma": 120.0, "camera": {"offset": 100, "gain": 1}}
ds.localise(movie, **known).to_parquet("localised.parquet")
"""
RECIPE = """
mixture = [{ source = "broad", patches = 2 }]
patch = 64
steps = 2
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what is read."""
    place = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(5)
    scene = wound_assay.draw_scene(rng)
    image = wound_assay.photograph(rng, scene, wound_assay.plant_spots(rng, scene, 2.0))
    (place / "FOLDER").mkdir()
    for channel, counts in zip(wound_assay.CHANNELS, image, strict=True):
        tifffile.imwrite(place / "FOLDER" / f"B03_0_{channel}.tif", counts)
    frames, _ = simulate_movie(MovieRecipe((64, 64), density=0.5), 8, seed=1)
    tifffile.imwrite(place / "movie.tif", frames, imagej=True, metadata={"axes": "TYX"})
    (place / "train.toml").write_text(RECIPE)
    return place


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder on whose path Python refuses to import Keras."""
    place = tmp_path_factory.mktemp("hook")
    (place / "sitecustomize.py").write_text(HOOK)
    return str(place)


def begin(images: Path, folder: Path) -> Path:
    """Return a folder that has what is read, and what is read only."""
    folder.mkdir()
    for file in images.iterdir():
        (folder / file.name).symlink_to(file)
    return folder


def python(folder: Path, hook: str, *words: str) -> str:
    """Return what Python prints that cannot import Keras; its cache is a new one."""
    paths = hook, str(Path(ds.__file__).parents[1]), os.environ.get("PYTHONPATH", "")
    surroundings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    command = [sys.executable, "-c", *words]
    how = {"cwd": folder, "env": surroundings, "text": True}
    done = subprocess.run(command, **how, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_runs_without_keras_give_the_same_tables(
    images: Path, hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without, usual = (begin(images, tmp_path / name) for name in ("without", "usual"))
    python(without, hook, f"CONVERT = {CONVERT!r}\n{RUNS}")
    monkeypatch.chdir(usual)
    exec(RUNS, {"CONVERT": CONVERT})
    one, other = tables(without), tables(usual)
    for name, table in one.items():
        assert len(table) > 10, name
        pd.testing.assert_frame_equal(table, other[name], check_exact=True, obj=name)


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    run = ds.open_run(folder / "RUN")
    return {
        "detected": pd.read_csv(folder / "detected.csv"),
        "spots": run.read("spots"),
        "cells": run.read("cells"),
        "localised": pd.read_parquet(folder / "localised.parquet"),
    }


def test_what_needs_keras_says_what_to_install(
    images: Path, hook: str, tmp_path: Path
) -> None:
    folder = begin(images, tmp_path / "without")
    lines = {
        "train --config train.toml --out NEW": "training needs Keras",
        "fit-judge deepspot-fast --out judged.safetensors": "a judge needs Keras",
        "detect FOLDER --engine keras --out s.csv": "the engine keras needs Keras",
        "detect FOLDER --device gpu --out s.csv": "a GPU needs Keras",
        CONVERT: "",
        "denoise PLATE.zarr -c FISH --out CLEAN.zarr": "noise (no --model) needs Keras",
    }
    errors, loaded = json.loads(python(folder, hook, COMMANDS, *lines).splitlines()[-1])
    for (line, words), error in zip(lines.items(), errors, strict=True):
        assert words in error, line
        assert ("pip install keras tensorflow" in error) == bool(words), line
    assert "openvino" not in loaded  # all of them are told before any work
    assert not {*REFUSED} & {*loaded}
