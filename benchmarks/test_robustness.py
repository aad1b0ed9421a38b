"""The robustness benchmark on some inputs of each kind, and its own arithmetic."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.robustness.__main__ import all_cases, lines_of, row_of, try_all
from benchmarks.robustness.cases import (
    Answer,
    Case,
    Expected,
    refused,
    right,
    try_case,
    warned,
)
from deepspot_scale.errors import PlateError

CASES = all_cases()
PART = (
    "odd plates: pixels of >u2",
    "odd plates: shards of 48 with chunks of 24",
    "odd plates: named A/1/0.partial-1",
    "odd plates: a chunk cut short",
    "user tables: map: the range B01-B02",
    "user tables: map: the word 'NA'",
    "user tables: reference: an angle and points",
    "user tables: reference: by the word point:0,24",
    "stores and outputs: a ZIP URL, 0.5",
    "stores and outputs: a plate called 'a::b.zarr'",
    "stores and outputs: rows and columns 0:256x0:16 of shards of 256 and 16 px",
    "stores and outputs: detect to: a pipe",
    "hostile files: the path of a level is '..'",
    "hostile files: a chunk that is a pickle",
    "hostile files: a TIFF of 2^62 pixels",
)


def test_no_two_inputs_are_alike_and_there_are_many_of_each_kind() -> None:
    names = Counter(f"{case.kind}: {case.name}" for case in CASES)
    assert [name for name, n in names.items() if n > 1] == []
    kinds = Counter(case.kind for case in CASES)
    assert len(kinds) == 4
    assert min(kinds.values()) >= 50


@pytest.mark.parametrize("name", PART)
def test_what_comes_of_an_input_is_what_was_expected(name: str, tmp_path: Path) -> None:
    (case,) = (c for c in CASES if f"{c.kind}: {c.name}" == name)
    outcome = try_case(case, tmp_path / "input")
    assert outcome.as_expected, outcome.got
    assert not (tmp_path / "input").exists()


def _raise(error: Exception) -> Answer:
    raise error


@pytest.mark.parametrize(
    ("attempt", "expected", "good"),
    [
        (lambda _: Answer(3), right(3), True),
        (lambda _: Answer(4), right(3), False),
        (lambda _: Answer(3), warned(3, "two"), False),
        (lambda _: Answer(3, ("two left out",)), warned(3, "two"), True),
        (lambda _: Answer(3), refused("no"), False),
        (lambda _: Answer(None, ("no plate",)), refused("no"), True),
        (lambda _: Answer(None, ("no plate",)), right(3), False),
        (lambda _: _raise(PlateError("no plate")), refused("no"), True),
        (lambda _: _raise(PlateError("a plate")), refused("no"), False),
        (lambda _: _raise(ValueError("no plate")), refused("no"), False),
        (lambda _: _raise(PlateError("no")), Expected(3, refused="no"), True),
    ],
)
def test_an_outcome_is_judged_by_what_was_expected(
    tmp_path: Path, attempt: object, expected: Expected, good: bool
) -> None:
    case = Case("kind", "name", attempt, expected)  # type: ignore[arg-type]
    (outcome,) = outcomes = try_all([case])
    assert outcome.as_expected is good
    row = row_of(outcomes, 1.0)
    assert (row["inputs"], row["as_expected"]) == (1, int(good))
    named = row["kinds"]["kind"]["not_as_expected"]
    assert named == ([] if good else ["name"])
    assert lines_of(outcomes)[2].endswith("none |" if good else "name |")
