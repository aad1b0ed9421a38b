"""Localised molecules of several fitters against the truth, on the same movies.

    pip install picassosr==0.11.3           # or --peers FOLDER of such an installation
    python benchmarks/localisation.py DATA [--fitter NAME ...] [--out ROWS.jsonl]

DATA is a folder of movies: each NAME.tif beside NAME.csv, the truth. A fitter is
a function of a movie and a threshold. Thresholds are tried in turn, and the best at
100 nm is kept: it is chosen on the truth itself, so fitters that need one are shown at
their best. Ours has one threshold for all movies. Pixels are 100 nm.

`maxima` is a plain baseline: Gaussian smoothing, local maxima, a least-squares fit of a
Gaussian in 7 x 7 pixels. locan 0.22 reads and analyses tables and has no fitter.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.optimize import least_squares

from deepspot_scale.evaluation.localisation_matching import TOLERANCES_NM, sweep
from deepspot_scale.evaluation.localisation_truth import read_molecules

PIXEL_NM = 100.0
CHOSEN_AT_NM = 100.0
BOX = 7
Movie = NDArray[Any]
Localise = Callable[[Movie, float], pd.DataFrame]
"""Given a movie (t, y, x) and a threshold: columns frame, x_nm, y_nm."""


class Fitter(NamedTuple):
    """A way to localise, and the thresholds to try."""

    localise: Localise
    thresholds: tuple[float, ...]


def picasso(method: str, box: int) -> Localise:
    """Return picasso's fit in boxes; thresholds are its least net gradient."""

    def localise(movie: Movie, threshold: float) -> pd.DataFrame:
        from picasso import localize

        camera = {"Baseline": 100, "Sensitivity": 1, "Gain": 1, "Qe": 1}
        found = localize.localize_frames(
            np.asarray(movie),
            None,
            {"Min. Net Gradient": threshold, "Box Size": box},
            camera_info={**camera, "Pixelsize": PIXEL_NM},
            fitting_method=method,
            threaded=False,
        )
        # The centre of picasso's first pixel is 0.
        places = {
            f"{axis}_nm": (found[axis].to_numpy(np.float64) + 0.5) * PIXEL_NM
            for axis in "xy"
        }
        table = pd.DataFrame({"frame": found["frame"].to_numpy(np.int64), **places})
        return _inside(table, movie)

    return localise


def maxima(movie: Movie, threshold: float) -> pd.DataFrame:
    """Fit a Gaussian at each local maximum; the threshold is in noise of the frame."""
    rows = [
        (t, *place)
        for t, frame in enumerate(movie)
        for place in _fit_frame(np.asarray(frame, np.float64), threshold)
    ]
    table = pd.DataFrame(rows, columns=["frame", "y_nm", "x_nm"])
    return _inside(table.astype({"frame": np.int64}), movie)


def _fit_frame(frame: NDArray[np.float64], threshold: float) -> list[tuple[float, ...]]:
    smooth = gaussian_filter(frame, 1.0)
    floor = np.quantile(smooth, 0.25)
    noise = 1.4826 * np.median(np.abs(frame - smooth))
    peaks = (smooth == maximum_filter(smooth, 3)) & (smooth > floor + threshold * noise)
    return [_fit_box(frame, y, x) for y, x in np.argwhere(peaks)]


def _fit_box(frame: NDArray[np.float64], y: int, x: int) -> tuple[float, float]:
    half = BOX // 2
    top, left = max(0, y - half), max(0, x - half)
    box = frame[top : y + half + 1, left : x + half + 1]
    rows, columns = np.mgrid[top : top + box.shape[0], left : left + box.shape[1]]

    def residual(p: NDArray[np.float64]) -> NDArray[np.float64]:
        square = (rows - p[0]) ** 2 + (columns - p[1]) ** 2
        model = p[4] + p[3] * np.exp(-square / (2 * p[2] ** 2))
        return np.ravel(model - box)

    start = [y, x, 1.2, max(frame[y, x] - box.min(), 1.0), box.min()]
    bounds = ([y - 2, x - 2, 0.6, 0, -np.inf], [y + 2, x + 2, 3.0, np.inf, np.inf])
    fit = least_squares(residual, start, bounds=bounds, max_nfev=30).x
    return (fit[0] + 0.5) * PIXEL_NM, (fit[1] + 0.5) * PIXEL_NM


def ours(**options: Any) -> Localise:
    """Return our `localise` with its options; it has its own threshold."""

    def localise(movie: Movie, threshold: float) -> pd.DataFrame:
        import xarray as xr

        import deepspot_scale as ds

        image = xr.DataArray(movie, dims=("t", "y", "x"))
        table = ds.localise(image, pixel_size=PIXEL_NM / 1000, **options)
        return table.compute() if hasattr(table, "compute") else table

    return localise


_GRADIENTS = (0, 125, 250, 500, 1000, 2000, 4000)
FITTERS: dict[str, Fitter] = {
    "maxima": Fitter(maxima, (0, 1, 2, 4)),
    **{
        f"{method}-{box}": Fitter(picasso(method, box), _GRADIENTS)
        for box in (5, 7)
        for method in ("gausslq", "gaussmle", "gausslq-spherical")
    },
    "ours": Fitter(ours(), (0,)),
}


def _inside(table: pd.DataFrame, movie: Movie) -> pd.DataFrame:
    """Leave out fits that ran away from the frame, or are no numbers."""
    height, width = (n * PIXEL_NM for n in movie.shape[1:])
    kept = table["y_nm"].between(0, height) & table["x_nm"].between(0, width)
    return table[kept].reset_index(drop=True)


def measure(fitter: Fitter, movie: Movie, true: pd.DataFrame) -> dict[str, Any]:
    """Return the sweep of the best threshold, with the threshold and the seconds."""
    best: dict[str, Any] = {"jaccard": -1.0}
    for threshold in fitter.thresholds:
        begun = time.perf_counter()
        found = fitter.localise(movie, threshold)
        seconds = time.perf_counter() - begun
        table = sweep(found, true)
        at = float(table.set_index("tolerance_nm").loc[CHOSEN_AT_NM, "jaccard"])
        if at > best["jaccard"]:
            best = {"jaccard": at, "threshold": threshold, "seconds": seconds}
            best["sweep"] = table
    return best


def rows_of(name: str, fitter: str, best: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Return one row for each tolerance."""
    kept = ("tolerance_nm", "jaccard", "precision", "recall", "rmse_lateral_nm")
    rows = []
    for each in best["sweep"].to_dict("records"):
        numbers = {key: round(float(each[key]), 4) for key in kept}
        shifts = {k: round(float(each[k]), 2) for k in ("shift_x_nm", "shift_y_nm")}
        about = {"movie": name, "fitter": fitter, "threshold": best["threshold"]}
        rows.append(
            {**about, **numbers, **shifts, "seconds": round(best["seconds"], 3)}
        )
    return rows


def main() -> None:
    """Print Jaccard and RMSE for each movie, fitter and tolerance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fitter", action="append", choices=sorted(FITTERS))
    parser.add_argument("--peers", type=Path, help="site-packages that hold picasso")
    parser.add_argument("--frames", type=int, default=None, help="first ones only")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if options.peers:  # at the end: our own versions of shared packages come first
        sys.path.append(str(options.peers))
    movies = sorted(
        path
        for path in options.data.glob("*.tif")
        if path.with_suffix(".csv").is_file()
    )
    for path in movies:
        movie = tifffile.imread(path)[: options.frames]
        true = read_molecules(path.with_suffix(".csv"))
        true = true[true["frame"] < len(movie)]
        for name in options.fitter or FITTERS:
            best = measure(FITTERS[name], movie, true)
            rows = rows_of(path.stem, name, best)
            for row in rows:
                if row["tolerance_nm"] in {*TOLERANCES_NM[::5], 50, CHOSEN_AT_NM, 250}:
                    print(json.dumps(row), flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
