"""The commands on models: simulate, train, tune, fit-judge, evaluate.

Nothing here knows how images are drawn or networks are trained.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deepspot_scale.cli.application import EXIT_FAILED_FIELDS, app, say
from deepspot_scale.cli.notification import notifies
from deepspot_scale.cli.options import Device, Workers, complete_model
from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.engine_types import Precision

if TYPE_CHECKING:
    import pandas as pd

    from deepspot_scale.simulation.stacks import StackKind
    from deepspot_scale.training.log import Row

Seed = Annotated[int, typer.Option(min=0, help="Seed of all randomness.")]


@app.command()
@notifies("out")
def simulate(
    out: Annotated[Path, typer.Argument(help="New folder to write.")],
    set_name: Annotated[
        str | None,
        typer.Option(
            "--set", help="fixed, var, paper (either), broad, dynamic...; else broad."
        ),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="How many; else 400 images or 20 stacks.")
    ] = None,
    spots: Annotated[
        int | None,
        typer.Option(
            min=0, help="Spots per image; else 10 to 100 in turn, in a stack 500."
        ),
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="Edge of an image in pixels; else 256.")
    ] = None,
    planes: Annotated[
        int | None,
        typer.Option(min=3, help="Planes of a z-stack; else images are planes."),
    ] = None,
    sigma_z: Annotated[
        float | None,
        typer.Option(help="Of stacks: sigma of a spot along z in planes; else 1.17."),
    ] = None,
    snr: Annotated[
        float | None,
        typer.Option(help="Of stacks: height of a spot over the noise; else 15."),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Simulate images with known spots: the DeepSpot paper's sets, broad, z-stacks.

    Example: deepspot-scale simulate OUT --set var --spots 50 --images 400

    Example: deepspot-scale simulate OUT --planes 24 --spots 300 --images 10
    """
    from deepspot_scale.cli.progress import show_counts
    from deepspot_scale.training.image_sets import (
        write_simulated_set,
        write_simulated_stacks,
    )

    if planes is not None:
        if set_name is not None:
            raise SettingsError("--planes gives stacks of their own kind; omit --set")
        kind = _stack_kind(planes, spots=spots, size=size, sigma_z=sigma_z, snr=snr)
        with show_counts("stacks") as progress:
            written = write_simulated_stacks(
                out, kind, images=images or 20, seed=seed, progress=progress
            )
        typer.echo(str(written))
        return
    if sigma_z is not None or snr is not None:
        raise SettingsError("--sigma-z and --snr are for stacks: add --planes")

    with show_counts("images") as progress:
        written = write_simulated_set(
            out,
            set_name or "broad",
            images=images or 400,
            spots=spots,
            size=size,
            seed=seed,
            progress=progress,
        )
    typer.echo(str(written))


def _stack_kind(
    planes: int,
    *,
    spots: int | None,
    size: int | None,
    sigma_z: float | None,
    snr: float | None,
) -> StackKind:
    """Return what stacks show; what is not given is as in `StackKind`."""
    from deepspot_scale.simulation.stacks import StackKind

    usual = StackKind()
    edges = usual.shape[1:] if size is None else (size, size)
    return StackKind(
        shape=(planes, *edges),
        spots=usual.spots if spots is None else spots,
        peak=usual.peak if snr is None else snr,
        sigma=usual.sigma if sigma_z is None else (sigma_z, *usual.sigma[1:]),
    )


@app.command()
@notifies("out")
def train(
    config: Annotated[
        Path, typer.Option(help="TOML: images, network and schedule.", exists=True)
    ],
    out: Annotated[Path, typer.Option(help="Folder for weights, log, checkpoint.")],
    resume: Annotated[
        bool, typer.Option(help="Continue the training in the folder.")
    ] = False,
    processes: Annotated[
        int, typer.Option(min=0, help="Processes that draw images; 0: threads do.")
    ] = 0,
) -> None:
    """Train a network on your own images, simulated ones, or both.

    Example: deepspot-scale train --config train.toml --out MODEL --resume
    """
    from deepspot_scale.cli.progress import describe_step
    from deepspot_scale.training.recipe import read_recipe
    from deepspot_scale.training.trainer import train as train_network

    def on_step(row: Row) -> None:
        if row.step % 50 == 0 or row.validation is not None or row.step == recipe.steps:
            say(describe_step(row, recipe.steps))

    recipe = read_recipe(config)
    weights = train_network(
        recipe, out, resume=resume, on_step=on_step, processes=processes
    )
    typer.echo(str(weights))


@app.command()
@notifies(lambda given: _place_of_search(given["config"]))
def tune(
    config: Annotated[
        Path, typer.Option(help="TOML: a recipe and the search space.", exists=True)
    ],
    cluster: Annotated[
        str | None, typer.Option(help="As for run; else no cluster.")
    ] = None,
    workers: Workers = None,
) -> None:
    """Search for the best training settings, with Optuna and ASHA.

    Example: deepspot-scale tune --config tune.toml --cluster local --workers 2

    The same command continues a stopped search.
    """
    from contextlib import nullcontext

    from deepspot_scale.cluster.client import open_client
    from deepspot_scale.training.search import read_tune
    from deepspot_scale.training.tuning import tune as search

    def on_trial(trials: pd.DataFrame) -> None:
        say(trials["state"].value_counts().to_string())

    settings = read_tune(config)
    opened = open_client(cluster, workers=workers, say=say) if cluster else None
    with opened or nullcontext() as client:
        table = search(settings, client, on_trial=on_trial)
    typer.echo(table.to_string(index=False))
    typer.echo(str(Path(settings.out) / "best.toml"))


def _place_of_search(config: Path) -> str:
    """Return the folder of a search; empty: its file cannot be read, which it says."""
    from deepspot_scale.training.search import read_tune

    try:
        return str(read_tune(config).out)
    except (OSError, ValueError):
        return ""


@app.command()
@notifies("out")
def fit_judge(
    model: Annotated[
        str,
        typer.Argument(
            help="Shipped model or weights file.", autocompletion=complete_model
        ),
    ],
    out: Annotated[Path, typer.Option(help="Weights file to write.")],
    fields: Annotated[
        int, typer.Option(min=1, help="Simulated fields to learn from.")
    ] = 3000,
    seed: Seed = 0,
) -> None:
    """Fit what tells spots from a field's other dots, for a model of your own.

    Example: deepspot-scale fit-judge MODEL/weights.safetensors --out judged.safetensors
    """
    from deepspot_scale.cli.progress import show_counts
    from deepspot_scale.evaluation.judging import fit_judge as fit

    with show_counts("fields") as progress:
        written = fit(
            model,
            out,
            fields=fields,
            seed=seed,
            on_field=lambda n: progress(n, fields),
        )
    typer.echo(str(written))


@app.command()
@notifies("out")
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            help="Shipped model or weights file; several with commas between them.",
            autocompletion=complete_model,
        ),
    ],
    data: Annotated[
        list[str],
        typer.Argument(
            help="Folders of annotated images or z-stacks; paper-sets, broad, empty, "
            "simulated-stacks."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for report, CSV and PNG.")],
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Images per set; else all, or 20 simulated ones."),
    ] = None,
    size: Annotated[int, typer.Option(help="Edge of broad images in pixels.")] = 256,
    detector: Annotated[
        Literal["enhanced", "paper"], typer.Option(help="Preset of the detector.")
    ] = "enhanced",
    precision: Annotated[
        Precision, typer.Option(help="Number format of the network.")
    ] = "auto",
    device: Device = "auto",
    radius: Annotated[
        float, typer.Option(help="Largest distance of a match in pixels.")
    ] = 3.0,
    planes: Annotated[
        float, typer.Option(help="The same along z, in planes of a stack.")
    ] = 2.0,
    rescaled: Annotated[
        bool, typer.Option(help="Also score each image times 3 plus 500.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier sheet.")] = False,
) -> None:
    """Judge models on images with the truth: a quality sheet, tables, worst images.

    Example: deepspot-scale evaluate deepspot DATA paper-sets broad --out EVAL

    Example: deepspot-scale evaluate MODEL/weights.safetensors NUCLEI --out EVAL

    For models that enhance spots a folder holds spots.csv (image, y, x; of z-stacks z
    too, in planes from 0) and the images that it names; for those that find objects
    images/ and labels/; for those that remove noise noisy/ and clean/, with spots.csv
    where spots are known. Files of two folders have the same names.
    """
    from deepspot_scale.cli.progress import show_work
    from deepspot_scale.evaluation.datasets import Sample
    from deepspot_scale.evaluation.evaluate import Terms
    from deepspot_scale.evaluation.evaluate import evaluate as score
    from deepspot_scale.evaluation.matching import Reach
    from deepspot_scale.evaluation.quality import is_judged_by_pairs
    from deepspot_scale.settings import make_settings

    models = [name for name in model.split(",") if name]
    if models and is_judged_by_pairs(models[0]):
        usual = {
            "size": size == 256,
            "detector": detector == "enhanced",
            "precision": precision == "auto",
            "radius": radius == 3.0,
            "planes": planes == 2.0,
            "rescaled": not rescaled,
        }
        unfit = [f"--{name}" for name, is_usual in usual.items() if not is_usual]
        if unfit:
            raise SettingsError(f"{', '.join(unfit)} is for models that enhance spots")
        _judge(models, data, out, images, device, overwrite=overwrite)
        return
    settings = make_settings(channels=("0",), detector=detector, precision=precision)
    sample, reach = Sample(images, size=size), Reach(radius, planes)
    terms = Terms(settings, device, sample, rescaled, reach)
    with show_work() as progress:
        result = score(models, data, out, terms, overwrite=overwrite, progress=progress)
    for sheet in result.sheets:
        say(sheet.headline)
    typer.echo(str(result.sheet))
    typer.echo(str(result.report))
    if len(result.scores.failed):
        say(f"some images failed: {out}/failed.csv")
        raise typer.Exit(EXIT_FAILED_FIELDS)


def _judge(
    models: list[str],
    data: list[str],
    out: Path,
    images: int | None,
    device: Device,
    *,
    overwrite: bool,
) -> None:
    """Write the quality sheet of models whose truth is a second folder of images."""
    from deepspot_scale.cli.progress import show_work
    from deepspot_scale.evaluation.quality import evaluate_quality

    if len(data) != 1:
        raise SettingsError(f"models of this kind take one folder, got {len(data)}")
    with show_work() as progress:
        result = evaluate_quality(
            models,
            data[0],
            out,
            images=images,
            device=device,
            overwrite=overwrite,
            progress=progress,
        )
    for sheet in result.sheets:
        say(sheet.headline)
    typer.echo(str(result.page))
    if any(len(sheet.failed) for sheet in result.sheets):
        say(f"some images failed: {result.page}")
        raise typer.Exit(EXIT_FAILED_FIELDS)
