"""Tables as users write them: plate maps, and where "toward" is.

A plate of four wells with one round cell each; a table that says something of each.
What comes back is what each well holds by the run's own tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.cases import Answer, Case, Expected, refused, right, warned
from benchmarks.robustness.scenes import (
    answer_of,
    run_plate,
    write_labels,
    write_plate,
)

KIND = "user tables"
WELLS = ("B01", "B02", "C01", "C02")
WORDS = {"B01": "ctrl", "B02": "ctrl", "C01": "drug", "C02": "drug"}
ANGLES = {"B01": 10, "B02": 20, "C01": 30, "C02": 40}
EDGE = 48
Text = str | bytes


def cases() -> Iterator[Case]:
    """Yield all of them."""
    for make in (_wells, _forms, _words, _misfits, _references, _bad_references):
        yield from make()
    for make in (_points, _times, _options):
        yield from make()


def write_small_plate(folder: Path, n_t: int = 1) -> Path:
    """Write four wells of one field: a flat image, one cell, its nucleus in the middle.

    The pixels' size is 1 um.
    """
    y, x = np.indices((EDGE, EDGE)) - EDGE // 2
    away = np.hypot(y, x)
    cells, nuclei = (away < 20).astype(np.uint16), (away < 6).astype(np.uint16)
    flat = np.full((n_t, EDGE, EDGE), 100, np.uint16)
    fields = {f"{well[0]}/{well[1:]}/0": flat for well in WELLS}
    plate = write_plate(folder / "p.zarr", fields, axes="tyx", scale=(1.0, 1.0))
    for path in fields:
        write_labels(plate / path, cells=cells, nuclei=nuclei)
    return plate


def _write(folder: Path, text: Text) -> str:
    file = folder / "table.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


def _conditions(folder: Path, text: Text, column: str = "condition") -> Answer:
    plate = write_small_plate(folder)
    table = _write(folder, text)
    results = run_plate(plate, folder / "run", plate_map=table)
    wells = results.wells
    found = zip(wells["row"] + wells["column"], wells[column], strict=True)
    return answer_of(results, {well: word for well, word in found if word})


def _angles(folder: Path, text: Text, n_t: int = 1) -> Answer:
    plate = write_small_plate(folder, n_t)
    given = text if isinstance(text, str) and ":" in text else _write(folder, text)
    results = run_plate(plate, folder / "run", cells=True, reference=given)
    cells = results.read("cells").dropna(subset=["reference_deg"])
    places = cells["row"] + cells["column"]
    if n_t > 1:
        places = places + " t" + cells["t"].astype(str)
    degrees = cells["reference_deg"].round().astype(int)
    return answer_of(results, dict(zip(places, degrees, strict=True)))


def _map(name: str, text: Text, expected: Expected, **more: Any) -> Case:
    return Case(KIND, f"map: {name}", partial(_conditions, text=text, **more), expected)


def _reference(name: str, text: Text, expected: Expected, **more: Any) -> Case:
    attempt = partial(_angles, text=text, **more)
    return Case(KIND, f"reference: {name}", attempt, expected)


def _lines(header: str, line: Callable[[str], str], ends: str = "\n") -> str:
    return ends.join([header, *(line(well) for well in WELLS)]) + ends


SPELLINGS: dict[str, Callable[[str], str]] = {
    "B01": lambda w: w,
    "B1": lambda w: f"{w[0]}{int(w[1:])}",
    "b01": str.lower,
    "B-01": lambda w: f"{w[0]}-{w[1:]}",
    "B/01": lambda w: f"{w[0]}/{w[1:]}",
    "B_1": lambda w: f"{w[0]}_{int(w[1:])}",
    "B 01": lambda w: f"{w[0]} {w[1:]}",
    "spaces about": lambda w: f"  {w} ",
    "B001": lambda w: f"{w[0]}0{w[1:]}",
    "quoted": lambda w: f'"{w}"',
}


def _wells() -> Iterator[Case]:
    for name, spell in SPELLINGS.items():
        text = _lines("well,condition", lambda w, s=spell: f"{s(w)},{WORDS[w]}")
        yield _map(f"wells as {name}", text, right(WORDS))
    for name, header, line in (
        ("row and column", "row,column", lambda w: f"{w[0]},{w[1:]}"),
        ("row and col", "row,col", lambda w: f"{w[0]},{int(w[1:])}"),
        ("3.0 for a column", "row,column", lambda w: f"{w[0]},{int(w[1:])}.0"),
        ("well, row and column", "well,row,column", lambda w: f"{w},{w[0]},{w[1:]}"),
    ):
        text = _lines(f"{header},condition", lambda w, f=line: f"{f(w)},{WORDS[w]}")
        yield _map(name, text, right(WORDS))
    for ranges in ("B01-B02", "B1-2", "B01:B02", "B01\u2013B02"):
        text = f"well,condition\n{ranges},ctrl\nC01-C02,drug\n"
        yield _map(f"the range {ranges}", text, right(WORDS))
    yield _map("a block that may be a row", "well,condition\nB01-C02,x\n",
               refused("block"))  # fmt: skip
    text = "well,row,column,condition\nB01,C,1,ctrl\n"
    yield _map("well and row that differ", text, refused("row and column say"))


def _forms() -> Iterator[Case]:
    plain = _lines("well,condition", lambda w: f"{w},{WORDS[w]}")
    for name, text in {
        "semicolons": plain.replace(",", ";"),
        "tabs": plain.replace(",", "\t"),
        "Excel's sep=;": "sep=;\n" + plain.replace(",", ";"),
        "a byte order mark": plain.encode("utf-8-sig"),
        "UTF-16": plain.encode("utf-16"),
        "lines of Windows": plain.replace("\n", "\r\n"),
        "lines of old Macs": plain.replace("\n", "\r"),
        "no last line end": plain.rstrip(),
        "empty lines": plain.replace("\n", "\n\n"),
        "lines of commas": plain + ",\n,\n",
        "comments": "# drawn by hand\n" + plain,
        "a comma at each end": plain.replace("\n", ",\n"),
        "header in capitals": plain.replace("well,condition", "WELL,Condition"),
        "header with spaces": plain.replace("well,condition", " well , condition "),
        "columns turned": _lines("condition,well", lambda w: f"{WORDS[w]},{w}"),
        "an alias": plain.replace("condition", "treatment"),
    }.items():
        yield _map(name, text, right(WORDS))
    for name, bad in {
        "no bytes": "",
        "a header alone": "well,condition\n",
        "zeros": b"\0" * 90,
        "a spreadsheet's own file": b"PK\x03\x04" + bytes(range(256)),
        "no well": _lines("place,condition", lambda w: f"{w},x"),
        "no meaning": _lines("well,colour", lambda w: f"{w},red"),
        "a slip in the header": plain.replace("condition", "conditon"),
        "a column twice": "well,condition,condition\nB01,a,b\n",
        "a cell too many": plain + "B03,drug,again\n",
        "an open quote": plain + '"B03,drug\n',
        "Latin letters of 1987": "well,condition\nB01,contr\xf4le\n".encode("latin-1"),
        "other wells alone": "well,condition\nG01,x\nG02,y\n",
        "two plates": "plate,well,condition\n1,B01,a\n2,B01,b\n",
    }.items():
        yield _map(name, bad, refused("."))


def _words() -> Iterator[Case]:
    """Yield words that programs take for something else; each is itself."""
    for word in (
        "NA", "N/A", "nan", "None", "null", "NULL", "-", "0", "00", "1e5", "1.0",
        "True", "2020-01-01", "SEP7", "0x10", "inf", "µM", "10 µM", "药", "a;b",
        "=1+1", "+ctrl", "@x", "<b>x</b>", "a'b", "100%",
    ):  # fmt: skip
        text = f'well,condition\nB01-B02,"{word}"\nC01-C02,drug\n'
        values = {"B01": word, "B02": word, "C01": "drug", "C02": "drug"}
        yield _map(f"the word {word!r}", text, right(values))
    for name, first, second in (
        ("spaces", " ctrl", "ctrl "),
        ("two spaces", "ctrl  a", "ctrl a"),
    ):
        text = f"well,condition\nB01,{first}\nB02,{second}\nC01-C02,drug\n"
        word = " ".join(first.split())
        values = {**WORDS, "B01": word, "B02": word}
        yield _map(f"{name} make no other word", text, right(values))
    for first, second in (("ctrl", "Ctrl"), ("10 nM", "10nM"), ("A_1", "A-1")):
        text = f"well,condition\nB01,{first}\nB02,{second}\nC01-C02,drug\n"
        values = {**WORDS, "B01": first, "B02": second}
        yield _map(f"{first!r} and {second!r} are told apart aloud", text,
                   warned(values, "different words"))  # fmt: skip
    text = _lines("well,gene,replicate", lambda w: f"{w},actb,{w[1:]}")
    genes = dict.fromkeys(WELLS, "actb")
    yield _map("genes", text, right(genes), column="gene")
    numbers = {well: well[1:] for well in WELLS}
    yield _map("replicates keep their zeros", text, right(numbers), column="replicate")


def _misfits() -> Iterator[Case]:
    plain = _lines("well,condition", lambda w: f"{w},{WORDS[w]}")
    some = {well: word for well, word in WORDS.items() if well != "B02"}
    for name, text, value, told in (
        ("a well too many", plain + "G07,x\n", WORDS, "1 of 5 lines.*G07"),
        ("a well too few", plain.replace("B02,ctrl\n", ""), some, "1 of 4 wells"),
        ("a further column", _lines("well,condition,dose",
                                    lambda w: f"{w},{WORDS[w]},5"), WORDS, "dose"),
        ("an empty word", plain.replace("B02,ctrl", "B02,"), some, "B02"),
        ("a short line", plain.replace("B02,ctrl", "B02"), some, "fewer cells"),
    ):  # fmt: skip
        yield _map(name, text, warned(value, told))
    yield _map("a well twice", plain + "B1,drug\n", refused("given twice"))


def _references() -> Iterator[Case]:
    for name, spell in SPELLINGS.items():
        text = _lines("well,angle_deg", lambda w, s=spell: f"{s(w)},{ANGLES[w]}")
        yield _reference(f"wells as {name}", text, right(ANGLES))
    for header, line in (
        ("row,column,angle_deg", lambda w: f"{w[0]},{w[1:]},{ANGLES[w]}"),
        ("row,col,field,angle_deg", lambda w: f"{w[0]},{w[1:]},0,{ANGLES[w]}"),
        ("well,field,angle_deg", lambda w: f"{w},0,{ANGLES[w]}"),
        ("well,field,angle_deg", lambda w: f"{w},00,{ANGLES[w]}"),
    ):
        text = _lines(header, line)
        yield _reference(f"by {header}, {line('B01')}", text, right(ANGLES))
    comma = _lines("well;angle_deg", lambda w: f"{w};{ANGLES[w]},0")
    yield _reference("decimal commas", comma, right(ANGLES))
    yield _reference("one line without a well", "angle_deg\n90\n",
                     right(dict.fromkeys(WELLS, 90)))  # fmt: skip
    yield _reference("by row", "row,angle_deg\nB,10\nC,20\n",
                     right({"B01": 10, "B02": 10, "C01": 20, "C02": 20}))  # fmt: skip
    yield _reference("one well alone", "well,angle_deg\nB01,90\n",
                     warned({"B01": 90}, "3 of 4 fields"))  # fmt: skip
    yield _reference("a well too many", _lines("well,angle_deg",
                     lambda w: f"{w},{ANGLES[w]}") + "H12,5\n",
                     warned(ANGLES, "1 of 5 lines"))  # fmt: skip


def _bad_references() -> Iterator[Case]:
    for name, text in {
        "an unknown column": "image,y,x\nB/01/0,0,24\n",
        "an unknown column beside": "well,angle_deg,side\nB01,90,left\n",
        "y alone": "well,y\nB01,3\n",
        "no place": "well,field\nB01,0\n",
        "two angles": "well,angle_deg\nB01,90\nB01,80\n",
        "a well in two spellings": "well,angle_deg\nB01,90\nB1,80\n",
        "an angle and points": "well,angle_deg,y,x\nB01,90,1,2\n",
        "a word for a number": "well,angle_deg\nB01,left\n",
        "no number": "well,angle_deg\nB01,\n",
        "no finite number": "well,angle_deg\nB01,nan\n",
        "an infinite number": "well,angle_deg\nB01,inf\n",
        "thousands": 'well,y,x\nB01,"1,234",5\n',
        "both decimals": 'well,y,x\nB01,"1,5",2.5\n',
        "other wells alone": "well,angle_deg\nH12,90\n",
        "t that is no number": "well,t,angle_deg\nB01,early,90\n",
        "a header alone": "well,angle_deg\n",
    }.items():
        yield _reference(name, text, refused("."))


def _points() -> Iterator[Case]:
    """Yield points and lines about the nucleus at (24, 24), y down, degrees up."""
    for y, x, degrees in ((24, 100, 0), (-50, 24, 90), (24, -9, 180), (90, 24, 270)):
        text = _lines("well,y,x", lambda w, y=y, x=x: f"{w},{y},{x}")
        yield _reference(
            f"the point {y}, {x}", text, right(dict.fromkeys(WELLS, degrees))
        )
    text = "\n".join(["well,y,x", *(f"{w},{y},40" for w in WELLS for y in (0, 47))])
    yield _reference("a line to the right", text, right(dict.fromkeys(WELLS, 0)))
    for given, degrees in (
        ("angle:90", 90), ("angle:-90", 270), ("angle:450", 90), ("point:0,24", 90),
        ("line:0,40,47,40", 0),
    ):  # fmt: skip
        yield _reference(
            f"by the word {given}", given, right(dict.fromkeys(WELLS, degrees))
        )
    for given in ("angle:left", "angle:", "angle:1,2", "point:3", "point:a,b",
                  "line:1,2", "line:1,2,3", "angle:nan", "arrow:3",
                  "angel:90"):  # fmt: skip
        yield _reference(f"by the word {given}", given, refused("."))


def _times() -> Iterator[Case]:
    text = _lines("well,t,angle_deg", lambda w: f"{w},0,10\n{w},1,20")
    both = {f"{well} t{t}": 10 * (t + 1) for well in WELLS for t in (0, 1)}
    yield _reference("an angle a time point", text, right(both), n_t=2)
    one = {f"{well} t{t}": ANGLES[well] for well in WELLS for t in (0, 1)}
    yield _reference("no time is all times", _lines("well,angle_deg",
                     lambda w: f"{w},{ANGLES[w]}"), right(one), n_t=2)  # fmt: skip


def _options() -> Iterator[Case]:
    """Yield settings that are out of range, or named amiss."""
    for setting in (
        {"channels": []}, {"channels": ["0", "0"]}, {"block": 0}, {"block": -5},
        {"detector": "best"}, {"sectors": 1}, {"sectors": 7.5}, {"min_spots": -1},
        {"project": "sum"}, {"floor": 2.0}, {"spot_sigma": -1.0}, {"chanels": ["0"]},
        {"plate_map": "no/such/file.csv"}, {"reference": "no/such/file.csv"},
        {"min_relative_intensity": float("nan")}, {"spot_sigma": float("nan")},
    ):  # fmt: skip

        def attempt(folder: Path, setting: dict[str, Any] = setting) -> Answer:
            results = run_plate(write_small_plate(folder), folder / "run", **setting)
            return answer_of(results, len(results.done))

        yield Case(KIND, f"setting {setting}", attempt, refused("."))
