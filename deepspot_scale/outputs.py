"""Whether a file or folder can be written, asked before the work that it is for.

A path on a local disk comes in; an error that says why not goes out, or nothing. What
is tried leaves nothing behind. Nothing here knows what is written.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from deepspot_scale.errors import SettingsError


def check_output_file(file: Path, what: str) -> None:
    """Raise SettingsError unless a file can be written in a folder that exists.

    `what` is the option or argument that names it. Only a regular file is replaced:
    renamed onto a device or a pipe, a file would take its place.
    """
    place = file.absolute()
    if not place.parent.is_dir():
        raise SettingsError(f"{what}: there is no folder {place.parent}")
    if place.is_dir():
        raise SettingsError(f"{what}: {file} is a folder; give the file in it a name")
    if place.exists() and not place.is_file():
        raise SettingsError(f"{what}: {file} is no file but a device or a pipe")
    _try(place.parent, place, what)


def check_output_folder(folder: Path, what: str) -> None:
    """Raise SettingsError unless a folder can be made, or can be written into."""
    place = folder.absolute()
    there = next(each for each in (place, *place.parents) if each.exists())
    _try(there, place, what)


def _try(folder: Path, place: Path, what: str) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise SettingsError(
            f"{what}: {place} cannot be written: {folder}: {error.strerror}; give "
            "another place"
        ) from error
