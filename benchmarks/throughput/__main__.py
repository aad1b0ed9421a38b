"""The command: ``python -m benchmarks.throughput COMMAND``, from the repository's root.

Each command prints one row a measurement and, with ``--out``, appends it to a file.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.throughput.plates import write_fields
from benchmarks.throughput.rows import Row, keep
from benchmarks.throughput.runs import NO_WORK, time_run
from deepspot_scale.cluster.local import open_client


def plumbing(options: argparse.Namespace) -> None:
    """Time whole runs whose network and detector do nothing."""
    cases = [(2048, options.fields, True), *((64, n, False) for n in options.tiny)]
    with tempfile.TemporaryDirectory() as folder:
        for size, n, labels in cases:
            plate = write_fields(Path(folder) / f"{size}-{n}", n, size, labels=labels)
            with open_client(workers=options.workers) as client:
                values = NO_WORK | {"workers": options.workers}
                what = f"{size} px fields, no network, no detector"
                row = Row("plumbing", what, n, n * size * size, 1.0)
                timed = time_run(client, plate, row, warm_up=options.workers, **values)
                keep(timed, options.out)


def main() -> None:
    """Parse the command line and run one command."""
    parser = argparse.ArgumentParser(prog="benchmarks.throughput")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--out", type=Path, default=None, help="append rows to a file")
    shared.add_argument("--workers", type=int, default=2)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("plumbing", parents=[shared], help=plumbing.__doc__)
    one.add_argument("--fields", type=int, default=100)
    one.add_argument("--tiny", type=int, nargs="*", default=[1000, 5000, 20000])
    one.set_defaults(call=plumbing)
    options = parser.parse_args()
    options.call(options)


if __name__ == "__main__":
    main()
