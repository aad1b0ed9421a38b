"""Wall times in the formats of queues, and the lifetime of a worker within one.

Text comes in, seconds go out, and back. Nothing here knows a queue.
"""

from __future__ import annotations

import re

FORM = re.compile(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?")

MARGIN, LONGEST_MARGIN = 0.1, 300.0
"""Share of the wall time, and maximum seconds, reserved for a worker's shutdown."""
STAGGER, LONGEST_STAGGER = 0.05, 240.0
"""Share of the wall time, and maximum seconds, by which lifetimes vary."""


def seconds_of(walltime: str) -> int:
    """Return the seconds of ``[days-]hours:minutes[:seconds]``.

    Raises ValueError if the text has another form.

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
    """Return ``hours:minutes:seconds``, which every queue but LSF accepts.

    LSF accepts ``hours:minutes``; seconds are rounded up to a minute for it.

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

    The longest-lived worker shuts down a tenth of the wall time, or five minutes,
    before the queue would kill it; workers that started together end at different
    times.

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
