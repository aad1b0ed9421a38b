"""A user's tables: where "toward" is in each field, and what each well holds.

CSV files and short words come in, checked values go out. Nothing here knows images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import StringIO
from pathlib import Path

import pandas as pd

from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.kernels.references import Reference
from deepspot_scale.vocabulary import FieldAddress, same_well

References = Callable[[FieldAddress], Reference | None]
PLATE_MAP = ("row", "column", "condition", "gene", "replicate")
REFERENCES = ("row", "column", "field", "y", "x", "angle_deg")


def _read_csv(path: str, what: str) -> pd.DataFrame:
    if not Path(path).is_file():
        raise SettingsError(f"{what}: no file {path}")
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines(keepends=True)
        # Not pandas' comments, which end a line at "siRNA #1" too.
        text = "".join(line for line in lines if not line.startswith("#"))
        table = pd.read_csv(StringIO(text), dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise SettingsError(f"{what}: {path} is no CSV table: {error}") from error
    table.columns = [str(name).strip().lower() for name in table.columns]
    return table


def _refuse_slips(table: pd.DataFrame, known: tuple[str, ...], path: str) -> None:
    """Raise an error for a column that resembles a known one; others are not read."""
    for name in sorted(map(str, set(table) - set(known))):
        near = did_you_mean(name, set(known) - set(table)) if len(name) > 3 else ""
        if near:
            raise SettingsError(f"{path}: the column {name!r} is not known.{near}")


def _numbers(table: pd.DataFrame, columns: list[str], path: str) -> pd.DataFrame:
    try:
        return table[columns].astype(float)
    except ValueError as error:
        raise SettingsError(f"{path}: {columns} must be numbers: {error}") from error


def read_references(text: str | None, fields: Iterable[FieldAddress]) -> References:
    """Read where "toward" is.

    Parameters
    ----------
    text
        ``angle:90`` (degrees counter-clockwise from +x as seen on the screen),
        ``point:Y,X`` (pixels), ``line:Y,X,Y,X...``, the path of a CSV, or None. The CSV
        has the columns row, column, field (if one is left out, a line applies to all)
        and either angle_deg, or y and x: one row for a field is a point, several rows
        are the corners of a line.
    fields
        The fields of the plate. Rows of other fields are ignored.

    Returns
    -------
    callable
        Gives the reference of a field, None where there is none.

    Raises
    ------
    SettingsError
        The text or table cannot be read as such, or has no field of the plate.
    """
    if text is None:
        return lambda _: None
    kind, _, rest = text.partition(":")
    if kind in {"angle", "point", "line"}:
        fixed = _read_words(kind, rest)
        return lambda _: fixed
    table = _read_csv(text, "reference")
    _refuse_slips(table, REFERENCES, text)
    keys = [key for key in ("row", "column", "field") if key in table]
    groups = table.groupby(keys, sort=False) if keys else [((), table)]
    known: dict[tuple[str, ...], Reference] = {}
    for key, rows in groups:
        place = _place(dict(zip(keys, map(str, key), strict=True)))
        if place in known:
            raise SettingsError(f"{text}: {'/'.join(map(str, key))} is given twice")
        known[place] = _read_rows(rows, text)

    def of_field(address: FieldAddress) -> Reference | None:
        words = {"row": address.row, "column": address.column, "field": address.field}
        return known.get(_place({key: words[key] for key in keys}))

    if not any(of_field(address) for address in fields):
        raise SettingsError(
            f"{text} has no field of this plate; its {', '.join(keys)} read "
            f"{' '.join(next(iter(known), ()))}"
        )
    return of_field


def _place(words: dict[str, str]) -> tuple[str, ...]:
    """Return the same key for B, 3 and for b, 03, as spreadsheets write it."""
    alike = {
        "row": lambda word: word.upper(),
        "column": lambda word: word.lstrip("0") or word[-1:],
        "field": lambda word: word,
    }
    return tuple(alike[key](word.strip()) for key, word in words.items())


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


def _read_rows(rows: pd.DataFrame, path: str) -> Reference:
    if "angle_deg" in rows:
        if len(rows) != 1:
            raise SettingsError(f"{path}: {len(rows)} angles for one field")
        angle = _numbers(rows, ["angle_deg"], path).to_numpy().item()
        return Reference(angle_deg=angle)
    if not {"y", "x"} <= set(rows):
        raise SettingsError(
            f"{path}: expected the columns y and x, or angle_deg; has {list(rows)}"
        )
    corners = _numbers(rows, ["y", "x"], path).to_numpy()
    return Reference(line=tuple((float(y), float(x)) for y, x in corners))


def read_plate_map(path: str | None, wells: list[FieldAddress]) -> pd.DataFrame:
    """Read what each well holds.

    The CSV has ``well`` (B03) or ``row`` and ``column``, and any of condition, gene and
    replicate; None gives a table without rows. `wells` are one address of each well of
    the plate, and the answer has their spelling. Its columns are row, column,
    condition, gene, replicate, all text.

    Raises
    ------
    SettingsError
        The columns are missing, a well is given twice, or no well is on the plate.
    """
    if path is None:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in PLATE_MAP})
    table = _read_csv(path, "plate map")
    _refuse_slips(table, (*PLATE_MAP, "well"), path)
    if "well" not in table:
        if not {"row", "column"} <= set(table):
            raise SettingsError(
                f"{path}: expected the column well, or row and column; it has "
                f"{list(table)}"
            )
        table["well"] = table["row"] + "/" + table["column"]
    found = []
    for entry in table.to_dict("records"):
        known = [w for w in wells if same_well(str(entry["well"]), w)]
        texts = {name: str(entry.get(name, "")) for name in PLATE_MAP[2:]}
        found += [{"row": w.row, "column": w.column, **texts} for w in known]
    if not found:
        raise SettingsError(f"{path} has no well of this plate")
    frame = pd.DataFrame(found, columns=list(PLATE_MAP), dtype=object)
    twice = frame[frame.duplicated(["row", "column"])]
    if len(twice):
        well = twice.iloc[0]
        raise SettingsError(f"{path}: well {well['row']}{well['column']} given twice")
    return frame
