"""The scores of many images in numbers: one row an image in, summaries out.

The columns of an evaluation's tables are declared here. Intervals are 95 % and over
images, as in the DeepSpot paper: the image is the unit that varies, not each of its
spots. Nothing here draws, or knows how spots were found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from deepspot_scale.evaluation.domain_check import DomainCheck
from deepspot_scale.vocabulary import Column

FOUND, MISSED, FALSE = "found", "missed", "false"
"""Kinds of spots: true with a detection, true without one, detection without truth."""

_IDENTITY: Final = (
    Column("model", "string", "the model"),
    Column("data", "string", "the data set: a folder's name, or a word"),
    Column("set", "string", "one of the data's sets, such as var_50"),
    Column("group", "string", "part of the set, where the truth names any"),
    Column("image", "string", "name of the image"),
)
MATCH: Final = "a match lies within"
"""Name of the largest distance of a match, in words, in `Scores.provenance`."""
KEYS: Final = tuple(column.name for column in _IDENTITY)

IMAGE_SCORES: Final = (
    *_IDENTITY,
    Column("planes", "int64", "planes along z; 1: no stack"),
    Column("height", "int64", "pixels along y"),
    Column("width", "int64", "pixels along x"),
    Column("n_true", "int64", "true spots"),
    Column("n_found", "int64", "detections"),
    Column("precision_nearest", "float64", "each true spot takes its nearest one"),
    Column("recall_nearest", "float64", "the same"),
    Column("f1_nearest", "float64", "the same: the paper's F1"),
    Column("n_ambiguous", "int64", "true spots that share another one's detection"),
    Column("precision_one_to_one", "float64", "a detection serves one spot at most"),
    Column("recall_one_to_one", "float64", "the same"),
    Column("f1_one_to_one", "float64", "the same"),
    Column(
        "f1_integrated", "float64", "one-to-one F1, mean over radii up to the match's"
    ),
    Column("error_px", "float64", "median distance of pairs in y and x; NaN: none"),
    Column("error_planes", "float64", "the same along z; NaN: none, or no stack"),
    Column("enhanced", "float64", "0..255, mean over all true spots, found or not"),
    Column("snr", "float64", "median over true spots; NaN: not known"),
    Column("sigma", "float64", "median of the spots' sigma, pixels; NaN: not known"),
    Column(
        "neighbour_px", "float64", "mean distance to the nearest true spot, see there"
    ),
    Column("spacing", "float64", "neighbour_px over sigma"),
    Column("density", "float64", "true spots per 512 x 512 px"),
    Column("false_density", "float64", "false detections per 512 x 512 px"),
    Column("f1_change", "float64", "one-to-one F1 of image x 3 + 500, minus F1"),
    Column("seconds", "float64", "time to find the spots"),
)
SPOT_SCORES: Final = (
    *_IDENTITY,
    Column("kind", "string", "found, missed, or false: a detection without truth"),
    Column("z", "float64", "true position in planes, from 0; NaN: no stack"),
    Column("y", "float64", "true position in pixels; that of a false detection"),
    Column("x", "float64", "the same"),
    Column("found_z", "float64", "depth of the detection; NaN: missed, or no stack"),
    Column("found_y", "float64", "position of the detection; NaN: missed"),
    Column("found_x", "float64", "the same"),
    Column("error_px", "float64", "distance in y and x; NaN: missed or false"),
    Column("error_planes", "float64", "distance along z; NaN: the same, or no stack"),
    Column("snr", "float64", "true SNR; NaN: not known"),
    Column("sigma", "float64", "true sigma in pixels; NaN: not known"),
    Column(
        "neighbour_px",
        "float64",
        "to the nearest other true spot; a plane is as far as it is in a match",
    ),
    Column("spacing", "float64", "neighbour_px over sigma"),
    Column("enhanced", "float64", "largest enhanced pixel beside it, 0..255"),
    Column("certainty", "float64", "the detection's own, 0..1; NaN: missed"),
)
FAILURES: Final = (*_IDENTITY, Column("reason", "string", "why it was not measured"))


class Scores(NamedTuple):
    """The tables of an evaluation."""

    images: pd.DataFrame
    """`IMAGE_SCORES`, one row for each model and image."""
    spots: pd.DataFrame
    """`SPOT_SCORES`, one row for each true spot and each false detection."""
    failed: pd.DataFrame
    """`FAILURES`, images that were not measured."""
    provenance: dict[str, Any]
    """Models and their SHA-256, detector, number format, seed, versions."""
    domains: Mapping[str, DomainCheck] = MappingProxyType({})
    """How far the images lie from each model's training, by the model's name."""


class ScoreInterval(NamedTuple):
    """A mean and its 95 % interval; NaN where it is not known."""

    mean: float
    low: float
    high: float


_UNKNOWN: Final = ScoreInterval(np.nan, np.nan, np.nan)


def mean_interval(
    values: Sequence[float] | pd.Series[float], most: float = 1.0
) -> ScoreInterval:
    """Return the mean of the values that are not NaN, and Student's 95 % interval.

    There is one value for each image. A single value has no interval. The interval is
    cut to the range from 0 to `most`, which no value can leave.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if known.size == 0:
        return _UNKNOWN
    error = known.std(ddof=1) / np.sqrt(known.size) if known.size > 1 else np.nan
    return _around(float(known.mean()), float(error), known.size, most)


def share_interval(part: NDArray[Any], whole: NDArray[Any]) -> ScoreInterval:
    """Return sum(part) / sum(whole) and its 95 % interval over images.

    Both are counts of each image, (n,). Spots of one image are alike, so images are the
    unit that varies: this is the ratio estimator of cluster sampling (Cochran 1977,
    Sampling Techniques, section 6.4).
    """
    n, total = len(whole), float(whole.sum())
    if total == 0:
        return _UNKNOWN
    share = float(part.sum()) / total
    if n == 1:
        return ScoreInterval(share, np.nan, np.nan)
    spread = float(((part - share * whole) ** 2).sum())
    return _around(share, float(np.sqrt(n / (n - 1) * spread)) / total, n)


def _around(mean: float, error: float, n: int, most: float = 1.0) -> ScoreInterval:
    half = float(stdtrit(n - 1, 0.975)) * error if n > 1 else np.nan
    low, high = np.clip((mean - half, mean + half), 0.0, most)
    return ScoreInterval(mean, float(low), float(high))


# -- one row for each group of images --------------------------------------------------

MEANS: Final = {
    "precision_nearest": 1.0,
    "recall_nearest": 1.0,
    "f1_nearest": 1.0,
    "n_ambiguous": np.inf,
    "precision_one_to_one": 1.0,
    "recall_one_to_one": 1.0,
    "f1_one_to_one": 1.0,
    "f1_integrated": 1.0,
    "enhanced": 255.0,
    "false_density": np.inf,
}
"""Columns of `IMAGE_SCORES` that are averaged, and the largest value of each."""


def summarise(
    scores: Scores, keys: Sequence[str] = ("model", "data", "set")
) -> pd.DataFrame:
    """Return one row for each group of images: means over images with intervals.

    Images are grouped by `keys`, which are some of ``model``, ``data`` and ``set``.

    Returns
    -------
    DataFrame
        The keys, counts, and for each of `MEANS` the mean, ``_low`` and ``_high``;
        median and least F1; ``error_px`` and ``error_planes``, medians over all pairs;
        ``enhanced_median`` over all true spots; mean and largest change of F1.
    """
    spots = dict(iter(scores.spots.groupby(list(keys), sort=False)))
    failed = dict(iter(scores.failed.groupby(list(keys), sort=False)))
    none = scores.spots.iloc[:0]
    rows = []
    for key, images in scores.images.groupby(list(keys), sort=False):
        counts = {"n_images": len(images), "n_failed": len(failed.get(key, ()))}
        row = dict(zip(keys, key, strict=True)) | counts
        rows.append(row | _means(images) | _medians(images, spots.get(key, none)))
    return pd.DataFrame(rows)


def _means(images: pd.DataFrame) -> dict[str, float]:
    row: dict[str, float] = {
        "n_true": int(images["n_true"].sum()),
        "n_found": int(images["n_found"].sum()),
    }
    for name, most in MEANS.items():
        mean, low, high = mean_interval(images[name], most)
        row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return row


def _medians(images: pd.DataFrame, spots: pd.DataFrame) -> dict[str, float]:
    change = images["f1_change"].dropna().abs()
    true = spots[spots["kind"] != FALSE]
    return {
        "f1_nearest_least": images["f1_nearest"].min(),
        "f1_one_to_one_least": images["f1_one_to_one"].min(),
        "f1_one_to_one_median": images["f1_one_to_one"].median(),
        "error_px": spots["error_px"].dropna().median(),
        "error_planes": spots["error_planes"].dropna().median(),
        "enhanced_median": true["enhanced"].dropna().median(),
        "snr": images["snr"].dropna().median(),
        "sigma": images["sigma"].dropna().median(),
        "f1_change_mean": change.mean(),
        "f1_change_largest": change.max(),
    }


# -- against what makes spots hard to find ---------------------------------------------

EDGES: Final[dict[str, tuple[float, ...]]] = {
    "snr": (0, 3, 4, 6, 8, 12, 20, np.inf),
    "sigma": (0, 0.8, 1, 1.3, 1.6, 2, 2.5, 3, np.inf),
    "spacing": (0, 1.5, 3, 4.5, 6, 10, 20, np.inf),
    "density": (0, 10, 30, 100, 300, 1000, np.inf),
}
"""Ends of the bins, the lower one included; equal for all data, to compare them."""


_SUMMARY: Final = ("n_images", "n_spots", "mean", "mean_low", "mean_high")


def bin_scores(scores: Scores) -> pd.DataFrame:
    """Return F1 and recall (one to one) by SNR, sigma, spacing and density.

    F1 is the mean over images by the image's median; recall the share of the spots
    by their own SNR, sigma and spacing. Images without true spots are left out.

    Returns
    -------
    DataFrame
        model, data, measure (f1 or recall), by, low, high (the bin, high left out),
        n_images, n_spots, mean, mean_low, mean_high.
    """
    images = scores.images[scores.images["n_true"] > 0]
    spots = scores.spots[scores.spots["kind"] != FALSE]
    rows = []
    for by in EDGES:
        rows += _binned(images, "f1", (by,), _f1_of)
        if by in spots:
            rows += _binned(spots, "recall", (by,), _recall_of)
    names = ["model", "data", "measure", "by", "low", "high", *_SUMMARY]
    table = pd.DataFrame(rows).rename(columns={"low_0": "low", "high_0": "high"})
    return table.reindex(columns=names)


def cross_scores(scores: Scores) -> pd.DataFrame:
    """Return F1 (one to one) by density and sigma together.

    Returns
    -------
    DataFrame
        model, data, density_low, density_high, sigma_low, sigma_high, n_images,
        n_spots, mean, mean_low, mean_high; empty where no sigma is known.
    """
    images = scores.images[scores.images["n_true"] > 0]
    rows = _binned(images, "f1", ("density", "sigma"), _f1_of)
    ends = [f"{name}_{end}" for name in ("density", "sigma") for end in ("low", "high")]
    renamed = dict(zip(["low_0", "high_0", "low_1", "high_1"], ends, strict=True))
    names = ["model", "data", *ends, *_SUMMARY]
    return pd.DataFrame(rows).rename(columns=renamed).reindex(columns=names)


def _binned(
    table: pd.DataFrame,
    measure: str,
    by: tuple[str, ...],
    summary: Callable[[pd.DataFrame], dict[str, float]],
) -> list[dict[str, Any]]:
    places = {
        f"bin_{name}": _bins_of(table[name].to_numpy(np.float64), name) for name in by
    }
    known = np.all([place >= 0 for place in places.values()], axis=0)
    rows = []
    keys = ["model", "data", *places]
    for key, group in table.assign(**places)[known].groupby(keys):
        model, data, *bins = cast("tuple[Any, ...]", key)
        row: dict[str, Any] = {"model": model, "data": data, "measure": measure}
        row["by"] = " x ".join(by)
        for i, (name, place) in enumerate(zip(by, bins, strict=True)):
            row |= {f"low_{i}": EDGES[name][place], f"high_{i}": EDGES[name][place + 1]}
        rows.append(row | summary(group))
    return rows


def _bins_of(values: NDArray[np.float64], name: str) -> NDArray[np.int64]:
    """Return each value's bin; -1: not known. The last bin also holds infinity."""
    edges = np.array(EDGES[name])
    place = np.searchsorted(edges, values, side="right") - 1
    return np.where(np.isnan(values), -1, np.minimum(place, len(edges) - 2))


def _f1_of(images: pd.DataFrame) -> dict[str, float]:
    n_spots = int(images["n_true"].sum())
    values = (len(images), n_spots, *mean_interval(images["f1_one_to_one"]))
    return dict(zip(_SUMMARY, values, strict=True))


def _recall_of(spots: pd.DataFrame) -> dict[str, float]:
    hit = (spots["kind"] == FOUND).groupby([spots["set"], spots["image"]])
    part, whole = hit.sum().to_numpy(), hit.size().to_numpy()
    values = (len(whole), len(spots), *share_interval(part, whole))
    return dict(zip(_SUMMARY, values, strict=True))


def worst_images(images: pd.DataFrame, n: int = 3) -> pd.DataFrame:
    """Return, by model and data, up to `n` images with the lowest F1 below 1.

    `images` has the columns `IMAGE_SCORES`; F1 is one to one.
    """
    flawed = images[images["f1_one_to_one"] < 1]
    order = flawed.sort_values(["f1_one_to_one", *KEYS], kind="stable")
    return order.groupby(["model", "data"], sort=False).head(n)
