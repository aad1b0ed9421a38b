"""A field as many blocks gives what it gives on one worker, to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest

from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.field import run_field
from deepspot_scale.execution.planes import FieldTask, PlaneResult
from deepspot_scale.io.plate import open_plate
from deepspot_scale.kernels.references import Reference
from deepspot_scale.settings import assemble, make_settings

REFERENCE = Reference(line=((-30.0, 0.0), (-40.0, 400.0)))
BLOCK = 512


@pytest.fixture(scope="module")
def task(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> FieldTask:
    """A field of 700 x 900 px whose cells of 250 px cross every seam."""
    scene = draw_scene(0, (700, 900), n=900, edge=250)
    target = tmp_path_factory.mktemp("blocks") / "p.zarr"
    plate = write_plate(target, {"B/03/0": scene}, chunk=170)
    return FieldTask(open_plate(plate).entries[0], REFERENCE)


def _run(task: FieldTask, **values: Any) -> tuple[PlaneResult, PlaneResult, int]:
    """Return the answer on one worker, as blocks, and the number of blocks."""
    given = {"channels": ("FISH",), "cells": "cells", "nuclei": "nuclei"}
    settings = make_settings(**given | values)
    pipeline = assemble(settings)
    (whole,) = run_field(task, settings, pipeline)
    deferred = defer_field(task, settings, pipeline)
    with dask.config.set(scheduler="synchronous"):
        (spread,) = dask.compute(*deferred)
    return whole, spread, len(pipeline.blocks((700, 900)).blocks)


def _assert_same(one: PlaneResult, other: PlaneResult) -> None:
    names = {"spots", "clusters", "cells", "quality", "radial"}
    assert set(one.tables) == set(other.tables) == names
    for name, table in one.tables.items():
        pd.testing.assert_frame_equal(table, other.tables[name], check_exact=True)
        least = {"spots": 10, "cells": 10}.get(name, 0)
        assert len(table) > least or name == "clusters"
    assert one.counts == other.counts
    counts = {"n_dropped", "n_faint", "n_crowded", "n_unclustered"}
    assert set(one.counts) == counts | {"n_without_distances"}


def test_blocks_on_many_workers_answer_as_one_worker_with_the_network(
    task: FieldTask,
) -> None:
    whole, spread, n_blocks = _run(task, block=BLOCK, keep_enhanced=True)
    assert n_blocks > 4
    _assert_same(whole, spread)
    (name,) = whole.layers
    assert whole.layers[name].shape == (700, 900)
    np.testing.assert_array_equal(whole.layers[name], spread.layers[name])
    assert spread.seconds is None


@pytest.mark.parametrize("detector", ["raw", "product"])
def test_blocks_on_many_workers_answer_as_one_worker_without_it(
    task: FieldTask, detector: str
) -> None:
    whole, spread, n_blocks = _run(task, block=256, enhance=False, detector=detector)
    assert n_blocks > 10
    _assert_same(whole, spread)


def test_the_size_of_a_block_changes_nothing_without_the_network(
    task: FieldTask,
) -> None:
    one, *_ = _run(task, block=2048, enhance=False)
    for block in (333, 512):
        many, *_ = _run(task, block=block, enhance=False)
        _assert_same(one, many)


def test_cells_that_cross_seams_are_whole(
    task: FieldTask, draw_scene: Callable[..., Any]
) -> None:
    _, spread, _ = _run(task, block=200, enhance=False)
    scene = draw_scene(0, (700, 900), n=900, edge=250)
    cells, areas = np.unique(scene.cells[scene.cells > 0], return_counts=True)
    np.testing.assert_array_equal(spread.tables["cells"]["cell"], cells)
    np.testing.assert_array_equal(spread.tables["cells"]["area"], areas)
    cytoplasm = (scene.cells > 0) & (scene.nuclei == 0)
    binned = [sum(bins) for bins in spread.tables["cells"]["area_bins"]]
    np.testing.assert_array_equal(binned, np.bincount(scene.cells[cytoplasm])[cells])
    inside = spread.tables["spots"].query("cell > 0").groupby("cell").size()
    np.testing.assert_array_equal(
        spread.tables["cells"].set_index("cell")["n_spots"].loc[inside.index], inside
    )


def test_deferring_a_field_computes_nothing(
    task: FieldTask, forbid_computing: AbstractContextManager[None]
) -> None:
    settings = make_settings(channels=("FISH",), block=BLOCK)
    with forbid_computing:
        assert len(defer_field(task, settings, assemble(settings))) == 1
