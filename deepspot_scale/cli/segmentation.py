"""The command ``segment``: labels of nuclei and cells, made once and kept in the plate.

Nothing here knows how nuclei and cells are found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from deepspot_scale.cli import options
from deepspot_scale.cli.application import EXIT_FAILED_FIELDS, app, say
from deepspot_scale.cli.notification import Served, notifies
from deepspot_scale.cli.runs import device_on, hold_and_run, named_wells
from deepspot_scale.errors import SettingsError

if TYPE_CHECKING:
    from deepspot_scale.runs.prepare import Prepared, Selection
    from deepspot_scale.settings import Settings


@app.command()
@options.with_options()
@notifies(lambda given: _folder(given["plate"], given["out"]))
def segment(
    plate: Annotated[str, typer.Argument(help="OME-Zarr plate; labels are added.")],
    nuclei: Annotated[
        str | None,
        typer.Option(help="Channel of the nuclei, or PLUGIN@CHANNEL."),
    ] = None,
    cells: Annotated[
        str | None,
        typer.Option(help="Channel that shows cells, or PLUGIN@CHANNEL."),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Run folder; else beside the plate.")
    ] = None,
    nucleus_um: Annotated[
        float | None,
        typer.Option(help="Typical diameter of a nucleus, micrometres; else measured."),
    ] = None,
    cell_um: Annotated[
        float | None,
        typer.Option(help="Largest distance of a cell from its nucleus, micrometres."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Shipped model or weights file for nuclei.",
            autocompletion=options.complete_model,
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="What runs the network.")] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="Number format of the network."),
    ] = "auto",
    project: options.Project = "max",
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
    overwrite: Annotated[
        bool, typer.Option(help="Replace labels of these names in the plate.")
    ] = False,
    device: options.Device = "auto",
    cluster: options.Cluster = "local",
    workers: options.Workers = None,
    trust: options.TrustWords = None,
) -> None:
    """Label nuclei and cells, and keep the labels in the plate.

    Example: deepspot-scale segment PLATE.zarr --nuclei DAPI --cells FISH

    The same command again continues where the first one stopped. Then: deepspot-scale
    run PLATE.zarr --cells cells --nuclei nuclei ...
    """
    from deepspot_scale.cluster.client import read_cluster, serve
    from deepspot_scale.runs.prepare import Selection

    where = read_cluster(cluster, workers=workers)
    if serve(where):
        raise Served
    folder = _folder(plate, out)
    given = {
        "nucleus_um": nucleus_um,
        "cell_um": cell_um,
        "nuclei_model": model,
        "nuclei_engine": engine,
        "nuclei_precision": precision,
    }
    settings = _settings(nuclei, cells, given, project=project, block=block)
    chosen = Selection(
        named_wells(wells),
        limit,
        redo_changed=redo_changed,
        allow_absent=allow_absent,
    )
    more = {
        "device": device_on(where, device),
        "threads": where.network_threads,
        "retry_failed": retry_failed,
    }
    words = tuple(trust or ())
    try:
        hold_and_run(
            folder,
            where,
            lambda: _prepare(
                (plate, words),
                folder,
                settings,
                chosen,
                overwrite=overwrite,
                **more,
            ),
        )
    except typer.Exit as end:  # the fields that are done have labels all the same
        if end.exit_code == EXIT_FAILED_FIELDS:
            _add_to_plate(folder, settings, overwrite=overwrite)
        raise
    _add_to_plate(folder, settings, overwrite=overwrite)


def _folder(plate: str, out: str | None) -> str:
    return out or f"{plate.rstrip('/').removesuffix('.zarr')}-segmented"


def _settings(
    nuclei: str | None, cells: str | None, given: dict[str, Any], **of_run: Any
) -> Settings:
    """Return settings of a run that labels and does nothing else."""
    from deepspot_scale.settings import make_settings

    named = {"nuclei": nuclei, "cells": cells}
    segments = [f"{kind}:{word}" for kind, word in named.items() if word is not None]
    if not segments:
        raise SettingsError("say what to label: --nuclei CHANNEL, --cells CHANNEL")
    channels = [_channel_of(word) for word in (cells, nuclei) if word is not None]
    known = {name: value for name, value in given.items() if value is not None}
    off = ("enhance", "detect", "quality", "clusters", "polarity")
    others = {name: {"use": False} for name in off}
    return make_settings(
        channels=channels[:1],
        segment={"segments": segments, **known},
        **others,
        **of_run,
    )


def _channel_of(word: str) -> str:
    """Return the channel of ``CHANNEL`` or ``PLUGIN@CHANNEL``."""
    plugin, at, channel = word.partition("@")
    if not at and ":" not in word:
        return word
    if not channel:
        raise SettingsError(f"say in which channel: {plugin}@CHANNEL")
    return channel


def _prepare(
    source: tuple[str, tuple[str, ...]],
    folder: str,
    settings: Settings,
    selection: Selection,
    *,
    overwrite: bool,
    **more: Any,
) -> Prepared:
    from deepspot_scale.exports.plate_labels import check_no_labels
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.runs.prepare import prepare_run

    plate = open_plate(source[0], trust=source[1])
    begun = Folder(folder).exists("settings.toml")
    # Of a run that was begun they may be its own.
    check_no_labels(plate, () if overwrite or begun else settings.made_labels)
    return prepare_run(plate, folder, settings, selection=selection, **more)


def _add_to_plate(folder: str, settings: Settings, *, overwrite: bool) -> None:
    from deepspot_scale.cli.progress import show_counts
    from deepspot_scale.exports.formats import export_run
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.runs.lease import hold_run

    with hold_run(Folder(folder), say=say), show_counts("fields labelled") as show:
        plate = export_run(folder, "labels", overwrite=overwrite, progress=show)
    flags = " ".join(f"--{kind} {kind}" for kind in settings.made_labels)
    say(f"{plate} has labels now: deepspot-scale run {plate} {flags} ...")
