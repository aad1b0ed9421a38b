"""The report of a run: its folder in, one self-contained HTML file out.

Tables of the run become a summary in plain words, a plate heat map, polarity with
intervals and nulls, one field with its spots, and the failures. The page loads
nothing from elsewhere. Nothing here computes statistics or alters a value.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

import pandas as pd

from deepspot_scale.errors import DeepspotError, RunError
from deepspot_scale.io.plate import Plate
from deepspot_scale.report.figures import (
    BLUE,
    GREY,
    ORANGE,
    draw_plate,
    draw_polarity,
    figure_tag,
)
from deepspot_scale.report.picture import draw_field, typical_field
from deepspot_scale.vocabulary import CONDITIONS, DONE, FAILED, WELLS

_MAX_LINES: Final = 200
_ALPHA: Final = 0.05
_STYLE: Final = """
:root{color-scheme:light;--ink:#1f2937;--soft:#6b7280;--line:#e5e7eb}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:2.5rem 1.5rem 4rem;color:var(--ink);
 background:#fff;font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.7rem;margin:0 0 .2rem;font-weight:650}
h2{font-size:1.15rem;margin:2.6rem 0 .6rem;padding-top:1.2rem;font-weight:650;
 border-top:1px solid var(--line)}
p{margin:.5rem 0;max-width:48rem}.soft,figcaption{color:var(--soft);font-size:.9rem}
ul{margin:.6rem 0;padding-left:1.2rem;max-width:48rem}li{margin:.35rem 0}
.figure{max-width:100%;height:auto;display:block;margin:.6rem 0}
figure{margin:.6rem 0}
.overlay{width:100%;height:auto;display:block;background:#000;border-radius:6px}
#marks:not(:checked)~figure .marks{display:none}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.35rem .9rem .35rem 0;vertical-align:top;
 border-bottom:1px solid var(--line)}
th{font-weight:600;white-space:nowrap}td.number,th.number{text-align:right}
details{margin:.8rem 0}summary{cursor:pointer;color:var(--soft)}
.key{font-weight:700}
"""


def write_report(
    run_folder: str | os.PathLike[str], *, plate: Plate | None = None
) -> Path:
    """Write ``report.html`` into the folder of a run.

    Parameters
    ----------
    run_folder
        Folder with fields.parquet, wells.parquet, conditions.parquet; also read where
        they are: provenance.json, settings.toml, spots/.
    plate
        The run's input, for the picture of one field; None: no picture.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    RunError
        The folder lacks one of the three tables.
    """
    folder = Path(run_folder)
    fields, wells, conditions = (
        _read_table(folder, name) for name in ("fields", "wells", "conditions")
    )
    provenance = _read_json(folder / "provenance.json")
    sections = [
        _header(folder, fields),
        _summary(fields, wells, conditions),
        *_plate_sections(fields, wells),
        _polarity_section(conditions, wells),
        _picture_section(folder, fields, plate),
        _failures(fields),
        _facts(provenance),
    ]
    target = folder / "report.html"
    target.write_text(_page("".join(sections)), encoding="utf-8")
    return target


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise RunError(
            f"a report needs {name}.parquet in {folder}, which is not there; let the "
            "run finish first, or name its folder"
        )
    return pd.read_parquet(path)


def _read_json(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def _page(body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Spots and polarity</title><style>{_STYLE}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def _header(folder: Path, fields: pd.DataFrame) -> str:
    planes = int(fields.loc[fields["status"] == DONE, "n_planes"].sum())
    return (
        f"<h1>Spots and polarity</h1><p class='soft'>Run {escape(folder.name)}, "
        f"{_plural(planes, 'image')} processed.</p>"
    )


def _summary(
    fields: pd.DataFrame, wells: pd.DataFrame, conditions: pd.DataFrame
) -> str:
    items = "".join(
        f"<li>{line}</li>" for line in _sentences(fields, wells, conditions)
    )
    return f"<h2>In short</h2><ul>{items}</ul>"


def _sentences(
    fields: pd.DataFrame, wells: pd.DataFrame, conditions: pd.DataFrame
) -> Iterator[str]:
    """Say in words what the tables say; every word that a user gave is escaped."""
    n_done = int((fields["status"] == DONE).sum())
    yield f"{n_done:,} of {_plural(len(fields), 'field')} done."
    for channel, group in wells.groupby("channel", sort=False):
        n_spots, n_cells = int(group["n_spots"].sum()), int(group["n_cells"].sum())
        inside = float((group["spots_per_cell"] * group["n_cells"]).sum())
        text = f"{escape(str(channel))}: {_plural(n_spots, 'spot')}"
        if n_cells:
            text += f", and {_plural(n_cells, 'cell')} with {inside / n_cells:.3g} each"
        yield f"{text}."
    for _, line in conditions.iterrows():
        if line["n_cells"]:
            yield _polarity_sentence(line)


def _polarity_sentence(line: pd.Series) -> str:
    words = [line["condition"], line["gene"], line["channel"]]
    name = escape(" · ".join(filter(None, words)))
    if math.isnan(line["polarity_index"]):
        return (
            f"{name}: polarity can not be told, because fewer than two cells have "
            "both enough spots in their cytoplasm and a reference."
        )
    beyond_chance = line["p_value"] <= _ALPHA
    side = "towards" if line["polarity_corrected"] > 0 else "away from"
    verdict = (
        f"spots lie {side} the reference"
        if beyond_chance
        else "spots lie no more towards or away from the reference than chance allows"
    )
    return (
        f"{name}: {verdict} (index {_number(line['polarity_index'])}, 95 % interval "
        f"{_number(line['polarity_low'])} to {_number(line['polarity_high'])}; uniform "
        f"spots would give {_number(line['polarity_null'])}; "
        f"p = {_number(line['p_value'])}; {_plural(line['n_cells_used'], 'cell')})."
    )


def _plate_sections(fields: pd.DataFrame, wells: pd.DataFrame) -> Iterator[str]:
    on_plate = wells[wells["row"] != ""]
    if on_plate.empty:
        shown = fields[["field", "n_spots", "n_cells", "status"]]
        yield f"<h2>Images</h2>{_table(shown)}"
        return
    with_cells = bool(on_plate["spots_per_cell"].notna().any())
    title = "spots per cell" if with_cells else "spots per field"
    yield f"<h2>Plate: {title}</h2>"
    for channel, group in on_plate.groupby("channel", sort=False):
        per_field = group["n_spots"] / group["n_fields"].where(group["n_fields"] > 0)
        values = group["spots_per_cell"] if with_cells else per_field
        name = f"{channel}, {title}"
        yield figure_tag(draw_plate(group, values, name), f"Plate heat map of {name}")
    kept = [c.name for c in WELLS if not c.name.startswith(("polarity_", "p_"))]
    yield f"<details><summary>Wells</summary>{_table(wells[kept])}</details>"


def _polarity_section(conditions: pd.DataFrame, wells: pd.DataFrame) -> str:
    if not conditions["polarity_index"].notna().any():
        return ""
    key = (
        f"<p class='soft'><span class='key' style='color:{BLUE}'>●</span> index of the "
        "condition's pooled cells with its 95 % bootstrap interval, "
        f"<span class='key' style='color:{ORANGE}'>●</span> index of each well, "
        f"<span class='key' style='color:{GREY}'>◇</span> mean index of the same cells "
        "with their spots spread uniformly over the cytoplasm.</p>"
    )
    figure = figure_tag(draw_polarity(conditions, wells), "Polarity per condition")
    kept = ["channel", "condition", "gene", "n_wells", "n_cells_used"]
    kept += [c.name for c in CONDITIONS if c.name.startswith(("polarity_", "p_"))]
    return f"<h2>Polarity</h2>{figure}{key}{_table(conditions[kept])}"


def _picture_section(folder: Path, fields: pd.DataFrame, plate: Plate | None) -> str:
    address = typical_field(fields)
    if plate is None or address is None:
        return ""
    try:
        picture = draw_field(folder, plate.open(address.path))
    except DeepspotError as error:  # a report without its picture is still a report
        picture = f"<p>It can not be shown: {escape(str(error))}</p>"
    return (
        f"<h2>A typical field: {escape(address.path)}</h2>"
        '<input type="checkbox" id="marks" checked> '
        f'<label for="marks">show spots and cells</label>{picture}'
    )


def _failures(fields: pd.DataFrame) -> str:
    failed = fields[fields["status"] == FAILED]
    if failed.empty:
        return ""
    return (
        f"<h2>{_plural(len(failed), 'field')} failed</h2>"
        f"{_table(failed[['row', 'column', 'field', 'reason']])}"
    )


def _facts(provenance: Mapping[str, Any]) -> str:
    if not provenance:
        return ""
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in _flat(provenance)
    )
    return (
        "<h2>The run</h2><details><summary>Input, versions and settings</summary>"
        f"<div class='scroll'><table>{lines}</table></div></details>"
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield names and texts of nested values, `a.b` for b in a."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else str(value)


def _table(frame: pd.DataFrame) -> str:
    """Return an HTML table; of a long one the first lines and how many are left."""
    kinds = [
        ' class="number"' if pd.api.types.is_numeric_dtype(frame[c]) else ""
        for c in frame
    ]
    names = zip(kinds, frame.columns, strict=True)
    head = "".join(f"<th{k}>{escape(_title(c))}</th>" for k, c in names)
    lines = []
    for line in frame.head(_MAX_LINES).itertuples(index=False):
        cells = zip(kinds, line, strict=True)
        lines.append("".join(f"<td{k}>{escape(_number(v))}</td>" for k, v in cells))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    left = len(frame) - len(lines)
    more = f"<p class='soft'>{left:,} more in the run's tables.</p>" if left > 0 else ""
    return f"<div class='scroll'><table><tr>{head}</tr>{body}</table></div>{more}"


def _title(column: str) -> str:
    return column.removeprefix("n_").removeprefix("polarity_").replace("_", " ")


def _number(value: object) -> str:
    """Write a value for people: at most three digits behind the point, - for NaN."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.3f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else str(value)


def _plural(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"
