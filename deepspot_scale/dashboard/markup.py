"""Texts and numbers of the live page as HTML; every text is escaped.

Numbers of `RunState.snapshot` come in, HTML goes out. Nothing here draws, or knows how
the HTML is served.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import cycle
from typing import Any

from deepspot_scale.dashboard.state import Snapshot

STYLE = """
:host, .deepspot { font-family: system-ui, "Segoe UI", Roboto, sans-serif;
  color: #1f2933; font-size: 14px; line-height: 1.4; }
.bk-clearfix { display: block !important; width: 100%; }
h1 { font-size: 19px; font-weight: 600; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 13px; font-weight: 600; margin: 0 0 6px; color: #52606d; }
.head { display: flex; gap: 12px; align-items: center; }
.state { font-size: 12px; padding: 2px 10px; border-radius: 10px; color: #fff;
  background: #0f7b8a; }
.state.finished { background: #2f855a; } .state.stopped { background: #b45309; }
.bar { display: flex; height: 8px; border-radius: 4px; background: #e4e7eb;
  overflow: hidden; margin: 10px 0; }
.bar .done { background: #0f7b8a; } .bar .failed { background: #d64545; }
.cards { display: flex; flex-wrap: wrap; gap: 10px; }
.card { flex: 1 1 84px; background: #eef2f6; border-radius: 8px; padding: 6px 12px; }
.card b { display: block; font-size: 22px; font-weight: 600; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.card.bad b { color: #d64545; }
.card span, .note { color: #616e7c; font-size: 12px; }
table { border-collapse: collapse; width: 100%; font-size: 13px;
  font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 500; color: #616e7c;
  border-bottom: 1px solid #cbd2d9; }
th, td { padding: 3px 10px 3px 0; vertical-align: top; }
td:first-child { white-space: nowrap; }
td { border-bottom: 1px solid #eef1f4; overflow-wrap: anywhere; }
.n { text-align: right; white-space: nowrap; }
.stages { display: flex; height: 22px; border-radius: 4px; overflow: hidden;
  margin-bottom: 4px; background: #e4e7eb; }
.stages div { color: #fff; font-size: 12px; padding: 2px 0 0 6px; white-space: nowrap;
  overflow: hidden; box-sizing: border-box; }
"""
STAGE_COLOURS = ("#7b8794", "#0f7b8a", "#b7791f", "#6b46c1", "#2f855a", "#b83280")
"""Of the stages in their order, repeated if there are more."""
MAX_WORKERS = 32
"""Maximum rows of the table; Dask's own page shows all workers."""


def write_count(number: float | None) -> str:
    """Return a number for people: 12,345; 0.0123; a dash for None.

    Examples
    --------
    >>> write_count(12345), write_count(12.345), write_count(0.0123), write_count(None)
    ('12,345', '12.3', '0.0123', '-')
    """
    if number is None:
        return "-"
    if isinstance(number, int) or number >= 1000:
        return f"{number:,.0f}"
    return f"{number:.3g}" if number < 100 else f"{number:.0f}"


def write_time(seconds: float | None) -> str:
    """Return hours, minutes and seconds; a dash for None.

    Examples
    --------
    >>> write_time(59), write_time(3661), write_time(200_000), write_time(None)
    ('0:59', '1:01:01', '2 d 7:33:20', '-')
    """
    if seconds is None:
        return "-"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days} d {hour}:{minute:02d}:{second:02d}"
    return f"{hour}:{minute:02d}:{second:02d}" if hour else f"{minute}:{second:02d}"


def head(numbers: Snapshot) -> str:
    """Return the run's name, its state, a bar, and the main numbers."""
    total = max(numbers["total"], 1)
    done, failed = numbers["done"] / total, numbers["failed"] / total
    settled, n_cells = numbers["done"] + numbers["failed"], numbers["cells"]
    per_cell = numbers["spots"] / n_cells if n_cells else None
    cards = [
        _card("images_per_second", numbers["images_per_second"], "images/s now"),
        _card("images_per_second_mean", numbers["images_per_second_mean"], "mean"),
        _card("settled", f"{settled:,} / {numbers['total']:,}", "fields"),
        _card("failed", numbers["failed"], "failed", bad=numbers["failed"] > 0),
        _card("time_left", write_time(numbers["seconds_left"]), "left"),
        _card("time", write_time(numbers["seconds"]), "so far"),
        _card("spots", numbers["spots"], "spots"),
        _card("spots_per_cell", per_cell, "spots per cell"),
    ]
    if numbers["score"] is not None:
        low = numbers["low"]
        cards.append(_card("score", numbers["score"], "mean score"))
        cards.append(_card("low", low, "fields that score too low", bad=low > 0))
    state, run, before = escape(numbers["state"]), numbers["run"], numbers["before"]
    name = run.rstrip("/").rpartition("/")[2] or run
    note = f"{before:,} fields were finished by an earlier start" if before else ""
    return (
        f'<div class="head"><h1>{escape(name)}</h1>'
        f'<span class="state {state}">{state}</span>'
        f'<span class="note">{note}</span></div>'
        f'<div class="bar"><div class="done" style="width:{done:.2%}"></div>'
        f'<div class="failed" style="width:{failed:.2%}"></div></div>'
        f'<div class="cards">{"".join(cards)}</div>'
    )


def _card(name: str, value: Any, words: str, *, bad: bool = False) -> str:
    shown = value if isinstance(value, str) else write_count(value)
    kind = "card bad" if bad else "card"
    return (
        f'<div class="{kind}"><b data-number="{name}">{escape(shown)}</b>'
        f"<span>{words}</span></div>"
    )


def stages(numbers: Snapshot) -> str:
    """Return the share of each stage in the workers' time, as one bar."""
    seconds: dict[str, float] = numbers["stages"]
    total = sum(seconds.values())
    if not total:
        return '<h2>Time by stage</h2><p class="note">nothing measured yet</p>'
    parts = "".join(
        f'<div title="{escape(name)}: {spent / total:.1%}, {spent:.1f} s" '
        f'style="width:{spent / total:.2%};background:{colour}">'
        f"{escape(name) if spent > 0.08 * total else ''}</div>"
        for (name, spent), colour in zip(seconds.items(), cycle(STAGE_COLOURS))
    )
    images = max(numbers["images"], 1)
    spent_on = {name: spent / images for name, spent in seconds.items() if spent}
    words = ", ".join(f"{escape(name)} {each:.3g}" for name, each in spent_on.items())
    return (
        f'<h2>Time by stage</h2><div class="stages">{parts}</div>'
        f'<p class="note" style="margin:0">seconds per image: {words}</p>'
    )


def workers(numbers: Snapshot) -> str:
    """Return a table of workers, the fastest first."""
    lines = sorted(numbers["workers"], key=lambda w: -w["images_per_second"])
    shown = [
        (
            escape(line["worker"]),
            escape(line["device"]) or "-",
            write_count(line["images_per_second"]),
            write_count(line["images"]),
            write_count(line["failed"]),
            write_time(line["quiet_seconds"]),
        )
        for line in lines[:MAX_WORKERS]
    ]
    names = ("worker", "network on", "images/s", "images", "failed", "last field")
    more = f", the {MAX_WORKERS} fastest" if len(lines) > MAX_WORKERS else ""
    heading = f"<h2>{len(lines)} worker{'s' * (len(lines) != 1)}{more}</h2>"
    return heading + _table(names, shown, numbers_from=2)


def failures(numbers: Snapshot) -> str:
    """Return a table of the fields that failed most recently, with the reasons."""
    names, failed = ("field", "reason"), numbers["failures"]
    if not failed:
        return '<h2>Failed fields</h2><p class="note">none since this start</p>'
    lines = [[escape(line[name]) for name in names] for line in failed]
    return "<h2>Failed fields, latest first</h2>" + _table(names, lines, numbers_from=2)


def _table(
    names: Sequence[str], lines: Sequence[Sequence[str]], *, numbers_from: int
) -> str:
    """Return a table of escaped cells; columns from `numbers_from` are numbers."""

    def cells(tag: str, words: Sequence[str]) -> str:
        kinds = ["" if i < numbers_from else ' class="n"' for i in range(len(words))]
        pairs = zip(kinds, words, strict=True)
        return "".join(f"<{tag}{kind}>{word}</{tag}>" for kind, word in pairs)

    body = "".join(f"<tr>{cells('td', line)}</tr>" for line in lines)
    return f"<table><tr>{cells('th', names)}</tr>{body}</table>"


def plain_page(numbers: Snapshot | None, problem: str) -> str:
    """Return a whole page without figures that reloads itself every two seconds.

    None: no run has begun. `problem` says why the figures are missing.
    """
    parts = "<p>No run has begun.</p>"
    if numbers is not None:
        shown = (head, stages, workers, failures)
        parts = "".join(f"<section>{part(numbers)}</section>" for part in shown)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>DeepSpot</title>'
        '<meta http-equiv="refresh" content="2">'
        f"<style>{STYLE} section {{ margin: 16px; }}</style>"
        f'<body class="deepspot">{parts}<section class="note">Plain page, because '
        f"the figures could not be drawn: {escape(problem)}</section></body></html>"
    )
