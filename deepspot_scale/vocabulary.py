"""The words of the product: where an image stands, and what each table column is.

Addresses and table schemas are declared here once; everything that writes, reads or
documents a table takes them from here. Nothing here reads files or computes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

AXES = "tczyx"
"""OME's order of axes; an image has a subset of them, y and x always."""
N_BINS = 360
"""One-degree bins about the nucleus centroid, bin 0 starting at the reference."""
UNKNOWN = -1
"""Number of absent chunks where a store does not list its files."""
PROJECTED = -1
"""Value of `z` in tables when planes were projected onto one."""
DONE, FAILED = "done", "failed"


@dataclass(frozen=True, order=True)
class FieldAddress:
    """Where one field of view stands on a plate, e.g. row B, column 03, field 0.

    Images outside a plate have empty row and column and their name as field.
    """

    row: str
    column: str
    field: str

    @property
    def well(self) -> str:
        """Row and column in one word, as biologists write it: ``B03``."""
        return f"{self.row}{self.column}"

    @property
    def path(self) -> str:
        """Path below the plate: ``B/03/0``; outside a plate the field's name."""
        return "/".join(part for part in (self.row, self.column, self.field) if part)

    @classmethod
    def from_path(cls, path: str) -> FieldAddress:
        """Read ``B/03/0`` (or a bare field name) back."""
        parts = path.strip("/").split("/")
        if len(parts) == 3:
            return cls(*parts)
        return cls("", "", path.strip("/"))


def row_letters(number: int) -> str:
    """Return the letters of a plate row, counted from 1.

    Examples
    --------
    >>> row_letters(1), row_letters(26), row_letters(27)
    ('A', 'Z', 'AA')
    """
    letters = ""
    while number > 0:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def plain_number(word: str) -> str:
    """Return 03, 3 and a spreadsheet's 3.0 as 3, and other words as they are."""
    match = re.fullmatch(r"0*(\d+)(?:[.,]0+)?", word)
    return match[1] if match else word


def row_column_key(row: str, column: str) -> tuple[str, str]:
    """Return the same key for B and 3 as for b and 03, see `well_key`."""
    return row.strip().upper(), plain_number(column.strip())


def well_key(word: str) -> tuple[str, str] | None:
    """Return row and column of a well as users write it: B3, B03, b/3, B-03, B/3.0.

    Examples
    --------
    >>> well_key("b-03"), well_key("drug")
    (('B', '3'), None)
    """
    match = re.fullmatch(r"([A-Za-z]+)[-_/ ]?(\d+(?:[.,]0+)?)", word.strip())
    return row_column_key(match[1], match[2]) if match else None


def same_well(given: str, address: FieldAddress) -> bool:
    """Return whether a user's word for a well means this one, see `well_key`."""
    return (well_key(given) or given.strip()) in well_names(address)


def well_names(address: FieldAddress) -> set[tuple[str, str] | str]:
    """Return what the words for a well come to; wells that share one are mixed up.

    Examples
    --------
    >>> well_names(FieldAddress("B", "03", "0"))
    {('B', '3')}
    """
    words = (address.well, f"{address.row}/{address.column}")
    return {well_key(word) or word for word in words}


@dataclass(frozen=True)
class PlaneIdentity:
    """What every row of one plane's table has in common."""

    address: FieldAddress = FieldAddress("", "", "")
    """The field."""
    t: int = 0
    """Time point."""
    channel: str = ""
    """Channel name."""
    z: int = 0
    """Plane, or `PROJECTED`."""
    pixel_size_um: tuple[float, float] | None = None
    """(y, x) micrometres; None when unknown."""
    origin_um: tuple[float, float] = (0.0, 0.0)
    """(y, x) of the first pixel's centre; of a cut-out not 0."""
    acquisition: int = 0
    """Number of the plate's acquisition; 0 when not stated."""
    z_step_um: float | None = None
    """Distance of planes in micrometres; None when unknown."""
    z_origin_um: float = 0.0
    """Of the first plane."""


class Column(NamedTuple):
    """One table column."""

    name: str
    dtype: str
    """Arrow's name of the type, or ``bins`` for a list of 360 int32."""
    meaning: str
    """Unit, range and the meaning of 0 and NaN, for the README."""


_FIELD = (
    Column("row", "string", "plate row, e.g. B; empty outside a plate"),
    Column("column", "string", "plate column, e.g. 03; empty outside a plate"),
    Column("field", "string", "field of view in the well, or the image's name"),
)
_ACQUISITION = Column("acquisition", "int32", "of the plate; 0 when not stated")
PLANE = (
    *_FIELD,
    _ACQUISITION,
    Column("t", "int32", "time point, from 0"),
    Column("channel", "string", "channel name"),
    Column("z", "int32", "plane, from 0; -1 when planes were projected"),
)

SPOTS = (
    *PLANE[:-1],
    Column("plane", "int32", "plane, from 0; -1 when all planes were taken together"),
    Column("z", "float64", "position in planes; without depth, the plane or -1"),
    Column("y", "float64", "position in pixels; the first pixel's centre is 0"),
    Column("x", "float64", "position in pixels"),
    Column("z_um", "float64", "depth in micrometres; NaN without depth or z spacing"),
    Column("y_um", "float64", "in micrometres, with the image's translation; or NaN"),
    Column("x_um", "float64", "likewise; NaN without a pixel size"),
    Column("enhanced", "float32", "enhanced intensity, 0 to 1: the certainty"),
    Column("intensity", "float32", "raw 3x3 mean minus background; to sigma 3.5 px"),
    Column("snr", "float32", "intensity over the local noise (robust std of a ring)"),
    Column("area", "int32", "pixels of the detected object"),
    Column("probability", "float32", "that it is a spot of its field; NaN: not judged"),
    Column("molecules", "float32", "intensity over the field's median; NaN: not told"),
    Column("site", "bool", "whether it stands for several molecules"),
    Column("cell", "int64", "label of the cell at the spot; 0: outside all cells"),
    Column("nucleus", "int64", "label of the nucleus at the spot; 0: none"),
)

CELLS = (
    *PLANE,
    Column("cell", "int64", "label of the cell"),
    Column("area", "int64", "pixels of the cell"),
    Column("nucleus_area", "int64", "pixels of the cell that are nucleus"),
    Column("area_um2", "float64", "area in square micrometres; NaN without pixel size"),
    Column("cell_y", "float64", "centroid of the cell, pixels"),
    Column("cell_x", "float64", "centroid of the cell, pixels"),
    Column("nucleus_y", "float64", "centroid of the nucleus, pixels; NaN: no nucleus"),
    Column("nucleus_x", "float64", "centroid of the nucleus, pixels; NaN: no nucleus"),
    Column("touches_border", "bool", "whether the cell touches the field's edge"),
    Column("n_spots", "int64", "spots in the cell"),
    Column("n_spots_nucleus", "int64", "spots in its nucleus"),
    Column("n_spots_cytoplasm", "int64", "spots in the cell outside its nucleus"),
    Column("reference_deg", "float64", "direction of the reference; NaN: none given"),
    Column("resultant_length", "float64", "0 uniform to 1: all spots one way; NaN: 0"),
    Column("resultant_deg", "float64", "mean direction of the spots; NaN: no spots"),
    Column("polarization_index", "float64", "0: spots centred in the cell; NaN: none"),
    Column("dispersion_index", "float64", "1: spread like the cell; below: gathered"),
    Column("peripheral_index", "float64", "1: as far from the nucleus as the cell is"),
    Column("nucleus_distance", "float64", "mean of cytoplasm spots, pixels; NaN: none"),
    Column("nucleus_distance_um", "float64", "the same; NaN without pixel size"),
    Column("nucleus_distance_uniform", "float64", "mean of cytoplasm pixels"),
    Column("edge_distance", "float64", "from the cell's edge, of cytoplasm spots"),
    Column("edge_distance_um", "float64", "the same; NaN without pixel size"),
    Column("edge_distance_uniform", "float64", "from the cell's edge, of its pixels"),
    Column("area_bins", "bins", "cytoplasm pixels per degree from the reference"),
    Column("spot_bins", "bins", "cytoplasm spots per degree from the reference"),
)

QUALITY = (
    *PLANE,
    Column("saturated", "float64", "share of pixels at the number format's limit"),
    Column("zero", "float64", "share of pixels that are 0"),
    Column("mean", "float64", "mean of all pixels, counts"),
    Column("focus", "float64", "variance of the Laplacian over the squared mean"),
)

FIELDS = (
    *_FIELD,
    _ACQUISITION,
    Column("status", "string", "done or failed"),
    Column("reason", "string", "why it failed; empty when done"),
    Column("n_planes", "int32", "images processed: time points x channels x planes"),
    Column("n_t", "int32", "time points of them; 0: failed"),
    Column("n_z", "int32", "planes of them, 1 when projected; 0: failed"),
    Column("n_spots", "int64", "spots found"),
    Column("n_cells", "int64", "cells measured: again at each time point, not channel"),
    Column("seconds", "float64", "time on the worker"),
    Column("worker", "string", "host and process that did the work"),
    Column("part", "string", "name of the part file that holds its rows"),
    Column("source_digest", "string", "of metadata and files read; empty: not done"),
    Column("n_absent", "int64", "chunks in use that are not stored; -1: not known"),
)
"""Counts and seconds of stages come to these, see `runs.contents`."""

_OCCASION = (
    _ACQUISITION,
    Column("t", "int32", "time point, from 0"),
    Column("z", "int32", "plane, from 0; 0 also when planes were projected"),
)
"""Where the same cells may be measured again: no group spans several of these."""
OCCASION = tuple(column.name for column in _OCCASION)
_GENE = Column("gene", "string", "from the plate map; empty when none")
_GROUP = (
    Column("channel", "string", "channel name"),
    *_OCCASION,
    Column("condition", "string", "from the plate map; empty when none"),
    _GENE,
)
_SUMMARY = (
    Column("n_fields", "int64", "fields done"),
    Column("n_failed", "int64", "fields failed"),
    Column("n_spots", "int64", "spots found, in cells or not"),
    Column("n_cells", "int64", "cells found"),
    Column("spots_per_cell", "float64", "mean spots of a cell; NaN: no cells"),
    Column("n_cells_used", "int64", "cells with enough spots for the index"),
    Column("polarity_index", "float64", "-1 to 1, above 0: toward the reference"),
    Column("polarity_low", "float64", "lower end of its 95 % bootstrap interval"),
    Column("polarity_high", "float64", "upper end of its 95 % bootstrap interval"),
    Column("polarity_null", "float64", "mean index of spots uniform in the cytoplasm"),
    Column("polarity_corrected", "float64", "index minus its uniform null"),
    Column("p_value", "float64", "two-sided, against the uniform null"),
)
WELLS = (
    Column("row", "string", "plate row"),
    Column("column", "string", "plate column"),
    *_GROUP,
    Column("replicate", "string", "from the plate map; empty when none"),
    *_SUMMARY,
)
CONDITIONS = (*_GROUP, Column("n_wells", "int64", "wells"), *_SUMMARY)

MEASURES = {
    "index": "the polarity index, -1 to 1, above 0: toward the reference",
    "index_corrected": "index minus its uniform null; p: against that null",
    "uniform_null": "mean index of spots thrown uniformly onto the cytoplasm",
    "rotation_null": "mean index when references turn; p: of the index against it",
    "mann_whitney": "chance that a reference sector is denser than another; none: 0.5",
}
"""What a line of `POLARITY` says, by its `measure`."""
_SECTORS = (
    Column("sectors", "int64", "sectors about the nucleus"),
    Column("rotation", "string", "fixed, or published: densest, which raises it"),
)
POLARITY = (
    Column("measure", "string", "which one, a key of `vocabulary.MEASURES`"),
    Column("value", "float64", "the measure; NaN: fewer than two usable cells"),
    Column("low", "float64", "95 % interval over cells; of a null, 95 % of its draws"),
    Column("high", "float64", "its upper end"),
    Column("low_wells", "float64", "95 % interval over wells; NaN: one well"),
    Column("high_wells", "float64", "its upper end"),
    Column("p_value", "float64", "two-sided; NaN where the measure has none"),
    Column("p_adjusted", "float64", "Benjamini-Hochberg over this measure's lines"),
    Column("least_p", "float64", "the smallest p that so many draws can give"),
    Column("n_cells", "int64", "cells used"),
    Column("n_wells", "int64", "wells that these cells are from"),
    *_SECTORS,
)
"""After the columns that name the group: one line per group and measure."""
COMPARISONS = (
    Column("channel", "string", "channel name"),
    *_OCCASION,
    Column("condition", "string", "the one condition"),
    Column("versus", "string", "the other, subtracted"),
    Column("difference", "float64", "of mean corrected indices of wells; NaN: no well"),
    Column("low", "float64", "Welch's 95 % interval over wells; NaN: one well"),
    Column("high", "float64", "its upper end"),
    Column("p_value", "float64", "two-sided, wells permuted; NaN: one well on a side"),
    Column("p_adjusted", "float64", "Benjamini-Hochberg over all lines"),
    Column("least_p", "float64", "the smallest p that so many wells can give"),
    Column("exact", "bool", "whether every permutation was tried"),
    Column("n_wells", "int64", "wells of the one condition"),
    Column("n_wells_versus", "int64", "wells of the other"),
    *_SECTORS,
)
"""After the columns that name the group: one line per pair of conditions."""
ROSES = (
    *_GROUP,
    Column("from_deg", "float64", "counter-clockwise from the reference"),
    Column("to_deg", "float64", "its other edge"),
    Column("concentration", "float64", "spots over those of uniform spots; 1: none"),
    Column("low", "float64", "lower end of its 95 % bootstrap interval over cells"),
    Column("high", "float64", "its upper end"),
    Column("n_cells", "int64", "cells used"),
)
FIELD_POLARITY = (
    *_FIELD,
    *_OCCASION,
    Column("channel", "string", "channel name, the first by name"),
    Column("n_cells_used", "int64", "cells with enough spots for the index"),
    Column("polarity_index", "float64", "sectors fixed, also with rotation published"),
)

SUMMARIES = {
    "wells": WELLS,
    "conditions": CONDITIONS,
    "polarity": (*_GROUP, *POLARITY),
    "comparisons": (_GENE, *COMPARISONS),
    "roses": ROSES,
    "field_polarity": FIELD_POLARITY,
}
"""Tables that are made once, of all parts, at the end of a run."""
TABLES = {
    "spots": SPOTS,
    "cells": CELLS,
    "fields": FIELDS,
    **SUMMARIES,
    "quality": QUALITY,
}
