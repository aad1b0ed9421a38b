"""Localised molecules scored against true ones: tables in, a folder of results out.

    OUT/report.md              the scores at one tolerance, in words and numbers
    OUT/sweep.csv sweep.parquet   the columns of `localisation_matching.sweep`
    OUT/pairs.parquet          rows of the two tables that match, and their errors
    OUT/sweep.svg errors.svg   Jaccard and RMSE over the tolerance; error clouds

Localisations come from a run folder, a Parquet file, a CSV file or memory. Nothing here
knows how they were found.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
import pandas as pd

from deepspot_scale.errors import InputWarning, RunError, SettingsError
from deepspot_scale.evaluation.localisation_figures import draw_errors, draw_sweep
from deepspot_scale.evaluation.localisation_matching import (
    TOLERANCES_NM,
    MatchTerms,
    MoleculeScore,
    match_molecules,
    sweep,
)
from deepspot_scale.evaluation.localisation_truth import read_molecules
from deepspot_scale.evaluation.text import markdown_table
from deepspot_scale.runs.results import RunResults, open_results
from deepspot_scale.vocabulary import movie_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE: Final = "localisations"
_MOVIE: Final = ("row", "column", "field", "channel")
_SEED: Final = "deepspot_scale"
"""Names of parts of an SVG; equal figures give equal files."""


@dataclass(frozen=True)
class LocalisationEvaluation:
    """Scores of one set of localisations."""

    score: MoleculeScore
    """At the tolerance of the terms."""
    sweep: pd.DataFrame
    """See `localisation_matching.sweep`."""
    report: Path | None = None
    """Path of the Markdown report; None: nothing was written."""


def evaluate_localisations(
    localisations: str | os.PathLike[str] | pd.DataFrame,
    truth: str | os.PathLike[str] | pd.DataFrame,
    out: str | os.PathLike[str] | None = None,
    terms: MatchTerms | None = None,
    *,
    movie: str = "",
    tolerances_nm: Sequence[float] = TOLERANCES_NM,
) -> LocalisationEvaluation:
    """Score localised molecules against true ones, at one tolerance and over many.

    Parameters
    ----------
    localisations
        Run folder, Parquet file, CSV file (`read_molecules`), or a table with the
        columns frame (from 0), x_nm, y_nm and, with depth, z_nm.
    truth
        CSV file of ThunderSTORM or of the challenge, or such a table.
    out
        Folder to write, made if needed; files of the same names are replaced. None:
        nothing is written.
    terms
        What matches and what counts; None: within 100 nm in the plane, and all.
    movie
        Which movie of the localisations, by its name or address; empty: the only one.
    tolerances_nm
        Those of the sweep.

    Raises
    ------
    SettingsError
        A file cannot be read or lacks columns, there are several movies and none is
        named, or no frame is in both tables.
    RunError
        The folder is no run, or its run has no localisations.
    """
    terms = terms or MatchTerms()
    found = read_localisations(localisations, movie)
    true = truth if isinstance(truth, pd.DataFrame) else read_molecules(Path(truth))
    score = match_molecules(found, true, terms)
    swept = sweep(found, true, tolerances_nm, terms)
    report = None if out is None else _write(Path(out), score, swept, terms)
    return LocalisationEvaluation(score, swept, report)


def read_localisations(
    source: str | os.PathLike[str] | pd.DataFrame, movie: str = ""
) -> pd.DataFrame:
    """Return the localisations of one movie and channel.

    Parameters and errors are those of `evaluate_localisations`.
    """
    table = source if isinstance(source, pd.DataFrame) else _read(Path(source))
    known = [name for name in _MOVIE if name in table]
    if not known or not len(table):
        return table
    names = table[known].astype(str).agg("/".join, axis=1).str.strip("/")
    there = list(dict.fromkeys(names))
    wanted = [n for n in there if not movie or movie in {n, *n.split("/")}]
    if len(wanted) != 1:
        raise SettingsError(
            f"expected one movie and channel{f' {movie!r}' if movie else ''}, found "
            f"{', '.join(wanted) or 'none'} of {', '.join(there)}. Name one of them"
        )
    return table[names == wanted[0]].reset_index(drop=True)


def _read(path: Path) -> pd.DataFrame:
    if path.is_dir() and path.name == TABLE and any(path.glob("*.parquet")):
        path = path.parent
    if path.is_dir():
        results = open_results(path)
        if TABLE not in results.contents.tables:
            raise RunError(
                f"the run {path} has no table of localisations, but "
                f"{', '.join(results.contents.tables)}. Give a run of localise"
            )
        _check_whole(results, path)
        table = results.read(TABLE)
        return table.assign(field=table["field"].map(movie_name))
    if path.suffix.lower() == ".parquet":
        try:
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise SettingsError(f"{path} cannot be read as Parquet: {error}") from error
    return read_molecules(path)


def _check_whole(results: RunResults, path: Path) -> None:
    """Raise RunError if nothing is done; warn of frames that are not."""
    if results.done.empty:
        raise RunError(
            f"no frame of the run {path} is done; see deepspot-scale status {path}"
        )
    movies = results.movie_tables.get("movies")
    lacking = len(results.failed) if movies is None else int(movies["n_failed"].sum())
    if lacking or movies is None:
        warnings.warn(
            f"the run {path} is not whole ({lacking or 'some'} frames or segments are "
            "not done): their true molecules count as missed",
            InputWarning,
            stacklevel=4,
        )


def _write(
    out: Path, score: MoleculeScore, swept: pd.DataFrame, terms: MatchTerms
) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    swept.to_csv(out / "sweep.csv", index=False, float_format="%.6g")
    swept.to_parquet(out / "sweep.parquet", index=False)
    score.pairs.to_parquet(out / "pairs.parquet", index=False)
    _save(draw_sweep({"localisations": swept}), out / "sweep.svg")
    _save(draw_errors(score.pairs, terms.tolerance_nm), out / "errors.svg")
    report = out / "report.md"
    report.write_text(report_text(score, swept, terms), "utf-8")
    return report


def _save(figure: Figure, path: Path) -> None:
    with mpl.rc_context({"svg.hashsalt": _SEED}):
        figure.savefig(path, metadata={"Date": None})


def report_text(score: MoleculeScore, swept: pd.DataFrame, terms: MatchTerms) -> str:
    """Return the report as Markdown."""
    row = score.as_row()
    depth = "" if terms.axial_nm is None else f" and {terms.axial_nm:g} nm in depth"
    aside = [
        f"Molecules within {terms.border_nm:g} nm of the edge do not count."
        if terms.border_nm
        else "",
        f"True molecules below {terms.least_photons:g} photons do not count."
        if terms.least_photons
        else "",
    ]
    shift = ", ".join(
        f"{axis} {row[f'shift_{axis}_nm']:+.1f} nm"
        for axis in "xyz"
        if not math.isnan(row[f"shift_{axis}_nm"])
    )
    axial = row["rmse_axial_nm"]
    words = [
        f"At a tolerance of {terms.tolerance_nm:g} nm{depth}, {score.n_matched} of "
        f"{score.n_true} true molecules are found by {score.n_found} localisations: "
        f"Jaccard {score.jaccard:.3f}, precision {score.precision:.3f}, recall "
        f"{score.recall:.3f}, F1 {score.f1:.3f}.",
        f"RMSE of the pairs: {score.rmse_lateral_nm:.1f} nm in the plane"
        + ("." if math.isnan(axial) else f", {axial:.1f} nm in depth."),
        f"Mean error, found minus true: {shift or 'no pairs'}.",
        *aside,
        "Pairs are one to one and within a frame: as many as there can be inside the "
        "tolerance, then those with the least sum of squared distances.",
    ]
    kept = ["tolerance_nm", "jaccard", "precision", "recall", "rmse_lateral_nm"]
    kept += ["rmse_axial_nm"] if swept["rmse_axial_nm"].notna().any() else []
    shown = swept[kept].map(lambda value: f"{value:.4g}")
    figures = "![Jaccard and RMSE](sweep.svg)\n\n![Errors of the pairs](errors.svg)"
    text = "\n\n".join(word for word in words if word)
    return f"# Localisations\n\n{text}\n\n{figures}\n\n{markdown_table(shown)}\n"
