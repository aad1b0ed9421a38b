"""The commands that find spots: ``run`` on plates, ``detect`` on image files.

Nothing here knows how spots are found.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from deepspot_scale.cli.application import EXIT_FAILED_FIELDS, app, say
from deepspot_scale.cli.options import (
    Channel,
    Channels,
    Cluster,
    Device,
    Measures,
    Method,
    Workers,
    with_options,
)
from deepspot_scale.errors import SettingsError


@app.command()
@with_options(Measures, Method)
def run(
    plate: Annotated[str, typer.Argument(help="OME-Zarr plate, image, or folder.")],
    out: Annotated[str, typer.Option(help="Run folder to write or to go on with.")],
    channels: Channel,
    wells: Annotated[str, typer.Option(help="Only these, e.g. B03,B04.")] = "",
    limit: Annotated[int | None, typer.Option(help="Only so many fields.")] = None,
    retry_failed: Annotated[
        bool, typer.Option(help="Try fields again that failed before.")
    ] = False,
    device: Device = "auto",
    cluster: Cluster = "local",
    workers: Workers = None,
    performance_report: Annotated[
        Path | None, typer.Option(help="HTML file for Dask's own report of the run.")
    ] = None,
    **settings: Any,
) -> None:
    """Find every spot of a plate and measure every cell.

    Example: deepspot-scale run PLATE.zarr --channel FISH --cells cells --out RUN

    The same command again goes on where the first one stopped.
    """
    from deepspot_scale.cluster.client import open_client, read_cluster, serve
    from deepspot_scale.cluster.security import dashboard_lines
    from deepspot_scale.dashboard.performance import check_report, write_performance
    from deepspot_scale.description import describe_run
    from deepspot_scale.progress import show_progress
    from deepspot_scale.runs.preparation import Selection, prepare_run
    from deepspot_scale.runs.screen import execute_run
    from deepspot_scale.settings import make_settings

    check_report(performance_report)
    where = read_cluster(cluster, workers=workers)
    if serve(where):
        return
    chosen = tuple(word for word in wells.split(",") if word.strip())
    prepared = prepare_run(
        plate,
        out,
        make_settings(channels=tuple(channels), **settings),
        selection=Selection(chosen, limit),
        device="gpu" if where.on_gpus and device == "auto" else device,
        threads=where.network_threads,
        retry_failed=retry_failed,
    )
    for well in prepared.plate.missing:
        say(f"well {well} is listed in the plate, but it is not there")
    for line in describe_run(prepared):
        say(line)
    with open_client(where, say=say) as client:
        for line in dashboard_lines(client):
            say(line)
        with (
            write_performance(client, performance_report),
            show_progress() as on_progress,
        ):
            end = execute_run(prepared, client, on_progress=on_progress)
    report = _report(out, prepared.plate)
    before = prepared.failed_before
    say(
        f"{end.done} fields done, {end.failed} failed, {end.skipped - before} skipped "
        f"as done before, {before} as failed before, {end.n_spots} spots"
    )
    typer.echo(report)
    if end.failed or before:
        say(f"reasons: column reason of {out}/fields.parquet; --retry-failed")
        raise typer.Exit(EXIT_FAILED_FIELDS)


def _report(out: str, plate: Any) -> str:
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.report.page import write_report

    folder = Folder(out)
    if not folder.is_local:
        return f"{out}/wells.parquet"
    return str(write_report(folder.local_path, plate=plate))


@app.command()
@with_options(Method)
def detect(
    images: Annotated[list[Path], typer.Argument(help="TIFF, PNG, or folders.")],
    out: Annotated[Path, typer.Option(help="CSV to write.")],
    channels: Channels = None,
    device: Device = "auto",
    **settings: Any,
) -> None:
    """Find every spot in image files, without a plate.

    Example: deepspot-scale detect image.tif more/*.png --out spots.csv
    """
    from deepspot_scale.runs.images import detect_images
    from deepspot_scale.settings import make_settings

    checked = make_settings(channels=tuple(channels or ["0"]), **settings)
    if not out.absolute().parent.is_dir():
        raise SettingsError(f"--out: there is no folder {out.absolute().parent}")
    found = detect_images(images, checked, device=device)
    found.table.to_csv(out, index=False)
    say(f"{len(found.table)} spots in {found.n_images} images")
    typer.echo(str(out))
    for path, reason in found.failed.items():
        say(f"failed: {path}: {reason}")
    if found.failed:
        raise typer.Exit(EXIT_FAILED_FIELDS)
