"""Tables inside the plate in the format of ngio and Fractal: ``FIELD/tables/NAME``.

A run comes in; a ``feature_table`` of its cells and a ``roi_table`` of the whole field
are written below each field, as Parquet. Only the group ``tables`` is changed: images,
labels and their metadata are not. A table is listed only once it is complete, so
readers never see an incomplete one. OME-Zarr 0.4 and 0.5 are supported.
"""

from __future__ import annotations

from typing import Any

import zarr

from deepspot_scale.errors import RunError
from deepspot_scale.exports.libraries import load_library
from deepspot_scale.exports.measures import feature_names, measure_cells
from deepspot_scale.exports.results import (
    FieldResult,
    RunResults,
    addresses_of,
    safe_names,
)
from deepspot_scale.io.field import Field
from deepspot_scale.io.stores import join, open_node
from deepspot_scale.stages.polarity.measure import PolarityOptions

PREFIX = "deepspot_"
"""Prefix of our tables; others are never replaced."""
FIELD_ROI = f"{PREFIX}field_ROI_table"
_BACKEND = "parquet"


def write_fractal_tables(results: RunResults, *, overwrite: bool) -> None:
    """Write the tables of every field that is done.

    Tables of cells are named ``deepspot_cells_CHANNEL``, followed by ``_t0`` and
    ``_z0`` where there are several; their index ``label`` is that of the label image
    of the cells. ``deepspot_field_ROI_table`` has one region, the field. A field
    without cells gets only the latter.

    Parameters
    ----------
    results
        The run.
    overwrite
        Replace what an earlier export wrote.

    Raises
    ------
    RunError
        The run has no cells, its input is not OME-Zarr, or a field has these tables.
    SettingsError
        ngio is not installed.
    """
    results.check_cells("feature tables hold cells")
    load_library("ngio", "ngio")
    for address in addresses_of(results.done):
        field = results.open_stored(address)
        if not overwrite and _own_tables(field):
            raise RunError(
                f"field {address.path} of {results.source} has the tables "
                f"{', '.join(_own_tables(field))} already; ask to overwrite them"
            )
    for found in results.iter_fields():
        field = results.open_stored(found.address)
        _write_tables(field, _feature_tables(results, found))


def _own_tables(field: Field) -> list[str]:
    try:
        listed = open_node(join(field.group, "tables")).attrs.get("tables", [])
    except FileNotFoundError:
        return []
    names = listed if isinstance(listed, list) else []
    return [str(name) for name in names if str(name).startswith(PREFIX)]


def _feature_tables(results: RunResults, found: FieldResult) -> dict[str, Any]:
    """Return the table of each channel and plane by name."""
    tables = load_library("ngio.tables", "ngio")
    features = [
        *feature_names(results.settings.of(PolarityOptions).sectors),
        "touches_border",
    ]
    cells = measure_cells(results, found.cells).rename(columns={"cell": "label"})
    channels = safe_names(cells["channel"].unique())
    several = [axis for axis in "tz" if cells[axis].nunique() > 1]
    made = {}
    for (channel, *place), rows in cells.groupby(["channel", *several], sort=False):
        words = [f"{axis}{n}" for axis, n in zip(several, place, strict=True)]
        name = "_".join([f"{PREFIX}cells", channels[str(channel)], *words])
        made[name] = tables.FeatureTable(
            rows.set_index("label")[features], reference_label=results.settings.cells
        )
    return made


def _field_roi(field: Field) -> Any:
    """Return a table of one region, the whole field, in the image's own units."""
    size = {axis: field.image.size(axis) for axis in "zyx"}
    spacing = field.image.spacing_um
    slices = {axis: (0.0, n * spacing.get(axis, 1.0)) for axis, n in size.items()}
    roi = load_library("ngio", "ngio").Roi.from_values(name="field", slices=slices)
    return load_library("ngio.tables", "ngio").RoiTable(rois=[roi])


def _write_tables(field: Field, features: dict[str, Any]) -> None:
    """Write these tables and the field's region, replacing earlier ones."""
    # Created here, because ngio always creates a group in Zarr v3.
    group = zarr.open_group(
        join(field.group, "tables"),
        mode="a",
        zarr_format=open_node(field.group).metadata.zarr_format,
    )
    container = load_library("ngio.tables", "ngio").open_tables_container(group)
    for name in _own_tables(field):
        container.delete(name)
    for name, table in {**features, FIELD_ROI: _field_roi(field)}.items():
        # A killed export may have left the table's group unlisted.
        container.add(name, table, backend=_BACKEND, overwrite=True)
