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
N_RINGS = 10
"""Equal steps of the way from the nucleus to the cell's edge, see `kernels.rings`."""
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


def segment_name(movie: str, start: int) -> str:
    """Return the name of the field that a movie's frames from `start` on are."""
    return f"{movie}@{start}"


def movie_name(field: str) -> str:
    """Return the movie's name of a field that is a segment of it.

    Examples
    --------
    >>> movie_name("tubes@256"), movie_name("tubes")
    ('tubes', 'tubes')
    """
    name, _, start = field.rpartition("@")
    return name if name and start.isdecimal() else field


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
    Column("molecules", "float32", "light over that of one molecule; NaN: not told"),
    Column("site", "bool", "stands for several molecules; in a volume: one of them"),
    Column("cell", "int64", "label of the cell at the spot; 0: outside all cells"),
    Column("nucleus", "int64", "label of the nucleus at the spot; 0: none"),
    Column("cluster", "int64", "number of its cluster in the image; 0: none"),
)
_PLACES = ("plane", "z", "y", "x", "z_um", "y_um", "x_um")
CLUSTERS = (
    *PLANE[:-1],
    *(column for column in SPOTS if column.name in _PLACES),
    Column("cluster", "int64", "number of the cluster in its image, from 1"),
    Column("n_spots", "int64", "spots in it; in a volume its molecules, by fit"),
    Column("molecules", "float64", "molecules by brightness; NaN: not told"),
    Column("radius_um", "float64", "root mean square distance from its centroid"),
    Column("cell", "int64", "label of the cell of most of its spots; 0: none"),
    Column("nucleus", "int64", "label of the nucleus of most of them; 0: none"),
    Column("transcription_site", "bool", "whether it lies in a nucleus"),
)

_VOLUMES = (
    Column("touches_ends", "bool", "whether a volume is in the first or last plane"),
    Column("cell_z", "float64", "centroid of a label volume, planes; NaN: flat cell"),
    Column("nucleus_z", "float64", "likewise of its nucleus; NaN also: no nucleus"),
    Column("volume_um3", "float64", "NaN: flat cell, or no pixel size or z step"),
    Column("nucleus_volume_um3", "float64", "likewise of its nucleus; 0: no nucleus"),
    Column("surface_um2", "float64", "of voxel faces: 1.5 times that of a smooth ball"),
    Column("contact_um2", "float64", "of voxel faces that are shared with other cells"),
)
"""Columns that only cells in label volumes have."""
VOLUMES = tuple(column.name for column in _VOLUMES)
FITS = (
    *PLANE[:-1],
    *(column for column in SPOTS if column.name in _PLACES),
    Column("amplitude", "float32", "height above the background, counts"),
    Column("background", "float32", "counts"),
    Column("sigma_z", "float32", "standard deviation in planes"),
    Column("sigma_yx", "float32", "in pixels, without the pixel's own width"),
    Column("residual", "float32", "standard deviation of what the fit leaves, counts"),
    Column("alone", "bool", "whether no other spot's light reaches it"),
    Column("converged", "bool", "if not, numbers are NaN and the place the spot's"),
)

LOCALISATIONS = (
    *_FIELD[:2],
    Column("field", "string", "the movie's name, @, and first frame of its segment"),
    Column("channel", "string", "channel name"),
    Column("frame", "int64", "frame of the movie, from 0"),
    Column("x_nm", "float64", "nanometres from the outer corner of the first pixel"),
    Column("y_nm", "float64", "likewise"),
    Column("z_nm", "float64", "depth in nanometres; NaN without depth"),
    Column("intensity", "float64", "counts of the molecule above the background"),
    Column("photons", "float64", "of the molecule; NaN without a camera's figures"),
    Column("background", "float64", "counts per pixel under it, with the offset"),
    Column("background_photons", "float64", "per pixel; NaN without a camera"),
    Column("sigma_nm", "float64", "of the point spread function; NaN: not known"),
    Column("uncertainty_nm", "float64", "lateral standard deviation; NaN: not known"),
    Column("uncertainty_z_nm", "float64", "axial one; NaN: not known"),
    Column("certainty", "float32", "height in the network's answer, 0 to 1"),
    Column("n_frames", "int32", "frames in which it was seen; 1 before merging"),
)
"""Molecules of a localisation microscopy movie, one row a molecule and frame."""
_MOVIE = (
    *_FIELD[:2],
    Column("movie", "string", "name of the movie"),
    Column("channel", "string", "channel name"),
)
MOVIES = (
    *_MOVIE,
    Column("n_frames", "int64", "frames of the movie"),
    Column("n_failed", "int64", "of them, frames that failed or are not done yet"),
    Column("height", "int64", "pixels of a frame along y"),
    Column("width", "int64", "pixels of a frame along x"),
    Column("pixel_nm", "float64", "edge of a pixel in the sample"),
    Column("n_localisations", "int64", "molecules, counted in every frame"),
    Column("n_molecules", "int64", "the same after merging over frames"),
    Column("density", "float64", "localisations per square micrometre and frame done"),
    Column("precision_nm", "float64", "by neighbours in the next frame; NaN: unknown"),
    Column("resolution_nm", "float64", "by Fourier ring correlation; NaN: unknown"),
    Column("drift_nm", "float64", "largest drift taken off; NaN: none was"),
    Column("picture", "string", "path of the picture in the run folder"),
    Column("picture_nm", "float64", "edge of a pixel of the picture"),
)
"""Movies of a run, one row a movie and channel."""
MOVIE_FRAMES = (
    *_MOVIE,
    Column("frame", "int64", "frame of the movie, from 0"),
    Column("n_localisations", "int64", "molecules in it"),
    Column("drift_y_nm", "float64", "how far it lies off; NaN: not taken off"),
    Column("drift_x_nm", "float64", "likewise"),
)
RINGS = (
    *_MOVIE,
    Column("frequency", "float64", "cycles per micrometre"),
    Column("correlation", "float64", "of the two halves of the frames; NaN: no light"),
    Column("smooth", "float64", "the same by local lines"),
)

CELLS = (
    *PLANE,
    Column("cell", "int64", "label of the cell"),
    Column("area", "int64", "pixels of the cell; of a label volume, its voxels"),
    Column("nucleus_area", "int64", "pixels or voxels of it that are nucleus"),
    Column("area_um2", "float64", "square micrometres; NaN: no pixel size, or volume"),
    Column("cell_y", "float64", "centroid of the cell, pixels"),
    Column("cell_x", "float64", "centroid of the cell, pixels"),
    Column("nucleus_y", "float64", "centroid of the nucleus, pixels; NaN: no nucleus"),
    Column("nucleus_x", "float64", "centroid of the nucleus, pixels; NaN: no nucleus"),
    Column("touches_border", "bool", "whether it touches the field's edge along y, x"),
    *_VOLUMES,
    Column("n_spots", "int64", "spots in the cell"),
    Column("n_spots_nucleus", "int64", "spots in its nucleus"),
    Column("n_spots_cytoplasm", "int64", "spots in the cell outside its nucleus"),
    Column("reference_deg", "float64", "direction of the reference; NaN: none given"),
    Column("resultant_length", "float64", "0 uniform to 1: all spots one way; NaN: 0"),
    Column("resultant_deg", "float64", "mean direction of the spots; NaN: no spots"),
    Column("polarization_index", "float64", "0: spots centred in the cell; NaN: none"),
    Column("dispersion_index", "float64", "1: spread like the cell; below: gathered"),
    Column("peripheral_index", "float64", "1: as far from the nucleus as the cell is"),
    Column(
        "nucleus_distance",
        "float64",
        "mean of cytoplasm spots, pixels; NaN: none, or a volume without z step",
    ),
    Column("nucleus_distance_um", "float64", "the same; NaN without pixel size"),
    Column("nucleus_distance_uniform", "float64", "mean of cytoplasm pixels"),
    Column("edge_distance", "float64", "from the cell's edge or surface, likewise"),
    Column("edge_distance_um", "float64", "the same; NaN without pixel size"),
    Column("edge_distance_uniform", "float64", "from the cell's edge, of its pixels"),
    Column("area_bins", "bins", "cytoplasm pixels, voxels per degree from reference"),
    Column("spot_bins", "bins", "cytoplasm spots per degree from the reference"),
)

RADIAL = (
    *PLANE,
    Column("cell", "int64", "label of the cell; cells without a nucleus have no row"),
    *(
        Column(
            f"{what}_{ring}",
            "int64",
            f"cytoplasm {what} at {ring * 100 // N_RINGS} to "
            f"{(ring + 1) * 100 // N_RINGS} % of the way from nucleus to edge",
        )
        for what in ("pixels", "spots")
        for ring in range(N_RINGS)
    ),
)
"""How far out the spots of each cell lie, and its pixels: the null of even spread."""

QUALITY = (
    *PLANE,
    Column("saturated", "float64", "share of imaged pixels at their format's limit"),
    Column("zero", "float64", "share of all pixels that are 0"),
    Column("mean", "float64", "mean of the imaged pixels, counts"),
    Column("focus", "float64", "variance of the Laplacian over the squared mean"),
    Column(
        "focus_low",
        "float64",
        "the same of the plane's least sharp parts, a quarter",
    ),
)

_RATED = (
    Column("score", "float64", "0 to 1; of the shipped rater: expected F1; NaN: none"),
    Column("expected_recall", "float64", "share of spots found; NaN: rater of experts"),
    Column("expected_precision", "float64", "share of them that are spots; likewise"),
)
RATINGS = (
    *PLANE,
    *_RATED,
    Column("n_tiles", "int64", "tiles whose mean these numbers are"),
    Column("noise", "float64", "standard deviation of noise or texture, counts"),
    Column("snr", "float64", "99.9 % of pixels (max: all) minus median, over noise"),
    Column("distance", "float64", "above 1: unlike training images; NaN: unknown"),
)
"""How good each image is, by a rater; of a stack the mean of its planes."""
TILE_RATINGS = (
    *PLANE[:-1],
    Column("plane", "int32", "plane, from 0; -1 when planes were projected"),
    Column("y", "int64", "first row of the tile"),
    Column("x", "int64", "first column of it; the last tiles overlap those before"),
    Column("height", "int64", "rows of it; a smaller plane is mirrored"),
    Column("width", "int64", "columns of it"),
    Column("weight", "int64", "what it counts in the mean of its image"),
    *_RATED,
)

LEFT_OUT = (
    *PLANE,
    _RATED[0],
    Column("min_quality", "float64", "the least score of images that count"),
)
"""Images that are in no statistics; their spots and cells stay in their tables."""

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
    Column("n_fields", "int64", "fields done that count here"),
    Column("n_failed", "int64", "fields failed"),
    Column("n_left_out", "int64", "fields done whose image scores below --min-quality"),
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
    Column("dose", "float64", "from the plate map, 0 or more; NaN when none"),
    Column("dose_unit", "string", "of the dose, by the column's name; may be empty"),
    *_SUMMARY,
)
CONDITIONS = (
    *_GROUP,
    Column("n_wells", "int64", "wells with fields done that count here"),
    *_SUMMARY,
)

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

_OTHER = Column("other", "string", "the channel that it is compared with")
PAIRS = (
    *PLANE[:-1],
    _OTHER,
    Column("plane", "int32", "plane, from 0; -1 when all planes were taken together"),
    Column("z", "float64", "place of the spot in planes, as in the table of spots"),
    Column("y", "float64", "in pixels"),
    Column("x", "float64", "in pixels"),
    Column("other_z", "float64", "place of its partner in planes, as it was found"),
    Column("other_y", "float64", "in pixels; the chromatic shift is not taken out"),
    Column("other_x", "float64", "likewise"),
    Column("distance", "float64", "in the plane in pixels, once the shift is undone"),
    Column("distance_z", "float64", "along z in planes, likewise; 0 without depth"),
    Column("distance_um", "float64", "in micrometres, with depth; NaN: sizes unknown"),
    Column("cell", "int64", "label of the cell at the spot; 0: outside all cells"),
    Column("nucleus", "int64", "label of the nucleus at the spot; 0: none"),
)
"""Written at the end of a run that compares channels: one row for each pair."""
CELL_PAIRS = (
    *PLANE[:-1],
    _OTHER,
    PLANE[-1],
    Column("cell", "int64", "label of the cell"),
    Column("n_spots", "int64", "spots of the channel in the cell"),
    Column("n_other", "int64", "spots of the other channel in the cell"),
    Column("n_pairs", "int64", "its spots that have a partner"),
    Column("share", "float64", "n_pairs over n_spots; NaN: no spots"),
    Column("chance", "float64", "mean share once the other channel's spots are moved"),
    Column("chance_low", "float64", "2.5 % of the draws are below"),
    Column("chance_high", "float64", "2.5 % of the draws are above"),
    Column("chance_sd", "float64", "standard deviation of the draws"),
    Column("p_value", "float64", "that chance gives as many pairs; NaN: no spots"),
)
"""One row for each cell and pair of channels."""
COLOCALISATION = (
    Column("row", "string", "plate row; empty: all wells of the condition"),
    Column("column", "string", "plate column; empty: likewise"),
    _GROUP[0],
    _OTHER,
    *_GROUP[1:],
    Column("n_wells", "int64", "wells with spots or cells"),
    Column("n_spots", "int64", "spots of the channel, in cells or not"),
    Column("n_other", "int64", "spots of the other channel, in cells or not"),
    Column("n_pairs", "int64", "spots of the channel that have a partner"),
    Column("share_all", "float64", "n_pairs over n_spots; NaN: no spots"),
    Column("n_cells", "int64", "cells with spots of the channel"),
    Column("n_spots_cells", "int64", "spots of the channel in cells"),
    Column("n_pairs_cells", "int64", "of these, spots that have a partner"),
    Column("share", "float64", "n_pairs_cells over n_spots_cells; NaN: none"),
    Column("low", "float64", "lower end of its 95 % interval over cells"),
    Column("high", "float64", "its upper end"),
    Column("low_wells", "float64", "95 % interval over wells; NaN: one well"),
    Column("high_wells", "float64", "its upper end"),
    Column("chance", "float64", "the share if spots lay anywhere in their own cells"),
    Column("chance_low", "float64", "lower end of its 95 % range"),
    Column("chance_high", "float64", "its upper end"),
    Column("excess", "float64", "share minus chance"),
    Column("ratio", "float64", "share over chance; NaN: chance 0 or unknown"),
)
"""One line for each condition and pair of channels, and one for each of its wells."""
CHROMATIC_SHIFTS = (
    Column("channel", "string", "channel name"),
    _OTHER,
    Column("how", "string", "measured, given, none, or not measurable (then none)"),
    Column("dy", "float64", "pixels at the centre; above 0: the other lies lower"),
    Column("dx", "float64", "likewise; above 0: the other lies further right"),
    Column("dz", "float64", "in planes; 0 without depth"),
    Column("centre_y", "float64", "place in pixels at which dy and dx hold"),
    Column("centre_x", "float64", "likewise"),
    Column("dy_y", "float64", "change of dy per pixel along y; 0: a translation"),
    Column("dy_x", "float64", "change of dy per pixel along x"),
    Column("dx_y", "float64", "change of dx per pixel along y"),
    Column("dx_x", "float64", "change of dx per pixel along x"),
    Column("n_pairs", "int64", "pairs that it was measured on"),
    Column("residual_before", "float64", "root mean square distance of these, pixels"),
    Column("residual_after", "float64", "the same once the shift is undone"),
    Column("median_after", "float64", "median distance of these, then"),
)
"""One line for each pair of channels: where the other shows what the one shows."""

SUMMARIES = {
    "wells": WELLS,
    "conditions": CONDITIONS,
    "polarity": (*_GROUP, *POLARITY),
    "comparisons": (_GENE, *COMPARISONS),
    "roses": ROSES,
    "field_polarity": FIELD_POLARITY,
    "colocalisation": COLOCALISATION,
    "chromatic_shifts": CHROMATIC_SHIFTS,
    "left_out": LEFT_OUT,
}
"""Tables that are made once, of all parts, at the end of a run."""
MOVIE_SUMMARIES = {"movies": MOVIES, "movie_frames": MOVIE_FRAMES, "rings": RINGS}
"""The same of runs that localise molecules."""
TABLES = {
    "spots": SPOTS,
    "cells": CELLS,
    "clusters": CLUSTERS,
    "fits": FITS,
    "fields": FIELDS,
    **SUMMARIES,
    "quality": QUALITY,
    "radial": RADIAL,
    "ratings": RATINGS,
    "tile_ratings": TILE_RATINGS,
    "pairs": PAIRS,
    "cell_pairs": CELL_PAIRS,
    "localisations": LOCALISATIONS,
    **MOVIE_SUMMARIES,
}
