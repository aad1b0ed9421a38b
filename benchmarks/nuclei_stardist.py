"""StarDist trained from scratch on the nuclei that ours are trained on, for comparison.

python benchmarks/nuclei_stardist.py --data FOLDER --work FOLDER [--minutes 60]

Runs in an environment with stardist and tensorflow, without this package. FOLDER has
images/ and labels/ (PNG); every fifth image is held out of training and of all choices
(thresholds are fitted on the training part). AP is TP / (TP + FP + FN) over all objects
of the held-out images. One process on one core learns little in an hour: the row says
how many steps there were, and is no statement about StarDist's published models.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from csbdeep.utils import normalize
from numpy.typing import NDArray
from skimage.io import imread
from stardist import fill_label_holes
from stardist.matching import matching_dataset
from stardist.models import Config2D, StarDist2D

Array = NDArray[Any]
IOUS = (0.5, 0.6, 0.7, 0.8, 0.9)
VALIDATION = 16
"""One image in so many of the training part is looked at for the learning rate."""


def read_nuclei(folder: Path) -> tuple[list[Array], list[Array]]:
    """Return images, normalised as StarDist's examples do, and their labels."""
    names = sorted(path.name for path in (folder / "images").glob("*.png"))
    images = [imread(folder / "images" / name).astype(np.float32) for name in names]
    flat = [image if image.ndim == 2 else image[..., :3].mean(-1) for image in images]
    labels = [imread(folder / "labels" / name).astype(np.int32) for name in names]
    return [normalize(image, 1, 99.8) for image in flat], labels


def augment(
    image: Array, labels: Array, *, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return a turned, mirrored, brighter and noisier pair: StarDist's example."""
    turns, mirror = rng.integers(4), rng.integers(2)
    image, labels = np.rot90(image, turns), np.rot90(labels, turns)
    if mirror:
        image, labels = image[::-1], labels[::-1]
    image = image * rng.uniform(0.6, 2) + rng.uniform(-0.2, 0.2)
    noise = rng.normal(0, 0.02 * rng.uniform(0, 1), image.shape)
    return image + noise, labels


def train(pairs: Sequence[tuple[Array, Array]], options: argparse.Namespace) -> Any:
    """Return a model trained for so many minutes, and its number of steps."""
    from keras.callbacks import Callback

    config = Config2D(
        n_rays=32,
        grid=(2, 2),
        unet_n_filter_base=options.base,
        net_conv_after_unet=4 * options.base,
        train_patch_size=(options.patch, options.patch),
        train_batch_size=options.batch,
        train_learning_rate=3e-4,
        train_steps_per_epoch=50,
        train_epochs=100_000,
        train_reduce_lr=None,
        train_tensorboard=False,
    )
    model = StarDist2D(config, name="nuclei", basedir=str(options.work))
    until = time.monotonic() + 60 * options.minutes
    steps = 0

    class Watch(Callback):
        """Stops in time; halves the learning rate thrice in the last third."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            nonlocal steps
            del batch, logs
            steps += 1
            left = (until - time.monotonic()) / (60 * options.minutes)
            halvings = int(left < 0.33) + int(left < 0.2) + int(left < 0.08)
            self.model.optimizer.learning_rate = 3e-4 * 0.5**halvings
            if left <= 0:
                self.model.stop_training = True

    model.prepare_for_training()
    model.callbacks.append(Watch())
    held = [pair for i, pair in enumerate(pairs) if i % VALIDATION == 0]
    rest = [pair for i, pair in enumerate(pairs) if i % VALIDATION]
    seen, watched = (tuple(map(list, zip(*each, strict=True))) for each in (rest, held))
    turn = partial(augment, rng=np.random.default_rng(0))
    model.train(*seen, validation_data=watched, augmenter=turn)
    return model, steps


def score(true: list[Array], found: list[Array]) -> dict[str, Any]:
    """Return AP and the error of counts."""
    ap = [
        float(matching_dataset(true, found, iou, show_progress=False).accuracy)
        for iou in IOUS
    ]
    counts = [
        (len(np.unique(t[t > 0])), int(f.max()))
        for t, f in zip(true, found, strict=True)
    ]
    off = sum(abs(f - t) for t, f in counts)
    return {
        "true": sum(t for t, _ in counts),
        "found": sum(f for _, f in counts),
        "count_error": round(off / sum(t for t, _ in counts), 4),
        "ap50": round(ap[0], 4),
        "ap50_90": round(float(np.mean(ap)), 4),
        "ap": [round(each, 4) for each in ap],
    }


def main() -> None:
    """Train, fit the thresholds, score what was held out, and write a row."""
    options = read_options()
    np.random.seed(0)  # noqa: NPY002  # StarDist draws its patches from it
    images, labels = read_nuclei(options.data)
    shown = [i for i in range(len(images)) if i % 5 != 4]
    hidden = [i for i in range(len(images)) if i % 5 == 4]
    start = time.perf_counter()
    pairs = [(images[i], fill_label_holes(labels[i])) for i in shown]
    model, steps = train(pairs, options)
    seconds = time.perf_counter() - start
    fitted = shown[::4]
    # Its own bracket never looks below half of the highest probability.
    model.optimize_thresholds(
        [images[i] for i in fitted],
        [labels[i] for i in fitted],
        optimize_kwargs={"bracket": (0.05, 0.9)},
    )
    start = time.perf_counter()
    found = [model.predict_instances(images[i])[0] for i in hidden]
    took = time.perf_counter() - start
    row = {
        "model": f"StarDist, {options.base} filters, from scratch",
        "parameters": int(model.keras_model.count_params()),
        "minutes": round(seconds / 60, 1),
        "steps": steps,
        "batch": options.batch,
        "patch": options.patch,
        "cores": len(os.sched_getaffinity(0)),
        "thresholds": [float(v) for v in model.thresholds],
        "images": len(hidden),
        **score([labels[i] for i in hidden], found),
        "seconds_per_image": round(took / len(hidden), 3),
    }
    print(json.dumps(row))
    if options.out:
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


def read_options() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--base", type=int, default=32, help="filters of the U-Net")
    parser.add_argument("--patch", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--out", type=Path, help="JSONL to which a row is added")
    return parser.parse_args()


if __name__ == "__main__":
    main()
