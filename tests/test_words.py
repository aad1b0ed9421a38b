"""A count and its word agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deepspot_scale.runs.progress import Progress
from deepspot_scale.words import plural

PACKAGE = Path(__file__).parents[1] / "deepspot_scale"
SAID = ("cli", "report", "runs")
"""Rooms whose sentences people read."""
_COUNT = r"\{(?:len\([^}]*\)|n_\w+|\w+\.n_\w+)(?::,)?\}"
_COUNTED = re.compile(_COUNT + r" (?:fields|images|spots|cells|wells)\b")


@pytest.mark.parametrize(
    ("n", "words"),
    [(0, "0 fields"), (1, "1 field"), (2, "2 fields"), (1200, "1,200 fields")],
)
def test_a_word_agrees_with_its_count(n: int, words: str) -> None:
    assert plural(n, "field") == words


def test_what_a_run_says_of_chunks_agrees_with_their_count() -> None:
    assert Progress(3, 0, n_absent=1).absence.startswith("1 field has chunks")
    assert Progress(3, 0, n_absent=2).absence.startswith("2 fields have chunks")


def test_no_sentence_puts_an_s_behind_every_count() -> None:
    """A number that may be 1 stands before a word by `plural` alone."""
    found = [
        f"{path.name}: {line.strip()}"
        for room in SAID
        for path in sorted((PACKAGE / room).glob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if _COUNTED.search(line)
    ]
    assert not found
