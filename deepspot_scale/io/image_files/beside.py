"""Pixel sizes and channel names from the files that microscopes write beside images.

    Index.idx.xml, Index.xml                      Opera Phenix, Operetta (Harmony)
    MeasurementDetail.mrf, MeasurementData.mlf    CellVoyager

The path of an image comes in; what its channel is called and the sizes of its voxels go
out. Nothing here opens images.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import ParseError

from deepspot_scale.errors import FieldError
from deepspot_scale.io.image_files.xml import iter_records

_HARMONY = re.compile(r"^r\d+c\d+f\d+p\d+-ch(\d+)(?:sk\d+fk\d+fl\d+)?\.", re.IGNORECASE)
_CELLVOYAGER = re.compile(r"_T\d+F\d+L\d+A\d+Z\d+C(\d+)\.", re.IGNORECASE)
_HARMONY_FILES = ("Index.idx.xml", "Index.xml")
_METRES_UM = {"m": 1e6, "mm": 1e3, "um": 1.0, "µm": 1.0, "nm": 1e-3}
_SAME_UM = 0.02
"""Steps of one stack differ by this at most, since stages and their logs round."""


@dataclass(frozen=True)
class Beside:
    """What the microscope's files say about one channel."""

    channel: str = ""
    """Name; empty: none."""
    spacing_um: Mapping[str, float] = field(default_factory=dict)
    """Voxel size by axis, for those of z, y, x where it is known."""


def is_harmony(path: Path) -> bool:
    """Return whether an Operetta or Opera Phenix gave a file its name."""
    return _HARMONY.match(path.name) is not None


def read_beside(path: Path) -> Beside | None:
    """Return what the files beside an image say about it; None: there are none.

    Raises FieldError if such a file is damaged.
    """
    for names, pattern, read in (
        (_HARMONY_FILES, _HARMONY, _read_harmony),
        (("MeasurementDetail.mrf",), _CELLVOYAGER, _read_cellvoyager),
    ):
        match = pattern.search(path.name)
        places = (f / name for f in (path.parent, path.parent.parent) for name in names)
        source = next(filter(Path.is_file, places), None) if match else None
        if match and source:
            try:
                known = read(source, source.stat().st_mtime_ns)
            except (ParseError, ValueError, KeyError) as error:
                raise FieldError(
                    f"{source} cannot be read: {error!r}. Copy it again, or move it "
                    "away and give the pixel size yourself."
                ) from error
            return known.get(int(match[1]))
    return None


@lru_cache(maxsize=8)
def _read_harmony(source: Path, _: int) -> dict[int, Beside]:
    """Read an index: sizes of each image in versions 4 and 5, of each channel later."""
    names: dict[int, str] = {}
    sizes: dict[int, dict[str, float]] = defaultdict(dict)
    heights: dict[int, _Heights] = defaultdict(lambda: defaultdict(dict))
    for record in iter_records(source, {"Image", "Entry"}):
        if not record.get("ChannelID"):
            continue
        channel = int(record["ChannelID"])
        if record.get("ChannelName"):
            names[channel] = record["ChannelName"]
        for axis in "YX":
            size = _length_um(record, f"ImageResolution{axis}")
            if size and sizes[channel].setdefault(axis.lower(), size) != size:
                raise ValueError(f"channel {channel} has different pixel sizes")
        z = _length_um(record, "PositionZ")
        if z is not None and record.get("PlaneID"):
            keys = ("Row", "Col", "FieldID", "TimepointID")
            stack = tuple(record.get(key, "") for key in keys)
            heights[channel][stack][int(record["PlaneID"])] = z
    return {
        channel: Beside(
            names.get(channel, ""), sizes[channel] | _z_step(heights[channel].values())
        )
        for channel in {*names, *sizes}
    }


@lru_cache(maxsize=8)
def _read_cellvoyager(source: Path, _: int) -> dict[int, Beside]:
    heights: dict[int, _Heights] = defaultdict(lambda: defaultdict(dict))
    planes = source.with_name("MeasurementData.mlf")
    for record in (
        iter_records(planes, {"MeasurementRecord"}) if planes.exists() else ()
    ):
        if record.get("Type", "IMG") == "IMG" and {"Z", "ZIndex", "Ch"} <= set(record):
            keys = ("Row", "Column", "FieldIndex", "TimePoint", "ActionIndex")
            stack = tuple(record.get(key, "") for key in keys)
            height = float(record["Z"])
            heights[int(record["Ch"])][stack][int(record["ZIndex"])] = height
    known = {}
    for record in iter_records(source, {"MeasurementChannel"}):
        channel = int(record["Ch"])
        words = {"y": "VerticalPixelDimension", "x": "HorizontalPixelDimension"}
        sizes = {axis: float(record.get(word, 0)) for axis, word in words.items()}
        sizes = {axis: size for axis, size in sizes.items() if size > 0}
        known[channel] = Beside("", sizes | _z_step(heights[channel].values()))
    return known


_Heights = dict[tuple[str, ...], dict[int, float]]
"""Micrometres by stack and plane."""


def _z_step(stacks: Iterable[Mapping[int, float]]) -> dict[str, float]:
    """Return the distance of planes if it is one for all stacks."""
    steps = [
        abs(stack[plane + 1] - stack[plane])
        for stack in stacks
        for plane in stack
        if plane + 1 in stack
    ]
    if not steps or max(steps) - min(steps) > _SAME_UM or min(steps) <= 0:
        return {}
    return {"z": round(sorted(steps)[len(steps) // 2], 4)}


def _length_um(record: Mapping[str, str], key: str) -> float | None:
    """Return a length in micrometres; None: it is absent, or its unit is unknown."""
    factor = _METRES_UM.get(record.get(f"{key} Unit", "m"))
    return float(record[key]) * factor if record.get(key) and factor else None
