"""Signals ask a command to stop; the exit code says who asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from deepspot_scale.cli.application import EXIT_INTERRUPTED, EXIT_RESUBMIT
from deepspot_scale.cli.signals import StopRequest, heed_signals

TWICE = """
import os, signal
from deepspot_scale.cli.signals import heed_signals
with heed_signals() as request:
    os.kill(os.getpid(), signal.SIGINT)
    print(request.to_stop(), flush=True)
    os.kill(os.getpid(), signal.SIGINT)
    print("not reached", flush=True)
"""


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, EXIT_INTERRUPTED, "Ctrl-C again exits at once"),
        (signal.SIGTERM, EXIT_RESUBMIT, "the queue asks to stop"),
        (signal.SIGUSR1, EXIT_RESUBMIT, "the queue asks to stop"),
    ],
)
def test_a_signal_asks_to_stop_and_gives_the_exit_code(
    number: int, code: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with heed_signals() as request:
        assert not request.to_stop()
        os.kill(os.getpid(), number)
        assert request.to_stop()
        assert request.exit_code == code
    assert signal.getsignal(number) is before
    assert words in capfd.readouterr().err


def test_the_first_signal_decides_the_exit_code() -> None:
    assert StopRequest([signal.SIGINT, signal.SIGTERM]).exit_code == EXIT_INTERRUPTED
    assert StopRequest([signal.SIGTERM, signal.SIGINT]).exit_code == EXIT_RESUBMIT


def test_a_second_interrupt_exits_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (EXIT_INTERRUPTED, "True\n"), done.stderr


def test_another_thread_changes_no_handler() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def run() -> None:
        with heed_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
