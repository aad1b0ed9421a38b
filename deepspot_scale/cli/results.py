"""The commands about runs that are done: ``merge``, ``report``, ``export``, ``view``.

Nothing here computes on tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from deepspot_scale.cli.application import EXIT_FAILED_FIELDS, app, say
from deepspot_scale.cli.notification import notifies
from deepspot_scale.cli.options import TrustWords
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from deepspot_scale.exports.formats import Format
    from deepspot_scale.io.plate import Plate


def _complete_format(incomplete: str) -> list[str]:
    from deepspot_scale.exports.formats import FORMATS

    return [name for name in FORMATS if name.startswith(incomplete)]


Run = Annotated[str, typer.Argument(help="Folder of a run.")]
MovedPlate = Annotated[
    str | None, typer.Option(help="Where the run's plate is now, if it was moved.")
]


@app.command()
@notifies("out")
def merge(
    runs: Annotated[list[str], typer.Argument(help="Folders of finished runs.")],
    out: Annotated[str, typer.Option(help="Run folder to write.")],
    plate: MovedPlate = None,
    trust: TrustWords = None,
) -> None:
    """Merge runs on different wells of one plate into one run, and write its report.

    Example: deepspot-scale merge RUN-B RUN-C --out RUN

    The merged run equals one run on all of them; other settings are refused.
    """
    from deepspot_scale.cli.progress import show_work
    from deepspot_scale.io.tables import Folder
    from deepspot_scale.report.page import write_report
    from deepspot_scale.runs.merged_run import merge_runs

    merged = merge_runs(runs, out, plate=_trusted(runs[0], plate, trust))
    n_done, n_failed = len(merged.done), len(merged.failed)
    merged_runs, done = plural(len(runs), "run"), plural(n_done, "field")
    say(f"{merged_runs} merged: {done} done, {n_failed} failed")
    if Folder(out).is_local:
        found = _find_plate(out, plate, trust)
        with show_work() as progress:
            page = write_report(Folder(out).local_path, plate=found, progress=progress)
        typer.echo(str(page))
    else:
        typer.echo(f"{out}/wells.parquet")
    if n_failed:
        say(f"reasons: deepspot-scale status {out}; then retry {out} --failed")
        raise typer.Exit(EXIT_FAILED_FIELDS)


@app.command()
@notifies("run")
def report(
    run: Run,
    plate: MovedPlate = None,
    min_quality: Annotated[
        float | None,
        typer.Option(help="Make the statistics again without images that score less."),
    ] = None,
    trust: TrustWords = None,
) -> None:
    """Write the report of a run again: one HTML file that needs no network.

    Example: deepspot-scale report RUN --min-quality 0.6
    """
    from deepspot_scale.cli.progress import show_work
    from deepspot_scale.report.page import write_report

    with show_work() as progress:
        found = _find_plate(run, plate, trust)
        if min_quality is None:
            _tell_of_least(run)
        page = write_report(
            run, plate=found, min_quality=min_quality, progress=progress
        )
    typer.echo(str(page))


def _tell_of_least(run: str) -> None:
    """Say with which least score an earlier command made the statistics."""
    from deepspot_scale.runs.left_out import read_least
    from deepspot_scale.runs.results import open_results

    least = read_least(open_results(run))
    if least is not None:
        say(
            f"images that score below {least:g} stay left out, as an earlier command "
            "asked: --min-quality 0 lets all count"
        )


def _trusted(
    run: str, moved_to: str | None, trust: list[str] | None
) -> Plate | str | None:
    """Return a run's input if something of it is trusted, else where it is now."""
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.runs.results import open_results

    if not trust:
        return moved_to
    return open_plate(open_results(run, plate=moved_to).source, trust=trust)


def _find_plate(
    run: str, moved_to: str | None, trust: list[str] | None
) -> Plate | None:
    """Return a run's input; None when it is no longer where it was."""
    from deepspot_scale.runs.results import open_results

    results = open_results(run, plate=_trusted(run, moved_to, trust))
    try:
        return results.plate
    except (OSError, ValueError):
        if moved_to is not None:
            raise
        say("the run's plate is not where it was: a report without images; see --plate")
        return None


@app.command()
@notifies(lambda given: str(given["out"] or given["run"]))
def export(
    run: Run,
    to: Annotated[
        str,
        typer.Option(
            help="csv, anndata, spatialdata, ngio, napari, denoised, sectors or "
            "labels; ngio, sectors and labels write into the plate. Of localisations: "
            "thunderstorm, picasso or smlm.",
            autocompletion=_complete_format,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File or folder; else below RUN/exports.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an earlier export.")] = False,
    field: Annotated[
        list[str] | None, typer.Option(help="Only these, e.g. B/03/0 or B03.")
    ] = None,
    images: Annotated[bool, typer.Option(help="With spatialdata: images too.")] = False,
    plate: MovedPlate = None,
    trust: TrustWords = None,
) -> None:
    """Write the results of a run for another tool.

    Example: deepspot-scale export RUN --to anndata
    """
    from deepspot_scale.cli.progress import show_counts
    from deepspot_scale.exports.formats import export_run

    with show_counts("fields") as progress:
        written = export_run(
            run,
            cast("Format", to),  # checked there, with a hint at the nearest
            out,
            overwrite=overwrite,
            fields=field or (),
            images=images,
            plate=_trusted(run, plate, trust),
            progress=progress,
        )
    typer.echo(str(written))


@app.command()
def view(
    run: Run,
    field: Annotated[str, typer.Argument(help="Path of a field, e.g. B/03/0.")],
    plate: MovedPlate = None,
    trust: TrustWords = None,
) -> None:
    """Show one field of a run in napari: images, labels and spots.

    Example: deepspot-scale view RUN B/03/0
    """
    from deepspot_scale.exports.viewer import view_field

    view_field(run, field, plate=_trusted(run, plate, trust))
