"""Colour from grey: two dyes told apart, in focus, out of focus, behind a learned mask.

python benchmarks/colour.py --networks FOLDER [--out ROWS.jsonl] [--picture mask.svg]
                            [--mask benchmarks/results/colour-mask]

In focus: the bound of the likelihood ratio, the likelihood with place, photons and
background fitted, and the shipped network. Out of focus: the same, the width alone (the
likelihood with each dye's image in focus), and networks trained through a flat and
through a learned mask; FOLDER keeps these two, and what is not there is trained (about
six minutes each on one core).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepspot_scale.evaluation.colour_bound import best_dyes
from deepspot_scale.kernels.dye_likelihood import Spread, classify_by_likelihood
from deepspot_scale.kernels.dye_windows import scale_windows
from deepspot_scale.networks import dye_classifier
from deepspot_scale.networks.dye_verdicts import classify_by_network
from deepspot_scale.simulation.dyes import (
    DyeScene,
    DyeWindows,
    PupilSpread,
    draw_dyes,
    dye_pupil,
    gaussian_spread,
)
from deepspot_scale.simulation.optics import Optics
from deepspot_scale.training.phase_mask import (
    MaskTraining,
    learn_mask,
    mask_figure,
    read_mask,
    write_mask,
)

PAIRS = ((580.0, 670.0), (565.0, 605.0))
PHOTONS, BACKGROUNDS = (500.0, 1000.0, 3000.0), (30.0, 5.0)
OPTICS = tuple(
    Optics(wavelength=each, slm_pixel=60.0, focal_plane=1.0) for each in (0.58, 0.67)
)
SET_FOR = 0.625
FOCUS, DEPTHS, DARK = 0.7, (0.1, 1.3), 10.0
"""Depth that is sharp, range of depths, in micrometres; photons per pixel."""
LEARNED_FROM = DyeScene((700, 4000), (5, 20), off=0.6, depth=DEPTHS)
TRAINING = MaskTraining(steps=1800)
STARTS = np.array([[z, 10.0, 10.0] for z in np.arange(0.1, 1.31, 0.2)])


@dataclass(frozen=True)
class InFocus:
    """A dye's image, taken as if the molecule were in focus."""

    whole: PupilSpread

    @property
    def side(self) -> int:
        return self.whole.side

    @property
    def steps(self) -> tuple[float, ...]:
        return self.whole.steps[1:]

    def __call__(self, places: np.ndarray) -> np.ndarray:
        return self.whole(np.insert(places, 0, FOCUS, axis=1))


def share(dye: np.ndarray, drawn: DyeWindows) -> float:
    """Return how many of the dyes are right."""
    return round(float(np.mean(dye == drawn.dye)), 4)


def focused_rows(n: int) -> Iterator[dict[str, Any]]:
    """Yield accuracies in focus."""
    for pair in PAIRS:
        spreads = [gaussian_spread(nm, aperture=1.45, pixel_nm=110) for nm in pair]
        for photons in PHOTONS:
            for dark in BACKGROUNDS:
                scene = DyeScene((photons, photons), (dark, dark))
                drawn = draw_dyes(spreads, scene, np.random.default_rng(7), n)
                row: dict[str, Any] = {"dyes": pair, "photons": photons, "dark": dark}
                row["bound"] = share(best_dyes(spreads, drawn), drawn)
                fitted = classify_by_likelihood(drawn.images, spreads)
                row["likelihood"] = share(fitted.dye, drawn)
                if pair == PAIRS[0]:
                    row["network"] = share(classify_by_network(drawn.images).dye, drawn)
                yield row


def defocused_rows(
    n: int, masks: dict[str, np.ndarray], networks: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield accuracies at random depths, through each mask."""
    for name, mask in masks.items():
        spreads = [PupilSpread(dye_pupil(each, mask, SET_FOR)) for each in OPTICS]
        for photons in PHOTONS[1:]:
            scene = replace(
                LEARNED_FROM, photons=(photons,) * 2, background=(DARK,) * 2, off=0.5
            )
            drawn = draw_dyes(spreads, scene, np.random.default_rng(7), n)
            row: dict[str, Any] = {"mask": name, "photons": photons, "dark": DARK}
            row["bound"] = share(best_dyes(spreads, drawn), drawn)
            row["width_alone"] = width_alone(spreads, drawn)
            few = DyeWindows(*(values[:500] for values in drawn))
            fitted = classify_by_likelihood(few.images, spreads, STARTS)
            row["likelihood"] = share(fitted.dye, few)
            windows = scale_windows(drawn.images)[..., None]
            answers = networks[name].predict(windows, verbose=0, batch_size=500)
            row["network"] = share(answers[:, 0, 0].argmax(axis=-1), drawn)
            yield row


def width_alone(spreads: Sequence[PupilSpread], drawn: DyeWindows) -> float:
    """Return the accuracy of those who take every molecule as in focus."""
    focused: list[Spread] = [InFocus(each) for each in spreads]
    few = DyeWindows(*(values[:1000] for values in drawn))
    return share(classify_by_likelihood(few.images, focused).dye, few)


def learned(folder: Path, mask_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both masks and their networks, trained where they are not kept."""
    masks, networks = {}, {}
    for name, radians in (("flat", 0.0), ("learned", TRAINING.radians)):
        kept = folder / f"{name}.weights.h5"
        path = mask_path if name == "learned" else folder / name
        if not kept.exists():
            training = replace(TRAINING, radians=radians)
            result = learn_mask(OPTICS, SET_FOR, LEARNED_FROM, training)
            folder.mkdir(parents=True, exist_ok=True)
            result.network.save_weights(kept)
            write_mask(path, result.mask, OPTICS, SET_FOR)
            np.save(folder / f"{name}-losses.npy", result.losses)
        network = dye_classifier.build(TRAINING.architecture, window=TRAINING.side)
        network.load_weights(kept)
        masks[name], networks[name] = read_mask(path)[0], network
    return masks, networks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=Path, required=True)
    parser.add_argument("--mask", type=Path, default=None)
    parser.add_argument("--windows", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    mask_path = options.mask or options.networks / "learned"
    rows = []
    for row in focused_rows(options.windows):
        rows.append(row)
        print(json.dumps(row), flush=True)
    masks, networks = learned(options.networks, mask_path)
    for row in defocused_rows(options.windows, masks, networks):
        rows.append(row)
        print(json.dumps(row), flush=True)
    if options.out:
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        options.out.write_text(lines, "utf-8")
    if options.picture:
        depths = np.round(np.linspace(*DEPTHS, 4), 2).tolist()
        mask_figure(masks["learned"], OPTICS, SET_FOR, depths).savefig(options.picture)


if __name__ == "__main__":
    main()
