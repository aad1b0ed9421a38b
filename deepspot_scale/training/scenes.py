"""Where images with known spots come from: simulated as needed, or from a folder.

A recipe comes in, sources to draw from go out: some to learn from, others to validate
on. Those are simulated images of other seeds, and annotated images that are held out as
a whole, never patch by patch. Nothing here knows networks, steps or targets.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError, SettingsError, did_you_mean
from deepspot_scale.io.image_files import annotated_images
from deepspot_scale.io.image_files.annotated_images import AnnotatedImage
from deepspot_scale.kernels.normalisation import SCALES
from deepspot_scale.networks.families import find_family
from deepspot_scale.simulation import SIMULATORS, Image, Points
from deepspot_scale.training.recipe import Recipe

KEPT_BYTES = 1 << 30
"""Bytes of annotated images kept in memory in all; others are read each time."""


class Scaling(Protocol):
    """Normalises a window of an image as the whole image is."""

    def __call__(self, values: NDArray[Any], start: tuple[int, int] = ...) -> Image:
        """Return the values (..., y, x); `start` is the first row and column."""


class Scene(NamedTuple):
    """One image and what is known of it."""

    image: NDArray[np.generic]
    """(*space), or (*space, channels), in any counts."""
    points: Points
    """(n, d), the true spots; d is the number of axes of space."""
    scale: Scaling
    """The normalisation of the whole image."""

    def scaled(self, window: NDArray[Any], corner: Sequence[int]) -> Image:
        """Return a window (*space, channels) of the image, normalised as all of it.

        `corner` is the window's first pixel in the image.
        """
        start = (int(corner[-2]), int(corner[-1]))
        channels_first = np.moveaxis(window, -1, 0)
        return np.moveaxis(self.scale(channels_first, start), 0, -1)


class Source(Protocol):
    """Where images and their true spots come from."""

    @property
    def cuts(self) -> int:
        """Most patches to cut from one image."""

    def draw(self, rng: np.random.Generator) -> Scene:
        """Return one image, chosen or made at random."""


@runtime_checkable
class PairSource(Protocol):
    """Where images come from that are made with their targets, and cut by nobody."""

    @property
    def cuts(self) -> int:
        """Most pairs to ask for at a time."""

    def draw_pairs(
        self, rng: np.random.Generator, n: int
    ) -> Iterator[tuple[Image, Image]]:
        """Yield `n` images (*space, channels) with their targets.

        A target is (*space times scale, channels).
        """


@dataclass(frozen=True)
class Simulated:
    """Images simulated as they are needed."""

    name: str
    """A name of `simulation.SIMULATORS`."""
    spots: tuple[int, int] = (10, 150)
    """Fewest and most spots of an image of the paper's sets."""
    size: int = 256
    """Edge of an image in pixels."""
    normalisation: str = "quantile"
    """A name of `kernels.normalisation.SCALES`."""
    cuts: int = 3
    """Most patches to cut from one image."""
    grains: bool = False
    """Whether grains count as spots."""

    def draw(self, rng: np.random.Generator) -> Scene:
        """Simulate one image."""
        n_spots = int(rng.integers(self.spots[0], self.spots[1] + 1))
        truth = SIMULATORS[self.name].draw(rng, n_spots, self.size)
        scale = SCALES[self.normalisation](truth.image)
        points = truth.points
        if self.grains:
            points = np.concatenate([points, truth.grains])
        return Scene(truth.image, points, scale)


@dataclass(frozen=True)
class Annotated:
    """Annotated images, all equally likely; made by `open_annotated`."""

    images: tuple[AnnotatedImage, ...]
    """The images to choose from."""
    scales: tuple[Scaling, ...]
    """Normalisation of each image."""
    kept: dict[int, NDArray[Any]]
    """Pixels of the images that are kept in memory, by number."""
    edge: int
    """Smaller images, and their spots, are mirrored up to this many pixels."""

    @property
    def cuts(self) -> int:
        """One patch: as many images as possible in each batch."""
        return 1

    def draw(self, rng: np.random.Generator) -> Scene:
        """Choose one image, and read it if it is not in memory."""
        number = int(rng.integers(len(self.images)))
        chosen = self.images[number]
        pixels = self.kept[number] if number in self.kept else chosen.read()
        image, points = mirror_up(pixels, chosen.points, self.edge)
        return Scene(image, points, self.scales[number])


def open_annotated(
    images: Sequence[AnnotatedImage],
    edge: int,
    room: int = KEPT_BYTES,
    normalisation: str = "quantile",
) -> Annotated:
    """Read every image once, for its scale, and keep up to `room` bytes of pixels.

    There must be at least one image; those drawn have edges of at least `edge` pixels.

    Raises
    ------
    FieldError
        An image cannot be read, has pixels that are not finite, or a point outside.
    """
    scales, kept = [], {}
    for number, image in enumerate(images):
        pixels = image.read()
        if not np.isfinite(pixels).all():
            raise FieldError(
                f"{image.path} has pixels that are not finite numbers; a network "
                "cannot learn from them. Replace them, or leave the image out."
            )
        whole = mirror_up(pixels, image.points, edge)[0]
        scales.append(SCALES[normalisation](whole))
        if pixels.nbytes <= room:
            kept[number] = pixels
            room -= pixels.nbytes
    return Annotated(tuple(images), tuple(scales), kept, edge)


def mirror_up(
    image: NDArray[Any], points: Points, edge: int
) -> tuple[NDArray[Any], Points]:
    """Return an image of at least `edge` pixels a side, mirrored past its far ends.

    The image is (*space), and points are (n, d); the mirrored part has mirrored copies
    of the spots. Larger images come back unchanged.
    """
    missing = [max(0, edge - length) for length in image.shape]
    if not any(missing):
        return image, points
    for axis, (length, more) in enumerate(zip(image.shape, missing, strict=True)):
        tiles = [points]
        for tile in range(1, -(-more // length) + 1):
            place = points[:, axis]
            twin = points.copy()
            # The border is half a pixel before the first pixel's centre; every other
            # tile is mirrored.
            within = length - 1 - place if tile % 2 else place
            twin[:, axis] = tile * length + within
            tiles.append(twin)
        points = np.concatenate(tiles)
        points = points[points[:, axis] < length + more - 0.5]
    padded = np.pad(image, [(0, more) for more in missing], mode="symmetric")
    return padded, points


class Sources(NamedTuple):
    """The sources of a recipe, in the order of its mixture."""

    learn: tuple[Source | PairSource, ...]
    """To learn from, one for each entry."""
    validate: tuple[Source | PairSource | None, ...]
    """To validate on; None for a folder of which nothing is held out."""
    split: str
    """CSV of the use of each annotated image; only the header if there are none."""
    about: Mapping[str, str] = {}
    """What was measured of the images, and is stored in the weights' text."""


def open_sources(recipe: Recipe) -> Sources:
    """Open the sources of a recipe, with held-out images separate from the others.

    Raises
    ------
    SettingsError
        A source is neither a simulated set nor a folder, a folder has too few images to
        hold any out, or there is nothing to validate on.
    PlateError
        A folder is not a set of annotated images.
    FieldError
        An image cannot be read or has a point outside it.
    """
    how = find_family(recipe.family).normalisation
    n_folders = sum(part.source not in SIMULATORS for part in recipe.mixture)
    room = KEPT_BYTES // max(1, n_folders)
    learn: list[Source] = []
    validate: list[Source | None] = []
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["source", "image", "use"])
    for part in recipe.mixture:
        if part.source in SIMULATORS:
            size = part.size or max(256, recipe.patch)
            simulated = Simulated(
                part.source, part.spots, size, how, part.cuts, part.grains
            )
            learn.append(simulated)
            validate.append(simulated)
            continue
        seen, held = split_images(_images(part.source), recipe)
        learn.append(open_annotated(seen, recipe.patch, room, how))
        # Held-out images are drawn only once, so none is kept in memory.
        kept = open_annotated(held, recipe.patch, 0, how) if held else None
        validate.append(kept)
        for use, images in (("learn", seen), ("validate", held)):
            table.writerows((part.source, image.name, use) for image in images)
    if recipe.validation.every and not any(validate):
        raise SettingsError(
            "there is nothing to validate on: the mixture has no simulated set and "
            "validation.held_out is 0. Hold images out, or set validation.every = 0"
        )
    return Sources(tuple(learn), tuple(validate), rows.getvalue())


def _images(source: str) -> tuple[AnnotatedImage, ...]:
    if not Path(source).is_dir():
        near = did_you_mean(Path(source).name, SIMULATORS)
        raise SettingsError(
            f"source is a simulated set ({', '.join(SIMULATORS)}) or a folder of "
            f"annotated images, got {source!r}.{near}"
        )
    images = annotated_images.read_annotated(Path(source)).images
    stacks = [image for image in images if image.is_stack]
    if stacks:
        raise SettingsError(
            f"{stacks[0].path} is a stack, since spots.csv has z; networks learn from "
            "planes. Save planes as images of their own, with their spots' y and x"
        )
    return images


class _OfFile(Protocol):
    @property
    def path(self) -> Path: ...


T = TypeVar("T", bound=_OfFile)


def split_images(images: Sequence[T], recipe: Recipe) -> tuple[list[T], list[T]]:
    """Return the images to learn from and those held out, each in their order."""
    share = recipe.validation.held_out if recipe.validation.every else 0.0
    if not share:
        return list(images), []
    if len(images) < 2:
        raise SettingsError(
            f"{images[0].path} is its folder's only image, so it cannot be held out "
            "for validation: add images, or set validation.held_out = 0"
        )
    n_held = min(max(1, round(share * len(images))), len(images) - 1)
    order = np.random.default_rng(recipe.seed).permutation(len(images))
    held = set(order[:n_held].tolist())
    learn = [image for number, image in enumerate(images) if number not in held]
    return learn, [image for number, image in enumerate(images) if number in held]
