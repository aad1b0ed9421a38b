"""Frames of an ND2 file, read one by one from a file that stays open.

A path and slices along t, c, z, y, x come in, pixels go out. bioio describes the file;
it opens the file again for every frame, which takes a hundred times as long as the
frame itself. Nothing here knows what the axes mean to a user.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.io.image_files.open_files import lend


def read_nd2(
    path: str, position: int, selection: tuple[slice, ...]
) -> NDArray[np.generic]:
    """Read slices along t, c, z, y, x of one position of the stage.

    Raises ValueError if the file's loops are not those of its frames.
    """
    import nd2  # comes with bioio-nd2, an extra

    with lend(path, "nd2", partial(nd2.ND2File, path)) as file:
        sizes = dict(file.sizes)
        n = {axis: sizes.get(axis, 1) for axis in "TCZYX"}
        t, c, z = (
            range(n[axis])[part] for axis, part in zip("TCZ", selection, strict=False)
        )
        rows, columns = selection[3:]
        loops = [axis for axis in sizes if axis not in "CYXS"]
        shape = (len(t), len(c), len(z))
        edges = (len(range(n["Y"])[rows]), len(range(n["X"])[columns]))
        block = np.empty((*shape, *edges), file.dtype)
        for (i, at_t), (k, at_z) in product(enumerate(t), enumerate(z)):
            at = {"T": at_t, "Z": at_z, "P": position}
            frame = _frame(file, {axis: at[axis] for axis in loops}, sizes)
            frame = frame.reshape(n["C"], n["Y"], n["X"])
            block[i, :, k] = frame[c.start : c.stop : c.step, rows, columns]
    return block


def _frame(file: Any, at: dict[str, int], sizes: dict[str, int]) -> NDArray[Any]:
    where, shape = list(at.values()), [sizes[axis] for axis in at]
    number = int(np.ravel_multi_index(where, shape)) if where else 0
    stated = file.loop_indices[number] if where else {}  # also loops of one step
    if any(stated.get(axis) != place for axis, place in at.items()):
        raise ValueError(f"its frame {number} is {stated}, not {at}")
    return np.asarray(file.read_frame(number))
