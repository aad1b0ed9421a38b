"""The status of a run, read only from its folder, whether it runs, died or ended.

A run folder comes in, plain values that can be written as JSON go out. Nothing is
changed, no plate is opened, and no worker is asked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.lease import is_gone, read_holder
from deepspot_scale.runs.left_out import (
    count_spots_left_out,
    find_left_out,
    read_least,
)
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import RunResults, open_results
from deepspot_scale.words import plural

_SHOWN = 12
"""Most fields with the same reason that are named in text."""


@dataclass(frozen=True)
class Failure:
    """Fields that failed with the same reason."""

    reason: str
    fields: tuple[str, ...]
    """Paths, such as B/03/0."""


@dataclass(frozen=True)
class RunStatus:
    """How far a run is."""

    run: str
    plate: str
    """Path or URL of the input."""
    total: int
    """Fields of the whole plate; a run with --wells or --limit takes fewer."""
    done: int
    failed: int
    left: int
    """Fields that are neither done nor failed."""
    n_spots: int
    failures: tuple[Failure, ...]
    """Most frequent reason first."""
    holder: dict[str, Any] | None
    """Client that works on it, or did last: host, pid, since, at (its last sign of
    life by its own clock), released (it ended properly), gone (its process was on this
    machine and has ended); None: there never was one."""
    progress: dict[str, Any]
    """Last progress of this client: done, failed, total, images_per_second."""
    score: float | None = None
    """Mean score of the fields; None: none is rated."""
    n_left_out: int = 0
    """Images that score too low to count in the statistics."""
    n_spots_left_out: int = 0
    """Those of `n_spots` that lie in them."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def read_status(folder: Folder) -> RunStatus:
    """Read the status of a run.

    Raises
    ------
    RunError
        The folder holds no run.
    """
    results = open_results(folder.url)
    fields, failed = results.fields, results.failed
    source = results.provenance.get("input", {})
    total = max(int(source.get("n_fields", 0)), len(fields))
    holder = read_holder(folder)
    facts = dict(holder.facts) if holder else {}
    if holder is not None and facts:
        facts["gone"] = not holder.released and is_gone(holder)
    names = ("host", "pid", "since", "at", "released", "gone")
    return RunStatus(
        folder.url,
        results.source,
        total,
        len(results.done),
        len(failed),
        total - len(fields),
        int(fields["n_spots"].sum()),
        tuple(_group(failed)),
        {name: facts.get(name) for name in names} if facts else None,
        dict(facts.get("progress") or {}),
        *_rate(results),
    )


def _rate(results: RunResults) -> tuple[float | None, int, int]:
    """Return the mean score of the fields, and images and spots that do not count."""
    done = results.done
    if "score" not in done or done["score"].isna().all():
        return None, 0, 0
    left_out = find_left_out(results, read_least(results))
    n_spots = count_spots_left_out(results, left_out)
    return float(done["score"].mean()), len(left_out), n_spots


def _group(failed: pd.DataFrame) -> list[Failure]:
    fields: dict[str, list[str]] = {}
    for reason, address in zip(failed["reason"], addresses_of(failed), strict=True):
        # A reason that names its own field is the same reason for all.
        common = str(reason).replace(f"field {address.path} ", "the field ")
        fields.setdefault(common, []).append(address.path)
    groups = [Failure(reason, tuple(paths)) for reason, paths in fields.items()]
    return sorted(groups, key=lambda group: (-len(group.fields), group.reason))


def describe_status(status: RunStatus) -> list[str]:
    """Return the status of a run in lines of text."""
    lines = [
        f"{status.plate}: {status.done} of {plural(status.total, 'field')} done, "
        f"{status.failed} failed, {status.left} left, {plural(status.n_spots, 'spot')}",
        _describe_holder(status),
    ]
    if status.score is not None:
        n = status.n_left_out
        left_out = (
            f"; {n} image{'s score' if n != 1 else ' scores'} too low to count, "
            f"{status.n_spots_left_out} of the spots lie there"
        )
        lines.append(f"mean score {status.score:.2f}" + left_out * (n > 0))
    for failure in status.failures:
        shown = ", ".join(failure.fields[:_SHOWN])
        more = len(failure.fields) - _SHOWN
        rest = f" and {more} more" if more > 0 else ""
        lines.append(f"{len(failure.fields)} failed: {failure.reason} ({shown}{rest})")
    if status.failed:
        retry = f"deepspot-scale retry {status.run} --failed"
        lines.append(f"to try these again: {retry}")
    holder = status.holder
    is_free = holder is None or bool(holder["released"] or holder["gone"])
    if status.left and is_free:
        lines.append(f"to continue: deepspot-scale retry {status.run}")
    return lines


def _describe_holder(status: RunStatus) -> str:
    holder = status.holder
    if holder is None:
        return "no client works on it"
    who = f"{holder['host']}, process {holder['pid']}"
    if holder["released"]:
        return f"no client works on it; the last was {who} until {holder['at']}"
    if holder["gone"]:
        return f"no client works on it; the last, {who}, died after {holder['at']}"
    line = f"{who} works on it since {holder['since']}, last seen at {holder['at']}"
    rate = status.progress.get("images_per_second")
    return line + (f", {rate:.2f} images/s" if rate else "")
