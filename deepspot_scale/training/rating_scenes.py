"""Tiles with their scores that a judge of quality learns from.

A recipe comes in, sources of pairs go out: tiles of simulated ladders, whose score is
what the default detector finds there, and of images that experts rated. A pair's
answer has the scores, then the ladder it is from and its step, by which a loss knows
which of two tiles is the better one. A patch of several tiles is an image whose score
is the mean of its tiles'. Where the network sees the enhanced image too, that is a
second channel. Nothing here knows networks' layers.

    answer (1, 1, c + 2):   c scores (NaN: not known), ladder, step (0: no order)
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
from deepspot_scale.io.study_folder import (
    MAX_SCORE,
    list_images,
    read_image,
    read_ratings,
)
from deepspot_scale.kernels.binning import bin_window
from deepspot_scale.kernels.normalisation import SCALES
from deepspot_scale.networks.families import Family, find_family
from deepspot_scale.networks.rater import CHANNELS, SCORE, scores
from deepspot_scale.simulation.drawing import Image
from deepspot_scale.training.augmentation import TURNED, Augmentation, draw_turn
from deepspot_scale.training.rating_ladders import LadderSet, Marks, SpotFinder
from deepspot_scale.training.rating_recipe import LADDERS
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources, mirror_up

_NAMES: Final = 1 << 20
"""Numbers that tell the ladders of a batch apart; float32 holds them exactly."""
USES: Final = ("learn", "validate", "left out")


class RatedImage(NamedTuple):
    """An image that experts rated."""

    name: str
    image: NDArray[np.float16]
    """(y, x, channels), as the network sees it, not smaller than a tile."""
    score: float
    """Mean over experts, 0 to 1."""


def answer_of(values: Any, ladder: int = 0, step: int = 0) -> Image:
    """Return the right answer to a tile: (1, 1, c + 2)."""
    return np.asarray([*values, ladder, step], np.float32)[None, None]


@dataclass(frozen=True)
class LadderTiles:
    """Pairs of the tiles of simulated ladders, several steps of each."""

    ladders: LadderSet
    """The ladders."""
    numbers: tuple[int, ...]
    """Which of them are drawn from."""
    edge: int
    """Edge of what is cut, a tile or several, in pixels as the network sees them."""
    outputs: tuple[str, ...]
    """What the network answers."""
    family: Family
    """Of the network: what it sees."""
    how: Augmentation
    """Turns and flips."""
    cuts: int = 2
    """Most pairs to ask for at a time: steps of one ladder."""

    def draw_pairs(
        self, rng: np.random.Generator, n: int
    ) -> Iterator[tuple[Image, Image]]:
        """Yield a place (edge, edge, channels) at `n` steps of a ladder, and answer."""
        ladder = self.ladders.take(int(rng.choice(self.numbers)))
        steps = rng.permutation(len(ladder.images))[:n]
        edge = self.edge * self.family.binning
        room = ladder.images.shape[1] - edge
        corner = (int(rng.integers(room + 1)), int(rng.integers(room + 1)))
        name = int(rng.integers(1, _NAMES))
        for step in np.resize(steps, n):
            window = ladder.window(int(step), corner, edge, self.family.channels_in)
            tile = _binned(window, self.family.binning)
            marks = None if ladder.marks is None else ladder.marks[step]
            order = int(step) + 1 if ladder.is_ordered else 0
            answer = answer_of(self._scores(marks, corner, edge), name, order)
            turn = draw_turn(self.how, self.edge, rng)
            yield np.ascontiguousarray(turn.image(tile)), answer

    def _scores(
        self, marks: Marks | None, corner: tuple[int, int], edge: int
    ) -> list[float]:
        if marks is None:
            return [float("nan")] * len(self.outputs)
        shares = marks.shares(corner, edge)
        if self.outputs == SCORE:
            return [float(scores(np.array(shares), ("recall", "precision")))]
        return list(shares)


@dataclass(frozen=True)
class RatedTiles:
    """Pairs of images that experts rated."""

    images: tuple[RatedImage, ...]
    """The images, all equally likely."""
    edge: int
    """Edge of a tile in pixels as the network sees them."""
    binning: int
    """Pixels of an image along each axis that the network sees as one."""
    how: Augmentation
    """Turns and flips."""
    cuts: int = 1
    """Most pairs to ask for at a time."""

    def draw_pairs(
        self, rng: np.random.Generator, n: int
    ) -> Iterator[tuple[Image, Image]]:
        """Yield `n` tiles (edge, edge, channels) with the score of their image."""
        for _ in range(n):
            chosen = self.images[int(rng.integers(len(self.images)))]
            edge = self.edge * self.binning
            y, x = (int(rng.integers(m - edge + 1)) for m in chosen.image.shape[:2])
            window = np.asarray(chosen.image[y : y + edge, x : x + edge], np.float32)
            tile = _binned(window, self.binning)
            turn = draw_turn(self.how, self.edge, rng)
            image = np.ascontiguousarray(turn.image(tile))
            yield image, answer_of([chosen.score])


def _binned(window: Image, binning: int) -> Image:
    channels = [bin_window(channel, binning) for channel in np.moveaxis(window, -1, 0)]
    return np.stack(channels, axis=-1)


def read_rated(folder: str | Path, edge: int, family: Family) -> list[RatedImage]:
    """Read a study's images, or those of a folder with ``images/`` and ``scores.csv``.

    Each is scaled as a whole, and enhanced if the family's networks see that; smaller
    ones than a tile of `edge` pixels are mirrored up to it. Images without a score are
    left out.

    Raises
    ------
    StudyError
        It is no such folder, or a score cannot be used.
    SettingsError
        No image has a score.
    FieldError
        An image cannot be read, or has pixels that are not finite.
    """
    ratings, files = read_ratings(folder), list_images(Path(folder))
    means = ratings.groupby("image")["score"].mean() / MAX_SCORE
    if not len(means):
        raise SettingsError(f"{folder}: no image has a score to learn from")
    rated, finder = [], SpotFinder.of()
    for name, score in means.items():
        pixels = read_image(files[str(name)])
        if not np.isfinite(pixels).all():
            raise FieldError(f"{files[str(name)]} has pixels that are not finite")
        seen = [SCALES[family.normalisation](pixels)(pixels)]
        if family.channels_in == CHANNELS:
            seen.append(finder.look(pixels).enhanced)
        whole = [mirror_up(each, np.zeros((0, 2)), edge)[0] for each in seen]
        image = np.stack(whole, axis=-1).astype(np.float16)
        rated.append(RatedImage(str(name), image, float(score)))
    return rated


def split_numbers(n: int, recipe: Recipe) -> tuple[list[int], list[int], list[int]]:
    """Return which of `n` are learned from, validated on and left out, by the seed."""
    order = np.random.default_rng(recipe.seed).permutation(n).tolist()
    every = recipe.validation.every
    n_held = round(recipe.validation.held_out * n) if every else 0
    n_left = round(recipe.rating.left_out * n)
    held, left, learn = np.split(np.array(order, int), [n_held, n_held + n_left])
    return sorted(learn.tolist()), sorted(held.tolist()), sorted(left.tolist())


def open_rated(recipe: Recipe) -> Sources:
    """Return the sources of a recipe: simulated ladders, and folders with scores.

    Of each the share `rating.left_out` is left out and `validation.held_out` validated
    on, whole ladders and whole images, chosen by the recipe's seed.

    Raises
    ------
    SettingsError
        The patch is no tile, brightness is changed, nothing is left to learn from, or
        a folder's scores meet a network of recall and precision.
    StudyError, FieldError
        A folder cannot be used.
    """
    _check(recipe)
    family, network = find_family(recipe.family), recipe.architecture
    how, edge, outputs = recipe.augmentation, recipe.patch, tuple(network.outputs)
    learn: list[Any] = []
    validate: list[Any] = []
    rows = io.StringIO()
    table = csv.writer(rows, lineterminator="\n")
    table.writerow(["source", "image", "use"])
    for part in recipe.mixture:
        if part.source == LADDERS:
            split = split_numbers(recipe.rating.ladders, recipe)
            names = [f"{number:05d}" for number in range(recipe.rating.ladders)]
            ladders = LadderSet(recipe.rating)
            tiles = partial(
                LadderTiles,
                ladders,
                edge=edge,
                outputs=outputs,
                family=family,
                how=how,
            )
            learn.append(tiles(tuple(split[0])))
            kept = tiles(tuple(split[1]))
            validate.append(kept if split[1] else None)
        else:
            if outputs != SCORE:
                raise SettingsError(
                    f"{part.source}: experts give one score; write outputs = "
                    '["score"] in [architecture]'
                )
            images = read_rated(part.source, edge * family.binning, family)
            split, names = (
                split_numbers(len(images), recipe),
                [each.name for each in images],
            )
            if not split[0]:
                raise SettingsError(f"{part.source}: no image is left to learn from")
            own, held = (tuple(images[n] for n in some) for some in split[:2])
            rated = partial(RatedTiles, edge=edge, binning=family.binning, how=how)
            learn.append(rated(own))
            validate.append(rated(held) if held else None)
        for use, numbers in zip(USES, split, strict=True):
            table.writerows((part.source, names[number], use) for number in numbers)
    return Sources(tuple(learn), tuple(validate), rows.getvalue())


def _check(recipe: Recipe) -> None:
    drawn = any(part.source == LADDERS for part in recipe.mixture)
    edge = recipe.patch * find_family(recipe.family).binning
    if drawn and edge > recipe.rating.size:
        raise SettingsError(
            f"patch = {recipe.patch} needs {edge} px, more than the ladders' images "
            f"have: write size = {edge} in [rating]"
        )
    allowed = {"turns", "flips"}
    given = recipe.augmentation.model_dump(exclude=allowed)
    if given != TURNED.model_dump(exclude=allowed):
        raise SettingsError(
            "the table [augmentation] may have turns and flips only: other changes "
            "would change how good an image is"
        )
