"""A field of a volume from three sides, and the depth of a run's spots."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deepspot_scale.io.plate import open_plate
from deepspot_scale.report.html import svg_text
from deepspot_scale.report.orthogonal_views import (
    Views,
    draw_views,
    take_views,
    views_svg,
)
from deepspot_scale.report.page import write_report
from deepspot_scale.report.sections import depth_figure
from deepspot_scale.report.shown_plane import ShownPlane
from deepspot_scale.runs.results import open_run
from deepspot_scale.simulation.stacks import StackKind, simulate_stack

SHAPE = (9, 96, 112)


@dataclass(frozen=True)
class Stacked:
    """Simulated stacks of two channels."""

    image: np.ndarray


@pytest.fixture(scope="module")
def volume(tmp_path_factory: Any, write_plate: Any, run_quickly: Any) -> Any:
    """A plate of one stack, of 30 spots in its second channel, and a run on it."""
    folder = tmp_path_factory.mktemp("volume")
    truth = simulate_stack(StackKind(SHAPE, spots=30, peak=25.0), 1)
    image = np.stack([np.zeros_like(truth.image), truth.image]).astype(np.uint16)
    given: dict[str, Any] = {"masks": (), "z_step_um": 0.3}
    plate = write_plate(folder / "p.zarr", {"B/03/0": Stacked(image)}, **given)
    options = {"enhance": True, "volume": True, "cells": None, "nuclei": None}
    run_quickly(plate, folder / "run", **options)
    return folder


def circles(svg: str) -> np.ndarray:
    places = re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)" r="2.8"', svg)
    return np.array(places, float).reshape(-1, 2)


def test_views_are_the_maxima_along_each_axis(volume: Path) -> None:
    field = open_plate(str(volume / "p.zarr")).open("B/03/0")
    stack = simulate_stack(StackKind(SHAPE, spots=30, peak=25.0), 1).image
    window = slice(10, 60), slice(20, 100)
    places = np.array([[1, 9.4, 50], [2, 9.5, 50], [3, 30, 99.4], [3, 30, 99.6]])
    views = take_views(field, ShownPlane(0, "FISH", -1), window, places)
    own = stack[:, *window]
    np.testing.assert_array_equal(views.above, own.max(axis=0))
    np.testing.assert_array_equal(views.front, own.max(axis=1))
    np.testing.assert_array_equal(views.right, own.max(axis=2).T)
    np.testing.assert_allclose(views.spots, [[2, -0.5, 30], [3, 20, 79.4]])


def test_a_spot_stands_at_its_place_in_all_three_views_and_in_one_colour() -> None:
    flat = np.zeros((40, 60))
    front, right = np.zeros((8, 60)), np.zeros((40, 8))
    spots = np.array([[2.0, 10, 20], [7.0, 30, 50]])
    svg = views_svg(Views(flat, front, right, spots), (3.0, 1.5))
    above, aside, before = circles(svg).reshape(3, 2, 2)
    np.testing.assert_allclose(above, [[20.5, 10.5], [50.5, 30.5]])
    np.testing.assert_allclose(aside, [[2.5 * 3, 10.5], [7.5 * 3, 30.5]])
    np.testing.assert_allclose(before, [[20.5, 2.5 * 1.5], [50.5, 7.5 * 1.5]], atol=0.1)
    assert re.findall(r'stroke="(#\w+)"', svg) == ["#56b4e9", "#f0e442"] * 3
    assert 'width="24.0" height="40.0"' in svg  # eight planes, three pixels apart
    assert 'width="60.0" height="12.0"' in svg


def test_a_thick_stack_stays_on_the_page_and_no_spots_are_no_error() -> None:
    views = Views(
        np.ones((40, 60)), np.ones((500, 60)), np.ones((40, 500)), np.zeros((0, 3))
    )
    svg = views_svg(views, (5.0, 2.5))
    width, height = map(float, re.findall(r'viewBox="0 -10 ([\d.]+) ([\d.]+)"', svg)[0])
    assert width < 40 + 500
    assert height < 40 + 300
    assert len(circles(svg)) == 0


def test_the_spots_of_a_run_stand_on_bright_pixels_in_every_view(volume: Path) -> None:
    run = open_run(volume / "run")
    field = run.plate.open("B/03/0")
    text = draw_views(run, field)
    pictures = [
        cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), 0)
        for data in re.findall(r"base64,([^\"]+)", text)
    ]
    n = len(run.read("spots"))
    marks = circles(text).reshape(3, n, 2)
    assert n > 25
    # 0.3 micrometres are three pixels along x, and one and a half along y.
    for picture, own, apart in zip(
        pictures, marks, [(1, 1), (1.5, 1), (1, 3)], strict=True
    ):
        x, y = np.clip(
            (own / apart).astype(int), 0, np.array(picture.shape)[::-1] - 1
        ).T
        assert np.median(picture[y, x]) > 2 * np.median(picture)
    assert "Planes are 0.3 µm apart, drawn to scale" in text
    assert f"{n} spots, from blue at z" in text


def test_the_histogram_has_each_spot_once_in_the_bin_of_its_plane(
    volume: Path,
) -> None:
    run = open_run(volume / "run")
    plot = depth_figure(run)
    assert plot is not None
    z = run.read("spots")["z"].to_numpy()
    assert plot.numbers["n_spots"].sum() == len(z)
    for row in plot.numbers.to_dict("records"):
        inside = (z >= row["from_plane"]) & (z < row["to_plane"])
        assert row["n_spots"] == inside.sum()
    top = plot.figure.axes[0].child_axes[0]
    assert "µm" in svg_text(plot.figure)
    low, high = plot.figure.axes[0].get_xlim()
    assert top.get_xlim() == pytest.approx((0.3 * low, 0.3 * high))


def test_the_page_of_a_volume_shows_depth_and_that_of_planes_does_not(
    volume: Path, run_quickly: Any
) -> None:
    plate = open_plate(str(volume / "p.zarr"))
    page = write_report(volume / "run", plate=plate).read_text()
    assert '<figure id="depth">' in page
    assert page.count("from the right") == 1
    assert "the maximum of 9 planes" in page
    assert (volume / "run/report/depth.csv").is_file()
    flat = volume / "flat"
    run_quickly(str(volume / "p.zarr"), flat, cells=None, nuclei=None)
    page = write_report(flat, plate=plate).read_text()
    assert "from the right" not in page
    assert "depth" not in page.split("The run</h2>")[0]


def test_a_stack_of_unknown_step_is_shown_and_said_not_to_be_to_scale(
    tmp_path: Path, write_plate: Any, run_quickly: Any
) -> None:
    image = np.full((2, 5, 48, 64), 100, np.uint16)
    image[:, 2, 20, 30] = 101  # nothing that a detector could take for a spot
    given: dict[str, Any] = {"masks": (), "pixel_size_um": None}
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": Stacked(image)}, **given)
    options = {"enhance": True, "volume": True, "cells": None, "nuclei": None}
    run_quickly(plate, tmp_path / "run", model="deepspot-fast", **options)
    run = open_run(tmp_path / "run")
    text = draw_views(run, run.plate.open("B/03/0"))
    assert "The distance of planes is not known: 3 pixels are drawn." in text
    assert "0 spots. The" in text
    assert depth_figure(run) is None
