"""A plate of z-stacks: its run is killed, goes on, and ends as if nothing had been."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image, write_labels
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.simulation.drawing import render_spots
from deepspot_scale.vocabulary import FieldAddress

SHAPE = (12, 96, 112)
ADDRESSES = [FieldAddress("B", "02", str(field)) for field in range(4)]
RUN = """
import sys, deepspot_scale as ds
from deepspot_scale.runs import dispatch
dispatch.MAX_BATCH = 1
settings = ds.make_settings(
    channels=["FISH"], cells="cells", nuclei="nuclei", volume=True,
    model="deepspot-fast",
)
ds.run(sys.argv[1], sys.argv[2], settings)
"""


def draw(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    site = np.array([5.0, 48.0, 40.0]) + rng.uniform(-1, 1, (8, 3)) * [1.1, 1.4, 1.4]
    singles = rng.uniform(2, np.array(SHAPE) - 3, (40, 3))
    singles = singles[np.abs(singles - site.mean(axis=0)).max(axis=1) > 14]
    points = np.concatenate([site, singles])
    sigmas = np.broadcast_to([1.1, 1.4, 1.4], points.shape)
    light = 100 + render_spots(SHAPE, points, np.full(len(points), 300.0), sigmas)
    return rng.poisson(light).astype(np.uint16)


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four fields with flat cells."""
    folder = tmp_path_factory.mktemp("stacks") / "plate.zarr"
    create_plate(folder, ADDRESSES)
    cells = np.zeros(SHAPE[1:], np.int32)
    cells[10:90, 10:60], cells[10:90, 62:108] = 1, 2
    nuclei = np.zeros_like(cells)
    nuclei[30:66, 25:55] = 1
    for number, address in enumerate(ADDRESSES):
        layout = ImageLayout(
            axes="czyx",
            shape=(1, *SHAPE),
            dtype=np.dtype(np.uint16),
            channels=("FISH",),
            pixel_size_um=(0.1, 0.1),
            z_step_um=0.3,
        )
        write_image(folder, address, draw(number)[None], layout)
        write_labels(folder, address, "cells", cells)
        write_labels(folder, address, "nuclei", nuclei)
    return folder


def start(plate: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", RUN, str(plate), str(out)])


def finish(plate: Path, out: Path) -> RunResults:
    assert start(plate, out).wait(timeout=300) == 0
    return open_run(out)


@pytest.fixture(scope="module")
def whole(plate: Path) -> RunResults:
    """A run that nothing stopped."""
    return finish(plate, plate.parent / "whole")


def assert_same_tables(one: RunResults, other: RunResults) -> None:
    for name in one.contents.tables:
        keys = ["row", "column", "field"]
        tables = [
            run.read(name).sort_values(keys, kind="stable", ignore_index=True)
            for run in (one, other)
        ]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
    for name, table in one.summaries.items():
        pd.testing.assert_frame_equal(table, other.summaries[name], check_exact=True)


def test_a_killed_run_on_stacks_goes_on_and_ends_the_same(
    plate: Path, tmp_path: Path, whole: RunResults
) -> None:
    out = tmp_path / "run"
    process = start(plate, out)
    deadline = time.monotonic() + 240
    while not list((out / "spots").glob("*.parquet")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    n_done = len(list((out / "spots").glob("*.parquet")))
    assert 1 <= n_done < len(ADDRESSES)
    assert_same_tables(finish(plate, out), whole)


def test_sites_of_the_stacks_are_taken_apart_and_are_transcription_sites(
    whole: RunResults,
) -> None:
    spots, clusters = whole.read("spots"), whole.read("clusters")
    near = np.abs(spots[["z", "y", "x"]].to_numpy() - [5, 48, 40]).max(axis=1) < 5
    each = spots[near].groupby("field").size()
    assert each.between(7, 9).all()
    assert len(each) == len(ADDRESSES)
    sites = clusters[clusters["transcription_site"]]
    assert sites["field"].tolist() == [address.field for address in ADDRESSES]
    assert sites["n_spots"].between(6, 9).all()
    assert (sites["nucleus"] == 1).all()
    assert np.abs(sites["z_um"] - 1.5).max() < 0.3
    assert (whole.fields["n_apart"] >= 1).all()
    assert (whole.fields["n_unclustered"] == 0).all()
