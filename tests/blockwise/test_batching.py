"""Several that run side by side: joint work is one call, each end is its own."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from deepspot_scale.blockwise.batching import (
    BatchedWork,
    BatchRequest,
    BatchResult,
    Running,
    run_alone,
    run_together,
)

ONE, TWO = np.ones((2, 2)), np.ones((3, 3))


class Doubling:
    """Doubles arrays and remembers how many came at a time."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def work(self, given: Any) -> list[Any]:
        self.calls.append(len(given))
        return [2 * array for array in given]


def _sums(work: Any, *arrays: np.ndarray) -> Running:
    """Hand over arrays one after the other; end in the sum of the answers."""
    total = 0.0
    for array in arrays:
        worked = yield BatchRequest(work, array)
        total += float(worked.answer.sum())
    return total


def _broken() -> Running:
    raise ValueError("broken from the start")
    yield  # never reached: makes this a generator


def test_equal_inputs_go_into_one_call() -> None:
    doubling = Doubling()
    work = doubling.work
    ends = run_together([_sums(work, ONE, ONE), _sums(work, 3 * ONE), _sums(work)])
    assert [end.answer for end in ends] == [16.0, 24.0, 0.0]
    assert doubling.calls == [2, 1]


def test_inputs_of_other_shape_or_for_other_work_go_alone() -> None:
    one, other = Doubling(), Doubling()
    pairs = [(one.work, ONE), (one.work, TWO), (other.work, ONE)]
    ends = run_together([_sums(work, array) for work, array in pairs])
    assert [end.answer for end in ends] == [8.0, 18.0, 8.0]
    assert (one.calls, other.calls) == ([1, 1], [1])


def test_an_error_ends_its_own_and_no_other() -> None:
    doubling = Doubling()
    ends = run_together([_sums(doubling.work, ONE), _broken()])
    assert ends[0].answer == 8.0
    assert isinstance(ends[1].answer, ValueError)


def test_work_that_fails_ends_all_that_waited_for_it() -> None:
    def fail(given: Any) -> list[Any]:
        raise MemoryError(f"no room for {len(given)}")

    doubling = Doubling()
    ends = run_together([_sums(fail, ONE), _sums(doubling.work, ONE), _sums(fail, ONE)])
    assert [str(end.answer) for end in ends[::2]] == ["no room for 2"] * 2
    assert ends[1].answer == 8.0


def test_one_may_go_on_after_its_work_failed() -> None:
    def fail(given: Any) -> list[Any]:
        raise MemoryError

    def patient() -> Running:
        try:
            yield BatchRequest(fail, ONE)
        except MemoryError:
            return "went on"

    assert run_together([patient()])[0].answer == "went on"


def test_seconds_are_shared_among_those_that_the_work_was_for() -> None:
    def slow(given: Any) -> list[Any]:
        time.sleep(0.2)
        return list(given)

    shares = []

    def timed() -> Running:
        worked: BatchResult = yield BatchRequest(slow, ONE)
        shares.append(worked.seconds)

    ends = run_together([timed() for _ in range(4)])
    assert len(set(shares)) == 1
    assert 0.19 < sum(shares) < 0.8  # the rest once, not four times
    assert [end.seconds for end in ends] == pytest.approx(shares, abs=0.04)


def test_alone_the_error_is_raised() -> None:
    with pytest.raises(ValueError, match="from the start"):
        run_alone(_broken())


def test_joint_work_can_be_done_for_one_block_at_once() -> None:
    doubling = Doubling()
    work = BatchedWork(
        prepare=lambda here, field: np.full(2, here * field),
        work=doubling.work,
        finish=lambda here, field, answer: (here, field, answer.tolist()),
    )
    assert work(3, 5) == (3, 5, [30, 30])
