"""Where plates are read from, and where runs and other results are written to.

One plate by many addresses, chunks of shards by the bytes that they cost, and outputs
that can or cannot be written. Nothing here knows what is in the plate.
"""

from __future__ import annotations

import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import tifffile

from benchmarks.robustness.cases import Answer, Case, Expected, refused, right
from benchmarks.robustness.scenes import (
    N_SPOTS,
    answer_of,
    answer_of_command,
    run_plate,
    scene,
    spots_of,
    write_plate,
)

KIND = "stores and outputs"
ONE = "B/03/0"
WHOLE = right({ONE: (N_SPOTS, 0)})


def cases() -> Iterator[Case]:
    """Yield all of them."""
    for make in (_addresses, _folders, _absent, _shards, _outs, _taken, _other_outs):
        yield from make()


def _case(name: str, attempt: Callable[[Path], Answer], expected: Expected) -> Case:
    return Case(KIND, name, attempt, expected)


def _plate(folder: Path, name: str = "p.zarr", **image: Any) -> Path:
    return write_plate(folder / name, {ONE: scene().image}, labels=False, **image)


def _zip(plate: Path, below: str = "") -> Path:
    file = plate.with_suffix(".zip")
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(plate.rglob("*")):
            if path.is_file():
                archive.write(path, Path(below) / path.relative_to(plate))
    return file


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve a folder to this machine alone."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _addresses() -> Iterator[Case]:
    for name, address in {
        "a path": str,
        "a path with a slash": lambda p: f"{p}/",
        "a path with two slashes": lambda p: f"{p}//",
        "a path with dots": lambda p: f"{p.parent}/./x/../{p.name}",
        "a file URL": lambda p: f"file://{p}",
        "a local URL": lambda p: f"local://{p}",
        "a ZIP URL": lambda p: f"zip://::file://{_zip(p)}",
        "a ZIP URL with a folder": lambda p: f"zip://q/r::file://{_zip(p, 'q/r')}",
        "a cached URL": lambda p: f"simplecache::file://{p}",
        "a folder URL": lambda p: f"dir://::file://{p}",
    }.items():
        for version in ("0.4", "0.5"):

            def attempt(
                folder: Path, address: Any = address, version: str = version
            ) -> Answer:
                (folder / "x").mkdir()
                plate = address(_plate(folder, version=version))
                return spots_of(plate, folder / "run")

            expected = WHOLE
            if name == "a folder URL":
                expected = Expected({ONE: (N_SPOTS, 0)}, refused="cannot|Check")
            yield _case(f"{name}, {version}", attempt, expected)
    yield _case("an address of a web server", _by_http, WHOLE)
    yield _case("memory of this process", _by_memory, WHOLE)


def _by_http(folder: Path) -> Answer:
    plate = _plate(folder)
    with _served(folder) as url:
        return spots_of(f"{url}/{plate.name}", folder / "run")


def _by_memory(folder: Path) -> Answer:
    memory, plate = fsspec.filesystem("memory"), _plate(folder)
    memory.put(str(plate), "/robust/p.zarr", recursive=True)
    try:
        return spots_of("memory://robust/p.zarr", folder / "run")
    finally:
        memory.rm("/robust", recursive=True)


def _folders() -> Iterator[Case]:
    for name in ("a b.zarr", "ä-数.zarr", "p#1.zarr", "100%.zarr", "a?b.zarr",
                 "-p.zarr", "it's.zarr", "[p].zarr", "a::b.zarr", "p", "=p.zarr",
                 "p.zarr.zarr", "*.zarr", "a\nb.zarr"):  # fmt: skip

        def attempt(folder: Path, name: str = name) -> Answer:
            # Zarr takes two colons in a path for a chain of stores.
            plate = _plate(folder, "written").rename(folder / name)
            return spots_of(plate, folder / "run")

        yield _case(f"a plate called {name!r}", attempt, WHOLE)

    def linked(folder: Path) -> Answer:
        plate = _plate(folder)
        (folder / "link.zarr").symlink_to(plate)
        return spots_of(folder / "link.zarr", folder / "run")

    def relative(folder: Path) -> Answer:
        _plate(folder)
        with chdir(folder):
            return spots_of("p.zarr", "run")

    yield _case("a link to a plate", linked, WHOLE)
    yield _case("a relative path", relative, WHOLE)


def _absent() -> Iterator[Case]:
    def given(folder: Path, address: Callable[[Path], object]) -> Answer:
        made = address(folder)
        return spots_of(made if isinstance(made, Path) else str(made), folder / "run")

    def a_file(folder: Path, content: bytes) -> Path:
        file = folder / "p.zarr"
        file.write_bytes(content)
        return file

    for name, address in {
        "nothing": lambda f: f / "none.zarr",
        "an empty folder": lambda f: f,
        "an empty text": lambda _: "",
        "a text file": lambda f: a_file(f, b"see the other disk"),
        "a ZIP file's own path": lambda f: _zip(_plate(f)),
        "a ZIP URL without the ZIP": lambda f: f"zip://::file://{f}/none.zip",
        "a ZIP URL of what is no ZIP": lambda f: f"zip://::file://{a_file(f, b'x')}",
        "a folder that is not in the ZIP": lambda f: (
            f"zip://none::file://{_zip(_plate(f))}"
        ),
        "an unknown protocol": lambda _: "nowhere://bucket/p.zarr",
        "a server that is not there": lambda _: "http://127.0.0.1:9/p.zarr",
        "a well": lambda f: _plate(f) / "B",
        "a Zarr group without a plate": lambda f: _plate(f) / "B/03",
    }.items():
        yield _case(name, partial(given, address=address), refused("."))


def _shards() -> Iterator[Case]:
    """Yield windows of shards by the bytes that they ask of a store, in per cent."""
    for inner, shard, window in (
        (16, 256, (slice(0, 16), slice(0, 16))),
        (16, 256, (slice(0, 256), slice(0, 16))),
        (16, 256, (slice(0, 32), slice(0, 256))),
        (64, 256, (slice(10, 100), slice(10, 100))),
    ):
        attempt = partial(_cost, inner=inner, shard=shard, window=window)
        text = "x".join(f"{part.start}:{part.stop}" for part in window)
        yield _case(f"rows and columns {text} of shards of {shard} and {inner} px",
                    attempt, right("what is needed"))  # fmt: skip


def _cost(folder: Path, inner: int, shard: int, window: tuple[slice, slice]) -> Answer:
    """Compare the bytes that are asked for with those of the chunks in the window."""
    from deepspot_scale.io.stores import open_node

    pixels = np.random.default_rng(0).integers(0, 60000, (256, 256), "uint16")
    _plate(folder)
    write_plate(folder / "s.zarr", {ONE: pixels}, compressors=None, labels=False,
                chunks=(inner, inner), shards=(shard, shard))  # fmt: skip
    asked = 0

    class Counting(SimpleHTTPRequestHandler):
        """Serves ranges of bytes, and counts them."""

        def log_message(self, *_: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            """Answer with the part that was asked for."""
            nonlocal asked
            path = Path(self.translate_path(self.path))
            if not path.is_file():
                self.send_error(404)
                return
            content, wanted = path.read_bytes(), self.headers.get("Range")
            begin, end = 0, len(content)
            if wanted:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                begin = int(first) if first else len(content) - int(last)
                end = int(last) + 1 if first and last else len(content)
            if path.name != "zarr.json":
                asked += end - begin
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(end - begin))
            self.send_header("Accept-Ranges", "bytes")
            span = f"bytes {begin}-{end - 1}/{len(content)}"
            self.send_header("Content-Range", span)
            self.end_headers()
            self.wfile.write(content[begin:end])

    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Counting, directory=str(folder))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/s.zarr/{ONE}/0"
            array: Any = open_node(url)
            same = bool((array[window] == pixels[window]).all())
        finally:
            server.shutdown()
            thread.join()
    spans = [-(-part.stop // inner) - part.start // inner for part in window]
    needed = spans[0] * spans[1] * inner * inner * 2
    index = (shard // inner) ** 2 * 16 + 4
    good = same and needed <= asked <= needed + index
    return Answer("what is needed" if good else f"{asked} bytes instead of {needed}")


def _outs() -> Iterator[Case]:
    for name, out, expected in (
        ("new", lambda f: f / "run", WHOLE),
        ("with a slash", lambda f: f"{f}/run/", WHOLE),
        ("some folders down", lambda f: f / "a/b/c/run", WHOLE),
        ("a file URL", lambda f: f"file://{f}/run", WHOLE),
        ("an empty folder", lambda f: _made(f / "run"), WHOLE),
        ("with odd letters", lambda f: f / "ä b#1%", WHOLE),
        ("with two colons", lambda f: f / "a::b",
         Expected({ONE: (N_SPOTS, 0)}, refused="cannot")),
        ("a file", lambda f: _file(f / "run"), refused("cannot be used")),
        ("below a file", lambda f: _file(f / "x") / "run", refused("cannot be used")),
        ("a folder of other things", _other_things, refused("not empty")),
        ("a pipe", lambda f: _pipe(f / "run"), refused("cannot be used")),
        ("where nothing can be written", lambda _: "/proc/self/run",
         refused("cannot be used")),
        ("a ZIP file", lambda f: f"zip://::file://{_zip(_plate(f, 'z.zarr'))}",
         refused("cannot be used|not empty")),
        ("a web server", lambda _: "http://127.0.0.1:9/run", refused("cannot be used")),
        ("an unknown protocol", lambda _: "nowhere://b/run", refused("cannot be used")),
        ("the plate itself", lambda f: f / "p.zarr", refused("not empty|plate")),
    ):  # fmt: skip

        def attempt(folder: Path, out: Any = out) -> Answer:
            return spots_of(_plate(folder), out(folder))

        yield _case(f"a run folder: {name}", attempt, expected)
    for name, out in (
        ("memory", "memory://robust/run"),
        ("memory behind a cache", "simplecache::memory://robust/run"),
    ):

        def by_command(folder: Path, out: str = out) -> Answer:
            words = ("-c", "0", "--no-enhance", "--out", out)
            return answer_of_command("run", _plate(folder), *words)

        yield _case(f"a run folder of the command: {name}", by_command,
                    refused("memory|cannot be used"))  # fmt: skip


def _other_things(folder: Path) -> Path:
    return _file(_made(folder / "other") / "thesis.txt").parent


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _file(path: Path) -> Path:
    path.write_text("x")
    return path


def _taken() -> Iterator[Case]:
    """Yield run folders that hold a run already."""

    def again(folder: Path, plate: str = "p.zarr", **settings: Any) -> Answer:
        _plate(folder)
        _plate(folder, "q.zarr")
        run_plate(folder / "p.zarr", folder / "run")
        results = run_plate(folder / plate, folder / "run", **settings)
        return answer_of(results, len(results.done))

    yield _case("a run goes on", again, right(1))
    for name, more in {
        "another plate": {"plate": "q.zarr"},
        "another detector": {"detector": "product"},
        "another channel": {"channels": ["FISH"]},
    }.items():
        yield _case(f"a run goes on with {name}", partial(again, **more), refused("."))

    def changed(folder: Path) -> Answer:
        plate = _plate(folder)
        run_plate(plate, folder / "run")
        shutil.rmtree(plate)
        write_plate(plate, {ONE: scene(1).image}, labels=False)
        return spots_of(plate, folder / "run")

    yield _case("a run goes on over other pixels", changed, refused("chang"))

    def apart(folder: Path) -> Answer:
        images = {f"A/1/{name}": scene().image for name in ("a", "A")}
        plate = write_plate(folder / "p.zarr", images, labels=False)
        run_plate(plate, folder / "run")
        parts = [p.name.casefold() for p in (folder / "run/spots").iterdir()]
        return Answer(len(parts) == len(set(parts)))

    yield _case("parts differ by more than the case of letters", apart, right(True))


def _other_outs() -> Iterator[Case]:
    """Yield outputs of other commands that cannot be written, or can."""

    def detect(folder: Path, out: Any) -> Answer:
        image = folder / "a.tif"
        tifffile.imwrite(image, scene().image)
        words = ("--no-enhance", "--detector", "raw", "--out", out(folder))
        return answer_of_command("detect", image, *words)

    def convert(folder: Path, out: Any) -> Answer:
        tifffile.imwrite(_made(folder / "tiffs") / "A01_f1_FISH.tif", scene().image)
        return answer_of_command("convert", folder / "tiffs", out(folder))

    def export(folder: Path, out: Any) -> Answer:
        run_plate(_plate(folder), folder / "r")
        words = ("--to", "csv", "--out", out(folder))
        return answer_of_command("export", folder / "r", *words)

    def simulate(folder: Path, out: Any) -> Answer:
        return answer_of_command(
            "simulate", out(folder), "--images", 1, "--size", 64, "--set", "fixed"
        )

    for command in (detect, convert, export, simulate):
        for name, out, expected in (
            ("new", lambda f: f / "out", right(0)),
            ("below a file", lambda f: _file(f / "x") / "out", refused(".")),
            ("where nothing can be written", lambda _: "/proc/self/out", refused(".")),
            ("a folder of other things", _other_things, refused(".")),
            ("a pipe", lambda f: _pipe(f / "out"), refused(".")),
        ):  # fmt: skip
            yield _case(f"{command.__name__} to: {name}", partial(command, out=out),
                        expected)  # fmt: skip
