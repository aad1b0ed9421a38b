"""What counts as done in a run folder, whoever was killed while writing it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import fsspec
import pandas as pd
import pytest
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.io.tables import PARTIAL, Folder, read_table
from deepspot_scale.runs import manifest
from deepspot_scale.runs.contents import OLD
from deepspot_scale.runs.manifest import (
    commit_part,
    part_name,
    read_fields,
    settled,
    sweep,
)
from deepspot_scale.runs.results import RunResults
from deepspot_scale.runs.run_folder import begin_run
from deepspot_scale.settings import make_settings
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import (
    CELLS,
    DONE,
    FAILED,
    SPOTS,
    Column,
    FieldAddress,
)

SETTINGS = make_settings(channels=("FISH",))
FIRST, SECOND = FieldAddress("B", "03", "0"), FieldAddress("B", "03", "1")


def _rows(columns: tuple[Column, ...], *rows: dict[str, object]) -> pd.DataFrame:
    """Return rows with a 0 or an empty text where nothing is said."""
    blank = {c.name: "" if c.dtype == "string" else 0 for c in columns}
    return as_table(pd.DataFrame([blank | row for row in rows]), columns)


def _results(folder: Folder) -> RunResults:
    return RunResults(folder, SETTINGS, {}, read_fields(folder))


def _place(address: FieldAddress) -> dict[str, object]:
    return {"row": address.row, "column": address.column, "field": address.field}


def _commit(
    folder: Folder, address: FieldAddress, n_spots: int, status: str = DONE
) -> str:
    spot = _place(address) | {"channel": "FISH"}
    spots = _rows(SPOTS, *[spot] * n_spots) if n_spots else empty_table(SPOTS)
    name = part_name([address])
    outcome = {"status": status, "n_spots": n_spots, "part": name}
    fields = _rows(OLD.fields, _place(address) | outcome)
    commit_part(
        folder, name, {"spots": spots, "cells": empty_table(CELLS)}, fields, OLD
    )
    return name


class OtherFileSystem(LocalFileSystem):
    """A store that is no local disk to us, and whose writes can break off."""

    protocol = ("other",)
    breaks = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("other://")))

    def pipe_file(self, path: str, value: bytes, *args: object, **rest: object) -> None:
        """Write, or half of it."""
        if self.breaks:
            super().pipe_file(path, value[: len(value) // 2], *args, **rest)
            raise ConnectionResetError("the line is dead")
        super().pipe_file(path, value, *args, **rest)


fsspec.register_implementation("other", OtherFileSystem, clobber=True)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "run"))


@pytest.mark.parametrize("scheme", ["file://", "other://", "memory://"])
def test_a_manifest_lies_on_any_store(tmp_path: Path, scheme: str) -> None:
    folder = Folder(f"{scheme}{tmp_path}/run")
    begin_run(folder, SETTINGS, OLD)
    _commit(folder, FIRST, 3)
    killed = _commit(folder, SECOND, 5)
    folder.remove(f"manifest/{killed}.parquet")
    assert sweep(folder) == 1
    assert read_fields(folder)["n_spots"].tolist() == [3]
    assert len(_results(folder).read("spots")) == 3
    assert folder.create("once", b"1")
    assert not folder.create("once", b"2")
    assert folder.read("once") == b"1"


def test_a_write_that_breaks_off_leaves_nothing_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(f"other://{tmp_path}/run")
    _commit(folder, FIRST, 3)
    monkeypatch.setattr(OtherFileSystem, "breaks", True)
    with pytest.raises(OSError, match="the line is dead"):
        _commit(folder, FIRST, 4)
    assert len(_results(folder).read("spots")) == 3
    assert read_fields(folder)["n_spots"].tolist() == [3]


def test_a_part_counts_once_its_entry_is_there(folder: Folder) -> None:
    _commit(folder, FIRST, 3)
    assert read_fields(folder)["n_spots"].tolist() == [3]
    assert len(_results(folder).read("spots")) == 3
    assert settled(read_fields(folder), retry_failed=False) == {FIRST}


def test_a_part_without_entry_is_swept_and_never_read(folder: Folder) -> None:
    kept, killed = _commit(folder, FIRST, 3), _commit(folder, SECOND, 5)
    folder.remove(f"manifest/{killed}.parquet")
    assert len(_results(folder).read("spots")) == 3
    assert _results(folder).count_spots()["n_spots"].sum() == 3
    assert sweep(folder) == 1
    assert folder.names("spots") == [f"{kept}.parquet"]
    assert sweep(folder) == 0


def test_a_field_that_stands_in_two_parts_is_taken_from_one(folder: Folder) -> None:
    # A worker whose client died may finish its batch after another client did it.
    _commit(folder, FIRST, 3)
    fields = read_fields(folder)
    spots = _results(folder).read("spots")
    tables = {"spots": spots, "cells": empty_table(CELLS)}
    commit_part(folder, "late", tables, fields.assign(part="late"), OLD)
    assert len(read_fields(folder)) == 1
    assert len(_results(folder).read("spots")) == 3
    assert _results(folder).count_spots()["n_spots"].tolist() == [3]


def test_rows_that_stand_twice_are_swept_down_to_one(folder: Folder) -> None:
    # B03/0 and B03/1 in one part; then each again in a part of its own.
    _commit(folder, FIRST, 3)
    _commit(folder, SECOND, 2)
    both, spots = read_fields(folder), _results(folder).read("spots")
    tables = {"spots": spots, "cells": empty_table(CELLS)}
    name = part_name([FIRST, SECOND])
    commit_part(folder, name, tables, both.assign(part=name), OLD)
    folder.remove(f"manifest/{part_name([SECOND])}.parquet")
    assert sweep(folder) == 2
    assert sweep(folder) == 0
    columns = OLD.tables["spots"]
    files = [read_table(folder, f"spots/{n}", columns) for n in folder.names("spots")]
    assert sum(map(len, files)) == 5
    assert len(_results(folder).read("spots")) == 5
    assert read_fields(folder)["n_spots"].tolist() == [3, 2]


def test_a_failed_row_that_was_mended_is_swept(folder: Folder) -> None:
    failed = _rows(OLD.fields, _place(FIRST) | {"status": FAILED, "part": "old"})
    tables = {"spots": empty_table(SPOTS), "cells": empty_table(CELLS)}
    commit_part(folder, "old", tables, failed, OLD)
    _commit(folder, FIRST, 3)
    sweep(folder)
    assert folder.names("manifest") == [f"{part_name([FIRST])}.parquet"]


def test_a_part_that_was_swept_before_its_entry_came_is_written_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, done = manifest.write_table, []

    def write_and_sweep(where: Folder, name: str, *rest: object) -> None:
        if name.startswith("manifest/") and not done:
            done.append(sweep(where))
        write(where, name, *rest)

    monkeypatch.setattr(manifest, "write_table", write_and_sweep)
    _commit(folder, FIRST, 3)
    assert done == [1]
    assert len(_results(folder).read("spots")) == 3


def test_files_of_a_killed_writer_are_swept_wherever_they_lie(folder: Folder) -> None:
    _commit(folder, FIRST, 3)
    for place in ("", "spots/", "cells/", "manifest/"):
        folder.write(f"{place}x.parquet", b"")
        path = folder.local_path / place
        (path / "x.parquet").rename(path / "x.parquet.partial-1234")
    assert sweep(folder) == 4
    assert len(_results(folder).read("spots")) == 3


def test_a_field_that_failed_is_tried_again_only_when_asked(folder: Folder) -> None:
    _commit(folder, FIRST, 3)
    _commit(folder, SECOND, 0, FAILED)
    fields = read_fields(folder)
    assert settled(fields, retry_failed=False) == {FIRST, SECOND}
    assert settled(fields, retry_failed=True) == {FIRST}


def test_a_field_that_failed_and_then_was_done_is_done(folder: Folder) -> None:
    failed = _rows(
        OLD.fields, *[_place(each) | {"status": FAILED} for each in (FIRST, SECOND)]
    )
    tables = {"spots": empty_table(SPOTS), "cells": empty_table(CELLS)}
    commit_part(folder, part_name([FIRST, SECOND]), tables, failed, OLD)
    _commit(folder, SECOND, 2)
    assert read_fields(folder)["status"].tolist() == [FAILED, DONE]


def test_a_part_done_anew_leaves_no_rows_of_before(folder: Folder) -> None:
    _commit(folder, FIRST, 3)
    _commit(folder, FIRST, 0)
    assert _results(folder).read("spots").empty
    assert folder.names("spots") == []


def test_spots_are_counted_by_field_and_channel(folder: Folder) -> None:
    _commit(folder, FIRST, 3)
    _commit(folder, SECOND, 2)
    counts = _results(folder).count_spots()
    assert counts["n_spots"].tolist() == [3, 2]
    assert counts["field"].tolist() == ["0", "1"]


def test_no_spots_at_all_are_counted_as_whole_numbers(folder: Folder) -> None:
    _commit(folder, FIRST, 0)
    assert _results(folder).count_spots().dtypes["n_spots"] == "int64"
    assert _results(Folder("memory://nothing/here")).count_spots().empty


names = st.text("AaCc1-/_+", max_size=3)
batches = st.lists(
    st.builds(FieldAddress, names, names, names), min_size=1, max_size=4, unique=True
)


@given(batches, batches)
def test_different_batches_have_different_names(
    first: list[FieldAddress], second: list[FieldAddress]
) -> None:
    folded = part_name(first).casefold() == part_name(second).casefold()
    assert folded == (first == second)
    assert "/" not in part_name(first)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("A", "1-2", ""), ("A-1", "2", "")),
        (("A", "1", ""), ("", "", "A-1")),
        (("A", "1", ""), ("A", "", "1")),
        (("", "", "a/b"), ("", "", "a_b")),
        (("A", "1", "2"), ("", "", "A/1/2")),
        (("A", "1", "a"), ("A", "1", "A")),
        (("A", "1", "a"), ("a", "1", "a")),
        (("A", "b", ""), ("A", "B", "")),
        (("A", "1", "\u00e9"), ("A", "1", "e\u0301")),
    ],
)
def test_fields_whose_joined_names_are_alike_have_parts_of_their_own(
    folder: Folder, one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    addresses = [FieldAddress(*one), FieldAddress(*other)]
    names = [_commit(folder, each, n) for n, each in enumerate(addresses, 1)]
    folded = [unicodedata.normalize("NFC", name).casefold() for name in names]
    assert folded[0] != folded[1]
    found = read_fields(folder)
    assert sorted(found["n_spots"]) == [1, 2]
    assert sweep(folder) == 0
    assert len(_results(folder).read("spots")) == 3


def test_a_field_named_like_a_partial_file_keeps_its_rows(folder: Folder) -> None:
    _commit(folder, FieldAddress("A", "1", f"0{PARTIAL}1"), 2)
    assert sweep(folder) == 0
    assert read_fields(folder)["n_spots"].tolist() == [2]
    assert len(_results(folder).read("spots")) == 2


def test_names_of_ordinary_fields_can_be_read() -> None:
    assert part_name([FIRST]) == "B-03-0"
    assert part_name([FieldAddress("", "", "image_1")]) == "image_1"
    assert part_name([FieldAddress("B", "03", "")]) == "B-03"
