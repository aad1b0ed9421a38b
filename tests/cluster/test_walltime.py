"""Wall times: read, written, and the lifetime of a worker within one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.cluster.walltime import clock, lifetime, seconds_of


@given(st.integers(0, 40 * 86400))
def test_a_wall_time_written_then_read_is_the_same(seconds: int) -> None:
    assert seconds_of(clock(seconds)) == seconds


@given(st.integers(0, 40 * 86400))
def test_without_seconds_a_wall_time_is_rounded_up_to_a_minute(seconds: int) -> None:
    written = seconds_of(f"{clock(seconds, with_seconds=False)}:00")
    assert 0 <= written - seconds < 60
    assert written % 60 == 0


@pytest.mark.parametrize("walltime", [60, 600, 3600, 4 * 3600, 7 * 86400])
def test_the_longest_lived_worker_ends_before_the_queue_ends_it(walltime: int) -> None:
    mean, spread = lifetime(walltime)
    assert walltime / 2 < mean - spread
    assert mean + spread <= walltime - min(0.09 * walltime, 299)


@pytest.mark.parametrize("text", ["4h", "90", "1:2:3:4", "-1:00:00", "1:5:00"])
def test_other_forms_of_a_wall_time_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected \[days-\]hours"):
        seconds_of(text)
