"""Images of nuclei with the right answers of a star-convex network.

A recipe's table and folders of images and labels come in, sources of pairs go out.
Image and labels are turned, scaled and bent together; the answer is made of the bent
labels, so it is exact. Nothing here knows networks' layers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.io.image_files.paired_files import FilePair, list_pairs
from deepspot_scale.kernels.object_size import scale_plane
from deepspot_scale.kernels.star_convex import star_targets
from deepspot_scale.simulation.drawing import Image
from deepspot_scale.simulation.nuclei import draw_nuclei
from deepspot_scale.training.augmentation import (
    Augmentation,
    Example,
    augment,
    relight,
)
from deepspot_scale.training.nuclei_recipe import NUCLEI, NucleiRanges
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources

_EMPTY: Final = 0.03
"""Share of simulated images without a nucleus."""


class LabelledImage(NamedTuple):
    """An image of a folder, and its labels."""

    name: str
    image: NDArray[np.float32]
    """(y, x), normalised by its own percentiles."""
    labels: NDArray[np.int32]
    """(y, x)."""


def read_labelled(folder: str | Path) -> list[LabelledImage]:
    """Read the folders ``images`` and ``labels``, of the same file names.

    Raises
    ------
    PlateError
        There are no such folders, or a file has no partner.
    FieldError
        An image and its labels do not fit, or are not flat.
    """
    return [_scaled(pair) for pair in list_pairs(Path(folder), "images", "labels")]


def _scaled(pair: FilePair) -> LabelledImage:
    image, labels = pair.read()
    if labels.dtype.kind not in "ui":
        raise FieldError(f"{pair.second} must hold whole numbers, not {labels.dtype}")
    if labels.min() < 0:
        raise FieldError(f"{pair.second} has labels below 0; 0 is the background")
    _, numbered = np.unique(labels, return_inverse=True)
    numbered = numbered.reshape(labels.shape) + int(labels.min() > 0)
    scaled = scale_plane(image)(image)
    return LabelledImage(pair.name, scaled, numbered.astype(np.int32))


def labelled_diameter(labels: NDArray[np.integer[Any]]) -> float | None:
    """Return the typical diameter of objects in pixels; None: there is no object.

    Half of their area belongs to larger ones, as of `object_size.typical_diameter`.
    """
    areas = np.sort(np.bincount(labels.ravel())[1:])
    if not areas.any():
        return None
    sums = np.cumsum(areas)
    middle = areas[np.searchsorted(sums, sums[-1] / 2)]
    return float(np.sqrt(4 / np.pi * middle))


def _pair(patch: Example) -> tuple[Image, Image]:
    labels = (
        np.zeros(patch.image.shape[:2], int) if patch.labels is None else patch.labels
    )
    return patch.image.astype(np.float32), star_targets(labels)


@dataclass(frozen=True)
class FolderNuclei:
    """Pairs of the images of a folder."""

    images: tuple[LabelledImage, ...]
    how: Augmentation
    """How they are altered."""
    edge: int
    """Edge of a patch in pixels."""
    typical: float | None = None
    """Pixels of a typical object before it is altered; None: as it is."""
    cuts: int = 1
    """Most pairs to ask for at a time."""

    def draw_pairs(
        self, rng: np.random.Generator, n: int
    ) -> Iterator[tuple[Image, Image]]:
        """Yield `n` patches (edge, edge, 1) and their answers."""
        for _ in range(n):
            chosen = self.images[int(rng.integers(len(self.images)))]
            whole = Example(chosen.image[..., None], labels=chosen.labels)
            yield _pair(augment(whole, self._how(chosen), self.edge, rng))

    def _how(self, chosen: LabelledImage) -> Augmentation:
        """Return how an image is altered, from its own size on."""
        diameter = labelled_diameter(chosen.labels) if self.typical else None
        if self.typical is None or diameter is None:
            return self.how
        least, most = (each * self.typical / diameter for each in self.how.scale)
        return self.how.model_copy(update={"scale": (least, most)})


@dataclass(frozen=True)
class SimulatedNuclei:
    """Pairs of simulated images."""

    ranges: NucleiRanges
    how: Augmentation
    """How their brightness is altered."""
    edge: int
    """Edge of a patch in pixels."""
    cuts: int = 1
    """Most pairs to ask for at a time."""

    def draw_pairs(
        self, rng: np.random.Generator, n: int
    ) -> Iterator[tuple[Image, Image]]:
        """Yield `n` patches (edge, edge, 1) and their answers."""
        for _ in range(n):
            diameter = float(np.exp(rng.uniform(*np.log(self.ranges.diameter))))
            cover = 0.0 if rng.random() < _EMPTY else rng.uniform(0.05, 0.6)
            touching = rng.uniform(0, 0.8)
            shape = (self.edge, self.edge)
            made = draw_nuclei(
                rng, shape, diameter=diameter, cover=cover, touching=touching
            )
            image = scale_plane(made.counts)(made.counts)[..., None]
            yield _pair(relight(Example(image, labels=made.labels), self.how, rng))


def open_nuclei(recipe: Recipe) -> Sources:
    """Return the sources of a recipe: simulated nuclei, and folders.

    Of a folder every `left_out` image is left out; of the others the share
    `validation.held_out` is validated on, chosen by the recipe's seed.

    Raises
    ------
    SettingsError, PlateError, FieldError
        A folder cannot be used.
    """
    ranges, how = recipe.nuclei, recipe.augmentation
    learn: list[Any] = []
    validate: list[Any] = []
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["source", "image", "use"])
    for part in recipe.mixture:
        if part.source == NUCLEI:
            simulated = SimulatedNuclei(ranges, how, recipe.patch)
            learn.append(simulated)
            validate.append(simulated)
            continue
        images = read_labelled(part.source)
        every = ranges.left_out
        left = set(range(every - 1, len(images), every)) if every else set()
        rest = [number for number in range(len(images)) if number not in left]
        rng = np.random.default_rng(recipe.seed)
        n_held = int(np.ceil(recipe.validation.held_out * len(rest)))
        held = (
            set(rng.choice(rest, n_held, replace=False).tolist()) if n_held else set()
        )
        seen = [number for number in rest if number not in held]
        if not seen:
            raise SettingsError(f"{part.source}: no image is left to learn from")
        for number, each in enumerate(images):
            use = (
                "left out"
                if number in left
                else "validate"
                if number in held
                else "learn"
            )
            table.writerow([part.source, each.name, use])
        cut = partial(FolderNuclei, how=how, edge=recipe.patch, typical=ranges.typical)
        learn.append(cut(tuple(images[n] for n in seen)))
        kept = tuple(images[n] for n in sorted(held))
        validate.append(cut(kept) if kept else None)
    return Sources(tuple(learn), tuple(validate), rows.getvalue())
