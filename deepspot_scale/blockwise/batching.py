"""Work that several small fields do in one call, as a network does on a batch.

Each field runs as a generator. Where its step's work is `BatchedWork` it waits;
`run_together` does the work of all that wait for the same at once, brings each its
answer, and continues:

    field 0   steps ... waiting --+             +-- steps ... answer
    field 1   steps ... waiting --+-- one call --+-- steps ... answer
    field 2   steps ... an error that stops this one only

Nothing here knows what the work is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from numpy.typing import NDArray

Work = Callable[[Sequence[NDArray[Any]]], list[Any]]


@dataclass(frozen=True)
class BatchedWork:
    """A step's work on a block that blocks of several fields can do in one call."""

    prepare: Callable[[Any, Any], NDArray[Any]]
    """Given the block and the field's answers, gives the block's input."""
    work: Work
    """Gives the answer of each of some inputs of one shape. An answer depends on its
    own input alone, in every bit."""
    finish: Callable[[Any, Any, Any], Any]
    """Given these and the work's answer, makes the block's."""

    def __call__(self, here: Any, field: Any) -> Any:
        """Return the block's answer, its work done alone."""
        return self.finish(here, field, self.work([self.prepare(here, field)])[0])


class BatchRequest(NamedTuple):
    """What one that waits hands over."""

    work: Work
    given: NDArray[Any]
    """Its own input."""

    def goes_with(self, other: BatchRequest) -> bool:
        """Return whether both can be done in one call."""
        return self.work == other.work and self.given.shape == other.given.shape


class BatchResult(NamedTuple):
    """What one that waits is brought."""

    answer: Any
    seconds: float
    """Its share of the time that the work took."""


Running = Generator[BatchRequest, BatchResult, Any]
"""Steps that may wait for joint work, and end in an answer."""


class Outcome(NamedTuple):
    """How one of several that ran together ended."""

    answer: Any
    """Its answer, or the exception that stopped it."""
    seconds: float
    """Time it took, its shares of joint work included."""


def run_together(running: Sequence[Running]) -> list[Outcome]:
    """Run all to their ends; those that wait for the same work do it in one call.

    What stops one of them does not stop the others.
    """
    ends: dict[int, Any] = {}
    seconds = [0.0] * len(running)
    waiting: dict[int, BatchRequest] = {}

    def go_on(number: int, resume: Callable[[], BatchRequest]) -> None:
        began = time.perf_counter()
        try:
            waiting[number] = resume()
        except StopIteration as end:
            ends[number] = end.value
        except Exception as error:  # this one's outcome, for the caller to judge
            ends[number] = error
        seconds[number] += time.perf_counter() - began

    for number, each in enumerate(running):
        go_on(number, partial(next, each))
    while waiting:
        first = next(iter(waiting.values()))
        group = [number for number, each in waiting.items() if each.goes_with(first)]
        given = [waiting.pop(number).given for number in group]
        answers, share = _do_work(first.work, given)
        for number, answer in zip(group, answers, strict=True):
            seconds[number] += share
            each = running[number]
            if isinstance(answer, Exception):
                go_on(number, partial(each.throw, answer))
            else:
                go_on(number, partial(each.send, BatchResult(answer, share)))
    return [Outcome(ends[number], seconds[number]) for number in range(len(running))]


def _do_work(work: Work, given: list[NDArray[Any]]) -> tuple[list[Any], float]:
    """Return the answers, or for each what stopped the work; and seconds for each."""
    began = time.perf_counter()
    try:
        answers = work(given)
    except Exception as error:  # it stops all that waited for it, and no other
        answers = [error] * len(given)
    return answers, (time.perf_counter() - began) / len(given)


def run_alone(running: Running) -> Any:
    """Run to the end, all joint work done for this one alone."""
    (outcome,) = run_together([running])
    if isinstance(outcome.answer, Exception):
        raise outcome.answer
    return outcome.answer
