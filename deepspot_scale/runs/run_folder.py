"""Which run a folder holds: its settings, its contents, where its answers come from.

A run that is continued must not mix the answers of two settings, two inputs or two
versions of a network or plug-in: a difference is an error that names it. Nothing here
knows what is done already.

    RUN/settings.toml  contents.json  provenance.json      written before the first part
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepspot_scale.config import difference
from deepspot_scale.errors import RunError, StoreError
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.contents import NAME as CONTENTS
from deepspot_scale.runs.contents import Contents, read_contents, write_contents
from deepspot_scale.runs.manifest import ENTRIES
from deepspot_scale.settings import Settings, read_settings, write_settings

LEASES = "lease"
"""Folder of the leases, see `lease`."""
DENOISER = "denoiser"
"""Folder of a denoiser that is trained on the plate before its run begins."""


@contextmanager
def place_errors(folder: Folder) -> Iterator[None]:
    """Turn a store's errors into a RunError that says what to do."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, ValueError, ImportError, NotImplementedError) as error:
        reason = str(error) or "nothing can be written there"
        raise RunError(
            f"{folder.url} cannot be used as run folder: {reason}; give another one "
            "with --out"
        ) from error


def check_place(folder: Folder) -> None:
    """Raise RunError unless a folder is new, empty, or holds a run."""
    with place_errors(folder):
        if not folder.exists("settings.toml") and set(folder.names("")) - {
            LEASES,
            DENOISER,
        }:
            raise RunError(
                f"{folder.url} is not empty and holds no run; give a new folder with "
                "--out"
            )


def check_lasting(folder: Folder) -> None:
    """Raise RunError if a folder is gone with this process, or unseen by others."""
    with place_errors(folder):
        if folder.is_in_memory:
            raise RunError(
                f"{folder.url} is in the memory of this process alone, and its results "
                "would be gone with it; give a folder or an object store with --out"
            )


def begin_run(folder: Folder, settings: Settings, contents: Contents) -> None:
    """Make a run folder, or accept one whose settings are the same.

    Raises
    ------
    RunError
        The folder holds a run with other settings, or something else, or it cannot be
        written to.
    """
    check_place(folder)
    with place_errors(folder):
        if folder.exists("settings.toml"):
            old = read_settings(folder.read("settings.toml").decode())
            if not folder.exists(CONTENTS):
                raise RunError(
                    f"{folder.url} holds a run of an earlier version, which can be "
                    "read but not continued; use another folder with --out"
                )
            _refuse(folder, "settings", difference(old.to_dict(), settings.to_dict()))
            _check_contents(folder, contents)
            # Another user may have begun it, whose sub-folders cannot be written to.
            folder.check_writable([ENTRIES, *contents.tables])
        else:
            write_contents(folder, contents)
            folder.write("settings.toml", write_settings(settings).encode())


def _check_contents(folder: Folder, contents: Contents) -> None:
    """Raise RunError if this version writes other tables than the folder has."""
    begun = read_contents(folder)
    now = {**contents.tables, "fields": contents.fields}
    then = {**begun.tables, "fields": begun.fields}
    other = [name for name, columns in now.items() if then.get(name) != columns]
    if other:
        raise RunError(
            f"{folder.url} holds a run of another version, with other columns in "
            f"{', '.join(other)}; it can be read but not continued; use another folder "
            "with --out"
        )


def _refuse(folder: Folder, what: str, changes: list[str]) -> None:
    if changes:
        raise RunError(
            f"{folder.url} holds a run with other {what}:\n  "
            + "\n  ".join(changes)
            + f"\nuse its {what}, or another folder with --out"
        )


def open_provenance(folder: Folder, facts: dict[str, Any]) -> None:
    """Write where a run's answers come from, or compare with the written facts.

    The facts can be written as JSON.

    Raises
    ------
    RunError
        The run was begun with another plate, other weights, other references, or by
        another version of this package.
    """
    name = "provenance.json"
    if folder.exists(name):
        _refuse(folder, "input", identity_changes(json.loads(folder.read(name)), facts))
        return
    folder.write(name, json.dumps(facts, indent=2).encode())


def identity_changes(there: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return a line for each difference of provenance that decides about answers."""
    old, new = _identity(there), _identity(now)
    return [
        f"{key}: {old.get(key, '')!r} there, now {new.get(key, '')!r}"
        for key in sorted({*old, *new})
        if old.get(key, "") != new.get(key, "")
    ]


def _identity(facts: dict[str, Any]) -> dict[str, str]:
    """Return the facts that decide about answers and are not in the settings."""
    hashed = {
        role: str(file["sha256"])
        for role, file in facts.items()
        if isinstance(file, dict) and "sha256" in file
    }
    return {
        "input": str(facts.get("input", {}).get("source", "")),
        "deepspot-scale": str(facts.get("versions", {}).get("deepspot-scale", "")),
        **hashed,
    }
