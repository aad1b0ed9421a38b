"""Command, Python functions and accessor give equal tables."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest

import deepspot_scale as ds
from deepspot_scale.errors import RunError
from deepspot_scale.runs.results import open_results

PATHS = ("B/03/0", "B/03/1")
REFERENCE = ds.Reference(line=((-20.0, 0.0), (-10.0, 300.0)))
WORDS = "line:-20,0,-10,300"
DETECTOR = """
from functools import partial
from skimage.feature import blob_log
import deepspot_scale as ds

find = partial(blob_log, min_sigma=1, max_sigma=2, num_sigma=3, threshold=0.2)
detector = ds.PointDetector(find, halo=16, on="raw")
"""
KEYS = ["row", "column", "field", "t", "channel", "z"]


@pytest.fixture(scope="module")
def plate(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> str:
    """Two fields with cells and nuclei."""
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    return write_plate(tmp_path_factory.mktemp("faces") / "plate.zarr", scenes)


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> str:
    """One field of two planes, the second upside down."""
    scene = draw_scene(3)
    planes = np.stack([scene.image, scene.image[:, ::-1]], axis=1)
    target = tmp_path_factory.mktemp("faces") / "stack.zarr"
    return write_plate(target, {"B/03/0": replace(scene, image=planes)})


def _sorted(table: pd.DataFrame) -> pd.DataFrame:
    return table.sort_values(KEYS, kind="stable", ignore_index=True)


def _assert_same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(_sorted(one), _sorted(other), check_exact=True)
    assert len(one) > 5


def _by_hand(plate: str, project: str | None = None) -> tuple[Any, Any, Any]:
    """Return spots by functions and by the accessor, and cells, of all fields."""
    functions, accessors, tables = [], [], []
    opened = ds.open_plate(plate)
    for path in opened:
        tree = opened[path]
        raw = tree["image"].sel(c="FISH")
        if project == "max":
            raw = raw.max("z", keep_attrs=True)
        labels = {name: tree[f"labels/{name}/labels"] for name in ("cells", "nuclei")}
        found = [
            ds.detect(ds.enhance(raw), raw=raw),
            raw.deepspot.enhance().deepspot.detect(raw=raw),
        ]
        found = [ds.assign(spots, **labels) for spots in found]
        cells = ds.measure_polarity(found[0], **labels, reference=REFERENCE, like=raw)
        one, other, cells = dask.compute(*found, cells, scheduler="synchronous")
        functions.append(one)
        accessors.append(other)
        tables.append(cells)
    return tuple(map(pd.concat, (functions, accessors, tables)))


def test_command_functions_and_accessor_give_equal_tables(
    plate: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    masks = ("--cells", "cells", "--nuclei", "nuclei", "--reference", WORDS)
    out = tmp_path / "run"
    ended = command("run", plate, "-c", "FISH", *masks, "--out", out)
    assert ended.code == 0
    functions, accessors, cells = _by_hand(plate)
    results = open_results(out)
    _assert_same(results.read("spots"), functions)
    _assert_same(functions, accessors)
    _assert_same(results.read("cells"), cells)


def test_numpy_and_dask_arrays_give_equal_tables(plate: str) -> None:
    tree = ds.open_plate(plate)["B/03/0"]
    lazy = tree["image"].sel(c="FISH")
    eager = lazy.load().copy()
    assert eager.chunks is None
    table = ds.detect(ds.enhance(eager), raw=eager)
    assert isinstance(table, pd.DataFrame)
    chunked = eager.chunk({"y": 50, "x": 33})
    computed = ds.detect(ds.enhance(chunked), raw=chunked)
    _assert_same(computed.compute(scheduler="synchronous"), table)


@pytest.mark.parametrize("project", ["none", "max"])
def test_planes_are_the_same_in_a_run_and_by_hand(
    stack: str, tmp_path: Path, run_quickly: Callable[..., Any], project: str
) -> None:
    outcome = run_quickly(
        stack, tmp_path / "run", enhance=True, project=project, reference=WORDS
    )
    functions, accessors, cells = _by_hand(stack, project)
    if project == "max":  # a plane that was projected by hand does not say so
        functions, accessors = (
            table.assign(z=-1.0, plane=np.int32(-1)) for table in (functions, accessors)
        )
        cells = cells.assign(z=np.int32(-1))
    results = open_results(outcome.folder.url)
    _assert_same(results.read("spots"), functions)
    _assert_same(functions, accessors)
    _assert_same(results.read("cells"), cells)


def test_a_detector_of_ones_own_is_the_same_in_a_run_and_by_hand(
    plate: str,
    tmp_path: Path,
    run_quickly: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "log_of_mine.py").write_text(DETECTOR)
    monkeypatch.syspath_prepend(tmp_path)
    named = {"detector": "log_of_mine:detector", "block": 64}
    outcome = run_quickly(plate, tmp_path / "run", cells=None, nuclei=None, **named)
    opened = ds.open_plate(plate)
    images = [opened[path]["image"].sel(c="FISH") for path in opened]
    detector = importlib.import_module("log_of_mine").detector
    lazy = [ds.detect(image, method=detector, block=50) for image in images]
    _assert_same(outcome.spots, pd.concat(dask.compute(*lazy, scheduler="threads")))
    # Another version of the same detector must not go on in the same folder.
    (tmp_path / "log_of_mine.py").write_text(DETECTOR.replace("0.2", "0.3"))
    with pytest.raises(RunError, match="detector"):
        run_quickly(plate, tmp_path / "run", cells=None, nuclei=None, **named)


def test_a_run_in_python_is_the_run_of_the_command(
    plate: str, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    settings = ds.make_settings(
        channels=("FISH",), cells="cells", nuclei="nuclei", enhance=False
    )
    end = ds.run(plate, str(tmp_path / "one"), settings)
    outcome = run_quickly(plate, tmp_path / "two")
    assert (end.done, end.n_spots) == (2, outcome.progress.n_spots)
    one = open_results(tmp_path / "one").read("spots")
    _assert_same(one, outcome.spots)
