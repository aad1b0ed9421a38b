"""A small movie with known molecules, to try localisation on.

A path comes in; a TIFF movie of simulated filaments goes out, with its truth beside
it. Nothing here finds molecules.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, Final

import numpy as np

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.camera_model import Camera
from deepspot_scale.simulation.molecules import Photons
from deepspot_scale.simulation.movies import MovieRecipe, Psf, simulate_movie

DEMO: Final[dict[str, Any]] = {
    "pixel_nm": 100.0,
    "psf_sigma_nm": 120.0,
    "camera_offset": 100.0,
    "camera_gain": 1.0,
}
"""What is known of the movie's microscope, as options of the stage *localise*."""
FRAMES: Final = 400
EDGE: Final = 64
SEED: Final = 7


def simulate_movie_file(path: Path) -> Path:
    """Write a movie of molecules on tubes, and their places beside it; return its path.

    The truth is a CSV with the columns frame (from 1), x [nm], y [nm] and intensity
    [photon].

    Raises
    ------
    SettingsError
        There is another file of this name.
    """
    import tifffile

    recipe = MovieRecipe(
        (EDGE, EDGE),
        Camera(offset=100.0, gain=1.0, read_noise=2.0),
        Psf(DEMO["psf_sigma_nm"] / DEMO["pixel_nm"]),
        Photons(2500.0, 0.3),
        background=20.0,
        structure="tubes",
        density=0.8,
        on_time=1.5,
    )
    frames, truth = simulate_movie(recipe, FRAMES, SEED)
    if not path.exists():
        tifffile.imwrite(path, frames, imagej=True, metadata={"axes": "TYX"})
    elif not np.array_equal(tifffile.imread(path), frames):
        raise SettingsError(
            f"{path} is there and holds other frames than the demonstration; name "
            "another run folder, or move it away"
        )
    with path.with_suffix(".truth.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["frame", "x [nm]", "y [nm]", "intensity [photon]"])
        rows = zip(truth.frame + 1, truth.x_nm, truth.y_nm, truth.photons, strict=True)
        table.writerows(
            [f, round(x, 3), round(y, 3), round(p, 1)] for f, x, y, p in rows
        )
    return path
