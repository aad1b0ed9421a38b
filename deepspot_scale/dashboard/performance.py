"""Dask's own report of a run: every task, transfer and profile as one HTML file.

A client comes in, a file goes out when the run ends. Nothing here knows what a task
does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepspot_scale.errors import SettingsError

logger = logging.getLogger(__name__)


def check_report(file: Path | None) -> None:
    """Refuse a file that cannot be written, before the run.

    Raises
    ------
    SettingsError
        Its folder is not there, or it is a folder itself.
    """
    if file is None:
        return
    if not file.absolute().parent.is_dir():
        raise SettingsError(
            f"--performance-report: there is no folder {file.absolute().parent}"
        )
    if file.is_dir():
        raise SettingsError(f"--performance-report: {file} is a folder; name a file")


@contextmanager
def write_performance(client: Any, file: Path | None) -> Iterator[None]:
    """Write the report of all that a client's workers do within.

    Parameters
    ----------
    client
        `distributed.Client`.
    file
        HTML file; None writes none. When it cannot be made, this is logged, and the
        run is not the worse for it.
    """
    if file is None:
        yield
        return
    from distributed import performance_report

    report = performance_report(filename=str(file))
    begun = _attempt(client, report.__enter__)
    try:
        yield
    finally:
        if begun:
            _attempt(client, report.__exit__, None, None, None)


def _attempt(client: Any, step: Any, *values: Any) -> bool:
    try:
        with client.as_current():
            step(*values)
    except Exception as error:  # a scheduler that has gone; a disk that is full
        logger.warning("no performance report: %s: %s", type(error).__name__, error)
        return False
    return True
