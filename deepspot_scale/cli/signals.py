"""Signals of a user or a queue that ask a running command to stop.

After Ctrl-C, SIGTERM or SIGUSR1 the fields in hand are finished and written; a second
Ctrl-C exits at once. Nothing here knows what is running.
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

_INTERRUPTED = b"\nfinishing the fields in hand; Ctrl-C again exits at once\n"
_WARNED = b"\nthe queue asks to stop: finishing the fields in hand\n"


@dataclass
class StopRequest:
    """The signals so far."""

    signals: list[int] = field(default_factory=list)

    def to_stop(self) -> bool:
        """Return whether to stop."""
        return bool(self.signals)

    @property
    def exit_code(self) -> int:
        """The exit code if fields are left to do."""
        by_hand = self.signals[:1] == [signal.SIGINT]
        return EXIT_INTERRUPTED if by_hand else EXIT_RESUBMIT


@contextmanager
def heed_signals() -> Iterator[StopRequest]:
    """Record signals instead of being killed; restore the handlers afterwards."""
    request = StopRequest()

    def note(number: int, _: Any) -> None:
        # No print here: the signal may have interrupted one.
        by_hand = number == signal.SIGINT
        if by_hand and number in request.signals:
            os._exit(EXIT_INTERRUPTED)  # local workers end with this process
        request.signals.append(number)
        os.write(2, _INTERRUPTED if by_hand else _WARNED)

    numbers = [
        getattr(signal, name)
        for name in ("SIGINT", "SIGTERM", "SIGUSR1")
        if hasattr(signal, name)
    ]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
