"""The contents of a run folder: its tables and layers, as its pipeline declares them.

They are written once as ``contents.json``, so that a folder can be read without the
stages that made it, and without importing code that it names. Tables of channels that
are compared are written part by part too, but at the end of a run. Nothing here reads
tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.io.tables import Folder
from deepspot_scale.vocabulary import (
    CELL_PAIRS,
    CELLS,
    FIELDS,
    PAIRS,
    SPOTS,
    VOLUMES,
    Column,
)

NAME = "contents.json"


@dataclass(frozen=True)
class LayerKept:
    """A layer that a run writes beside its tables."""

    folder: str
    """Name of its plate in the run folder."""
    dtype: str
    scale: tuple[int, int]
    """Pixels of the layer for each pixel of the image, as a fraction."""
    labels: bool
    """Whether its numbers name objects."""
    deep: bool = False
    """Of labels: whether each plane of a stack has its own."""


@dataclass(frozen=True)
class Contents:
    """Tables and layers of a run."""

    tables: Mapping[str, tuple[Column, ...]]
    """Columns of each table that is written part by part."""
    fields: tuple[Column, ...]
    """Columns of the table of fields."""
    layers: Mapping[str, LayerKept]

    @classmethod
    def of(cls, pipeline: Pipeline) -> Contents:
        """Return what a pipeline gives of fields: what workers write."""
        layers = {}
        for layer in pipeline.layers:
            scale = layer.scale.as_integer_ratio()
            layers[layer.name] = LayerKept(
                layer.stored_name, layer.dtype, scale, layer.labels, layer.deep
            )
        tables = {table.name: table.columns for table in pipeline.tables}
        return cls(tables, _field_columns(pipeline), layers)

    def compared(self, *, in_cells: bool) -> Contents:
        """Return these contents and the tables of channels that a run compares."""
        further: dict[str, tuple[Column, ...]] = {"pairs": PAIRS}
        if in_cells:
            further["cell_pairs"] = CELL_PAIRS
        return replace(self, tables={**self.tables, **further})


def _field_columns(pipeline: Pipeline) -> tuple[Column, ...]:
    """Return the fixed columns, with those of stages around ``seconds``."""
    place = [column.name for column in FIELDS].index("seconds")
    own, n = pipeline.field_columns, len(pipeline.counts) + len(pipeline.means)
    seconds, *rest = FIELDS[place:]
    return (*FIELDS[:place], *own[:n], seconds, *own[n:], *rest)


def write_contents(folder: Folder, contents: Contents) -> None:
    """Write the contents of a run folder."""
    plain = {
        "tables": {name: list(columns) for name, columns in contents.tables.items()},
        "fields": list(contents.fields),
        "layers": {name: vars(layer) for name, layer in contents.layers.items()},
    }
    folder.write(NAME, json.dumps(plain, indent=2).encode())


def read_contents(folder: Folder) -> Contents:
    """Return the contents of a run folder; a folder without them has `OLD`.

    Spots and cells are always among the tables, even without rows.
    """
    if not folder.exists(NAME):
        return OLD
    plain: dict[str, Any] = json.loads(folder.read(NAME))
    layers = {
        name: LayerKept(**{**layer, "scale": tuple(layer["scale"])})
        for name, layer in plain["layers"].items()
    }
    tables = {name: _columns(listed) for name, listed in plain["tables"].items()}
    return Contents({**OLD.tables, **tables}, _columns(plain["fields"]), layers)


def _columns(listed: list[list[str]]) -> tuple[Column, ...]:
    return tuple(Column(*each) for each in listed)


_LATER = {"probability", "molecules", "site", "cluster", *VOLUMES}
OLD = Contents(
    {
        name: tuple(column for column in columns if column.name not in _LATER)
        for name, columns in (("spots", SPOTS), ("cells", CELLS))
    },
    (
        *FIELDS,
        Column("n_dropped", "int64", "peaks dropped: their object is too large"),
        Column("n_faint", "int64", "spots left out: too faint, doubtful, or cut off"),
    ),
    {},
)
"""Contents of every run that an earlier version wrote."""
