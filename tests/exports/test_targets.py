"""An export is complete or absent, and replaces nothing but an earlier export."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from deepspot_scale.errors import RunError
from deepspot_scale.exports.targets import whole

SIGN = ("README.txt", "of ours")


def _write(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / SIGN[0]).write_text(f"an export {SIGN[1]}: {text}")


def test_the_target_appears_only_when_the_writer_is_done(tmp_path: Path) -> None:
    target = tmp_path / "exports/cells.h5ad"
    with whole(target, overwrite=False) as partial:
        partial.write_text("cells")
        assert not target.exists()
    assert target.read_text() == "cells"
    assert list(target.parent.iterdir()) == [target]


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "napari"
    _write(target, "first")
    with suppress(KeyboardInterrupt), whole(target, overwrite=True, sign=SIGN) as part:
        _write(part, "second")
        raise KeyboardInterrupt
    assert (target / SIGN[0]).read_text().endswith("first")
    assert list(tmp_path.iterdir()) == [target]


def test_an_export_that_a_kill_left_incomplete_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "napari"
    with whole(target, overwrite=False, sign=SIGN) as partial:
        left = partial
        _write(partial, "first")
    _write(left, "killed")
    with whole(target, overwrite=True, sign=SIGN) as partial:
        _write(partial, "second")
    assert (target / SIGN[0]).read_text().endswith("second")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["other.txt", SIGN[0]])
def test_a_folder_that_is_no_export_is_kept(tmp_path: Path, name: str) -> None:
    target = tmp_path / "napari"
    target.mkdir()
    (target / name).write_text("a thesis")
    with (
        pytest.raises(RunError, match="not replaced"),
        whole(target, overwrite=True, sign=SIGN),
    ):
        pytest.fail("it was opened")
    assert (target / name).read_text() == "a thesis"


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "napari"
    target.write_text("a thesis")
    for overwrite, reason in ((False, "ask to overwrite"), (True, "is a file")):
        with (
            pytest.raises(RunError, match=reason),
            whole(target, overwrite=overwrite, sign=SIGN),
        ):
            pytest.fail("it was opened")
    assert target.read_text() == "a thesis"
