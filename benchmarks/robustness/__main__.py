"""The command: try every input, print a table, name what was not as expected."""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.robustness import __doc__ as question
from benchmarks.robustness import hostile, plates, stores, user_tables
from benchmarks.robustness.cases import Case, Outcome, tally, try_case
from deepspot_scale.plugins import installed_versions

KINDS = (plates, user_tables, stores, hostile)
PACKAGES = ("deepspot-scale", "numpy", "pandas", "zarr")


def all_cases() -> list[Case]:
    """Return every input; no two have one kind and one name."""
    return [case for kind in KINDS for case in kind.cases()]


def try_all(cases: Iterable[Case], *, show: bool = False) -> list[Outcome]:
    """Try inputs, each in a folder of its own."""
    outcomes = []
    logging.disable(logging.WARNING)  # what libraries log is none of ours
    try:
        with tempfile.TemporaryDirectory() as root:
            for number, case in enumerate(cases):
                outcomes.append(try_case(case, Path(root) / str(number)))
                if show and sys.stderr.isatty():
                    print(f"\r{number + 1} ", end="", file=sys.stderr)
    finally:
        logging.disable(logging.NOTSET)
    return outcomes


def row_of(outcomes: list[Outcome], seconds: float) -> dict[str, Any]:
    """Return one row for the results."""
    kinds = tally(outcomes)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": installed_versions(PACKAGES),
        "seconds": round(seconds, 1),
        "inputs": len(outcomes),
        "as_expected": sum(outcome.as_expected for outcome in outcomes),
        "kinds": {
            kind: {
                "inputs": each.n,
                "as_expected": each.n - len(each.wrong),
                "not_as_expected": [outcome.case.name for outcome in each.wrong],
            }
            for kind, each in kinds.items()
        },
    }


def lines_of(outcomes: list[Outcome]) -> list[str]:
    """Return the table, and below it each outcome that was not as expected."""
    lines = ["| kind | inputs | as expected | not as expected |", "| --- " * 4 + "|"]
    for kind, each in tally(outcomes).items():
        names = "; ".join(outcome.case.name for outcome in each.wrong) or "none"
        lines.append(f"| {kind} | {each.n} | {each.n - len(each.wrong)} | {names} |")
    for outcome in outcomes:
        if not outcome.as_expected:
            case = outcome.case
            lines += ["", f"{case.kind}: {case.name}", f"  expected {case.expected}"]
            lines.append(f"  got {outcome.got[:400]}")
    return lines


def main() -> None:
    """Try all inputs, print the table, and append a row to a file."""
    parser = argparse.ArgumentParser(description=str(question).splitlines()[0])
    parser.add_argument("--only", default="", help="Inputs whose kind or name has it.")
    parser.add_argument("--out", type=Path, default=None, help="File to append to.")
    options = parser.parse_args()
    cases = [c for c in all_cases() if options.only in f"{c.kind}: {c.name}"]
    began = time.monotonic()
    outcomes = try_all(cases, show=True)
    row = row_of(outcomes, time.monotonic() - began)
    print("\n".join(lines_of(outcomes)))
    print(f"\n{row['as_expected']} of {row['inputs']} inputs, {row['seconds']} s")
    if options.out:
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
    sys.exit(0 if row["as_expected"] == row["inputs"] else 1)


if __name__ == "__main__":
    main()
