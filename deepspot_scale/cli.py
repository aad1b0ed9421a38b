"""The command ``deepspot-scale``: parses, calls, prints where the result is.

Every command calls a function that Python users call too. Exit codes: 0 all done,
3 some fields failed, 2 bad usage, 1 anything else.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK
from deepspot_scale.errors import (
    DeepspotError,
    PlateError,
    RunError,
    SettingsError,
)

if TYPE_CHECKING:
    from deepspot_scale.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Every smFISH spot and every cell's RNA polarity, from OME-Zarr plates.",
)
EXIT_FAILED_FIELDS, EXIT_USAGE = 3, 2

Channel = Annotated[
    list[str], typer.Option("--channel", "-c", help="Channel, by name or index.")
]
Channels = Annotated[
    list[str] | None,
    typer.Option("--channel", "-c", help="Channel, by name or index; else the first."),
]
Enhance = Annotated[bool, typer.Option(help="Use the network.")]
Model = Annotated[str, typer.Option(help="Shipped model, or a weights file.")]
Detector = Annotated[str | None, typer.Option(help="Preset: enhanced, raw or product.")]
Project = Annotated[
    Literal["max", "mean", "none"], typer.Option(help="How a z-stack becomes a plane.")
]
Normalisation = Annotated[
    Literal["quantile", "max"], typer.Option(help="Brightness scale of a field.")
]
Engine = Annotated[
    Literal["auto", "keras", "openvino"], typer.Option(help="What runs the network.")
]
Precision = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    typer.Option(help="Number format of the network."),
]
Device = Annotated[
    Literal["auto", "cpu", "gpu"], typer.Option(help="gpu: refuse to run without one.")
]
Block = Annotated[int, typer.Option(help="Largest edge of a block in pixels.")]


def _plain(text: str) -> None:
    typer.echo(text, err=True)


@app.command()
def run(
    plate: Annotated[str, typer.Argument(help="OME-Zarr plate, image, or folder.")],
    out: Annotated[str, typer.Option(help="Run folder to write or to go on with.")],
    channel: Channel,
    cells: Annotated[str | None, typer.Option(help="Label image of the cells.")] = None,
    nuclei: Annotated[
        str | None, typer.Option(help="Label image of the nuclei.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="CSV by field, angle:DEG, point:Y,X or line:Y,X,Y,X."),
    ] = None,
    plate_map: Annotated[
        str | None, typer.Option(help="CSV of condition, gene, replicate by well.")
    ] = None,
    wells: Annotated[str, typer.Option(help="Only these, e.g. B03,B04.")] = "",
    limit: Annotated[int | None, typer.Option(help="Only so many fields.")] = None,
    project: Project = "max",
    enhance: Enhance = True,
    model: Model = "deepspot",
    normalisation: Normalisation = "quantile",
    detector: Detector = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    block: Block = DEFAULT_BLOCK,
    sectors: Annotated[int, typer.Option(help="Sectors about the nucleus.")] = 3,
    min_spots: Annotated[
        int, typer.Option(help="Cytoplasmic spots a cell needs for the index.")
    ] = 10,
    keep_enhanced: Annotated[
        bool, typer.Option(help="Write the enhanced images beside the tables.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option(help="Try fields again that failed before.")
    ] = False,
    cluster: Annotated[
        str, typer.Option(help="local, or tcp://host:port of a scheduler.")
    ] = "local",
    workers: Annotated[int, typer.Option(help="Worker processes when local.")] = 1,
) -> None:
    """Find every spot of a plate and measure every cell.

    Example: deepspot-scale run PLATE.zarr --channel FISH --cells cells --out RUN

    The same command again goes on where the first one stopped.
    """
    from deepspot_scale.cluster.local import open_client, threads_per_worker
    from deepspot_scale.description import describe_run
    from deepspot_scale.progress import show_progress
    from deepspot_scale.runs.preparation import Selection, prepare_run
    from deepspot_scale.runs.screen import execute_run

    settings = _settings(
        channels=tuple(channel),
        cells=cells,
        nuclei=nuclei,
        reference=reference,
        plate_map=plate_map,
        project=project,
        enhance=enhance,
        model=model,
        normalisation=normalisation,
        detector=detector,
        engine=engine,
        precision=precision,
        block=block,
        sectors=sectors,
        min_spots=min_spots,
        keep_enhanced=keep_enhanced,
    )
    chosen = tuple(word for word in wells.split(",") if word.strip())
    prepared = prepare_run(
        plate,
        out,
        settings,
        selection=Selection(chosen, limit),
        device=device,
        threads=threads_per_worker(workers) if cluster == "local" else 0,
        retry_failed=retry_failed,
    )
    for well in prepared.plate.missing:
        _plain(f"well {well} is listed in the plate, but it is not there")
    for line in describe_run(prepared):
        _plain(line)
    with open_client(cluster, workers=workers) as client:
        _plain(f"dashboard: {client.dashboard_link}")
        with show_progress() as on_progress:
            end = execute_run(prepared, client, on_progress=on_progress)
    report = _report(out, prepared.plate)
    before = prepared.failed_before
    _plain(
        f"{end.done} fields done, {end.failed} failed, {end.skipped - before} skipped "
        f"as done before, {before} as failed before, {end.n_spots} spots"
    )
    typer.echo(report)
    if end.failed or before:
        _plain(f"reasons: column reason of {out}/fields.parquet; --retry-failed")
        raise typer.Exit(EXIT_FAILED_FIELDS)


def _report(out: str, plate: object) -> str:
    from deepspot_scale.io.plate import Plate
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.report.page import write_report

    folder = Folder(out)
    if not folder.is_local:
        return f"{out}/wells.parquet"
    given = plate if isinstance(plate, Plate) else None
    return str(write_report(folder.local_path, plate=given))


def _settings(**values: object) -> Settings:
    from deepspot_scale.settings import make_settings

    return make_settings(**values)


@app.command()
def detect(
    images: Annotated[list[Path], typer.Argument(help="TIFF, PNG, or folders.")],
    out: Annotated[Path, typer.Option(help="CSV to write.")],
    channel: Channels = None,
    project: Project = "max",
    enhance: Enhance = True,
    model: Model = "deepspot",
    normalisation: Normalisation = "quantile",
    detector: Detector = None,
    engine: Engine = "auto",
    precision: Precision = "auto",
    device: Device = "auto",
    block: Block = DEFAULT_BLOCK,
) -> None:
    """Find every spot in image files, without a plate.

    Example: deepspot-scale detect image.tif more/*.png --out spots.csv
    """
    from deepspot_scale.runs.images import detect_images

    settings = _settings(
        channels=tuple(channel or ["0"]),
        project=project,
        enhance=enhance,
        model=model,
        normalisation=normalisation,
        detector=detector,
        engine=engine,
        precision=precision,
        block=block,
    )
    if not out.absolute().parent.is_dir():
        raise SettingsError(f"--out: there is no folder {out.absolute().parent}")
    found = detect_images(images, settings, device=device)
    found.table.to_csv(out, index=False)
    _plain(f"{len(found.table)} spots in {found.n_images} images")
    typer.echo(str(out))
    for path, reason in found.failed.items():
        _plain(f"failed: {path}: {reason}")
    if found.failed:
        raise typer.Exit(EXIT_FAILED_FIELDS)


@app.command()
def convert(
    folder: Annotated[Path, typer.Argument(help="Folder of TIFF or PNG images.")],
    plate: Annotated[Path, typer.Argument(help="OME-Zarr plate to write.")],
    masks: Annotated[Path | None, typer.Option(help="Folder of label images.")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression with groups row, column (or well), field, "
            "channel, z, t."
        ),
    ] = None,
    pixel_size: Annotated[
        float | None, typer.Option(help="Micrometres a pixel.")
    ] = None,
    project: Project = "none",
    version: Annotated[
        Literal["0.4", "0.5"], typer.Option(help="OME-Zarr version.")
    ] = "0.5",
    chunk: Annotated[int, typer.Option(help="Edge of a stored chunk in pixels.")] = 512,
    shard: Annotated[
        int | None, typer.Option(help="Edge of a shard in pixels, 0.5 only.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing plate.")] = False,
) -> None:
    """Turn a folder of images into an OME-Zarr plate.

    Example: deepspot-scale convert FOLDER PLATE.zarr --masks MASKS --pixel-size 0.108
    """
    from deepspot_scale.io.conversion import Conversion
    from deepspot_scale.io.conversion import convert as convert_folder
    from deepspot_scale.progress import show_counts

    conversion = Conversion(
        pattern=pattern,
        masks=masks,
        pixel_size_um=pixel_size,
        project=project,
        version=version,
        chunk=chunk,
        shard=shard,
    )
    with show_counts("fields") as progress:
        plan = convert_folder(
            folder, plate, conversion, progress=progress, overwrite=overwrite
        )
    for path in plan.unmatched:
        _plain(f"left out, the name tells no place: {path}")
    typer.echo(str(plate))


@app.command()
def info(
    plate: Annotated[str, typer.Argument(help="Plate, image or folder of images.")],
    channel: Channels = None,
    enhance: Enhance = True,
    model: Model = "deepspot",
    block: Block = DEFAULT_BLOCK,
) -> None:
    """Say what is in a plate, and what a run on it will need.

    Example: deepspot-scale info PLATE.zarr
    """
    from deepspot_scale.description import describe_plate

    for line in describe_plate(
        plate, tuple(channel or ()), enhance=enhance, model=model, block=block
    ):
        typer.echo(line)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="New folder.")] = Path("deepspot-demo"),
    seed: Annotated[int, typer.Option(help="Another seed, another plate.")] = 2,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 1,
) -> None:
    """Simulate a small wound assay, run on it, and compare with what was planted.

    Example: deepspot-scale demo
    """
    from deepspot_scale.demo import run_demo
    from deepspot_scale.progress import show_progress

    if out.exists():
        raise PlateError(f"{out} exists; remove it or give another folder with --out")
    with show_progress() as on_progress:
        outcome = run_demo(out, seed=seed, workers=workers, on_progress=on_progress)
    for line in outcome.lines:
        typer.echo(line)


def main() -> None:
    """Run the command; turn our errors into one line and an exit code."""
    # Only this process and its children: a user's own TensorFlow stays as it is.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        app()
    except (PlateError, RunError, SettingsError) as error:
        _plain(f"error: {error}")
        sys.exit(EXIT_USAGE)
    except DeepspotError as error:
        _plain(f"error: {error}")
        sys.exit(1)


if __name__ == "__main__":
    main()
