"""What a user or a queue asks of a command that runs: to end soon, or at once.

Ctrl-C, SIGTERM and SIGUSR1 are noted while a run goes; the fields in hand are ended
and written. A second Ctrl-C leaves at once. Nothing here knows what is running.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from deepspot_scale.cli.application import EXIT_INTERRUPTED, EXIT_RESUBMIT

_ENDING = b"\nending the fields in hand; Ctrl-C again leaves at once\n"
_WARNED = b"\nthe queue asks to end: ending the fields in hand\n"


@dataclass
class StopRequest:
    """What was asked so far."""

    signals: list[int] = field(default_factory=list)

    def to_stop(self) -> bool:
        """Return whether to end."""
        return bool(self.signals)

    @property
    def exit_code(self) -> int:
        """The code to leave with when something is left to do."""
        by_hand = self.signals[:1] == [signal.SIGINT]
        return EXIT_INTERRUPTED if by_hand else EXIT_RESUBMIT


@contextmanager
def heed_signals() -> Iterator[StopRequest]:
    """Note signals instead of dying of them; afterwards all is as before."""
    asked = StopRequest()

    def note(number: int, _: Any) -> None:
        # No print here: the signal may have come in the middle of one.
        by_hand = number == signal.SIGINT
        if by_hand and number in asked.signals:
            os._exit(EXIT_INTERRUPTED)  # local workers end with us
        asked.signals.append(number)
        os.write(2, _ENDING if by_hand else _WARNED)

    numbers = [
        getattr(signal, name)
        for name in ("SIGINT", "SIGTERM", "SIGUSR1")
        if hasattr(signal, name)
    ]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
