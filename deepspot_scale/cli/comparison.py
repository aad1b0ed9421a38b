"""The command ``compare``: several detectors on the same fields of a plate.

Nothing here finds spots or compares them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepspot_scale.cli import options
from deepspot_scale.cli.application import EXIT_FAILED_FIELDS, app, say
from deepspot_scale.cli.notification import Served, notifies
from deepspot_scale.cli.runs import device_on, named_wells
from deepspot_scale.cli.signals import heed_signals
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from deepspot_scale.evaluation.detector_agreement import Agreement


@app.command()
@options.with_options()
@notifies("out")
def compare(
    plate: Annotated[str, typer.Argument(help="OME-Zarr plate, image, or folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the comparison.")],
    channels: options.Channel,
    detectors: Annotated[
        list[str],
        typer.Option(
            "--detector",
            help="Each: default (the network), a preset, another library's (bigfish, "
            "ufish, spotiflow, skimage-log, ...) or module:attribute, with options: "
            "bigfish:threshold=40.",
            autocompletion=options.complete_detector,
        ),
    ],
    radius: Annotated[
        float, typer.Option(help="Largest distance of a pair in pixels.")
    ] = 3.0,
    cells: Annotated[str | None, typer.Option(help="Label image of the cells.")] = None,
    model: options.Model = "deepspot-fast",
    project: options.Project = "max",
    spot_sigma: Annotated[
        float | None,
        typer.Option(help="Standard deviation of wide spots, above 3.5 px, in pixels."),
    ] = None,
    block: options.Block = 2560,
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
) -> None:
    """Run several detectors on the same fields and show where they differ.

    Example: deepspot-scale compare PLATE.zarr --channel FISH --detector default
    --detector skimage-log --limit 4 --out COMPARED

    The same command again continues; with one more --detector only that runs.
    """
    from deepspot_scale.cli.progress import show_progress
    from deepspot_scale.cluster.client import open_client, read_cluster, serve
    from deepspot_scale.evaluation.compared_detectors import write_compared
    from deepspot_scale.evaluation.detector_page import PAGE
    from deepspot_scale.evaluation.detector_runs import (
        Doing,
        plan_detectors,
        run_detectors,
    )
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.runs.prepare import Selection

    where = read_cluster(cluster, workers=workers)
    if serve(where):
        raise Served
    opened = open_plate(plate, trust=trust or ())
    shared = {
        "channels": tuple(channels),
        "cells": cells,
        "model": model,
        "project": project,
        "spot_sigma": spot_sigma,
        "block": block,
    }
    planned = plan_detectors(detectors, out, shared)
    selection = Selection(
        named_wells(wells),
        limit,
        redo_changed=redo_changed,
        allow_absent=allow_absent,
    )
    with (
        heed_signals() as asked,
        open_client(where, say=say) as client,
        show_progress() as show,
    ):
        doing = Doing(
            client,
            device_on(where, device),
            where.network_threads,
            retry_failed,
            lambda each: say(f"{each.detector}: {each.folder}"),
            show,
            asked.to_stop,
        )
        ends = run_detectors(opened, planned, selection=selection, doing=doing)
    if len(ends) < len(planned) or any(end.left for end in ends.values()):
        say("stopped; the same command continues")
        raise typer.Exit(asked.exit_code)
    agreement = write_compared(opened, planned, out, radius=radius)
    _say_agreement(agreement)
    typer.echo(str(out / PAGE))
    if any(end.failed for end in ends.values()):
        say(f"fields failed; reasons: {out / 'left_out.csv'}")
        raise typer.Exit(EXIT_FAILED_FIELDS)


def _say_agreement(agreement: Agreement) -> None:
    for line in agreement.summary.to_dict("records"):
        alone = line["found_by_it_alone"]
        share = f", {100 * alone:.1f} % by it alone" if line["n_spots"] else ""
        say(f"{line['detector']}: {plural(int(line['n_spots']), 'spot')}{share}")
    for line in agreement.pairs.to_dict("records"):
        say(f"{line['detector']} and {line['other']}: F1 {line['f1']:.3f}")
