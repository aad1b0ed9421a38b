"""The simulated data sets by name; an image depends only on set, seed and number.

Nothing here knows how images are stored or used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.simulation.broad import broad_image
from deepspot_scale.simulation.drawing import Truth
from deepspot_scale.simulation.dynamic import dynamic_image
from deepspot_scale.simulation.paper import Intensity, paper_image
from deepspot_scale.simulation.trials import (
    decades_image,
    singles_image,
    sites_image,
    sparse_image,
)

SPOT_NUMBERS: Final = tuple(range(10, 101, 10))
"""Spots per image in the paper's ten sets of each kind."""


@dataclass(frozen=True)
class Simulator:
    """One way to draw images whose truth is known."""

    draw: Callable[[np.random.Generator, int, int], Truth]
    """Draws an image from chance, the number of spots and the edge in pixels."""
    takes_spots: bool = False
    """Whether the image has that number of spots; else it draws its own."""
    twin: str = ""
    """Set of the same chance: image by image, both draw the same numbers first."""
    has_uncounted: bool = False
    """Whether there are objects of which it does not count if they are found."""
    is_8bit: bool = False
    """Whether counts are the integers 0 to 255; else they are any numbers."""


def _either(rng: np.random.Generator, n_spots: int, size: int) -> Truth:
    return paper_image(rng, n_spots, "var" if rng.random() < 0.5 else "fixed", size)


def _paper(intensity: Intensity) -> Simulator:
    return Simulator(
        lambda rng, n_spots, size: paper_image(rng, n_spots, intensity, size),
        takes_spots=True,
        is_8bit=True,
    )


_MOST_TRIES = 12
"""Images that are drawn for one with grains: few have many spots that are alike."""


def _field(rng: np.random.Generator, n_spots: int, size: int) -> Truth:
    kind = rng.random()
    if kind < 0.4:
        return dynamic_image(rng, size)
    if kind < 0.65:
        for _ in range(_MOST_TRIES):
            truth = dynamic_image(rng, size, grains=1.0)
            if len(truth.grains):
                break
        return truth
    if kind < 0.85:
        return broad_image(rng, size)
    return _either(rng, n_spots, size)


SIMULATORS: Final[dict[str, Simulator]] = {
    "fixed": _paper("fixed"),
    "var": _paper("var"),
    "paper": Simulator(_either, takes_spots=True, is_8bit=True),
    "broad": Simulator(lambda rng, _, size: broad_image(rng, size)),
    "dynamic": Simulator(lambda rng, _, size: dynamic_image(rng, size)),
    "fields": Simulator(_field),
    "sparse": Simulator(lambda rng, _, size: sparse_image(rng, size)),
    "sites": Simulator(lambda rng, _, size: sites_image(rng, size), has_uncounted=True),
    "singles": Simulator(lambda rng, _, size: singles_image(rng, size), twin="sites"),
    "decades": Simulator(lambda rng, _, size: decades_image(rng, size)),
}
"""fixed, var: the paper's; paper: one of both, with equal chance; broad: realistic;
dynamic: realistic, with spots of very different brightness; fields: any of these, and
often grains beside the spots. Trials: sparse, few spots; sites, single RNAs beside
brighter things; singles, the same without these; decades, an SNR from 4 to 100."""


def find_simulator(name: str) -> Simulator:
    """Return the simulator of this name.

    Raises SettingsError if there is none.
    """
    if name in SIMULATORS:
        return SIMULATORS[name]
    raise SettingsError(
        f"There is no simulated set {name!r}; expected is one of "
        f"{', '.join(SIMULATORS)}.{did_you_mean(name, SIMULATORS)}"
    )


def simulate_image(
    name: str, seed: int, number: int, *, spots: int | None = None, size: int = 256
) -> Truth:
    """Simulate image `number` of a set.

    Parameters
    ----------
    name
        One of `SIMULATORS`.
    seed, number
        Seed all randomness; images are independent of each other.
    spots
        Spots per image, 10, 20 ... 100 in turn if not given; some simulators draw
        their own number.
    size
        Edge of the square image in pixels.
    """
    n_spots = SPOT_NUMBERS[number % len(SPOT_NUMBERS)] if spots is None else spots
    # From seed and number alone, all sets would have spots at the same positions, and
    # training with the same seed would have seen them.
    simulator = find_simulator(name)
    word = simulator.twin or name
    rng = np.random.default_rng((seed, number, n_spots, *word.encode()))
    return simulator.draw(rng, n_spots, size)
