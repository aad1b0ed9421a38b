"""A run over a plate: its fields are processed, and their rows counted and summed up.

A prepared run comes in; its progress goes out, again and again. Nothing here knows how
a field is processed, or how it reaches a worker.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any
from uuid import uuid4

import pandas as pd

from deepspot_scale.cluster.liveness import cluster_errors
from deepspot_scale.cluster.shutdown import Shutdown, ShutdownNanny
from deepspot_scale.cluster.worker import EngineLoader, field_resources
from deepspot_scale.dashboard.publisher import announce_run
from deepspot_scale.errors import InputWarning, PlateError, RunError
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.io.tables import Folder
from deepspot_scale.networks.engine_types import Device
from deepspot_scale.runs import manifest
from deepspot_scale.runs.compared_parts import Comparison, PartEnd, PartTask
from deepspot_scale.runs.dispatch import batch_fields, distribute
from deepspot_scale.runs.job import Job
from deepspot_scale.runs.lease import hold_run
from deepspot_scale.runs.movie_summary import summarise_movies
from deepspot_scale.runs.prepare import Prepared, Selection, prepare_run
from deepspot_scale.runs.process import fail_batch, run_batch
from deepspot_scale.runs.progress import Progress, Tell
from deepspot_scale.runs.results import open_results
from deepspot_scale.runs.run_folder import check_lasting
from deepspot_scale.runs.summarise import summarise_run
from deepspot_scale.settings import Settings


def execute_run(
    prepared: Prepared,
    client: Any = None,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    tell: Tell | None = None,
) -> Progress:
    """Do what is left of a run, then write its summary tables.

    `stop` is called regularly. Once it returns true, the current fields are finished
    and written; the summary tables are left to the run that continues this one.
    `client` and `on_progress` are as in `run`; `tell` is called while summaries are
    made, as `progress.counted` does.

    Raises
    ------
    DeviceError, WeightsError
        An error that every field would meet.
    ClusterError
        Scheduler or workers are permanently gone.
    """
    prepared = replace(prepared, job=replace(prepared.job, token=uuid4().hex))
    job = prepared.job
    total = len(prepared.tasks) + len(prepared.missing)
    counts = {count.name: 0 for count in job.pipeline.counts}
    progress = Progress(total, prepared.skipped, counts=counts)
    began = time.monotonic()
    on_progress(progress)
    left = [task.entry.address for task in (*prepared.tasks, *prepared.missing)]
    with announce_run(client, job.out.url, left, prepared.before) as announce:
        for rows in _iter_rows(prepared, client, stop):
            announce(rows)
            progress = progress.after(rows, time.monotonic() - began)
            on_progress(progress)
    if progress.left:
        return progress
    manifest.sweep(job.out)
    summarise_run(
        job.out,
        job.settings,
        prepared.plate_map,
        prepared.channels,
        plate=prepared.plate,
        each=map if client is None else partial(_spread, client),
        tell=tell,
    )
    if job.settings.of_movies:
        summarise_movies(open_results(job.out.url, plate=prepared.plate))
    return progress


def _spread(
    client: Any, work: Comparison, tasks: Iterable[PartTask]
) -> Iterable[PartEnd]:
    """Do the work on each part on a client's workers."""
    with cluster_errors():
        futures = client.map(work, list(tasks), pure=False)
        ends: list[PartEnd] = client.gather(futures)
    return ends


def _iter_rows(
    prepared: Prepared, client: Any, stop: Callable[[], bool]
) -> Iterator[pd.DataFrame]:
    """Return the rows of fields as they end."""
    job = prepared.job
    error = PlateError("the plate lists this well, but it does not exist")
    absent = (fail_batch([task], error, job) for task in prepared.missing)
    if client is None:
        batches = batch_fields(prepared.tasks, prepared.plate)
        return chain(absent, _run_here(batches, job, stop))
    check_lasting(job.out)
    networks = job.pipeline.networks
    with cluster_errors():
        n_threads = sum(map(int, client.nthreads().values()))
        demand = field_resources(client, networks[0].device) if networks else {}
        client.register_plugin(EngineLoader(networks, demand, run_batch))
        client.register_plugin(Shutdown())
        client.register_plugin(ShutdownNanny())
    batches = batch_fields(prepared.tasks, prepared.plate, n_threads)
    return chain(absent, distribute(batches, client, job, demand, stop))


def _run_here(
    batches: Iterator[list[FieldTask]], job: Job, stop: Callable[[], bool]
) -> Iterator[pd.DataFrame]:
    for batch in batches:
        left = batch
        while left and not stop():
            rows = run_batch(left, job, wanted=lambda: not stop())
            left = left[len(rows) :]
            if len(rows):
                yield rows


def run(  # noqa: PLR0913 - see `prepare_run`
    source: Any,
    out: str,
    settings: Settings,
    *,
    client: Any = None,
    selection: Selection = Selection(),
    device: Device = "auto",
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Find every spot of a plate and measure every cell; write a run folder.

    The same call continues a run where it stopped, whatever stopped it.

    Parameters
    ----------
    source
        Plate, image or folder of images, as `open_plate` takes it, or an open Plate.
    out
        Run folder, path or fsspec URL; it is made, or its run is continued.
    settings
        What is measured and how, from `make_settings`.
    client
        `distributed.Client`; None: this process does one field after the other.
    selection
        Which fields; the others may follow later.
    device
        Where networks run: auto, cpu, or gpu, which refuses to run without one.
    on_progress
        Called at the start and each time fields have ended.

    Returns
    -------
    Progress
        How many fields are done, failed and left; `open_run` reads the folder.

    Raises
    ------
    PlateError, SettingsError, WeightsError
        The plate cannot be opened, or a setting is unfit.
    RunError
        The folder holds another run, or another client works on it.
    DeviceError
        A GPU was requested and none can be used.
    ClusterError
        Scheduler or workers are permanently gone; finished fields are kept.

    Examples
    --------
    >>> settings = make_settings(channels=["FISH"])  # doctest: +SKIP
    >>> run("PLATE.zarr", "RUN", settings).failed  # doctest: +SKIP
    0
    """
    with hold_run(Folder(str(out))) as lease:
        prepared = prepare_run(
            source, out, settings, selection=selection, device=device
        )

        def note(progress: Progress) -> None:
            lease.progress = progress.to_dict()
            on_progress(progress)

        end = execute_run(prepared, client, on_progress=note, stop=lambda: lease.lost)
    if lease.lost:
        raise RunError(f"another client has taken over {out}")
    if end.absence:
        warnings.warn(end.absence, InputWarning, stacklevel=2)
    return end
