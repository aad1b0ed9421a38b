"""Channels compared in one part of a run: its spots and labels in, its pairs written.

    spots/PART.parquet  cells/PART.parquet  labels of its fields
        -> pairs/PART.parquet  cell_pairs/PART.parquet, and the counts of its images

It is done here or on any worker; of a field only the labels are read. Doing it again
gives the same bytes. Nothing here measures shifts or knows other parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.field import Field, FieldEntry, open_field
from deepspot_scale.io.tables import Folder, write_table
from deepspot_scale.kernels.chromatic import Shift
from deepspot_scale.kernels.compartments import Compartments, find_compartments
from deepspot_scale.runs.made_labels import label_names, with_made
from deepspot_scale.runs.results import RunResults
from deepspot_scale.settings import Settings
from deepspot_scale.statistics.channel_pairs import (
    IMAGE,
    NEEDED,
    ImageSpots,
    Pair,
    PairRule,
    measure_cells,
    pair_spots,
)
from deepspot_scale.statistics.shift_sample import Key
from deepspot_scale.tables import empty_table, join_tables
from deepspot_scale.vocabulary import CELL_PAIRS, PAIRS, SPOTS, FieldAddress

SCHEMAS: Final = {"pairs": PAIRS, "cell_pairs": CELL_PAIRS}
"""Tables that are written for each part."""
_OF_SPOTS: Final = tuple(column for column in SPOTS if column.name in NEEDED)
_OF_CELLS: Final = ("acquisition", "t", "channel", "z", "cell")


class PartTask(NamedTuple):
    """All that is needed to know about one part; small, and safe to send."""

    part: str
    rows: RunResults
    """The run, with the fields of this part alone."""
    entries: Mapping[FieldAddress, FieldEntry]
    """Where its fields are."""


class PartEnd(NamedTuple):
    """What has come of one part."""

    images: pd.DataFrame
    """Counts of each image and pair of channels: spots, others, pairs."""
    written: tuple[str, ...]
    """Names of the tables that have rows."""


@dataclass(frozen=True)
class Comparison:
    """The work on a part of a run."""

    folder: Folder
    settings: Settings
    shifts: Mapping[Pair, Shift]
    """Of each pair of channels."""

    def __call__(self, task: PartTask) -> PartEnd:
        """Compare the channels in one part, and write its tables.

        Raises
        ------
        FieldError
            Labels that cannot be read, or are no longer those of the run.
        """
        spots = task.rows.read_part("spots", task.part, NEEDED)
        cells = task.rows.read_part("cells", task.part, _OF_CELLS)
        fields = _OpenFields(task.entries, task.rows)
        tables = self._compare(spots, _cells_by_image(cells), fields)
        written = tuple(name for name in SCHEMAS if len(tables[name]))
        for name in written:
            path = f"{name}/{task.part}.parquet"
            write_table(self.folder, path, tables[name], SCHEMAS[name])
        return PartEnd(tables["images"], written)

    def _compare(
        self,
        spots: pd.DataFrame,
        cells: Mapping[Key, NDArray[np.int64]],
        fields: _OpenFields,
    ) -> dict[str, pd.DataFrame]:
        settings, pairs, of_cells, counts = self.settings, [], [], []
        for pair, shift in self.shifts.items():
            rule = PairRule(settings.pair_distance, settings.pair_planes, shift)
            for key, image in iter_images(spots, pair, settings, frozenset(cells)):
                found = pair_spots(image, rule, fields.voxel_um(key))
                n = {"n_spots": len(image.one), "n_other": len(image.other)}
                counts.append({**image.names, **n, "n_pairs": len(found)})
                pairs.append(found)
                if key in cells:
                    is_needed = (image.one["cell"] != 0).any() and len(image.other)
                    within = fields.compartments(key) if is_needed else None
                    own, flat = cells[key], fields.is_flat(key)
                    of_cells.append(
                        measure_cells(image, found, rule, own, within, flat=flat)
                    )
        return {
            "pairs": join_tables(pairs, PAIRS),
            "cell_pairs": join_tables(of_cells, CELL_PAIRS),
            "images": pd.DataFrame(counts),
        }


def _cells_by_image(cells: pd.DataFrame) -> dict[Key, NDArray[np.int64]]:
    """Return the labels of each image's cells, ascending."""
    if cells.empty:
        return {}
    columns = ["z" if name == "plane" else name for name in IMAGE]
    return {
        tuple(key): np.unique(rows.to_numpy(np.int64))
        for key, rows in cells.groupby(columns, sort=False)["cell"]
    }


def iter_images(
    spots: pd.DataFrame,
    pair: Pair,
    settings: Settings,
    keys: frozenset[Key] = frozenset(),
) -> Iterator[tuple[Key, ImageSpots]]:
    """Yield each image that has spots of the pair, or is among `keys`, in order."""
    found = {}
    for name in pair:
        own = spots[spots["channel"] == name]
        found[name] = dict(iter(own.groupby([*IMAGE], sort=False))) if len(own) else {}
    nothing = empty_table(_OF_SPOTS)
    for key in sorted({*found[pair[0]], *found[pair[1]], *keys}):
        names = dict(zip(IMAGE, key, strict=True))
        names |= {"channel": pair[0], "other": pair[1]}
        one, other = (found[name].get(key, nothing) for name in pair)
        yield key, ImageSpots.of(names, one, other, depth=settings.in_volume)


class _OpenFields:
    """Opens what is needed of a part's fields, and keeps the last of each."""

    def __init__(
        self, entries: Mapping[FieldAddress, FieldEntry], run: RunResults
    ) -> None:
        self.entries, self.run, self.settings = entries, run, run.settings
        self.labels = label_names(run)
        self._field: tuple[FieldAddress, Field] | None = None
        self._compartments: tuple[Key, Compartments] | None = None

    def _open(self, key: Key) -> Field:
        address = FieldAddress(*map(str, key[:3]))
        if self._field is None or self._field[0] != address:
            if address not in self.entries:
                raise FieldError(
                    f"field {address.path} is no longer in the run's input; give the "
                    "plate that the run was begun with"
                )
            self._field = (
                address,
                with_made(self.run, open_field(self.entries[address])),
            )
        return self._field[1]

    def voxel_um(self, key: Key) -> tuple[float | None, ...]:
        """Return the distances of planes, rows and columns, None where not known."""
        source = self._open(key)
        size = source.pixel_size_um or (None, None)
        return (source.image.spacing_um.get("z"), *size)

    def is_flat(self, key: Key) -> bool:
        """Return whether the cells have no depth, or the spots have none."""
        if not self.settings.in_volume:
            return True
        return self._open(key).open_labels(self.labels["cells"]).n_z == 1

    def compartments(self, key: Key) -> Compartments:
        """Return the compartments of an image's cells, which are read once."""
        if self._compartments is None or self._compartments[0] != key:
            self._compartments = key, find_compartments(self._iter_planes(key))
        return self._compartments[1]

    def _iter_planes(
        self, key: Key
    ) -> Iterator[tuple[NDArray[Any], NDArray[Any] | None]]:
        source, t = self._open(key), int(key[IMAGE.index("t")])
        cells, nuclei = self.labels["cells"], self.labels.get("nuclei")
        for z in self._planes(key, source.n_z):
            own = None if nuclei is None else source.read_labels(nuclei, t=t, z=z)
            yield source.read_labels(cells, t=t, z=z), own

    def _planes(self, key: Key, n_z: int) -> list[int | Literal["max"]]:
        """Return the planes of labels, read as they were for the spots."""
        if self.settings.in_volume:
            return [0] if self.is_flat(key) else list(range(n_z))
        if self.settings.project != "none" and n_z > 1:
            return ["max"]
        return [int(key[IMAGE.index("plane")])]
