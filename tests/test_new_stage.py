"""The promise: a new stage is one file; everything else follows from what it declares.

Four toy stages, one of each shape, are defined in this file alone. Each is run in
memory, spread over blocks, through a run folder, its export and its report; and once
more as a plug-in of an installed package. A stage that needed an edit anywhere else
would fail here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pydantic import Field
from scipy import ndimage

import deepspot_scale as ds
from deepspot_scale import errors
from deepspot_scale.blockwise.contract import (
    Key,
    Layer,
    RunContext,
    Stage,
    StageOptions,
    Work,
)
from deepspot_scale.blockwise.shapes import (
    find_rows,
    label_pixels,
    map_pixels,
    row_table,
)
from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.exports.formats import export_run
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.report.page import write_report
from deepspot_scale.runs.contents import read_contents
from deepspot_scale.settings import assemble
from deepspot_scale.vocabulary import Column

# --- the four stages --------------------------------------------------------------


class SmoothOptions(StageOptions):
    """How much the image is smoothed."""

    sigma: float = Field(default=2.0, gt=0, description="Gaussian sigma in pixels.")


SMOOTHED = Layer("smoothed", "float32", keep=True)


def gaussian(pixels: np.ndarray, sigma: float) -> np.ndarray:
    radius = round(4 * sigma)
    return ndimage.gaussian_filter(pixels.astype(np.float32), sigma, radius=radius)


def plan_smooth(options: SmoothOptions, _: RunContext) -> Work:
    smooth = partial(gaussian, sigma=options.sigma)
    margin = round(4 * options.sigma)
    return Work((map_pixels(SMOOTHED, "image", smooth, margin=margin),))


SMOOTH = Stage("smooth", SmoothOptions, plan_smooth)


class CountOptions(StageOptions):
    """Which maxima are counted."""

    least: float = Field(default=130.0, description="Least smoothed counts.")


MAXIMA: Key[pd.DataFrame] = Key("maxima")
HEIGHT = (
    Column("y", "float64", "place of the maximum, pixels"),
    Column("x", "float64", "place of the maximum, pixels"),
    Column("height", "float32", "smoothed counts"),
)


def maxima(pixels: np.ndarray, least: float) -> pd.DataFrame:
    peak = (ndimage.maximum_filter(pixels, 5) == pixels) & (pixels >= least)
    y, x = np.nonzero(peak)
    return pd.DataFrame({"y": y, "x": x, "height": pixels[y, x]})


def plan_count(options: CountOptions, _: RunContext) -> Work:
    find = partial(maxima, least=options.least)
    step = find_rows(MAXIMA, SMOOTHED.name, find, margin=2)
    return Work((step,), (row_table("maxima", HEIGHT, MAXIMA),))


COUNT = Stage("count", CountOptions, plan_count)


class ThresholdOptions(StageOptions):
    """What is a region."""

    above: float = Field(default=110.0, description="Smoothed counts.")


REGIONS = Layer("regions", "int32", labels=True, keep=True, joined=True)


def is_above(pixels: np.ndarray, above: float) -> np.ndarray:
    return pixels > above


def plan_threshold(options: ThresholdOptions, _: RunContext) -> Work:
    mask = partial(is_above, above=options.above)
    return Work((label_pixels(REGIONS, SMOOTHED.name, mask, margin=0),))


THRESHOLD = Stage("threshold", ThresholdOptions, plan_threshold)


class EnlargeOptions(StageOptions):
    """Nothing to choose."""


ENLARGED = Layer("enlarged", "float32", scale=3, keep=True)


def enlarge(pixels: np.ndarray) -> np.ndarray:
    around = ndimage.uniform_filter(pixels.astype(np.float32), 3)
    return around.repeat(3, axis=0).repeat(3, axis=1)


def plan_enlarge(_: EnlargeOptions, __: RunContext) -> Work:
    return Work((map_pixels(ENLARGED, "image", enlarge, margin=1),))


ENLARGE = Stage("enlarge", EnlargeOptions, plan_enlarge)

TOYS = (SMOOTH, COUNT, THRESHOLD, ENLARGE)
NAMES = tuple(
    f"{__name__}:{word}" for word in ("SMOOTH", "COUNT", "THRESHOLD", "ENLARGE")
)
LAYERS = ("smoothed", "regions", "enlarged")

# --- what they must give, without any of our machinery ----------------------------


def expected(image: np.ndarray) -> dict[str, Any]:
    smoothed = gaussian(image, 2.0)
    regions, _ = ndimage.label(is_above(smoothed, 110.0))
    return {
        "smoothed": smoothed,
        "maxima": maxima(smoothed, 130.0),
        "regions": regions.astype(np.int32),
        "enlarged": enlarge(image),
    }


def agree(found: dict[str, Any], image: np.ndarray) -> None:
    """Assert that layers and table are the expected ones, to the last bit."""
    truth = expected(image)
    assert len(truth["maxima"]) > 5
    assert truth["regions"].max() > 3
    for name in LAYERS:
        np.testing.assert_array_equal(np.asarray(found[name]), truth[name])
    columns = ["y", "x", "height"]
    table = found["maxima"].sort_values(["y", "x"], ignore_index=True)[columns]
    whole = truth["maxima"].sort_values(["y", "x"], ignore_index=True)[columns]
    pd.testing.assert_frame_equal(table, whole, check_dtype=False, check_exact=True)


@pytest.fixture(scope="module")
def image(draw_scene: Callable[..., Any]) -> np.ndarray:
    return draw_scene(3, (150, 170), n=60).image[1]


@pytest.fixture(scope="module")
def plate(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    image: np.ndarray,
) -> str:
    scene = draw_scene(3, (150, 170), n=60)
    flipped = replace(scene, image=scene.image[:, ::-1])
    scenes = {"B/03/0": scene, "C/04/0": flipped}
    return write_plate(tmp_path_factory.mktemp("toy") / "plate.zarr", scenes)


def settings(**values: Any) -> Any:
    given = {"channels": ["FISH"], "enhance": False, "stages": NAMES, **values}
    return ds.make_settings(**given)


# --- in memory, and spread --------------------------------------------------------


def choices() -> dict[Stage, StageOptions]:
    return {stage: stage.options() for stage in TOYS}


def test_in_memory(image: np.ndarray) -> None:
    agree(ds.apply(choices(), xr.DataArray(image, dims=("y", "x"))), image)


def test_their_order_does_not_matter(image: np.ndarray) -> None:
    backwards = dict(reversed(list(choices().items())))
    agree(ds.apply(backwards, xr.DataArray(image, dims=("y", "x"))), image)


@pytest.mark.parametrize("block", [64, 77, 128])
def test_in_blocks(image: np.ndarray, block: int) -> None:
    given = xr.DataArray(image, dims=("y", "x"))
    agree(ds.apply(choices(), given, block=block), image)


def test_lazily_and_spread_over_blocks(
    image: np.ndarray, forbid_computing: Any
) -> None:
    lazy = xr.DataArray(image, dims=("y", "x")).chunk({"y": 40, "x": 50})
    with forbid_computing:
        found = ds.apply(choices(), lazy, block=64)
    assert found["enlarged"].shape == (450, 510)
    assert len(found["smoothed"].data.chunks[0]) > 1
    agree({name: each.compute() for name, each in found.items()}, image)


def test_a_stored_field_spread_over_workers(plate: str, image: np.ndarray) -> None:
    chosen = settings(block=64, detect=False)
    pipeline = assemble(chosen)
    task = FieldTask(open_plate(plate).entries[0])
    (plane,) = defer_field(task, chosen, pipeline)
    result = plane.compute(scheduler="threads")
    agree({**result.tables, **result.layers}, image)


# --- a run folder, its export, its report -----------------------------------------


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory, plate: str) -> Path:
    out = tmp_path_factory.mktemp("runs") / "RUN"
    ds.run(plate, str(out), settings())
    return out


def test_a_run_folder_holds_what_they_give(run_folder: Path, image: np.ndarray) -> None:
    assert {"maxima", "spots", "quality"} <= set(
        read_contents(Folder(str(run_folder))).tables
    )
    fields = pd.read_parquet(run_folder / "fields.parquet")
    assert (fields["status"] == "done").all(), fields["reason"].tolist()
    for stage in TOYS:
        assert (fields[f"seconds_{stage.name}"] >= 0).all()
    table = pd.read_parquet(run_folder / "maxima")
    for row, pixels in (("B", image), ("C", image[::-1])):
        column = "03" if row == "B" else "04"
        found: dict[str, Any] = {"maxima": table[table["row"] == row]}
        for name in LAYERS:
            field = open_plate(run_folder / f"{name}.zarr").open(f"{row}/{column}/0")
            found[name] = field.read()
        agree(found, pixels)


def test_options_of_the_stages_are_settings_of_the_run(
    plate: str, tmp_path: Path
) -> None:
    chosen = settings(smooth={"sigma": 1.5}, count_least=140.0)
    ds.run(plate, str(tmp_path / "RUN"), chosen)
    text = (tmp_path / "RUN" / "settings.toml").read_text()
    assert "[smooth]" in text
    assert "sigma = 1.5" in text
    with pytest.raises(errors.RunError, match=r"smooth.sigma: 1.5 there, now 2.0"):
        ds.run(plate, str(tmp_path / "RUN"), settings(count_least=140.0))
    with pytest.raises(errors.SettingsError, match=r"smooth.sigma"):
        settings(smooth={"sigma": -1})


def test_the_export_holds_the_table(run_folder: Path, tmp_path: Path) -> None:
    export_run(run_folder, "csv", tmp_path / "csv")
    exported = pd.read_csv(tmp_path / "csv" / "maxima.csv", dtype={"column": str})
    table = pd.read_parquet(run_folder / "maxima")
    pd.testing.assert_frame_equal(
        exported[["y", "x"]], table[["y", "x"]], check_exact=True
    )
    meanings = pd.read_csv(tmp_path / "csv" / "columns.csv")
    told = meanings[meanings["table"] == "maxima"].set_index("column")["meaning"]
    assert told["height"] == "smoothed counts"


def test_the_report_shows_the_table_and_the_layers(run_folder: Path) -> None:
    page = write_report(run_folder).read_text()
    n = len(pd.read_parquet(run_folder / "maxima"))
    assert "maxima" in page
    assert f"{n:,}" in page
    for name in LAYERS:
        assert f"{name}.zarr" in page


# --- as a package of somebody else ------------------------------------------------


METADATA = "Metadata-Version: 2.1\nName: toy-stages\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The four stages, installed as a package with entry points."""
    source = Path(__file__).read_text().split("TOYS = (")[0]
    points = "".join(
        f"{stage.name} = toy_stages:{stage.name.upper()}\n" for stage in TOYS
    )
    wheel = tmp_path / "toy_stages-1.0-py3-none-any.whl"
    about = "toy_stages-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("toy_stages.py", source)
        file.writestr(
            f"{about}/METADATA",
            "Metadata-Version: 2.1\nName: toy-stages\nVersion: 1.0\n",
        )
        file.writestr(
            f"{about}/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        file.writestr(f"{about}/entry_points.txt", f"[deepspot_scale.stages]\n{points}")
        file.writestr(f"{about}/RECORD", "")
    call = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "-q"]
    subprocess.run([*call, "--target", tmp_path / "site", wheel], check=True)
    return tmp_path / "site"


def test_an_installed_package_adds_them(
    installed: Path, plate: str, tmp_path: Path, run_folder: Path
) -> None:
    words = ["run", plate, "-c", "FISH", "--no-enhance", "--out", "RUN"]
    words += [f"--stage={stage.name}" for stage in TOYS]
    call = [sys.executable, "-m", "deepspot_scale.cli", *words, "--count-least", "140"]
    path = f"{installed}:{Path(ds.__file__).parents[1]}"
    environment = {**os.environ, "PYTHONPATH": path}
    ended = subprocess.run(
        call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    ours = pd.read_parquet(run_folder / "maxima")
    theirs = pd.read_parquet(tmp_path / "RUN" / "maxima")
    higher = ours[ours["height"] >= 140].reset_index(drop=True)
    pd.testing.assert_frame_equal(theirs.reset_index(drop=True), higher)
    for name in LAYERS:
        one = open_plate(run_folder / f"{name}.zarr").open("B/03/0").read()
        other = open_plate(tmp_path / "RUN" / f"{name}.zarr").open("B/03/0").read()
        np.testing.assert_array_equal(one, other)
