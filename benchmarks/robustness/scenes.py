"""Small fields whose spots and cells are known, written as other programs write them.

Arrays and metadata come in, Zarr hierarchies go out, valid or not: the product's own
writer would refuse most of these. Nothing here knows what is right for them.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import zarr
from numpy.typing import NDArray

import deepspot_scale as ds
from benchmarks.robustness.cases import Answer
from deepspot_scale.cli import main
from deepspot_scale.evaluation.matching import match_one_to_one
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import RunResults
from deepspot_scale.simulation import render_spots
from deepspot_scale.tables import rows_with
from deepspot_scale.vocabulary import FIELDS

EDGE = 96
N_SPOTS = 16
"""Of a scene, all far brighter than its noise, 8 px or more apart."""


@dataclass(frozen=True)
class Scene:
    """One field."""

    image: NDArray[Any]
    """(y, x), uint16."""
    points: NDArray[np.float64]
    """(n, 2)."""
    cells: NDArray[np.uint16]
    """Two cells, left and right."""
    nuclei: NDArray[np.uint16]
    """One nucleus in the middle of each."""


@cache
def scene(seed: int = 0, edge: int = EDGE, sigma: float = 1.3) -> Scene:
    """Return a field of 4 x 4 spots of 1500 counts on 100 with a noise of 6."""
    rng = np.random.default_rng(seed)
    step = edge / 4
    grid = np.stack(np.mgrid[:4, :4], -1).reshape(-1, 2)
    points = (grid + 0.5) * step + rng.uniform(-0.25, 0.25, (16, 2)) * step
    heights, sigmas = np.full(16, 1500.0), np.full(16, sigma)
    image = 100 + render_spots((edge, edge), points, heights, sigmas)
    image = np.rint(image + rng.normal(0, 6, image.shape)).astype(np.uint16)
    y, x = np.indices(image.shape)
    half = edge // 2
    cells = np.where(abs(x - half) < 2, 0, 1 + x // half).astype(np.uint16)
    middle = np.where(x < half, edge / 4, 3 * edge / 4)
    near = np.hypot(y - edge / 2, x - middle) < edge / 8
    return Scene(image, points, cells, np.where(near, cells, 0).astype(np.uint16))


def put(group: zarr.Group, block: Mapping[str, Any], version: str = "0.5") -> None:
    """Store OME metadata."""
    wrapped = {"ome": {"version": version, **block}} if version == "0.5" else block
    group.attrs.update(wrapped)


def write_image(  # noqa: PLR0913 - each is something that differs between writers
    path: Path,
    pixels: NDArray[Any],
    *,
    axes: str = "",
    scale: tuple[float, ...] | None = (0.1, 0.1),
    unit: str | None = "micrometer",
    channels: tuple[Any, ...] = ("FISH",),
    version: str = "0.5",
    level: str = "0",
    **array: Any,
) -> None:
    """Write an OME-Zarr image of one level."""
    axes = axes or "tczyx"[-pixels.ndim :]
    group = zarr.open_group(
        str(path), mode="a", zarr_format=3 if version == "0.5" else 2
    )
    array.setdefault("chunks", tuple(min(48, n) for n in pixels.shape))
    if version != "0.5":
        array.setdefault("chunk_key_encoding", {"name": "v2", "separator": "/"})
    group.create_array(level, data=pixels, overwrite=True, **array)
    kinds = {"t": "time", "c": "channel"}
    listed = [{"name": a, "type": kinds.get(a, "space")} for a in axes]
    for axis in listed:
        if unit is not None and axis["name"] in "zyx":
            axis["unit"] = unit
    dataset: dict[str, Any] = {"path": level}
    if scale is not None:
        whole = (*[1.0] * (len(axes) - len(scale)), *scale)
        moves = [{"type": "scale", "scale": list(whole)}]
        dataset["coordinateTransformations"] = moves
    block: dict[str, Any] = {"multiscales": [{"axes": listed, "datasets": [dataset]}]}
    if "c" in axes:
        block["omero"] = {"channels": [{"label": name} for name in channels]}
    put(group, block, version)


def write_labels(path: Path, version: str = "0.5", **labels: NDArray[Any]) -> None:
    """Write label images below an image, on its grid."""
    group = zarr.open_group(str(path), mode="a").require_group("labels")
    put(group, {"labels": list(labels)}, version)
    for name, pixels in labels.items():
        write_image(path / "labels" / name, pixels, version=version, scale=None)


def write_listing(
    path: Path,
    wells: Mapping[str, list[Any]],
    *,
    version: str = "0.5",
    acquisitions: tuple[int, ...] = (),
) -> None:
    """Write a plate's and its wells' listings; wells: {"B/03": ["0", "1"]}."""
    zarr_format = 3 if version == "0.5" else 2
    group = zarr.open_group(str(path), mode="a", zarr_format=zarr_format)
    rows, columns = (sorted({w.split("/")[i] for w in wells}) for i in (0, 1))
    listed = [
        {
            "path": well,
            "rowIndex": rows.index(well.split("/")[0]),
            "columnIndex": columns.index(well.split("/")[1]),
        }
        for well in wells
    ]
    names = {"rows": rows, "columns": columns}
    plate = {key: [{"name": n} for n in each] for key, each in names.items()}
    put(group, {"plate": {"name": "p", "wells": listed, **plate}}, version)
    for well, fields in wells.items():
        images = [{"path": name} for name in fields]
        for image, number in zip(images, acquisitions, strict=False):
            image["acquisition"] = number
        put(group.require_group(well), {"well": {"images": images}}, version)


def write_plate(
    path: Path,
    fields: Mapping[str, NDArray[Any]],
    *,
    labels: bool = True,
    acquisitions: tuple[int, ...] = (),
    **image: Any,
) -> Path:
    """Write a plate of some images, with the labels of `scene` where they fit."""
    wells: dict[str, list[str]] = {}
    for address in fields:
        well, _, name = address.rpartition("/")
        wells.setdefault(well, []).append(name)
    version = image.get("version", "0.5")
    write_listing(path, wells, version=version, acquisitions=acquisitions)
    for address, pixels in fields.items():
        write_image(path / address, pixels, **image)
        if labels and pixels.shape[-2:] == (EDGE, EDGE):
            known = scene()
            write_labels(
                path / address, version, cells=known.cells, nuclei=known.nuclei
            )
    return path


def run_plate(
    plate: Path | str, out: Path | str, *, cells: bool = False, **settings: Any
) -> RunResults:
    """Run without a network, in this process."""
    labels = {"cells": "cells", "nuclei": "nuclei"} if cells else {}
    given = {"channels": ["0"], "enhance": False, "quality": False}
    made = ds.make_settings(**{**given, **labels, **settings})
    ds.run(plate, str(out), made)
    return ds.open_run(out)


def answer_of(results: RunResults, value: Any) -> Answer:
    """Return a value with what a run tells: reasons, and counts of what it left out.

    Without a done field there is no value.
    """
    told = list(results.failed["reason"])
    for name, _, meaning in set(results.contents.fields) - set(FIELDS):
        n = results.fields[name].sum() if name.startswith("n_") else 0
        told += [f"{name} {n}: {meaning}"] if n else []
    return Answer(None if results.done.empty else value, tuple(told))


def spots_of(
    plate: Path | str,
    out: Path | str,
    points: NDArray[np.float64] | None = None,
    **settings: Any,
) -> Answer:
    """Return true and false spots of each field that is done.

    True are those within 1 px of `points`, by default those of `scene`, each of which
    counts once.
    """
    results = run_plate(plate, out, **settings)
    points = scene().points if points is None else points
    spots = results.read("spots", ["y", "x"])
    counts = {}
    for address in addresses_of(results.done):
        own = rows_with(spots, asdict(address))
        places = spots.loc[own, ["y", "x"]]
        score = match_one_to_one(places, points, 1.0)
        counts[address.path] = (score.n_matched, score.n_found - score.n_matched)
    return answer_of(results, counts)


def command(*words: object) -> tuple[int, str]:
    """Call the command in this process; return its exit code and what it printed.

    What is raised, and would be a traceback, is raised here too.
    """
    text = io.StringIO()
    code: Any = 0
    with (
        patch.object(sys, "argv", ["deepspot-scale", *map(str, words)]),
        patch.object(sys, "path", list(sys.path)),
        redirect_stdout(text),
        redirect_stderr(text),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    return int(code), text.getvalue()


def answer_of_command(*words: object) -> Answer:
    """Return a command's exit code 0 as value; other codes as a refusal."""
    code, text = command(*words)
    return Answer(None if code else 0, (text,))
