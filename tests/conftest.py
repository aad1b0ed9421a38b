"""What several test files share: third-party images, small plates and quick runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import dask
import numpy as np
import pandas as pd
import pytest
import zarr

from deepspot_scale.blockwise.answers import IMAGE, LABELS
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Layer,
    Pixels,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Work,
)
from deepspot_scale.cli import main
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_plate,
    write_image,
    write_labels,
)
from deepspot_scale.io.tables import Folder, read_table
from deepspot_scale.kernels.sectors import angle_bins
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.manifest import read_fields
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.runs.progress import Progress
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import make_settings
from deepspot_scale.simulation import render_spots
from deepspot_scale.vocabulary import CELLS, CONDITIONS, SUMMARIES, WELLS, FieldAddress


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of third-party images; the test is skipped where it is absent."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DEEPSPOT_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no third-party images at {folder}; set DEEPSPOT_SHARED_DATA")
    return folder


def _refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("Dask was asked to compute")


@contextmanager
def _no_computing() -> Iterator[None]:
    with dask.config.set(scheduler=_refuse):
        yield


@pytest.fixture
def forbid_computing() -> AbstractContextManager[None]:
    """Context in which every Dask computation fails."""
    return _no_computing()


@pytest.fixture
def here_and_now() -> Iterator[None]:
    """Let Dask compute in this thread, one task after the other."""
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """URL of the folder, served by a web server that lists nothing."""

    class Silent(SimpleHTTPRequestHandler):
        def list_directory(self, path: Any) -> None:
            self.send_error(404, str(path))

        def log_message(self, *_: object) -> None:
            pass

    handler = partial(Silent, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Scene:
    """What is in one small field: spots over noise, square cells with round nuclei."""

    image: np.ndarray
    """(c, y, x), DAPI and FISH."""
    cells: np.ndarray
    """(y, x), 1 to n; gaps between them."""
    nuclei: np.ndarray
    """(y, x), the number of their cell."""
    points: np.ndarray
    """(n, 2), planted spots."""


def _draw_scene(
    seed: int = 0, shape: tuple[int, int] = (128, 160), *, n: int = 40, edge: int = 64
) -> Scene:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, np.array(shape) - 1, (n, 2))
    light = 100 + render_spots(shape, points, np.full(n, 300.0), np.full(n, 1.3))
    image = np.stack([rng.poisson(50, shape), rng.poisson(light)]).astype(np.uint16)
    y, x = np.indices(shape)
    number = y // edge * -(-shape[1] // edge) + x // edge + 1
    off_y, off_x = y % edge - edge // 2, x % edge - edge // 2
    cells = np.where(np.maximum(abs(off_y), abs(off_x)) < 0.45 * edge, number, 0)
    nuclei = np.where(np.hypot(off_y, off_x) < 0.18 * edge, number, 0)
    return Scene(image, cells.astype(np.uint32), nuclei.astype(np.uint32), points)


def _write_plate(
    target: Path | str,
    scenes: Mapping[str, Scene],
    *,
    listed: tuple[str, ...] = (),
    version: str = "0.5",
    masks: tuple[str, ...] = ("cells", "nuclei"),
    **layout: Any,
) -> str:
    addresses = [FieldAddress.from_path(path) for path in (*scenes, *listed)]
    create_plate(target, addresses, version=version)
    given = {"channels": ("DAPI", "FISH"), "pixel_size_um": (0.2, 0.1), "chunk": 64}
    for path, scene in scenes.items():
        address, image = FieldAddress.from_path(path), scene.image
        axes = "tczyx"[-image.ndim :] if image.ndim != 3 else "cyx"
        made = ImageLayout(axes, image.shape, image.dtype, **{**given, **layout})
        write_image(target, address, image, made)
        for name in masks:
            write_labels(target, address, name, getattr(scene, name))
    return str(target)


@pytest.fixture(scope="session")
def draw_scene() -> Callable[..., Scene]:
    """Draw a small field from a seed."""
    return _draw_scene


@pytest.fixture(scope="session")
def write_plate() -> Callable[..., str]:
    """Write scenes as the fields of a plate; `listed` ones get no image."""
    return _write_plate


@dataclass(frozen=True)
class Outcome:
    """What a run came to, its tables in one order whoever did the work."""

    progress: Progress
    folder: Folder

    @property
    def fields(self) -> pd.DataFrame:
        """Rows of the fields, without what differs between equal runs."""
        fields = read_fields(self.folder)
        times = [name for name in fields if name.startswith("seconds")]
        # Copies of a plate in other stores have other times, and so other digests.
        return fields.drop(columns=[*times, "worker", "part", "source_digest"])

    @property
    def reasons(self) -> dict[str, str]:
        """Reason of each failed field by its path."""
        rows = self.fields[self.fields["status"] == "failed"].to_dict("records")
        return {f"{r['row']}/{r['column']}/{r['field']}": r["reason"] for r in rows}

    @property
    def spots(self) -> pd.DataFrame:
        """All spots."""
        return self._table("spots")

    @property
    def cells(self) -> pd.DataFrame:
        """All cells, bins as tuples, which compare."""
        table = self._table("cells")
        bins = {name: table[name].map(tuple) for name in ("area_bins", "spot_bins")}
        return table.assign(**bins)

    @property
    def wells(self) -> pd.DataFrame:
        """One row for each well and channel."""
        return read_table(self.folder, "wells.parquet", WELLS)

    @property
    def conditions(self) -> pd.DataFrame:
        """One row for each condition, gene and channel."""
        return read_table(self.folder, "conditions.parquet", CONDITIONS)

    def assert_same(self, other: Outcome) -> None:
        """Fail unless all tables are equal, to the last bit."""
        for kind in ("fields", "spots", "cells"):
            pd.testing.assert_frame_equal(
                getattr(self, kind), getattr(other, kind), check_exact=True
            )
        mine, theirs = (open_results(run.folder.url) for run in (self, other))
        assert mine.contents == theirs.contents
        for kind in mine.contents.tables.keys() - {"spots", "cells"}:
            pd.testing.assert_frame_equal(
                self._table(kind), other._table(kind), check_exact=True
            )
        assert mine.summaries.keys() == theirs.summaries.keys() == SUMMARIES.keys()
        for name, table in mine.summaries.items():
            pd.testing.assert_frame_equal(
                table, theirs.summaries[name], check_exact=True
            )

    def _table(self, kind: str) -> pd.DataFrame:
        keys = ["row", "column", "field", "t", "channel", "z"]
        table = open_results(self.folder.url).read(kind)
        return table.sort_values(keys, kind="stable", ignore_index=True)


def _run_quickly(
    plate: str, out: Path | str, client: Any = None, **options: Any
) -> Outcome:
    selection = {
        name: options.pop(name)
        for name in ("selection", "retry_failed")
        if name in options
    }
    settings = {
        "channels": ("FISH",),
        "cells": "cells",
        "nuclei": "nuclei",
        "enhance": False,
    } | options
    prepared = prepare_run(plate, str(out), make_settings(**settings), **selection)
    return Outcome(execute_run(prepared, client), Folder(str(out)))


@pytest.fixture(scope="session")
def run_quickly() -> Callable[..., Outcome]:
    """Run on a plate without enhancement, here, or on a client's workers."""
    return _run_quickly


MADE = tuple(Layer(name, "int32", labels=True, keep=True) for name in LABELS.values())


def _draw_labels(here: BlockContext, _: Answers, *, layer: Layer) -> Pixels:
    """Return the labels that `_draw_scene` draws in 128 x 160 pixels."""
    scene = _draw_scene()
    whole = getattr(scene, layer.name).astype(np.int32)
    return Pixels(here.wanted, whole[here.wanted.slices[-2:]])


def _plan_tissue(_: StageOptions, __: RunContext) -> Work:
    steps = (
        Step(layer, partial(_draw_labels, layer=layer), {IMAGE: 0}) for layer in MADE
    )
    return Work(tuple(steps))


class TissueOptions(StageOptions):
    """Nothing to choose."""


TISSUE = Stage("tissue", TissueOptions, _plan_tissue)


@pytest.fixture(scope="session")
def tissue() -> str:
    """Name a stage that makes the cells and nuclei of `draw_scene`, as a run does."""
    return f"{__name__}:TISSUE"


DEADLY = """
import os, signal, subprocess, time
import numpy as np
import deepspot_scale as ds

# In a process of its own a field's answer goes by a pipe: here its number, or stdout.
ANSWERS = next((n for n in range(3, 20) if os.path.exists(f"/proc/self/fd/{n}")
                and os.readlink(f"/proc/self/fd/{n}").startswith("pipe:")), None)

def find(image):
    mark = int((image == image.max()).sum())
    if mark == 1001:
        os.kill(os.getpid(), signal.SIGSEGV)
    if mark == 1002:
        os.kill(os.getpid(), signal.SIGKILL)
    if mark == 1003:
        os._exit(7)
    if mark == 1004:
        held = np.ones(1 << 27)
        time.sleep(30)
    if mark == 1005:
        subprocess.Popen(["sleep", "60"], stdout=ANSWERS)
        os.kill(os.getpid(), signal.SIGKILL)
    return np.argwhere(image > image.mean() + 4 * image.std())

detector = ds.PointDetector(find, halo=16, on="raw")
"""
MARKS = {"SIGSEGV": 1001, "SIGKILL": 1002, "exit": 1003, "memory": 1004, "orphan": 1005}


@dataclass(frozen=True)
class Deadly:
    """A detector whose process some fields kill."""

    name: str = "deadly:detector"

    def mark(self, plate: Path | str, path: str, how: str) -> None:
        """Let a field kill by as many brightest pixels as its detector dies of."""
        array = zarr.open_array(f"{plate}/{path}/0", mode="r+")
        image = array[1]
        image[20:].flat[: MARKS[how]] = 60000
        array[1] = image


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deadly:
    """Return a detector that dies of marked fields, here and in other processes."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "deadly", raising=False)
    return Deadly()


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ended]:
    """Call ``deepspot-scale`` with some words; return how it ended."""

    def call(*words: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["deepspot-scale", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return Ended(int(end.value.code or 0), *capsys.readouterr())

    return call


_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, _NAMES)), None)
ALL_WORDS = """
(() => {
  const words = node => node.nodeType === 3 ? node.data
    : ["STYLE", "SCRIPT", "TEMPLATE"].includes(node.tagName) ? ""
    : [...(node.shadowRoot?.childNodes ?? []), ...node.childNodes].map(words).join(" ");
  return words(document.body).replace(/\\s+/g, " ");
})()
"""
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

    def open(self, url):
        """Load a page; return the seconds until it was loaded and drawn."""
        self._load("about:blank")  # what an earlier page still asks for ends here
        began = time.monotonic()
        self._load(url)
        self.evaluate("new Promise(d => requestAnimationFrame(() => setTimeout(d)))")
        return time.monotonic() - began

    def _load(self, url):
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._receive())

    def evaluate(self, words):
        answer = self.call(
            "Runtime.evaluate", expression=words, awaitPromise=True, returnByValue=True
        )
        return answer["result"].get("value")

    @property
    def text(self):
        """All words on the page, also those of its components."""
        return self.evaluate(ALL_WORDS)

    def wait_for(self, words, seconds=30):
        """Wait until the page shows some words; return all that it then shows."""
        end = time.monotonic() + seconds
        while words not in (text := self.text):
            assert time.monotonic() < end, f"no {words!r} in {text!r}"
            time.sleep(0.2)
        return text

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


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """One tab of a browser; the test is skipped where there is none."""
    if BROWSER is None:
        pytest.skip("no chromium on the path")
    tab = Tab(tmp_path_factory.mktemp("browser"))
    yield tab
    tab.close()


# -- simulated cells for tests of statistics: drawn masks, and spots on them -----------


def draw_masks(rng, n, towards=0.0):
    """Area bins (n, 360) of elongated cells whose nuclei lie off the middle.

    Each nucleus is off by up to half of its way to the edge, in any direction, plus up
    to `towards` pixels along the reference.
    """
    y, x = np.mgrid[-62:63, -62:63]
    return np.array([_mask(rng, y, x, towards) for _ in range(n)])


def _mask(rng, y, x, towards):
    long = rng.uniform(35, 60)
    short = long * rng.uniform(0.4, 1)
    radius = rng.uniform(10, 0.7 * min(short, 25))
    turn, way = rng.uniform(0, 2 * np.pi, 2)
    cos, sin = np.cos(turn), np.sin(turn)
    along, across = x * cos + y * sin, y * cos - x * sin
    cell = (along / long) ** 2 + (across / short) ** 2 <= 1
    off = rng.uniform(0, 0.5)
    a, b = off * np.cos(way) * (long - radius), off * np.sin(way) * (short - radius)
    centre_x = a * cos - b * sin + towards * rng.uniform()
    centre_y = a * sin + b * cos
    nucleus = cell & (np.hypot(x - centre_x, y - centre_y) <= radius)
    rows, columns = np.nonzero(cell & ~nucleus)
    bins = angle_bins(
        rows - 62 - y[nucleus].mean(), columns - 62 - x[nucleus].mean(), 0
    )
    return np.bincount(bins, minlength=360)


def enriched(masks, factor):
    """Chance of a spot in each bin, higher within 60 degrees of the reference."""
    weight = masks.astype(float)
    weight[:, :60] *= factor
    weight[:, 300:] *= factor
    return weight / weight.sum(axis=1, keepdims=True)


def throw_cells(rng, masks, n, factor=1.0):
    """Spot bins and area bins, (n, 360) each, of cells with 20 to 300 spots."""
    chosen = rng.integers(0, len(masks), n)
    n_spots = np.exp(rng.uniform(np.log(20), np.log(301), n)).astype(int)
    chance = enriched(masks, factor)
    cells = [np.flatnonzero(chosen == m) for m in range(len(masks))]
    owner = np.concatenate([np.repeat(c, n_spots[c]) for c in cells])
    bins = [rng.choice(360, n_spots[c].sum(), p=chance[m]) for m, c in enumerate(cells)]
    flat = owner * 360 + np.concatenate(bins)
    return np.bincount(flat, minlength=n * 360).reshape(n, 360), masks[chosen]


def uneven_areas(rng, n):
    """Cytoplasm of cells whose nuclei are off their middle, anywhere."""
    angle = np.radians(np.arange(360) - rng.uniform(0, 360, (n, 1)))
    return np.round(60 * (1.2 + rng.uniform(0, 1, (n, 1)) * np.cos(angle))).astype(int)


def thrown(rng, areas, enrichment=1.0, n_spots=60):
    """Spots in proportion to area, denser within 60 degrees of the reference."""
    weight = areas.astype(float)
    weight[:, :60] *= enrichment
    weight[:, 300:] *= enrichment
    return rng.multinomial(n_spots, weight / weight.sum(axis=1, keepdims=True))


def gather(rng, spots, areas):
    """Move all spots of each cell into one bin, chosen by area."""
    chance = areas / areas.sum(axis=1, keepdims=True)
    return rng.multinomial(1, chance) * spots.sum(axis=1, keepdims=True)


def turn_cells(rng, spots, areas):
    """Turn each cell by any angle under its reference."""
    turns = rng.integers(0, 360, (len(spots), 1))
    bins = (np.arange(360) + turns) % 360
    return np.take_along_axis(spots, bins, 1), np.take_along_axis(areas, bins, 1)


def cells_table(spot_bins, area_bins, **columns):
    """`vocabulary.CELLS` with these bins, all other columns plain."""
    n = len(spot_bins)
    counts = np.sum(spot_bins, axis=1) if n else 0
    table = {c.name: [0] * n for c in CELLS} | {
        "row": "B",
        "column": "02",
        "field": "0",
        "channel": "FISH",
        "z": -1,
        "cell": np.arange(1, n + 1),
        "n_spots": counts,
        "n_spots_cytoplasm": counts,
        "reference_deg": 0.0,
        "touches_border": False,
        "area_bins": list(area_bins),
        "spot_bins": list(spot_bins),
    }
    return pd.DataFrame(table | columns)


@pytest.fixture(scope="session")
def cell_pool():
    """All of the above, since test files cannot import each other."""
    return SimpleNamespace(
        draw_masks=draw_masks,
        throw_cells=throw_cells,
        uneven_areas=uneven_areas,
        thrown=thrown,
        gather=gather,
        turn_cells=turn_cells,
        cells_table=cells_table,
    )


@pytest.fixture(scope="session")
def localiser(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a sub-pixel network made by hand: a blurred frame, seven times finer.

    It finds single molecules to a pixel, which is enough to test what is around it.
    """
    from deepspot_scale.networks.families import SUBPIXEL_CNN as FAMILY
    from deepspot_scale.networks.weights import write_weights

    architecture = FAMILY.architecture(layers=9, maps=9, exit_maps=1)
    arrays = [np.zeros(w.shape, np.float32) for w in FAMILY.build(architecture).weights]
    convolutions = [array for array in arrays if array.shape[:2] == (3, 3)]
    convolutions[0][:, :, 0, 0] = np.outer([1, 2, 1], [1, 2, 1]) / 16
    for own in convolutions[1:-1]:
        own[1, 1, 0, 0] = 1
    for number, (dy, dx) in enumerate(np.ndindex(3, 3)):
        convolutions[-1][dy, dx, 0, number] = 1
    # A quadratic spline through the nine pixels around each, at the finer places.
    at = (np.arange(7) - 3) / 7
    spline = np.stack([(0.5 - at) ** 2 / 2, 0.75 - at**2, (0.5 + at) ** 2 / 2])
    (unfold,) = (array for array in arrays if array.shape[:2] == (7, 7))
    for number, (dy, dx) in enumerate(np.ndindex(3, 3)):
        unfold[:, :, 0, number] = np.outer(spline[dy], spline[dx])
    (last,) = (array for array in arrays if array.shape[:2] == (1, 1))
    last[:] = 1
    path = tmp_path_factory.mktemp("weights") / "by_hand.safetensors"
    about = {"threshold": "0.3", "most_dense": "2"}
    write_weights(path, arrays, architecture, family=FAMILY, about=about)
    return str(path)


@pytest.fixture(scope="session")
def raters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three networks that rate, and were never trained.

    Images have scores that differ, and mean nothing. Those are detection and taste, and
    paper, which is of the family rating_cnn and does not see the enhanced image.
    """
    pytest.importorskip("keras")
    from deepspot_scale.networks import rater, rating_cnn
    from deepspot_scale.networks.domains import make_domain
    from deepspot_scale.networks.families import RATER, RATING_CNN
    from deepspot_scale.networks.weights import write_weights

    folder = tmp_path_factory.mktemp("raters")
    patches = np.random.default_rng(2).normal(0, 0.3, (8, 128, 128))
    known = make_domain(patches.astype(np.float32))
    assert known is not None
    maps = (2, 2, 2, 2, 2, 2)
    for name, family, kind, outputs in (
        ("detection", RATER, rater, rater.RECALL_PRECISION),
        ("taste", RATER, rater, rater.SCORE),
        ("paper", RATING_CNN, rating_cnn, rater.SCORE),
    ):
        network = kind.Architecture(maps=maps, dense=3, outputs=outputs)
        rng = np.random.default_rng(3)
        arrays = [
            rng.normal(0, (2 / each[..., 0].size) ** 0.5, each.shape)
            if each.ndim > 1
            else each
            for each in kind.build(network).get_weights()
        ]
        about = {"domain": known.to_text()} if name == "detection" else {}
        path = folder / f"{name}.safetensors"
        write_weights(path, arrays, network, family=family, about=about)
    return folder


@pytest.fixture(scope="session")
def blinking() -> Any:
    """A movie of sixty frames with single molecules, and its truth."""
    from deepspot_scale.kernels.camera_model import Camera
    from deepspot_scale.simulation.molecules import Photons
    from deepspot_scale.simulation.movies import MovieRecipe, Psf, simulate_movie

    recipe = MovieRecipe(
        (70, 90), Camera(), Psf(1.3), Photons(4000.0, 0.1), 5.0, density=0.15
    )
    return simulate_movie(recipe, 60, seed=5)
