"""Sectors as a label image inside the plate: ``FIELD/labels/sectors``.

A run comes in; for each field goes out which sector of its cell each pixel of
cytoplasm lies in, by the very centroids, references and bins that its table was
measured with, so that pixels counted by cell and sector equal the table's areas.

    0      no cytoplasm, or a cell without nucleus
    1      the reference sector
    2 ...  the others, counter-clockwise

Nothing but this label image is written; a new one is listed once it is whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.exports.targets import check_cells, open_stored
from deepspot_scale.io.field import Field
from deepspot_scale.io.ome_zarr.writing import write_labels
from deepspot_scale.kernels.pixel_shape import PixelShape, pixel_shape
from deepspot_scale.kernels.sectors import angle_bins
from deepspot_scale.runs.made_labels import label_names, with_made
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import FieldResult, RunResults
from deepspot_scale.vocabulary import N_BINS, PROJECTED

NAME = "sectors"
_ROWS = 1024
"""Rows of a field that are drawn at once; bounds memory, not the answer."""


def write_sectors(results: RunResults, *, overwrite: bool) -> None:
    """Write the label image ``sectors`` of every field that is done.

    Raises RunError if the run has no cells, a field has such labels, or the input is no
    OME-Zarr plate.
    """
    check_cells(results, "sectors are those of cells")
    if NAME in label_names(results).values():
        raise SettingsError(f"the run was measured with labels {NAME!r}; rename them")
    for address in addresses_of(results.done):
        field = open_stored(results, address)
        if not address.row:
            raise RunError(f"{results.source} is no plate; labels are added to plates")
        if not overwrite and NAME in field.label_names:
            raise RunError(
                f"field {address.path} of {results.source} has labels {NAME!r} "
                "already; replace them by --overwrite (overwrite=True)"
            )
    for found in results.iter_fields():
        field = with_made(results, results.plate.open(found.address.path))
        check_flat(field, found, results)
        sectors = draw_field(field, found["cells"], results)
        sectors, axes = (sectors, "tyx") if field.n_t > 1 else (sectors[0], "yx")
        write_labels(results.source, found.address, NAME, sectors, axes=axes)


def check_flat(field: Field, found: FieldResult, results: RunResults) -> None:
    """Raise RunError unless the cells of a field are flat, as sectors are."""
    n_z = field.open_labels(label_names(results)["cells"]).n_z
    if n_z > 1 and (found["cells"]["z"] != PROJECTED).any():
        raise RunError(
            f"field {found.address.path} was measured plane by plane with cells of "
            "several planes; sectors are drawn for cells of one"
        )
    if n_z > 1 and results.settings.in_volume:
        raise RunError(
            f"the cells of field {found.address.path} are label volumes, whose sectors "
            "are counted in voxels; sectors are drawn for flat cells"
        )


def draw_field(
    field: Field, cells: pd.DataFrame, results: RunResults
) -> NDArray[np.uint8]:
    """Return the sectors of a field with the run's labels, (t, y, x).

    The cells are those of `check_flat`. Raises RunError as `draw_sectors` does.
    """
    return np.stack(
        [
            _draw_plane(field, cells[cells["t"] == t], results, t)
            for t in range(field.n_t)
        ]
    )


def _draw_plane(
    field: Field, cells: pd.DataFrame, results: RunResults, t: int
) -> NDArray[np.uint8]:
    names = label_names(results)
    # Centroids and references are the same in all channels and planes.
    known = cells.drop_duplicates("cell").sort_values("cell")
    height, width = field.shape_yx
    drawn = np.zeros((height, width), np.uint8)
    for start in range(0, height, _ROWS):
        window = (slice(start, min(start + _ROWS, height)), slice(0, width))
        labels = field.read_labels(names["cells"], t=t, window=window)
        if "nuclei" in names:
            nuclei = field.read_labels(names["nuclei"], t=t, window=window)
            labels = np.where(nuclei > 0, 0, labels)
        by_nuclei, n_sectors = "nuclei" in names, results.index.sectors
        drawn[window] = draw_sectors(
            labels,
            known,
            n_sectors,
            start,
            has_nuclei=by_nuclei,
            pixel=pixel_shape(field.pixel_size_um),
        )
    return drawn


def draw_sectors(
    cytoplasm: NDArray[Any],
    cells: pd.DataFrame,
    n_sectors: int,
    first_row: int = 0,
    *,
    has_nuclei: bool = True,
    pixel: PixelShape = PixelShape(),
) -> NDArray[np.uint8]:
    """Return the sector of each pixel of cytoplasm, from 1; 0 elsewhere.

    `cytoplasm` is the cell of each pixel, (y, x), from a row of the field on; 0 outside
    of cells and in nuclei. The table has one row for each cell, ascending. Sectors are
    about the nucleus' centroid, or else about the cell's; `n_sectors` divides 180.

    Raises RunError if a cell is not in the table: the labels are not those of the run.
    """
    drawn = np.zeros(cytoplasm.shape, np.uint8)
    rows, columns = np.nonzero(cytoplasm)
    at = _rows_of(cytoplasm[rows, columns], cells["cell"].to_numpy())
    centre = "nucleus" if has_nuclei else "cell"
    y, x = (cells[f"{centre}_{axis}"].to_numpy()[at] for axis in "yx")
    reference = np.nan_to_num(cells["reference_deg"].to_numpy())[at]
    known = np.isfinite(y)
    rows, columns, y, x = (each[known] for each in (rows, columns, y, x))
    dy, dx = (rows + first_row - y) * pixel.y, (columns - x) * pixel.x
    bins = angle_bins(dy, dx, reference[known])
    width = N_BINS // n_sectors
    # As in `sector_sums`: sector 0 reaches half a sector to either side.
    drawn[rows, columns] = (bins + width // 2) % N_BINS // width + 1
    return drawn


def _rows_of(labels: NDArray[Any], known: NDArray[np.int64]) -> NDArray[np.int64]:
    at = np.searchsorted(known, labels)
    found = at < len(known)
    found[found] = known[at[found]] == labels[found]
    if not found.all():
        raise RunError(
            f"cell {labels[~found][0]} was not there during the run; its label images "
            "were changed since. Run again"
        )
    return at
