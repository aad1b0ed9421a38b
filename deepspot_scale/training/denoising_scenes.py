"""Patches of noisy images, with what a denoiser should make of them.

A recipe whose sources are folders comes in, sources of pairs go out. A folder of images
is learned from alone (Noise2Void): some pixels are hidden, and the network must say
from those around what stands there; noise cannot be foretold. A folder with ``noisy``
and ``clean`` holds images of equal names, the truth beside (CARE). A target has two
channels: the wanted pixel, and whether it counts. Nothing here knows networks' layers.

Sources: Krull et al. 2019, https://doi.org/10.1109/CVPR.2019.00223 (Noise2Void); Hoeck
et al. 2022, https://doi.org/10.1007/978-3-031-25069-9_33 (N2V2); Weigert et al. 2018,
https://doi.org/10.1038/s41592-018-0216-7 (CARE).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError, PlateError, SettingsError
from deepspot_scale.io.image_files.paired_files import list_pairs, read_plane
from deepspot_scale.io.image_files.tiff_png import is_image_file
from deepspot_scale.kernels.denoising import ABOUT, Denoising, measure_noise
from deepspot_scale.simulation.drawing import Image
from deepspot_scale.training.augmentation import (
    TURNED,
    Augmentation,
    Example,
    Turn,
    augment,
)
from deepspot_scale.training.denoising_recipe import BlindSpots
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources, mirror_up, split_images

NOISY, CLEAN = "noisy", "clean"
"""Folders of images with and without noise."""


@dataclass(frozen=True)
class NoisyImage:
    """An image to learn from, read already."""

    path: Path
    """Its file."""
    pixels: Image
    """Counts (y, x), float32."""
    clean: Image | None = None
    """The same without noise; None: not known."""


@dataclass(frozen=True)
class NoisyImages:
    """Images, all equally likely, of which patches are cut."""

    images: tuple[NoisyImage, ...]
    """To choose from; edges of at least a patch."""
    scale: Denoising
    """Of the images that are learned from."""
    blind: BlindSpots
    """Which pixels are hidden, where the truth is not known."""
    edge: int
    """Edge of a patch in pixels."""
    cuts: int = 4
    """Most pairs to ask for at a time."""
    how: Augmentation = TURNED
    """How patches are changed; of a noisy image alone never so that the noise of
    neighbours becomes alike."""

    def draw_pairs(
        self, rng: np.random.Generator, n: int
    ) -> Iterator[tuple[Image, Image]]:
        """Yield `n` patches (y, x, 1), turned, with targets (y, x, 2)."""
        for _ in range(n):
            chosen = self.images[int(rng.integers(len(self.images)))]
            patches = self._patches(rng, chosen)
            seen, hidden = patches[0], np.ones_like(patches[0])
            if chosen.clean is None:
                seen, hidden = hide_pixels(rng, patches[0], self.blind)
            yield seen[..., None], np.stack([patches[-1], hidden], axis=-1)

    def _patches(self, rng: np.random.Generator, chosen: NoisyImage) -> list[Image]:
        """Return a patch (y, x), and that of the clean image where there is one."""
        images = [i for i in (chosen.pixels, chosen.clean) if i is not None]
        if self.how == TURNED:  # cut before it is scaled, and turned with few numbers
            cut, turns, mirrored = self._window(rng, chosen.pixels.shape)
            turn = Turn(self.edge, turns, mirrored)
            cuts = [self.scale.normalise(image[cut])[..., None] for image in images]
            return [turn.image(each)[..., 0] for each in cuts]
        scaled = [self.scale.normalise(image)[..., None] for image in images]
        whole = Example(scaled[0], paired=scaled[1] if len(scaled) > 1 else None)
        patch = augment(whole, self.how, self.edge, rng)
        both = (patch.image, patch.paired)
        return [each[..., 0].astype(np.float32) for each in both if each is not None]

    def _window(
        self, rng: np.random.Generator, shape: tuple[int, ...]
    ) -> tuple[tuple[slice, ...], int, bool]:
        corner = [int(rng.integers(0, length - self.edge + 1)) for length in shape]
        window = tuple(slice(start, start + self.edge) for start in corner)
        return window, int(rng.integers(4)), bool(rng.integers(2))


def hide_pixels(
    rng: np.random.Generator, patch: Image, blind: BlindSpots
) -> tuple[Image, Image]:
    """Return a patch (y, x) whose blind spots are replaced, and where these are (0, 1).

    There is one in each square of 1 / share pixels, so no two lie in clumps. A
    neighbour beyond the edge is taken on the other side of the pixel.
    """
    places = _blind_spots(rng, patch.shape, blind.share)
    seen, hidden = patch.copy(), np.zeros(patch.shape, np.float32)
    hidden[tuple(places.T)] = 1
    edge = 2 * blind.radius + 1
    around = np.stack(np.unravel_index(np.arange(edge**2), (edge, edge)), axis=-1)
    around = np.delete(around - blind.radius, edge**2 // 2, axis=0)
    if blind.replacement == "uniform":
        chosen = around[rng.integers(len(around), size=len(places))]
        values = patch[tuple(_inside(places, chosen, patch.shape).T)]
    else:
        near = _inside(places[:, None], around[None], patch.shape)
        values = np.median(patch[near[..., 0], near[..., 1]], axis=1)
    seen[tuple(places.T)] = values
    return seen, hidden


def _blind_spots(
    rng: np.random.Generator, shape: tuple[int, ...], share: float
) -> NDArray[np.int64]:
    """Return (n, 2) places, one in each square whose edge is that of 1 / share."""
    edge = max(1, round(share**-0.5))
    rows, columns = (np.arange(0, length, edge) for length in shape)
    corners = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    places = corners + rng.integers(edge, size=corners.shape)
    within = (places < shape).all(axis=1)
    return places[within]


def _inside(
    places: NDArray[np.int64], offsets: NDArray[np.int64], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Return places moved by offsets, to the other side where that is outside."""
    moved = places + offsets
    outside = (moved < 0) | (moved >= np.array(shape))
    return np.where(outside, places - offsets, moved)


def open_noisy(recipe: Recipe) -> Sources:
    """Open a recipe's folders, with held-out images separate from the others.

    Raises
    ------
    SettingsError
        A source is no folder, has too few images to hold any out, patches are too
        small for the neighbours of a hidden pixel, or changes would make the noise of
        neighbours alike where only that tells it from the image.
    PlateError
        A folder has no images, or not the same with and without noise.
    FieldError
        An image cannot be read, has several planes or pixels that are not finite, or
        all images are of one value.
    """
    least = 2 * (2 * recipe.blind.radius + 1)
    if recipe.patch < least:
        raise SettingsError(
            f"a patch of {recipe.patch} px is small beside blind.radius "
            f"{recipe.blind.radius}: expected {least} px or more"
        )
    parts = [_read_folder(part.source, recipe.patch) for part in recipe.mixture]
    _check_independent(recipe.augmentation, parts)
    split = [split_images(images, recipe) for images in parts]
    scale = _measure([image for seen, _ in split for image in seen], recipe.blind)
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["source", "image", "use"])
    for part, (seen, held) in zip(recipe.mixture, split, strict=True):
        for use, images in (("learn", seen), ("validate", held)):
            table.writerows((part.source, image.path.name, use) for image in images)
    learn, validate = (
        tuple(
            NoisyImages(
                tuple(own[use]),
                scale,
                recipe.blind,
                recipe.patch,
                how=recipe.augmentation if use == 0 else TURNED,
            )
            if own[use]
            else None
            for own in split
        )
        for use in (0, 1)
    )
    if recipe.validation.every and not any(validate):
        raise SettingsError(
            "there is nothing to validate on: validation.held_out is 0. Hold images "
            "out, or set validation.every = 0"
        )
    known = tuple(source for source in learn if source is not None)
    return Sources(known, validate, rows.getvalue(), {ABOUT: scale.to_text()})


def _check_independent(
    how: Augmentation, parts: Sequence[Sequence[NoisyImage]]
) -> None:
    """Raise SettingsError if noise would become foreseeable from its neighbours."""
    alone = [image for images in parts for image in images if image.clean is None]
    if alone and (how.is_map or how.blur):
        raise SettingsError(
            f"{alone[0].path} has no clean image beside it, so its noise must stay "
            "independent from pixel to pixel: leave scale, stretch, any_angle, elastic "
            "and blur out of [augmentation]"
        )


def _measure(images: Sequence[NoisyImage], blind: BlindSpots) -> Denoising:
    """Return mean, deviation and noise of images."""
    sums = np.zeros(3)
    for image in images:
        counts = image.pixels.astype(np.float64)
        sums += counts.size, counts.sum(), np.square(counts).sum()
    mean = sums[1] / sums[0]
    sd = float(np.sqrt(max(sums[2] / sums[0] - mean**2, 0)))
    if sd <= 1e-6 * abs(mean):
        raise FieldError(
            f"all {len(images)} images have the value {mean:g}; nothing can be learned "
            "from them"
        )
    ends = [(image.pixels.min(), image.pixels.max()) for image in images]
    darkest = float(min(low for low, _ in ends))
    brightest = float(max(high for _, high in ends))
    scale = Denoising(float(mean), sd, darkest=darkest, brightest=brightest)
    if any(image.clean is not None for image in images):
        return scale  # the truth was shown: nothing is lost that must be given back
    noise = measure_noise(image.pixels for image in images)
    return replace(
        scale, least=noise[0], variance=noise[1], slope=noise[2], doubt=blind.doubt
    )


def _read_folder(source: str, edge: int) -> list[NoisyImage]:
    folder = Path(source)
    if not folder.is_dir():
        raise SettingsError(
            f"a denoiser learns from a folder of images, or of {NOISY} and {CLEAN} "
            f"ones; there is no folder {source!r}"
        )
    if not (folder / NOISY).is_dir():
        paths = _list(folder)
        return [
            NoisyImage(path, _check(path, read_plane(path), edge)) for path in paths
        ]
    images = []
    for pair in list_pairs(folder, NOISY, CLEAN):
        both = zip((pair.first, pair.second), pair.read(), strict=True)
        images.append(
            NoisyImage(pair.first, *(_check(path, each, edge) for path, each in both))
        )
    return images


def _list(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if is_image_file(path.name))
    if not paths:
        raise PlateError(f"{folder} has no images: expected TIFF or PNG files")
    return paths


def _check(path: Path, stored: NDArray[Any], edge: int) -> Image:
    """Return finite pixels, mirrored where there are fewer than a patch has."""
    pixels = stored.astype(np.float32)
    if not np.isfinite(pixels).all():
        raise FieldError(
            f"{path} has pixels that are not finite numbers; replace them, or leave "
            "the image out"
        )
    return mirror_up(pixels, np.zeros((0, 2)), edge)[0]
