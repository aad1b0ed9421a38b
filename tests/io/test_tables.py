"""Tables on any store: written then read is the same, and never incomplete."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.io.tables import (
    PARTIAL,
    Folder,
    read_columns,
    read_table,
    read_tables,
    write_table,
)
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import CELLS, N_BINS, SPOTS, TABLES, Column

VALUES = {
    "string": st.text(max_size=5),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float32": st.floats(width=32),
    "float64": st.floats(),
    "bool": st.booleans(),
    "bins": st.integers(0, 9).map(lambda n: np.full(N_BINS, n, np.int32)),
}


def _rows(columns: tuple[Column, ...]) -> st.SearchStrategy[pd.DataFrame]:
    row = st.fixed_dictionaries({c.name: VALUES[c.dtype] for c in columns})
    return st.lists(row, min_size=1, max_size=3).map(
        lambda rows: as_table(pd.DataFrame(rows), columns)
    )


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """An empty folder on a disk, and one on an object store."""
    if request.param == "local":
        return Folder(str(tmp_path))
    return Folder(f"memory://tables{tmp_path}")


@pytest.mark.parametrize("name", TABLES)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_table_written_then_read_is_the_same(name: str, data: st.DataObject) -> None:
    folder = Folder("memory://tables/round-trip")
    table = data.draw(_rows(TABLES[name]))
    write_table(folder, "a/b.parquet", table, TABLES[name])
    read = read_table(folder, "a/b.parquet", TABLES[name])
    pd.testing.assert_frame_equal(read, table)


def test_a_table_without_rows_keeps_its_columns(folder: Folder) -> None:
    write_table(folder, "none.parquet", empty_table(CELLS), CELLS)
    read = read_table(folder, "none.parquet", CELLS)
    pd.testing.assert_frame_equal(read, empty_table(CELLS))


def test_other_programs_find_types_and_meanings_in_the_file(tmp_path: Path) -> None:
    write_table(Folder(str(tmp_path)), "cells.parquet", empty_table(CELLS), CELLS)
    schema = pq.read_schema(tmp_path / "cells.parquet")
    assert schema.names == [column.name for column in CELLS]
    bins = schema.field("spot_bins").type
    assert (bins.list_size, str(bins.value_type)) == (N_BINS, "int32")
    assert schema.field("cell").metadata[b"meaning"] == b"label of the cell"
    assert schema.metadata is None


def test_several_files_are_read_as_one_table(folder: Folder) -> None:
    tables = [_spots(n) for n in (2, 0, 3)]
    names = [f"{number}.parquet" for number in range(3)]
    for name, table in zip(names, tables, strict=True):
        write_table(folder, name, table, SPOTS)
    assert folder.names("") == names
    assert read_tables(folder, names, SPOTS)["y"].tolist() == [0, 1, 0, 1, 2]
    assert read_tables(folder, [], SPOTS).equals(empty_table(SPOTS))
    assert list(read_columns(folder, "0.parquet", ["x"])) == ["x"]


def _spots(n: int) -> pd.DataFrame:
    blank = {c.name: "" if c.dtype == "string" else 0 for c in SPOTS}
    table = pd.DataFrame([blank] * n, columns=list(blank)).assign(y=np.arange(n))
    return table.astype(empty_table(SPOTS).dtypes)


def test_files_of_all_folders_below_one_are_named(folder: Folder) -> None:
    names = ["a/b/two", "a/one", "a/b/three", "ab/four", f"a/b/x{PARTIAL}five"]
    for name in names:
        folder.write(name, b"1")
    assert folder.files_below("a") == ["a/b/three", "a/b/two", "a/one"]
    assert folder.files_below("nowhere") == []


def test_a_file_is_replaced_as_a_whole(folder: Folder) -> None:
    folder.write("sub/a.txt", b"long content")
    folder.write("sub/a.txt", b"short")
    assert folder.read("sub/a.txt") == b"short"
    folder.remove("sub/a.txt")
    folder.remove("sub/a.txt")
    assert not folder.exists("sub/a.txt")


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_an_interrupted_write_never_looks_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a.txt", b"before")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, at, interrupt)
    with pytest.raises(KeyboardInterrupt):
        folder.write("a.txt", b"after")
    assert folder.read("a.txt") == b"before"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_writer_left_is_no_file_and_is_swept(folder: Folder) -> None:
    folder.write("spots/a.parquet", b"whole")
    fs, path = fsspec.core.url_to_fs(f"{folder.url}/spots/b.parquet{PARTIAL}12")
    fs.pipe_file(path, b"ha")
    assert folder.names("spots") == ["a.parquet"]
    assert folder.sweep("spots") == 1
    assert folder.sweep("spots") == 0
    assert folder.sweep("absent") == 0
    assert folder.names("spots") == ["a.parquet"]
    assert not fs.exists(path)
    named = Folder(f"{folder.url}/of{PARTIAL}1")
    named.write("spots/a.parquet", b"whole")
    assert (named.sweep("spots"), named.names("spots")) == (0, ["a.parquet"])


def test_a_missing_folder_has_no_files(folder: Folder) -> None:
    assert folder.names("absent") == []


def test_a_folder_knows_whether_it_is_on_a_disk(tmp_path: Path) -> None:
    assert Folder(str(tmp_path)).is_local
    assert Folder(f"file://{tmp_path}").local_path == tmp_path
    assert not Folder("memory://x").is_local
