"""The README is short, and says in front what a newcomer needs.

That its examples run and its links lead somewhere is in test_pages.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
MOST_LINES = 160
"""Whatever is longer is a page of the site."""


@pytest.fixture(scope="module")
def text() -> str:
    if not README.is_file():
        pytest.skip("the installed package has no README beside it")
    return README.read_text(encoding="utf-8")


def test_the_readme_is_short(text: str) -> None:
    assert len(text.splitlines()) <= MOST_LINES


def test_the_readme_has_the_line_that_ci_pastes(text: str) -> None:
    assert len(re.findall(r"&& \.venv/bin/pytest\b", text)) == 1


def test_every_part_of_the_site_is_reached_from_the_readme(text: str) -> None:
    linked = set(re.findall(r"\(docs/([\w/]+)\.\w+\)", text))
    rooms = {page.partition("/")[0] for page in linked}
    assert {"tutorial", "howto", "reference", "explanation", "notebooks"} <= rooms
    assert {"index", "limits", "instruments"} <= linked
