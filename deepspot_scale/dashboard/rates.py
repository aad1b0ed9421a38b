"""Rates of arrival, now and over time, in bounded memory.

Times and amounts come in, rates go out. The caller gives every time; nothing here
reads a clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import accumulate

WINDOW_SECONDS = 30.0
"""The current rate is that of this many last seconds, ..."""
WINDOW_ARRIVALS = 20
"""... or of this many last arrivals, if they took longer, as slow fields do."""
MAX_BINS = 240
"""Maximum points of a curve; with more, neighbours are joined."""


@dataclass
class RecentRate:
    """The rate of the last arrivals; decays when no more arrive."""

    began: float
    """Time when counting began."""
    arrivals: deque[tuple[float, int]] = field(default_factory=deque)
    """(time, amount) of the last arrivals."""
    amount: int = 0
    """Sum over `arrivals`."""
    since: float | None = None
    """Time of the last dropped arrival; None: none was dropped."""

    def add(self, amount: int, now: float) -> None:
        """Count an arrival."""
        self.arrivals.append((now, amount))
        self.amount += amount
        self._forget(now)

    def per_second(self, now: float) -> float:
        """Return the rate; 0 before the first arrival."""
        self._forget(now)
        since = self.began if self.since is None else self.since
        # At least a millisecond: clocks may be set back.
        return self.amount / max(now - since, 1e-3) if self.amount else 0.0

    def _forget(self, now: float) -> None:
        while (
            len(self.arrivals) > WINDOW_ARRIVALS
            and self.arrivals[0][0] < now - WINDOW_SECONDS
        ):
            self.since, amount = self.arrivals.popleft()
            self.amount -= amount


@dataclass
class RateHistory:
    """The rate since the beginning, as a curve of at most `MAX_BINS` points.

    Amounts are kept in bins of equal width. When there are too many bins, neighbours
    are joined and the width doubles, so memory stays bounded however long a run lasts.
    """

    began: float
    width: float = 1.0
    """Seconds of a bin."""
    amounts: list[int] = field(default_factory=list)
    n_arrivals: int = 0

    def add(self, amount: int, now: float) -> None:
        """Count an arrival."""
        place = self._place(now)
        while place >= MAX_BINS:
            pairs = zip(self.amounts[::2], [*self.amounts[1::2], 0], strict=False)
            self.amounts = [sum(pair) for pair in pairs]
            self.width *= 2
            place = self._place(now)
        self.amounts += [0] * (place + 1 - len(self.amounts))
        self.amounts[place] += amount
        self.n_arrivals += 1

    def curve(self, now: float) -> list[tuple[float, float]]:
        """Return (seconds since the beginning, rate), over complete bins only.

        Each point is the mean over as many previous bins as hold about ten arrivals on
        average; single bins with one image now and then would give a jagged curve.
        """
        n_whole = min(self._place(now), MAX_BINS)
        amounts = [*self.amounts, *([0] * n_whole)][:n_whole]
        if not n_whole or not self.n_arrivals:
            return []
        span = max(1, round(10 * max(n_whole, 1) / self.n_arrivals))
        sums = [0, *accumulate(amounts)]
        curve = []
        for end in range(1, n_whole + 1):
            start = max(0, end - span)
            rate = (sums[end] - sums[start]) / ((end - start) * self.width)
            curve.append((end * self.width, rate))
        return curve

    def _place(self, now: float) -> int:
        return max(0, int((now - self.began) / self.width))
