"""The rows that were kept, drawn: rates of each benchmark, growth and scaling.

A file of JSON lines comes in, PNG files go out. Nothing here measures.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd


def read_rows(path: Path) -> pd.DataFrame:
    """Return the latest row of each measurement on each machine."""
    lines = path.read_text(encoding="utf-8").splitlines()
    table = pd.DataFrame([json.loads(line) for line in lines])
    table["machine"] = [f"{m['processor']} x {m['cores']}" for m in table["machine"]]
    keys = ["machine", "benchmark", "what", "images"]
    return table.drop_duplicates(keys, keep="last")


def draw(path: Path, folder: Path) -> list[Path]:
    """Draw what there are rows for; return the files."""
    table = read_rows(path)
    kinds = {
        "plumbing": ("images", "images_per_s", "fields/s without network"),
        "growth": ("pixels", "seconds", "seconds of a run"),
        "scaling": ("workers", "efficiency", "efficiency, 1 s a field"),
    }
    made = []
    for name, (x, y, title) in kinds.items():
        rows = table[table["benchmark"] == name]
        if len(rows):
            made.append(_lines(rows, x, y, title, folder / f"throughput-{name}.png"))
    return made


def _lines(rows: pd.DataFrame, x: str, y: str, title: str, target: Path) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    labels = (
        rows["machine"]
        + ", "
        + rows["what"].str.replace(r"\d+ workers", "", regex=True)
    )
    for label, line in rows.sort_values(x).groupby(labels):
        axes.plot(line[x], line[y], marker="o", label=label)
    axes.set(xlabel=x, ylabel=title, xscale="log", ylim=(0, None))
    axes.legend(fontsize=6)
    figure.savefig(target, dpi=120)
    return target
