"""Tables inside the plate, as ngio and Fractal keep them: ``FIELD/tables/NAME``.

A run comes in; a ``feature_table`` of its cells, a ``generic_table`` of its spots and a
``roi_table`` of the whole field go below each field, as Parquet. Only the group
``tables`` is written to: no image, no label and none of their metadata is touched. A
table is listed once it is whole, so readers never meet half of one. Both OME-Zarr 0.4
and 0.5 serve.
"""

from __future__ import annotations

from typing import Any

import zarr

from deepspot_scale.errors import RunError
from deepspot_scale.exports.libraries import load_library
from deepspot_scale.exports.measures import feature_names, measure_cells
from deepspot_scale.exports.targets import open_stored, safe_names
from deepspot_scale.io.field import Field
from deepspot_scale.io.stores import join, open_node
from deepspot_scale.runs.made_labels import label_names
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import FieldResult, RunResults

PREFIX = "deepspot_"
"""Tables of this name are ours, and no others are ever replaced."""
FIELD_ROI = f"{PREFIX}field_ROI_table"
_BACKEND = "parquet"
_OF_FIELD = ("row", "column", "field", "acquisition")
"""Columns of spots that say in which field they are, which their place does."""


def write_fractal_tables(results: RunResults, *, overwrite: bool) -> None:
    """Write the tables of every field that is done.

    Tables of cells are named ``deepspot_cells_CHANNEL``, followed by ``_t0`` and
    ``_z0`` where there are several; their index ``label`` is that of the label image
    of the cells. ``deepspot_spots_CHANNEL`` has a row for each spot, with the columns
    of `vocabulary.SPOTS` that a field needs; its ``cell`` is that label.
    ``deepspot_field_ROI_table`` has one region, the field. Where there are no cells, or
    no spots, there is no such table.

    Raises RunError if the input is no OME-Zarr, a field has such tables, or the cells
    are not in the plate, and SettingsError if ngio is not installed.
    """
    load_library("ngio", "ngio")
    cells = label_names(results).get("cells")
    for address in addresses_of(results.done):
        field = open_stored(results, address)
        if cells is not None and cells not in field.label_names:
            raise RunError(
                "feature tables refer to labels in the plate, and those of the run "
                f"{results.folder.url} are in its folder: export labels first"
            )
        if not overwrite and _own_tables(field):
            raise RunError(
                f"field {address.path} of {results.source} has the tables "
                f"{', '.join(_own_tables(field))} already; replace them by "
                "--overwrite (overwrite=True)"
            )
    for found in results.iter_fields():
        field = open_stored(results, found.address)
        features = _feature_tables(results, found) if cells is not None else {}
        _write_tables(field, features | _spot_tables(found))


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
    wells = results.plate_map, results.index.sectors
    features = [*feature_names(results.index.sectors), "touches_border"]
    cells = measure_cells(found["cells"], *wells).rename(columns={"cell": "label"})
    channels = safe_names(cells["channel"].unique())
    several = [axis for axis in "tz" if cells[axis].nunique() > 1]
    made = {}
    for (channel, *place), rows in cells.groupby(["channel", *several], sort=False):
        words = [f"{axis}{n}" for axis, n in zip(several, place, strict=True)]
        name = "_".join([f"{PREFIX}cells", channels[str(channel)], *words])
        made[name] = tables.FeatureTable(
            rows.set_index("label")[features],
            reference_label=label_names(results)["cells"],
        )
    return made


def _spot_tables(found: FieldResult) -> dict[str, Any]:
    """Return the spots of each channel by name."""
    tables = load_library("ngio.tables", "ngio")
    spots = found["spots"].drop(columns=list(_OF_FIELD))
    channels = safe_names(spots["channel"].unique())
    return {
        f"{PREFIX}spots_{channels[str(channel)]}": tables.GenericTable(
            rows.drop(columns="channel").reset_index(drop=True)
        )
        for channel, rows in spots.groupby("channel", sort=False)
    }


def _field_roi(field: Field) -> Any:
    """Return a table of one region, the whole field, in the image's own units."""
    size = {axis: field.image.size(axis) for axis in "zyx"}
    spacing = field.image.spacing_um
    slices = {axis: (0.0, n * spacing.get(axis, 1.0)) for axis, n in size.items()}
    roi = load_library("ngio", "ngio").Roi.from_values(name="field", slices=slices)
    return load_library("ngio.tables", "ngio").RoiTable(rois=[roi])


def _write_tables(field: Field, features: dict[str, Any]) -> None:
    """Write these tables and that of the field in place of earlier ones."""
    # Made here, since ngio would make the group in Zarr v3 whatever the plate is.
    group = zarr.open_group(
        join(field.group, "tables"),
        mode="a",
        zarr_format=open_node(field.group).metadata.zarr_format,
    )
    container = load_library("ngio.tables", "ngio").open_tables_container(group)
    for name in _own_tables(field):
        container.delete(name)
    for name, table in {**features, FIELD_ROI: _field_roi(field)}.items():
        # A killed export may have left the table's group, not listed.
        container.add(name, table, backend=_BACKEND, overwrite=True)
