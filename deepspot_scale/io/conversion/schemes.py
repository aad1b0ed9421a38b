"""The naming schemes of microscopes, as regular expressions.

The first part reads names as an instrument writes them, the second plain names. A
plain scheme takes the rest of a name for the channel; `find_doubt` finds names
in which this rest is something else. Nothing here parses a name.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """One naming scheme of image files."""

    name: str
    pattern: str
    """Regular expression, searched in the path below the folder, with ``/``."""
    example: str
    zero_is_projection: bool = False
    """Plane 0, or none in the name, is the projection of planes 1, 2, ..."""
    is_plain: bool = False
    """Not of an instrument: the rest of the name is taken for the channel."""


_ROW = r"(?P<row>A[A-F]|[A-P])"
_ANY_WELL = r"(?P<well>(?:[Aa][A-Fa-f]|[A-Pa-p])\d{1,2})"
_FIELD = r"(?:f|F|s|S|field|Field|site|Site|fov|FOV)?(?P<field>\d+)"
_TIMES_PLANES = r"(?:[-_](?:[tT](?P<t>\d+)|[zZ](?P<z>\d+)))"
# Any text without separate t or z parts; otherwise each plane would be a channel.
_CHANNEL = r"(?![tTzZ]\d+[-_.])(?P<channel>[A-Za-z0-9](?:(?![-_][tTzZ]\d+[-_.])[^/.])*)"
_NO_WORD_BEFORE = r"(?<![A-Za-z0-9])"
_GUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"

SCHEMES = (
    Scheme(
        "Operetta and Opera Phenix (Harmony)",
        r"(?:^|/)r(?P<row>\d+)c(?P<column>\d+)f(?P<field>\d+)p(?P<z>\d+)"
        r"-(?P<channel>ch\d+)(?:sk(?P<t>\d+)fk\d+fl\d+)?\.",
        "r02c03f01p01-ch1sk1fk1fl1.tiff",
    ),
    Scheme(
        "CellVoyager (Yokogawa)",
        rf"{_NO_WORD_BEFORE}(?P<well>[A-Z]{{1,2}}\d\d)_T(?P<t>\d+)F(?P<field>\d+)"
        r"L\d+A\d+Z(?P<z>\d+)(?P<channel>C\d+)\.",
        "plate_B03_T0001F001L01A01Z01C01.tif",
    ),
    Scheme(
        "In Cell Analyzer",
        rf"{_NO_WORD_BEFORE}{_ROW} ?- ?(?P<column>\d{{1,2}}) ?\(fld ?0*(?P<field>\d+)"
        r" wv (?P<channel>[^()/]+?)(?: z ?(?P<z>\d+))?(?: (?:t|time) ?(?P<t>\d+)"
        r"(?: - [\d.]+ ?ms)?)?\)\.",
        "B - 03(fld 1 wv UV - DAPI).tif",
    ),
    Scheme(
        "Cellomics (ArrayScan, CellInsight)",
        rf"{_NO_WORD_BEFORE}{_ROW}(?P<column>\d\d)f(?P<field>\d+)(?P<channel>d\d+)\.",
        "AS_09125_050116030001_B03f00d0.tif",
    ),
    Scheme(
        "Micro-Manager, one file for each position",
        rf"_MMStack_(?:{_ROW}(?P<column>\d{{1,2}})-Site_|Pos_?)(?P<field>\d+)\.ome\.",
        "Exp_1_MMStack_B3-Site_0.ome.tif",
    ),
    Scheme(
        "Micro-Manager, one file for each plane",
        rf"(?:(?:^|/)(?:{_ROW}(?P<column>\d{{1,2}})-Site_|Pos_?)(?P<field>\d+)/)?"
        r"img_(?P<t>\d{9})_(?P<channel>[^/]+)_(?P<z>\d+)\.",
        "Exp_1/B3-Site_0/img_000000000_DAPI_000.tif",
    ),
    Scheme(
        "Micro-Manager, one file for each plane, with words",
        rf"(?:(?:^|/){_ROW}(?P<column>\d{{1,2}})[^/]*/)?img_channel(?P<channel>\d+)"
        r"_position(?P<field>\d+)_time(?P<t>\d+)_z(?P<z>\d+)\.",
        "B3/img_channel000_position000_time000000000_z000.tif",
    ),
    Scheme(
        "ImageXpress (MetaXpress)",
        r"(?:(?:^|/)(?:TimePoint_|timepoint)(?P<t>\d+)/)?(?:ZStep_(?P<z>\d+)/)?"
        rf"[^/]*{_NO_WORD_BEFORE}{_ANY_WELL}"
        # Without those folders, a name needs one of the parts to be MetaXpress's.
        rf"(?(t)|(?(z)|(?=_s\d|_w\d|_?{_GUID})))(?:_s(?P<field>\d+?))?"
        # The file's id follows without a sign between, and may begin with a digit.
        rf"(?:_(?P<channel>w\d{{1,2}}?))?(?:_?{_GUID})?\.",
        "plate_B03_s1_w1.tif",
        zero_is_projection=True,
    ),
    Scheme(
        "well, field, channel",
        rf"{_NO_WORD_BEFORE}{_ROW}[-_/]?(?P<column>\d{{1,2}})[-_/]{_FIELD}"
        rf"{_TIMES_PLANES}*(?:[-_/]{_CHANNEL})?\.",
        "B03_0_FISH.tif",
        is_plain=True,
    ),
    Scheme(
        "well, field, channel, then time point and plane",
        rf"{_NO_WORD_BEFORE}{_ROW}[-_/]?(?P<column>\d{{1,2}})[-_/]{_FIELD}"
        rf"[-_/]{_CHANNEL}{_TIMES_PLANES}+\.",
        "B03_0_FISH_t1_z2.tif",
        is_plain=True,
    ),
    Scheme(
        "well, channel",
        # Two digits anywhere, or one where the name begins: A1_FISH, but not img_A1_x.
        rf"(?:{_NO_WORD_BEFORE}(?=[A-P]+\d\d)|(?:^|(?<=/))(?=[A-P]+\d[_./]))"
        rf"{_ROW}(?P<column>\d{{1,2}})(?:[-_/]{_CHANNEL})?{_TIMES_PLANES}*\.",
        "B03_FISH.tif",
        is_plain=True,
    ),
)

LIKE_WELL = re.compile(
    rf"{_NO_WORD_BEFORE}(?:(?:A[A-F]|[A-P])(?: ?- ?| )?\d\d(?!\d)|[a-p]\d\d(?!\d)"
    # ImageJ puts C1-, C2- before the names of split channels.
    r"|(?!C\d-)[A-P]\d(?![A-Za-z0-9]))|(?:^|/)[a-p]\d_|(?<![A-Za-z])r\d+c\d+"
    r"|[Ww]ell[-_ ]?[A-Pa-p][-_ ]?\d"
)
"""Found in names that look like wells, even if no scheme can read them."""

_THUMBNAIL = re.compile(rf"_thumb(?:_?{_GUID})?\.[^./]+$", re.IGNORECASE)
_CELLVOYAGER = next(s for s in SCHEMES if s.name.startswith("CellVoyager"))
# Of shading and of the dark: SC_BP445-45_20x_M01_CH01.tif, DC_DCAM#1_CAM3.tif.
_CALIBRATION = re.compile(r"(?:^|/)[SD]C_[^/]*\.[^./]+$")
_HOLDS_FIELD = re.compile(
    r"(?:^|[-_ ])(?:s|f|x|y|site|field|fov|fld|pos|position|tile)[-_ ]?\d+"
    # Numbers before or after it, but no wavelength; or a time, as Incucyte writes it.
    r"(?![A-Za-z0-9])|^(?:\d\d?|0\d+)[-_ ]|[-_ ](?:\d\d?|0\d+)$|\d\dh\d\dm",
    re.IGNORECASE,
)
_CHANNEL_OR_WELL = re.compile(rf"{_NO_WORD_BEFORE}([CDFMNP])\d(?!\d)")


def is_thumbnail(name: str) -> bool:
    """Return whether MetaXpress names a file so that it is another one's thumbnail."""
    return _THUMBNAIL.search(name) is not None


def find_aside(names: Sequence[str]) -> list[str]:
    """Return the names of what lies beside a microscope's images and is none of them.

    These are thumbnails, and CellVoyager's calibration images beside its images. There
    are none where nothing else would be left.
    """
    is_cellvoyager = any(re.search(_CELLVOYAGER.pattern, name) for name in names)
    aside = [
        name
        for name in names
        if is_thumbnail(name) or (is_cellvoyager and _CALIBRATION.search(name))
    ]
    return aside if len(aside) < len(names) else []


def find_doubt(names: Sequence[str], fields: Collection[Collection[str]]) -> str | None:
    """Return why plain names may mean something else; None: they are clear.

    `fields` has the channels of each field, as the scheme read them.
    """
    letters = {match[1] for match in map(_CHANNEL_OR_WELL.search, names) if match}
    if len(letters) == 1 and all(map(_CHANNEL_OR_WELL.search, names)):
        (letter,) = letters
        return (
            f"{letter}1, {letter}2 may be wells, or channels, fields, days and so on."
        )
    channels = [channel for field in fields for channel in field]
    for channel in channels:
        if _HOLDS_FIELD.search(channel):
            return f"The channel {channel!r} seems to have a field or a time in it."
    if len(fields) > 1 and len(set(channels)) == len(channels):
        return (
            f"No two of {len(fields)} fields have a channel in common (the first is "
            f"{channels[0]!r}), so this is not the channel's name."
        )
    return None
