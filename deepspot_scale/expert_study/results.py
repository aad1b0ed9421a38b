"""What a study says: choices in, tables out, beside what chance alone would give.

    per expert    counts and measures of each arm, expert and bin
    averages      mean, standard deviation, interval over experts
    chance        confusion if nobody could tell the two scores apart
    simulated     what simulated experts make of random scores of the same images

Nothing here draws or serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import StudyError
from deepspot_scale.io.study_answers import read_answers
from deepspot_scale.io.study_comparisons import (
    NETWORK,
    Comparison,
    list_comparisons,
)
from deepspot_scale.io.study_folder import read_choices, read_ratings, read_study
from deepspot_scale.simulation.experts import nearer_of
from deepspot_scale.statistics.expected_choices import expect_measures
from deepspot_scale.statistics.expert_choices import (
    ALL,
    BINS,
    MEASURES,
    average_experts,
    bin_of,
    count_choices,
    measure_counts,
)
from deepspot_scale.tables import guard_words

USUAL_ERROR: Final = 10.0
"""Standard deviation of an expert's score where one expert alone has rated."""
_STUDIES: Final = 100
"""Simulated ones."""


@dataclass(frozen=True)
class Simulation:
    """What simulated experts make of random scores."""

    error: float
    """Standard deviation of their judgements about an image's true score."""
    measured: bool
    """Whether the error is that between this study's experts; else `USUAL_ERROR`."""
    indifference: float
    """Half of the experts' equivalent scores differed by no more than this."""
    averages: pd.DataFrame
    """bin, measure, mean, and low and high, within which 95 of 100 studies are."""


@dataclass(frozen=True)
class ComparisonResults:
    """All that the report says of one comparison."""

    comparison: Comparison
    choices: pd.DataFrame
    """See `read_choices`."""
    per_expert: pd.DataFrame
    """See `count_choices`."""
    averages: pd.DataFrame
    """See `average_experts`, and chance: the expected confusion, else NaN."""
    simulation: Simulation


def read_results(folder: Path, *, seed: int = 0) -> list[ComparisonResults]:
    """Return what each comparison of a study says, those with answers only.

    Raises StudyError if the study is damaged, or holds answers to a comparison that is
    not there.
    """
    choices, known = read_choices(folder), list_comparisons(folder)
    lost = sorted(set(choices["comparison"]) - known.keys())
    if lost:
        raise StudyError(
            f"{folder} has answers to comparisons that are not there: {', '.join(lost)}"
        )
    results = []
    for name, comparison in known.items():
        own = choices[choices["comparison"] == name].reset_index(drop=True)
        if len(own):
            results.append(compute_results(comparison, own, seed=seed))
    return results


def compute_results(
    comparison: Comparison, choices: pd.DataFrame, *, seed: int = 0
) -> ComparisonResults:
    """Return what the choices of one comparison say."""
    counts = count_choices(choices)
    averages = average_experts(counts, seed=seed)
    averages["chance"] = [
        _chance(counts, row.arm, row.bin) if row.measure == "confusion" else np.nan
        for row in averages.itertuples(index=False)
    ]
    simulation = simulate_baseline(comparison, choices, seed=seed)
    return ComparisonResults(comparison, choices, counts, averages, simulation)


def _chance(counts: pd.DataFrame, arm: object, name: object) -> float:
    """Return the confusion that is expected if the two are chosen equally often.

    Experts keep their numbers of choices and, together, their share of equivalents.
    """
    own = counts[(counts["arm"] == arm) & (counts["bin"] == name) & (counts["n"] > 0)]
    if own.empty:
        return np.nan
    decided = float((own["n_target"] + own["n_predicted"]).sum() / own["n"].sum())
    expected = [expect_measures(int(n), decided / 2, decided / 2) for n in own["n"]]
    return float(np.mean([each.confusion for each in expected]))


def simulate_baseline(
    comparison: Comparison, choices: pd.DataFrame, *, seed: int = 0
) -> Simulation:
    """Return what experts make of random scores: those of the study, simulated.

    For each choice in the network's arm, a score is drawn uniformly from the scores of
    experts. A simulated expert judges the image with a normal error
    about the mean of its scores, which has an error too, and takes what is nearer.
    """
    images = comparison.images
    given = {name: list(shown.scores.values()) for name, shown in images.items()}
    measured = error_between(given)
    error = measured if np.isfinite(measured) else USUAL_ERROR
    same = choices.loc[choices["choice"] == "equivalent"]
    apart = (same["target"] - same["predicted"]).abs()
    indifference = float(apart.median()) if len(apart) else 0.0
    shown = choices[choices["arm"] == NETWORK]
    own = [given[name] for name in shown["image"]]
    true = np.array([np.mean(scores) for scores in own], np.float64)
    wide = error * np.sqrt([1 + 1 / len(scores) for scores in own])
    every = [score for scores in given.values() for score in scores]
    labels = np.array(comparison.labels or every)
    rng = np.random.default_rng((seed, 3))
    target, groups = shown["target"].to_numpy(np.float64), _Groups.of(shown)
    studies = []
    for _ in range(_STUDIES if len(shown) else 0):
        judged = true + rng.normal(0, 1, len(true)) * wide
        random = rng.choice(labels, len(true))
        chosen = nearer_of(judged, target, random, indifference=indifference)
        studies.append(groups.measure(chosen))
    averages = _spread(np.array(studies).reshape(-1, len(_ROWS), len(MEASURES)))
    return Simulation(error, bool(np.isfinite(measured)), indifference, averages)


_ROWS: Final = (*BINS, ALL)


class _Groups(NamedTuple):
    """To which expert and bin each choice belongs: `count_choices`, but fast."""

    number: NDArray[np.int64]
    """(2 n,), each choice in its bin and in `ALL`."""
    n_experts: int

    @classmethod
    def of(cls, shown: pd.DataFrame) -> _Groups:
        """Return the groups of choices."""
        experts, names = pd.factorize(shown["expert"])
        bins = bin_of(shown["target"].to_numpy(np.float64))
        first = experts * len(_ROWS)
        return cls(np.concatenate([first + bins, first + len(BINS)]), len(names))

    def measure(self, chosen: NDArray[np.object_]) -> NDArray[np.float64]:
        """Return means over experts (bins and all, measures); NaN: not known."""
        shape = (self.n_experts, len(_ROWS))
        twice = np.concatenate([chosen, chosen])
        t, p, n = (
            np.bincount(self.number[some], minlength=shape[0] * shape[1])
            for some in (twice == "target", twice == "predicted", twice != "discard")
        )
        values = np.stack(list(measure_counts(t, p, n).values()), axis=-1)
        return mean_of_known(values.reshape(*shape, len(MEASURES)))


def mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means over the first axis of what is not NaN; NaN where nothing is."""
    known = np.isfinite(values)
    n = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _spread(studies: NDArray[np.float64]) -> pd.DataFrame:
    """Return mean and quantiles over simulated studies, by bin and measure."""
    rows = []
    for k, name in enumerate(_ROWS):
        for m, kind in enumerate(MEASURES):
            known = studies[:, k, m][np.isfinite(studies[:, k, m])]
            if len(known):
                low, high = np.quantile(known, [0.025, 0.975])
                rows.append((name, kind, float(known.mean()), float(low), float(high)))
    return pd.DataFrame(rows, columns=["bin", "measure", "mean", "low", "high"])


def error_between(scores: dict[str, list[float]]) -> float:
    """Return the standard deviation of experts' scores about an image's mean.

    It is pooled over images; NaN if no image has scores of two experts.

    Examples
    --------
    >>> round(error_between({"a": [40, 60], "b": [10, 10], "c": [90]}), 6)
    10.0
    """
    squares, free = 0.0, 0
    for own in scores.values():
        values = np.asarray(own, np.float64)
        squares += float(((values - values.mean()) ** 2).sum())
        free += len(values) - 1
    return float(np.sqrt(squares / free)) if free else np.nan


def paper_table(results: ComparisonResults) -> pd.DataFrame:
    """Return the table of the paper: a row for each bin, mean ± sd in per cent.

    Columns are confusion and domination of the network and of random scores; those of
    the latter are simulated unless experts were asked. The win share stands beside.
    """
    rows = []
    for name in (*BINS, ALL):
        row: dict[str, str] = {"target": f"{name}\u00a0%" if name != ALL else "all"}
        for measure in MEASURES:
            for arm, text in _cells(results, name, measure):
                row[f"{measure.replace('_', ' ')}, {arm}"] = text
        rows.append(row)
    return pd.DataFrame(rows).fillna("-")


def _cells(
    results: ComparisonResults, name: str, measure: str
) -> Iterator[tuple[str, str]]:
    """Yield the cells of one bin and measure, by what the scores are from."""
    table = results.averages
    for arm in sorted(set(table["arm"])):
        own = table[(table["arm"] == arm) & (table["bin"] == name)]
        for row in own[own["measure"] == measure].to_dict("records"):
            yield str(arm), _percent(float(row["mean"]), float(row["sd"]))
    drawn = results.simulation.averages
    own = drawn[(drawn["bin"] == name) & (drawn["measure"] == measure)]
    for row in own.to_dict("records"):
        yield "random, simulated", _percent(float(row["mean"]))


def _percent(mean: float, sd: float = np.nan) -> str:
    if not np.isfinite(mean):
        return "-"
    return f"{100 * mean:.0f}" + (f" ± {100 * sd:.0f}" if np.isfinite(sd) else "")


def summarise_ratings(folder: Path) -> pd.DataFrame:
    """Return how each expert rates: n, mean, sd, and agreement with the others.

    Returns
    -------
    DataFrame
        expert, n_images, mean, sd, and of images that others have rated too, n_shared,
        difference (mean, own less the others' mean) and rmse.
    """
    ratings = read_ratings(folder)
    rows = []
    for expert, own in ratings.groupby("expert"):
        others = ratings[ratings["expert"] != expert].groupby("image")["score"].mean()
        mine = own.set_index("image")["score"]
        apart = (mine - others).dropna()
        shared = len(apart) > 0
        rows.append(
            {
                "expert": expert,
                "n_images": len(mine),
                "mean": mine.mean(),
                "sd": mine.std(ddof=1) if len(mine) > 1 else np.nan,
                "n_shared": len(apart),
                "difference": apart.mean() if shared else np.nan,
                "rmse": float(np.sqrt((apart**2).mean())) if shared else np.nan,
            }
        )
    names = ["expert", "n_images", "mean", "sd", "n_shared", "difference", "rmse"]
    return pd.DataFrame(rows, columns=names)


def write_answers(folder: Path, file: Path, *, history: bool = False) -> None:
    """Write all answers of a study as CSV, with where each image is from.

    `history` adds those that were corrected later; column revision tells them apart.
    Raises StudyError if the study is damaged.
    """
    images = read_study(folder).images
    table = read_answers(folder, history=history)
    time = pd.to_datetime(table.pop("time"), unit="s", utc=True)
    table["time"] = time.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    origins = [images[name] for name in table["image"]]
    for name in ("well", "field", "channel", "t", "z", "y", "x"):
        table[name] = [getattr(origin, name) for origin in origins]
    guard_words(table).to_csv(file, index=False, float_format="%.6g")
