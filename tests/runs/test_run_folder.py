"""Which run a folder holds: what is taken up, and what is refused in words."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from deepspot_scale.errors import RunError
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.contents import Contents, read_contents
from deepspot_scale.runs.run_folder import (
    begin_run,
    check_lasting,
    open_provenance,
)
from deepspot_scale.settings import assemble, make_settings, write_settings

SETTINGS = make_settings(channels=("FISH",))
CONTENTS = Contents.of(assemble(make_settings(channels=("FISH",), cells="cells")))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "run"))


def test_a_new_folder_is_made_and_taken_up_again(folder: Folder) -> None:
    begin_run(folder, SETTINGS, CONTENTS)
    begin_run(folder, make_settings(channels=("FISH",)), CONTENTS)
    assert folder.names("") == ["contents.json", "settings.toml"]
    assert read_contents(folder) == CONTENTS


def test_other_settings_are_refused_and_the_difference_is_shown(folder: Folder) -> None:
    begin_run(folder, SETTINGS, CONTENTS)
    with pytest.raises(RunError, match=r"polarity.min_spots: 10 there, now 3"):
        begin_run(folder, make_settings(channels=("FISH",), min_spots=3), CONTENTS)


def test_a_folder_with_other_things_in_it_is_left_alone(
    folder: Folder, tmp_path: Path
) -> None:
    folder.write("thesis.txt", b"years of work")
    with pytest.raises(RunError, match="not empty and holds no run"):
        begin_run(folder, SETTINGS, CONTENTS)
    assert folder.names("") == ["thesis.txt"]


@pytest.mark.parametrize("below", ["", "/run"])
def test_a_file_is_no_run_folder(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="cannot be used as run folder"):
        begin_run(Folder(f"{tmp_path}/file{below}"), SETTINGS, CONTENTS)


class ClosedFileSystem(LocalFileSystem):
    """A store that can be read, and not written to while it is closed."""

    protocol = ("closed",)
    refusal: Exception | None = None
    below: str = ""
    """Paths with this text are refused."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("closed://")))

    def pipe_file(self, path: str, value: bytes, *args: object, **rest: object) -> None:
        """Write, or refuse to."""
        if self.refusal is not None and self.below in path:
            raise self.refusal
        super().pipe_file(path, value, *args, **rest)


fsspec.register_implementation("closed", ClosedFileSystem, clobber=True)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (NotImplementedError(), "nothing can be written there"),
    ],
)
def test_a_store_that_cannot_be_written_to_is_refused_before_the_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    begun: bool,
    refusal: Exception,
    reason: str,
) -> None:
    folder = Folder(f"closed://{tmp_path}/run")
    if begun:
        begin_run(folder, SETTINGS, CONTENTS)
    monkeypatch.setattr(ClosedFileSystem, "refusal", refusal)
    with pytest.raises(RunError, match=f"cannot be used as run folder: .*{reason}"):
        begin_run(folder, SETTINGS, CONTENTS)


@pytest.mark.parametrize("below", ["/manifest/", "/spots/", "/cells/"])
def test_a_run_whose_sub_folder_belongs_to_somebody_else_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    folder = Folder(f"closed://{tmp_path}/run")
    begin_run(folder, SETTINGS, CONTENTS)
    for name in ("manifest", "spots", "cells"):
        (tmp_path / "run" / name).mkdir()
    begin_run(folder, SETTINGS, CONTENTS)
    refusal = PermissionError(13, "Permission denied")
    monkeypatch.setattr(ClosedFileSystem, "refusal", refusal)
    monkeypatch.setattr(ClosedFileSystem, "below", below)
    with pytest.raises(RunError, match=r"cannot be used as run folder: .*denied"):
        begin_run(folder, SETTINGS, CONTENTS)


@pytest.mark.parametrize("url", ["memory://run", "simplecache::memory://run"])
def test_what_is_gone_with_the_process_is_no_run_folder_of_a_command(url: str) -> None:
    with pytest.raises(RunError, match=r"memory of this process alone.*--out"):
        check_lasting(Folder(url))


def test_a_folder_on_a_disk_lasts(folder: Folder) -> None:
    check_lasting(folder)


def test_a_zip_file_is_no_run_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "run.zip", "w"):
        pass
    with pytest.raises(RunError, match="cannot be used as run folder"):
        begin_run(Folder(f"zip://::file://{tmp_path}/run.zip"), SETTINGS, CONTENTS)


def test_to_try_whether_a_folder_can_be_written_to_leaves_nothing(
    folder: Folder, tmp_path: Path
) -> None:
    begin_run(folder, SETTINGS, CONTENTS)
    before = sorted(tmp_path.rglob("*"))
    begin_run(folder, SETTINGS, CONTENTS)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_unknown_protocol_is_no_run_folder() -> None:
    with pytest.raises(RunError, match="cannot be used as run folder"):
        begin_run(Folder("nowhere://bucket/run"), SETTINGS, CONTENTS)


@pytest.mark.parametrize("text", ["[tool.black", "line-length = 88"])
def test_the_settings_of_another_program_are_no_run(folder: Folder, text: str) -> None:
    folder.write("settings.toml", text.encode())
    with pytest.raises(RunError, match="cannot be used as run folder"):
        begin_run(folder, SETTINGS, CONTENTS)


@pytest.mark.parametrize(
    "other",
    [
        {"input": {"source": "/other.zarr"}},
        {"weights": {"sha256": "cd"}},
        {"reference": {"sha256": "ef"}},
    ],
)
def test_another_plate_weights_or_reference_are_refused(
    folder: Folder, other: dict[str, dict[str, str]]
) -> None:
    facts = {"input": {"source": "/plate.zarr"}, "weights": {"sha256": "ab"}}
    open_provenance(folder, facts | {"started": "today"})
    open_provenance(folder, facts | {"started": "tomorrow"})
    assert b"today" in folder.read("provenance.json")
    with pytest.raises(RunError, match=f"{next(iter(other))}: .* now '"):
        open_provenance(folder, facts | other)


@pytest.mark.parametrize("role", ["detector", "stage smooth"])
def test_another_version_of_a_plug_in_is_refused(folder: Folder, role: str) -> None:
    facts = {"input": {"source": "/plate.zarr"}, role: {"name": "x", "sha256": "ab"}}
    open_provenance(folder, facts)
    with pytest.raises(RunError, match=f"{role}: 'ab' there, now ''"):
        open_provenance(folder, {"input": facts["input"]})


def test_a_run_of_an_earlier_version_is_not_continued(folder: Folder) -> None:
    folder.write("settings.toml", write_settings(SETTINGS).encode())
    with pytest.raises(RunError, match="earlier version, which can be read but not"):
        begin_run(folder, SETTINGS, CONTENTS)


def test_a_run_whose_tables_had_other_columns_is_not_continued(folder: Folder) -> None:
    before = {name: columns[:-1] for name, columns in CONTENTS.tables.items()}
    begin_run(folder, SETTINGS, replace(CONTENTS, tables=before))
    with pytest.raises(RunError, match="another version, with other columns in spots"):
        begin_run(folder, SETTINGS, CONTENTS)
