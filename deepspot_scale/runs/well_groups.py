"""A plate in groups of wells, each for a run of its own; `merged_run` joins these.

An open plate and a word for how to cut it come in; lists of wells go out, as
``--wells`` takes them. Nothing here runs anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.io.plate import Plate

WORDS: Final = ("rows", "columns", "wells")
"""Ways to cut a plate; a number is another, of as many groups."""


def group_wells(plate: Plate, by: str) -> list[list[str]]:
    """Return the wells of a plate in groups; each well is in one of them.

    Parameters
    ----------
    plate
        Its listed wells are grouped, also those that are not there: a run says so.
    by
        ``rows``, ``columns``, ``wells``, or a number such as ``8``: at most so many
        groups, whose numbers of fields are about the same.

    Raises
    ------
    SettingsError
        Another word, a number below 1, or images outside of wells.

    Examples
    --------
    >>> group_wells(open_plate("PLATE.zarr"), "rows")  # doctest: +SKIP
    [['B03', 'B04'], ['C03', 'C04']]
    """
    fields: dict[tuple[str, str], int] = {}
    for entry in plate.entries:
        if not entry.address.row:
            raise SettingsError(
                f"{plate.source} has images and no wells, so it is not cut by wells; "
                "convert it to a plate, or give one run to all"
            )
        well = entry.address.row, entry.address.column
        fields[well] = fields.get(well, 0) + 1
    for path in plate.missing:
        row, _, column = path.partition("/")
        fields.setdefault((row, column), 0)
    if by in WORDS:
        at = {"rows": slice(0, 1), "columns": slice(1, 2), "wells": slice(0, 2)}[by]
        return _gathered((well[at], well) for well in fields)
    if not by.isdecimal() or int(by) < 1:
        raise SettingsError(
            f"a plate is cut by {', '.join(WORDS)} or into a number of groups, not by "
            f"{by!r}.{did_you_mean(by, WORDS)}"
        )
    return _even(fields, int(by))


def _even(fields: dict[tuple[str, str], int], n: int) -> list[list[str]]:
    """Return at most n groups of neighbouring wells with about as many fields each."""
    total, before, numbered = max(sum(fields.values()), 1), 0, []
    for well, n_fields in fields.items():
        middle = min(before + n_fields / 2, total - 0.5)
        numbered.append((int(middle * n / total), well))
        before += n_fields
    return _gathered(numbered)


def _gathered(keyed: Iterable[tuple[object, tuple[str, str]]]) -> list[list[str]]:
    groups: dict[object, list[str]] = {}
    for key, (row, column) in keyed:
        groups.setdefault(key, []).append(row + column)
    return list(groups.values())
