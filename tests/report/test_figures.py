import io
import re

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.report.field_image import Overlay, draw_field, panels_svg
from deepspot_scale.report.figures import (
    draw_plate,
    draw_polarity,
    draw_wells,
    group_names,
    stretch,
)
from deepspot_scale.report.html import svg_text
from deepspot_scale.report.roses import draw_roses
from deepspot_scale.report.sections import _file_word
from deepspot_scale.runs.results import RunResults, open_results
from deepspot_scale.settings import make_settings
from deepspot_scale.statistics.compact_bins import n_petals
from deepspot_scale.statistics.polarity_tests import polarity_statistics
from deepspot_scale.statistics.roses import measure_roses
from deepspot_scale.statistics.sector_index import SectorIndex
from deepspot_scale.vocabulary import FIELDS, FieldAddress

QUICK = SectorIndex(n_boot=50, n_null=10, n_draws=20)
ONCE = {"acquisition": 0, "t": 0, "z": 0}


@pytest.fixture
def polarised(cell_pool):
    """Cells of two wells: uniform in 02, towards the reference in 03."""
    rng = np.random.default_rng(1)
    areas = cell_pool.uneven_areas(rng, 80)
    uniform = cell_pool.thrown(rng, areas[:40], n_spots=200)
    towards = cell_pool.thrown(rng, areas[40:], 3.0, n_spots=200)
    columns = np.repeat(["02", "03"], 40)
    return cell_pool.cells_table(
        np.concatenate([uniform, towards]),
        areas,
        column=columns,
        condition=np.where(columns == "02", "calm", "wound"),
        gene="",
    )


def test_a_rose_of_uniform_spots_lies_within_its_intervals_of_1(polarised):
    roses = measure_roses(polarised, None, QUICK)
    calm = roses[roses["condition"] == "calm"]
    assert len(calm) == 15
    inside = (calm["low"] <= 1) & (calm["high"] >= 1)
    assert inside.mean() >= 0.8
    assert calm["concentration"].between(0.8, 1.2).all()


def test_a_rose_points_where_the_spots_are(polarised):
    roses = measure_roses(polarised, None, QUICK)
    wound = roses[roses["condition"] == "wound"]
    middle = (wound["from_deg"] + wound["to_deg"]) / 2
    toward = (middle < 60) | (middle > 300)
    least = wound.loc[toward, "concentration"].min()
    assert least > 1.5 * wound.loc[~toward, "concentration"].max()


def test_a_petal_is_spots_over_uniform_spots(polarised):
    # The slow twin: one cell and one petal after the other.
    roses = measure_roses(polarised, None, QUICK)
    calm = polarised[polarised["condition"] == "calm"]
    found = expected = 0.0
    for spots, areas in zip(calm["spot_bins"], calm["area_bins"], strict=True):
        inside = [b % 360 for b in range(12, 36)]
        found += spots[inside].sum()
        expected += spots.sum() * areas[inside].sum() / areas.sum()
    own = roses[(roses["condition"] == "calm") & (roses["from_deg"] == 12)]
    assert own["concentration"].item() == pytest.approx(found / expected)


def test_no_usable_cells_make_no_rose(polarised):
    roses = measure_roses(polarised.assign(reference_deg=np.nan), None, QUICK)
    assert roses.empty
    assert "concentration" in roses


@pytest.mark.parametrize("sectors", [2, 3, 4, 5, 6, 9, 10, 12, 30, 90, 180])
def test_petals_end_where_sectors_end(sectors):
    n = n_petals(sectors)
    assert 180 % n == 0
    assert (n // sectors) % 2 == 1


def test_what_is_drawn_is_words_and_the_same_each_time(polarised):
    roses = measure_roses(polarised, None, QUICK)
    text = svg_text(draw_roses(roses, 3))
    assert "wound" in text
    assert text == svg_text(draw_roses(roses, 3))


def wells_of(n_conditions):
    n = 3 * n_conditions
    return pd.DataFrame(
        {
            "row": "B",
            "column": [f"{i:03d}" for i in range(n)],
            "channel": "FISH",
            **ONCE,
            "condition": [f"drug {i // 3}" for i in range(n)],
            "gene": "",
            "n_fields": 1,
            "n_failed": 0,
            "n_left_out": 0,
            "n_spots": 0,
            "n_cells": 0,
            "spots_per_cell": np.arange(n, dtype=float),
            "polarity_index": np.linspace(-1, 1, n),
            "polarity_corrected": np.linspace(-1, 1, n),
        }
    )


@pytest.mark.parametrize(("n", "named"), [(1, True), (8, True), (200, False)])
def test_every_well_is_a_point_and_names_go_when_they_can_not_be_read(n, named):
    figure = draw_wells(wells_of(n), {"spots_per_cell": "spots per cell"})
    line = figure.axes[0].lines[0]
    np.testing.assert_array_equal(np.sort(line.get_xdata()), np.arange(3 * n))
    assert ("drug 0" in svg_text(figure)) == named
    assert figure.get_figheight() < 9


def test_both_indices_and_every_well_are_drawn(polarised):
    told = polarity_statistics(polarised, index=QUICK)
    wells = wells_of(2).assign(condition=["calm", "wound"] * 3)
    figure = draw_polarity(told, wells)
    assert "calm" in svg_text(figure)
    for axes, column in zip(
        figure.axes, ("polarity_index", "polarity_corrected"), strict=True
    ):
        drawn = np.sort(np.concatenate([np.ravel(x.get_xdata()) for x in axes.lines]))
        assert np.isin(wells[column], drawn).all()


def test_a_plate_is_in_order_and_an_unknown_well_is_white():
    wells = pd.DataFrame({"row": ["AA", "B", "B"], "column": ["2", "10", "2"]})
    figure = draw_plate(wells, pd.Series([1.0, 2.0, np.nan]), "spots per $ell_x")
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["B", "AA"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["2", "10"]
    figure.savefig(io.BytesIO(), format="svg")


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_plate_of_nothing_can_be_drawn(value):
    wells = pd.DataFrame({"row": ["B"], "column": ["2"]})
    for signed in (False, True):
        svg_text(draw_plate(wells, pd.Series([value]), "spots", signed=signed))


def test_the_colours_of_whole_numbers_have_whole_numbers():
    wells = pd.DataFrame({"row": ["B", "B"], "column": ["2", "3"]})
    bars = [
        draw_plate(wells, pd.Series(values), "failed fields").axes[1]
        for values in ([0, 1], [0.0, 1.0])
    ]
    assert all(float(tick).is_integer() for tick in bars[0].get_yticks())
    assert not all(float(tick).is_integer() for tick in bars[1].get_yticks())


def test_names_leave_out_what_all_share_and_hold_no_formulas():
    groups = pd.DataFrame(
        {"channel": "FISH", **ONCE, "condition": ["", "a$b$"], "gene": ["", "BETA"]}
    )
    assert group_names(groups) == ["all wells", r"a\$b\$ · BETA"]
    twice = group_names(groups.assign(t=[0, 3]))
    assert twice == ["all wells · t 0", r"a\$b\$ · BETA · t 3"]


# -- pictures --------------------------------------------------------------------------


def test_rings_stand_on_pixel_centres_and_outlines_follow_the_cells():
    labels = np.zeros((40, 40), int)
    labels[10:20, 5:9] = 7
    marks = Overlay(np.array([[3.0, 4.25]]), labels)
    svg = panels_svg([np.zeros((40, 40))], marks)
    assert 'cx="4.8" cy="3.5"' in svg
    assert svg.count("M5.5,10.5") == 1


def test_sectors_are_drawn_from_the_nucleus_to_the_edge_of_the_cell():
    labels = np.zeros((41, 61), int)
    labels[10:31, 20:51] = 7
    cells = pd.DataFrame(
        {"cell": [7], "nucleus_y": 20.0, "nucleus_x": 30.0, "reference_deg": 0.0}
    )
    svg = panels_svg([np.zeros((41, 61))], Overlay(np.empty((0, 2)), labels, cells, 2))
    # The reference is to the right: its half is bounded straight up and down.
    assert "M30.5,20.5L30.5,10.5" in svg
    assert "M30.5,20.5L30.5,30.5" in svg


def test_the_marked_photograph_is_the_first_one_again_and_not_a_copy():
    images = [np.zeros((20, 30)), np.ones((20, 30))]
    svg = panels_svg(images, Overlay(np.empty((0, 2))), 4)
    assert svg.count("data:image/jpeg") == 2
    assert 'id="raw4-0"' in svg
    assert 'href="#raw4-0"' in svg
    assert f'viewBox="0 0 {3 * 30 + 2 * 12} 20"' in svg


def test_a_noisy_picture_stays_below_300_kb():
    noise = np.random.default_rng(0).integers(0, 65535, (640, 640))
    assert len(panels_svg([noise], Overlay(np.empty((0, 2))))) < 1.4 * 300_000


@pytest.mark.parametrize("value", [0, 7, np.nan])
def test_a_constant_or_empty_image_is_stretched_without_complaint(value):
    assert stretch(np.full((4, 4), value, np.float32)).max() == 0


def test_an_enhanced_image_that_was_kept_stands_between_raw_and_marked(tmp_path):
    folder = tmp_path / "RUN"
    folder.mkdir()
    address = FieldAddress("B", "02", "0")
    for name in ("plate.zarr", "RUN/enhanced.zarr"):
        create_plate(tmp_path / name, [address])
        image = np.arange(30 * 40, dtype=np.uint16).reshape(1, 1, 1, 30, 40)
        layout = ImageLayout("tczyx", image.shape, image.dtype, ("FISH",))
        write_image(tmp_path / name, address, image, layout)
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in FIELDS}
    fields = pd.DataFrame([zeros | {"status": "done"}])
    settings = make_settings(channels=["FISH"], keep_enhanced=True)
    run = RunResults(Folder(str(folder)), settings, {}, fields)
    html = draw_field(run, open_plate(tmp_path / "plate.zarr").open(address.path))
    assert html.count("data:image/jpeg") == 2


def test_channels_that_differ_in_signs_alone_have_files_of_their_own():
    words = [_file_word(word) for word in ("Cy3", "Cy3+", "Cy3-", "+", "-")]
    assert len(set(words)) == 5
    assert words[0] == "Cy3"
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", word) for word in words)


def test_made_cells_are_drawn_as_stored_ones_and_nuclei_dashed(
    tmp_path, draw_scene, write_plate, run_quickly, tissue
):
    pictures = []
    for name, masks, given in (
        ("stored", ("cells", "nuclei"), {}),
        ("made", (), {"cells": None, "nuclei": None, "stages": (tissue,)}),
    ):
        plate = write_plate(
            tmp_path / f"{name}.zarr", {"B/03/0": draw_scene(0)}, masks=masks
        )
        run_quickly(plate, tmp_path / name, reference="angle:0", **given)
        field = open_plate(plate).open("B/03/0")
        pictures.append(draw_field(open_results(tmp_path / name), field))
    assert pictures[0] == pictures[1]
    cells, nuclei = re.findall(r'<path stroke="#56B4E9"[^>]* d="([^"]*)"', pictures[1])
    assert cells.count("Z") == nuclei.count("Z") == 6
