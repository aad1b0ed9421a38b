"""Which images of a run count in no statistics, since they score too low.

A run and a least score come in, the images that score less go out. The score that the
summaries were made with stands in the folder, since it can be changed after the run:

    RUN/statistics.json    written before the summaries

Nothing here measures or rates.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

import pandas as pd

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.results import RunResults
from deepspot_scale.stages.rating import RateOptions
from deepspot_scale.statistics.left_out import is_left_out
from deepspot_scale.tables import as_table
from deepspot_scale.vocabulary import LEFT_OUT

NAME: Final = "statistics.json"


def read_least(results: RunResults) -> float | None:
    """Return the least score of the run's statistics; None: all images count.

    With a least score of 0 all do: no score is below it.
    """
    if not results.folder.exists(NAME):
        return results.settings.of(RateOptions).min_quality or None
    least: float | None = json.loads(results.folder.read(NAME))["min_quality"]
    return least or None


def write_least(folder: Folder, least: float | None) -> None:
    """Write the least score of the statistics that are made next."""
    folder.write(NAME, json.dumps({"min_quality": least}, indent=2).encode())


def find_left_out(results: RunResults, least: float | None) -> pd.DataFrame:
    """Return `vocabulary.LEFT_OUT`: the images that score less.

    Raises
    ------
    RunError
        The images were not rated.
    SettingsError
        The least score is not in 0 to 1.
    """
    if least is None:
        return pd.DataFrame({c.name: [] for c in LEFT_OUT}).pipe(as_table, LEFT_OUT)
    if not 0 <= least <= 1:
        raise SettingsError(f"the least quality is a score from 0 to 1, got {least:g}")
    if "ratings" not in results.contents.tables:
        raise RunError(
            f"the images of {results.folder.url} were not rated, so none can be left "
            "out by its quality; leave min-quality out, or run with --rate into "
            "another folder"
        )
    names = [column.name for column in LEFT_OUT if column.name != "min_quality"]
    ratings = results.read("ratings", names)
    low = ratings[ratings["score"] < least].assign(min_quality=least)
    return as_table(low.reset_index(drop=True), LEFT_OUT)


def count_spots_left_out(results: RunResults, left_out: pd.DataFrame) -> int:
    """Return how many of a run's spots lie in images that are left out."""
    if left_out.empty:
        return 0
    spots = results.count_spots()
    return int(spots.loc[is_left_out(spots, left_out), "n_spots"].sum())


def count_left_out(fields: pd.DataFrame, left_out: pd.DataFrame) -> pd.DataFrame:
    """Return the table of fields with how many images of each are left out."""
    if "n_left_out" not in fields:
        return fields
    keys = ["row", "column", "field"]
    counts = left_out.groupby(keys, as_index=False).size()
    merged = fields.drop(columns="n_left_out").merge(counts, how="left", on=keys)
    n = merged.pop("size").fillna(0).astype("int64")
    return merged.assign(n_left_out=n)[list(fields.columns)]


def with_least(results: RunResults, least: float | None) -> RunResults:
    """Return the same run, whose statistics are made with another least score."""
    write_least(results.folder, least)
    return replace(results)  # a copy that has read nothing yet
