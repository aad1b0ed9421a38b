"""A folder for napari's built-in reader: spots and cells of each field as points.

A run comes in; one folder per field goes out, with CSV files in napari's own format.
Dropped on an image opened by napari-ome-zarr, the points match the image: positions are
in micrometres if the image has a pixel size, otherwise in pixels, as for TIFF files. No
pixel is read.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from deepspot_scale.exports.measures import KEYS, measure_cells
from deepspot_scale.exports.targets import safe_names
from deepspot_scale.io.field import Field
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import FieldResult, RunResults
from deepspot_scale.settings import Settings
from deepspot_scale.tables import guard_words

SIGN = ("README.txt", "napari")
"""A file, and a word in it, that identify an earlier export."""
_README = """Spots and cells of a deepspot_scale run, for napari.

There is one folder for each field. Open the field's image, then drop the CSV files
of its folder on the window:

    napari --plugin napari-ome-zarr {plate}/{field}
    napari {name}/*.csv

Positions are in the units of the image: micrometres for an OME-Zarr with a pixel
size, pixels for other files. Each point carries its measures; colour by them
with "face color" > "properties".
"""
_PLACE = {"z", "y", "x", "z_um", "y_um", "x_um", "cell_y", "cell_x"}
"""Columns that are replaced by the axes of a point."""


def write_napari(results: RunResults, folder: Path) -> None:
    """Write ``FIELD/spots_CHANNEL.csv`` and ``FIELD/cells_CHANNEL.csv``.

    A cell is placed at its centroid. If the run has several time points or separate
    planes, t and z are the first axes of a point; of a volume's spots z is the depth.
    An empty table gives no file, a field without tables no folder. The folder is
    created.
    """
    folder.mkdir()
    paths = [address.path for address in addresses_of(results.done)]
    names = safe_names(paths)
    for found in results.iter_fields():
        _write_field(results, found, folder / names[found.address.path])
    path, name = next(iter(names.items()), ("FIELD", "FIELD"))
    text = _README.format(plate=results.source, field=path, name=name)
    (folder / SIGN[0]).write_text(text, encoding="utf-8")


def _write_field(results: RunResults, found: FieldResult, folder: Path) -> None:
    wells = results.plate_map, results.index.sectors
    field = results.plate.open(found.address.path)
    cells = measure_cells(found["cells"], *wells)
    cells = cells.assign(y=cells["cell_y"], x=cells["cell_x"])
    for kind, table in (("spots", found["spots"]), ("cells", cells)):
        channels = safe_names(table["channel"].unique())
        for channel, rows in table.groupby("channel", sort=False):
            folder.mkdir(exist_ok=True)
            points = _points(rows, field, kept_z=_has_z(kind, results.settings))
            path = folder / f"{kind}_{channels[str(channel)]}.csv"
            # napari reads a column with empty cells as text.
            guard_words(points).to_csv(
                path, index=False, lineterminator="\n", na_rep="nan"
            )


def _has_z(kind: str, settings: Settings) -> bool:
    """Return whether the rows of a table stand in planes, or between them."""
    if settings.in_volume:
        return kind == "spots"  # cells are flat
    return settings.project == "none"


def _points(table: pd.DataFrame, field: Field, *, kept_z: bool) -> pd.DataFrame:
    """Return a table in napari's format: index, axis-0, axis-1, ..., measures."""
    # napari's readers of other files use pixels and ignore a pixel size.
    spacing = field.image.spacing_um if field.group else {}
    several = {"t": field.n_t > 1, "z": kept_z and field.n_z > 1}
    axes = [axis for axis in "tzyx" if several.get(axis, True)]
    columns = {
        f"axis-{number}": table[axis].to_numpy() * spacing.get(axis, 1.0)
        for number, axis in enumerate(axes)
    }
    if "z" in axes:
        # A point before the first plane would move the steps of napari's slider off the
        # planes, and the last plane could no longer be seen.
        depth = f"axis-{axes.index('z')}"
        columns[depth] = columns[depth].clip(min=0.0)
    points = pd.DataFrame({"index": range(len(table)), **columns})
    left = table.drop(columns=[*(set(KEYS) - {"cell"}), *_PLACE], errors="ignore")
    return points.join(left.reset_index(drop=True))
