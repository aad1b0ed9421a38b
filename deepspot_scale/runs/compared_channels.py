"""Which channels a run compares, the shifts that a file gives, what came of it.

Settings and a field's channels come in, pairs of names go out; a file of the columns
`vocabulary.CHROMATIC_SHIFTS` comes in, shifts go out; the summary tables come in,
lines of words go out. What is not understood is an
error that names it. Nothing here compares.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from deepspot_scale.errors import InputWarning, SettingsError, did_you_mean
from deepspot_scale.io.tables import Folder, read_columns
from deepspot_scale.kernels.chromatic import Shift
from deepspot_scale.runs.spreadsheets import read_sheet, some
from deepspot_scale.settings import Settings
from deepspot_scale.statistics.channel_pairs import Pair
from deepspot_scale.vocabulary import CHROMATIC_SHIFTS
from deepspot_scale.words import plural

_COLUMNS: Final = tuple(column.name for column in CHROMATIC_SHIFTS)
_NEEDED: Final = ("channel", "other", "dy", "dx")
_NUMBERS: Final = tuple(each.name for each in fields(Shift))[1:10]
"""What a file says of a shift, dy to dx_x; the rest is how another run came to it."""


def resolve_pairs(settings: Settings, channels: Sequence[str]) -> list[Pair]:
    """Return the pairs of channels to compare, by name.

    Parameters
    ----------
    settings
        Whose ``colocalise`` has words such as A:B, by names or by the run's own words.
    channels
        Names of the settings' channels, in their order.

    Raises
    ------
    SettingsError
        A word names a channel that the run does not have, one twice, or two at once.
    """
    known = dict(zip(channels, channels, strict=True))
    known |= dict(zip(settings.channels, channels, strict=False))
    pairs: list[Pair] = []
    for word in settings.colocalise:
        cuts = [at for at, letter in enumerate(word) if letter == ":"]
        both = [(word[:at], word[at + 1 :]) for at in cuts]
        meant = [pair for pair in both if known.keys() >= {*pair}]
        if len(meant) != 1:
            names = ", ".join(settings.channels)
            near = did_you_mean(word, [f"{a}:{b}" for a in known for b in known])
            raise SettingsError(
                f"colocalise: {word!r} does not name two of the run's channels, which "
                f"are {names}; give A:B, and both with --channel.{near}"
            )
        one, other = (known[name] for name in meant[0])
        if one == other or (one, other) in pairs:
            raise SettingsError(
                f"colocalise: {word!r} names one channel twice, or a pair again"
            )
        pairs.append((one, other))
    return pairs


def warn_of_others(names: Collection[str]) -> None:
    """Warn of channels that some fields call otherwise than the run's first field."""
    if names:
        warnings.warn(
            f"spots of {len(names)} other channel names are not compared, because not "
            f"all fields name the run's channels alike: {some(sorted(names))}",
            InputWarning,
            stacklevel=2,
        )


def read_shifts(name: str, pairs: Iterable[Pair]) -> dict[Pair, Shift]:
    """Return the shifts that a file gives; none for ``measured`` and ``none``.

    Parameters
    ----------
    name
        ``measured``, ``none``, or a CSV, JSON or Parquet file with the columns
        `vocabulary.CHROMATIC_SHIFTS`, as an earlier run writes it; columns beside
        channel, other, dy and dx may be left out.
    pairs
        Channels that are compared.

    Raises
    ------
    SettingsError
        The file cannot be read, lacks a pair, or says that it was not measurable.
    """
    pairs = list(pairs)
    if name in {"measured", "none"} or not pairs:
        return {}
    found: dict[Pair, Shift] = {}
    for line in _read_lines(name):
        pair = str(line.get("channel", "")), str(line.get("other", ""))
        if pair in found:
            raise SettingsError(f"{name}: the channels {':'.join(pair)} come twice")
        found[pair] = _read_shift(name, line)
    for pair in pairs:
        if pair not in found:
            there = ", ".join(":".join(each) for each in found) or "none"
            raise SettingsError(
                f"{name} has no shift of {':'.join(pair)}; it has {there}. A shift "
                "holds in the direction in which it was measured"
            )
        if found[pair].how == "not measurable":
            raise SettingsError(
                f"{name}: the shift of {':'.join(pair)} was not measurable; give "
                "another file, or --chromatic-shift none"
            )
    return {pair: found[pair] for pair in pairs}


def describe_compared(
    shares: pd.DataFrame, shifts: pd.DataFrame, settings: Settings
) -> Iterator[str]:
    """Yield what a run says of each pair of channels, over all of its conditions.

    Parameters
    ----------
    shares, shifts
        `vocabulary.COLOCALISATION` and `vocabulary.CHROMATIC_SHIFTS`.
    settings
        The run's.
    """
    for shift in shifts.to_dict("records"):
        one, other = shift["channel"], shift["other"]
        yield f"{one}:{other}: {_shift_words(shift)}"
        own = (shares["channel"] == one) & (shares["other"] == other)
        lines = shares[own & (shares["row"] == "")]
        n_pairs, n_spots = int(lines["n_pairs"].sum()), int(lines["n_spots"].sum())
        reach = f"{settings.pair_distance:g} px"
        if settings.in_volume:
            reach += f" and {settings.pair_planes:g} planes"
        yield (
            f"{one}:{other}: {n_pairs:,} of {plural(n_spots, 'spot')} of {one} have a "
            "partner "
            f"in {other} within {reach} ({_chance_words(lines, settings)})"
        )


def _chance_words(lines: pd.DataFrame, settings: Settings) -> str:
    if settings.cells is None and "cells" not in settings.made_labels:
        return "what chance gives is not known: that needs cells"
    n_spots = lines["n_spots_cells"].sum()
    if not n_spots:
        return "none of them in a cell, so what chance gives is not known"
    chance = (lines["chance"] * lines["n_spots_cells"]).sum() / n_spots
    share = lines["n_pairs_cells"].sum() / n_spots
    return f"in cells {share:.1%}, by chance {chance:.1%}"


def _shift_words(shift: Mapping[Any, Any]) -> str:
    if shift["how"] == "not measurable":
        return (
            "the shift between them could not be measured, because no displacement "
            "stands out of chance; places are compared as they are"
        )
    if shift["how"] == "none":
        return "no shift between them is undone"
    other, dy, dx, dz = (shift[name] for name in ("other", "dy", "dx", "dz"))
    sides = [f"{abs(dy):.2f} px {'lower' if dy > 0 else 'higher'}"]
    sides.append(f"{abs(dx):.2f} px further {'right' if dx > 0 else 'left'}")
    if dz:
        sides.append(f"{abs(dz):.2f} planes {'on' if dz > 0 else 'before'}")
    slopes = [shift[name] for name in ("dy_y", "dy_x", "dx_y", "dx_x")]
    affine = " at the centre, and changes with the place" if any(slopes) else ""
    text = f"{other} lies {', '.join(sides)}{affine} ({shift['how']}"
    if shift["how"] == "measured":
        text += (
            f" on {shift['n_pairs']:,} pairs; median distance then "
            f"{shift['median_after']:.2f} px"
        )
    return text + "), which is undone"


def _read_lines(name: str) -> list[Mapping[str, Any]]:
    path = Path(name)
    if not path.is_file():
        raise SettingsError(
            f"chromatic_shift is measured, none or a file; there is no file {name!r}."
            + did_you_mean(name, ("measured", "none"))
        )
    try:
        if path.suffix == ".json":
            lines = json.loads(path.read_text("utf-8"))
        elif path.suffix == ".parquet":
            folder = Folder(str(path.parent))
            lines = read_columns(folder, path.name, [*_COLUMNS]).to_dict("records")
        else:
            lines = _read_csv(name)
    except SettingsError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(f"{name} cannot be read as shifts: {error}") from error
    lines = [lines] if isinstance(lines, dict) else lines
    if not (isinstance(lines, list) and all(isinstance(line, dict) for line in lines)):
        raise SettingsError(f"{name}: expected a list of objects, one for each shift")
    return lines


def _read_csv(name: str) -> list[Any]:
    sheet = read_sheet(name, "chromatic shifts", _COLUMNS)
    numbers = [each for each in sheet.names if each in _NUMBERS]
    sheet.check_decimals(numbers)
    words = sheet.table[numbers].replace(",", ".", regex=True)
    return sheet.table.assign(**words).to_dict("records")


def _read_shift(name: str, line: Mapping[str, Any]) -> Shift:
    missing = [each for each in _NEEDED if line.get(each) in (None, "")]
    strange = [each for each in line if each not in _COLUMNS]
    if missing or strange:
        wrong = f"lacks {missing[0]}" if missing else f"has an unknown {strange[0]!r}"
        raise SettingsError(
            f"{name}: a shift {wrong}; its columns are {', '.join(_COLUMNS)}"
        )
    values: dict[str, Any] = {n: _number(name, n, line.get(n)) for n in _NUMBERS}
    lost = line.get("how") == "not measurable"
    return Shift("not measurable" if lost else "given", **values)


def _number(name: str, column: str, value: Any) -> float:
    try:
        number = float(value) if value not in (None, "") else 0.0
    except (TypeError, ValueError):
        number = np.nan
    if not np.isfinite(number):
        raise SettingsError(f"{name}: {column} must be a number, got {value!r}")
    return number
