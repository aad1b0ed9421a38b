"""A user's tables: where "toward" is in each field, and what each well holds.

CSV files and short words come in, checked values go out. What is not used is an error
where it may change what a line holds for, and a counted warning elsewhere. Nothing here
knows images.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.kernels.references import Reference
from deepspot_scale.runs.spreadsheets import Sheet, read_sheet, some
from deepspot_scale.runs.well_names import WELL, Wells, find_wells, group_by_well
from deepspot_scale.vocabulary import FieldAddress, plain_number

FieldReference = Reference | Mapping[int, Reference]
"""One reference, or one by time point."""
References = Callable[[FieldAddress], FieldReference | None]
MEANINGS = ("condition", "gene", "replicate")
PLATE_MAP = ("row", "column", *MEANINGS)
REFERENCES = (*WELL, "field", "t", "y", "x", "angle_deg")
DOSE_COLUMN = re.compile(r"dose(?:_(\w+))?")
"""The one numeric column of a plate map: ``dose``, or ``dose_um`` with its unit."""
UNITS = {"pm": "pM", "nm": "nM", "um": "µM", "mm": "mM", "m": "M"}
"""How units of concentration are written; other units are shown as they are."""
ALIASES = {"col": "column", "treatment": "condition"}
"""Other names of columns; the user is told how they are read."""


def _read(path: str, what: str, known: tuple[str, ...]) -> Sheet:
    """Read a table, columns by their usual names; refuse names that are slips."""
    sheet = read_sheet(path, what, (*known, *ALIASES))
    for alias, name in ALIASES.items():
        if alias in sheet.names and name in known and name not in sheet.names:
            sheet.warn(f"the column {alias!r} is read as {name!r}")
            sheet = replace(sheet, table=sheet.table.rename(columns={alias: name}))
    for name in sheet.names:
        if name in known or len(name) < 4 or DOSE_COLUMN.fullmatch(name):
            continue
        if near := did_you_mean(name, set(known) - set(sheet.names), 0.8):
            raise SettingsError(f"{path}: the column {name!r} is not known.{near}")
    return sheet


def _tell(sheet: Sheet, n: int, words: Collection[str], what: str) -> None:
    """Warn with a count and examples, if there are any."""
    if words:
        sheet.warn(f"{len(words)} of {n} {what}: {some(words)}")


def _named(line: int, words: Iterable[str]) -> str:
    return f"{'/'.join(words)} (line {line})"


def read_references(text: str | None, fields: Iterable[FieldAddress]) -> References:
    """Read where "toward" is.

    Parameters
    ----------
    text
        ``angle:90`` (degrees counter-clockwise from +x as seen on the screen),
        ``point:Y,X`` (pixels), ``line:Y,X,Y,X...``, the path of a CSV, or None. The CSV
        has the columns well (or row, column), field, t (if one is left out, a line
        applies to all) and either angle_deg, or y and x: one row for a field is a
        point, several rows are the corners of a line.
    fields
        The fields of the plate. Rows of other fields, and fields without a row, are
        counted in a warning.

    Returns
    -------
    callable
        Gives the reference of a field, None where there is none; by time point if the
        table has the column t.

    Raises
    ------
    SettingsError
        The text or table cannot be read as such, or has no field of the plate.

    Warns
    -----
    InputWarning
        Lines or fields that are left out.
    """
    if text is None:
        return lambda _: None
    kind, _, rest = text.partition(":")
    if kind in {"angle", "point", "line"}:
        fixed = _read_words(kind, rest)
        return lambda _: fixed
    sheet = _read(text, "reference", REFERENCES)
    _check_columns(sheet)
    fields = list(fields)
    known = _references_of(sheet, fields)
    bare = [address.path for address in fields if address not in known]
    _tell(sheet, len(fields), bare, "fields have no line, and so no reference")
    return known.get


def _check_columns(sheet: Sheet) -> None:
    """Refuse columns that are not known: they may say what a line holds for."""
    names = sheet.names
    strange = [name for name in names if name not in REFERENCES]
    if strange:
        raise SettingsError(
            f"{sheet.path}: the column {strange[0]!r} is not known."
            f"{did_you_mean(strange[0], set(REFERENCES) - set(names))} A reference "
            f"table has {', '.join(REFERENCES)}; rename or remove {some(strange)}"
        )
    points = {"y", "x"} & set(names)
    if len(points) == 1 or not {*points, "angle_deg"} & set(names):
        raise SettingsError(
            f"{sheet.path}: expected the columns y and x, or angle_deg; has {names}"
        )
    sheet.check_decimals([n for n in ("y", "x", "angle_deg") if n in names])


def _references_of(
    sheet: Sheet, fields: Sequence[FieldAddress]
) -> dict[FieldAddress, FieldReference]:
    table, wells = sheet.table, group_by_well(fields)
    keys = [key for key in (*WELL, "field") if key in table]
    groups = table.groupby(keys, sort=False) if keys else [((), table)]
    found: dict[FieldAddress, FieldReference] = {}
    unused: list[str] = []
    for words, rows in groups if len(table) else ():
        line = dict(zip(keys, map(str, words), strict=True))
        reference = _read_times(rows, sheet)
        meant = _fields_of(line, rows.index[0], wells, sheet)
        if twice := [each.path for each in meant if each in found]:
            raise SettingsError(
                f"{sheet.path}: line {rows.index[0]}: {some(twice)} is given twice"
            )
        found |= dict.fromkeys(meant, reference)
        if not meant:
            unused += [_named(number, line.values()) for number in rows.index]
    if not found:
        first = " ".join(table[keys].iloc[0]) if len(table) else "nothing"
        raise SettingsError(
            f"{sheet.path} has no field of this plate; its {', '.join(keys)} read "
            f"{first}, and the plate has {some(each.path for each in fields)}"
        )
    _tell(sheet, len(table), unused, "lines name no field of this plate")
    return found


def _fields_of(
    line: Mapping[str, str], number: int, wells: Wells, sheet: Sheet
) -> list[FieldAddress]:
    try:
        keys = find_wells(line, wells)
    except SettingsError as error:
        raise SettingsError(f"{sheet.path}: line {number}: {error}") from error
    meant = [address for key in keys for address in wells[key]]
    if "field" not in line:
        return meant
    field = line["field"]
    alike = [a for a in meant if plain_number(a.field) == plain_number(field)]
    return [address for address in alike if address.field == field] or alike


def _read_words(kind: str, rest: str) -> Reference:
    try:
        values = [float(value) for value in rest.split(",")]
    except ValueError as error:
        raise SettingsError(f"{kind}:{rest} holds more than numbers") from error
    expected = {"angle": len(values) == 1, "point": len(values) == 2}
    if not expected.get(kind, len(values) >= 4 and len(values) % 2 == 0):
        raise SettingsError(
            "a reference reads angle:DEGREES, point:Y,X or line:Y,X,Y,X..., got "
            f"{kind}:{rest}"
        )
    if kind == "angle":
        return Reference(angle_deg=values[0])
    return Reference(line=tuple(zip(values[::2], values[1::2], strict=True)))


def _read_times(rows: pd.DataFrame, sheet: Sheet) -> FieldReference:
    """Return the reference that lines give, by time point if they say which."""
    if "t" not in rows:
        return _read_rows(rows, sheet)
    by_time: dict[int, Reference] = {}
    for word, lines in rows.groupby(rows["t"].map(plain_number), sort=False):
        if not str(word).isdecimal():
            raise SettingsError(
                f"{sheet.path}: line {lines.index[0]}: t must be the number of a time "
                f"point, from 0, got {word!r}"
            )
        by_time[int(str(word))] = _read_rows(lines, sheet)
    return by_time


def _read_rows(rows: pd.DataFrame, sheet: Sheet) -> Reference:
    points = [name for name in ("y", "x") if name in rows]
    if "angle_deg" in rows and (not points or any(rows["angle_deg"])):
        if points and rows[points].to_numpy().any():
            raise SettingsError(
                f"{sheet.path}: line {rows.index[0]}: expected either angle_deg or y "
                "and x of a field, got both"
            )
        if len(rows) != 1:
            raise SettingsError(
                f"{sheet.path}: line {rows.index[1]}: {len(rows)} angles for one field"
            )
        ((angle,),) = sheet.numbers(rows, ["angle_deg"])
        return Reference(angle_deg=angle)
    return Reference(line=tuple((y, x) for y, x in sheet.numbers(rows, ["y", "x"])))


def read_plate_map(path: str | None, wells: list[FieldAddress]) -> pd.DataFrame:
    """Read what each well holds.

    The CSV has ``well`` (B03, or A01-A03 for several) or ``row`` and ``column``, and
    any of condition, gene and replicate; None gives a table without rows. `wells` are
    one address of each well of the plate, and the answer has their spelling. Its
    columns are row, column, condition, gene, replicate, all text. A column ``dose``, or
    ``dose_um`` with a unit, holds numbers of 0 or more; the answer then has dose too,
    NaN where the cell is empty, and dose_unit.

    Raises
    ------
    SettingsError
        The columns are missing, a well is given twice, no well is on the plate, or a
        dose is no number of 0 or more.

    Warns
    -----
    InputWarning
        Columns, lines or wells that are left out, words that are all but equal, and
        conditions whose wells have several doses.
    """
    if path is None:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in PLATE_MAP})
    sheet = _read(path, "plate map", (*PLATE_MAP, "well"))
    table = sheet.table
    dosed = _check_map(sheet)
    doses = _read_doses(sheet, dosed)
    by_well = group_by_well(wells)
    found: dict[tuple[str, str], list[str]] = {}
    dose_of: dict[tuple[str, str], float] = {}
    unused: list[str] = []
    for number, line in zip(table.index, table.to_dict("records"), strict=True):
        place = {name: str(line[name]) for name in WELL if name in line}
        meant = _fields_of(place, number, by_well, sheet)
        if not meant:
            unused.append(_named(number, place.values()))
        for well in meant:
            key = (well.row, well.column)
            if key in found:
                raise SettingsError(
                    f"{path}: line {number}: well {well.well} given twice"
                )
            found[key] = [str(line.get(name, "")) for name in MEANINGS]
            dose_of[key] = doses.get(number, math.nan)
    if not found:
        raise SettingsError(
            f"{path} has no well of this plate; it has {some(unused) or 'no lines'}, "
            f"and the plate has {some(each.well for each in wells)}"
        )
    _tell(sheet, len(table), unused, "lines name no well of this plate")
    bare = [each.well for each in wells if (each.row, each.column) not in found]
    _tell(
        sheet, len(wells), bare, "wells of the plate have no line, and so no condition"
    )
    frame = pd.DataFrame(
        [(*key, *words) for key, words in found.items()],
        columns=list(PLATE_MAP),
        dtype=object,
    )
    _tell_odd_words(sheet, frame)
    if not dosed:
        return frame
    unit = dosed.removeprefix("dose").removeprefix("_")
    frame = frame.assign(dose=[dose_of[key] for key in found])
    _tell_doses(sheet, frame)
    return frame.assign(dose_unit=UNITS.get(unit, unit.replace("_", " ")))


def _read_doses(sheet: Sheet, name: str) -> dict[int, float]:
    """Return the dose of each line that has one."""
    if not name:
        return {}
    sheet.check_decimals([name])
    rows = sheet.table[sheet.table[name] != ""]
    found = dict(zip(rows.index, sheet.numbers(rows, [name]), strict=True))
    for line, (dose,) in found.items():
        if not 0 <= dose < math.inf:
            raise SettingsError(
                f"{sheet.path}: line {line}: a dose is a number of 0 or more, got "
                f"{rows.loc[line, name]!r}; leave the cell empty where there is none"
            )
    return {line: dose for line, (dose,) in found.items()}


def _tell_doses(sheet: Sheet, frame: pd.DataFrame) -> None:
    """Warn of wells without a dose, and say what doses are not used for."""
    wells = frame["row"] + frame["column"]
    _tell(sheet, len(frame), list(wells[frame["dose"].isna()]), "wells have no dose")
    n_doses = frame.groupby("condition", sort=False)["dose"].nunique()
    several = n_doses.index[n_doses > 1]
    _tell(
        sheet,
        len(n_doses),
        [word or "(no condition)" for word in several],
        "conditions hold several doses, which only the dose response tells apart: "
        "tables and tests of conditions take their wells together",
    )


def _check_map(sheet: Sheet) -> str:
    """Return the name of the column of doses; empty: there is none."""
    table = sheet.table
    if "well" not in table and not {"row", "column"} <= set(table):
        raise SettingsError(
            f"{sheet.path}: expected the column well, or row and column; it has "
            f"{list(table)}"
        )
    dosed = [name for name in sheet.names if DOSE_COLUMN.fullmatch(name)]
    if len(dosed) > 1:
        raise SettingsError(
            f"{sheet.path}: {len(dosed)} columns of doses, {some(dosed)}; keep one"
        )
    known = {*PLATE_MAP, "well", *dosed}
    further = [name for name in sheet.names if name not in known]
    meanings = ", ".join([*MEANINGS, "dose"])
    if not {*MEANINGS, *dosed} & set(table):
        raise SettingsError(
            f"{sheet.path}: expected any of the columns {meanings}; it has "
            f"{list(table)}"
        )
    plates = sorted(set(table["plate"])) if "plate" in table else []
    if len(plates) > 1:
        raise SettingsError(
            f"{sheet.path}: the column plate names {len(plates)} plates, "
            f"{some(plates)}; keep the lines of this one"
        )
    _tell(
        sheet,
        len(sheet.names),
        further,
        f"columns are not read, as they are none of {meanings}",
    )
    return dosed[0] if dosed else ""


def _tell_odd_words(sheet: Sheet, frame: pd.DataFrame) -> None:
    """Warn of empty words, and of such that are kept apart but may mean the same."""
    wells = frame["row"] + frame["column"]
    for name in MEANINGS:
        bare = wells[frame[name] == ""]
        if len(bare) < len(frame):
            _tell(sheet, len(frame), list(bare), f"wells of the map have no {name}")
        alike: dict[str, list[str]] = defaultdict(list)
        for word in frame[name].unique():
            alike[_folded(word)].append(word)
        near = [" and ".join(map(repr, each)) for each in alike.values() if each[1:]]
        if near:
            sheet.warn(f"of {name}, {some(near)} are taken as different words")


def _folded(word: str) -> str:
    """Return a word without case, and without what joins its parts."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return plain_number(re.sub(r"(?<=\w)[\s_-]+(?=\w)", "", folded))
