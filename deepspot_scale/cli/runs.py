"""The commands that find spots: ``run`` on plates and what goes with it, ``detect``.

Nothing here knows how spots are found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepspot_scale.cli import options
from deepspot_scale.cli.application import EXIT_FAILED_FIELDS, app, say
from deepspot_scale.cli.notification import Served, notifies
from deepspot_scale.cli.signals import StopRequest, heed_signals
from deepspot_scale.errors import RunError
from deepspot_scale.outputs import check_output_file
from deepspot_scale.words import plural

if TYPE_CHECKING:
    import pandas as pd

    from deepspot_scale.runs.lease import Lease
    from deepspot_scale.runs.prepare import Prepared
    from deepspot_scale.runs.progress import Progress
    from deepspot_scale.settings import Settings


@app.command()
@options.with_options(options.EVERYTHING, options.FurtherTables)
@notifies("out")
def run(
    plate: Annotated[str, typer.Argument(help="OME-Zarr plate, image, or folder.")],
    out: Annotated[str, typer.Option(help="Run folder to write, or to continue.")],
    channels: options.Channel,
    wells: Annotated[str, typer.Option(help="Only these, e.g. B03,B04.")] = "",
    limit: Annotated[int | None, typer.Option(help="Only so many fields.")] = None,
    retry_failed: Annotated[
        bool, typer.Option(help="Try fields again that failed before.")
    ] = False,
    redo_changed: Annotated[
        bool, typer.Option(help="Do fields again whose files have changed since.")
    ] = False,
    allow_absent: options.AllowAbsent = "none",
    device: options.Device = "auto",
    cluster: options.Cluster = "local",
    workers: options.Workers = None,
    trust: options.TrustWords = None,
    performance_report: Annotated[
        Path | None, typer.Option(help="HTML file for Dask's own report of the run.")
    ] = None,
    **settings: Any,
) -> None:
    """Find every spot of a plate and measure every cell.

    Example: deepspot-scale run PLATE.zarr --channel FISH --cells cells --out RUN

    The same command again continues where the first one stopped.
    """
    from deepspot_scale.cluster.client import read_cluster, serve
    from deepspot_scale.dashboard.performance import check_report
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.runs.prepare import Selection, prepare_run
    from deepspot_scale.settings import make_settings

    check_report(performance_report)
    where = read_cluster(cluster, workers=workers)
    if serve(where):
        raise Served
    chosen = named_wells(wells)
    hold_and_run(
        out,
        where,
        lambda: prepare_run(
            open_plate(plate, trust=trust or ()),
            out,
            make_settings(channels=tuple(channels), **settings),
            selection=Selection(
                chosen, limit, redo_changed=redo_changed, allow_absent=allow_absent
            ),
            device=device_on(where, device),
            threads=where.network_threads,
            retry_failed=retry_failed,
        ),
        performance_report,
    )


@app.command()
@notifies("folder")
def retry(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    failed: Annotated[
        bool, typer.Option("--failed", help="Only fields that failed before.")
    ] = False,
    detector: Annotated[
        str | None, typer.Option(help="The run's own detector, to let it run.")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="The run's own engine, to let it run.")
    ] = None,
    stages: Annotated[
        list[str] | None,
        typer.Option("--stage", help="A stage of the run's own, to let it run."),
    ] = None,
    segmenters: Annotated[
        list[str] | None,
        typer.Option("--segment", help="A segmenter of the run's own, to let it run."),
    ] = None,
    allow_absent: options.AllowAbsent = "none",
    device: options.Device = "auto",
    cluster: options.Cluster = "local",
    workers: options.Workers = None,
    trust: options.TrustWords = None,
) -> None:
    """Continue a run; its plate and all settings are read from its folder.

    Example: deepspot-scale retry RUN --failed

    Without --failed: what is left of the whole plate. Code that the run names as
    module:attribute runs only if it is named again: --detector my_module:detector.
    """
    from deepspot_scale.cluster.client import read_cluster, serve
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.runs.prepare import Selection, prepare_run
    from deepspot_scale.runs.results import read_run
    from deepspot_scale.settings import load_settings

    where = read_cluster(cluster, workers=workers)
    if serve(where):
        raise Served
    settings, facts = read_run(Folder(folder))
    named = (detector, engine, *(stages or ()), *(segmenters or ()))
    allowed = tuple(filter(None, named))
    loaded = load_settings(settings, allowed=allowed)
    hold_and_run(
        folder,
        where,
        lambda: prepare_run(
            open_plate(facts["input"]["source"], trust=trust or ()),
            folder,
            loaded,
            selection=Selection(failed=failed, allow_absent=allow_absent),
            device=device_on(where, device),
            threads=where.network_threads,
            files=facts.get("working_folder", ""),
        ),
    )


@app.command()
def status(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="For machines: one JSON object.")
    ] = False,
) -> None:
    """Say how far a run is, who works on it, and what failed why.

    Example: deepspot-scale status RUN
    """
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.runs.status import describe_status, read_status

    found = read_status(Folder(folder))
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
        return
    for line in describe_status(found):
        typer.echo(line)


def named_wells(words: str) -> tuple[str, ...]:
    """Return the wells of ``--wells B03,B04``; none are all."""
    return tuple(word for word in words.split(",") if word.strip())


def device_on(where: Any, device: str) -> Any:
    """Return the device that networks must run on."""
    return "gpu" if where.on_gpus and device == "auto" else device


def hold_and_run(
    out: str,
    where: Any,
    prepare: Callable[[], Prepared],
    performance_report: Path | None = None,
) -> None:
    """Hold the run folder, do what is left, and leave with the code that tells how."""
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.runs.lease import hold_run
    from deepspot_scale.runs.progress import describe_counts
    from deepspot_scale.runs.run_folder import check_lasting

    check_lasting(Folder(out))
    with heed_signals() as asked, hold_run(Folder(out), say=say) as lease:
        prepared = prepare()
        end = _execute(prepared, where, lease, asked, performance_report)
        if lease.lost:
            raise RunError(
                f"another client has taken {out} over, as this one gave no sign of "
                "life for a minute; what it did is kept"
            )
        if end.left:
            say(
                f"stopped: {plural(end.done + end.failed, 'field')} done or failed, "
                f"{end.left} "
                "left; the same command continues"
            )
            raise typer.Exit(asked.exit_code)
        report = _report(out, prepared.plate)
    before = prepared.failed_before
    what = "segment" if prepared.job.settings.of_movies else "field"
    finds = prepared.job.settings.finds_spots
    found = f", {plural(end.n_spots, 'spot')}" if finds else ""
    say(
        f"{plural(end.done, what)} done, {end.failed} failed, "
        f"{end.skipped - before} skipped as done before, "
        f"{before} as failed before{found}"
    )
    for line in describe_counts(prepared.job.pipeline.counts, end.counts):
        say(f"{line}; by field: fields.parquet")
    for line in _describe_compared(out, prepared.job.settings):
        say(line)
    for line in _describe_left_out(out, prepared.job.settings):
        say(line)
    if end.absence:
        say(f"warning: {end.absence}")
    typer.echo(report)
    if end.failed or before:
        say(f"reasons: deepspot-scale status {out}; then retry {out} --failed")
        raise typer.Exit(EXIT_FAILED_FIELDS)


def _execute(
    prepared: Prepared,
    where: Any,
    lease: Lease,
    asked: StopRequest,
    performance_report: Path | None,
) -> Progress:
    from deepspot_scale.cli.describe import describe_run
    from deepspot_scale.cli.progress import show_progress, show_work
    from deepspot_scale.cluster.client import open_client
    from deepspot_scale.cluster.security import dashboard_lines
    from deepspot_scale.dashboard.performance import write_performance
    from deepspot_scale.runs.execute import execute_run

    for well in prepared.plate.missing:
        say(f"well {well} is listed in the plate, but it is not there")
    for line in describe_run(prepared):
        say(line)
    with (
        open_client(where, say=say) as client,
        write_performance(client, performance_report),
        show_progress() as show,
        show_work() as tell,
    ):
        for line in dashboard_lines(client):
            say(line)

        def on_progress(progress: Progress) -> None:
            lease.progress = progress.to_dict()
            show(progress)

        return execute_run(
            prepared,
            client,
            on_progress=on_progress,
            stop=lambda: asked.to_stop() or lease.lost,
            tell=tell,
        )


def _describe_compared(out: str, settings: Settings) -> Iterator[str]:
    """Yield what the run says of channels that it compares."""
    from deepspot_scale.runs.compared_channels import describe_compared
    from deepspot_scale.runs.results import open_results

    if settings.colocalise:
        tables = open_results(out).summaries
        given = (tables["colocalisation"], tables["chromatic_shifts"], settings)
        yield from describe_compared(*given)


def _describe_left_out(out: str, settings: Settings) -> Iterator[str]:
    """Yield how many spots of the run are in images that are left out."""
    from deepspot_scale.runs.left_out import count_spots_left_out
    from deepspot_scale.runs.results import open_results

    if not settings.finds_spots:
        return
    results = open_results(out)
    left_out = results.summaries["left_out"]
    if len(left_out):
        n_spots = count_spots_left_out(results, left_out)
        n_all = int(results.done["n_spots"].sum())
        yield (
            f"{n_spots:,} of the run's {plural(n_all, 'spot')} lie in "
            f"{plural(len(left_out), 'image')} left out, and in no number of the report"
        )


def _report(out: str, plate: Any) -> str:
    from deepspot_scale.cli.progress import show_work
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.report.page import write_report

    folder = Folder(out)
    if not folder.is_local:
        return f"{out}/wells.parquet"
    with show_work() as progress:
        return str(write_report(folder.local_path, plate=plate, progress=progress))


@app.command()
@options.with_options(options.METHOD)
def detect(
    images: Annotated[list[Path], typer.Argument(help="TIFF, PNG, or folders.")],
    out: Annotated[Path, typer.Option(help="CSV to write.")],
    channels: options.Channels = None,
    allow_absent: options.AllowAbsent = "none",
    device: options.Device = "auto",
    **settings: Any,
) -> None:
    """Find every spot in image files, without a plate.

    Example: deepspot-scale detect image.tif more/*.png --out spots.csv
    """
    from deepspot_scale.runs.loose_images import detect_images
    from deepspot_scale.settings import make_settings
    from deepspot_scale.tables import guard_words

    settings["quality"] = settings["clusters"] = {"use": False}
    checked = make_settings(channels=tuple(channels or ["0"]), **settings)
    check_output_file(out, "--out")
    begun = out.with_name(f"{out.name}.partial")
    with begun.open("w", encoding="utf-8", newline="") as file:

        def write(rows: pd.DataFrame) -> None:
            words = guard_words(rows)
            words.to_csv(file, index=False, header=file.tell() == 0)
            file.flush()

        found = detect_images(
            images,
            checked,
            device=device,
            allow_absent=allow_absent,
            on_image=write,
        )
        if file.tell() == 0:
            write(found.table)
    begun.replace(out)
    say(f"{plural(len(found.table), 'spot')} in {plural(found.n_images, 'image')}")
    for line in found.left_out:
        say(line)
    if channels is None and len(found.channels) > 1:
        names = ", ".join(found.channels)
        say(f"of the channels {names} the first was used; others by --channel")
    typer.echo(str(out))
    for path, reason in found.failed.items():
        say(f"failed: {path}: {reason}")
    if found.failed:
        raise typer.Exit(EXIT_FAILED_FIELDS)
