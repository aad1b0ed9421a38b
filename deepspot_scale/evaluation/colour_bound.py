"""How well two dyes can be told apart at all: the bound of the likelihood ratio.

PSFs and a scene come in, the share of molecules whose dye is recognised goes out, by
simulation, for an observer who knows place and background of every molecule and only
not its photons. Nobody who knows less is better on average. Nothing here knows networks
or recorded movies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.dye_likelihood import Spread, fit_photons
from deepspot_scale.simulation.dyes import DyeScene, DyeWindows, draw_dyes


def colour_bound(
    spreads: Sequence[Spread], scene: DyeScene, n: int = 10_000, seed: int = 0
) -> float:
    """Return the accuracy of the likelihood ratio at known places.

    Parameters
    ----------
    spreads
        The PSF of each dye.
    scene
        Photons, background, places and depths of the molecules.
    n, seed
        Molecules to simulate, of which each dye has about the same number. The standard
        error is sqrt(p (1 - p) / n).
    """
    drawn = draw_dyes(spreads, scene, np.random.default_rng(seed), n)
    return float(np.mean(best_dyes(spreads, drawn) == drawn.dye))


def best_dyes(spreads: Sequence[Spread], drawn: DyeWindows) -> NDArray[np.intp]:
    """Return the likelier dye (n,) of each molecule, at its true place."""
    counts = drawn.images.reshape(len(drawn.images), -1).astype(np.float64)
    heights = []
    for spread in spreads:
        shares = np.asarray(spread(drawn.places), np.float64).reshape(counts.shape)
        heights.append(fit_photons(counts, shares, drawn.background)[1])
    return np.asarray(np.argmax(heights, axis=0))
