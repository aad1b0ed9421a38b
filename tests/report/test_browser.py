"""The page in a real browser: loads fast, asks for nothing, complains about nothing."""

import json
import os
import shutil
import subprocess
import time

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.io.layout import ImageLayout
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.writing import create_plate, write_image
from deepspot_scale.report.page import write_report
from deepspot_scale.report.polarity import SectorIndex
from deepspot_scale.report.statistics import summarise_conditions, summarise_wells
from deepspot_scale.vocabulary import CELLS, FIELDS, FieldAddress, as_table

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, _NAMES)), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]
ROWS, COLUMNS = "ABCDEFGHIJKLMNOP", range(1, 25)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium on the path")


class Tab:
    """One tab of a browser that is spoken to over two pipes."""

    def __init__(self, folder):
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={folder}", "about:blank"]
        # The browser reads from file 3 and writes to file 4. Not sh: some know files
        # of one digit only.
        pipes = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self._process = subprocess.Popen(
            ["bash", "-c", pipes, BROWSER, *flags],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.events, self._count, self._rest = [], 0, b""
        self._session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for part in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{part}.enable")

    def call(self, method, **params):
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, path):
        """Load a page; return the seconds until it was loaded and drawn."""
        began = time.monotonic()
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._receive())
        self.evaluate("new Promise(d => requestAnimationFrame(() => setTimeout(d)))")
        return time.monotonic() - began

    def evaluate(self, words):
        answer = self.call(
            "Runtime.evaluate", expression=words, awaitPromise=True, returnByValue=True
        )
        return answer["result"].get("value")

    def methods(self, name):
        return [e["params"] for e in self.events if e.get("method") == name]

    def close(self):
        os.close(self._out)
        os.close(self._in)
        self._process.terminate()
        self._process.wait(20)

    def _receive(self):
        while b"\0" not in self._rest:
            piece = os.read(self._in, 1 << 16)
            assert piece, "the browser has gone"
            self._rest += piece
        answer, _, self._rest = self._rest.partition(b"\0")
        return json.loads(answer)


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    tab = Tab(tmp_path_factory.mktemp("browser"))
    yield tab
    tab.close()


def draw_fields(rng, wells):
    lines = [(*well, str(i)) for well in wells for i in range(9)]
    names = pd.DataFrame(lines, columns=["row", "column", "field"])
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in FIELDS}
    known = {"status": "done", "n_planes": 1, "part": "all", "seconds": 2.0}
    values = zeros | known | dict(names) | {"n_spots": rng.poisson(900, len(names))}
    fields = as_table(pd.DataFrame(values), FIELDS)
    fields.loc[::400, ["status", "reason"]] = ["failed", "a shard is damaged"]
    return fields


def draw_cells(rng, pool, wells):
    areas = pool.uneven_areas(rng, 2 * len(wells))
    spots = pool.thrown(rng, areas, 2.0)
    rows, columns = zip(*np.repeat(wells, 2, axis=0), strict=True)
    return as_table(pool.cells_table(spots, areas, row=rows, column=columns), CELLS)


def draw_plate(rng, target):
    addresses = [FieldAddress("A", f"{c:02d}", "1") for c in COLUMNS]
    create_plate(target, addresses)
    for address in addresses:
        image = rng.poisson(100, (1, 700, 700)).astype(np.uint16)
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
    index = SectorIndex(n_boot=0, n_null=5, n_draws=0)
    options = {"channels": ["FISH"], "index": index}
    inputs = (fields, cells, map_)
    fields.to_parquet(folder / "fields.parquet")
    summarise_wells(*inputs, **options).to_parquet(folder / "wells.parquet")
    summarise_conditions(*inputs, **options).to_parquet(folder / "conditions.parquet")
    (folder / "cells").mkdir()
    cells.to_parquet(folder / "cells" / "all.parquet")
    (folder / "settings.toml").write_text('channels = ["FISH"]\n')
    return write_report(folder, plate=draw_plate(rng, folder / "plate.zarr"))


def test_the_report_of_a_large_plate_stays_below_15_mb(large_report):
    assert large_report.stat().st_size < 15e6


@needs_browser
def test_a_large_report_opens_fast_and_asks_for_nothing(
    large_report, tab, record_property
):
    seconds = tab.open(large_report)
    record_property("seconds to open", seconds)
    size = large_report.stat().st_size / 1e6
    print(f"384 wells: {size:.1f} MB, opened in {seconds:.2f} s")
    urls = {r["request"]["url"] for r in tab.methods("Network.requestWillBeSent")}
    outside = {u for u in urls if not u.startswith("data:")}
    assert outside == {large_report.as_uri()}
    assert not tab.methods("Runtime.consoleAPICalled")
    assert not tab.methods("Runtime.exceptionThrown")
    assert not tab.methods("Log.entryAdded")
    assert seconds < 2


@needs_browser
def test_the_main_numbers_can_be_read_and_every_picture_is_drawn(large_report, tab):
    tab.open(large_report)
    assert tab.evaluate("document.title").startswith("Spots and polarity")
    words = tab.evaluate("document.body.innerText")
    assert "3,447 of 3,456" in words
    assert "768" in words
    assert "9 fields failed" in words
    assert "drug 3" in words
    broken = "[...document.images].filter(i => !i.naturalWidth).length"
    assert tab.evaluate("document.images.length") >= 6
    assert tab.evaluate(broken) == 0


@needs_browser
def test_the_page_is_no_wider_than_a_laptop_or_paper(large_report, tab):
    for width in (1280, 800):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        tab.call("Emulation.setDeviceMetricsOverride", **size)
        tab.open(large_report)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
