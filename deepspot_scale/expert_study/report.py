"""The report of a study: one HTML page that loads nothing.

A study folder comes in, a page goes out. Nothing here counts or simulates.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from deepspot_scale.expert_study.results import (
    ComparisonResults,
    paper_table,
    read_results,
    summarise_ratings,
)
from deepspot_scale.io.study_folder import read_study
from deepspot_scale.io.tables import Folder
from deepspot_scale.report import html
from deepspot_scale.statistics.expert_choices import BINS
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TARGETS = {
    "label": "the score of one expert who rated the image",
    "own": "the expert's own score, or that of another who rated the image",
    "mean": "the mean of all experts' scores",
}
_COLOURS = {"network": "#0072B2", "random": "#D55E00"}
_MEASURES = ("confusion", "domination")


def write_report(folder: Path, file: Path, *, seed: int = 0) -> None:
    """Write the report of a study.

    Parameters
    ----------
    folder
        Of the study.
    file
        HTML file to write.
    seed
        Of the bootstrap and the simulated experts.

    Raises
    ------
    StudyError
        The study is damaged.
    """
    study = read_study(folder)
    body = [f"<h1>Study of image quality: {escape(folder.absolute().name)}</h1>"]
    shown = f"{len(study.images)} images"
    if study.source:
        shown += f" of {escape(study.channel)}, from {escape(study.source)}"
    body.append(f"<p class='soft'>{shown}</p>")
    body += _ratings(folder)
    results = read_results(folder, seed=seed)
    if not results:
        body.append("<h2>Comparisons</h2><p>Nobody has compared scores yet.</p>")
    for each in results:
        body += _comparison(each)
    text = html.page("Study of image quality", "".join(body))
    Folder(str(file.absolute().parent)).write(file.name, text.encode())


def _ratings(folder: Path) -> list[str]:
    table = summarise_ratings(folder)
    parts = ["<h2>Ratings</h2>"]
    if table.empty:
        return [*parts, "<p>Nobody has rated images yet.</p>"]
    return [
        *parts,
        "<p>Scores are 0 to 100. Difference and RMSE are those to the mean of the "
        "other experts, over the images that both have rated.</p>",
        html.table(table.round(1)),
    ]


def _comparison(results: ComparisonResults) -> list[str]:
    compared, choices = results.comparison, results.choices
    n_experts = choices["expert"].nunique()
    parts = [
        f"<h2>Comparison with {escape(compared.model)}</h2>",
        f"<p>{plural(n_experts, 'expert')}, {plural(len(choices), 'choice')} "
        f"of {compared.n_asked} each; the target is {_TARGETS[compared.target]}. "
        f"<span class='soft'>Comparison {escape(compared.name)}.</span></p>",
    ]
    if compared.note:
        parts.append(f"<p class='note'>{escape(compared.note)}</p>")
    answered = choices.groupby("expert").size()
    unfinished = answered[answered < compared.n_asked]
    if len(unfinished):
        names = ", ".join(f"{escape(str(e))} ({n})" for e, n in unfinished.items())
        parts.append(f"<p class='note'>Not all have finished: {names}.</p>")
    return [
        *parts,
        html.table(paper_table(results)),
        "<p class='soft'>Per cent, mean ± standard deviation over experts. Confusion 1 "
        "- |P - T| / N: 100, the two cannot be told apart. Domination P / (T + P): "
        "50, balance; more, the predicted score is preferred. Win share P / N.</p>",
        _figure(results),
        "<h3>How sure, and what chance gives</h3>",
        "<p>Intervals hold the mean of all experts in 95 of 100 studies of these very "
        "images (bootstrap over experts); other images would differ too. Chance is the "
        "confusion expected if the two scores were chosen equally often: it is below 1 "
        "because choices are few. An expert who never chose between the two in a bin "
        "has no domination there and is not in its mean: undefined.</p>",
        html.table(results.averages.round(3)),
        _simulated(results),
        "<h3>Each expert</h3>",
        html.table(results.per_expert.round(3)),
        _sides(choices),
    ]


def _simulated(results: ComparisonResults) -> str:
    drawn = results.simulation
    why = (
        "the standard deviation between this study's experts"
        if drawn.measured
        else "assumed, since no image has been rated by two experts"
    )
    return (
        "<p>Random, simulated: a score drawn uniformly from the experts' scores, "
        "against the same targets. Simulated experts judge with an error of "
        f"{drawn.error:.1f} ({why}), and call two scores equivalent that are nearly as "
        f"near (within {drawn.indifference:.1f}).</p>"
    )


def _sides(choices: pd.DataFrame) -> str:
    """Return whether experts prefer a side, which says that they did not look."""
    decided = choices[choices["choice"].isin(["target", "predicted"])]
    left = (decided["choice"] == decided["stands_left"]).groupby(decided["expert"])
    table = pd.DataFrame({"n_choices": left.size(), "left": left.mean().round(3)})
    seconds = choices.groupby("expert")["milliseconds"].median() / 1000
    table["median_seconds"] = seconds.round(1)
    return (
        "<p>How often the left score was chosen, and how long an answer took. The "
        "target stands left in half of the questions, so one side much above .5 is "
        f"a habit.</p>{html.table(table.reset_index())}"
    )


def _figure(results: ComparisonResults) -> str:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.0), sharey=True)
    try:
        for measure, ax in zip(_MEASURES, axes, strict=True):
            _draw(ax, results, measure)
        axes[0].legend(frameon=False, fontsize=8)
        figure.tight_layout()
        return _as_image(figure)
    finally:
        plt.close(figure)


def _draw(ax: Axes, results: ComparisonResults, measure: str) -> None:
    table = results.averages
    place = {name: k for k, name in enumerate(BINS)}
    for turn, arm in enumerate(sorted(set(table["arm"]))):
        rows = table[(table["arm"] == arm) & (table["measure"] == measure)]
        rows = rows[rows["bin"].isin(BINS) & np.isfinite(rows["mean"])]
        x = rows["bin"].map(place).to_numpy(float) + 0.12 * turn
        mean = rows["mean"].to_numpy()
        around = np.abs(rows[["low", "high"]].to_numpy().T - mean)
        ax.errorbar(
            x,
            mean,
            np.nan_to_num(around),
            fmt="o",
            capsize=3,
            color=_COLOURS.get(str(arm), "#444"),
            label=str(arm),
        )
        if measure == "confusion":
            label = "chance" if not turn else None
            ax.scatter(x, rows["chance"], 160, color="#444", marker="_", label=label)
    if measure == "domination":
        ax.axhline(0.5, color="#999", linewidth=0.8)
    ax.set_xticks(range(len(BINS)), [f"{name} %" for name in BINS], fontsize=8)
    ax.set(title=measure, ylim=(-0.03, 1.03), xlabel="expert's score")
    ax.spines[["top", "right"]].set_visible(False)


def _as_image(figure: Figure) -> str:
    data = base64.b64encode(html.svg_text(figure).encode()).decode()
    return (
        '<figure><img alt="Confusion and domination by bin of the target, with '
        f'intervals" src="data:image/svg+xml;base64,{data}"><figcaption>Mean and 95 % '
        "interval over experts, by bin of the expert's score; dashes: chance."
        "</figcaption></figure>"
    )
