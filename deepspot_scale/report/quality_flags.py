"""What looks wrong with a field: tables of a run in, flags with words out.

Saturation and focus were measured by the stage `quality` in the run. A flag asks the
user to look at the image; it excludes nothing, but for a score that is lower than the
user asked for. Nothing here draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from deepspot_scale.errors import DeepspotError
from deepspot_scale.io.absent_chunks import describe_absent
from deepspot_scale.io.field import Field
from deepspot_scale.io.plate import Plate
from deepspot_scale.runs.changed_fields import check_unchanged
from deepspot_scale.runs.progress import Tell, counted
from deepspot_scale.runs.results import RunResults
from deepspot_scale.settings import Settings
from deepspot_scale.stages.enhancement import EnhanceOptions
from deepspot_scale.statistics.groups import FIELD
from deepspot_scale.verbs.images import detect
from deepspot_scale.vocabulary import PROJECTED, FieldAddress
from deepspot_scale.words import plural

MOST_MEASURED: Final = 384
"""Most empty fields whose raw image is checked; each takes tens of milliseconds."""
WINDOW: Final = 512
"""Edge of the part of a field that is checked, in pixels."""
SATURATED: Final = 0.001
"""Share of pixels at the limit above which the brightest spots are cut off."""
BLURRED: Final = 1 / 3
"""Focus below this share of the run's median; it has no absolute meaning."""
FEWEST_TO_COMPARE: Final = 5
"""Fewest fields to compare; the median of fewer does not say what is usual."""
BORDER: Final = 0.6
"""Share of cells at the field's edge above which most cells are seen only in part."""
FEWEST_CELLS: Final = 4
BLANK: Final = 20
"""A field is flagged if so many spots were left out of it, or if the detector finds so
many in the raw middle of a field that was found empty."""
FLAGS: Final = {
    "failed": "the field could not be processed; its reason is below",
    "absent chunks": "chunks of its image or labels are not stored and count as black, "
    "or it is not known whether they are",
    "saturated": f"more than {SATURATED:.1%} of the pixels are at the camera's limit, "
    "so the brightest spots are cut off: expose shorter",
    "out of focus": "the image is less than a third as sharp as the run's median field "
    "(variance of the Laplacian over the squared mean), so its spots are missed: image "
    "it again, or leave it out (--rate and --min-quality)",
    "partly out of focus": "a quarter of the image or more is less than a third as "
    "sharp as the least sharp quarter of the run's median field: it is blurred, tilted "
    "or empty there; look at it, as spots of blurred parts are missed",
    "no spots": "no spot was found",
    "enhancement blank": f"no spot was found in the enhanced image, but {BLANK} or "
    "more in the raw one, which is not flagged as out of focus: try --no-enhance, "
    "another model or --spot-sigma",
    "left out": f"{BLANK} dots or more, and more than were kept, were left out as not "
    "of the field's spots: far fainter than the others, or doubtful; a lower --floor "
    "keeps more of them, and with a model that has no judge --min-relative-intensity 0",
    "crowded": f"{BLANK} clear spots or more, and more than half as many as were "
    "found, lie below the detector's own threshold, which rises with the number of "
    "spots in a field; where they are the majority they were kept, but dimmer ones are "
    "missing: use the network with its own detector (enhanced)",
    "low score": "images score below --min-quality and are left out of the statistics",
    "unlike": "the image looks unlike all that the rater was trained on, so its score "
    "may not hold",
    "border cells": f"more than {BORDER:.0%} of its cells touch the edge of the field, "
    "so they are seen in part: use a larger field or fewer cells",
    "no cytoplasm": "its channel shows no cytoplasm around nuclei, so its cells are "
    "nuclei grown by a distance alone: read its numbers per cell with care",
}
"""Meaning of each flag."""
_LINE: Final = [*FIELD, "flag", "detail"]


def count_raw_spots(
    run: RunResults, plate: Plate | None, tell: Tell | None = None
) -> pd.DataFrame:
    """Count spots in the raw middle of fields in which the enhanced image had none.

    Fields that have changed since the run are left out. The columns are row, column,
    field, n_raw.
    """
    names = [*FIELD, "n_raw"]
    if plate is None or not run.settings.of(EnhanceOptions).use:
        return pd.DataFrame(columns=names)

    def count(field: Field) -> pd.DataFrame:
        check_unchanged(run.only([field.address.path]), plate)
        planes = _middle(field, run.settings)
        found = sum(len(detect(each, method="raw")) for each in planes)
        where = field.address
        return pd.DataFrame([(where.row, where.column, where.field, found)])

    empty = _empty(run)
    tables = _each_field(_evenly(empty), plate, count, tell)
    if not tables:
        return pd.DataFrame(columns=names)
    return pd.concat(tables, ignore_index=True).set_axis(names, axis=1)


def flag_fields(
    run: RunResults,
    quality: pd.DataFrame,
    raw_spots: pd.DataFrame,
    tell: Tell | None = None,
) -> pd.DataFrame:
    """Return row, column, field, flag, detail: one line for each flag of a field.

    `quality` has the columns `vocabulary.QUALITY`; `raw_spots` come from
    `count_raw_spots`.
    """
    blurred = _blurred(quality)
    tables = [
        run.failed[[*FIELD, "reason"]].assign(
            flag="failed", detail=run.failed["reason"]
        ),
        _absent(run.done),
        _saturated(quality),
        blurred,
        _partly_blurred(quality, blurred),
        _empty(run).assign(flag="no spots", detail=""),
        _blank(_others(raw_spots, blurred)),
        _left_out(run.done),
        _crowded(run.done),
        _low(run.summaries["left_out"]),
        _unlike(run.done),
        _at_border(run.read("cells", ["t", "cell", "touches_border"], tell)),
        _grown(run.done),
    ]
    kept = [table[_LINE] for table in tables if len(table)]
    none = pd.DataFrame(columns=_LINE)
    return pd.concat(kept, ignore_index=True) if kept else none


def _empty(run: RunResults) -> pd.DataFrame:
    """Return the fields without a spot; none where none was looked for."""
    done = run.done
    return done[done["n_spots"] == 0] if run.settings.finds_spots else done.iloc[:0]


def _absent(done: pd.DataFrame) -> pd.DataFrame:
    if "n_absent" not in done:  # an earlier version made the run
        return done.iloc[:0]
    some = done[done["n_absent"] != 0]
    detail = [describe_absent(n) for n in some["n_absent"]]
    return some.assign(flag="absent chunks", detail=detail)


def _saturated(quality: pd.DataFrame) -> pd.DataFrame:
    worst = quality.sort_values("saturated", ascending=False).drop_duplicates(FIELD)
    worst = worst[worst["saturated"] > SATURATED].sort_values(FIELD)
    detail = [f"{share:.2%} of the pixels" for share in worst["saturated"]]
    return worst.assign(flag="saturated", detail=detail)


def _blurred(quality: pd.DataFrame) -> pd.DataFrame:
    """Compare the focus of each sharpest plane with its channel's median."""
    low = _far_below(quality, "focus")
    detail = [f"{s:.0%} of the median sharpness" for s in low["share"]]
    return low.assign(flag="out of focus", detail=detail).drop_duplicates(FIELD)


def _partly_blurred(quality: pd.DataFrame, blurred: pd.DataFrame) -> pd.DataFrame:
    """Compare the least sharp parts in the same way; `blurred` has fields that are."""
    if "focus_low" not in quality:  # an earlier version made the run
        return quality.iloc[:0]
    low = _others(_far_below(quality, "focus_low"), blurred)
    detail = [f"{s:.0%} of the median sharpness of such parts" for s in low["share"]]
    return low.assign(flag="partly out of focus", detail=detail).drop_duplicates(FIELD)


def _far_below(quality: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return fields whose sharpest plane is below the share `BLURRED` of the median."""
    known = quality[quality[name].notna()].sort_values(name, ascending=False)
    focus = known.drop_duplicates([*FIELD, "channel"]).sort_values(FIELD)
    channels = focus.groupby("channel")[name]
    share = focus[name] / channels.transform("median")
    enough = channels.transform("size") >= FEWEST_TO_COMPARE
    return focus.assign(share=share)[(share < BLURRED) & enough]


def _others(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """Return the lines of fields that are not in another table."""
    keys = pd.MultiIndex.from_frame(known[FIELD])
    return table[~pd.MultiIndex.from_frame(table[FIELD]).isin(keys)]


def _blank(raw_spots: pd.DataFrame) -> pd.DataFrame:
    many = raw_spots[raw_spots["n_raw"] >= BLANK]
    detail = [f"{plural(n, 'raw spot')} in its middle" for n in many["n_raw"]]
    return many.assign(flag="enhancement blank", detail=detail)


def _left_out(done: pd.DataFrame) -> pd.DataFrame:
    if "n_faint" not in done:  # nothing was detected
        return done.iloc[:0]
    many = done[(done["n_faint"] >= BLANK) & (done["n_faint"] > done["n_spots"])]
    pairs = zip(many["n_faint"], many["n_spots"], strict=True)
    detail = [f"{n} left out, {kept} kept" for n, kept in pairs]
    return many.assign(flag="left out", detail=detail)


def _crowded(done: pd.DataFrame) -> pd.DataFrame:
    if "n_crowded" not in done:  # nothing was detected, or by an earlier version
        return done.iloc[:0]
    many = done["n_crowded"] >= BLANK
    crowded = done[many & (2 * done["n_crowded"] > done["n_spots"])]
    pairs = zip(crowded["n_crowded"], crowded["n_spots"], strict=True)
    detail = [
        f"{plural(n, 'clear spot')} below the threshold, {plural(of, 'spot')} found"
        for n, of in pairs
    ]
    return crowded.assign(flag="crowded", detail=detail)


def _low(left_out: pd.DataFrame) -> pd.DataFrame:
    worst = left_out.sort_values(["score", *FIELD]).drop_duplicates(FIELD)
    worst = worst.sort_values(FIELD)
    detail = [f"score {score:.2f}" for score in worst["score"]]
    return worst.assign(flag="low score", detail=detail)


def _unlike(done: pd.DataFrame) -> pd.DataFrame:
    if "n_unlike_rated" not in done:  # no image was rated
        return done.iloc[:0]
    some = done[done["n_unlike_rated"] > 0]
    pairs = zip(some["n_unlike_rated"], some["n_planes"], strict=True)
    detail = [f"{n} of {plural(of, 'image')}" for n, of in pairs]
    return some.assign(flag="unlike", detail=detail)


def _at_border(cells: pd.DataFrame) -> pd.DataFrame:
    each = cells.drop_duplicates([*FIELD, "t", "cell"])
    border = each["touches_border"].astype(bool)
    by_time = each.assign(border=border).groupby([*FIELD, "t"])["border"]
    counts = by_time.agg(["sum", "size"]).reset_index()
    share = counts["sum"] / counts["size"]
    many = counts[(share > BORDER) & (counts["size"] >= FEWEST_CELLS)]
    many = many.drop_duplicates(FIELD)
    pairs = zip(many["sum"], many["size"], strict=True)
    detail = [f"{n} of {plural(of, 'cell')}" for n, of in pairs]
    return many.assign(flag="border cells", detail=detail)


def _grown(done: pd.DataFrame) -> pd.DataFrame:
    if "n_cells_grown" not in done:  # no cells were made out from nuclei
        return done.iloc[:0]
    some = done[done["n_cells_grown"] > 0].drop_duplicates(FIELD)
    detail = [f"{n} cells" for n in some["n_cells_grown"]]
    return some.assign(flag="no cytoplasm", detail=detail)


def _evenly(fields: pd.DataFrame) -> pd.DataFrame:
    """Return up to `MOST_MEASURED` fields, spread evenly over the plate."""
    n = min(len(fields), MOST_MEASURED)
    return fields.iloc[np.linspace(0, len(fields) - 1, n).round().astype(int)]


def _each_field(
    fields: pd.DataFrame,
    plate: Plate,
    measure: Callable[[Field], pd.DataFrame],
    tell: Tell | None,
) -> list[pd.DataFrame]:
    """Return the answers of the fields that can be read, in their order."""

    def answer(names: tuple[str, str, str]) -> pd.DataFrame | None:
        try:
            return measure(plate.open(FieldAddress(*names).path))
        except DeepspotError:  # damaged or gone by now; the run's reason is shown
            return None

    lines: Iterator[Any] = fields[FIELD].itertuples(index=False, name=None)
    with ThreadPoolExecutor(4) as pool:  # a plate in the cloud answers slowly
        found = pool.map(answer, lines)
        each = counted(found, "fields without spots", len(fields), tell)
        return [table for table in each if table is not None]


def _middle(field: Field, settings: Settings) -> Iterator[xr.DataArray]:
    """Yield the middle of the first plane of each channel of the run."""
    starts = [max(0, (size - WINDOW) // 2) for size in field.shape_yx]
    rows, columns = (slice(start, start + WINDOW) for start in starts)
    z = 0 if settings.project == "none" else settings.project
    for name in settings.channels:
        number = field.channel_index(name)
        pixels = field.read(channel=number, z=z, window=(rows, columns))
        yield xr.DataArray(
            pixels,
            dims=("y", "x"),
            coords={"c": field.channels[number], "z": 0 if z == 0 else PROJECTED},
            attrs={"address": field.address.path},
        )
