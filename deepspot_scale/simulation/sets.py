"""The simulated data sets by name; an image depends only on set, seed and number.

Nothing here knows how images are stored or used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from deepspot_scale.simulation.broad import broad_image
from deepspot_scale.simulation.drawing import Truth
from deepspot_scale.simulation.paper import paper_image

SPOT_NUMBERS: Final = tuple(range(10, 101, 10))
"""Spots per image in the paper's ten sets of each kind."""


def _any_paper_image(rng: np.random.Generator, n_spots: int, size: int) -> Truth:
    kind = "var" if rng.random() < 0.5 else "fixed"
    return paper_image(rng, n_spots, kind, size)  # type: ignore[arg-type]  # above


SETS: Final[dict[str, Callable[[np.random.Generator, int, int], Truth]]] = {
    "fixed": lambda rng, n_spots, size: paper_image(rng, n_spots, "fixed", size),
    "var": lambda rng, n_spots, size: paper_image(rng, n_spots, "var", size),
    "paper": _any_paper_image,
    "broad": lambda rng, _, size: broad_image(rng, size),
}
"""fixed, var: the paper's; paper: one of both, with equal chance; broad: realistic."""


def simulate_image(
    name: str, seed: int, number: int, *, spots: int | None = None, size: int = 256
) -> Truth:
    """Simulate image `number` of a set.

    Parameters
    ----------
    name
        One of `SETS`.
    seed, number
        Seed all randomness; images are independent of each other.
    spots
        Spots per image of the paper's sets; None: 10, 20 ... 100 in turn. ``broad``
        draws its own number.
    size
        Edge of the square image in pixels.
    """
    n_spots = SPOT_NUMBERS[number % len(SPOT_NUMBERS)] if spots is None else spots
    # From seed and number alone, all sets would have spots at the same positions, and
    # training with the same seed would have seen them.
    rng = np.random.default_rng((seed, number, n_spots, *name.encode()))
    return SETS[name](rng, n_spots, size)
