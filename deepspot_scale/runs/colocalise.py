"""Channels of a run compared, at its end: all of its parts in, summary tables out.

    all parts -> a bounded sample of spots -> the shift of each pair of channels
    each part -> its pairs and cells, see `compared_parts` -> shares of conditions

Spots are read part by part. The sample is chosen by the fields' names, so neither parts
nor their order matter. Nothing here draws or finds spots, and nothing knows where the
work on a part is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Final

import pandas as pd

from deepspot_scale.kernels.chromatic import Shift
from deepspot_scale.runs.compared_channels import read_shifts
from deepspot_scale.runs.compared_parts import (
    SCHEMAS,
    Comparison,
    PartEnd,
    PartTask,
    iter_images,
)
from deepspot_scale.runs.made_labels import label_names
from deepspot_scale.runs.manifest import addresses_of, rows_of
from deepspot_scale.runs.results import RunResults
from deepspot_scale.statistics.channel_pairs import IMAGE, NEEDED, Pair, shift_table
from deepspot_scale.statistics.colocalisation import summarise_pairs
from deepspot_scale.statistics.groups import FIELD, by_occasion
from deepspot_scale.statistics.left_out import without_left_out
from deepspot_scale.statistics.shift_sample import Key, choose_images, measure_on
from deepspot_scale.tables import empty_table
from deepspot_scale.vocabulary import (
    CELL_PAIRS,
    OCCASION,
    SUMMARIES,
    FieldAddress,
)

Each = Callable[[Comparison, Iterable[PartTask]], Iterable[PartEnd]]
"""Does the work on each part, here or elsewhere, and gives the ends in order."""
_OF_PAIRS: Final = (
    *("acquisition", "t", "channel", "other", "z"),
    *("n_spots", "n_pairs", "chance", "chance_sd"),
)


def compare_channels(
    results: RunResults,
    pairs: list[Pair],
    plate_map: pd.DataFrame,
    *,
    left_out: pd.DataFrame,
    each: Each = map,
) -> dict[str, pd.DataFrame]:
    """Write the pairs of all parts; return the summary tables of compared channels.

    Parameters
    ----------
    results
        The run, with its input.
    pairs
        Names of the channels to compare; none: tables without rows.
    plate_map
        As in `groups.with_plate_map`.
    left_out
        `vocabulary.LEFT_OUT`: images on which no shift is measured; where one channel's
        is among them, the image is in no share.
    each
        How the parts are done.

    Raises
    ------
    SettingsError
        A file of shifts that does not fit.
    FieldError
        Labels that cannot be read, or are no longer those of the run.
    """
    names = ("colocalisation", "chromatic_shifts")
    if not pairs:
        return {name: empty_table(SUMMARIES[name]) for name in names}
    shifts = _find_shifts(results, pairs, left_out)
    work = Comparison(results.folder, results.settings, shifts)
    tasks = list(_iter_tasks(results))
    ends = list(each(work, tasks))
    parts = [task.part for task in tasks]
    _remove_others(results, parts, ends)
    counted = [end.images for end in ends if len(end.images)]
    images = pd.concat(counted, ignore_index=True) if counted else _no_images()
    measured = "cells" in label_names(results)
    cells = results.read("cell_pairs", _OF_PAIRS) if measured else _no_cells()
    cells, images = (
        without_left_out(by_occasion(table), left_out, by=("channel", "other"))
        for table in (cells, images)
    )
    table = summarise_pairs(cells, images, plate_map)
    return {"colocalisation": table, "chromatic_shifts": shift_table(shifts)}


def _no_cells() -> pd.DataFrame:
    return empty_table(CELL_PAIRS)


def _no_images() -> pd.DataFrame:
    columns = [*FIELD, *OCCASION, "channel", "other", "n_spots", "n_other", "n_pairs"]
    return pd.DataFrame(columns=columns)


def _iter_tasks(results: RunResults) -> Iterator[PartTask]:
    entries = {entry.address: entry for entry in results.plate.entries}
    bare = replace(results, opened=None)  # an open plate is large
    for part, fields in results.done.groupby("part", sort=False):
        own = {a: entries[a] for a in addresses_of(fields) if a in entries}
        yield PartTask(str(part), replace(bare, fields=fields), own)


def _remove_others(results: RunResults, parts: list[str], ends: list[PartEnd]) -> None:
    """Remove tables that an earlier end of the run wrote and that hold no more."""
    for name in SCHEMAS:
        written = {
            f"{part}.parquet"
            for part, end in zip(parts, ends, strict=True)
            if name in end.written
        }
        for left in set(results.folder.names(name)) - written:
            results.folder.remove(f"{name}/{left}")


# -- the shift -------------------------------------------------------------------------


def _find_shifts(
    results: RunResults, pairs: list[Pair], left_out: pd.DataFrame
) -> dict[Pair, Shift]:
    """Return the shift of each pair, as the settings want it."""
    settings = results.settings
    if settings.chromatic_shift == "none":
        return dict.fromkeys(pairs, Shift("none"))
    if settings.chromatic_shift != "measured":
        return read_shifts(settings.chromatic_shift, pairs)
    counts = without_left_out(results.count_spots(), left_out)
    return {pair: _measure_shift(results, pair, counts) for pair in pairs}


def _measure_shift(results: RunResults, pair: Pair, counts: pd.DataFrame) -> Shift:
    of_one, of_other = ({*_keys(counts[counts["channel"] == n])} for n in pair)
    chosen = choose_images(of_one & of_other)
    own = {FieldAddress(*key[:3]) for key in chosen}
    few = replace(results, fields=rows_of(results.done, own))
    parts = (spots for _, spots in few.iter_parts("spots", NEEDED))
    images = (iter_images(spots, pair, results.settings) for spots in parts)
    return measure_on(chosen, chain.from_iterable(images))


def _keys(table: pd.DataFrame) -> Iterator[Key]:
    """Yield the image of each row."""
    return zip(*(table[name] for name in IMAGE), strict=True)
