"""How good a run's images are, by its rater: a run in, words, tables and figures out.

Nothing here rates an image, and no score is altered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepspot_scale.networks.rater_models import DEFAULT_RATER
from deepspot_scale.report import figures
from deepspot_scale.report.figures import BLUE, INK, ORANGE, new_figure
from deepspot_scale.report.html import Plot, number, without_lone
from deepspot_scale.runs.left_out import count_spots_left_out, read_least
from deepspot_scale.runs.results import RunResults
from deepspot_scale.stages.rating import RateOptions
from deepspot_scale.statistics.groups import FIELD, WELL, by_occasion, with_plate_map
from deepspot_scale.statistics.left_out import WHY_EMPTY, is_left_out, why_empty
from deepspot_scale.tables import empty_table
from deepspot_scale.vocabulary import OCCASION, RATINGS
from deepspot_scale.words import plural

LOWEST: Final = 20
"""Most images that are listed, those that score least."""
_MOST_NAMED: Final = 12
"""Most wells that are named."""
_BINS: Final = np.linspace(0, 1, 41)
_GROUP: Final = ["channel", *OCCASION, "condition", "gene"]
_EXPECTED: Final = (
    "The score, from 0 to 1, is the F1 that the default detector is expected to reach "
    "on spots like those in the image: the harmonic mean of the share of spots that "
    "it finds (recall) and of the share of what it finds that are spots (precision), "
    "taken tile by tile, then averaged by the tiles' bright pixels. "
    "It was learned from simulated images that were made worse in known ways. What is "
    "in no image it cannot know: where no spot is seen, the score does not tell "
    "whether the cells have none or the image hides them."
)
_TASTE: Final = (
    "The score, from 0 to 1, is what the experts whose scores the network {name} "
    "learned from are expected to give; it says nothing of recall or precision."
)


def read_ratings(run: RunResults) -> pd.DataFrame:
    """Return `vocabulary.RATINGS` of a run; no rows where images were not rated."""
    rated = "ratings" in run.contents.tables
    return run.read("ratings") if rated else empty_table(RATINGS)


def rating_words(run: RunResults, ratings: pd.DataFrame) -> str:
    """Return what the scores mean and how they are, as HTML; empty: there are none."""
    if ratings.empty:
        return ""
    known = ratings["score"].dropna()
    meaning = _EXPECTED if ratings["expected_recall"].notna().any() else _TASTE
    name = run.settings.of(RateOptions).rater
    parts = [f"<p>{escape(meaning.format(name=name))}</p>"]
    if name != DEFAULT_RATER:
        parts.append(f"<p class='soft'>Rated by {escape(name)}.</p>")
    low, middle, high = (float(known.quantile(q)) for q in (0.05, 0.5, 0.95))
    items = [
        f"{plural(len(known), 'image')} rated, median score <b>{number(middle)}</b>; "
        f"{number(low)} to {number(high)} for 90 % of them."
    ]
    unknown = len(ratings) - len(known)
    if unknown:
        without = "hardly imaged or of one value, without a score"
        items.append(f"{plural(unknown, 'image')} {without}.")
    items += left_out_sentences(run, ratings)
    far = int((ratings["distance"] > 1).sum())
    if far:
        share = f"{far:,} of {plural(len(ratings), 'image')}"
        verb = "looks" if far == 1 else "look"
        items.append(
            f"{share} {verb} unlike all images that the rater was trained on "
            "(distance above 1): what it scores there may not hold. Look at them, or "
            "train a rater on scores of your own."
        )
    return "".join(parts) + "<ul>" + "".join(f"<li>{x}</li>" for x in items) + "</ul>"


def left_out_sentences(run: RunResults, ratings: pd.DataFrame) -> list[str]:
    """Return what is said of images that are in no statistics."""
    least, n = read_least(run), len(run.summaries["left_out"])
    if least is None:
        return [
            "All images count in the statistics; deepspot-scale report RUN "
            "--min-quality 0.5 leaves out those that score less."
        ]
    if not n:
        return [f"No image scores below {least:g}, so all count in the statistics."]
    fields = len(run.summaries["left_out"][FIELD].drop_duplicates())
    spots = plural(count_spots_left_out(run, run.summaries["left_out"]), "spot")
    return [
        f"<b>{n:,} of {plural(len(ratings), 'image')}</b>, in "
        f"{plural(fields, 'field')}, score below {least:g} and count in no number of "
        f"wells, conditions, tests and figures of them; their {spots} and their cells "
        "stay in the tables of spots and cells.",
        *_wells_left_out(run.wells),
    ]


def _wells_left_out(wells: pd.DataFrame) -> list[str]:
    """Return which wells are left out at all channels and occasions."""
    on_plate = wells[wells["row"] != ""].assign(why=why_empty(wells))
    whole = on_plate.groupby(WELL, sort=False).filter(lambda w: (w["why"] != "").all())
    lost = whole[whole["why"] == WHY_EMPTY[0]][WELL].drop_duplicates()
    if lost.empty:
        return []
    names = ["".join(name) for name in lost.itertuples(index=False, name=None)]
    more = f" and {len(names) - _MOST_NAMED} more" * (len(names) > _MOST_NAMED)
    verb = "is" if len(names) == 1 else "are"
    return [
        f"{plural(len(names), 'well')} {verb} left out whole: "
        f"{escape(', '.join(names[:_MOST_NAMED]))}{more}."
    ]


def rating_table(run: RunResults, ratings: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each condition: images, mean, least and expected shares.

    Columns: those of the group, n_images, score, lowest, expected_recall,
    expected_precision and n_left_out.
    """
    named = with_plate_map(by_occasion(ratings), run.plate_map)
    named["left_out"] = is_left_out(ratings, run.summaries["left_out"])
    grouped = named.groupby(_GROUP, sort=False)
    table = grouped.agg(
        n_images=("score", "size"),
        score=("score", "mean"),
        lowest=("score", "min"),
        expected_recall=("expected_recall", "mean"),
        expected_precision=("expected_precision", "mean"),
        n_left_out=("left_out", "sum"),
    ).reset_index()
    shown = without_lone(table)
    return shown.dropna(axis="columns", how="all")


def lowest_ratings(run: RunResults, ratings: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the images that score least, the least first.

    There are at most `LOWEST`, and none of the better half but those that are left out:
    of few images the best ones would be among them.
    """
    known = ratings[ratings["score"].notna()]
    n = max(1, len(known) // 2, len(run.summaries["left_out"]))
    order = known.sort_values(["score", *FIELD], kind="stable")
    return order.head(min(n, LOWEST))


def lowest_words(low: pd.DataFrame, ratings: pd.DataFrame) -> str:
    """Return which images are listed, of how many, as HTML."""
    known = plural(int(ratings["score"].notna().sum()), "image")
    verb = "scores" if len(low) == 1 else "score"
    return (
        f"<p class='soft'>The {len(low)} of {known} that {verb} least: those of the "
        f"lower half and those left out, at most {LOWEST}. The CSV has all.</p>"
    )


def lowest_images(run: RunResults, low: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `lowest_ratings` as they are shown."""
    kept = [c for c in RATINGS if c.name not in ("n_tiles",)]
    shown = low[[column.name for column in kept]].reset_index(drop=True)
    left_out = is_left_out(low, run.summaries["left_out"])
    shown["left_out"] = np.where(left_out, "left out", "")
    return without_lone(shown).dropna(axis="columns", how="all")


def rating_figures(run: RunResults, ratings: pd.DataFrame) -> Iterator[Plot]:
    """Yield the plate's heat map of scores, and how scores are distributed."""
    known = ratings[ratings["score"].notna()]
    if known.empty:
        return
    on_plate = known[known["row"] != ""]
    for channel, own in on_plate.groupby("channel", sort=False):
        wells = own.groupby(WELL)[["score"]].mean().reset_index()
        several = on_plate["channel"].nunique() > 1
        title = f"{channel}, mean score" if several else "mean score"
        end = re.sub(r"\W", "_", f"_{channel}") if several else ""
        figure = figures.draw_plate(wells, wells["score"], title, most=1.0)
        caption = f"{escape(title[:1].upper() + title[1:])} of the images of each well."
        words = f"Plate heat map of the {title}"
        yield Plot(f"plate_score{end}", figure, wells, words, caption)
    least = read_least(run)
    counts = _count(known)
    below = "" if least is None else " Images left of the line are left out."
    yield Plot(
        "scores",
        _draw_scores(counts, least),
        counts,
        "How the scores of the images are distributed",
        f"Images by their score.{below}",
    )


def _count(known: pd.DataFrame) -> pd.DataFrame:
    """Return the images of each channel in each step of the score."""
    parts = []
    for channel, own in known.groupby("channel", sort=False):
        n = np.histogram(own["score"], _BINS)[0]
        ends = {"from_score": _BINS[:-1], "to_score": _BINS[1:]}
        parts.append(pd.DataFrame({"channel": channel, **ends, "n_images": n}))
    return pd.concat(parts, ignore_index=True)


def _draw_scores(counts: pd.DataFrame, least: float | None) -> Figure:
    figure = new_figure(6.4, 2.4)
    axes = figure.subplots()
    channels = list(dict.fromkeys(counts["channel"]))
    for at, channel in enumerate(channels):
        own = counts[counts["channel"] == channel]
        colour = (BLUE, ORANGE, figures.SKY, figures.GREY)[at % 4]
        name = str(channel).replace("$", r"\$")
        axes.stairs(own["n_images"], _BINS, fill=at == 0, color=colour, label=name)
    if least is not None:
        axes.axvline(least, color=INK, linewidth=1, linestyle="--")
    axes.set_xlim(0, 1)
    axes.set_xlabel("score", color=INK)
    axes.set_ylabel("images", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    if len(channels) > 1:
        axes.legend(fontsize=8, frameon=False)
    return figure
