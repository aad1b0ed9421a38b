"""One image with known spots: its pixels and a pipeline in, its scores out.

The image, a plane or a z-stack, runs through the pipeline that every command uses, once
for its spots and its enhanced pixels. Nothing here knows models, sets or files.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import KDTree

from deepspot_scale.blockwise.answers import IMAGE, PIXEL, REFERENCE, STEP
from deepspot_scale.blockwise.contract import Answers
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.blockwise.spots import ASSIGNED
from deepspot_scale.evaluation import matching
from deepspot_scale.evaluation.datasets import KnownImage
from deepspot_scale.evaluation.matching import REACH, Reach, Score
from deepspot_scale.evaluation.tables import FALSE, FOUND, MISSED, SPOT_SCORES
from deepspot_scale.kernels.pixel_shape import PixelShape

GAIN: Final = 3
OFFSET: Final = 500
"""This change of an image's counts must not change its spots."""


class Detected(NamedTuple):
    """The spots that a pipeline found in one image."""

    points: NDArray[np.float64]
    """(n, 2), y and x in pixels; (n, 3) with z in planes."""
    certainty: NDArray[np.float64]
    """(n,), 0 to 1."""
    enhanced: NDArray[np.uint8] | None
    """(y, x) or (z, y, x), 255 the brightest; None without enhancement."""


def detect_array(
    image: NDArray[Any], pipeline: Pipeline, z_step_um: float | None = None
) -> Detected:
    """Find every spot of raw counts, as ``detect`` does.

    The image is one plane (y, x), or a stack (z, y, x) for a pipeline of volumes, with
    the distance of its planes where it is known.

    Raises
    ------
    FieldError
        Pixels are not finite, or a stack has less than three planes.
    """
    given = Answers({REFERENCE.name: None, PIXEL.name: PixelShape()})
    given[STEP] = z_step_um
    read = read_whole({IMAGE: image})
    answers = reduce_rounds(pipeline, pipeline.blocks(image.shape), read, given)
    table = answers[ASSIGNED].table
    kept = [answers.by_name[layer.name] for layer in pipeline.layers]
    return Detected(
        table[[*"zyx"[-image.ndim :]]].to_numpy(np.float64),
        table["enhanced"].to_numpy(np.float64),
        kept[0] if kept else None,
    )


def rescale_counts(image: NDArray[Any]) -> NDArray[Any]:
    """Return image x 3 + 500, as uint16 if the values fit, else as float64."""
    wide = image.astype(np.float64) * GAIN + OFFSET
    whole = image.dtype.kind in "ui" and wide.min() >= 0 and wide.max() < 1 << 16
    return wide.astype(np.uint16) if whole else wide


def score_image(
    found: Detected, known: KnownImage, reach: Reach = REACH
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Score what was found in one image; `reach` is the largest distance of a match.

    Returns
    -------
    row : dict
        `tables.IMAGE_SCORES` without names, time and change.
    spots : DataFrame
        `tables.SPOT_SCORES` without names: true spots in their order, then false
        detections.
    """
    found = _without_uncounted(found, known.uncounted)
    points, radius = (found.points, known.points), reach.radius(known.pixels.ndim)
    pairs = matching.pair_one_to_one(*points, radius)
    spots = _spot_rows(found, known, pairs, reach)
    true = spots[spots["kind"] != FALSE]
    nearest = matching.match_nearest(*points, radius)
    single = Score(len(known.points), len(found.points), len(pairs))
    n_planes, height, width = (1, *known.pixels.shape)[-3:]
    area = height * width / 512**2
    neighbour = float(true["neighbour_px"].mean())  # NaN without true spots
    sigma = _median(true["sigma"])
    row = {
        "planes": n_planes,
        "height": height,
        "width": width,
        "n_true": single.n_true,
        "n_found": single.n_found,
        "n_ambiguous": nearest.n_ambiguous,
        **_shares(nearest, "nearest"),
        **_shares(single, "one_to_one"),
        "f1_integrated": matching.integrate_f1(*points, radius),
        "error_px": _median(true["error_px"]),
        "error_planes": _median(true["error_planes"]),
        "enhanced": true["enhanced"].mean(),
        "snr": _median(true["snr"]),
        "sigma": sigma,
        "neighbour_px": neighbour,
        "spacing": neighbour / sigma,
        "density": single.n_true / area,
        "false_density": (single.n_found - single.n_matched) / area,
    }
    return row, spots


UNCOUNTED: Final = 8.0
"""Pixels around an object that does not count in which nothing found counts."""


def _without_uncounted(found: Detected, places: NDArray[np.float64]) -> Detected:
    if len(places) == 0 or len(found.points) == 0:
        return found
    kept = KDTree(places).query(found.points)[0] > UNCOUNTED
    return found._replace(points=found.points[kept], certainty=found.certainty[kept])


def _shares(score: Score, rule: str) -> dict[str, float]:
    names = ("precision", "recall", "f1")
    return {f"{name}_{rule}": getattr(score, name) for name in names}


def _median(values: pd.Series[float]) -> float:
    return float(values.dropna().median())  # NaN where nothing is known


def _spot_rows(
    found: Detected, known: KnownImage, pairs: NDArray[np.int64], reach: Reach
) -> pd.DataFrame:
    by, at = pairs.T
    n = len(known.points)
    alone = np.setdiff1d(np.arange(len(found.points)), by)
    names = [c.name for c in SPOT_SCORES if c.dtype == "float64"]
    rows = {name: np.full(n + len(alone), np.nan) for name in names}
    kind = np.full(n + len(alone), MISSED, object)
    kind[at], kind[n:] = FOUND, FALSE
    axes = "zyx"[-known.pixels.ndim :]
    places = np.concatenate([known.points, found.points[alone]])
    found_at, taken = np.r_[at, n : n + len(alone)], np.r_[by, alone]
    for number, axis in enumerate(axes):
        rows[axis] = places[:, number]
        rows[f"found_{axis}"][found_at] = found.points[taken, number]
    rows["certainty"][found_at] = found.certainty[taken]
    gaps = found.points[by] - known.points[at]
    rows["error_px"][at] = np.hypot(*gaps[:, -2:].T)
    if len(axes) == 3:
        rows["error_planes"][at] = np.abs(gaps[:, 0])
    rows["snr"][:n], rows["sigma"][:n] = known.snr, known.sigma
    rows["neighbour_px"][:n] = _neighbour_distances(known.points, reach)
    rows["spacing"] = rows["neighbour_px"] / rows["sigma"]
    if found.enhanced is not None:
        bright = matching.brightness_at(found.enhanced, places)
        rows["enhanced"] = bright.astype(np.float64)
    return pd.DataFrame({"kind": kind, **rows})


def _neighbour_distances(
    points: NDArray[np.float64], reach: Reach
) -> NDArray[np.float64]:
    """Return each spot's distance to the nearest other one, in pixels."""
    if points.shape[1] == 3:  # a plane counts as far as it does in a match
        points = points * [reach.pixels / reach.planes, 1.0, 1.0]
    return matching.nearest_distances(points)
