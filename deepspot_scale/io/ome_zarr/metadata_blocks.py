"""Builds OME-NGFF metadata: the dictionaries that `metadata` parses.

Addresses and checked plain values come in, attributes of Zarr groups go out. Nothing
here opens files. Specification: https://ngff.openmicroscopy.org
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from deepspot_scale.io.ome_zarr.metadata import (
    MICROMETRES,
    Attributes,
    ImageListing,
    Version,
)
from deepspot_scale.vocabulary import FieldAddress

_AXIS_TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
_UNITS = {size: name for name, size in MICROMETRES.items()}


def _natural_order(name: str) -> tuple[int, str]:
    """Return a sort key that puts 2 before 10 and Z before AA."""
    digits = re.sub(r"^0+(?=\d)", "", name)
    return len(digits), digits


def plate_block(
    addresses: Sequence[FieldAddress],
    name: str,
    acquisitions: Mapping[FieldAddress, int],
    version: Version,
) -> Attributes:
    """Return the metadata of a plate with these fields."""
    rows = sorted({a.row for a in addresses}, key=_natural_order)
    columns = sorted({a.column for a in addresses}, key=_natural_order)
    wells = Counter((address.row, address.column) for address in addresses)
    plate: Attributes = {
        "columns": [{"name": column} for column in columns],
        "rows": [{"name": row} for row in rows],
        "wells": [
            {"path": f"{row}/{column}", "rowIndex": i, "columnIndex": j}
            for (i, row), (j, column) in product(enumerate(rows), enumerate(columns))
            if (row, column) in wells
        ],
        "field_count": max(wells.values()),
    }
    if name:
        plate["name"] = name
    if acquisitions:
        numbers = sorted(set(acquisitions.values()))
        plate["acquisitions"] = [{"id": number} for number in numbers]
    return {"plate": _versioned(plate, version)}


def _versioned(block: Attributes, version: Version) -> Attributes:
    return block | ({"version": version} if version == "0.4" else {})


def well_block(
    addresses: Sequence[FieldAddress],
    acquisitions: Mapping[FieldAddress, int],
    version: Version,
) -> Attributes:
    """Return the metadata of the well with these fields."""
    images: list[Attributes] = [{"path": address.field} for address in addresses]
    if acquisitions:
        for image, address in zip(images, addresses, strict=True):
            image["acquisition"] = acquisitions[address]
    return {"well": _versioned({"images": images}, version)}


def multiscales_block(listing: ImageListing, name: str, version: Version) -> Attributes:
    """Return the metadata of a multiscale image; all levels must have a scale."""
    axes: list[Attributes] = []
    for axis, unit_um in zip(listing.axes, listing.units_um, strict=True):
        axes.append({"name": axis, "type": _AXIS_TYPES[axis]})
        if unit_um is not None:
            axes[-1]["unit"] = _UNITS[unit_um]
    datasets = [
        {
            "path": level.path,
            "coordinateTransformations": [
                {"type": kind, kind: list(numbers)}
                for kind, numbers in (
                    ("scale", level.scale or ()),
                    ("translation", level.translation),
                )
                if numbers is not None
            ],
        }
        for level in listing.levels
    ]
    multiscale: Attributes = {"name": name, "axes": axes, "datasets": datasets}
    return {"multiscales": [_versioned(multiscale, version)]}


def omero_block(
    channels: Sequence[str],
    dtype: np.dtype[Any],
    ends: tuple[float, float] | None = None,
) -> Attributes:
    """Return display metadata: channel names, and the dtype's full range as window.

    Floats have the range 0 to 1, or from the least to the largest pixel, if these
    `ends` are known.
    """
    low, high = ends or (0.0, 1.0)
    if dtype.kind in "ui":
        low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    window = {
        "min": low,
        "max": high,
        "start": low if ends else max(low, 0.0),
        "end": high,
    }
    shown = {"color": "FFFFFF", "active": True, "window": window}
    return {"omero": {"channels": [{"label": name, **shown} for name in channels]}}


def label_block(version: Version) -> Attributes:
    """Return the metadata that mark an image as labels of the image above it."""
    return {"image-label": _versioned({"source": {"image": "../../"}}, version)}
