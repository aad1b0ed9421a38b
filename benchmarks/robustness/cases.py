"""One input, what must come of it, and what came.

Nothing here knows plates or tables.
"""

from __future__ import annotations

import re
import shutil
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepspot_scale.errors import DeepspotError, InputWarning

Attempt = Callable[[Path], "Answer"]


@dataclass(frozen=True)
class Answer:
    """What an attempt came to."""

    value: Any = None
    """What is compared; None when nothing was measured."""
    told: tuple[str, ...] = ()
    """Reasons of failed fields, and what a command printed."""


@dataclass(frozen=True)
class Expected:
    """What must come: one of several outcomes, each right."""

    value: Any = None
    """The right value; None: no value is right, the input must be refused."""
    told: str = ""
    """Regular expression that must be in what is told beside the value."""
    refused: str = ""
    """Regular expression of a refusal that is right too; empty: none is."""

    def __str__(self) -> str:
        words = [] if self.value is None else [f"{self.value!r}"]
        words += [f"told /{self.told}/"] if self.told else []
        words = [" and ".join(words)] if words else []
        words += [f"refused /{self.refused}/"] if self.refused else []
        return " or ".join(words)


def right(value: Any) -> Expected:
    """Expect a value, and that nothing more is needed to be told."""
    return Expected(value)


def warned(value: Any, told: str) -> Expected:
    """Expect a value, and words beside it."""
    return Expected(value, told)


def refused(words: str = ".") -> Expected:
    """Expect an error of ours, or failed fields alone, with these words."""
    return Expected(refused=words)


@dataclass(frozen=True)
class Case:
    """An input."""

    kind: str
    name: str
    attempt: Attempt
    """Makes the input in an empty folder, gives it to the product, returns what came.
    It is refused by an error of ours, or an answer without a value that is told why."""
    expected: Expected


@dataclass(frozen=True)
class Outcome:
    """What came of an input."""

    case: Case
    got: str
    """In words."""
    as_expected: bool
    seconds: float


@dataclass
class Tally:
    """The outcomes of one kind."""

    n: int = 0
    wrong: list[Outcome] = field(default_factory=list)


def try_case(case: Case, folder: Path) -> Outcome:
    """Try one input in a new folder, which is removed again."""
    folder.mkdir(parents=True)
    began = time.monotonic()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            got, good = _judge(case, folder, caught)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(case, got, good, time.monotonic() - began)


def _judge(case: Case, folder: Path, caught: list[Any]) -> tuple[str, bool]:
    expected = case.expected
    try:
        answer = case.attempt(folder)
    except DeepspotError as error:
        return f"refused: {error}", _holds(expected.refused, str(error))
    # Whatever else is raised is what a user would see as a traceback.
    except Exception as error:
        return f"crashed: {type(error).__name__}: {error}", False
    warned = [str(w.message) for w in caught if issubclass(w.category, InputWarning)]
    told = " | ".join([*answer.told, *warned])
    if answer.value is None:
        return f"refused: {told}", _holds(expected.refused, told)
    got = f"{answer.value!r}" + (f", told: {told}" if told else "")
    same = expected.value is not None and bool(answer.value == expected.value)
    return got, same and bool(re.search(expected.told, told, re.S | re.I))


def _holds(words: str, text: str) -> bool:
    return bool(words) and bool(re.search(words, text, re.S | re.I))


def tally(outcomes: list[Outcome]) -> dict[str, Tally]:
    """Return the outcomes by kind, in order."""
    kinds: dict[str, Tally] = {}
    for outcome in outcomes:
        of_kind = kinds.setdefault(outcome.case.kind, Tally())
        of_kind.n += 1
        if not outcome.as_expected:
            of_kind.wrong.append(outcome)
    return kinds
