"""napari's reader: a run folder or a plate that is dropped on the window, as layers.

A path comes in; the layers of its first field go out, and a notice that names the
others, which the panel shows. Errors of ours are notices too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deepspot_scale.errors import DeepspotError
from deepspot_scale.exports.libraries import load_library
from deepspot_scale.exports.viewer import Layer
from deepspot_scale.napari_plugin.sources import is_run, open_source

PANEL = "Tune spots and sectors"
"""Name of the panel in napari's menu."""
_NAMED = 6
"""Fields that a notice names."""
NOTHING: list[Any] = [(None,)]
"""What tells napari that a path was read and gives no layer."""


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Any]] | None:
    """Return the reader of a run folder or an OME-Zarr; None for all else."""
    if not isinstance(path, str):
        return None
    is_zarr = path.rstrip("/").endswith(".zarr") and Path(path).is_dir()
    return read_layers if is_zarr or is_run(path) else None


def read_layers(path: str) -> list[Any]:
    """Return the layers of the first field of a run or a plate."""
    notices = load_library("napari.utils.notifications", "napari")
    try:
        opened = open_source(path)
        first, *others = opened.paths
        layers: list[Layer] = opened.layers(first)
    except (DeepspotError, OSError) as error:
        notices.show_error(str(error))
        return NOTHING
    if others:
        notices.show_info(_say(first, others))
    return layers


def _say(first: str, others: list[str]) -> str:
    more = ", ..." if len(others) > _NAMED else ""
    return (
        f"This is field {first}, the first of {len(others) + 1}. Others "
        f"({', '.join(others[:_NAMED])}{more}): Plugins > deepspot-scale > {PANEL}"
    )
