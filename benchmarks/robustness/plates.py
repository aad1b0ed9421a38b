"""Odd plates: kinds of numbers, axes, stores of pixels, names, geometry, absence.

Each case varies one thing of a plate whose spots and cells are known. Nothing here
knows how they are found.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from benchmarks.robustness.cases import Answer, Case, Expected, refused, right
from benchmarks.robustness.scenes import (
    EDGE,
    N_SPOTS,
    answer_of,
    run_plate,
    scene,
    spots_of,
    write_image,
    write_labels,
    write_listing,
    write_plate,
)
from deepspot_scale.simulation import render_spots

KIND = "odd plates"
ONE = "B/03/0"
ALL = (N_SPOTS, 0)
"""All true spots, and no false one."""
Change = Callable[[Path], object]


def cases() -> Iterator[Case]:
    """Yield all of them."""
    for make in (_numbers, _axes, _storage, _names, _sizes, _channels):
        yield from make()
    for make in (_labels, _pixel_sizes, _absence, _repeats, _damage, _contents):
        yield from make()


def _case(name: str, attempt: Callable[[Path], Answer], expected: Expected) -> Case:
    return Case(KIND, name, attempt, expected)


def _plate(
    name: str, expected: Expected, pixels: NDArray[Any] | None = None, **image: Any
) -> Case:
    """Return the case of a plate of one field."""

    def attempt(folder: Path) -> Answer:
        fields = {ONE: scene().image if pixels is None else pixels}
        return spots_of(write_plate(folder / "p.zarr", fields, **image), folder / "run")

    return _case(name, attempt, expected)


def _numbers() -> Iterator[Case]:
    image = scene().image
    whole = right({ONE: ALL})
    for dtype in ("uint16", "uint32", "uint64", "int16", "int32", "int64"):
        yield _plate(f"pixels of {dtype}", whole, image.astype(dtype))
    for dtype in ("float32", "float64"):
        yield _plate(f"pixels of {dtype}", whole, image.astype(dtype))
        yield _plate(f"pixels of {dtype}, 0 to 1", whole, (image / 65535).astype(dtype))
    yield _plate("pixels of uint8", whole, (image // 8).astype("uint8"))
    for dtype in (">u2", ">i4", ">f4"):
        yield _plate(f"pixels of {dtype}", whole, image.astype(dtype), version="0.4")
    yield _plate("below zero", whole, image.astype("int32") - 20000)
    yield _plate("near the limit of uint32", whole, image.astype("uint32") + 2**31)
    for dtype in ("bool", "complex64"):
        yield _plate(f"pixels of {dtype}", refused("integers or floats|numbers"),
                     image.astype(dtype))  # fmt: skip
    for value in (np.nan, np.inf, -np.inf):
        odd = image.astype("float32")
        odd[40, 40] = value
        yield _plate(f"one pixel {value}", refused("NaN or inf|finite"), odd)


def _axes() -> Iterator[Case]:
    image, blank = scene().image, np.full((EDGE, EDGE), 100, np.uint16)
    for axes in ("yx", "cyx", "zyx", "tyx", "czyx", "tcyx", "tzyx", "tczyx"):
        pixels = image[(None,) * (len(axes) - 2)]
        yield _plate(f"axes {axes}, one of each", right({ONE: ALL}), pixels, axes=axes)
    stack = np.stack([blank, image, blank])
    yield _plate("a stack of 3 planes is projected", right({ONE: ALL}), stack,
                 axes="zyx")  # fmt: skip
    for axes in ("xy", "yxc", "zcyx", "yzx", "qyx", "y"):
        pixels = image[(None,) * (len(axes) - 2)] if len(axes) > 1 else image[0]
        yield _plate(f"axes {axes}", refused("axes|order"), pixels, axes=axes)


def _storage() -> Iterator[Case]:
    image, whole = scene().image, right({ONE: ALL})
    for chunks in ((EDGE, EDGE), (7, 11), (1, EDGE), (EDGE, 1), (40, 96)):
        yield _plate(f"chunks of {chunks}", whole, image, chunks=chunks)
    for version in ("0.4", "0.5"):
        yield _plate(f"OME-Zarr {version}", whole, image, version=version)
    for name, codec in {
        "none": None,
        "gzip": zarr.codecs.GzipCodec(),
        "zstd": zarr.codecs.ZstdCodec(checksum=True),
        "blosc": zarr.codecs.BloscCodec(cname="lz4", shuffle="bitshuffle"),
    }.items():
        yield _plate(f"compressed by {name}", whole, image, compressors=codec)
    for inner, shard in ((24, 48), (8, 96), (16, 32)):
        yield _plate(f"shards of {shard} with chunks of {inner}", whole, image,
                     chunks=(inner, inner), shards=(shard, shard))  # fmt: skip
    for separator in (".", "/"):
        for version, name in (("0.4", "v2"), ("0.5", "default")):
            encoding = {"name": name, "separator": separator}
            yield _plate(f"chunk names with {separator!r}, {version}", whole, image,
                         version=version, chunk_key_encoding=encoding)  # fmt: skip
    yield _plate("fill value 100", whole, image, fill_value=100)
    yield _plate("order F", whole, image, version="0.4", order="F")
    yield _plate("a level that is called full", whole, image, level="full")


def _listed(wells: dict[str, list[str]], expected: Expected, name: str) -> Case:
    def attempt(folder: Path) -> Answer:
        fields = {
            f"{well}/{field}": scene().image
            for well, names in wells.items()
            for field in names
        }
        plate = write_plate(folder / "p.zarr", fields, labels=False)
        return spots_of(plate, folder / "run")

    return _case(name, attempt, expected)


def _names() -> Iterator[Case]:
    for wells in (
        {"B/3": ["0"]},
        {"b/03": ["0"]},
        {"AA/01": ["0"]},
        {"B/03": ["0", "1", "10"]},
        {"A/1-2": ["0"], "A-1/2": ["0"]},
        {"A/1": ["2-0"], "A/1-2": ["0"]},
        {"A/1": ["x_y", "x y", "x+y"]},
        {"A/1": ["a", "A"]},
        {"A/1": ["é", "e\u0301"]},
        {"A/1": ["f" * 200]},
        {"A/1": ["0.partial-1"]},
        {"A/1": ["=1+1", "@x", "-1"]},
        {"A/1": ["nan", "None", "1e5"]},
        {"A/1": ["a b", "ä-ß", "数"]},
    ):
        found = {f"{w}/{f}": ALL for w, names in wells.items() for f in names}
        yield _listed(wells, right(found), f"named {', '.join(found)}"[:90])
    for wells in ({"B/3": ["0"], "B/03": ["0"]}, {"b/3": ["0"], "B/3": ["0"]}):
        yield _listed(wells, refused("would mean both|rename"), f"named {list(wells)}")
    yield _changed("a well listed twice", refused("more than once"), _list_twice)


def _list_twice(plate: Path) -> None:
    with _document(plate) as block:
        block["attributes"]["ome"]["plate"]["wells"] *= 2


class _document:  # noqa: N801 - used as a function
    """The metadata of a group, written back at the end."""

    def __init__(self, group: Path) -> None:
        self.file = group / "zarr.json"
        self.block: dict[str, Any] = json.loads(self.file.read_text())

    def __enter__(self) -> dict[str, Any]:
        return self.block

    def __exit__(self, *_: object) -> None:
        self.file.write_text(json.dumps(self.block))


def _changed(
    name: str, expected: Expected, change: Change, n: int = 1, **settings: Any
) -> Case:
    """Return the case of a plate of n wells in which something is changed."""

    def attempt(folder: Path) -> Answer:
        fields = {f"B/{k + 3:02d}/0": scene().image for k in range(n)}
        plate = write_plate(folder / "p.zarr", fields)
        change(plate)
        if not settings.get("cells"):
            return spots_of(plate, folder / "run", **settings)
        results = run_plate(plate, folder / "run", **settings)
        cells = results.read("cells")
        counts = cells.groupby("column")["n_spots"].agg(list).to_dict()
        return answer_of(results, counts)

    return _case(name, attempt, expected)


def _sizes() -> Iterator[Case]:
    none = right({ONE: (0, 0)})
    for shape in ((1, 1), (1, 60), (60, 1), (3, 5), (17, 31)):
        flat = np.full(shape, 100, np.uint16)
        yield _plate(f"flat, {shape[0]} x {shape[1]} pixels", none, flat)
    for value in (0, 7, 65535):
        flat = np.full((EDGE, EDGE), value, np.uint16)
        # Zarr stores no chunk that is all fill value, which may as well be lost.
        lost = "not stored" if value == 0 else ""
        yield _plate(f"every pixel {value}", replace(none, refused=lost), flat)
    cut = scene().image[:, :60]
    inside = scene().points[:, 1] < 54
    near = (scene().points[:, 1] < 64).sum()
    if inside.sum() == near:
        yield _plate("60 px wide", right({ONE: (int(near), 0)}), cut)


def _channels() -> Iterator[Case]:
    image, blank = scene().image, np.full((EDGE, EDGE), 100, np.uint16)
    pair = np.stack([blank, image])
    for names, word, expected in (
        (("DAPI", "FISH"), "FISH", right({ONE: ALL})),
        (("DAPI", "FISH"), "1", right({ONE: ALL})),
        (("FISH", "FISH"), "1", right({ONE: ALL})),
        (("FISH", "FISH"), "FISH", refused("2 channels|number")),
        (("DAPI", "FISH"), "fish", refused("Did you mean 'FISH'")),
        (("DAPI", "FISH"), "2", refused("no channel")),
        ((3, None), "1", right({ONE: ALL})),
        ((), "1", right({ONE: ALL})),
        (("1", "0"), "1", Expected({ONE: (0, 0)}, refused="channel")),
    ):

        def attempt(folder: Path, names: Any = names, word: str = word) -> Answer:
            image = {"axes": "cyx", "channels": names}
            plate = write_plate(folder / "p.zarr", {ONE: pair}, **image)
            return spots_of(plate, folder / "run", channels=[word])

        yield _case(f"channels {names}, asked for {word}", attempt, expected)


def _labels() -> Iterator[Case]:
    known, each = scene(), right({"03": [8, 8]})
    full = known.cells

    def relabel(pixels: NDArray[Any]) -> Change:
        return lambda plate: write_labels(
            plate / ONE, cells=pixels, nuclei=known.nuclei.astype("uint16")
        )

    def case(name: str, expected: Expected, pixels: NDArray[Any]) -> Case:
        return _changed(f"labels {name}", expected, relabel(pixels), cells=True)

    for dtype in ("uint8", "int32", "uint32", "int64", "uint64"):
        yield case(f"of {dtype}", each, full.astype(dtype))
    yield case("of one plane", each, full[None])
    yield case("twice as fine", each, np.kron(full, np.ones((2, 2), full.dtype)))
    yield case("with large numbers", each, full.astype("int64") * 2**40)
    yield case("of half the image", refused("match|cover|fit"), full[:48])
    yield case("of another shape", refused("match|cover|fit"), full[:, :60])
    yield case("of floats", refused("integers"), full.astype("float32"))
    yield case("below zero", refused("from -"), full.astype("int32") - 1)
    yield case("of two times", refused("fit|shape"), np.stack([full] * 2)[:, None])
    yield case("without a cell", Expected({}, refused="."), full * 0)
    yield _changed("labels that are not listed", refused("label|cells"),
                   lambda p: shutil.rmtree(p / ONE / "labels"), cells=True)  # fmt: skip
    moved = Expected({"03": [8, 4]}, refused="translat|cover|fit")
    yield _changed("labels moved by 24 px", moved, _move, cells=True)


def _move(plate: Path) -> None:
    with _document(plate / ONE / "labels/cells") as block:
        (multiscale,) = block["attributes"]["ome"]["multiscales"]
        moves = [
            {"type": "scale", "scale": [0.1, 0.1]},
            {"type": "translation", "translation": [0.0, 2.4]},
        ]
        multiscale["datasets"][0]["coordinateTransformations"] = moves


def _pixel_sizes() -> Iterator[Case]:
    """Yield plates by the distance in micrometres that two spots have."""

    def attempt(folder: Path, **image: Any) -> Answer:
        plate = write_plate(folder / "p.zarr", {ONE: scene().image}, **image)
        results = run_plate(plate, folder / "run")
        spots = results.read("spots")
        if spots.empty:
            return answer_of(results, None)
        extent = float(np.ptp(spots["y_um"])) / float(np.ptp(spots["y"]))
        return Answer(round(extent, 6) if np.isfinite(extent) else "unknown")

    for scale, unit, expected in (
        ((0.1, 0.1), "micrometer", right(0.1)),
        ((100.0, 100.0), "nanometer", right(0.1)),
        ((1e-7, 1e-7), "meter", right(0.1)),
        ((0.1, 0.1), None, right("unknown")),
        ((0.1, 0.1), "parsec", right("unknown")),
        (None, "micrometer", right("unknown")),
        ((0.0, 0.1), "micrometer", refused("scale")),
        ((-0.1, 0.1), "micrometer", refused("scale")),
        ((float("nan"), 0.1), "micrometer", refused("scale")),
    ):
        given = partial(attempt, scale=scale, unit=unit)
        yield _case(f"pixels of {scale} {unit}", given, expected)
    yield _case("directions with pixels of .2 x .1 um", _direction, right(135))


def _direction(folder: Path) -> Answer:
    """Return the direction of a reference at the first pixel, in round cells."""
    y, x = np.mgrid[:64, :128]
    away = np.hypot(y * 0.2 - 6.4, x * 0.1 - 6.4)
    cells, nuclei = (away < 5).astype("uint16"), (away < 2).astype("uint16")
    plate = folder / "p.zarr"
    write_plate(plate, {ONE: np.full((64, 128), 100, np.uint16)}, scale=(0.2, 0.1))
    write_labels(plate / ONE, cells=cells, nuclei=nuclei)
    results = run_plate(plate, folder / "run", cells=True, reference="point:0,0")
    return answer_of(
        results, round(float(results.read("cells")["reference_deg"].iloc[0]))
    )


def _absence() -> Iterator[Case]:
    chunks, beside = f"{ONE}/0/c", {"B/04/0": ALL}
    others = Expected(beside, "absent|missing|not stored|B/03/0|chunk")
    for name, path in (
        ("all chunks of an image are absent", chunks),
        ("a row of chunks is absent", f"{chunks}/0"),
        ("a chunk is absent", f"{chunks}/1/1"),
        ("the image is absent", ONE),
        ("the level is absent", f"{ONE}/0"),
    ):

        def remove(plate: Path, path: str = path) -> None:
            target = plate / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()

        yield _changed(name, others, remove, n=2)
    yield _changed("a listed well is absent", Expected(beside, "does not exist"),
                   lambda plate: shutil.rmtree(plate / "B/03"), n=2)  # fmt: skip

    def cells_gone(plate: Path, path: str) -> None:
        shutil.rmtree(plate / ONE / "labels" / path)

    for path in ("cells/0/c", "cells/0/c/1", "nuclei/0/c"):
        told = Expected({"04": [8, 8]}, "absent|missing|not stored|chunk")
        yield _changed(f"{path} of labels is absent", told,
                       partial(cells_gone, path=path), n=2, cells=True)  # fmt: skip
    yield _changed("no well can be read", refused("none|could be read|no well"),
                   lambda plate: shutil.rmtree(plate / "B"))  # fmt: skip


def _repeats() -> Iterator[Case]:
    """Yield the same cells again: as times, acquisitions, planes, channels."""

    def attempt(folder: Path, pixels: NDArray[Any], n: int = 1, **more: Any) -> Answer:
        image = {key: more.pop(key) for key in ("axes", "channels") if key in more}
        fields = {f"B/03/{k}": pixels for k in range(n)}
        numbers = tuple(range(n)) if n > 1 else ()
        plate = write_plate(folder / "p.zarr", fields, acquisitions=numbers, **image)
        results = run_plate(plate, folder / "run", cells=True, min_spots=1, **more)
        wells = results.wells
        return answer_of(results, sorted({*wells["n_cells"], *wells["n_cells_used"]}))

    image = scene().image
    for name, given in {
        "8 times of the same cells": {"pixels": np.stack([image] * 8), "axes": "tyx"},
        "4 acquisitions of the same cells": {"pixels": image, "n": 4},
        "4 planes of the same cells": {
            "pixels": np.stack([image] * 4),
            "axes": "zyx",
            "project": "none",
        },
        "2 channels of the same cells": {
            "pixels": np.stack([image] * 2),
            "axes": "cyx",
            "channels": ["0", "1"],
        },
    }.items():
        made = {"reference": "angle:30", **given}
        if "channels" in made:
            made["channels"] = ["0", "1"]
        yield _case(name, partial(attempt, **made), right([2]))


def _damage() -> Iterator[Case]:
    chunk = f"{ONE}/0/c/0/0"
    for name, change in {
        "a chunk of no bytes": lambda p: (p / chunk).write_bytes(b""),
        "a chunk cut short": lambda p: os.truncate(p / chunk, 9),
        "a chunk of other bytes": lambda p: (p / chunk).write_bytes(b"x" * 900),
        "a chunk that is a folder": _folder_instead,
        "metadata cut short": lambda p: os.truncate(p / ONE / "0/zarr.json", 30),
        "metadata of no bytes": lambda p: (p / ONE / "zarr.json").write_bytes(b""),
        "metadata that are a list": lambda p: (p / ONE / "zarr.json").write_text("[1]"),
        "no multiscales": _no_multiscales,
        "a text for a shape": _text_shape,
    }.items():
        yield _changed(name, refused("."), change)


def _folder_instead(plate: Path) -> None:
    chunk = plate / ONE / "0/c/0/0"
    chunk.unlink()
    chunk.mkdir()


def _no_multiscales(plate: Path) -> None:
    with _document(plate / ONE) as block:
        block["attributes"]["ome"].pop("multiscales")


def _text_shape(plate: Path) -> None:
    with _document(plate / ONE / "0") as block:
        block["shape"] = ["96", "96"]


def _contents() -> Iterator[Case]:
    """Yield images whose contents lead detectors astray."""
    rng = np.random.default_rng(5)
    hot = np.full((64, 64), 100, np.uint16)
    hot[30, 30] = 65535
    yield _plate("a hot pixel is at most one spot",
                 Expected({ONE: (0, 1)}, refused="."), hot)  # fmt: skip
    for name, sigma in (("2.5", 2.5), ("3.2", 3.2)):
        wide = scene(edge=192, sigma=sigma)
        yield _field(f"wide spots, sigma {name}", wide.image, wide.points)
    grid = np.stack(np.mgrid[:40, :40], -1).reshape(-1, 2) * 8.0 + 6
    light = 200 + render_spots((326, 326), grid, np.full(1600, 1500.0), np.ones(1600))
    full = np.rint(light + rng.normal(0, 12, light.shape)).astype(np.uint16)
    for detector in ("raw", "product"):
        yield _case(f"1600 spots 8 px apart, {detector}",
                    partial(_crowded, image=full, points=grid, detector=detector),
                    right("found or told"))  # fmt: skip
    image = scene().image.copy()
    image[:3] = 0
    lower = scene().points
    yield _field("a black rim of 3 px", image, lower)
    bar = scene().image.copy()
    bar[90:94, 60:90] = 65535
    yield _field("a burnt-in bar", bar, lower, Expected({ONE: ALL}, refused="."))


def _crowded(folder: Path, image: NDArray[Any], points: Any, detector: str) -> Answer:
    """Say whether nearly all spots are found, or a count says that they may not be."""
    plate = write_plate(folder / "p.zarr", {ONE: image})
    answer = spots_of(plate, folder / "run", points, detector=detector)
    n_true = answer.value[ONE][0] if answer.value else 0
    said = re.search("crowd|threshold|above", " ".join(answer.told), re.I)
    good = n_true > 0.95 * len(points) or said
    return Answer("found or told" if good else f"{n_true} found", answer.told)


def _field(
    name: str,
    image: NDArray[Any],
    points: NDArray[np.float64],
    expected: Expected | None = None,
    **settings: Any,
) -> Case:
    def attempt(folder: Path) -> Answer:
        plate = folder / "p.zarr"
        write_listing(plate, {"B/03": ["0"]})
        write_image(plate / ONE, image)
        return spots_of(plate, folder / "run", points, **settings)

    return _case(name, attempt, expected or right({ONE: (len(points), 0)}))
