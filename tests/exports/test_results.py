"""What a finished run holds, field by field."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import PlateError, RunError, SettingsError
from deepspot_scale.exports.measures import measure_cells, measure_columns
from deepspot_scale.exports.targets import safe_names
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import open_run
from deepspot_scale.vocabulary import VOLUMES


def test_the_fields_together_are_the_tables_of_the_run(screen: Any) -> None:
    found = list(open_run(screen.run).iter_fields())
    assert [each.address.path for each in found] == ["B/03/0", "B/03/1", "C/04/0"]
    for kind in ("spots", "cells"):
        together = pd.concat([each[kind] for each in found])
        expected = getattr(screen.outcome, kind)
        assert len(together) == len(expected) > 0
        pd.testing.assert_series_equal(
            together["y" if kind == "spots" else "cell_y"].reset_index(drop=True),
            expected["y" if kind == "spots" else "cell_y"],
        )


def test_failures_have_their_reason(screen: Any) -> None:
    results = open_run(screen.run)
    assert [address.path for address in addresses_of(results.failed)] == ["C/05/0"]
    assert results.failed["reason"].item()


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        (["B/03/1"], ["B/03/1"]),
        (["b3"], ["B/03/0", "B/03/1"]),
        (["C04", "B/03/0"], ["B/03/0", "C/04/0"]),
    ],
)
def test_fields_are_chosen_by_path_or_well(
    screen: Any, words: list[str], paths: list[str]
) -> None:
    found = open_run(screen.run).only(words).iter_fields()
    assert [each.address.path for each in found] == paths


def test_an_unknown_field_names_the_nearest(screen: Any) -> None:
    with pytest.raises(SettingsError, match=r"'B/03/9'.*Did you mean 'B/03/"):
        open_run(screen.run).only(["B/03/9"])


def test_a_run_that_is_not_finished_is_refused(screen: Any, tmp_path: Path) -> None:
    run = Path(shutil.copytree(screen.run, tmp_path / "run"))
    (run / "wells.parquet").unlink()
    with pytest.raises(RunError, match=r"no wells.parquet.*let it finish"):
        open_run(run)
    with pytest.raises(RunError, match=r"no settings.toml"):
        open_run(tmp_path)


def test_an_input_that_was_moved_can_be_named(screen: Any, tmp_path: Path) -> None:
    own = screen.copy(tmp_path)
    moved = own.plate.rename(tmp_path / "elsewhere.zarr")
    with pytest.raises(PlateError, match="say where it is now"):
        _ = open_run(own.run).plate
    assert "B/03/0" in open_run(own.run, plate=moved).plate


def test_measures_have_their_declared_columns_also_without_cells(screen: Any) -> None:
    results = open_run(screen.run)
    columns = [column.name for column in measure_columns(3)]
    for found in results.iter_fields():
        assert list(measure_cells(found["cells"], results.plate_map, 3)) == columns


def test_cells_of_an_earlier_version_are_flat(screen: Any) -> None:
    results = open_run(screen.run)
    now = results.read("cells")
    kept = [name for name in now if name not in VOLUMES]
    measured = (
        measure_cells(cells, results.plate_map, 3) for cells in (now[kept], now)
    )
    pd.testing.assert_frame_equal(*measured)


@given(st.lists(st.text(max_size=6), unique=True, max_size=8))
def test_safe_names_are_plain_and_never_alike(words: list[str]) -> None:
    names = list(safe_names(words).values())
    assert len({name.lower() for name in names}) == len(words)
    assert all(
        name and all(c.isascii() and (c.isalnum() or c in "_-.") for c in name)
        for name in names
    )


def test_a_path_becomes_a_name_that_is_read_at_a_glance() -> None:
    assert safe_names(["B/03/0", "b/03/0"]) == {
        "B/03/0": "B_03_0",
        "b/03/0": "b_03_0_2",
    }
