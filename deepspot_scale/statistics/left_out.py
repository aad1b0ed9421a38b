"""Images that count in no statistics, since their quality is too low: rows to drop.

`vocabulary.LEFT_OUT` and tables with rows of images come in, the same tables without
those images go out. Of wells it is said which are without an image that counts: their
numbers of spots and cells are not known, although they are 0 in `vocabulary.WELLS`.
Nothing here knows how quality is measured.
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
WHY_EMPTY: Final = ("left out", "failed")
"""Why no image of a well counts, in one word or two."""
_AMOUNTS: Final = ("n_spots", "n_cells")


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


def why_empty(wells: pd.DataFrame) -> pd.Series:
    """Return why no image of each well counts, of `WHY_EMPTY`; "": some do.

    `wells` are `vocabulary.WELLS`. A well with images that are left out and others that
    failed is left out.
    """
    left_out, failed = WHY_EMPTY
    words = np.where(wells["n_left_out"] > 0, left_out, failed)
    known = np.where(wells["n_fields"] > 0, "", words)
    return pd.Series(known, wells.index, dtype=object)


def without_empty(wells: pd.DataFrame) -> pd.DataFrame:
    """Return `vocabulary.WELLS` whose spots and cells are NaN where no image counts."""
    known = wells["n_fields"] > 0
    return wells.assign(**{name: wells[name].where(known) for name in _AMOUNTS})
