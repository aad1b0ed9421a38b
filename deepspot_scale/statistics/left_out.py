"""Images that count in no statistics, since their quality is too low: rows to drop.

`vocabulary.LEFT_OUT` and tables with rows of images come in, the same tables without
those images go out. Nothing here knows how quality is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.statistics.groups import FIELD, by_occasion
from deepspot_scale.vocabulary import OCCASION

_IMAGE: Final = [*FIELD, *OCCASION]


def is_left_out(
    table: pd.DataFrame, left_out: pd.DataFrame, *, by: Sequence[str] = ("channel",)
) -> NDArray[np.bool_]:
    """Return which rows are of an image that is left out.

    Parameters
    ----------
    table
        Rows of images, with the columns of an address, an occasion and a channel.
    left_out
        `vocabulary.LEFT_OUT`.
    by
        Columns that name a channel; a row is left out with the image of any of them.
    """
    found = np.zeros(len(table), bool)
    if left_out.empty or table.empty:
        return found
    images = by_occasion(left_out)
    keys = pd.MultiIndex.from_frame(images[[*_IMAGE, "channel"]])
    rows = by_occasion(table)
    for name in by:
        own = pd.MultiIndex.from_frame(rows[[*_IMAGE, name]], names=keys.names)
        found |= own.isin(keys)
    return found


def without_left_out(
    table: pd.DataFrame, left_out: pd.DataFrame, *, by: Sequence[str] = ("channel",)
) -> pd.DataFrame:
    """Return the rows of the other images; parameters are as in `is_left_out`."""
    kept: pd.DataFrame = table[~is_left_out(table, left_out, by=by)]
    return kept.reset_index(drop=True)
