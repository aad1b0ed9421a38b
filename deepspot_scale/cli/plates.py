"""The commands for plates: ``convert``, ``info``, and ``demo`` with a simulated one.

Nothing here reads or writes images itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK
from deepspot_scale.cli.application import app, say
from deepspot_scale.cli.notification import notifies
from deepspot_scale.cli.options import (
    Block,
    Channels,
    Enhance,
    Model,
    Project,
    TrustWords,
)
from deepspot_scale.errors import PlateError
from deepspot_scale.networks.engine_types import DEFAULT_MODEL


@app.command()
@notifies("plate")
def convert(
    folder: Annotated[Path, typer.Argument(help="Folder of images.")],
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
        float | None, typer.Option(help="Micrometres per pixel.")
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
    """Convert a folder of images to an OME-Zarr plate.

    Example: deepspot-scale convert FOLDER PLATE.zarr --masks MASKS --pixel-size 0.108
    """
    from deepspot_scale.cli.progress import show_counts
    from deepspot_scale.io.conversion.convert import Conversion
    from deepspot_scale.io.conversion.convert import convert as convert_folder

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
    for note in plan.notes:
        say(note)
    typer.echo(str(plate))


@app.command()
def info(
    plate: Annotated[str, typer.Argument(help="Plate, image or folder of images.")],
    channels: Channels = None,
    enhance: Enhance = True,
    model: Model = DEFAULT_MODEL,
    block: Block = DEFAULT_BLOCK,
    split: Annotated[
        str | None,
        typer.Option(
            help="Only print wells for --wells, a line for each run: rows, columns, "
            "wells, or a number of runs."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Also the time on so many workers.")
    ] = None,
    trust: TrustWords = None,
) -> None:
    """Print the content of a plate, and what a run on it will need.

    Example: deepspot-scale info PLATE.zarr --workers 8
    """
    from deepspot_scale.cli.describe import describe_plate
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.runs.well_groups import group_wells

    if split is not None:
        for wells in group_wells(open_plate(plate, trust=trust or ()), split):
            typer.echo(",".join(wells))
        return
    for line in describe_plate(
        plate,
        tuple(channels or ()),
        enhance=enhance,
        model=model,
        block=block,
        workers=workers,
        trust=trust or (),
    ):
        typer.echo(line)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="New folder.")] = Path("deepspot-demo"),
    seed: Annotated[int, typer.Option(help="Another seed, another plate.")] = 2,
    volume: Annotated[
        bool, typer.Option("--volume", help="Simulate z-stacks; find spots in depth.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Worker processes.")] = 1,
) -> None:
    """Simulate a small wound assay, run on it, and compare with what was planted.

    Example: deepspot-scale demo --volume
    """
    from deepspot_scale.cli.progress import show_progress
    from deepspot_scale.demo import run_demo

    if out.exists():
        raise PlateError(f"{out} exists; remove it or give another folder with --out")
    with show_progress() as on_progress:
        outcome = run_demo(
            out, seed=seed, volume=volume, workers=workers, on_progress=on_progress
        )
    for line in outcome.lines:
        typer.echo(line)
