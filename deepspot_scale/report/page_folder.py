"""Writes the page and the files beside it: whole, and nobody else's are deleted.

    RUN/report.html                 replaced once it is complete
    RUN/report/NAME.svg NAME.csv    figures and their numbers
    RUN/report/files.json           names of these files, all written by a report

Texts come in. Nothing here knows what they say.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

import pandas as pd

from deepspot_scale.io.tables import Folder
from deepspot_scale.report import html
from deepspot_scale.tables import guard_words

FOLDER: Final = "report"
"""Folder of figures and numbers, beside the page."""
_LIST: Final = f"{FOLDER}/files.json"


@dataclass(frozen=True)
class PageFiles:
    """Figures and numbers beside a page, kept until the page is complete."""

    texts: dict[str, str] = field(default_factory=dict)
    """By name below `FOLDER`."""

    def figure(self, plot: html.Plot) -> str:
        """Keep a figure and its numbers; return its HTML."""
        svg = html.svg_text(plot.figure)
        self.texts[f"{plot.name}.svg"] = svg
        self.texts[f"{plot.name}.csv"] = guard_words(plot.numbers).to_csv(index=False)
        return html.figure_html(plot, svg, FOLDER)

    def table(self, name: str, whole: pd.DataFrame, shown: pd.DataFrame) -> str:
        """Keep the whole of a table; return the HTML of what is shown."""
        self.texts[f"{name}.csv"] = guard_words(whole).to_csv(index=False)
        return html.table(shown, file=f"{FOLDER}/{name}.csv")

    def write(self, folder: Folder, name: str, page: str) -> None:
        """Write files and page, then remove the files of an earlier page.

        The list has every name before its file is written, so that nothing a report
        wrote is ever unknown to the next one.
        """
        earlier = _listed(folder)
        _write_list(folder, earlier | set(self.texts))
        for file, text in self.texts.items():
            folder.write(f"{FOLDER}/{file}", text.encode())
        folder.write(name, page.encode())
        for file in earlier - set(self.texts):
            folder.remove(f"{FOLDER}/{file}")
        _write_list(folder, set(self.texts))


def _listed(folder: Folder) -> set[str]:
    """Return the files of an earlier page that lie in the folder itself."""
    if not folder.exists(_LIST):
        return set()
    names = json.loads(folder.read(_LIST))
    return {name for name in names if re.fullmatch(r"[^/\\]+\.(svg|csv)", name)}


def _write_list(folder: Folder, names: set[str]) -> None:
    folder.write(_LIST, json.dumps(sorted(names), indent=1).encode())
