"""Parses the file names of microscopes: well, field, channel, time point and plane.

Names come in; a `Place` for each goes out, by a regular expression with named groups:
the user's, or that of a known scheme. Nothing here opens a file or lists a folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from deepspot_scale.errors import PlateError, SettingsError
from deepspot_scale.io.conversion.schemes import (
    LIKE_WELL,
    SCHEMES,
    Scheme,
    is_thumbnail,
)
from deepspot_scale.vocabulary import FieldAddress, row_letters

GROUPS = ("well", "row", "column", "field", "channel", "z", "t")
"""Named groups that a pattern may have; others are an error."""


@dataclass(frozen=True)
class Place:
    """Where one image file belongs in a plate."""

    address: FieldAddress
    channel: str
    """Channel as written, such as ``FISH``, ``w1``, ``ch2``; empty: none."""
    t: int
    """Time point as written; 0: none."""
    z: int
    """Plane as written; 0: none."""


def natural_order(text: str) -> list[tuple[int, str]]:
    """Return a sort key that puts ``2.png`` before ``10.png``."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), part) if part.isdigit() else (-1, part) for part in parts]


def check_pattern(pattern: str) -> None:
    """Check a user's pattern.

    Raises SettingsError if it is not a regular expression, or its named groups are
    missing or unknown.
    """
    try:
        groups = set(re.compile(pattern).groupindex)
    except re.error as error:
        raise SettingsError(
            f"The file name pattern {pattern!r} is no regular expression: {error}."
        ) from error
    words = ", ".join(GROUPS)
    if not groups or not groups <= set(GROUPS):
        raise SettingsError(
            f"A file name pattern needs named groups, each one of {words}; {pattern!r} "
            f"has {', '.join(sorted(groups)) or 'none'}. Write for example "
            r"'(?P<well>[A-P]\d\d)_(?P<field>\d+)_(?P<channel>\w+)\.tif'."
        )
    if "well" in groups and groups & {"row", "column"}:
        raise SettingsError("A file name pattern has either well, or row and column.")
    if len(groups & {"row", "column"}) == 1:
        raise SettingsError("A file name pattern needs both row and column.")


def choose_scheme(names: Sequence[str]) -> Scheme | None:
    """Choose the scheme with the most votes; the first one in case of a tie.

    Each name votes for the first scheme that matches it. Microscopes' schemes come
    first, because the plain schemes also match some of their names, but wrongly.
    Thumbnails do not vote. Names are paths with ``/`` between parts; if none looks
    like a well, there is no scheme.

    Raises PlateError if some names look like wells, but no scheme matches half of them.
    """
    names = [name for name in names if not is_thumbnail(name)]
    readers = [
        next((s for s in SCHEMES if re.search(s.pattern, name)), None) for name in names
    ]
    scheme = max(SCHEMES, key=readers.count)
    n_read = sum(1 for name in names if re.search(scheme.pattern, name))
    if n_read and 2 * n_read >= len(names):
        return scheme
    if not n_read and not any(LIKE_WELL.search(name) for name in names):
        return None
    nearest = f" (the nearest, {scheme.name!r}, reads {n_read})" if n_read else ""
    raise PlateError(
        f"No known scheme of file names reads these {len(names)} images{nearest}. "
        f"{ask_for_pattern(names)}"
    )


def ask_for_pattern(names: Sequence[str]) -> str:
    """Return what a message ends with when the names do not say enough."""
    examples = ", ".join(sorted(names, key=natural_order)[:3])
    return (
        f"Some of them: {examples}. Give a pattern (--pattern) with some of the named "
        f"groups {', '.join(GROUPS)}, for example "
        r"'(?P<well>[A-P]\d\d)_(?P<field>\d+)_(?P<channel>\w+)\.tif'."
    )


def read_name(name: str, pattern: str) -> Place | None:
    """Parse a file's place from its name; None: the pattern does not match.

    A row number becomes a letter, a column gets two digits, a field loses leading
    zeros. The default well is A01, the default field 0.

    Raises PlateError if the pattern matches, but a group is not a valid row, column,
    field or number.

    Examples
    --------
    >>> scheme = choose_scheme(["r02c03f01p04-ch1sk1fk1fl1.tiff"])
    >>> place = read_name("r02c03f01p04-ch1sk1fk1fl1.tiff", scheme.pattern)
    >>> place.address.path, place.channel, place.z
    ('B/03/1', 'ch1', 4)
    """
    match = re.search(pattern, name)
    if match is None:
        return None
    found = {key: value for key, value in match.groupdict().items() if value}
    row, column = _row_column(name, found)
    field = found.get("field", "0")
    if not re.fullmatch("[A-Za-z0-9]+", field):
        raise PlateError(_unreadable(name, "field", field, "letters and digits"))
    return Place(
        FieldAddress(row, column, str(int(field)) if field.isdecimal() else field),
        found.get("channel", ""),
        _number(name, "t", found.get("t", "0")),
        _number(name, "z", found.get("z", "0")),
    )


class Stem(NamedTuple):
    """The parts of an image's name that the names of masks repeat."""

    text: str
    """Path below the folder without suffix."""
    n_needed: int
    """Number of characters up to the field; a mask's name may end after them."""
    without_channel: str
    """`text` without the channel; equal to `text` if it has none."""


def read_stem(name: str, pattern: str | None) -> Stem:
    """Parse an image's stem; without a pattern it is the whole name."""
    text = name.rpartition(".")[0]
    match = re.search(pattern, name) if pattern else None
    if match is None:
        return Stem(text, len(text), text)
    groups = match.groupdict()
    ends = [match.end(g) for g in ("well", "row", "column", "field") if groups.get(g)]
    shorter = text
    if groups.get("channel"):
        start, stop = match.span("channel")
        shorter = text[:start].rstrip("-_ ") + text[stop:]
    return Stem(text, max(ends, default=len(text)), shorter)


def _row_column(name: str, found: dict[str, str]) -> tuple[str, str]:
    if "well" in found:
        match = re.fullmatch(r"([A-Za-z]+)[-_ /]?(\d+)", found["well"])
        if match is None:
            raise PlateError(_unreadable(name, "well", found["well"], "B03 or B-3"))
        row, column = match[1], match[2]
    else:
        row, column = found.get("row", "A"), found.get("column", "1")
    if row.isdigit():
        row = row_letters(int(row))
    if not re.fullmatch("[A-Za-z]{1,2}", row):
        raise PlateError(_unreadable(name, "row", found["row"], "B or 2"))
    return row.upper(), f"{_number(name, 'column', column):02d}"


def _number(name: str, group: str, text: str) -> int:
    if not text.isdecimal():
        raise PlateError(_unreadable(name, group, text, "a number"))
    return int(text)


def _unreadable(name: str, group: str, text: str, expected: str) -> str:
    return (
        f"The pattern finds {group} {text!r} in the name {name}; expected "
        f"{expected}. Change the pattern."
    )
