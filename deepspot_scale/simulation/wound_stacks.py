"""Simulates one field of a wound assay as a z-stack with known truth.

A scene of `wound_assay` comes in; spots with a depth and a two-channel stack go out.
Cells lie on the glass and are thick in the middle and thin at the rim; spots are
anywhere between glass and the cell's top. Nothing here knows files or plates.

    top of the cell      . - ~ - .
                       .   o   o    .        o a spot
    glass  __________.__o______o______.____  plane `GLASS`
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.simulation import wound_assay
from deepspot_scale.simulation.drawing import Image
from deepspot_scale.simulation.stacks import add_spots
from deepspot_scale.simulation.wound_assay import AssayScene

PLANES: Final = 11
Z_STEP_UM: Final = 0.3
GLASS: Final = 2.0
"""Plane on which the cells lie; spots outside cells lie there."""
_HEIGHT: Final = 6.0
"""Planes from the glass to the top of a cell far from its rim."""
_RIM_PX: Final = 22.0
"""Distance from the rim at which a cell has 63 % of its height."""
_SIGMA_Z: Final = 0.35 / Z_STEP_UM
"""Of a spot, in planes: 350 nm, as of a usual microscope."""
_HAZE: Final = 0.5
"""Share of a cell's own light that is seen in every plane, out of focus."""
_EDGE: Final = 0.8
"""Planes over which the light in focus ends at the glass and at the cell's top."""


def cell_tops(scene: AssayScene) -> Image:
    """Return the plane of the cell's upper side at each pixel; `GLASS` outside."""
    height = _HEIGHT * (1 - np.exp(-scene.depth / _RIM_PX))
    return np.asarray(GLASS + height * (scene.cells > 0), np.float32)


def add_depth(
    rng: np.random.Generator, scene: AssayScene, spots: pd.DataFrame
) -> pd.DataFrame:
    """Return planted spots with the column z, in planes, before the others.

    A spot is as likely at each height of its cell as at any other.
    """
    rows, columns = np.round(spots[["y", "x"]].to_numpy()).astype(np.int64).T
    top = cell_tops(scene)[rows, columns].astype(np.float64)
    depth = GLASS + rng.random(len(spots)) * (top - GLASS)
    return pd.DataFrame({"z": depth, **spots})


def photograph_stack(
    rng: np.random.Generator, scene: AssayScene, spots: pd.DataFrame
) -> NDArray[np.uint16]:
    """Return the camera's stack of a field: (channel, z, y, x), DAPI and FISH.

    `spots` has the columns z, y, x.
    """
    light = wound_assay.lamp(rng, scene.cells.shape)
    seen = _seen_in_planes(scene)
    fish = seen * (light * wound_assay.autofluorescence(rng, scene))
    points = spots[["z", "y", "x"]].to_numpy(np.float64)
    voxels = np.round(points).astype(np.int64)
    heights, sigmas = wound_assay.draw_brightness(rng, fish[tuple(voxels.T)])
    widths = np.column_stack([np.full(len(points), _SIGMA_Z), sigmas])
    add_spots(fish, points, heights, widths)
    dapi = seen * (light * wound_assay.nuclear_stain(rng, scene))
    return np.stack(
        [
            np.stack([wound_assay.expose(rng, plane) for plane in stack])
            for stack in (dapi, fish)
        ]
    )


def _seen_in_planes(scene: AssayScene) -> Image:
    """Return the share of a cell's light that each plane shows, (z, y, x)."""
    planes = np.arange(PLANES, dtype=np.float32)[:, None, None]
    below = 1 / (1 + np.exp((GLASS - planes) / _EDGE))
    above = 1 / (1 + np.exp((planes - cell_tops(scene)) / _EDGE))
    return np.asarray(_HAZE + (1 - _HAZE) * below * above, np.float32)
