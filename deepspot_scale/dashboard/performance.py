"""Dask's performance report of a run: tasks, transfers and profiles as one HTML file.

A client comes in, a file goes out when the run ends. Nothing here knows what a task
does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepspot_scale.outputs import check_output_file

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)


def check_report(file: Path | None) -> None:
    """Raise SettingsError before the run if the file cannot be written."""
    if file is not None:
        check_output_file(file, "--performance-report")


@contextmanager
def write_performance(client: Client, file: Path | None) -> Iterator[None]:
    """Write Dask's report of all work between entering and leaving to an HTML file.

    None: no report. An error in making it is logged and does not affect the run.
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


def _attempt(client: Client, step: Any, *values: Any) -> bool:
    try:
        with client.as_current():
            step(*values)
    except Exception as error:  # such as a lost scheduler or a full disk
        logger.warning("no performance report: %s: %s", type(error).__name__, error)
        return False
    return True
