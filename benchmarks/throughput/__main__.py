"""The command: ``python -m benchmarks.throughput COMMAND``, from the repository's root.

Each command prints one row per measurement and, with ``--out``, appends it to a file.
The default sizes are those of the rows in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.throughput import engine, stages
from benchmarks.throughput.flops import flops_per_pixel
from benchmarks.throughput.machine import best_seconds, product_flops
from benchmarks.throughput.plates import draw_field, write_fields, write_mosaic
from benchmarks.throughput.rows import Row, keep, work_rates
from benchmarks.throughput.runs import NO_WORK, STANDINS, WITH_CELLS, time_run
from deepspot_scale.cluster.client import open_client
from deepspot_scale.cluster.worker import ENVIRONMENT
from deepspot_scale.networks.engine_types import DEFAULT_MODEL, EngineChoice
from deepspot_scale.networks.engines import get_engine
from deepspot_scale.networks.weights import find_weights

Options = argparse.Namespace


def _choice(options: Options) -> EngineChoice:
    return EngineChoice(
        options.model, options.engine, options.precision, options.device
    )


def _settings(options: Options) -> dict[str, Any]:
    return {
        "model": options.model,
        "engine": options.engine,
        "precision": options.precision,
    }


@contextmanager
def _plate(n: int, size: int, *, labels: bool = True) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield write_fields(Path(folder) / "plate", n, size, labels=labels)


def run_engine(options: Options) -> None:
    """Time the bare network on resident arrays of several static shapes."""
    for row in engine.time_engine(_choice(options), options.size):
        keep(row, options.out)


PAPERS_WAY = EngineChoice("deepspot", engine="keras", precision="float32")
"""How the paper's authors run their network."""


def run_stages(options: Options) -> None:
    """Time each stage of one field with cells."""
    for row in stages.time_stages(options.size, **_settings(options)):
        keep(row, options.out)


def run_endtoend(options: Options) -> None:
    """Time whole runs on a simulated plate, the bare engine and the authors' way.

    The rounds alternate, so that other programs on the machine affect all alike.
    """
    choice, size, n = _choice(options), options.size, options.fields
    here = get_engine(choice)
    limit = product_flops(here.name)
    per_pixel = flops_per_pixel(find_weights(choice.model).architecture)
    bare, runs, authors = [], [], []
    with _plate(n, size) as plate:
        for _ in range(options.rounds):
            rows = list(engine.time_engine(choice, size, repeats=1, limit=limit))
            bare.append(engine.fastest(rows))
            if options.authors:
                theirs = get_engine(PAPERS_WAY)
                patch = draw_field(size)[0][:512, :512]
                call = engine.authors_way(theirs, patch)
                seconds, cpu = best_seconds(call, 1)
                what = f"the authors' way, {patch.shape[0]} px"
                authors.append(Row("peers", what, 1, patch.size, seconds, cpu))
            with open_client(workers=options.workers) as client:
                what = f"{options.model}, {size} px, {options.workers} workers, cells"
                row = Row("endtoend", what, n, n * size * size, 1.0)
                values = {**WITH_CELLS, **_settings(options)}
                runs.append(
                    time_run(
                        client,
                        plate,
                        row,
                        warm_up=options.workers,
                        workers=options.workers,
                        device=options.device,
                        **values,
                    )
                )
    middle = {name: _middle(rows) for name, rows in _named(bare, runs, authors)}
    whole = middle["runs"]
    more = {
        **whole.more,
        "engine": here.name,
        "rounds": options.rounds,
        "bare_mpx_per_s": _rate(middle["bare"]),
        "ratio_to_bare": _ratio(whole, middle["bare"]),
        "cpu_ratio_to_bare": _cpu_ratio(whole, middle["bare"]),
        "product_tflops": round(limit / 1e12, 4),
        **work_rates(whole.pixels, whole.seconds, per_pixel, limit),
    }
    if authors:
        more["ratio_to_authors"] = _ratio(whole, middle["authors"])
        more["cpu_ratio_to_authors"] = _cpu_ratio(whole, middle["authors"])
        keep(middle["authors"], options.out)
    keep(middle["bare"], options.out)
    keep(replace(whole, more=more), options.out)


def _named(
    bare: list[Row], runs: list[Row], authors: list[Row]
) -> list[tuple[str, list[Row]]]:
    pairs = [("bare", bare), ("runs", runs), ("authors", authors)]
    return [(name, rows) for name, rows in pairs if rows]


def _rate(row: Row) -> float:
    return round(row.pixels / row.seconds / 1e6, 4)


def _ratio(one: Row, other: Row) -> float:
    return round((one.pixels / one.seconds) / (other.pixels / other.seconds), 3)


def _cpu_ratio(one: Row, other: Row) -> float | None:
    """Return the ratio of pixels per processor second, free of other programs."""
    if not one.cpu_seconds or not other.cpu_seconds:
        return None
    rates = [row.pixels / (row.cpu_seconds or 1) for row in (one, other)]
    return round(rates[0] / rates[1], 3)


def _middle(rows: list[Row]) -> Row:
    """Return the row with the median speed, with the least processor time."""
    speeds = [row.pixels / row.seconds for row in rows]
    row = rows[speeds.index(statistics.median_low(speeds))]
    cpus = [r.cpu_seconds / r.pixels for r in rows if r.cpu_seconds]
    return replace(row, cpu_seconds=min(cpus) * row.pixels if cpus else None)


def run_plumbing(options: Options) -> None:
    """Time whole runs whose network and detector do nothing."""
    cases = [(2048, options.fields, True), *((64, n, False) for n in options.tiny)]
    for size, n, labels in cases:
        with (
            _plate(n, size, labels=labels) as plate,
            open_client(workers=options.workers) as client,
        ):
            what = f"{size} px fields, no network, no detector"
            row = Row("plumbing", what, n, n * size * size, 1.0)
            keep(_time_plumbing(client, plate, row, options), options.out)


def _time_plumbing(client: Any, plate: str, row: Row, options: Options) -> Row:
    values = NO_WORK | {"workers": options.workers}
    return time_run(client, plate, row, warm_up=2 * options.workers, **values)


def run_growth(options: Options) -> None:
    """Time runs without network over the number of fields and the size of one field."""
    for n in options.numbers:
        with (
            _plate(n, 2048, labels=False) as plate,
            open_client(workers=options.workers) as client,
        ):
            row = Row("growth", "2048 px fields, no network", n, n << 22, 1.0)
            values = {"engine": NO_WORK["engine"], "workers": options.workers}
            timed = time_run(client, plate, row, warm_up=1, **values)
            keep(timed, options.out)
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            plate = write_mosaic(Path(folder) / "plate", size)
            with open_client(workers=options.workers) as client:
                what = f"one field of {size} px, {options.mosaic_engine}"
                row = Row("growth", what, 1, size * size, 1.0)
                name = options.mosaic_engine
                engine_of = NO_WORK["engine"] if name == "no network" else name
                values = {"engine": engine_of, "model": options.model}
                timed = time_run(client, plate, row, workers=options.workers, **values)
                keep(timed, options.out)


IN_ONE_PROCESS = 8
"""Workers per process: with more, threads would wait for the interpreter."""


def run_scaling(options: Options) -> None:
    """Time runs whose network sleeps a fixed time per field, on 1 to 64 workers."""
    from distributed import Client, LocalCluster

    for workers in options.numbers:
        n = workers * options.per_worker
        light = LocalCluster(
            n_workers=max(1, workers // IN_ONE_PROCESS),
            threads_per_worker=min(workers, IN_ONE_PROCESS),
            dashboard_address="127.0.0.1:0",
            env=ENVIRONMENT,
        )
        with (
            _plate(n, 64, labels=False) as plate,
            light as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            what = f"1 s a field, {workers} workers"
            row = Row("scaling", what, n, n * 64 * 64, 1.0)
            values = NO_WORK | {"engine": f"{STANDINS}:rest_1s"}
            warm_up = 2 * workers  # else processes import their libraries meanwhile
            timed = time_run(client, plate, row, warm_up=warm_up, **values)
            efficiency = round(n * 1.0 / (workers * timed.seconds), 4)
            more = {
                **timed.more,
                "workers": workers,
                "efficiency": efficiency,
                "efficiency_of_dask_alone": _rest_alone(
                    client, workers, min(16, options.per_worker)
                ),
            }
            keep(replace(timed, more=more), options.out)


def _rest_alone(client: Any, workers: int, rounds: int) -> float:
    """Return the efficiency of tasks that only sleep for a second."""
    began = time.perf_counter()
    resting = client.map(time.sleep, [1.0] * (workers * rounds), pure=False)
    client.gather(resting)
    return round(rounds / (time.perf_counter() - began), 4)


def run_peers(options: Options) -> None:
    """Time other methods on the same pixels, if they are installed."""
    for row in engine.time_peers(options.size, options.ufish):
        if isinstance(row, str):
            print(row, flush=True)
        else:
            keep(row, options.out)


def run_plots(options: Options) -> None:
    """Draw the stored rows."""
    from benchmarks.throughput.plots import draw

    print(draw(options.rows, options.folder))


NETWORK: dict[str, dict[str, Any]] = {
    "--model": {"default": DEFAULT_MODEL},
    "--engine": {"default": "auto"},
    "--precision": {"default": "auto"},
    "--device": {"default": "auto"},
    "--size": {"type": int, "default": 2048},
}
COMMANDS: dict[Callable[[Options], None], dict[str, dict[str, Any]]] = {
    run_engine: NETWORK,
    run_stages: NETWORK,
    run_endtoend: NETWORK
    | {
        "--fields": {"type": int, "default": 8},
        "--rounds": {"type": int, "default": 3},
        "--authors": {"action": "store_true", "help": "time their way too"},
    },
    run_plumbing: {
        "--fields": {"type": int, "default": 200},
        "--tiny": {"type": int, "nargs": "*", "default": [1000, 5000, 20000]},
    },
    run_growth: {
        "--model": {"default": DEFAULT_MODEL},
        "--numbers": {"type": int, "nargs": "*", "default": [1, 4, 16, 64]},
        "--sizes": {"type": int, "nargs": "*", "default": [4096, 8192, 32768]},
        "--mosaic-engine": {"default": "no network"},
    },
    run_scaling: {
        "--numbers": {"type": int, "nargs": "*", "default": [1, 4, 16, 64]},
        "--per-worker": {"type": int, "default": 64},
    },
    run_peers: {
        "--size": {"type": int, "default": 1024},
        "--ufish": {"type": Path, "help": "its ONNX file"},
    },
    run_plots: {
        "--rows": {"type": Path, "required": True},
        "--folder": {"type": Path, "default": Path("benchmarks/results")},
    },
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.throughput")
    commands = parser.add_subparsers(required=True)
    for call, options in COMMANDS.items():
        name = call.__name__.removeprefix("run_")
        one = commands.add_parser(name, help=(call.__doc__ or "").splitlines()[0])
        one.set_defaults(call=call)
        one.add_argument("--out", type=Path, help="append the rows to this file")
        one.add_argument("--workers", type=int, default=2)
        for option, details in options.items():
            one.add_argument(option, **details)
    return parser


def main(words: list[str] | None = None) -> None:
    """Run one command."""
    options = _parser().parse_args(words)
    options.call(options)


if __name__ == "__main__":
    main()
