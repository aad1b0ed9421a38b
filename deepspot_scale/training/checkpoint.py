"""Checkpoints: numbers and arrays in, a folder that is always whole out.

    checkpoint/state.json                 numbers, and the name of the arrays' file
    checkpoint/arrays-000000200.safetensors

The arrays are written first; replacing the one JSON file then makes the checkpoint. So
the old or the new checkpoint is whole, whenever the process is killed. Reading runs no
code from the files. Nothing here knows what is trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import RunError
from deepspot_scale.io.tables import Folder

PLACE = "checkpoint"
_STATE = f"{PLACE}/state.json"
Arrays = Mapping[str, Sequence[NDArray[Any]]]


def write_checkpoint(
    folder: Folder, numbers: Mapping[str, Any], arrays: Arrays
) -> None:
    """Write a checkpoint in the place of the last one.

    `numbers` can be written as JSON and contain ``step``; `arrays` are lists by name.
    """
    from safetensors.numpy import save

    name = f"arrays-{numbers['step']:09d}.safetensors"
    flat = {
        f"{group}/{number:05d}": np.ascontiguousarray(array).reshape(array.shape)
        for group, many in arrays.items()
        for number, array in enumerate(many)
    }
    folder.write(f"{PLACE}/{name}", save(flat))
    state = {**numbers, "arrays": name}
    folder.write(_STATE, json.dumps(state, indent=1).encode())
    for old in folder.names(PLACE):
        if old.endswith(".safetensors") and old != name:
            folder.remove(f"{PLACE}/{old}")


def read_checkpoint(
    folder: Folder,
) -> tuple[dict[str, Any], dict[str, list[NDArray[Any]]]] | None:
    """Return the numbers and arrays of the last checkpoint; None if there is none.

    Raises
    ------
    RunError
        The checkpoint is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not folder.exists(_STATE):
        return None
    try:
        numbers = json.loads(folder.read(_STATE))
        flat = load(folder.read(f"{PLACE}/{numbers.pop('arrays')}"))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise RunError(
            f"the checkpoint in {folder.url} is damaged ({error}): put it back from a "
            f"copy, or remove the folder {PLACE} to train from the start"
        ) from error
    groups: dict[str, list[NDArray[Any]]] = {}
    for key in sorted(flat):
        groups.setdefault(key.split("/")[0], []).append(flat[key].copy())
    return numbers, groups
