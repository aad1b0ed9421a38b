"""A run as a notebook shows it: compact, escaped, with the numbers of its tables."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deepspot_scale.runs.notebook_summary import MAX_LINES, summarise_html
from deepspot_scale.runs.results import RunResults, open_results, open_run


class Cells(HTMLParser):
    """Words of each cell of each table, and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: set[str] = set()
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag in {"th", "td"}:
            self.words.append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in {"th", "td"}

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.words[-1] += data


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> RunResults:
    folder = tmp_path_factory.mktemp("shown")
    scenes = {"B/03/0": draw_scene(0), "C/03/0": draw_scene(1)}
    plate = write_plate(folder / "PLATE.zarr", scenes, listed=("C/04/0",))
    table = {"well": ["B03", "C03"], "condition": ["<b>bold</b>", "plain"]}
    pd.DataFrame(table).to_csv(folder / "wells.csv", index=False)
    run_quickly(plate, folder / "RUN", plate_map=str(folder / "wells.csv"))
    return open_run(folder / "RUN")


def test_a_run_shows_its_counts_and_conditions(results: RunResults) -> None:
    cells = Cells(results._repr_html_())
    told = dict(zip(cells.words[::2], cells.words[1::2], strict=False))
    assert told["fields"] == "2 done, 1 failed"
    assert told["spots"] == str(len(results.read("spots")))
    assert told["cells"] == str(len(results.read("cells")))
    assert "conditions" in told["tables"].split(", ")
    per_cell = results.summaries["conditions"]["spots_per_cell"]
    assert {f"{value:.3g}" for value in per_cell.dropna()} <= set(cells.words)


def test_words_of_users_are_no_html(results: RunResults) -> None:
    cells = Cells(results._repr_html_())
    assert "<b>bold</b>" in cells.words
    assert cells.tags <= {"table", "tr", "th", "td"}


def test_a_run_that_has_not_ended_shows_what_is_done(
    results: RunResults, tmp_path: Path
) -> None:
    begun = Path(results.folder.url)
    for name in ("settings.toml", "provenance.json", "contents.json"):
        (tmp_path / name).write_bytes((begun / name).read_bytes())
    shown = open_results(str(tmp_path))._repr_html_()
    assert "0 done, 0 failed" in shown
    assert shown.count("<table>") == 1


def test_many_conditions_are_cut_and_counted(results: RunResults) -> None:
    one = results.summaries["conditions"].head(1)
    many = pd.concat([one] * (MAX_LINES + 5), ignore_index=True)
    shown = summarise_html({}, many)
    assert "and 5 more" in shown
    assert shown.count("<tr>") == MAX_LINES + 1
