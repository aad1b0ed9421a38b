"""The section of dense sites: what is planted stands on the page in plain words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import deepspot_scale as ds
from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image, write_labels
from deepspot_scale.report.dense_sites import (
    read_sites,
    site_figure,
    site_table,
    site_words,
)
from deepspot_scale.report.page import write_report
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.simulation.drawing import render_spots
from deepspot_scale.vocabulary import FieldAddress

SHAPE = (240, 240)
ADDRESSES = [FieldAddress("B", "02", "0"), FieldAddress("C", "02", "0")]


def write(folder: Path, *, pixel: tuple[float, float] | None) -> Path:
    """Write a plate of two wells; the cell of the second has a site in its nucleus."""
    create_plate(folder, ADDRESSES)
    cells, nuclei = np.zeros((2, *SHAPE), np.int32)
    cells[20:220, 20:220], nuclei[80:160, 80:160] = 1, 1
    for number, address in enumerate(ADDRESSES):
        rng = np.random.default_rng(number)
        points = rng.uniform(10, 230, (60, 2))
        site = np.array([[120.0, 121.0]])
        points = points[np.abs(points - site).max(axis=1) > 12]
        heights = np.full(len(points), 300.0)
        if number:
            points, heights = np.r_[points, site], np.r_[heights, 2700.0]
        light = 100 + render_spots(SHAPE, points, heights, np.full(len(points), 1.4))
        image = rng.poisson(light).astype(np.uint16)
        layout = ImageLayout(
            axes="cyx",
            shape=(1, *SHAPE),
            dtype=image.dtype,
            channels=("A<b>",),
            pixel_size_um=pixel,
        )
        write_image(folder, address, image[None], layout)
        write_labels(folder, address, "cells", cells)
        write_labels(folder, address, "nuclei", nuclei)
    return folder


def run_on(folder: Path, *, pixel: tuple[float, float] | None) -> RunResults:
    plate = write(folder / "plate.zarr", pixel=pixel)
    names = {"cells": "cells", "nuclei": "nuclei"}
    settings = ds.make_settings(channels=["0"], model="deepspot-fast", **names)
    ds.run(str(plate), str(folder / "run"), settings)
    return open_run(folder / "run")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResults:
    return run_on(tmp_path_factory.mktemp("sites"), pixel=(0.1, 0.1))


def test_the_page_says_how_many_sites_there_are_and_how_large(run: RunResults) -> None:
    page = write_report(run.folder.local_path).read_text("utf-8")
    assert "<h2>Dense sites</h2>" in page
    assert "A&lt;b&gt;: 1 cluster of spots, of which 1 transcription site" in page
    assert "A<b>" not in page
    written = {path.name for path in (run.folder.local_path / "report").iterdir()}
    assert {"dense_sites.svg", "sites.csv"} <= written


def test_sites_are_counted_by_condition_and_cell(run: RunResults) -> None:
    sites = read_sites(run)
    (line,) = site_table(run, sites).to_dict("records")
    assert (line["clusters"], line["transcription_sites"], line["n_cells"]) == (1, 1, 2)
    assert line["sites_per_cell"] == 0.5
    assert line["molecules_by_brightness"] == pytest.approx(9, abs=1.5)
    plot = site_figure(sites)
    assert plot is not None
    assert len(plot.numbers) == 1


def test_without_a_pixel_size_the_page_says_that_nothing_was_looked_at(
    tmp_path: Path,
) -> None:
    run = run_on(tmp_path, pixel=None)
    words = site_words(run, read_sites(run))
    n_spots = int(run.done["n_spots"].sum())
    assert f"{n_spots} spots were not looked at" in words
    assert int(run.done["n_unclustered"].sum()) == n_spots


def test_without_sites_there_is_no_section(run: RunResults) -> None:
    assert site_words(run, pd.DataFrame()) == ""
    assert site_figure(pd.DataFrame()) is None
