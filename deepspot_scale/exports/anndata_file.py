"""AnnData: cells in rows, measures in columns, as scanpy and squidpy read them.

A run comes in, one ``.h5ad`` file goes out. Cells are read field
by field and kept without their one-degree bins, some 400 bytes each. Nothing here
reads images.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from deepspot_scale.errors import SettingsError
from deepspot_scale.exports import measures
from deepspot_scale.exports.libraries import load_library
from deepspot_scale.exports.measures import KEYS
from deepspot_scale.exports.targets import check_cells
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import RunResults
from deepspot_scale.settings import write_settings
from deepspot_scale.statistics.groups import MAP
from deepspot_scale.tables import join_tables


def write_anndata(results: RunResults, path: Path) -> None:
    """Write all cells as one AnnData.

    One row for each cell, and again for each further channel or plane it was measured
    in; see `make_anndata`. ``uns`` has the texts ``settings`` (TOML) and
    ``provenance`` (JSON) and the table ``fields``, failed ones with their reason.

    Raises SettingsError if the name ends otherwise than in ``.h5ad`` or anndata is not
    installed, and RunError if the run has no cells.
    """
    if path.suffix != ".h5ad":
        raise SettingsError(f"expected a file name ending in .h5ad, got {path.name}")
    check_cells(results, "AnnData holds cells")
    load_library("anndata", "anndata")
    columns = measures.measure_columns(results.index.sectors)
    wells, fields = (results.plate_map, results.index.sectors), results.iter_fields()
    tables = [measures.measure_cells(each["cells"], *wells) for each in fields]
    data = make_anndata(join_tables(tables, columns), results)
    data.uns["settings"] = write_settings(results.settings)
    data.uns["provenance"] = json.dumps(results.provenance, indent=2)
    data.uns["fields"] = results.fields.set_axis(results.fields.index.map(str))
    data.write_h5ad(path, compression="gzip")


def make_anndata(table: pd.DataFrame, results: RunResults) -> Any:
    """Return the cells of `measure_cells` as an AnnData in memory.

    ``X``: float64, the measures named in ``var``, which says what each means. ``obs``:
    plate, well, row, column, field, acquisition, t, channel, z, cell (its label),
    touches_border, condition, gene and replicate. ``obsm["spatial"]``: (n, 2), x and y
    of the cell's centroid in its field, in pixels.
    """
    ad = load_library("anndata", "anndata")
    names = measures.feature_names(results.index.sectors)
    obs = table[[*KEYS, "touches_border", *MAP]].copy()
    addresses = addresses_of(table)
    obs.insert(0, "well", [address.well for address in addresses])
    obs.insert(0, "plate", results.plate_name)
    words = ["plate", "well", "row", "column", "field", "channel", *MAP]
    obs[words] = obs[words].astype("category")
    paths = [address.path for address in addresses]
    numbers = (table[name] for name in ("channel", "t", "z", "cell"))
    places = zip(paths, *numbers, strict=True)
    index = [f"{path}/{channel}/t{t}/z{z}/{n}" for path, channel, t, z, n in places]
    obs.index = pd.Index(index, dtype=object)
    columns = measures.measure_columns(results.index.sectors)
    known = {column.name: column.meaning for column in columns}
    var = pd.DataFrame({"meaning": [known[name] for name in names]}, index=names)
    return ad.AnnData(
        table[names].to_numpy("float64"),
        obs=obs,
        var=var,
        obsm={"spatial": table[["cell_x", "cell_y"]].to_numpy("float64")},
    )
