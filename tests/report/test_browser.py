"""The page in a real browser: loads fast, asks for nothing, complains about nothing."""

import shutil
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder, write_table
from deepspot_scale.report.page import write_report
from deepspot_scale.runs.contents import OLD, write_contents
from deepspot_scale.runs.manifest import commit_part
from deepspot_scale.statistics.sector_index import SectorIndex
from deepspot_scale.statistics.summaries import summarise_groups
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import (
    CELLS,
    PLANE,
    RADIAL,
    SPOTS,
    SUMMARIES,
    FieldAddress,
)

ROWS, COLUMNS = "ABCDEFGHIJKLMNOP", range(1, 25)


def draw_fields(rng, wells):
    lines = [(*well, str(i)) for well in wells for i in range(9)]
    names = pd.DataFrame(lines, columns=["row", "column", "field"])
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in OLD.fields}
    known = {"status": "done", "n_planes": 1, "part": "all", "seconds": 2.0}
    values = zeros | known | dict(names) | {"n_spots": rng.poisson(900, len(names))}
    fields = as_table(pd.DataFrame(values), OLD.fields)
    fields.loc[::400, ["status", "reason"]] = ["failed", "a shard is damaged"]
    return fields


def doses_of(wells):
    """Seven doses of four drugs, and a solvent."""
    return [0.0 if i % 5 == 0 else 10.0 ** (i % 7 - 3) for i in range(len(wells))]


def draw_cells(rng, pool, wells):
    areas = pool.uneven_areas(rng, 2 * len(wells))
    spots = pool.thrown(rng, areas, 2.0)
    rows, columns = zip(*np.repeat(wells, 2, axis=0), strict=True)
    cells = pool.cells_table(spots, areas, row=rows, column=columns)
    dose = np.repeat(doses_of(wells), 2)
    answer = 20 + 60 * dose / (0.5 + dose)
    cells["n_spots"] = rng.negative_binomial(4, 4 / (4 + answer))
    return as_table(cells, CELLS)


def draw_rings(rng, cells):
    """Rings of the same cells, whose spots lie where their pixels do."""
    names = [c.name for c in PLANE]
    pixels = rng.poisson(np.linspace(300, 700, 10), (len(cells), 10))
    spots = [rng.multinomial(30, row / row.sum()) for row in pixels]
    counts = np.hstack([pixels, spots])
    rings = pd.DataFrame(counts, columns=[c.name for c in RADIAL[len(PLANE) + 1 :]])
    kept = cells[[*names, "cell"]].reset_index(drop=True)
    return as_table(pd.concat([kept, rings], axis=1), RADIAL)


def draw_plate(rng, target, wells):
    """Images of noise, which compress least; those of later rows are copies."""
    addresses = [FieldAddress(*well, "0") for well in wells]
    create_plate(target, addresses)
    for address in addresses:
        place = target / address.path
        if address.row != "A":
            copied = target / "A" / address.column / "0"
            shutil.copytree(copied, place, dirs_exist_ok=True)
            continue
        edge = 700 if int(address.column) % 4 == 0 else 160
        image = rng.poisson(100, (1, edge, edge)).astype(np.uint16)
        layout = ImageLayout("cyx", image.shape, image.dtype, ("FISH",))
        write_image(target, address, image, layout)
    return open_plate(target)


@pytest.fixture(scope="module")
def large_report(tmp_path_factory, cell_pool):
    """The report of 384 wells of 9 fields, images of a few of them."""
    folder = tmp_path_factory.mktemp("RUN")
    rng = np.random.default_rng(0)
    wells = [(row, f"{column:02d}") for row in ROWS for column in COLUMNS]
    fields, cells = draw_fields(rng, wells), draw_cells(rng, cell_pool, wells)
    conditions = [f"drug {i % 5}" for i in range(len(wells))]
    map_ = pd.DataFrame(wells, columns=["row", "column"]).assign(condition=conditions)
    map_["dose"] = doses_of(wells)
    map_["dose_unit"] = "µM"
    index = SectorIndex(n_boot=0, n_null=5, n_draws=0)
    options = {"channels": ["FISH"], "index": index}
    inputs = (fields, cells, map_)
    parts = {"spots": empty_table(SPOTS), "cells": cells}
    parts["radial"] = draw_rings(rng, cells)
    contents = replace(OLD, tables={**OLD.tables, "radial": RADIAL})
    write_contents(Folder(str(folder)), contents)
    commit_part(Folder(str(folder)), "all", parts, fields, contents)
    fields.to_parquet(folder / "fields.parquet")
    for name, table in summarise_groups(*inputs, **options).items():
        write_table(Folder(str(folder)), f"{name}.parquet", table, SUMMARIES[name])
    (folder / "settings.toml").write_text('channels = ["FISH"]\n')
    (folder / "provenance.json").write_text("{}")
    return write_report(folder, plate=draw_plate(rng, folder / "plate.zarr", wells))


def test_the_report_of_a_large_plate_stays_below_15_mb(large_report):
    assert large_report.stat().st_size < 15e6


def test_a_large_report_opens_fast_and_asks_for_nothing(
    large_report, tab, record_property
):
    seconds = tab.open(large_report.as_uri())
    record_property("seconds to open", seconds)
    size = large_report.stat().st_size / 1e6
    print(f"384 wells: {size:.1f} MB, opened in {seconds:.2f} s")
    urls = {r["request"]["url"] for r in tab.methods("Network.requestWillBeSent")}
    outside = {u for u in urls if not u.startswith("data:")}
    assert outside == {large_report.as_uri()}
    assert not tab.methods("Runtime.consoleAPICalled")
    assert not tab.methods("Runtime.exceptionThrown")
    assert not tab.methods("Log.entryAdded")


def test_the_main_numbers_can_be_read_and_every_picture_is_drawn(large_report, tab):
    tab.open(large_report.as_uri())
    assert tab.evaluate("document.title").startswith("Spots and polarity")
    words = tab.evaluate("document.body.innerText")
    assert "3,447 of 3,456" in words
    assert "768" in words
    assert "9 fields failed" in words
    assert "drug 3" in words
    broken = "[...document.images].filter(i => !i.naturalWidth).length"
    assert tab.evaluate("document.images.length") >= 6
    assert tab.evaluate(broken) == 0


def test_the_page_is_no_wider_than_a_laptop_or_paper(large_report, tab):
    for width in (1280, 800):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        tab.call("Emulation.setDeviceMetricsOverride", **size)
        tab.open(large_report.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def press(tab, *keys):
    codes = {"Enter": 13, "Escape": 27, "ArrowRight": 39, "ArrowDown": 40, "End": 35}
    for key in keys:
        known = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        tab.call("Input.dispatchKeyEvent", type="keyDown", **known, **text)
        tab.call("Input.dispatchKeyEvent", type="keyUp", **known)


SHOWN = "[...document.querySelectorAll('.well')].filter(w => w.offsetHeight)"


def test_wells_are_reached_opened_and_closed_by_the_keyboard_alone(large_report, tab):
    tab.open(large_report.as_uri())
    assert tab.evaluate("document.querySelectorAll('.plate a').length") == 384
    # One stop of the Tab key for the whole plate.
    assert (
        tab.evaluate("document.querySelectorAll('.plate a[tabindex=\"0\"]').length")
        == 1
    )
    tab.evaluate("document.querySelector('.plate a').focus()")
    press(tab, "ArrowRight", "ArrowDown")
    assert tab.evaluate("document.activeElement.hash") == "#well-B02"
    label = tab.evaluate("document.activeElement.ariaLabel")
    assert label.startswith("B02, drug 0, dose 0 µM, ")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert tab.evaluate(outline) == "solid"
    press(tab, "Enter")
    assert tab.evaluate(f"{SHOWN}.map(w => w.id).join()") == "well-B02"
    assert tab.evaluate("document.activeElement.id") == "well-B02"
    press(tab, "Escape")
    assert tab.evaluate(f"{SHOWN}.length") == 0
    assert tab.evaluate("document.activeElement.hash") == "#well-B02"
    press(tab, "End", "ArrowRight")
    assert tab.evaluate("document.activeElement.hash") == "#well-B24"
    assert not tab.methods("Runtime.exceptionThrown")


def test_without_scripts_a_well_is_a_link_to_its_fields(large_report, tab):
    tab.open("about:blank")
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.events.clear()
    tab.call("Page.navigate", url=large_report.as_uri() + "#well-C05")
    while not tab.methods("Page.loadEventFired"):
        tab.call("Page.getLayoutMetrics")  # it also takes in what has happened
        time.sleep(0.05)
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.evaluate("document.querySelector('.plate').role") is None
    assert tab.evaluate(f"{SHOWN}.map(w => w.id).join()") == "well-C05"
    words = tab.evaluate(f"{SHOWN}[0].innerText")
    assert "drug 2" in words
    assert words.count("\n8\t") == 1  # the last of nine fields
    pictures = f"[...{SHOWN}[0].querySelectorAll('img')].map(i => i.naturalWidth)"
    assert tab.evaluate(pictures) == [128]
