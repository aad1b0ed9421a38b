"""What can be written to: files whole or not there, fields that tables fit into.

A path comes in, the path to write to goes out, and once the writer is done the one
takes the other's place. What somebody else made is never deleted. Nothing here knows
formats.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deepspot_scale.errors import RunError
from deepspot_scale.io.field import Field
from deepspot_scale.io.tables import PARTIAL
from deepspot_scale.runs.made_labels import label_names
from deepspot_scale.runs.results import RunResults
from deepspot_scale.vocabulary import FieldAddress


@contextmanager
def whole(
    target: Path, *, overwrite: bool, sign: tuple[str, str] | None = None
) -> Iterator[Path]:
    """Give a path to write to; move what is there to `target` when all went well.

    The sign is a file in the folder and a word in this file by which an earlier export
    is known; a folder without them is not replaced. None: exports are files.

    Raises RunError if there is something at `target` that may not be replaced.
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
    file = target / sign[0] if sign else target
    signed = sign and file.is_file() and sign[1] in file.read_text("utf-8")
    if target.is_dir() and not signed:
        raise RunError(
            f"{target} is a folder that no such export wrote; it is not replaced. "
            "Choose another place"
        )
    if target.is_file() and sign is not None:
        raise RunError(f"{target} is a file, not a folder; choose another place")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_cells(results: RunResults, why: str) -> None:
    """Raise RunError unless the run measured cells; `why` says who needs them."""
    if "cells" not in label_names(results):
        raise RunError(
            f"{why}, and the run {results.folder.url} has none: it was started "
            "without --cells. Run again with it or --segment, or export csv, "
            "spatialdata or napari"
        )


def open_stored(results: RunResults, address: FieldAddress) -> Field:
    """Open a field of the input; RunError when nothing can be added to it."""
    field = results.plate.open(address.path)
    if field.group:
        return field
    raise RunError(
        f"{field.image.source} is no OME-Zarr image, so nothing can be added to "
        "it; convert the images to a plate and run on that, or choose another "
        "export"
    )


def safe_names(words: Iterable[str]) -> dict[str, str]:
    """Return for each word a name of letters, digits, ``_``, ``-`` and ``.`` only.

    Such a name is good as the name of a file, and no two are alike when the case of
    letters does not count: ``B/03/0`` becomes ``B_03_0``.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for word in words:
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", word).lstrip("._") or "field"
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.lower())
        names[word] = name
    return names
