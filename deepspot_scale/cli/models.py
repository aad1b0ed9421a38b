"""The commands for networks: ``models list``, ``describe`` and ``verify``.

Nothing here runs or trains a network itself.
"""

from __future__ import annotations

from typing import Annotated

import typer

from deepspot_scale.cli.application import app, say
from deepspot_scale.cli.options import complete_model
from deepspot_scale.networks.engine_types import DEFAULT_MODEL

models = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List the networks, describe them, and check their files.\n\n"
    "Example: deepspot-scale models list",
)
app.add_typer(models, name="models")


@models.command("list")
def list_() -> None:
    """List the models of the package, and their cached OpenVINO exports.

    Example: deepspot-scale models list
    """
    from deepspot_scale.networks.model_list import cached_exports, list_models

    for line in list_models():
        typer.echo(line)
    for export in cached_exports():
        source = export.model or "weights of your own"
        size = f"{export.n_bytes / 1e6:.1f} MB"
        typer.echo(f"cached for OpenVINO: {source}, {size}, {export.folder}")


@models.command()
def describe(
    model: Annotated[
        str,
        typer.Argument(
            help="Shipped model, or a weights file.", autocompletion=complete_model
        ),
    ] = DEFAULT_MODEL,
) -> None:
    """Describe a model: its file, its layers, its training.

    Example: deepspot-scale models describe deepspot
    """
    from deepspot_scale.networks.model_list import describe_model

    for line in describe_model(model):
        typer.echo(line)


@models.command()
def verify() -> None:
    """Check that the files of all models of the package are undamaged.

    Example: deepspot-scale models verify
    """
    from deepspot_scale.networks.model_list import verify_models

    for name in verify_models():
        typer.echo(name)
    say("all files are undamaged")
