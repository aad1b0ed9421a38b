"""Frames per second of `localise`, beside the bare network; memory by length.

    python benchmarks/movies.py --frames 2000 --edge 256

The same process measures both, one after the other: the network on the normalised
frames, and a run from a TIFF file to tables, picture and report. Their ratio is what
all our plumbing leaves of the network's speed. `--longer 4` also runs a movie that is
so many times as long, for the memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from deepspot_scale.kernels.camera_model import Camera
from deepspot_scale.kernels.movie_scale import (
    frame_floor,
    frame_top,
    movie_scale,
    normalise,
)
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import get_engine, iter_predictions
from deepspot_scale.simulation.molecules import Photons
from deepspot_scale.simulation.movies import MovieRecipe, Psf, simulate_movie

SIMULATED = 100
"""Frames that are simulated; a longer movie repeats them."""


def write_movie(path: Path, frames: np.ndarray, n: int) -> None:
    """Write `n` frames, again and again the same ones."""
    repeated = (frames[i % len(frames)] for i in range(n))
    shape = (n, *frames.shape[1:])
    tifffile.imwrite(path, repeated, shape=shape, dtype=frames.dtype, bigtiff=True)


def time_network(frames: np.ndarray, n: int, precision: str) -> float:
    """Return the seconds that the network takes for `n` frames, once it is warm."""
    engine = get_engine(EngineChoice("subpixel", precision=precision))
    scale = movie_scale([frame_top(frame) for frame in frames])
    given = [normalise(frame, frame_floor(frame), scale)[..., None] for frame in frames]
    for _ in iter_predictions(engine, given[:3]):
        pass
    began = time.perf_counter()
    for start in range(0, n, len(given)):
        for _ in iter_predictions(engine, given[: min(len(given), n - start)]):
            pass
    return time.perf_counter() - began


def time_run(movie: Path, out: Path, precision: str) -> dict[str, float]:
    """Run `localise` in a process of its own; return seconds and memory."""
    words = ["-m", "deepspot_scale.cli", "localise", str(movie), "--out", str(out)]
    words += ["--pixel-size", "0.1", "--psf-sigma", "130", "--precision", precision]
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return {"seconds": seconds, "largest_process_gb": peak}


def main() -> None:
    """Measure, and print one line of JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--frames", type=int, default=1000)
    options.add_argument("--edge", type=int, default=256)
    options.add_argument("--density", type=float, default=0.2)
    options.add_argument("--precision", default="float32")
    options.add_argument("--longer", type=int, default=0)
    given = options.parse_args()
    recipe = MovieRecipe(
        (given.edge, given.edge),
        Camera(),
        Psf(1.3),
        Photons(2000.0),
        20.0,
        density=given.density,
    )
    frames, truth = simulate_movie(recipe, SIMULATED, seed=3)
    row: dict[str, float | str] = {
        "frames": given.frames,
        "edge": given.edge,
        "precision": given.precision,
        "molecules_a_frame": len(truth.frame) / SIMULATED,
    }
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        bare = time_network(frames, given.frames, given.precision)
        write_movie(root / "movie.tif", frames, given.frames)
        run = time_run(root / "movie.tif", root / "run", given.precision)
        bare = (bare + time_network(frames, given.frames, given.precision)) / 2
        row |= {
            "network_frames_per_s": given.frames / bare,
            "run_frames_per_s": given.frames / run["seconds"],
            "run_to_network": bare / run["seconds"],
            "largest_process_gb": run["largest_process_gb"],
        }
        if given.longer:
            n = given.frames * given.longer
            write_movie(root / "longer.tif", frames, n)
            longer = time_run(root / "longer.tif", root / "run2", given.precision)
            row["longer_largest_process_gb"] = longer["largest_process_gb"]
    print(json.dumps(row))


if __name__ == "__main__":
    main()
