"""Rates now and over time, compared with slow sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.dashboard.rates import (
    MAX_BINS,
    WINDOW_ARRIVALS,
    WINDOW_SECONDS,
    RateHistory,
    RecentRate,
)

arrivals = st.lists(
    st.tuples(st.floats(0, 50), st.integers(0, 64)), min_size=1, max_size=80
)


def at(times: list[tuple[float, int]]) -> list[tuple[float, int]]:
    """Turn pauses between arrivals into times."""
    now, placed = 100.0, []
    for pause, amount in times:
        now += pause
        placed.append((now, amount))
    return placed


@given(arrivals, st.floats(0, 100))
def test_the_rate_now_is_that_of_the_last_window(
    pauses: list[tuple[float, int]], later: float
) -> None:
    placed = at(pauses)
    pace = RecentRate(100.0)
    for time, amount in placed:
        pace.add(amount, time)
    now = placed[-1][0] + later
    n_old = 0
    while len(placed) - n_old > WINDOW_ARRIVALS and placed[n_old][0] < (
        now - WINDOW_SECONDS
    ):
        n_old += 1
    since = placed[n_old - 1][0] if n_old else 100.0
    expected = sum(amount for _, amount in placed[n_old:]) / max(now - since, 1e-3)
    assert pace.per_second(now) == pytest.approx(expected)


def test_the_rate_sinks_when_nothing_comes_any_more() -> None:
    pace = RecentRate(0.0)
    for second in range(100):
        pace.add(1, second + 1.0)
    rates = [pace.per_second(100.0 + pause) for pause in (0, 60, 600)]
    assert rates[0] == pytest.approx(1.0)
    assert rates[0] > rates[1] > rates[2]
    assert rates[2] < 0.05


def test_a_rate_before_the_first_arrival_is_zero() -> None:
    assert RecentRate(5.0).per_second(5.0) == 0.0


@given(arrivals)
def test_the_curve_holds_all_that_came_in_however_coarse(
    pauses: list[tuple[float, int]],
) -> None:
    history = RateHistory(100.0)
    placed = at([(pause * 40, amount) for pause, amount in pauses])
    for time, amount in placed:
        history.add(amount, time)
    assert sum(history.amounts) == sum(amount for _, amount in placed)
    assert len(history.amounts) <= MAX_BINS
    for place, amount in enumerate(history.amounts):
        start = 100.0 + place * history.width
        inside = [n for t, n in placed if start <= t < start + history.width]
        assert amount == sum(inside)


def test_a_steady_run_is_a_level_curve_at_any_length() -> None:
    for n in (30, 3000):
        history = RateHistory(0.0)
        for second in range(n):
            history.add(3, second + 0.5)
        curve = history.curve(float(n))
        assert len(curve) <= MAX_BINS
        assert {round(rate, 9) for _, rate in curve} == {3.0}
        assert curve[-1][0] > 0.9 * n


def test_slow_fields_make_no_teeth() -> None:
    history = RateHistory(0.0)
    for number in range(20):
        history.add(1, 10.0 * number + 9.9)
    rates = [rate for time, rate in history.curve(200.0) if time >= 100]
    assert min(rates) > 0.08
    assert max(rates) < 0.12
