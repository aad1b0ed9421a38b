"""F1 on images with known spots, with the default settings; one row per data set.

    python benchmarks/accuracy.py DATA --out benchmarks/results/accuracy.jsonl
    python benchmarks/accuracy.py DATA --bars --model deepspot --model deepspot-fast

DATA is a folder of data sets, each of them a folder that
`deepspot_scale.io.image_files.annotated_images` reads. With ``--bars`` the simulated
sets are measured too, and a Markdown table compares each bar, the required value of a
measure, with the measured value.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from deepspot_scale.evaluation.datasets import FRESH_SEED, Sample, list_cases
from deepspot_scale.evaluation.evaluate import Terms, score_models
from deepspot_scale.evaluation.tables import (
    FALSE,
    FOUND,
    Scores,
    cross_scores,
    summarise,
)
from deepspot_scale.evaluation.text import markdown_table
from deepspot_scale.networks.engine_types import DEFAULT_MODEL
from deepspot_scale.settings import make_settings

SIMULATED = ("paper-sets", "broad", "empty", "sites", "singles", "decades")
SPARSE_SIZES = (1024, 1024, 1024, 2048)
"""Edges of the fields of `sparse` in pixels, in turn."""
FULL = "deepspot"
DECADES = ((4.0, 10.0), (10.0, 100.0))
"""Ranges of the SNR whose recall is measured."""
CLEAR_SPACING, CLEAR_SNR = 3.0, 4.0
"""Least mean neighbour distance, in sigma, and least SNR for the broad set's bar."""


class Bar(NamedTuple):
    """A required value of a measure on some data."""

    data: str
    measure: str
    measured: Callable[[Scores], float]
    """Computes the measure from the scores of one model on the data."""
    full: float
    """Bound for deepspot."""
    fast: float | None
    """Bound for every other model; None: there is none."""
    most: bool = False
    """Whether the bound is an upper one, else a lower one."""

    def bound(self, model: str) -> float | None:
        """Return the bound for a model; None: there is none."""
        return self.full if model == FULL else self.fast


def _mean(name: str) -> Callable[[Scores], float]:
    return lambda scores: float(scores.images[name].mean())


def _least_set(name: str) -> Callable[[Scores], float]:
    return lambda scores: float(scores.images.groupby("set")[name].mean().min())


def _error(scores: Scores) -> float:
    return float(scores.spots["error_px"].dropna().median())


def _change(scores: Scores) -> float:
    return float(scores.images["f1_change"].dropna().abs().max())


def is_clear(images: pd.DataFrame) -> pd.Series:
    """Return which images have spots, mostly separate and well above the noise."""
    apart = (images["spacing"] >= CLEAR_SPACING) & (images["snr"] >= CLEAR_SNR)
    return (images["n_true"] > 0) & apart


def _clear(scores: Scores) -> float:
    return float(scores.images[is_clear(scores.images)]["f1_one_to_one"].mean())


def _exact(scores: Scores) -> float:
    images = scores.images
    exact = (images["n_found"] == images["n_true"]) & (images["recall_one_to_one"] == 1)
    return float(exact.mean())


def _recall(low: float, high: float) -> Callable[[Scores], float]:
    def measured(scores: Scores) -> float:
        spots = scores.spots[scores.spots["snr"].between(low, high)]
        return float((spots["kind"] == FOUND).mean())

    return measured


def _precision(scores: Scores) -> float:
    kinds = scores.spots["kind"].value_counts()
    found = kinds.get(FOUND, 0)
    return float(found / max(1, found + kinds.get(FALSE, 0)))


def _loss_by_sites(scores: Scores) -> float:
    f1 = scores.images.pivot_table("f1_one_to_one", "image", "data", aggfunc="first")
    if not {"sites", "singles"} <= set(f1.columns):
        return math.nan
    return float((f1["singles"] - f1["sites"]).mean())


BARS = (
    Bar("deepspot_simulated", "F1 one to one", _mean("f1_one_to_one"), 0.985, 0.983),
    Bar("paper-sets", "F1 nearest", _mean("f1_nearest"), 0.99, 0.99),
    Bar("paper-sets", "F1 nearest, worst set", _least_set("f1_nearest"), 0.98, 0.98),
    Bar("paper-sets", "enhanced intensity of spots", _mean("enhanced"), 245, None),
    Bar("iss_tissue", "F1 one to one", _mean("f1_one_to_one"), 0.88, 0.88),
    Bar("beads", "F1 one to one", _mean("f1_one_to_one"), 0.96, 0.96),
    Bar("beads", "median localisation error, px", _error, 0.25, 0.25, most=True),
    Bar("spots_on_tissue", "F1 one to one", _mean("f1_one_to_one"), 0.91, 0.91),
    Bar("broad", "F1 one to one, spacing >= 3 sigma, SNR >= 4", _clear, 0.92, 0.92),
    Bar("empty", "false per 512 x 512 px", _mean("false_density"), 2, 2, most=True),
    *(
        Bar(
            "decades",
            f"recall, SNR {low:g} to {high:g}",
            _recall(low, high),
            0.93,
            0.93,
        )
        for low, high in DECADES
    ),
    Bar("decades", "precision", _precision, 0.97, 0.97),
    Bar("sparse", "share of images with exactly the true spots", _exact, 0.99, 0.99),
    Bar("sites singles", "F1 that sites cost", _loss_by_sites, 0.01, 0.01, most=True),
    Bar("all images", "largest change of F1, x 3 + 500", _change, 0.005, 0.005, True),
)
"""Of `sparse`, `sites`, `singles` and `decades` see `simulation.trials`."""


def _of(scores: Scores, model: str, data: str) -> Scores:
    """Return the part of one model on one data set, or on all of them."""

    def own(table: pd.DataFrame) -> pd.DataFrame:
        here = table["data"].isin(data.split()) | (data == "all images")
        return table[here & (table["model"] == model)]

    return Scores(
        own(scores.images), own(scores.spots), own(scores.failed), scores.provenance
    )


def measure_bars(scores: Scores) -> list[dict[str, Any]]:
    """Return one row per model and bar: data, measure, bar, measured, met.

    A bar is met only if its data has images and all of them were measured.
    """
    rows = []
    for model in dict.fromkeys(scores.images["model"]):
        for bar in BARS:
            own, bound = _of(scores, model, bar.data), bar.bound(model)
            if bound is None:
                continue
            value = bar.measured(own)
            reached = value <= bound if bar.most else value >= bound
            rows.append(
                {
                    "model": model,
                    "data": bar.data,
                    "measure": bar.measure,
                    "bar": f"{'<=' if bar.most else '>='} {bound:g}",
                    "measured": round(value, 4) if math.isfinite(value) else None,
                    "met": bool(reached) and own.failed.empty,
                    "n_images": len(own.images),
                    "n_failed": len(own.failed),
                }
            )
    return rows


def cross_rest(scores: Scores) -> pd.DataFrame:
    """Return F1 by density and sigma of the broad images without a bar."""
    images = scores.images[scores.images["data"] == "broad"]
    return cross_scores(scores._replace(images=images[~is_clear(images)]))


def describe_sets(scores: Scores) -> list[dict[str, Any]]:
    """Return the row of each model and data set."""
    names = {
        "model": "model",
        "data": "data",
        "n_images": "n_images",
        "n_failed": "n_failed",
        "f1_nearest": "f1_nearest",
        "n_ambiguous": "ambiguous_per_image",
        "f1_one_to_one": "f1_one_to_one",
        "f1_one_to_one_low": "f1_one_to_one_low",
        "f1_one_to_one_high": "f1_one_to_one_high",
        "precision_one_to_one": "precision",
        "recall_one_to_one": "recall",
        "f1_integrated": "f1_integrated",
        "error_px": "error_px",
        "enhanced": "enhanced",
        "false_density": "false_per_512_px",
    }
    table = summarise(scores, ("model", "data"))[list(names)].rename(columns=names)
    return _plain(table.round(4))


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows for JSON, which has neither NaN nor infinity."""
    return [
        {
            str(name): None
            if isinstance(value, float) and not math.isfinite(value)
            else value
            for name, value in row.items()
        }
        for row in table.to_dict("records")
    ]


def _score(options: argparse.Namespace) -> Scores:
    settings = make_settings(
        channels=("0",), detector=options.detector, precision=options.precision
    )
    simulated = Sample(options.images, options.seed, options.size)
    folders = [table.parent for table in sorted(options.data.glob("*/spots.csv"))]
    cases = list_cases(folders, Sample()) if folders else []
    if options.bars:
        cases += list_cases(SIMULATED, simulated)
        for turn, size in enumerate(SPARSE_SIZES):
            fields = list_cases(["sparse"], replace(simulated, size=size))
            cases += fields[turn :: len(SPARSE_SIZES)]
    terms = Terms(settings, sample=simulated, rescaled=options.bars)
    return score_models(options.model or [DEFAULT_MODEL], cases, terms)


def _keep(rows: Sequence[dict[str, Any]], scores: Scores, out: Path | None) -> None:
    facts = scores.provenance
    for row in rows:
        sha256 = facts["SHA-256 of the weights"][row["model"]]
        settings = {"weights": sha256[:12], "detector": facts["detector"]}
        settings |= {"number_format": facts["precision"], "seed": facts["seed"]}
        line = json.dumps(row | settings, allow_nan=False)
        print(line, flush=True)
        if out:
            with out.open("a") as file:
                file.write(line + "\n")


def main() -> None:
    """Score every data set of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append", help="may be given several times")
    parser.add_argument("--detector", default=None)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--bars", action="store_true", help="all bars, simulated too")
    parser.add_argument("--images", type=int, default=20, help="of a simulated set")
    parser.add_argument(
        "--size",
        type=int,
        default=512,
        help="of other sets' images, px",
    )
    parser.add_argument("--seed", type=int, default=FRESH_SEED)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    scores = _score(options)
    _keep(describe_sets(scores), scores, options.out)
    if options.bars:
        bars, rest = measure_bars(scores), cross_rest(scores)
        _keep([*bars, *_plain(rest)], scores, options.out)
        table = pd.DataFrame(bars).astype({"measured": object})
        table["met"] = table["met"].map({True: "yes", False: "no"})
        shown = table.fillna({"measured": "not measured"})
        print("\n" + markdown_table(shown))
        print("\nbroad, the other images\n\n" + markdown_table(rest.round(3)))
    if len(scores.failed):
        raise SystemExit("not measured:\n" + markdown_table(scores.failed))


if __name__ == "__main__":
    main()
