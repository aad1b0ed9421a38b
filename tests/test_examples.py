"""The worked examples run as they are printed, and their answers are right."""

from __future__ import annotations

import ast
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

import deepspot_scale as ds

EXAMPLES = Path(__file__).parent / "examples"


def n_lines(name: str) -> int:
    """Count the lines of code, without comments, blank lines and the docstring."""
    tree = ast.parse((EXAMPLES / name).read_text("utf-8"))
    code = ast.unparse(ast.Module(tree.body[1:], []))
    return len([line for line in code.splitlines() if line.strip()])


def test_a_plate_becomes_a_figure_in_ten_lines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    here_and_now: None,
) -> None:
    pytest.importorskip("seaborn")
    paths = ("B/03/0", "C/04/0")
    scenes = {path: draw_scene(seed) for seed, path in enumerate(paths)}
    write_plate(tmp_path / "PLATE.zarr", scenes)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = runpy.run_path(str(EXAMPLES / "spots_of_wells.py"))
    assert n_lines("spots_of_wells.py") == 10
    assert set(names["table"]["well"]) == {"B03", "C04"}
    assert "<svg" in (tmp_path / "snr.svg").read_text("utf-8")


def test_a_detector_of_ones_own_gives_the_undistributed_answer_on_workers(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> None:
    scene = draw_scene(1, (1100, 900), n=900)
    write_plate(tmp_path / "PLATE.zarr", {"B/03/0": scene}, masks=(), chunk=512)
    script = EXAMPLES / "own_detector.py"
    root = str(Path(ds.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert n_lines(script.name) < 25
    found = pd.read_parquet(tmp_path / "RUN/spots")
    detector = runpy.run_path(str(script))["detector"]
    image = ds.open_plate(str(tmp_path / "PLATE.zarr"))["B/03/0"]["image"].sel(c="FISH")
    whole = ds.detect(image.load(), method=detector)
    measured = ["y", "x", "enhanced", "intensity", "snr", "area"]
    pd.testing.assert_frame_equal(found[measured], whole[measured], check_exact=True)
    away, _ = cKDTree(found[["y", "x"]]).query(scene.points)
    assert (away < 2).mean() > 0.9
    assert len(found) < 1.1 * len(scene.points)


def test_a_segmenter_of_ones_own_keeps_the_contract() -> None:
    names = runpy.run_path(str(EXAMPLES / "own_nuclei.py"), run_name="__main__")
    assert n_lines("own_nuclei.py") < 12
    assert names["nuclei"].halo == 86


def test_a_stage_of_ones_own_is_run_as_the_readme_says(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> None:
    scene = draw_scene(1, (300, 280), n=90)
    write_plate(tmp_path / "PLATE.zarr", {"B/03/0": scene}, masks=())
    words = "run PLATE.zarr --channel FISH --stage smooth_stage:SMOOTH --out RUN"
    words += " --set smooth.sigma=1.5 --no-enhance --block 128"
    root = str(Path(ds.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", "deepspot_scale.cli", *words.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, str(EXAMPLES)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert n_lines("smooth_stage.py") <= 20
    smoothed = ds.open_plate(str(tmp_path / "RUN/smoothed.zarr"))["B/03/0"]["image"]
    image = scene.image[1].astype(np.float32)
    expected = gaussian_filter(image, 1.5, radius=6)
    np.testing.assert_allclose(smoothed.squeeze(), expected, rtol=1e-5)
    assert len(pd.read_parquet(tmp_path / "RUN/spots")) > 50
