"""Noise removed: decibels gained, beside the best Gaussian, and spots kept or lost.

python benchmarks/denoising.py --models FOLDER [--nuclei IMAGES] [--out ROWS.jsonl]

Networks are trained by Noise2Void on 24 simulated noisy images of spots of all heights,
by CARE on the same with their truth, and with --nuclei by Noise2Void on 40 images of a
folder to which noise is added; FOLDER keeps them, and what is not there is trained (two
to four minutes each on one core). Test images have seeds of their own, and of a folder
every fifth image is for the test alone. The Gaussian is the best of ten for each image,
chosen on its truth. Spots are found by the default model, before and after.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from deepspot_scale.io.image_files.tiff_png import open_file
from deepspot_scale.simulation import render_spots, smooth_noise
from deepspot_scale.training.recipe import make_recipe
from deepspot_scale.training.trainer import train
from deepspot_scale.verbs.images import denoise, detect, enhance

SIZE, SPOTS, READ_NOISE = 256, 60, 3.0
SNRS, TESTS = (3.0, 4.0, 5.0, 8.0, 15.0), 10
"""Height of a spot over the noise around it, and images of each."""
WIDTHS = (0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0)
"""Gaussians that are tried, pixels."""
NEAR = 2.0
"""Largest distance of a spot found from a true one, pixels."""
Array = NDArray[Any]


class Example(NamedTuple):
    """A noisy image and its truth."""

    clean: Array
    noisy: Array
    points: Array


def expose(rng: np.random.Generator, light: Array) -> Array:
    """Return what a camera sees of light in photons: whole counts."""
    counts = rng.poisson(light) + rng.normal(0, READ_NOISE, light.shape)
    return np.clip(np.rint(counts), 0, 65535).astype(np.uint16)


def draw_spots(rng: np.random.Generator, snr: float | None = None) -> Example:
    """Return spots of one height, or of 2 to 20 times the noise, on textured light."""
    shape = SIZE, SIZE
    light = 100 + 80 * smooth_noise(rng, shape, 50.0) + 20 * smooth_noise(rng, shape, 8)
    points = rng.uniform(4, SIZE - 5, (SPOTS, 2))
    heights = rng.uniform(2, 20, SPOTS) if snr is None else np.full(SPOTS, snr)
    widths = rng.uniform(1.0, 1.6, SPOTS)
    clean = light + render_spots(shape, points, heights * np.sqrt(150), widths)
    return Example(clean, expose(rng, clean), points)


def read_nuclei(folder: Path, *, held_out: bool) -> Iterator[Example]:
    """Yield a folder's images as light of 15 to 165 photons, and noisy ones.

    Those held out are every fifth; of the others there are 40.
    """
    rng = np.random.default_rng(5 if held_out else 2)
    paths = sorted(folder.iterdir())
    own = [path for i, path in enumerate(paths) if (i % 5 == 4) == held_out]
    for path in own[: TESTS if held_out else 40]:
        image = open_file(str(path)).plane({}, 0, (slice(None), slice(None)))
        low, high = np.percentile(image, [1, 99.8])
        scaled = np.clip((image - low) / max(high - low, 1.0), 0, None)
        clean = 15 + 150 * scaled
        yield Example(
            clean + 100, expose(rng, clean) + np.uint16(100), np.zeros((0, 2))
        )


def decibels(example: Example, image: Array) -> float:
    """Return how far the PSNR of an image is above that of the noisy one."""
    noisy = np.mean(np.square(example.noisy - example.clean))
    return float(10 * np.log10(noisy / np.mean(np.square(image - example.clean))))


def find(example: Example, image: Array) -> tuple[int, int, int]:
    """Return true spots that were found, spots found that are true, and all found."""
    pixels, raw = (
        xr.DataArray(each, dims=("y", "x")) for each in (image, example.noisy)
    )
    found = detect(enhance(pixels), raw)[["y", "x"]].to_numpy(float)
    if not len(found):
        return 0, 0, 0
    near, _ = cKDTree(found).query(example.points)
    true, _ = cKDTree(example.points).query(found)
    return int((near <= NEAR).sum()), int((true <= NEAR).sum()), len(found)


def measure(model: Path, examples: list[Example]) -> dict[str, float]:
    """Return the mean gains over some images, and recall and precision of spots."""
    gains, counts = [], {"raw": np.zeros(3, int), "denoised": np.zeros(3, int)}
    for example in examples:
        image = xr.DataArray(example.noisy, dims=("y", "x"))
        clean = denoise(image, model=str(model)).to_numpy()
        floats = example.noisy.astype(np.float64)
        smooth = [ndimage.gaussian_filter(floats, width) for width in WIDTHS]
        best = max(decibels(example, each) for each in smooth)
        gains.append((decibels(example, clean), best))
        if len(example.points):
            counts["raw"] += find(example, example.noisy)
            counts["denoised"] += find(example, clean)
    row = dict(zip(("gain_db", "gaussian_db"), np.mean(gains, axis=0), strict=True))
    n_true = sum(len(example.points) for example in examples)
    for name, (near, true, found) in counts.items() if n_true else ():
        row[f"recall_{name}"] = near / n_true
        row[f"precision_{name}"] = true / max(found, 1)
    return {name: round(float(value), 4) for name, value in row.items()}


def take_model(
    folder: Path, name: str, examples: Iterator[Example], steps: int
) -> Path:
    """Return the weights in a folder, trained there if it has none yet."""
    place, out = folder / f"{name}-images", folder / name
    if not place.is_dir():
        for number, example in enumerate(examples):
            kinds = {"noisy": example.noisy}
            if name == "care":
                kinds["clean"] = np.rint(example.clean * 16).astype(np.uint16)
                kinds["noisy"] = example.noisy * np.uint16(16)
            for kind, pixels in kinds.items():
                own = place / kind if name == "care" else place
                own.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(own / f"{number:02d}.png"), pixels)
    recipe = make_recipe(
        family="denoiser",
        mixture=[{"source": str(place), "patches": 16}],
        patch=64,
        steps=steps,
        learning_rate=2e-3,
        average=0.98,
        validation={"every": 100, "patches": 64},
    )
    return train(recipe, out, resume=True, threads=1)


def rows(models: Path, nuclei: Path | None, steps: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each method and kind of image."""
    for method in ("noise2void", "care"):
        rng = np.random.default_rng(1)
        model = take_model(models, method, (draw_spots(rng) for _ in range(24)), steps)
        for snr in SNRS:
            rng = np.random.default_rng((100, int(snr * 10)))
            examples = [draw_spots(rng, snr) for _ in range(TESTS)]
            if method == "care":  # it learned from counts in sixteenths
                examples = [
                    Example(16 * e.clean, e.noisy * np.uint16(16), e.points)
                    for e in examples
                ]
            yield {"method": method, "images": "spots", "snr": snr} | measure(
                model, examples
            )
    if nuclei is not None:
        learn = read_nuclei(nuclei, held_out=False)
        model = take_model(models, "nuclei", learn, steps)
        examples = list(read_nuclei(nuclei, held_out=True))
        yield {"method": "noise2void", "images": "nuclei"} | measure(model, examples)


def main() -> None:
    """Print a row a measurement, and append them to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--nuclei", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    for row in rows(given.models, given.nuclei, given.steps):
        text = json.dumps(row)
        print(text, flush=True)
        if given.out is not None:
            with given.out.open("a") as file:
                file.write(text + "\n")


if __name__ == "__main__":
    main()
