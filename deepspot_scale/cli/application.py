"""The one application that all commands are added to, and how it speaks.

Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

from typing import Annotated

import typer

import deepspot_scale

EXIT_USAGE = 2
EXIT_FAILED_FIELDS = 3
EXIT_RESUBMIT = 75
"""Something is left to do, and the same command goes on: EX_TEMPFAIL, which queues and
scripts take for "submit again"."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as shells count it: 128 and the signal's number."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Every smFISH spot and every cell's RNA polarity, from OME-Zarr plates.",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"deepspot-scale {deepspot_scale.__version__}")
        raise typer.Exit


@app.callback()
def _every_command(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Say which it is."
        ),
    ] = False,
) -> None:
    pass


def say(text: str) -> None:
    """Tell the user something that is no result."""
    typer.echo(text, err=True)
