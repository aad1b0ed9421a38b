"""A command of the user's, called when a long command ends, however it ends.

A command line and what the work is called come in; the outcome goes to the command in
environment variables. Nothing here knows what the work is.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from deepspot_scale.cli.application import (
    EXIT_FAILED_FIELDS,
    EXIT_INTERRUPTED,
    EXIT_RESUBMIT,
    exit_code_of,
    say,
)
from deepspot_scale.errors import SettingsError

Notify = Annotated[
    str | None,
    typer.Option(
        help="Command line to call at the end, also of a failure; it finds "
        "DEEPSPOT_STATUS, DEEPSPOT_RUN (what was written; empty: nothing), "
        "DEEPSPOT_EXIT_CODE and DEEPSPOT_MESSAGE."
    ),
]
"""For every command that may take long, see `notifies`."""
Command = Callable[..., None]
SECONDS: Final = 60.0
"""Time that the user's command has."""
_WORDS: Final = {
    0: "done",
    EXIT_FAILED_FIELDS: "fields failed",
    EXIT_RESUBMIT: "stopped",
    EXIT_INTERRUPTED: "interrupted",
}
"""The status by the exit code; any other code is an error."""


class Served(typer.Exit):
    """The process was a worker of another one's work, whose end is not its own."""


def notifies(out: str | Callable[[Mapping[str, Any]], str]) -> Callable[..., Command]:
    """Give a command ``--notify``.

    `out` is the name of the argument that says what is written, or a function of all
    arguments that returns it.
    """

    def decorate(command: Command) -> Command:
        @wraps(command)
        def called(*, notify: str | None = None, **given: Any) -> None:
            written = str(given[out]) if isinstance(out, str) else out(given)
            with notify_end(notify, written):
                command(**given)

        kind = inspect.Parameter.KEYWORD_ONLY
        added = inspect.Parameter("notify", kind, default=None, annotation=Notify)
        signature = inspect.signature(command, eval_str=True)
        # Every option has a name, and the rest of them must come last.
        own = [
            each if each.kind is each.VAR_KEYWORD else each.replace(kind=kind)
            for each in signature.parameters.values()
        ]
        own.sort(key=lambda each: each.kind is each.VAR_KEYWORD)
        last = [own.pop()] if own and own[-1].kind is own[-1].VAR_KEYWORD else []
        parameters = [*own, added, *last]
        called.__signature__ = signature.replace(  # type: ignore[attr-defined]  # PEP 362
            parameters=parameters
        )
        return called

    return decorate


@contextmanager
def notify_end(command: str | None, out: str) -> Iterator[None]:
    """Call a command when the block ends; `out` is the folder that it writes.

    The status is one of done, fields failed, stopped (the same command continues),
    interrupted and error. The outcome of the block stays what it is, whatever the
    command does; that it failed is said.

    Raises
    ------
    SettingsError
        There is no such command; the block has not begun.
    """
    if command is not None:
        check_command(command)
    try:
        yield
    except Served:
        raise
    except BaseException as error:
        code = error.exit_code if isinstance(error, typer.Exit) else exit_code_of(error)
        _call(command, out, code, "" if isinstance(error, typer.Exit) else str(error))
        raise
    _call(command, out, 0, "")


def check_command(command: str) -> None:
    """Raise SettingsError if the first word of a command line cannot be started.

    The shell is asked, which also knows its own words; a word that it would only find
    out, such as ``$HOME/tell``, is not checked.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingsError(
            f"the command of --notify cannot be read: {error}: {command}"
        ) from error
    named = [word for word in words if not re.match(r"\w+=", word)]  # not its settings
    if not named:
        raise SettingsError("--notify needs a command line, and got an empty one")
    word = os.path.expanduser(named[0])
    if not re.fullmatch(r"[\w./+-]+", word):
        return
    asked = ["/bin/sh", "-c", 'command -v -- "$1"', "sh", word]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        raise SettingsError(
            f"the command of --notify cannot be started: there is no {word!r}, or it "
            "is not executable; nothing was begun"
        )


def _is_there(out: str) -> bool:
    """Return whether a command has written something; of a URL this is not known."""
    return "://" in out or Path(out).exists()


def _call(command: str | None, out: str, code: int, message: str) -> None:
    if command is None:
        return
    word = _WORDS.get(code, "error")
    told = {
        "DEEPSPOT_STATUS": word,
        "DEEPSPOT_RUN": out if _is_there(out) else "",
        "DEEPSPOT_EXIT_CODE": str(code),
        "DEEPSPOT_MESSAGE": message or f"deepspot-scale: {word}: {out}",
    }
    try:
        ended = subprocess.run(
            command,
            shell=True,  # a command line is what is asked for
            env={**os.environ, **told},
            stdin=subprocess.DEVNULL,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"warning: the command of --notify did not end well: {error}")
        return
    if ended.returncode:
        say(f"warning: the command of --notify ended with {ended.returncode}")
