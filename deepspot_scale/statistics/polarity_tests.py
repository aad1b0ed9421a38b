"""What a plate says about polarity, and how sure that is: tables of cells in and out.

Groups of cells (a condition, a gene, a well, the plate) get the index with intervals
over cells and over wells, both nulls and DypFISH's Mann-Whitney test. Everything comes
from the angular histograms of `vocabulary.CELLS`; no image is read. Nothing here draws
or reads files.

Which number to trust: the corrected index and its uniform p value say whether a group
is polarised at all, and the rotation null says so where spots cluster; the interval
over wells says how far a number would move in another experiment. The Mann-Whitney p
value is given because it is published: it takes the sectors of a cell for independent,
which they are not, and a tenth of the groups with uniform spots had p below 0.05.
Time points, acquisitions and planes are measured apart, see `statistics.groups`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.kernels.sectors import polarity_index
from deepspot_scale.statistics import bootstrap, groups, null_models, sector_index
from deepspot_scale.statistics.bootstrap import Interval
from deepspot_scale.statistics.null_models import Bins, Concentrations
from deepspot_scale.statistics.sector_index import CellBins, SectorIndex, stream
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import MEASURES, N_BINS, OCCASION, POLARITY, Column

Line = dict[str, Any]


def polarity_statistics(
    cells: pd.DataFrame,
    plate_map: pd.DataFrame | None = None,
    *,
    by: Sequence[str] = ("condition", "gene"),
    index: SectorIndex | None = None,
) -> pd.DataFrame:
    """Measure the polarity of each group of cells, with intervals and p values.

    Parameters
    ----------
    cells
        `vocabulary.CELLS`.
    plate_map
        Columns row, column and any of condition, gene, replicate. None: `cells` itself
        has the columns of `by`.
    by
        Columns that name a group: ``("condition", "gene")``, ``("gene",)``, ``("row",
        "column")`` for wells, ``()`` for the plate. Channels, time points, acquisitions
        and planes are never mixed.
    index
        How polarity is measured; `SectorIndex()` when None.

    Returns
    -------
    DataFrame
        The columns of `groups.group_keys`, then `vocabulary.POLARITY`; for each group
        one line for each of `vocabulary.MEASURES`.

    Raises
    ------
    SettingsError
        A column of `by` does not exist, or the plate map is unfit.
    """
    index = index or SectorIndex()
    keys = ["channel", *by]
    lines: list[Line] = []
    for group in groups.iter_groups(cells, plate_map, keys):
        found = _lines(group.cells, index, group.key)
        lines += [group.names | line for line in found]
    return finish_table(lines, groups.group_keys(keys), POLARITY, within="measure")


def usable_cells(cells: pd.DataFrame, index: SectorIndex) -> tuple[CellBins, Any]:
    """Return the bins of the cells that count for the index, and their rows."""
    known = groups.with_reference(cells)
    if index.exclude_border:
        known = known[~known["touches_border"].astype(bool)]
    spots, areas = (known[name].tolist() for name in ("spot_bins", "area_bins"))
    bins = CellBins(spots, areas, index.edges)
    which = bins.usable(index)
    return bins.only(which), known.iloc[which]


def _lines(
    cells: pd.DataFrame, index: SectorIndex, key: Sequence[object]
) -> list[Line]:
    """Return the lines of one group, one for each measure."""
    bins, used = usable_cells(cells, index)
    wells = groups.number_wells(used)
    about = {
        "n_cells": len(used),
        "n_wells": len(np.unique(wells)),
        "sectors": index.sectors,
        "rotation": index.rotation,
    }
    measured = _measure(bins, wells, index, key) if len(used) > 1 else {}
    return [{"measure": m} | measured.get(m, {}) | about for m in MEASURES]


def _measure(
    bins: CellBins, wells: NDArray[np.int64], index: SectorIndex, key: Sequence[object]
) -> dict[str, Line]:
    """Return the numbers of each measure of one group."""
    pool = sector_index.thrown_pool(bins, index, key)
    concentrations = pool[:, 0].copy()
    value = float(polarity_index(concentrations))
    uniform = _uniform(value, pool, index, stream(index, key))
    del pool  # the largest array: free it before the next one is made
    rotation = _rotation(value, bins, index, stream(index, key, "turns"))
    over_cells = bootstrap.interval_over_cells(
        concentrations, index.n_boot, stream(index, key, "cells")
    )
    over_wells = bootstrap.interval_over_wells(
        concentrations, wells, index.n_boot, stream(index, key, "wells")
    )
    null = uniform.get("value", np.nan)
    p_uniform = {n: uniform.pop(n) for n in ("p_value", "least_p") if n in uniform}
    return {
        "index": {"value": value} | _ends(over_cells, over_wells),
        "index_corrected": {"value": value - null}
        | _ends(over_cells.shifted(-null), over_wells.shifted(-null))
        | p_uniform,
        "uniform_null": uniform,
        "rotation_null": rotation,
        "mann_whitney": _mann_whitney(concentrations),
    }


def _ends(over_cells: Interval, over_wells: Interval) -> Line:
    names = ("low", "high", "low_wells", "high_wells")
    return dict(zip(names, (*over_cells, *over_wells), strict=True))


def _uniform(
    value: float, pool: Concentrations, index: SectorIndex, rng: np.random.Generator
) -> Line:
    """Return middle, range and p value of the uniform null; nothing without throws."""
    thrown = null_models.throw_indices(pool)
    if len(thrown) == 0:
        return {}
    middle, spread = float(thrown.mean()), 1.96 * float(thrown.std())
    line = {"value": middle, "low": middle - spread, "high": middle + spread}
    return line | _p_value(value, null_models.draw_indices(pool, index.n_draws, rng))


def _rotation(
    value: float, bins: CellBins, index: SectorIndex, rng: np.random.Generator
) -> Line:
    """Return middle, range and p value of the rotation null; nothing without draws."""
    if index.n_draws == 0:
        return {}

    def fill(spots: Bins, areas: Bins) -> Concentrations:
        return null_models.rotation_pool(spots, areas, index.sectors, index.rotation)

    turned = bins.pool(N_BINS // null_models.STEP_DEG, index.sectors, fill)
    drawn = null_models.draw_indices(turned, index.n_draws, rng)
    low, high = np.quantile(drawn, [0.025, 0.975])
    line = {"value": float(drawn.mean()), "low": float(low), "high": float(high)}
    return line | _p_value(value, drawn)


def _p_value(value: float, drawn: NDArray[np.float64]) -> Line:
    if len(drawn) == 0:
        return {}
    p_value = null_models.two_sided(value, drawn)
    return {"p_value": p_value, "least_p": 1 / (len(drawn) + 1)}


def _mann_whitney(concentrations: Concentrations) -> Line:
    """Return how often a reference sector exceeds another, and DypFISH's p value."""
    from scipy.stats import mannwhitneyu

    reference, others = concentrations[:, 0], concentrations[:, 1:].ravel()
    reference = reference[np.isfinite(reference)]
    others = others[np.isfinite(others)]
    if len(reference) == 0 or len(others) == 0:
        return {}
    answer = mannwhitneyu(reference, others)
    chance = float(answer.statistic) / (len(reference) * len(others))
    return {"value": chance, "p_value": float(answer.pvalue)}


def finish_table(
    lines: list[Line], keys: list[str], columns: tuple[Column, ...], *, within: str = ""
) -> pd.DataFrame:
    """Return lines as a table of `keys` and `columns`, with adjusted p values.

    A value that a line does not have is NaN. Tests are adjusted together if they share
    the value of the column `within`; if it is empty, all are.
    """
    own = {c.name for c in columns}
    dtype = {name: "int32" if name in OCCASION else "string" for name in keys}
    named = tuple(Column(k, dtype[k], "") for k in keys if k not in own)
    declared = (*named, *columns)
    empty = empty_table(declared)
    if not lines:
        return empty
    table = pd.DataFrame(lines, columns=list(empty.columns))
    families = table[within] if within else pd.Series("", index=table.index)
    table["p_adjusted"] = table.groupby(families)["p_value"].transform(_adjusted)
    return as_table(table, declared)


def _adjusted(p: pd.Series) -> pd.Series:
    """Return Benjamini and Hochberg's adjusted p values; NaN counts as no test."""
    from scipy.stats import false_discovery_control

    adjusted = p.astype(float)
    known = adjusted.notna()
    if known.any():
        adjusted[known] = false_discovery_control(adjusted[known])
    return adjusted
