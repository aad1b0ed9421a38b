"""Pieces of the report's page: values, tables and figures in, HTML text out.

Any text may come from a user, so it is escaped here. Nothing here knows runs,
statistics or files.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from html import escape
from typing import TYPE_CHECKING, Final, NamedTuple

import pandas as pd

from deepspot_scale.vocabulary import OCCASION
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_LINES: Final = 200
"""Most lines of a table on the page; the CSV holds all of them."""
_STYLE: Final = """
:root{color-scheme:light;--ink:#1f2937;--soft:#596273;--line:#e5e7eb}
*{box-sizing:border-box}
body{margin:0 auto;max-width:66rem;padding:2.2rem 1.5rem 4rem;color:var(--ink);
 background:#fff;font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.8rem;margin:0 0 .2rem;font-weight:650}
h2{font-size:1.25rem;margin:2.4rem 0 .6rem;padding-top:1.1rem;font-weight:650;
 border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .3rem;font-weight:650}
p{margin:.5rem 0;max-width:50rem}.soft,figcaption{color:var(--soft);font-size:.9rem}
figcaption{max-width:50rem}
ul{margin:.6rem 0;padding-left:1.2rem;max-width:50rem}li{margin:.35rem 0}
a{color:#0072B2}nav{font-size:.9rem;margin:.8rem 0}nav a{margin-right:1rem}
figure{margin:.6rem 0 1.2rem;break-inside:avoid}
figure img{max-width:100%;height:auto;display:block}
.side{display:flex;flex-wrap:wrap;gap:0 1.5rem}.side figure{flex:0 1 auto}
.big{display:flex;flex-wrap:wrap;gap:.8rem 2.6rem;margin:1rem 0}
.big div{font-size:.88rem;color:var(--soft)}
.big b{display:block;font-size:1.65rem;line-height:1.2;color:var(--ink);
 font-weight:650;font-variant-numeric:tabular-nums}
.overlay{width:100%;height:auto;display:block}
.note{border-left:4px solid #D55E00;padding:.3rem .9rem;background:#fdf3ec}
.scroll{overflow-x:auto}#plate-browser{padding:.3rem}
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.32rem .8rem .32rem 0;vertical-align:top;
 border-bottom:1px solid var(--line)}
th{font-weight:600}td.number,th.number{text-align:right;white-space:nowrap}
.facts th{white-space:nowrap}
details{margin:.8rem 0}summary{cursor:pointer;color:var(--soft)}
.key{font-weight:700}
a:focus-visible,summary:focus-visible{outline:3px solid #D55E00;outline-offset:2px}
.plate{border-spacing:2px;border-collapse:separate;font-size:.72rem}
.plate th,.plate td{padding:0;border:0;text-align:center;min-width:2.1rem}
.plate th{font-weight:400;color:var(--soft)}.plate td{position:relative}
.plate a{display:block;padding:.28rem 0;text-decoration:none;color:var(--ink);
 border-radius:3px;border:1px solid var(--line)}
.plate .flagged::after{content:"";position:absolute;right:1px;top:1px;
 border:.22rem solid;border-color:#D55E00 #D55E00 transparent transparent;
 pointer-events:none}
.plate .empty a{
 background:repeating-linear-gradient(45deg,#f3f4f6 0 3px,#d1d5db 3px 5px)}
.plate a[aria-current]{outline:3px solid #1f2937;outline-offset:1px}
.plate a:focus-visible{outline:3px solid #D55E00;outline-offset:1px;position:relative;
 z-index:1}
.well{display:none;border:1px solid var(--line);border-radius:6px;margin:.8rem 0;
 padding:.4rem 1rem 1rem}.well:target{display:block}.well:focus{outline:none}
.well:focus-visible{outline:3px solid #D55E00}
.thumbs{display:flex;flex-wrap:wrap;gap:.3rem 1rem}.thumbs figure{margin:.3rem 0}
@page{margin:14mm}
@media print{body{max-width:none;padding:0;font-size:10.5pt}nav,.files{display:none}
 .well{display:none!important}
 h2{break-after:avoid}.scroll{overflow:visible}table{font-size:7.6pt}
 th,td{padding-right:.45rem}tr{break-inside:avoid}.side figure{max-width:47%}
 *{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
_ICON: Final = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""A script is added by its hash: no other one runs, whatever words a user gave."""


class Plot(NamedTuple):
    """One figure of the report and what it shows."""

    name: str
    """Name of its files, without the ending."""
    figure: Figure
    numbers: pd.DataFrame
    """What is drawn, one line for each mark."""
    title: str
    """What it shows, in plain text; also read aloud to readers who cannot see it."""
    caption: str = ""
    """How to read it, HTML."""


def page(title: str, body: str, script: str = "") -> str:
    """Return a whole page; `body` is HTML, and the browser is told to load nothing.

    `script` is a constant of ours, the only script that the page may run.
    """
    policy = _POLICY
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
        body += f"<script>{script}</script>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="{_ICON}">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>{body}</body></html>\n"
    )


def svg_text(figure: Figure) -> str:
    """Return a figure as SVG with text as text; equal figures give equal SVG."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    return buffer.getvalue()


def figure_html(plot: Plot, svg: str, folder: str) -> str:
    """Return a figure with its caption and the links to its files in `folder`."""
    data = base64.b64encode(svg.encode()).decode()
    width = round(plot.figure.get_figwidth() * 96)
    files = " · ".join(
        f'<a href="{folder}/{plot.name}.{end}">{end.upper()}</a>'
        for end in ("svg", "csv")
    )
    return (
        f'<figure id="{plot.name}"><img width="{width}" alt="{escape(plot.title)}" '
        f'src="data:image/svg+xml;base64,{data}"><figcaption>{plot.caption} '
        f'<span class="files">{files}</span></figcaption></figure>'
    )


def table(frame: pd.DataFrame, *, file: str = "") -> str:
    """Return an HTML table; a long one is cut, and says how many lines are left out.

    Columns become headings: ``n_spots`` becomes "spots". `file` is the path of the CSV
    with all lines, relative to the page; empty: there is none.
    """
    kinds = [
        ' class="number"' if pd.api.types.is_numeric_dtype(frame[c]) else ""
        for c in frame
    ]
    names = zip(kinds, frame.columns, strict=True)
    headings = [(k, str(c).removeprefix("n_").replace("_", " ")) for k, c in names]
    head = "".join(f"<th{k}>{escape(heading)}</th>" for k, heading in headings)
    lines = []
    for line in frame.head(MAX_LINES).itertuples(index=False):
        cells = zip(kinds, line, strict=True)
        lines.append("".join(f"<td{k}>{escape(number(v))}</td>" for k, v in cells))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    left = len(frame) - len(lines)
    notes = [f"{plural(left, 'more line')} in the file."] if left > 0 else []
    notes += [f'<a class="files" href="{file}">CSV</a>'] if file else []
    below = f"<p class='soft'>{' '.join(notes)}</p>" if notes else ""
    return f"<div class='scroll'><table><tr>{head}</tr>{body}</table></div>{below}"


def facts_table(facts: list[tuple[str, str]]) -> str:
    """Return a table of names and values."""
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in facts
    )
    return f"<div class='scroll'><table class='facts'>{lines}</table></div>"


def big_numbers(numbers: list[tuple[str, str]]) -> str:
    """Return the most important numbers, each with its word, as HTML."""
    parts = (f"<div><b>{escape(n)}</b>{escape(word)}</div>" for n, word in numbers)
    return f"<div class='big'>{''.join(parts)}</div>"


def number(value: object) -> str:
    """Write a value for people: three decimals at most, - for NaN or None."""
    if value is None or value is pd.NA:
        return "-"
    if isinstance(value, float):
        if math.isnan(value):
            return "-"
        if 0 < abs(value) < 0.001:
            return f"{value:.1g}"
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_count else str(value)


def probability(p: float, least: float = 0.0) -> str:
    """Write a p value after = , or after ≤ if it is the smallest one possible."""
    if math.isnan(p):
        return "not known"
    return f"≤ {number(least)}" if p <= least else f"= {number(p)}"


def several_occasions(table: pd.DataFrame) -> list[str]:
    """Return the columns of `vocabulary.OCCASION` in which the lines differ."""
    return [name for name in OCCASION if table[name].nunique() > 1]


def occasions(table: pd.DataFrame) -> pd.Series:
    """Return when each line was measured, in words; empty where all lines agree."""
    lines = table[several_occasions(table)].to_dict("records")
    words = [" · ".join(f"{name} {n}" for name, n in line.items()) for line in lines]
    return pd.Series(words or "", index=table.index, dtype=object)


def without_lone(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the columns of occasions that say the same everywhere."""
    return table.drop(columns={*OCCASION} - {*several_occasions(table)})
