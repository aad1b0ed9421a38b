"""Draws the stored rows as one picture: rates, small fields, growth.

A file of JSON lines comes in, a PNG file goes out. Nothing here measures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd


def read_rows(path: Path) -> pd.DataFrame:
    """Return the latest row of each measurement on each machine."""
    lines = path.read_text(encoding="utf-8").splitlines()
    table = pd.DataFrame([json.loads(line) for line in lines])
    table["machine"] = [f"{m['cores']} x {m['processor']}" for m in table["machine"]]
    engines = table.get("engine", pd.Series("", table.index)).fillna("")
    formats = engines.str.split().str.get(1)
    reduced = formats.notna() & (formats != "float32")
    table.loc[reduced, "what"] += ", " + formats[reduced]
    keys = ["machine", "benchmark", "what", "images"]
    return table.drop_duplicates(keys, keep="last")


def draw(path: Path, folder: Path) -> Path:
    """Draw the measurements that have rows to ``throughput.png``; return its path."""
    from matplotlib.figure import Figure

    table = read_rows(path)
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    rates, small, growth = figure.subplots(1, 3, width_ratios=(1.5, 1, 1))
    _rates(rates, table[table["benchmark"].isin(["engine", "endtoend", "peers"])])
    tiny = table["what"].str.startswith("64 px")
    _lines(small, table[(table["benchmark"] == "plumbing") & tiny], "images")
    small.set(xlabel="fields of 64 px, no network", ylabel="fields/s")
    small.set_ylim(0, 1.2 * small.get_ylim()[1])
    _lines(growth, table[table["benchmark"] == "growth"], "pixels", "seconds")
    growth.set(xlabel="pixels, no network", ylabel="seconds", yscale="log")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "throughput.png"
    figure.savefig(target, dpi=110)
    return target


def _rates(axes: Any, rows: pd.DataFrame) -> None:
    """Draw pixels per second of engines, of whole runs and of other methods."""
    rows = rows.sort_values(["benchmark", "mpx_per_s"])
    names = rows["benchmark"].str.cat(rows["what"], sep=": ")
    several = rows["machine"].nunique() > 1
    names = names + (", " + rows["machine"] if several else "")
    axes.barh(names, rows["mpx_per_s"], color="#0f7b8a")
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=6)
    axes.set(xlabel="Mpx/s")


def _lines(axes: Any, rows: pd.DataFrame, x: str, y: str = "images_per_s") -> None:
    """Draw a line for each machine and kind of plate."""
    kinds = rows["what"].str.replace(r"of \d+ px", "of any size", regex=True)
    for label, line in rows.sort_values(x).groupby(kinds):
        axes.plot(line[x], line[y], marker="o", label=label)
    axes.set_xscale("log")
    if kinds.nunique() > 1:
        axes.legend(fontsize=6)
