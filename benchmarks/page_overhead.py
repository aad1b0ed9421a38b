"""What does the live page cost a run? Prints one row per case.

    python benchmarks/page_overhead.py --out benchmarks/results/page.jsonl

The same run over many small fields is repeated in pairs, with and without the page, on
one cluster, while one browser shows the page. A field takes a fixed time on its worker,
so that client and scheduler are measured. The row has the ratio of the pairs, which
includes the machine's noise, and the processor time of the page's own code: per field,
per update of the browser, and as a share of the run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from bokeh.client import pull_session

import deepspot_scale as ds
from deepspot_scale.cluster.client import open_client
from deepspot_scale.dashboard import publisher
from deepspot_scale.dashboard import scheduler_plugin as plugin
from deepspot_scale.dashboard.page import LivePage
from deepspot_scale.dashboard.publisher import page_address
from deepspot_scale.dashboard.state import Runs
from deepspot_scale.io.ome_zarr.writing import ImageLayout, create_plate, write_image
from deepspot_scale.runs import dispatch, execute
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.settings import make_settings
from deepspot_scale.vocabulary import FieldAddress

FIELD_SECONDS = 0.005
SIZE = 64


def wait_and_find_nothing(image: np.ndarray) -> np.ndarray:
    """Take a fixed time, like a network."""
    del image
    time.sleep(FIELD_SECONDS)
    return np.empty((0, 2))


detector = ds.PointDetector(wait_and_find_nothing, halo=8, on="raw")


def write_fields(target: Path, n: int) -> None:
    """Write a plate of 96 wells of small fields."""
    wells = [(row, f"{column:02d}") for row in "ABCDEFGH" for column in range(1, 13)]
    addresses = [FieldAddress(*wells[i % 96], str(i // 96)) for i in range(n)]
    create_plate(target, addresses)
    layout = ImageLayout("cyx", (1, SIZE, SIZE), np.uint16, ("FISH",))
    image = np.random.default_rng(0).poisson(100, (1, SIZE, SIZE)).astype(np.uint16)
    for address in addresses:
        write_image(target, address, image, layout)


@contextmanager
def without_page() -> Iterator[None]:
    """Run without the page."""

    @contextmanager
    def silent(*_: Any, **__: Any) -> Iterator[Callable[[Any], None]]:
        yield lambda _: None

    with patch.object(execute, "announce_run", silent):
        yield


@contextmanager
def page_seconds() -> Iterator[Counter[str]]:
    """Sum the processor time of the page's code in this process, and its updates."""
    spent: Counter[str] = Counter()

    def timed(name: str, function: Any) -> Any:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.thread_time() - began
                spent["looks"] += name == "look"

        return call

    with (
        patch.object(publisher, "rows_message", timed("field", publisher.rows_message)),
        patch.object(Runs, "take", timed("field", Runs.take)),
        patch.object(LivePage, "update", timed("look", LivePage.update)),
    ):
        yield spent


def time_run(plate: Path, out: Path, client: Any) -> float:
    """Return the seconds of one run, without its preparation."""
    settings = make_settings(
        channels=("FISH",), enhance=False, detector="page_overhead:detector"
    )
    prepared = prepare_run(plate, str(out), settings)
    began = time.monotonic()
    end = execute_run(prepared, client)
    if end.failed:
        raise SystemExit(f"failed: {end.last}")
    return time.monotonic() - began


def compare(plate: Path, folder: Path, pairs: int, batch: int) -> dict[str, Any]:
    """Return one row: the same run with and without its page."""
    seconds: dict[str, list[float]] = {"with": [], "without": []}
    spent: Counter[str] = Counter()
    with (
        open_client(workers=2) as client,
        patch.object(dispatch, "MAX_BATCH", batch),
    ):
        client.register_plugin(plugin.RunPage())
        session = pull_session(url=page_address(client))
        time_run(plate, folder / "warm", client)
        for number in range(pairs):
            for case in ("with", "without")[:: 1 if number % 2 else -1]:
                out = folder / f"{case}-{number}"
                if case == "with":
                    with page_seconds() as now:
                        seconds[case].append(time_run(plate, out, client))
                    spent.update(now)
                else:
                    with without_page():
                        seconds[case].append(time_run(plate, out, client))
        session.close()
    ratios = [a / b for a, b in zip(seconds["with"], seconds["without"], strict=True)]
    n_fields = len(ds.open_plate(str(plate)))
    return {
        "benchmark": "page",
        "case": f"{n_fields} fields of {SIZE} px, {batch} a task, page open",
        "pairs": pairs,
        "fields_per_second": round(n_fields / statistics.median(seconds["with"]), 1),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_low": round(min(ratios), 4),
        "ratio_high": round(max(ratios), 4),
        "cpu_us_per_field": round(1e6 * spent["field"] / (n_fields * pairs), 1),
        "cpu_ms_per_look": round(1e3 * spent["look"] / max(spent["looks"], 1), 2),
        "cpu_share": round((spent["field"] + spent["look"]) / sum(seconds["with"]), 5),
    }


def main() -> None:
    """Parse the command line; print rows and append them to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=192)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None, help="append rows to a file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_fields(folder / "plate.zarr", options.fields)
        for batch in (1, 64):
            own = folder / str(batch)
            row = compare(folder / "plate.zarr", own, options.pairs, batch)
            print(json.dumps(row), flush=True)
            if options.out is not None:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
