"""Atomic exports: a file or folder is written under a partial name, then renamed.

A path comes in; a partial path to write to goes out, and is renamed once the writer is
done. Data that no export wrote are never deleted. Nothing here knows formats.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepspot_scale.errors import RunError
from deepspot_scale.io.tables import PARTIAL


@contextmanager
def whole(
    target: Path, *, overwrite: bool, sign: tuple[str, str] | None = None
) -> Iterator[Path]:
    """Yield a path to write to; rename it to `target` on success.

    Parameters
    ----------
    target
        File or folder to create.
    overwrite
        Replace what an earlier export wrote there.
    sign
        A file in the folder, and a text in that file, that identify an earlier export;
        a folder without them is not replaced. None: exports are files.

    Raises
    ------
    RunError
        `target` exists and must not be replaced.
    """
    _check_free(target, overwrite=overwrite, sign=sign)
    partial = target.with_name(f"{PARTIAL}{target.name}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    _remove(partial)  # what a killed export left
    try:
        yield partial
        _remove(target)
        partial.replace(target)
    finally:
        _remove(partial)


def _check_free(target: Path, *, overwrite: bool, sign: tuple[str, str] | None) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise RunError(f"{target} exists; ask to overwrite it, or choose another place")
    if target.is_dir() and not _is_signed(target, sign):
        raise RunError(
            f"{target} is a folder that is not such an export; it is not replaced. "
            "Choose another place"
        )
    if target.is_file() and sign is not None:
        raise RunError(f"{target} is a file, not a folder; choose another place")


def _is_signed(folder: Path, sign: tuple[str, str] | None) -> bool:
    if sign is None:
        return False
    name, word = sign
    file = folder / name
    return file.is_file() and word in file.read_text("utf-8")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
