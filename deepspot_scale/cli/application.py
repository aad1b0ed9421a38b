"""The application to which all commands are added, its exit codes and output.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from deepspot_scale.errors import (
    ClusterError,
    InputWarning,
    PlateError,
    RunError,
    SettingsError,
    StudyError,
)
from deepspot_scale.plugins import installed_versions

EXIT_USAGE = 2
EXIT_FAILED_FIELDS = 3
EXIT_RESUBMIT = 75
"""Fields are left to do, and the same command continues. This is EX_TEMPFAIL, which
queues and scripts interpret as "submit again"."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, by the convention of shells: 128 plus the signal's number."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Every smFISH spot and every cell's RNA polarity, from OME-Zarr plates.",
)


def _show_version(asked: bool) -> None:
    if asked:
        (version,) = installed_versions(["deepspot-scale"]).values()
        typer.echo(f"deepspot-scale {version}")
        raise typer.Exit


@app.callback()
def _every_command(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    pass


@contextmanager
def warnings_aloud() -> Iterator[None]:
    """Print warnings of the user's input as messages, each of them once."""
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        text = f"warning: {message}"
        if not issubclass(category, InputWarning):
            others(message, category, *where)
        elif text not in said:
            said.add(text)
            say(text)

    with warnings.catch_warnings():
        others = warnings.showwarning
        warnings.simplefilter("always", InputWarning)
        warnings.showwarning = show  # type: ignore[assignment]  # names of arguments
        yield


def exit_code_of(error: BaseException) -> int:
    """Return the exit code of a command that ends with an error."""
    if isinstance(error, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    if isinstance(error, PlateError | RunError | SettingsError | StudyError):
        return EXIT_USAGE
    return EXIT_RESUBMIT if isinstance(error, ClusterError) else 1


def say(text: str) -> None:
    """Print a message to standard error; results go to standard output."""
    typer.echo(text, err=True)
