"""Spots of loose image files: no plate, no run folder, one table.

Nothing here knows how a field is processed.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.errors import DeepspotError, InputWarning, SettingsError
from deepspot_scale.execution.field import run_field
from deepspot_scale.execution.planes import FieldTask, PlaneResult
from deepspot_scale.io.absent_chunks import Allowed, describe_absent
from deepspot_scale.io.field import open_field
from deepspot_scale.io.plate import leave_aside, open_plate
from deepspot_scale.networks.engine_types import Device
from deepspot_scale.runs.process import FATAL, explain
from deepspot_scale.runs.progress import describe_counts
from deepspot_scale.settings import Settings, assemble
from deepspot_scale.stages.detection.detect import DetectOptions
from deepspot_scale.tables import as_table, join_tables
from deepspot_scale.vocabulary import SPOTS

DROPPED = ["row", "column", "cell", "nucleus", "cluster"]
"""Columns of the spot table that have no meaning outside a plate."""


@dataclass(frozen=True)
class ImageSpots:
    """The spots of some image files."""

    table: pd.DataFrame
    """Columns image, y, x and the rest of `vocabulary.SPOTS`."""
    n_images: int
    """Images that were processed."""
    failed: dict[str, str]
    """Reason by path."""
    channels: tuple[str, ...]
    """Channels of the image that has the most."""
    left_out: tuple[str, ...] = ()
    """What was left out or is doubtful in these images, counted: lines for people."""


def detect_images(
    paths: Iterable[Any],
    settings: Settings,
    *,
    device: Device = "auto",
    allow_absent: Allowed = "none",
    on_image: Callable[[pd.DataFrame], None] = lambda _: None,
) -> ImageSpots:
    """Find every spot in image files.

    Paths are TIFF or PNG files, folders of them, or OME-Zarr images; no labels are
    read. `allow_absent` is as in `Selection`; a warning names images with chunks that
    are not stored, or that the store does not list. `on_image` is called with each
    image's rows when it is done.
    Of several files an InputWarning counts the thumbnails and calibration images, which
    are left out.

    Raises
    ------
    DeviceError, SettingsError, WeightsError
        An error that every image would meet.
    """
    pipeline = _assemble(settings, device)
    tables, names, failed, n_images = [], set[str](), {}, 0
    channels, counts = tuple[str, ...](), Counter[str]()
    given = {str(path): path for path in paths}
    for name in leave_aside(list(given), "the files given"):
        try:
            entries = open_plate(given[name]).entries
        except (DeepspotError, OSError) as error:
            failed[name] = explain(error)
            continue
        for entry in entries:
            try:
                channels = max(channels, open_field(entry).channels, key=len)
                task = FieldTask(entry, allow_absent=allow_absent)
                planes = run_field(task, settings, pipeline)
            except FATAL:
                raise
            except Exception as error:  # reported; the other images are still done
                failed[entry.source] = explain(error)
                continue
            n_images += 1
            counts += _sum_counts(planes)
            _warn_of_absent(entry.source, planes)
            # If files in two folders have the same name, the path tells them apart.
            known = entry.address.path in names
            names.add(image := entry.source if known else entry.address.path)
            spots = join_tables((plane.tables["spots"] for plane in planes), SPOTS)
            tables.append(as_table(spots.assign(field=image), SPOTS))
            on_image(_as_shown(tables[-1]))
    table = _as_shown(join_tables(tables, SPOTS))
    left_out = describe_counts(pipeline.counts, counts)
    return ImageSpots(table, n_images, failed, channels, tuple(left_out))


def _assemble(settings: Settings, device: Device) -> Pipeline:
    """Return the pipeline; SettingsError if it would give more than spots."""
    if settings.of(DetectOptions).fit:
        raise SettingsError(
            "fitted Gaussians (--fit) are a table of a run, and detect writes spots "
            "only; give the images to run"
        )
    return assemble(settings, device=device)


def _sum_counts(planes: list[PlaneResult]) -> Counter[str]:
    return sum((Counter(plane.counts) for plane in planes), Counter())


def _warn_of_absent(source: str, planes: list[PlaneResult]) -> None:
    told = describe_absent(planes[0].state.n_absent) if planes else ""
    if told:
        warnings.warn(f"{source}: {told}", InputWarning, stacklevel=3)


def _as_shown(spots: pd.DataFrame) -> pd.DataFrame:
    table = spots.drop(columns=DROPPED).rename(columns={"field": "image"})
    front = ["image", "y", "x"]
    return table[front + [name for name in table if name not in front]]
