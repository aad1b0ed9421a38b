"""Ratings of a plane's tiles, and the rows and numbers that leave the field of them.

Whole numbers come in, weights and steps of a score; they are summed, and divided once.
Nothing here runs a network.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import BRIGHTNESS, JOINT_NOISE
from deepspot_scale.blockwise.contract import Answers, Count, Key, Mean, Table
from deepspot_scale.blockwise.identity import plane_columns
from deepspot_scale.tables import make_table, table_of
from deepspot_scale.vocabulary import (
    RATINGS,
    TILE_RATINGS,
    PlaneIdentity,
)

STEPS: Final = 1 << 16
"""Steps from 0 to 1 of a score: sums of whole numbers do not depend on their order."""
_PLACE: Final = 5
"""Columns of a tile's place: plane, y, x, height, width."""
_SCORE: Final = _PLACE + 1
"""Column of the score, behind that of the weight."""


class Rating(NamedTuple):
    """Ratings of some tiles of a plane or stack."""

    tiles: NDArray[np.int64]
    """(n, 7 or 9): plane, y, x, height, width; how much the tile counts; score and
    outputs in steps, -1: too little of the tile was imaged."""

    def __add__(self, other: object) -> Rating:
        """Add other tiles."""
        if not isinstance(other, Rating):
            return NotImplemented
        return Rating(np.concatenate([self.tiles, other.tiles]))

    def in_order(self) -> Rating:
        """Return the same tiles by plane, then row by row."""
        places = self.tiles[:, :_PLACE]
        return Rating(self.tiles[np.lexsort(places.T[2::-1])])

    @property
    def known(self) -> NDArray[np.int64]:
        """Tiles that have a score."""
        return self.tiles[self.tiles[:, _SCORE] >= 0]

    def mean(self, output: int = 0) -> float:
        """Return the weighted mean score, or of an output from 1 on; NaN: no tile."""
        known = self.known
        if not len(known):
            return float("nan")
        weight = known[:, _PLACE]
        return int(weight @ known[:, _SCORE + output]) / (STEPS * int(weight.sum()))

    def below(self, least: float | None) -> int:
        """Return 1 if the score is less, else 0."""
        return int(least is not None and self.mean() < least)


RATING: Key[Rating] = Key("rating")
DISTANCE: Key[float] = Key("rating_distance")
"""How far a plane lies from the images that its rater was trained on."""
_LEFT_OUT: Final = "images that score less than --min-quality and are in no statistics"
_UNLIKE: Final = (
    "images unlike those that the rater was trained on, whose scores may not hold"
)
_UNRATED: Final = (
    "images that were hardly imaged, or whose pixels are all alike, and have no score"
)


def rating_gives(
    outputs: tuple[str, ...], least: float | None
) -> tuple[Table | Count | Mean, ...]:
    """Return what leaves the field, of a network with these outputs.

    `least` is the score below which an image is left out of statistics.
    """
    row = partial(_rating_row, outputs=outputs)
    rows = partial(_tile_rows, outputs=outputs)
    return (
        Table("ratings", RATINGS, (RATING, DISTANCE, BRIGHTNESS, JOINT_NOISE), row),
        Table("tile_ratings", TILE_RATINGS, (RATING,), rows),
        Mean("score", "mean score of its images; NaN: none has one", RATING, _score),
        Count("n_left_out", _LEFT_OUT, RATING, partial(_below, least=least)),
        Count("n_unlike_rated", _UNLIKE, DISTANCE, _is_unlike),
        Count("n_unrated", _UNRATED, RATING, _is_unrated),
    )


def _score(rating: Rating) -> float:
    return rating.mean()


def _below(rating: Rating, *, least: float | None) -> int:
    return rating.below(least)


def _is_unlike(distance: float) -> int:
    return int(distance > 1)


def _is_unrated(rating: Rating) -> int:
    return int(not len(rating.known))


def _names(outputs: tuple[str, ...]) -> dict[str, int]:
    """Return the columns of expected shares, and which output each is; 0: none."""
    return {
        f"expected_{name}": outputs.index(name) + 1 if name in outputs else 0
        for name in ("recall", "precision")
    }


def _rating_row(
    agreed: Answers, plane: PlaneIdentity, *, outputs: tuple[str, ...]
) -> pd.DataFrame:
    rating = agreed[RATING]
    row: dict[str, Any] = {
        name: rating.mean(at) if at else np.nan for name, at in _names(outputs).items()
    }
    row |= {"score": rating.mean(), "n_tiles": len(rating.known)}
    bright, noise = agreed[BRIGHTNESS], agreed[JOINT_NOISE]
    row["distance"] = agreed[DISTANCE]
    known = bright.high > bright.low
    row["noise"] = noise if known else np.nan
    row["snr"] = (bright.scale.high - bright.median) / noise if known else np.nan
    return make_table([plane_columns(plane) | row], RATINGS)


def _tile_rows(
    agreed: Answers, plane: PlaneIdentity, *, outputs: tuple[str, ...]
) -> pd.DataFrame:
    tiles = agreed[RATING].tiles
    shares = np.where(tiles < 0, np.nan, tiles / STEPS)
    several = bool(tiles[:, 0].any())
    values: dict[str, Any] = {
        name: np.full(len(tiles), value, object if isinstance(value, str) else None)
        for name, value in plane_columns(plane).items()
    }
    values["plane"] = tiles[:, 0] if several else values["z"]
    for at, name in enumerate(("y", "x", "height", "width"), 1):
        values[name] = tiles[:, at]
    values["weight"] = tiles[:, _PLACE]
    values["score"] = shares[:, _SCORE]
    for name, at in _names(outputs).items():
        unknown = np.full(len(tiles), np.nan)
        values[name] = shares[:, _SCORE + at] if at else unknown
    return table_of(values, TILE_RATINGS)
