"""Wall times as queues write them, and how long a worker may live within one.

Text comes in, seconds go out.
"""

from __future__ import annotations

import re

FORM = re.compile(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?")

MARGIN, LONGEST_MARGIN = 0.1, 300.0
"""Part of the wall time, and seconds at most, that are left for a worker's end."""
STAGGER, LONGEST_STAGGER = 0.05, 240.0
"""Part of the wall time, and seconds at most, by which workers end apart."""


def seconds_of(walltime: str) -> int:
    """Return the seconds of ``[days-]hours:minutes[:seconds]``.

    Raises
    ------
    ValueError
        Another form.

    Examples
    --------
    >>> seconds_of("1-00:30:00"), seconds_of("36:00:00"), seconds_of("00:30")
    (88200, 129600, 1800)
    """
    match = FORM.fullmatch(walltime.strip())
    if match is None:
        raise ValueError(f"expected [days-]hours:minutes:seconds, got {walltime!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def clock(seconds: int, *, with_seconds: bool = True) -> str:
    """Return ``hours:minutes:seconds``, which every queue but LSF reads.

    LSF reads ``hours:minutes``; seconds count as a whole minute there.

    Examples
    --------
    >>> clock(88200), clock(90, with_seconds=False)
    ('24:30:00', '00:02')
    """
    minutes, rest = divmod(seconds, 60)
    if with_seconds:
        return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"
    minutes += rest > 0
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def lifetime(walltime: int) -> tuple[int, int]:
    """Return a worker's mean lifetime and its spread to either side, in seconds.

    The longest-lived worker still ends before the queue would kill it, by a tenth of
    the wall time or five minutes; workers that started together do not all end at
    once.

    Examples
    --------
    >>> lifetime(4 * 3600)
    (13860, 240)
    >>> lifetime(100)
    (85, 5)
    """
    margin = min(MARGIN * walltime, LONGEST_MARGIN)
    stagger = min(STAGGER * walltime, LONGEST_STAGGER)
    return round(walltime - margin - stagger), round(stagger)
