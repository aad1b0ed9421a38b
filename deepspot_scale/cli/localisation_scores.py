"""The command evaluate-localisations: molecules against the truth.

Nothing here knows how molecules are found or matched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepspot_scale.cli.application import app


@app.command()
def evaluate_localisations(
    localisations: Annotated[
        Path,
        typer.Argument(
            help="Run folder, Parquet file or ThunderSTORM CSV.", exists=True
        ),
    ],
    truth: Annotated[
        Path,
        typer.Argument(help="CSV of ThunderSTORM or of the challenge.", exists=True),
    ],
    out: Annotated[Path, typer.Option(help="Folder for report, tables and SVG.")],
    tolerance: Annotated[
        float, typer.Option(help="Largest lateral distance of a match in nm.")
    ] = 100.0,
    axial: Annotated[
        float | None, typer.Option(help="The same in depth; else depth is no matter.")
    ] = None,
    border: Annotated[
        float, typer.Option(help="Width of the border that does not count, in nm.")
    ] = 0.0,
    extent: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Height and width of a frame in nm, for the border."),
    ] = None,
    photons: Annotated[
        float, typer.Option(help="Fewest photons of a true molecule that counts.")
    ] = 0.0,
    movie: Annotated[str, typer.Option(help="Which movie, if there are several.")] = "",
) -> None:
    """Score localised molecules against true ones, over tolerances of 10 to 250 nm.

    Example: deepspot-scale evaluate-localisations RUN truth.csv --out EVAL
    """
    from deepspot_scale.evaluation.localisation_matching import MatchTerms
    from deepspot_scale.evaluation.localisation_report import (
        evaluate_localisations as score,
    )

    terms = MatchTerms(tolerance, axial, border, extent, photons)
    result = score(localisations, truth, out, terms, movie=movie)
    typer.echo(str(result.report))
