"""The command ``denoise``: a plate without noise, by a network that learned from it.

    CLEAN-denoised/            the run folder, beside CLEAN.zarr
        denoiser/sample/       windows of the plate, see `training.plate_sample`
        denoiser/model/        the training, with its weights.safetensors
        denoiser/planted_spots.csv    spots found before and after
        denoised.zarr          the images as the workers wrote them

Nothing here knows how noise is removed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepspot_scale.cli import options
from deepspot_scale.cli.application import EXIT_FAILED_FIELDS, app, say
from deepspot_scale.cli.notification import Served, notifies
from deepspot_scale.cli.runs import device_on, hold_and_run, named_wells
from deepspot_scale.errors import RunError, SettingsError

if TYPE_CHECKING:
    from deepspot_scale.io.plate import Plate
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.networks.engine_types import Device
    from deepspot_scale.settings import Settings
    from deepspot_scale.training.log import Row
    from deepspot_scale.training.plate_sample import Sample


@app.command()
@options.with_options()
@notifies("out")
def denoise(
    plate: Annotated[str, typer.Argument(help="OME-Zarr plate, image, or folder.")],
    channel: Annotated[
        str, typer.Option("--channel", "-c", help="The channel, by name or index.")
    ],
    out: Annotated[str, typer.Option(help="New plate, of this channel alone.")],
    run: Annotated[
        str | None, typer.Option(help="Run folder; else beside the new plate.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Weights file of a denoiser; else one learns from the plate."
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option(min=1, help="Steps of the training; 1000 take minutes.")
    ] = 1000,
    doubt: Annotated[
        float,
        typer.Option(
            min=0,
            help="A smaller number keeps more spots, and more noise; 2.5 removes most.",
        ),
    ] = 1.2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all randomness.")] = 0,
    spot_sigma: Annotated[
        float,
        typer.Option(help="Standard deviation of the planted spots, in pixels."),
    ] = 1.3,
    project: options.Project = "none",
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
        bool, typer.Option(help="Replace a denoised plate that is there.")
    ] = False,
    device: options.Device = "auto",
    cluster: options.Cluster = "local",
    workers: options.Workers = None,
    trust: options.TrustWords = None,
) -> None:
    """Remove the noise of a channel, by a network that learns from the plate first.

    Example: deepspot-scale denoise PLATE.zarr --channel FISH --out CLEAN.zarr

    The same command again continues where the first one stopped. Spots are planted in
    the plate's own images, and a warning says where fewer are found without noise.
    """
    from deepspot_scale.cluster.client import read_cluster, serve
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.runs.lease import hold_run
    from deepspot_scale.runs.prepare import Selection, prepare_run

    where = read_cluster(cluster, workers=workers)
    if serve(where):
        raise Served
    target = _check_out(out)
    opened = open_plate(plate, trust=trust or ())
    folder = Folder(run or f"{str(target).removesuffix('.zarr')}-denoised")
    weights = os.path.abspath(model or _place(folder) / "model" / "weights.safetensors")
    settings = _settings(channel, weights, project=project, block=block)
    _check_out_is_ours(target, opened, settings, overwrite=overwrite)
    on = device_on(where, device)
    with hold_run(folder, say=say):
        _check_settings(folder, settings)
        fewest = 2 if model is None else 0
        sample = _sample(opened, folder, settings, seed=seed, fewest=fewest)
        if model is None:
            _train(folder, steps=steps, doubt=doubt, seed=seed)
        _plant(folder, weights, sample, sigma=spot_sigma, device=on)
    try:
        hold_and_run(
            folder.url,
            where,
            lambda: prepare_run(
                opened,
                folder.url,
                settings,
                selection=Selection(
                    named_wells(wells),
                    limit,
                    redo_changed=redo_changed,
                    allow_absent=allow_absent,
                ),
                device=on,
                threads=where.network_threads,
                retry_failed=retry_failed,
            ),
        )
    except typer.Exit as end:  # the fields that are done are written all the same
        if end.exit_code == EXIT_FAILED_FIELDS:
            _write(folder, target, opened, overwrite=overwrite)
        raise
    _write(folder, target, opened, overwrite=overwrite)


def _place(folder: Folder) -> Path:
    """Return where the denoiser of a run is, and what it learned from."""
    from deepspot_scale.runs.run_folder import DENOISER

    if not folder.is_local:
        raise SettingsError(f"--run: {folder.url} is not on a local disk; name one")
    return folder.local_path.absolute() / DENOISER


def _settings(channel: str, weights: str, **of_run: Any) -> Settings:
    """Return settings of a run that removes noise and does nothing else."""
    from deepspot_scale.settings import make_settings

    off = ("enhance", "detect", "quality", "clusters", "polarity")
    others: dict[str, Any] = {name: {"use": False} for name in off}
    return make_settings(
        channels=(channel,),
        denoise={"use": True, "denoiser": weights, "keep_denoised": True},
        **others,
        **of_run,
    )


def _check_out(out: str) -> Path:
    """Return the path of the new plate; SettingsError if it cannot be written."""
    from deepspot_scale.io.stores import is_url
    from deepspot_scale.outputs import check_output_folder

    if is_url(out):
        raise SettingsError(f"--out: {out} is not on a local disk; name a folder there")
    target = Path(out)
    if target.suffix != ".zarr":
        raise SettingsError(f"--out: expected a name ending in .zarr, got {out}")
    check_output_folder(target.parent, "--out")
    return target


def _check_out_is_ours(
    out: Path, plate: Plate, settings: Settings, *, overwrite: bool
) -> None:
    """Raise RunError, before any work, if there is something that is not replaced."""
    from deepspot_scale.exports.denoised_plate import read_about

    if not out.exists():
        return
    there = read_about(out)
    if there is None:
        raise RunError(f"{out} exists and is no denoised plate; choose another place")
    asked = {"source": plate.source, "channels": list(settings.channels)}
    asked["project"] = settings.project
    if not overwrite and any(there.get(name) != value for name, value in asked.items()):
        raise RunError(
            f"{out} was made of {there.get('source')}, {there.get('channels')}; "
            "add --overwrite, or choose another place"
        )


def _check_settings(folder: Folder, settings: Settings) -> None:
    """Raise RunError, before a training, if the run folder holds another run."""
    from deepspot_scale.config import difference
    from deepspot_scale.runs.run_folder import check_place
    from deepspot_scale.settings import read_settings

    check_place(folder)
    if folder.exists("settings.toml"):
        old = read_settings(folder.read("settings.toml").decode())
        changes = difference(old.to_dict(), settings.to_dict())
        if changes:
            raise RunError(
                f"{folder.url} holds a run with other settings: {'; '.join(changes)}. "
                "Use its settings, or another run folder (--run)"
            )


def _sample(
    plate: Plate, folder: Folder, settings: Settings, *, seed: int, fewest: int
) -> Sample:
    """Take windows of the plate; `fewest` is 0 where no network learns from them."""
    from deepspot_scale.networks.keras_library import import_keras
    from deepspot_scale.training.plate_sample import take_sample

    if fewest:  # before the minutes that a sample takes
        import_keras("learning what is noise (no --model)")
    (channel,) = settings.channels
    place = _place(folder) / "sample"
    sample = take_sample(
        plate,
        place,
        channel=channel,
        project=settings.project,
        seed=seed,
        fewest=fewest,
    )
    for line in sample.describe():
        say(line)
    return sample


def _train(folder: Folder, *, steps: int, doubt: float, seed: int) -> None:
    """Train on the plate's windows in this process, or continue that."""
    from deepspot_scale.cli.progress import describe_step
    from deepspot_scale.training.plate_sample import plate_recipe
    from deepspot_scale.training.trainer import train

    def on_step(row: Row) -> None:
        if row.validation is not None:
            say(describe_step(row, steps))

    place = _place(folder)
    recipe = plate_recipe(place / "sample", steps=steps, doubt=doubt, seed=seed)
    train(recipe, place / "model", resume=True, on_step=on_step)


def _plant(
    folder: Folder, weights: str, sample: Sample, *, sigma: float, device: Device
) -> None:
    """Say how many planted spots are found before and after, and warn of losses."""
    from deepspot_scale.evaluation.planted_spots import score_planted
    from deepspot_scale.runs.planted_table import (
        describe_losses,
        describe_planted,
        read_planted,
        write_planted,
    )
    from deepspot_scale.training.plate_sample import PLANTED, read_windows

    seed = sample.seed
    if not sample.n_planted:
        say("warning: no window of the plate is left to plant spots in")
        return
    table = read_planted(folder)
    if table is None or not ((table["sigma"] == sigma) & (table["seed"] == seed)).all():
        table = score_planted(
            read_windows(_place(folder) / "sample", PLANTED),
            weights,
            sigma=sigma,
            seed=seed,
            device=device,
        )
        write_planted(folder, table)
    for line in describe_planted(table):
        say(line)
    for line in describe_losses(table):
        say(f"warning: {line}")


def _write(folder: Folder, out: Path, plate: Plate, *, overwrite: bool) -> None:
    """Write the new plate, unless it holds all that the run has."""
    from deepspot_scale.exports.denoised_plate import about, read_about
    from deepspot_scale.exports.formats import export_run
    from deepspot_scale.runs.lease import hold_run
    from deepspot_scale.runs.manifest import addresses_of
    from deepspot_scale.runs.results import open_run

    with hold_run(folder, say=say):
        results = open_run(folder.url, plate=plate)
        for address in addresses_of(results.failed):
            say(f"{address.path} failed and has no image in {out}")
        if results.done.empty:
            say(f"no field is done, so {out} is not written")
            return
        there, now = read_about(out), about(results)
        if there == now:
            say(f"{out} holds all of them already")
        else:
            # With the same network, equal fields have equal pixels: none is lost.
            again = there is not None and {**there, "fields": now["fields"]} == now
            replace = overwrite or again
            export_run(folder.url, "denoised", out, overwrite=replace, plate=plate)
    typer.echo(str(out))
