"""Which fields are worth a look, and how they look: tables in, HTML out.

The fields shown are a typical one, the best and the worst, the one with the most flags,
and the most and the least polarised ones: never only the best. Best and worst are by
the rater's score, or by focus where fields have no scores. Of a run on volumes the
first is also seen from two sides. Nothing here measures a plate.
"""

from __future__ import annotations

from html import escape

import pandas as pd

from deepspot_scale.errors import DeepspotError
from deepspot_scale.io.plate import Plate
from deepspot_scale.report.field_image import draw_field
from deepspot_scale.report.html import several_occasions
from deepspot_scale.report.orthogonal_views import draw_views
from deepspot_scale.report.score_map import draw_score_map
from deepspot_scale.runs.changed_fields import check_unchanged
from deepspot_scale.runs.progress import Tell, counted
from deepspot_scale.runs.results import RunResults
from deepspot_scale.statistics.groups import FIELD
from deepspot_scale.tables import rows_with
from deepspot_scale.vocabulary import DONE, FieldAddress


def choose_fields(
    run: RunResults, quality: pd.DataFrame, flags: pd.DataFrame
) -> dict[FieldAddress, list[str]]:
    """Return the fields to show, each with the reasons why.

    `quality` has the columns `vocabulary.QUALITY`; `flags` come from
    `quality_flags.flag_fields`.
    """
    flagged = pd.MultiIndex.from_frame(flags[FIELD])
    good = run.fields[~pd.MultiIndex.from_frame(run.fields[FIELD]).isin(flagged)]
    typical = typical_field(good) or typical_field(run.fields)
    picks = [("typical: the middle number of spots", typical)]
    picks += _by_score(run) or _by_focus(quality, good)
    picks.append(("most flags: {flags}", _most_flags(run, flags)))
    polarity = _field_polarity(run)
    if len(polarity) > 1:
        index = "index {value}"
        if several_occasions(run.summaries["field_polarity"]):
            index += " when first measured"
        picks.append((f"most towards the reference: {index}", _at(polarity, -1)))
        picks.append((f"least towards the reference: {index}", _at(polarity, 0)))
    chosen: dict[FieldAddress, list[str]] = {}
    for reason, address in picks:
        if address is not None:
            words = _fill(reason, address, polarity, flags)
            chosen.setdefault(address, []).append(words)
    return chosen


def typical_field(fields: pd.DataFrame) -> FieldAddress | None:
    """Return the done field with the middle number of spots: typical, not the best.

    None when no field is done.
    """
    done = fields[fields["status"] == DONE]
    if done.empty:
        return None
    order = done.sort_values(["n_spots", *FIELD])
    return FieldAddress(*order[FIELD].iloc[len(order) // 2])


def gallery(
    run: RunResults,
    plate: Plate,
    chosen: dict[FieldAddress, list[str]],
    tell: Tell | None = None,
) -> str:
    """Return the pictures of the chosen fields; what cannot be read says why."""
    parts = []
    each = counted(chosen.items(), "fields to look at", len(chosen), tell)
    for number, (address, reasons) in enumerate(each):
        try:
            note = check_unchanged(run.only([address.path]), plate)
            field = plate.open(address.path)
            picture = draw_field(run, field, number)
            if number == 0 and run.settings.in_volume:
                picture += draw_views(run, field)
            picture += draw_score_map(run, field)
            picture += f"<p class='note'>{escape(note)}.</p>" if note else ""
        except DeepspotError as error:  # the report is still useful without a picture
            picture = f"<p>It cannot be shown: {escape(str(error))}</p>"
        why = escape("; ".join(reasons))
        parts.append(
            f"<h3>{escape(address.path)} <span class='soft'>{why}</span></h3>{picture}"
        )
    return "".join(parts)


_Picks = list[tuple[str, FieldAddress | None]]


def _by_score(run: RunResults) -> _Picks:
    """Return the fields with the lowest scores and the highest, with the reasons.

    Empty: not two fields have a score.
    """
    done = run.done
    if "score" not in done or done["score"].notna().sum() < 2:
        return []
    order = done.dropna(subset=["score"]).sort_values(["score", *FIELD])
    scores = order.set_index(FIELD)["score"]
    names = {-1: "best", 0: "worst"} | ({1: "second worst"} if len(scores) > 2 else {})
    return [
        (f"{name} by score: {scores.iloc[at]:.2f}", _at(scores, at))
        for at, name in names.items()
    ]


def _by_focus(quality: pd.DataFrame, good: pd.DataFrame) -> _Picks:
    """Return the sharpest of the `good` fields, and the least sharp of all."""
    focus = quality.groupby(FIELD)["focus"].max().dropna().sort_values(kind="stable")
    if len(focus) < 2:
        return []
    sharp = focus[focus.index.isin(pd.MultiIndex.from_frame(good[FIELD]))]
    picks: _Picks = []
    if len(sharp) > 1:
        picks.append(("best by focus: the sharpest without a flag", _at(sharp, -1)))
    return [*picks, ("worst by focus: the least sharp", _at(focus, 0))]


def _fill(
    reason: str, address: FieldAddress, polarity: pd.Series, flags: pd.DataFrame
) -> str:
    key = (address.row, address.column, address.field)
    own = flags[rows_with(flags, dict(zip(FIELD, key, strict=True)))]
    value = f"{polarity[key]:.2f}" if key in polarity.index else ""
    return reason.format(flags=", ".join(own["flag"]), value=value)


def _at(values: pd.Series, place: int) -> FieldAddress:
    return FieldAddress(*values.index[place])


def _most_flags(run: RunResults, flags: pd.DataFrame) -> FieldAddress | None:
    """Return the done field with the most flags; None: none has one."""
    done = pd.MultiIndex.from_frame(run.done[FIELD])
    counts = flags.groupby(FIELD).size()
    counts = counts[counts.index.isin(done)].sort_values(kind="stable")
    return _at(counts, -1) if len(counts) else None


def _field_polarity(run: RunResults) -> pd.Series:
    """Return the first index of each field with enough cells, in ascending order."""
    first = run.summaries["field_polarity"].drop_duplicates(FIELD)
    indices = first.set_index(FIELD)["polarity_index"]
    return indices.dropna().sort_values(kind="stable")
