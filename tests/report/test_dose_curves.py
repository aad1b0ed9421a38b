"""A plate with a dose, run for real: its report has curves, spreads and profiles."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import deepspot_scale as ds
from deepspot_scale.errors import InputWarning
from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image, write_labels
from deepspot_scale.report.dose_curves import draw_curves, fit_table
from deepspot_scale.report.page import write_report
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.simulation.drawing import render_spots
from deepspot_scale.statistics.dose_response import measure_dose_response
from deepspot_scale.vocabulary import FieldAddress

SHAPE = (128, 128)
DOSES = {"01": "0", "02": "0,1", "03": "1", "04": "10", "05": "100"}
N_SPOTS = {"01": 6, "02": 6, "03": 14, "04": 22, "05": 22}


def write_plate(folder: Path) -> Path:
    """Write two rows of five doses; each field is one cell, with spots by its dose."""
    addresses = [FieldAddress(row, column, "0") for row in "AB" for column in DOSES]
    create_plate(folder, addresses)
    cells, nuclei = np.zeros((2, *SHAPE), np.int32)
    cells[4:124, 4:124], nuclei[50:78, 50:78] = 1, 1
    grid = np.stack(np.meshgrid([16, 34, 94, 112], range(16, 120, 14)), -1)
    places = grid.reshape(-1, 2)
    for number, address in enumerate(addresses):
        rng = np.random.default_rng(number)
        chosen = rng.permutation(places)[: N_SPOTS[address.column]].astype(float)
        heights, widths = np.full(len(chosen), 600.0), np.full(len(chosen), 1.4)
        light = 100 + render_spots(SHAPE, chosen, heights, widths)
        image = rng.poisson(light).astype(np.uint16)[None]
        layout = ImageLayout("cyx", image.shape, image.dtype, ("RNA",))
        write_image(folder, address, image, layout)
        write_labels(folder, address, "cells", cells)
        write_labels(folder, address, "nuclei", nuclei)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResults:
    folder = tmp_path_factory.mktemp("doses")
    lines = [f"{row}{c};drug;{dose}" for row in "AB" for c, dose in DOSES.items()]
    (folder / "wells.csv").write_text("\n".join(["well;condition;dose_um", *lines]))
    plate = write_plate(folder / "plate.zarr")
    settings = ds.make_settings(
        channels=["RNA"],
        model="deepspot-fast",
        cells="cells",
        nuclei="nuclei",
        plate_map=str(folder / "wells.csv"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # of pooled doses
        ds.run(str(plate), str(folder / "run"), settings)
    return open_run(folder / "run")


@pytest.fixture(scope="module")
def page(run: RunResults) -> str:
    return write_report(str(run.folder.local_path), plate=run.plate).read_text("utf-8")


def test_doses_reach_the_wells_and_come_back_as_the_plate_map(run: RunResults) -> None:
    assert run.wells["dose"].tolist() == [0, 0.1, 1, 10, 100] * 2
    assert set(run.plate_map["dose_unit"]) == {"µM"}
    again = run.plate_map.loc[run.plate_map["column"] == "03", "dose"]
    assert again.tolist() == [1, 1]


def test_the_fitted_dose_lies_between_those_where_spots_rise(
    run: RunResults, page: str
) -> None:
    fits = pd.read_csv(run.folder.local_path / "report/dose_fits.csv")
    (fit,) = fits.to_dict("records")
    assert fit["measure"] == "spots_per_cell"
    assert pd.isna(fit["reason"])
    assert 0.1 < fit["ec50"] < 10
    assert fit["low"] <= fit["ec50"] <= fit["high"]
    points = run.folder.local_path / "report/dose_response_spots_per_cell.csv"
    assert len(pd.read_csv(points)) == 10
    assert "dose (µM)" in points.with_suffix(".svg").read_text()
    assert "Doses are in µM" in page


def test_every_cell_and_every_ring_is_in_a_csv_beside_the_page(
    run: RunResults, page: str
) -> None:
    report = run.folder.local_path / "report"
    counts = pd.read_csv(report / "spots_per_cell.csv")
    assert counts["n_cells"].sum() == 10
    cells = run.read("cells")
    assert sorted(counts["n_spots"]) == sorted(cells["n_spots"])
    profiles = pd.read_csv(report / "radial_profiles.csv")
    rings, names = run.read("radial"), [f"spots_{k}" for k in range(10)]
    assert rings[names].to_numpy().sum() == cells["n_spots_cytoplasm"].sum()
    few = int((rings[names].sum(axis=1) < 10).sum())
    assert profiles["n_cells"].iloc[0] == 10 - few
    assert f"Left out: {few} cells with fewer than 10 such spots" in page
    for name in ("spots_per_cell", "radial_profiles", "dose_response_spots_per_cell"):
        assert f'href="report/{name}.csv"' in page
        assert (report / f"{name}.svg").is_file()


def test_a_report_of_wells_without_doses_says_nothing_of_doses(
    run: RunResults,
) -> None:
    bare = run.wells.assign(dose=np.nan)
    from deepspot_scale.statistics.dose_response import has_doses

    assert not has_doses(bare)


def test_dose_0_stands_apart_and_what_is_not_fitted_says_why() -> None:
    doses = [0.0, 0.0, 0.01, 0.01, 1.0, 1.0, 100.0, 100.0]
    table = pd.DataFrame({"dose": doses, "condition": "a", "gene": "", "row": "A"})
    table = table.assign(channel="RNA", acquisition=0, t=0, z=0, column="01")
    flat = [5.0, 6, 6, 5, 5, 6, 6, 5]
    measured = measure_dose_response(
        table.assign(spots_per_cell=flat, polarity_corrected=np.nan), n_boot=9
    )
    assert "no response" in fit_table(measured["fits"])["reason"].iloc[0]
    figure = draw_curves(measured, "spots per cell", "nM")
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    first, *others = axes.get_xticks()
    assert axes.get_xticklabels()[0].get_text() == "0"
    assert 0 < first < 0.01 <= min(others)
    assert "no curve: no response" in axes.texts[0].get_text()
    few = table[table["dose"] > 0].assign(dose=[1.0, 1, 2, 2, 3, 3])
    few = few.assign(spots_per_cell=[1.0, 2, 3, 4, 5, 6], polarity_corrected=np.nan)
    measured = measure_dose_response(few)
    (axes,) = draw_curves(measured, "spots per cell", "").axes
    assert axes.get_xscale() == "linear"
    assert "the curve needs 4" in axes.texts[0].get_text().replace("\n", " ")
