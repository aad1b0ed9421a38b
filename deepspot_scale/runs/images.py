"""Spots of loose image files: no plate, no run folder, one table.

Nothing here knows how a field is processed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deepspot_scale.errors import DeepspotError
from deepspot_scale.execution.field import run_field
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.io.plate import open_plate
from deepspot_scale.networks.engines import Device
from deepspot_scale.pipeline import assemble
from deepspot_scale.runs.batches import FATAL, explain
from deepspot_scale.settings import Settings
from deepspot_scale.vocabulary import SPOTS, empty_table

DROPPED = ["row", "column", "cell", "nucleus"]
"""Columns of the spot table that mean nothing outside a plate."""


@dataclass(frozen=True)
class ImageSpots:
    """What came of some image files."""

    table: pd.DataFrame
    """Columns image, y, x and the rest of `vocabulary.SPOTS`."""
    n_images: int
    """Images that were processed."""
    failed: dict[str, str]
    """Reason by path."""


def detect_images(
    paths: Iterable[Any],
    settings: Settings,
    *,
    device: Device = "auto",
    on_image: Callable[[str], None] = lambda _: None,
) -> ImageSpots:
    """Find every spot in image files.

    Parameters
    ----------
    paths
        TIFF or PNG files, folders of them, or OME-Zarr images.
    settings
        What is measured; labels are not looked for.
    device
        Where the network runs.
    on_image
        Called with each image's name when it is done.

    Raises
    ------
    DeviceError, SettingsError, WeightsError
        What every image would meet alike.
    """
    pipeline = assemble(settings, device=device)
    tables, names, failed, n_images = [], set[str](), {}, 0
    for path in paths:
        try:
            entries = open_plate(path).entries
        except (DeepspotError, OSError) as error:
            failed[str(path)] = explain(error)
            continue
        for entry in entries:
            try:
                planes = run_field(FieldTask(entry), settings, pipeline)
            except FATAL:
                raise
            except Exception as error:  # named for the user; the other images go on
                failed[entry.source] = explain(error)
                continue
            n_images += 1
            # Two folders may hold files of one name; then the path tells them apart.
            name = entry.address.path
            name = entry.source if name in names else name
            names.add(name)
            tables += [p.spots.assign(field=name) for p in planes if len(p.spots)]
            on_image(name)
    table = pd.concat(tables, ignore_index=True) if tables else empty_table(SPOTS)
    table = table.drop(columns=DROPPED).rename(columns={"field": "image"})
    front = ["image", "y", "x"]
    table = table[front + [name for name in table if name not in front]]
    return ImageSpots(table, n_images, failed)
