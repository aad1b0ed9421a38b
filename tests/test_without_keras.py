"""What runs needs neither Keras nor a backend of it; what trains says what to install.

A process that cannot import them, and whose workers cannot, gives the same tables.
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
from deepspot_scale.runs.movie_parts import iter_segments, list_movies
from deepspot_scale.simulation import broad_image, wound_assay

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
SCRIPT = """
import contextlib, io, json, sys
from deepspot_scale import demo, demo_movie
from deepspot_scale.cli import main

demo._COLUMNS = ("02",)
demo_movie.FRAMES = 9
answers = []
for line in sys.argv[1:]:
    sys.argv = ["deepspot-scale", *line.split()]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
    answers.append((code, said.getvalue()))
loaded = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"answers": answers, "loaded": loaded}))
"""
RUNS = (
    "convert FOLDER PLATE.zarr --pixel-size 0.108",
    "detect image.tif --out spots.csv",
    "run PLATE.zarr --channel FISH --segment nuclei:DAPI --segment cells:FISH --out RUN",
    "localise --demo --out MOVIES",
)
RECIPE = """
mixture = [{ source = "broad", patches = 2 }]
patch = 64
steps = 2
"""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the commands read."""
    place = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(5)
    scene = wound_assay.draw_scene(rng)
    image = wound_assay.photograph(rng, scene, wound_assay.plant_spots(rng, scene, 2.0))
    (place / "FOLDER").mkdir()
    for channel, counts in zip(wound_assay.CHANNELS, image, strict=True):
        tifffile.imwrite(place / "FOLDER" / f"B03_0_{channel}.tif", counts)
    tifffile.imwrite(place / "image.tif", broad_image(rng, 256).image)
    (place / "train.toml").write_text(RECIPE)
    return place


def call(images: Path, folder: Path, *lines: str, paths: str = "") -> dict[str, list]:
    """Return exit codes and words of commands that one new process gives in a folder.

    `paths` come before those of the package, and its cache is a new one.
    """
    folder.mkdir()
    for name in ("FOLDER", "image.tif", "train.toml"):
        (folder / name).symlink_to(images / name)
    found = [paths, str(Path(ds.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    surroundings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, found)),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *lines],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, list] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.fixture(scope="module")
def hook(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder on whose path Python refuses to import Keras."""
    place = tmp_path_factory.mktemp("hook")
    (place / "sitecustomize.py").write_text(HOOK)
    return str(place)


def test_runs_without_keras_give_the_same_tables(
    images: Path, hook: str, tmp_path: Path
) -> None:
    lines = (*RUNS, "demo --out DEMO")
    without = call(images, tmp_path / "without", *lines, paths=hook)
    assert [code for code, _ in without["answers"]] == [0] * 5, without["answers"]
    assert not {*REFUSED} & {*without["loaded"]}
    assert "matched within 3 px" in without["answers"][-1][1]
    usual = call(images, tmp_path / "usual", *RUNS)
    assert [code for code, _ in usual["answers"]] == [0] * 4, usual["answers"]
    one, other = (tables(tmp_path / name) for name in ("without", "usual"))
    assert one.keys() == other.keys()
    for name, table in one.items():
        assert len(table) > 10, name
        pd.testing.assert_frame_equal(table, other[name], check_exact=True, obj=name)


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    run, movies = ds.open_run(folder / "RUN"), ds.open_run(folder / "MOVIES")
    (movie,) = list_movies(movies)
    return {
        "detect": pd.read_csv(folder / "spots.csv"),
        "spots": run.read("spots"),
        "cells": run.read("cells"),
        "localisations": pd.concat(iter_segments(movies, movie)),
    }


def test_what_needs_keras_says_what_to_install(
    images: Path, hook: str, tmp_path: Path
) -> None:
    lines = {
        "train --config train.toml --out NEW": "training needs Keras",
        "fit-judge deepspot-fast --out judged.safetensors": "a judge needs Keras",
        "detect image.tif --engine keras --out s.csv": "the engine keras needs Keras",
        "detect image.tif --device gpu --out s.csv": "a GPU needs Keras",
        RUNS[0]: "",
        "denoise PLATE.zarr --channel FISH --out CLEAN.zarr": "noise (no --model) needs",
    }
    done = call(images, tmp_path / "without", *lines, paths=hook)
    for (line, words), (code, said) in zip(lines.items(), done["answers"], strict=True):
        assert code == (2 if words else 0), (line, said)
        assert words in said, line
        assert not words or "pip install keras tensorflow" in " ".join(said.split())
