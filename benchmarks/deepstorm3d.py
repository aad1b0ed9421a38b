"""Molecules in depth, found by the authors' DeepSTORM3D weights or by ours.

python benchmarks/deepstorm3d.py authors --weights FOLDER [--background 30]
python benchmarks/deepstorm3d.py ours --model deepstorm3d-1um [--out ROWS.jsonl]

Frames are simulated with `simulation.optics`. FOLDER has the authors' published weights
as plain tensors (`tetrapod_demo2.safetensors`) and their mask
(`mask_tetrapod_printed.npy`); they are third-party data and no part of the package. A
found molecule is right within 100 nm of a true one, in space, each once; the matching
has as many such pairs as there can be. Molecules lie at least 20 pixels from the border
of the authors' frames, as in their training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.movie_scale import (
    frame_floor,
    frame_top,
    movie_scale,
    normalise,
)
from deepspot_scale.kernels.pairing import pair_one_to_one
from deepspot_scale.kernels.volume_maxima import volume_maxima
from deepspot_scale.networks import deepstorm3d
from deepspot_scale.networks.openvino.library import import_openvino
from deepspot_scale.networks.openvino.translate import translate_model
from deepspot_scale.networks.weights import find_weights, load_weights
from deepspot_scale.simulation.emitter_frames import (
    emitter_light,
    expose,
    uneven_background,
)
from deepspot_scale.simulation.optics import Optics, make_pupil
from deepspot_scale.training.recipe import make_recipe
from deepspot_scale.training.volume_scenes import VolumeGrid, draw_counts

Array = NDArray[Any]
TOLERANCE_NM = 100.0
EMITTERS, FRAMES = (1, 5, 10, 20, 35), 6
EDGE, RIM = 161, 20
"""Pixels of a frame, and of its border without molecules, which lie in 13.3 um."""
COUNTED_UM, OUR_RIM = 6.0, 10
"""Width in which molecules are counted in frames for our network, and the pixels
around it."""
AUTHORS_SCALE, AUTHORS_THRESHOLD = 800.0, 80.0
AUTHORS_DEPTH_UM = 4.0
AUTHORS_DEPTHS_UM = (0.1, 3.9)
"""Range of the network's answer, and of the molecules in it."""
AUTHORS_OPTICS = Optics(slm_pixel=30 * 203 / 202, camera_pixel=11 * 202 / 203)
"""The authors' pupil runs from end to end over its 203 samples, so it has 202 steps:
angles grow .5 % faster than the mask's pixels say. Places on the camera do not."""
AUTHORS_SHIFT = 2
"""Fine voxels that the authors' answers lie before the place in the frame: they count
fine voxels from the centre of the middle camera pixel, as if a fine voxel began there,
which is half a camera pixel before the molecule (55 nm)."""
LAYERS = (
    *(f"layer{number}" for number in range(1, 7)),
    "deconv1",
    "deconv2",
    *(f"layer{number}" for number in range(7, 10)),
)
"""Blocks of the authors' network in our order."""


def authors_network(path: Path) -> Any:
    """Return our network with the authors' tensors, its answer in [0, 1]."""
    from safetensors.numpy import load_file

    tensors = load_file(path)
    arrays = _statistics(tensors, "norm")
    for name in LAYERS:
        arrays += _convolution(tensors, f"{name}.conv")
        arrays += _statistics(tensors, f"{name}.bn")
    kernel, bias = _convolution(tensors, "layer10")
    network = deepstorm3d.build(deepstorm3d.Architecture(depth=bias.size))
    network.set_weights([*arrays, kernel / AUTHORS_SCALE, bias / AUTHORS_SCALE])
    return network


def _statistics(tensors: dict[str, Array], name: str) -> list[Array]:
    ends = ("weight", "bias", "running_mean", "running_var")
    return [tensors[f"{name}.{end}"] for end in ends]


def _convolution(tensors: dict[str, Array], name: str) -> list[Array]:
    return [
        tensors[f"{name}.weight"].transpose(2, 3, 1, 0),
        tensors[f"{name}.bias"],
    ]


@dataclass(frozen=True)
class Localiser:
    """A compiled network, and what its answers mean."""

    run: Callable[[Array], Array]
    """From (n, 1, y, x) to (n, z, fine y, fine x)."""
    grid: VolumeGrid
    """Of its answers."""
    threshold: float
    """Least height of a molecule."""
    radius: tuple[int, int]
    """Of a maximum's window, in planes and fine pixels."""
    shift: float = 0.0
    """Added to y and x, in fine pixels."""

    def points(self, frame: Array) -> Array:
        """Return the molecules (n, 3) z, y, x in micrometres of a normalised frame."""
        volume = self.run(frame[None, None].astype(np.float32))[0]
        found = volume_maxima(volume, self.threshold, self.radius)
        return self.grid.micrometres(found[:, :3] + (0, self.shift, self.shift))


def compiled(network: Any) -> Callable[[Array], Array]:
    """Return a Keras network as OpenVINO runs it, in float32."""
    exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    core = import_openvino().Core()
    model = core.compile_model(translate_model(network), "CPU", exact)
    return lambda batch: model([batch])[0]


def authors_localiser(folder: Path, optics: Optics) -> Localiser:
    """Return the authors' network with the Tetrapod mask."""
    network = authors_network(folder / "tetrapod_demo2.safetensors")
    n_planes = network.outputs[0].shape[-1]
    plane = AUTHORS_DEPTH_UM / n_planes
    grid = VolumeGrid(4, n_planes, plane / 2, plane, optics.pixel)
    threshold = AUTHORS_THRESHOLD / AUTHORS_SCALE
    return Localiser(compiled(network), grid, threshold, (4, 4), AUTHORS_SHIFT)


def authors_frame(
    rng: np.random.Generator, pupil: Any, n: int, background: float | None
) -> tuple[Array, Array]:
    """Return a frame in [0, 1] and its molecules (n, 3) z, y, x in micrometres.

    `background` is in photons per pixel; None: uneven, up to 100 to 150.
    """
    places = rng.uniform(RIM, EDGE - 1 - RIM, (n, 2)) * pupil.optics.pixel
    points = np.column_stack([rng.uniform(*AUTHORS_DEPTHS_UM, n), places])
    photons, sigma = rng.uniform(1e4, 6e4, n), rng.uniform(0.75, 1.25, n)
    shape = (EDGE, EDGE)
    light = emitter_light(pupil, points, photons, shape, sigma=sigma, window=EDGE)
    around = uneven_background(rng, shape) if background is None else background
    counts = expose(rng, light + np.float32(around))
    return (counts - counts.min()) / np.ptp(counts), points


@dataclass
class Tally:
    """Matches so far."""

    true: int = 0
    found: int = 0
    errors: tuple[Array, ...] = ()

    def add(self, found: Array, true: Array) -> None:
        """Match the molecules of one frame, in micrometres."""
        pairs = pair_one_to_one(found * 1e3, true * 1e3, TOLERANCE_NM)
        self.true, self.found = self.true + len(true), self.found + len(found)
        self.errors += ((found[pairs[:, 0]] - true[pairs[:, 1]]) * 1e3,)

    def row(self) -> dict[str, Any]:
        """Return the scores."""
        errors = np.concatenate(self.errors)
        right, square = len(errors), (errors**2).mean(axis=0)
        bias = errors.mean(axis=0)
        return {
            "true": self.true,
            "found": self.found,
            "right": right,
            "jaccard": round(right / (self.true + self.found - right), 3),
            "lateral_rmse_nm": round(float(np.sqrt(square[1:].sum())), 1),
            "axis_rmse_nm": round(float(np.sqrt(square[1:].mean())), 1),
            "axial_rmse_nm": round(float(np.sqrt(square[0])), 1),
            "bias_zyx_nm": [round(float(each), 1) for each in bias],
        }


def run_authors(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each number of molecules, and one of all."""
    optics = AUTHORS_OPTICS
    mask = np.load(options.weights / "mask_tetrapod_printed.npy")
    pupil = make_pupil(optics, mask)
    localiser = authors_localiser(options.weights, optics)
    what = {"weights": "authors", "background": options.background}
    rows, all_ = [], Tally()
    for n in options.emitters:
        rng, tally, began = np.random.default_rng((options.seed, n)), Tally(), 0.0
        for _ in range(options.frames):
            frame, true = authors_frame(rng, pupil, n, options.background)
            start = time.perf_counter()
            found = localiser.points(frame)
            began += time.perf_counter() - start
            tally.add(found, true)
            all_.add(found, true)
        seconds = round(began / options.frames, 2)
        rows.append({**what, "emitters": n, **tally.row()})
        rows[-1]["seconds_per_frame"] = seconds
        print(json.dumps(rows[-1]), flush=True)
    rows.append({**what, "emitters": "all", **all_.row()})
    print(json.dumps(rows[-1]))
    return rows


def our_localiser(model: str, threshold: float) -> tuple[Localiser, Any, Any]:
    """Return a network of ours with its ranges and pupil, as its recipe says."""
    weights = find_weights(model)
    network = weights.family.build(weights.architecture)
    load_weights(network, weights)
    ranges = make_recipe(**json.loads(weights.about["recipe"])).volumes
    optics, planes = ranges.optics(), weights.architecture.depth
    grid = VolumeGrid(
        weights.architecture.factor,
        planes,
        ranges.first_plane(planes),
        ranges.plane,
        optics.pixel,
    )
    pupil = make_pupil(optics, ranges.phases())
    return Localiser(compiled(network), grid, threshold, (2, 2)), ranges, pupil


def run_ours(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each density, of frames that no training saw.

    `n` molecules are those of 6 x 6 um; frames are wider, of the same density, and a
    border around the middle 6 x 6 um is not counted, since light is cut off there.
    """
    localiser, ranges, pupil = our_localiser(options.model, options.threshold)
    edge = round(COUNTED_UM / pupil.optics.pixel) + 2 * OUR_RIM
    rows, all_ = [], Tally()
    for n in options.emitters:
        dense = round(n * (edge * pupil.optics.pixel / COUNTED_UM) ** 2)
        own = ranges.model_copy(update={"emitters": (dense, dense)})
        rng = np.random.default_rng((options.seed, 1, n))
        drawn = [draw_counts(rng, own, pupil, edge) for _ in range(options.frames)]
        scale = movie_scale([frame_top(counts) for counts, *_ in drawn])
        tally = Tally()
        for counts, points, _ in drawn:
            found = localiser.points(normalise(counts, frame_floor(counts), scale))
            counted = _counted(found, points, edge, pupil.optics.pixel)
            tally.add(*counted)
            all_.add(*counted)
        rows.append({"weights": options.model, "per_36_um2": n, **tally.row()})
        print(json.dumps(rows[-1]), flush=True)
    rows.append({"weights": options.model, "per_36_um2": "all", **all_.row()})
    print(json.dumps(rows[-1]))
    return rows


def _counted(found: Array, true: Array, edge: int, pixel: float) -> tuple[Array, Array]:
    """Leave out the border; a found molecule belongs where its true one is."""
    pairs = pair_one_to_one(found * 1e3, true * 1e3, TOLERANCE_NM)
    low, high = (OUR_RIM - 0.5) * pixel, (edge - OUR_RIM - 0.5) * pixel
    inside = [
        ((each[:, 1:] >= low) & (each[:, 1:] < high)).all(axis=1)
        for each in (found, true)
    ]
    inside[0][pairs[:, 0]] = inside[1][pairs[:, 1]]
    return found[inside[0]], true[inside[1]]


def main() -> None:
    """Print rows, and append them to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("whose", choices=("authors", "ours"))
    parser.add_argument("--weights", type=Path, help="folder of the authors' files")
    parser.add_argument("--model", default="deepstorm3d-1um")
    parser.add_argument("--threshold", type=float, default=0.2, help="of ours")
    parser.add_argument(
        "--background", type=float, default=None, help="constant; uneven if left out"
    )
    parser.add_argument("--emitters", type=int, nargs="+", default=EMITTERS)
    parser.add_argument("--frames", type=int, default=FRAMES, help="of each number")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    rows = run_authors(options) if options.whose == "authors" else run_ours(options)
    if options.out is not None:
        with options.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
