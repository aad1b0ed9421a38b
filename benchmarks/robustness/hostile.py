"""Files that mean harm, by harmless stand-ins.

A stand-in that would run leaves a mark; one that would fill the memory is some hundred
megabytes on paper and kilobytes on the disk. Nothing here leaves its folder.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from benchmarks.robustness.cases import Answer, Case, Expected, refused, right
from benchmarks.robustness.scenes import (
    answer_of_command,
    command,
    run_plate,
    scene,
    spots_of,
    write_plate,
)

KIND = "hostile files"
ONE = "B/03/0"
SECRET = 7777
"""Pixel value of an image outside the plate that must not be read."""
Change = Callable[[Path], object]


def cases() -> Iterator[Case]:
    """Yield all of them."""
    for make in (_paths, _links, _special, _bombs, _claims, _code, _texts, _files):
        yield from make()


def _case(name: str, attempt: Callable[[Path], Answer], expected: Expected) -> Case:
    return Case(KIND, name, attempt, expected)


def _changed(name: str, change: Change, expected: Expected, **settings: Any) -> Case:
    """Return the case of a plate of one field in which something is changed."""

    def attempt(folder: Path) -> Answer:
        plate = write_plate(folder / "p.zarr", {ONE: scene().image})
        outside = np.full_like(scene().image, SECRET)
        write_plate(folder / "secret.zarr", {ONE: outside})
        change(plate)
        settings.setdefault("detector", "raw")
        return spots_of(plate, folder / "run", **settings)

    return _case(name, attempt, expected)


def _edit(group: Path, change: Callable[[dict[str, Any]], object]) -> None:
    file = group / "zarr.json"
    block = json.loads(file.read_text())
    change(block)
    file.write_text(json.dumps(block))


def _set_well(block: dict[str, Any], word: str) -> None:
    block["plate"]["wells"][0]["path"] = word


def _set_field(block: dict[str, Any], word: str) -> None:
    block["well"]["images"][0]["path"] = word


def _set_level(block: dict[str, Any], word: str) -> None:
    block["multiscales"][0]["datasets"][0]["path"] = word


def _set_label(block: dict[str, Any], word: str) -> None:
    block["labels"] = [word]


_PLACES = {
    "well": ("", _set_well),
    "field": ("B/03", _set_field),
    "level": (ONE, _set_level),
    "label image": (f"{ONE}/labels", _set_label),
}
"""What has a path in metadata: the group of these, and how it is set."""


def _paths() -> Iterator[Case]:
    """Yield paths in metadata that lead out."""
    out = "../../../secret.zarr/B/03/0"
    for word in (out, "..", "/etc", "a\\..\\b", "0\0", "", ".", "//x", "C:/x",
                 "file:///etc/passwd"):  # fmt: skip
        for what, (group, put) in _PLACES.items():

            def change(
                plate: Path, word: str = word, group: str = group, put: Any = put
            ) -> None:
                _edit(
                    plate / group, lambda block: put(block["attributes"]["ome"], word)
                )

            yield _changed(f"the path of a {what} is {word!r}"[:70], change,
                           refused("."), cells=what == "label image")  # fmt: skip


def _links() -> Iterator[Case]:
    """Yield links inside a plate that lead out of it."""
    for what in (
        "B", "B/03", ONE, f"{ONE}/0", f"{ONE}/0/c", f"{ONE}/0/c/0",
        f"{ONE}/0/c/0/0", f"{ONE}/0/zarr.json", f"{ONE}/zarr.json",
    ):  # fmt: skip

        def change(plate: Path, what: str = what) -> None:
            _move_out(plate, what)

        yield _changed(f"{what} is a link out of the plate", change, refused("."))
    for what in ("labels", "labels/cells", "labels/cells/0", "labels/cells/0/c",
                 "labels/cells/0/c/0/0"):  # fmt: skip

        def change(plate: Path, what: str = what) -> None:
            _move_out(plate, f"{ONE}/{what}")

        yield _changed(f"{what} is a link out of the plate", change, refused("."),
                       cells=True)  # fmt: skip

    def loop(plate: Path) -> None:
        target = plate / ONE / "0/c/0/0"
        target.unlink()
        target.symlink_to(target)

    yield _changed("a chunk is a link to itself", loop, refused("."))


def _move_out(plate: Path, what: str) -> None:
    """Put a link to the same thing of another plate in its place."""
    target = plate / what
    target.rename(plate.parent / "away")
    target.symlink_to(plate.parent / "secret.zarr" / what)


def _special() -> Iterator[Case]:
    """Yield chunks that are no files."""

    def device(plate: Path) -> None:
        target = plate / ONE / "0/c/0/0"
        target.unlink()
        target.symlink_to("/dev/null")

    yield _changed("a chunk is a device", device, refused("."))


def _bombs() -> Iterator[Case]:
    """Yield chunks that unpack to 64 MB, where 4.6 kB are declared."""
    bomb = bytes(1 << 26)

    def inflate(plate: Path, codec: str) -> None:
        def change(block: dict[str, Any]) -> None:
            block["codecs"] = [block["codecs"][0], {"name": codec, "configuration": {}}]
            if codec == "gzip":
                block["codecs"][1]["configuration"] = {"level": 5}
            if codec == "zstd":
                config = {"level": 1, "checksum": False}
                block["codecs"][1]["configuration"] = config

        _edit(plate / ONE / "0", change)
        for chunk in (plate / ONE / "0/c").rglob("*"):
            if chunk.is_file():
                chunk.write_bytes(_packed(codec, bomb))

    for codec in ("gzip", "zstd"):
        yield _case(f"a chunk of {codec} that unpacks to 64 MB",
                    partial(_measured, change=partial(inflate, codec=codec)),
                    refused("."))  # fmt: skip

    def pages(folder: Path) -> Answer:
        """Give a TIFF whose strip unpacks to more than its pixels."""
        file = folder / "a.tif"
        pixels = np.zeros((64, 64), np.uint16)
        tifffile.imwrite(file, pixels, compression="zlib", rowsperstrip=64)
        with tifffile.TiffFile(file) as tif:
            page = tif.pages[0]
            offset, size = page.dataoffsets[0], page.databytecounts[0]
            tag = page.tags["StripByteCounts"].valueoffset
        packed = zlib.compress(bomb, 9)
        data = bytearray(file.read_bytes()[: offset + size]) + bytes(len(packed))
        data[offset : offset + len(packed)] = packed
        data[tag : tag + 4] = struct.pack("<I", len(packed))
        file.write_bytes(bytes(data))
        words = ("--no-enhance", "--detector", "raw", "--out", folder / "o.csv")
        return _peak(partial(answer_of_command, "detect", file, *words))

    yield _case("a strip that unpacks to 64 MB", pages, Expected(0, refused="."))


def _packed(codec: str, data: bytes) -> bytes:
    import numcodecs

    kinds = {"gzip": numcodecs.GZip(5), "zstd": numcodecs.Zstd(1)}
    return bytes(kinds[codec].encode(data))


def _measured(folder: Path, change: Change) -> Answer:
    plate = write_plate(folder / "p.zarr", {ONE: scene().image}, labels=False)
    change(plate)
    return _peak(lambda: spots_of(plate, folder / "run"))


def _peak(call: Callable[[], Answer]) -> Answer:
    """Return an answer, or words with a number in them if it took 40 MB and more.

    What codecs take inside is not all counted; what they hand over is.
    """
    tracemalloc.start()
    try:
        answer = call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return answer if peak < 4e7 else Answer(f"{peak / 1e6:.0f} MB taken", answer.told)


def _claims() -> Iterator[Case]:
    """Yield metadata that claim more than there is."""

    def claim(plate: Path, **claims: Any) -> None:
        def change(block: dict[str, Any]) -> None:
            for name, value in claims.items():
                if name == "chunk":
                    block["chunk_grid"]["configuration"]["chunk_shape"] = value
                else:
                    block[name] = value

        _edit(plate / ONE / "0", change)

    for name, claims in {
        "a plane of 10^12 pixels": {"shape": [10**6, 10**6]},
        "an axis of 10^18 pixels": {"shape": [10**18, 4]},
        "pixels below zero": {"shape": [-4, 96]},
        "no pixel": {"shape": [0, 96]},
        "a chunk of 8 GB": {"chunk": [65536, 65536]},
        "a chunk of no pixel": {"chunk": [0, 0]},
        "more axes than an image has": {"shape": [96] * 9, "chunk": [48] * 9},
        "an unknown codec": {"codecs": [{"name": "evil", "configuration": {}}]},
        "an unknown type": {"data_type": "object"},
        "an unknown storage": {"storage_transformers": [{"name": "x"}]},
    }.items():
        yield _changed(name, partial(claim, **claims), refused("."))

    def many(plate: Path) -> None:
        def change(block: dict[str, Any]) -> None:
            block["attributes"]["ome"]["plate"]["wells"] *= 20000

        _edit(plate, change)

    def deep(plate: Path) -> None:
        (plate / "zarr.json").write_text("[" * 100_000 + "]" * 100_000)

    yield _changed("a well that is listed 20,000 times", many, refused("."))
    yield _changed("metadata 100,000 deep", deep, refused("."))


class _Mark:
    """What unpickling would run: it makes an empty file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def _code() -> Iterator[Case]:
    """Yield files that would run a program, which is seen by its mark."""
    pickles = {"compressor": {"id": "pickle", "protocol": 5}}
    objects = {"dtype": "|O", "filters": [{"id": "pickle"}], "compressor": None}
    for name, change in {
        "a chunk that is a pickle": pickles,
        "an array of pickled objects": objects,
    }.items():
        yield _case(name, partial(_unpickled, change=change), refused("."))
    for verb in ("status", "retry", "report", "export"):
        for what in ("detector", "stage"):
            yield _case(f"a run that names a module as {what}, {verb}",
                        partial(_named, verb=verb, what=what),
                        right("not run"))  # fmt: skip


def _unpickled(folder: Path, change: dict[str, Any]) -> Answer:
    plate = write_plate(folder / "p.zarr", {ONE: scene().image}, version="0.4")
    array = plate / ONE / "0"
    document = json.loads((array / ".zarray").read_text())
    (array / ".zarray").write_text(json.dumps(document | change))
    for chunk in array.rglob("[0-9]*"):
        if chunk.is_file():
            chunk.write_bytes(pickle.dumps(_Mark(folder / "mark")))
    answer = spots_of(plate, folder / "run")
    return Answer("it ran", answer.told) if (folder / "mark").exists() else answer


def _named(folder: Path, verb: str, what: str) -> Answer:
    """Name a module beside the run as its detector or stage; look at the run."""
    plate = write_plate(folder / "p.zarr", {ONE: scene().image}, labels=False)
    run_plate(plate, folder / "run")
    trap = f"trap_{verb}_{what}"  # a module is imported once
    mark = folder / "mark"
    (folder / f"{trap}.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    file = folder / "run/settings.toml"
    text = file.read_text()
    named = {
        "detector": ("[detect]", f'[detect]\ndetector = "{trap}:detector"'),
        "stage": ("stages = []", f'stages = ["{trap}:stage"]'),
    }
    file.write_text(text.replace(*named[what]))
    facts = json.loads((folder / "run/provenance.json").read_text())
    facts["working_folder"] = str(folder)
    (folder / "run/provenance.json").write_text(json.dumps(facts))
    words = ("--to", "csv") if verb == "export" else ()
    with chdir("."):  # the command may go elsewhere
        _, text = command(verb, folder / "run", *words)
    return Answer("it ran" if mark.exists() else "not run", (text,))


def _texts() -> Iterator[Case]:
    """Yield names that pages, spreadsheets and terminals would take for orders."""
    orders = (
        "<script>alert(1)</script>", "</script><script>x", "<img src=x onerror=x>",
        "\"><b onload=x>", "<!--", "{{7*7}}", "javascript:x",
    )  # fmt: skip
    for word in orders:

        def page(folder: Path, word: str = word) -> Answer:
            plate = write_plate(
                folder / "p.zarr", {ONE: scene().image[None]}, axes="cyx",
                channels=(word,),
            )  # fmt: skip
            table = folder / "map.csv"
            table.write_text(f'well,condition\nB03,"{word.replace(chr(34), "")}"\n')
            run_plate(plate, folder / "run", channels=[word], plate_map=str(table))
            code, _ = command("report", folder / "run")
            text = (folder / "run/report.html").read_text()
            return Answer(code if not _is_order(text, word) else "an order")

        yield _case(f"a channel called {word}, in the page", page, right(0))
    for word in ("=1+1", "+1+A1", "-1+1", "@SUM(1)", "\t=1", "=cmd|' /C x'!A0"):

        def sheet(folder: Path, word: str = word) -> Answer:
            plate = write_plate(
                folder / "p.zarr", {ONE: scene().image[None]}, axes="cyx",
                channels=(word,),
            )  # fmt: skip
            run_plate(plate, folder / "run", channels=["0"])
            code, text = command("export", folder / "run", "--to", "csv")
            cells = [
                cell.strip('"')
                for file in (folder / "run/exports/csv").glob("*.csv")
                for line in file.read_text().splitlines()[1:]
                for cell in line.split(",")
            ]
            bare = [c for c in cells if (c and c[0] in "=+@\t") or c.startswith("-1+")]
            told = (text, *bare[:3])
            return Answer(None if code else ("run" if bare else "defused"), told)

        yield _case(f"a channel called {word!r}, in a spreadsheet", sheet,
                    right("defused"))  # fmt: skip


def _is_order(page: str, word: str) -> bool:
    """Return whether a page holds a word as it is, where it would be obeyed."""
    return "<" in word and word in page


def _files() -> Iterator[Case]:
    """Yield image files that mean harm, or are damaged on purpose."""

    def detect(folder: Path, content: bytes, name: str = "a.tif") -> Answer:
        file = folder / name
        file.write_bytes(content)
        words = ("--no-enhance", "--detector", "raw", "--out", folder / "o.csv")
        return answer_of_command("detect", file, *words)

    def header(*tags: tuple[int, int, int, int], after: int = 0) -> bytes:
        body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        return (
            b"II*\0"
            + struct.pack("<IH", 8, len(tags))
            + body
            + struct.pack("<I", after)
        )

    size = (256, 4, 1, 64), (257, 4, 1, 64), (258, 3, 1, 16), (259, 3, 1, 1)
    strip = (262, 3, 1, 1), (273, 4, 1, 8), (278, 4, 1, 64), (279, 4, 1, 8192)
    huge = (256, 4, 1, 2**31), (257, 4, 1, 2**31), *size[2:]
    for name, content in {
        "a TIFF of no bytes": b"",
        "a TIFF of a header alone": b"II*\0",
        "a TIFF whose pages go in circles": header(*size, *strip, after=8),
        "a TIFF of 2^62 pixels": header(*huge, *strip),
        "a TIFF whose pixels lie behind its end": header(*size, *strip),
        "a TIFF with 10^9 values of a tag": header(*size, *strip[:1],
                                                  (273, 4, 10**9, 8)),
        "a TIFF that is a PNG": b"\x89PNG\r\n\x1a\n" + bytes(99),
        "a TIFF that is a pickle": pickle.dumps({"a": 1}),
    }.items():  # fmt: skip
        yield _case(name, partial(detect, content=content), refused("."))
    laughs = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi",
                                                          strict=True)
    )  # fmt: skip
    laughs += (
        "]><OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'>&i;</OME>"
    )
    outer = (
        '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'
        "<OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'>&a;</OME>"
    )
    for name, text in {
        "expands to 10^9 letters": laughs,
        "reads a file": outer,
    }.items():

        def described(folder: Path, text: str = text) -> Answer:
            tifffile.imwrite(folder / "a.ome.tif", scene().image, description=text,
                             metadata=None)  # fmt: skip
            words = ("--no-enhance", "--detector", "raw", "--out", folder / "o.csv")
            return answer_of_command("detect", folder / "a.ome.tif", *words)

        yield _case(f"XML that {name}", described, Expected(0, refused="."))
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 2**31 - 1,
                                              2**31 - 1, 16, 0, 0, 0, 0)  # fmt: skip
    yield _case("a PNG of 2^62 pixels", partial(detect, content=png, name="a.png"),
                refused("."))  # fmt: skip
