"""The one reader of a run folder: which rows it gives, whatever the table is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import RunError
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.contents import OLD, Contents, read_contents, write_contents
from deepspot_scale.runs.manifest import commit_part, read_fields
from deepspot_scale.runs.results import RunResults, open_results, open_run
from deepspot_scale.settings import make_settings, write_settings
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import (
    DONE,
    FAILED,
    QUALITY,
    Column,
    FieldAddress,
)

SETTINGS = make_settings(channels=("FISH",), sectors=6, min_spots=3)
FIRST, SECOND, LOST = (FieldAddress("B", "03", field) for field in "012")


def _rows(columns: tuple[Column, ...], *rows: dict[str, object]) -> pd.DataFrame:
    """Return rows with a 0, an empty text or empty bins where nothing is said."""
    blanks = {"string": "", "bins": np.zeros(360, np.int32)}
    blank = {c.name: blanks.get(c.dtype, 0) for c in columns}
    return as_table(pd.DataFrame([blank | row for row in rows]), columns)


def _commit(
    folder: Folder,
    part: str,
    rows: dict[FieldAddress, int],
    kinds: tuple[str, ...] = ("spots",),
) -> None:
    """Write a part in which each field has so many rows in each of these tables."""
    contents = read_contents(folder)
    tables = {n: empty_table(columns) for n, columns in contents.tables.items()}
    for kind in kinds:
        lines = [
            vars(a) | {"channel": "FISH"} for a, n in rows.items() for _ in range(n)
        ]
        if lines:
            tables[kind] = _rows(contents.tables[kind], *lines)
    told = [vars(a) | {"status": DONE, "part": part, "n_spots": rows[a]} for a in rows]
    commit_part(folder, part, tables, _rows(OLD.fields, *told), contents)


def _results(folder: Folder) -> RunResults:
    return RunResults(folder, SETTINGS, {}, read_fields(folder))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "run"))


def test_a_field_of_two_parts_has_the_rows_of_one(folder: Folder) -> None:
    _commit(folder, "both", {FIRST: 3, SECOND: 2})
    _commit(folder, "late", {FIRST: 5, LOST: 1})
    results = _results(folder)
    parts = {part: len(table) for part, table in results.iter_parts("spots")}
    each = {r.address: len(r["spots"]) for r in results.iter_fields()}
    assert parts == {"both": 5, "late": 1}
    assert each == {FIRST: 3, SECOND: 2, LOST: 1}
    assert len(results.read("spots")) == results.count_spots()["n_spots"].sum() == 6
    assert len(results.of_field(FIRST)["spots"]) == 3


def test_a_part_without_entry_is_not_read(folder: Folder) -> None:
    _commit(folder, "kept", {FIRST: 3})
    _commit(folder, "killed", {SECOND: 4})
    folder.remove("manifest/killed.parquet")
    assert [part for part, _ in _results(folder).iter_parts("spots")] == ["kept"]


def test_a_table_of_any_name_is_read_part_by_part_and_field_by_field(
    folder: Folder,
) -> None:
    tables = {**OLD.tables, "quality": QUALITY}
    write_contents(folder, Contents(tables, OLD.fields, {}))
    _commit(folder, "one", {FIRST: 1, SECOND: 2}, kinds=("spots", "quality"))
    _commit(folder, "two", {LOST: 0}, kinds=("quality",))
    results = _results(folder)
    assert results.read("quality")["field"].tolist() == ["0", "1", "1"]
    found = list(results.iter_fields())
    assert [len(each["quality"]) for each in found] == [1, 2, 0]
    assert list(found[2]["quality"]) == [column.name for column in QUALITY]
    assert list(results.read("quality", ["focus"])) == [*vars(FIRST), "focus"]


def test_a_field_that_failed_has_tables_without_rows(folder: Folder) -> None:
    failed = _rows(OLD.fields, vars(LOST) | {"status": FAILED, "part": "lost"})
    nothing = {name: empty_table(columns) for name, columns in OLD.tables.items()}
    commit_part(folder, "lost", nothing, failed, OLD)
    results = _results(folder)
    assert len(results.failed) == 1
    assert results.of_field(LOST).tables.keys() == OLD.tables.keys()
    assert all(table.empty for table in results.of_field(LOST).tables.values())


def test_the_index_is_that_of_the_settings(folder: Folder) -> None:
    _commit(folder, "one", {FIRST: 1})
    index = _results(folder).index
    assert (index.sectors, index.min_spots, index.rotation) == (6, 3, "fixed")


def test_a_run_on_its_way_is_opened_but_is_not_finished(folder: Folder) -> None:
    with pytest.raises(RunError, match="holds no run"):
        open_results(folder.url)
    folder.write("settings.toml", write_settings(SETTINGS).encode())
    folder.write("provenance.json", b'{"input": {"source": "a.zarr", "name": "a"}}')
    _commit(folder, "one", {FIRST: 2})
    results = open_results(folder.url)
    assert (results.source, results.plate_name) == ("a.zarr", "a")
    assert open_results(folder.url, plate="b.zarr").source == "b.zarr"
    assert len(results.read("spots")) == 2
    with pytest.raises(RunError, match=r"wells\.parquet.*let it finish"):
        open_run(folder.url)


def test_entries_of_an_earlier_version_are_read_beside_todays(folder: Folder) -> None:
    _commit(folder, "one", {FIRST: 3})
    _commit(folder, "two", {SECOND: 2})
    entry = folder.local_path / "manifest" / "one.parquet"
    pd.read_parquet(entry).drop(columns="n_faint").to_parquet(entry)
    assert read_fields(folder)["n_spots"].tolist() == [3, 2]
