"""The table of planted spots of a run that removes noise: written, read, put in words.

Counts of spots that were planted and found go into the run folder as CSV and come out
again, with a sentence for each height at which spots were lost. Nothing here plants or
finds spots.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

import pandas as pd

from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.run_folder import DENOISER
from deepspot_scale.tables import as_table
from deepspot_scale.vocabulary import Column

FILE: Final = f"{DENOISER}/planted_spots.csv"
"""The table in a run folder."""
PLANTED: Final = (
    Column("snr", "float64", "height of the planted spots over the noise around"),
    Column("sigma", "float64", "standard deviation of the spots in pixels"),
    Column("seed", "int64", "seed of their places and noise"),
    Column("n_windows", "int64", "windows of the plate that spots were planted in"),
    Column("n_planted", "int64", "spots that were planted"),
    Column("n_matched_raw", "int64", "of them found before noise was removed"),
    Column("n_matched", "int64", "of them found after"),
    Column("n_other_raw", "int64", "spots found before that were not planted"),
    Column("n_other", "int64", "spots found after that were not planted"),
    Column("recall_raw", "float64", "share of the planted spots found before"),
    Column("recall", "float64", "share of the planted spots found after"),
    Column("precision_raw", "float64", "share of planted ones of those found before"),
    Column("precision", "float64", "share of planted ones of those found after"),
)
MOST_LOST: Final = 0.02
"""Share of the planted spots that may be lost without a warning."""
SURE: Final = 5.0
"""From this height over the noise on, a loss is warned of: such spots are found in
the raw image."""


def write_planted(folder: Folder, table: pd.DataFrame) -> None:
    """Write the table of a run, columns `PLANTED`."""
    text = as_table(table, PLANTED).to_csv(index=False)
    folder.write(FILE, text.encode())


def read_planted(folder: Folder) -> pd.DataFrame | None:
    """Return the table of a run; None: nothing was planted."""
    if not folder.exists(FILE):
        return None
    return as_table(pd.read_csv(io.BytesIO(folder.read(FILE))), PLANTED)


def describe_planted(table: pd.DataFrame) -> Iterator[str]:
    """Yield what was found of the spots of each height."""
    for row in table.itertuples():
        yield (
            f"of {row.n_planted} planted spots of {row.snr:g} times the noise "
            f"{row.recall_raw:.1%} are found before noise is removed and "
            f"{row.recall:.1%} after; precision {row.precision_raw:.1%} and "
            f"{row.precision:.1%}"
        )


def describe_losses(table: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence for each height at which too many spots are lost.

    That is, recall falls by more than `MOST_LOST` at `SURE` times the noise or more.
    """
    lost = table["recall_raw"] - table["recall"]
    for row in table[(lost > MOST_LOST) & (table["snr"] >= SURE)].itertuples():
        yield (
            f"removing noise loses spots: of {row.n_planted} planted ones of "
            f"{row.snr:g} times the noise {row.n_matched_raw} were found before "
            f"({row.recall_raw:.1%}) and {row.n_matched} after ({row.recall:.1%}). "
            "Give more of what was taken away back (a smaller --doubt, another run "
            "folder), train longer (--steps), or find spots in the raw images"
        )
