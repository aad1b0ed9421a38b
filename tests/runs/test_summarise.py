"""The end of a run: what is written, and that parts say what one whole table says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import RunError
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.contents import OLD
from deepspot_scale.runs.manifest import commit_part
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.runs.summarise import (
    LATER,
    STATISTICS,
    summarise_run,
    with_statistics,
)
from deepspot_scale.settings import make_settings, write_settings
from deepspot_scale.statistics.condition_tests import compare_conditions
from deepspot_scale.statistics.polarity_tests import polarity_statistics
from deepspot_scale.statistics.roses import measure_roses
from deepspot_scale.statistics.summaries import (
    summarise_fields,
    summarise_groups,
)
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import CELLS, DONE, OCCASION, SPOTS, SUMMARIES

WELLS = [("B", "02"), ("B", "03"), ("C", "02"), ("C", "03")]
PLATE_MAP = pd.DataFrame(WELLS, columns=["row", "column"]).assign(
    condition=["calm", "calm", "wound", "wound"], gene="Actb"
)


def _write_run(
    folder: Folder, cell_pool: Any, n_planes: int = 1, **settings: Any
) -> list[pd.DataFrame]:
    """Write a run of eight fields in four parts, the last by name first by field.

    Returns the cells of each part, in order of the fields.
    """
    chosen = make_settings(channels=["FISH"], cells="cells", **settings)
    folder.write("settings.toml", write_settings(chosen).encode())
    folder.write("provenance.json", b"{}")
    rng, tables = np.random.default_rng(0), []
    masks = cell_pool.draw_masks(rng, 20)
    for number, (row, column) in enumerate(WELLS):
        spots, areas = cell_pool.throw_cells(rng, masks, 30, 1.0 + 0.3 * number)
        # Some cells are at the border, some without a reference.
        cells = cell_pool.cells_table(
            *(np.tile(bins, (n_planes, 1)) for bins in (spots, areas)),
            row=row,
            column=column,
            field=np.tile(np.repeat(["0", "1"], 15), n_planes),
            z=np.repeat(np.arange(n_planes), 30),
            cell=np.tile(np.arange(30), n_planes),
            touches_border=np.tile(np.arange(30) % 5 == 0, n_planes),
            reference_deg=np.tile(np.where(np.arange(30) % 7, 10.0, np.nan), n_planes),
        )
        zeros = {c.name: "" if c.dtype == "string" else 0 for c in OLD.fields}
        known = {"row": row, "column": column, "field": ["0", "1"], "status": DONE}
        known |= {"n_t": 1, "n_z": n_planes}
        fields = pd.DataFrame(zeros | known | {"part": f"part{3 - number}"})
        tables.append(as_table(cells, CELLS))
        parts = {"spots": empty_table(SPOTS), "cells": tables[-1]}
        commit_part(
            folder, f"part{3 - number}", parts, as_table(fields, OLD.fields), OLD
        )
    summarise_run(folder, chosen, PLATE_MAP, ["FISH"])
    return tables


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"n_planes": 2},
        {"sectors": 4, "exclude_border": True, "n_planes": 2},
        {"sectors": 5, "min_spots": 80},
        {"sectors": 180},
        {"rotation": "published"},
    ],
)
def test_statistics_from_parts_are_those_of_one_whole_table_to_the_last_bit(
    tmp_path: Path, cell_pool: Any, settings: dict[str, Any]
) -> None:
    tables = _write_run(Folder(str(tmp_path)), cell_pool, **settings)
    run, cells = open_run(tmp_path), pd.concat(tables, ignore_index=True)
    by_name = pd.concat(tables[::-1], ignore_index=True)
    given = (run.fields, by_name, PLATE_MAP)
    options = {"channels": ["FISH"], "spots": run.count_spots(), "index": run.index}
    whole = {
        **summarise_groups(*given, **options),
        "polarity": polarity_statistics(cells, PLATE_MAP, index=run.index),
        "comparisons": compare_conditions(cells, PLATE_MAP, index=run.index),
        "roses": measure_roses(cells, PLATE_MAP, run.index),
        "field_polarity": summarise_fields(cells, run.index),
    }
    assert whole.keys() | {*LATER} == SUMMARIES.keys()
    for name, table in whole.items():
        assert len(table)
        pd.testing.assert_frame_equal(run.summaries[name], table, check_exact=True)


@pytest.mark.parametrize("pooled", [False, True])
def test_a_run_of_an_earlier_version_gets_the_statistics_it_lacks(
    tmp_path: Path, cell_pool: Any, pooled: bool
) -> None:
    _write_run(Folder(str(tmp_path)), cell_pool)
    written = {name: (tmp_path / f"{name}.parquet").read_bytes() for name in SUMMARIES}
    for name in (*STATISTICS, *LATER):
        (tmp_path / f"{name}.parquet").unlink()
    if pooled:  # earlier still: one row for all time points
        wells = pd.read_parquet(tmp_path / "wells.parquet")
        wells.drop(columns=[*OCCASION]).to_parquet(tmp_path / "wells.parquet")
        with pytest.raises(RunError, match="of an earlier version"):
            _ = open_run(tmp_path).wells
    run = with_statistics(open_run(tmp_path))
    assert run.summaries.keys() == SUMMARIES.keys()
    for name, content in written.items():
        assert (tmp_path / f"{name}.parquet").read_bytes() == content
    assert with_statistics(run) is run


def test_cells_without_reference_have_statistics_without_rows(
    tmp_path: Path, cell_pool: Any
) -> None:
    folder, settings = Folder(str(tmp_path)), make_settings(channels=["FISH"])
    bins = np.full((6, 360), 2)
    cells = cell_pool.cells_table(bins, bins, reference_deg=np.nan)
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in OLD.fields}
    known = {"row": "B", "column": "02", "field": "0", "status": DONE, "part": "all"}
    fields = as_table(pd.DataFrame([zeros | known]), OLD.fields)
    parts = {"spots": empty_table(SPOTS), "cells": as_table(cells, CELLS)}
    commit_part(folder, "all", parts, fields, OLD)
    summarise_run(folder, settings, pd.DataFrame(), ["FISH"])
    run = RunResults(folder, settings, {}, fields)
    assert run.wells["n_cells"].item() == 6
    assert all(run.summaries[name].empty for name in STATISTICS)
