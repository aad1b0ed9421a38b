"""Images whose spots are known, by name: folders and simulated sets in, cases out.

A *case* names an image and loads it on request, so that many can be listed while only
one is in memory. Nothing here knows models or scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.io.image_files import annotated_images
from deepspot_scale.io.image_files.annotated_images import AnnotatedImage
from deepspot_scale.simulation import SIMULATORS, simulate_image
from deepspot_scale.simulation.sets import SPOT_NUMBERS
from deepspot_scale.simulation.stacks import simulate_stack

FRESH_SEED: Final = 20_210_401
"""Seed of simulated images; the trainer's seeds are small numbers, 0 by default."""
SIMULATED_IMAGES: Final = 20
"""Images of a simulated set by default; the paper has 400."""
_PAPER_SIZE: Final = 256
_STACKS: Final = "simulated-stacks"


class KnownImage(NamedTuple):
    """One image and the spots in it."""

    pixels: NDArray[Any]
    """(y, x), or (z, y, x) of a stack, counts."""
    points: NDArray[np.float64]
    """(n, 2), true spots (y, x) in pixels, or (n, 3) with z in planes."""
    snr: NDArray[np.float64]
    """(n,), NaN where it is not known."""
    sigma: NDArray[np.float64]
    """(n,), in pixels, NaN where it is not known."""
    uncounted: NDArray[np.float64] = np.zeros((0, 2))
    """(k, 2), objects of which it does not count whether they are found."""
    z_step_um: float | None = None
    """Distance of a stack's planes; None: not known."""


@dataclass(frozen=True)
class Sample:
    """Which images of a set are taken."""

    images: int | None = None
    """Images of each set; None: all of a folder, 20 of a simulated set."""
    seed: int = FRESH_SEED
    """Decides what simulated images show."""
    size: int = 256
    """Edge of the simulated images of ``broad`` and ``empty`` in pixels."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.images is not None and self.images < 1:
            raise SettingsError(f"images must be at least 1, got {self.images}")
        if self.seed < 0:
            raise SettingsError(f"seed must not be negative, got {self.seed}")
        if not 64 <= self.size <= 8192:
            raise SettingsError(f"size must be 64 to 8192 px, got {self.size}")


@dataclass(frozen=True)
class Case:
    """One image by name."""

    data: str
    """The data set as the user gave it: a folder's name or path, or a word."""
    set_name: str
    """One of the data's sets."""
    group: str
    """Part of the set, or empty."""
    image: str
    """Unique in the set."""
    load: Callable[[], KnownImage]
    """Reads or simulates the image."""
    is_stack: bool = False
    """Whether it is a z-stack, whose true spots have a depth."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Data, set and image: unique among cases."""
        return self.data, self.set_name, self.image


def list_cases(data: Sequence[str | Path], sample: Sample) -> list[Case]:
    """List the images of some data sets, without loading them.

    Data are folders as `read_annotated` reads them, or words: ``paper-sets`` (the
    paper's 20 simulated test sets), ``broad`` (simulated microscopes), ``empty`` (the
    images of ``broad`` in which no spot can be seen) and ``simulated-stacks`` (those of
    `simulation.stacks`).

    Raises
    ------
    SettingsError
        There is no data, or it is neither a folder nor a word.
    PlateError
        A folder cannot be read.
    """
    cases: list[Case] = []
    words, taken = _words(), set[str]()
    for item in dict.fromkeys(map(str, data)):
        if item in words:
            cases += words[item](sample)
            continue
        if not Path(item).is_dir():
            raise SettingsError(
                f"no data {item!r}: expected a folder of annotated images, or one of "
                f"{', '.join(words)}.{did_you_mean(item, words)}"
            )
        known = annotated_images.read_annotated(Path(item))
        # If two folders have the same name, the path tells them apart.
        label = item if known.name in taken | set(words) else known.name
        taken.add(label)
        cases += [
            Case(
                label,
                label,
                image.group,
                image.name,
                partial(_read, image),
                image.is_stack,
            )
            for image in known.images[: sample.images]
        ]
    if not cases:
        raise SettingsError("no data: name a folder or a simulated set")
    return cases


def _read(image: AnnotatedImage) -> KnownImage:
    unknown = np.full(len(image.points), np.nan)
    snr = unknown if image.snr is None else image.snr
    sigma = unknown if image.sigma is None else image.sigma
    pixels = image.read()
    return KnownImage(pixels, image.points, snr, sigma, z_step_um=image.z_step_um)


def _simulate(
    name: str, seed: int, number: int, spots: int | None, size: int
) -> KnownImage:
    truth = simulate_image(name, seed, number, spots=spots, size=size)
    return KnownImage(
        truth.image, truth.points, truth.snr, truth.sigma, truth.uncounted
    )


def _paper_sets(sample: Sample) -> Iterator[Case]:
    """Yield the images of the sets fixed_10, fixed_20 ... fixed_100, var_10 ... ."""
    numbers = range(sample.images or SIMULATED_IMAGES)
    for name, spots, number in product(("fixed", "var"), SPOT_NUMBERS, numbers):
        load = partial(_simulate, name, sample.seed, number, spots, _PAPER_SIZE)
        yield Case("paper-sets", f"{name}_{spots}", name, f"{number:04d}", load)


def _simulated(name: str, sample: Sample) -> Iterator[Case]:
    for number in range(sample.images or SIMULATED_IMAGES):
        load = partial(_simulate, name, sample.seed, number, None, sample.size)
        yield Case(name, name, "", f"{number:04d}", load)


def _stacks(sample: Sample) -> Iterator[Case]:
    for number in range(sample.images or SIMULATED_IMAGES):
        load = partial(_simulate_stack, sample.seed, number)
        yield Case(_STACKS, _STACKS, "", f"{number:04d}", load, is_stack=True)


def _simulate_stack(seed: int, number: int) -> KnownImage:
    truth = simulate_stack(seed=(seed, number))
    return KnownImage(truth.image, truth.points, truth.snr, truth.sigma)


def _empty(sample: Sample) -> Iterator[Case]:
    """Yield the images of broad without true spots: about one in ten at 512 px."""
    n_lacking = sample.images or SIMULATED_IMAGES
    for number in count():
        load = partial(_simulate, "broad", sample.seed, number, None, sample.size)
        if len(load().points) == 0:
            yield Case("empty", "empty", "", f"{number:04d}", load)
            n_lacking -= 1
        if n_lacking == 0:
            return


def _words() -> dict[str, Callable[[Sample], Iterator[Case]]]:
    """Return the simulated data sets by name."""
    own = [name for name, each in SIMULATORS.items() if not each.takes_spots]
    sets = {name: partial(_simulated, name) for name in own}
    return {"paper-sets": _paper_sets, **sets, "empty": _empty, _STACKS: _stacks}
