"""The plate as links, and behind each well its fields: a run in, HTML out.

    A  [4.1] [3.9] [ - ]     a link for each well, coloured by its spots per cell
    B  [8.2] [8.0] [7.7]
       B01 drug · thumbnails · a line for each field: spots, cells, score, flags

Thumbnails are bounded in number and size, and so are lines, so that the page of a plate
of 384 wells can be mailed. What is left out is said. Nothing here measures a plate.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html import escape
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from deepspot_scale.errors import DeepspotError
from deepspot_scale.io.plate import Plate
from deepspot_scale.report.html import number
from deepspot_scale.report.thumbnails import EDGE, MIDDLE, draw_thumbnail
from deepspot_scale.runs.changed_fields import check_unchanged
from deepspot_scale.runs.manifest import rows_of
from deepspot_scale.runs.progress import Tell, counted
from deepspot_scale.runs.results import RunResults
from deepspot_scale.statistics.groups import FIELD, WELL, natural_order
from deepspot_scale.statistics.left_out import WHY_EMPTY, why_empty, without_empty
from deepspot_scale.vocabulary import DONE, OCCASION, FieldAddress
from deepspot_scale.words import plural

MOST_THUMBNAILS: Final = 400
"""Of a plate; with more wells not every well has one."""
MOST_OF_WELL: Final = 6
"""Most thumbnails of one well."""
MOST_LINES: Final = 6000
"""Most fields of a plate that have a line; each well has four at least."""
_THREADS: Final = 4


class _Value(NamedTuple):
    """What a well is coloured by."""

    column: str
    word: str


class _Pictures(NamedTuple):
    """Thumbnails by field, and why there are not more."""

    of_field: Mapping[FieldAddress, str]
    note: str


def plate_browser(
    run: RunResults,
    plate: Plate | None,
    flags: pd.DataFrame,
    tell: Tell | None = None,
) -> str:
    """Return the browser of a run's plate; empty: its images are on no plate.

    `plate` is the run's input, for thumbnails; None: there are none. `flags` come from
    `quality_flags.flag_fields`.
    """
    fields = run.fields[run.fields["row"] != ""]
    if fields.empty:
        return ""
    order = fields.sort_values(FIELD, key=_in_order, kind="stable")
    wells = order[WELL].drop_duplicates()
    pictures = _read_pictures(run, plate, order, tell)
    value, first = _choose_value(run), _first_lines(run)
    flagged = flags.groupby(FIELD)["flag"].agg(", ".join).to_dict()
    most = max(4, MOST_LINES // len(wells))
    sections, words = [], {}
    for names, own in order.groupby(WELL, sort=False):
        key = (str(names[0]), str(names[1]))
        lines = first[(first["row"] == key[0]) & (first["column"] == key[1])]
        words[key] = _describe(key, own, lines, value, flagged)
        sections.append(_section(key, own, lines, (pictures.of_field, flagged, most)))
    legend = (
        f"<p class='soft'>Choose a well. Colours and numbers: {escape(value.word)}, "
        f"{_no_colour(first)}; a red corner: a field with a flag. With the keyboard: "
        f"Tab to the plate, arrows, Enter, Escape. {pictures.note}</p>"
    )
    return (
        f"{legend}<div class='scroll' id='plate-browser'>"
        f"{_grid(wells, first, value, words, flagged)}</div>{''.join(sections)}"
    )


def _no_colour(first: pd.DataFrame) -> str:
    """Return what wells without a number look like."""
    kinds = " or ".join(word for word in WHY_EMPTY if (first["why"] == word).any())
    hatched = f"; grey and hatched: {kinds}, so that no image counts" if kinds else ""
    return f"white: none{hatched}"


def _in_order(names: pd.Series) -> pd.Series:
    return names.str.rjust(8) if names.name == "field" else natural_order(names)


def _choose_value(run: RunResults) -> _Value:
    channel = str(run.wells["channel"].iloc[0]) if len(run.wells) else ""
    if run.wells["spots_per_cell"].notna().any():
        return _Value("spots_per_cell", f"{channel}, mean spots per cell")
    return _Value("n_spots", f"{channel}, spots of the well")


def _first_lines(run: RunResults) -> pd.DataFrame:
    """Return the wells' summaries at the first occasion of each channel.

    The further column `why` is `left_out.why_empty`; spots and cells are NaN there.
    """
    keys = [*WELL, "channel"]
    known = without_empty(run.wells).assign(why=why_empty(run.wells))
    on_plate = known[known["row"] != ""]
    return on_plate.sort_values([*OCCASION], kind="stable").drop_duplicates(keys)


# -- thumbnails ------------------------------------------------------------------------


def _read_pictures(
    run: RunResults, plate: Plate | None, fields: pd.DataFrame, tell: Tell | None
) -> _Pictures:
    done = fields[fields["status"] == DONE]
    n_wells = len(done[WELL].drop_duplicates())
    if plate is None:
        return _Pictures({}, "The plate was not found, so there are no pictures.")
    if not n_wells:
        return _Pictures({}, "")
    each = int(np.clip(MOST_THUMBNAILS // n_wells, 1, MOST_OF_WELL))
    chosen = done.groupby(WELL, sort=False).head(each)
    chosen = chosen.iloc[:: -(-len(chosen) // MOST_THUMBNAILS)]
    addresses = [
        FieldAddress(*key) for key in chosen[FIELD].itertuples(index=False, name=None)
    ]
    own = replace(run, fields=rows_of(run.fields, set(addresses)))
    try:
        check_unchanged(own, plate)
    except DeepspotError as error:
        return _Pictures({}, f"No pictures: {escape(str(error))}.")
    with ThreadPoolExecutor(_THREADS) as pool:
        drawn = pool.map(lambda a: _draw(run, plate, a), addresses)
        pairs = zip(addresses, drawn, strict=True)
        found = dict(counted(pairs, "pictures", len(addresses), tell))
    shown = {address: text for address, text in found.items() if text}
    note = (
        f"{plural(len(shown), 'picture')} of {plural(len(done), 'field')}, at most "
        f"{EDGE} px wide, each on its own grey scale; of stacks the middle plane, of "
        f"fields above {MIDDLE} px their middle."
    )
    if lost := len(found) - len(shown):
        note += f" {plural(lost, 'picture')} could not be read."
    return _Pictures(shown, note)


def _draw(run: RunResults, plate: Plate, address: FieldAddress) -> str:
    try:
        return draw_thumbnail(plate.open(address.path), run.settings.channels[0])
    except DeepspotError:  # counted by the caller
        return ""


# -- the plate -------------------------------------------------------------------------


def _grid(
    wells: pd.DataFrame,
    first: pd.DataFrame,
    value: _Value,
    words: Mapping[Any, str],
    flagged: Mapping[Any, str],
) -> str:
    wells_now = first.drop_duplicates(WELL).set_index(WELL)
    values, why = wells_now[value.column].to_dict(), wells_now["why"].to_dict()
    most = max((v for v in values.values() if np.isfinite(v)), default=0.0) or 1.0
    warned = {key[:2] for key in flagged}
    rows = list(dict.fromkeys(wells.sort_values("row", key=natural_order)["row"]))
    names = wells.sort_values("column", key=natural_order)["column"]
    columns, there = list(dict.fromkeys(names)), set(map(tuple, wells.to_numpy()))
    head = "".join(f"<th scope='col'>{escape(column)}</th>" for column in columns)
    body = []
    for row in rows:
        cells = []
        for column in columns:
            key = (row, column)
            if key not in there:
                cells.append("<td></td>")
                continue
            v = float(values.get(key, np.nan))
            marks = ["flagged"] * (key in warned) + ["empty"] * bool(why.get(key))
            mark = f" class='{' '.join(marks)}'" if marks else ""
            cells.append(
                f"<td{mark}><a href='#{_anchor(key)}' style='{_colours(v, most)}' "
                f"aria-label='{words[key]}' title='{words[key]}'>{_short(v)}</a></td>"
            )
        body.append(f"<tr><th scope='row'>{escape(row)}</th>{''.join(cells)}</tr>")
    return (
        f"<table class='plate' aria-label='Plate, {plural(len(wells), 'well')}'>"
        f"<tr><td class='corner'></td>{head}</tr>{''.join(body)}</table>"
    )


def _anchor(key: tuple[str, str]) -> str:
    return escape(f"well-{key[0]}{key[1]}", quote=True)


def _colours(value: float, most: float) -> str:
    import matplotlib as mpl
    from matplotlib.colors import to_hex

    if np.isnan(value):
        return ""
    share = value / most
    ink = "#000" if share > 0.55 else "#fff"
    return f"background:{to_hex(mpl.colormaps['viridis'](share))};color:{ink}"


def _short(value: float) -> str:
    if np.isnan(value):
        return "-"
    if value >= 10000:
        return f"{value / 1000:.0f}k"
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}"


def _describe(
    key: tuple[str, str],
    own: pd.DataFrame,
    lines: pd.DataFrame,
    value: _Value,
    flagged: Mapping[Any, str],
) -> str:
    """Return what a well is in one line, for its link."""
    parts = ["".join(key), *_meaning(lines)]
    if len(lines) and lines["why"].iloc[0]:
        parts.append(_no_numbers(lines.iloc[0]))
    elif len(lines):
        known = number(float(lines[value.column].iloc[0]))
        parts.append(f"{known} {value.word.rpartition(', ')[2]}")
    parts.append(plural(len(own), "field"))
    n = sum(tuple(address) in flagged for address in own[FIELD].to_numpy())
    parts += [f"{plural(n, 'field')} with flags"] if n else []
    return escape(", ".join(parts), quote=True)


def _no_numbers(line: pd.Series) -> str:
    """Return in words why a well has no numbers."""
    if line["why"] == "failed":
        return "no numbers: its fields failed"
    images = plural(int(line["n_left_out"]), "image")
    return f"left out: {images} scored too low, none counts"


def _meaning(lines: pd.DataFrame) -> list[str]:
    """Return what the plate map says of a well."""
    if lines.empty:
        return []
    line = lines.iloc[0]
    words = [str(line[name]) for name in ("condition", "gene", "replicate")]
    if pd.notna(line["dose"]):
        words.append(f"dose {line['dose']:g} {line['dose_unit']}".strip())
    return [word for word in words if word]


# -- a well ----------------------------------------------------------------------------


def _section(
    key: tuple[str, str],
    own: pd.DataFrame,
    lines: pd.DataFrame,
    shown: tuple[Mapping[FieldAddress, str], Mapping[Any, str], int],
) -> str:
    pictures, flagged, most = shown
    name = escape("".join(key))
    meaning = escape(" · ".join(_meaning(lines)))
    facts = "".join(f"<li>{_channel_facts(line)}</li>" for _, line in lines.iterrows())
    addresses = [FieldAddress(*map(str, each)) for each in own[FIELD].to_numpy()]
    images = "".join(
        f"<figure><img src='{pictures[each]}' alt='field {escape(each.field)} of "
        f"{name}'><figcaption>{escape(each.field)}</figcaption></figure>"
        for each in addresses
        if each in pictures
    )
    left = len(own) - most
    more = plural(left, "more field")
    note = f"<p class='soft'>{more} in the tables.</p>" * (left > 0)
    return (
        f"<section class='well' id='{_anchor(key)}' tabindex='-1' "
        f"aria-label='Well {name}'><h3>{name} <span class='soft'>{meaning}</span></h3>"
        f"<ul>{facts}</ul><div class='thumbs'>{images}</div>"
        f"{_field_table(own.head(most), flagged)}{note}"
        f"<p><a href='#plate-browser'>Back to the plate</a></p></section>"
    )


def _channel_facts(line: pd.Series) -> str:
    name = f"<b>{escape(str(line['channel']))}</b>"
    if line["why"]:
        return f"{name}: {_no_numbers(line)}"
    parts = [f"{name}: {plural(int(line['n_spots']), 'spot')}"]
    if line["n_cells"]:
        parts.append(plural(int(line["n_cells"]), "cell"))
        parts.append(f"{number(float(line['spots_per_cell']))} spots per cell")
    if pd.notna(line["polarity_corrected"]):
        parts.append(f"polarity {number(float(line['polarity_corrected']))} over null")
    return ", ".join(parts)


def _field_table(own: pd.DataFrame, flagged: Mapping[Any, str]) -> str:
    scored = "score" in own and bool(own["score"].notna().any())
    head = "<th>field</th><th class='number'>spots</th><th class='number'>cells</th>"
    head += "<th class='number'>score</th>" * scored + "<th>flags</th>"
    lines = []
    for line in own.to_dict("records"):
        done = line["status"] == DONE
        numbers = [f"{line[n]:,}" if done else "-" for n in ("n_spots", "n_cells")]
        numbers += [number(float(line["score"]))] if scored else []
        key = tuple(line[name] for name in FIELD)
        words = flagged.get(key, "" if done else str(line["status"]))
        cells = "".join(f"<td class='number'>{n}</td>" for n in numbers)
        lines.append(
            f"<tr><td>{escape(str(line['field']))}</td>{cells}"
            f"<td>{escape(words)}</td></tr>"
        )
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"
