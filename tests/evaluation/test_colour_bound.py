"""The bound of the likelihood ratio, against what is known of it and against fits."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.evaluation.colour_bound import best_dyes, colour_bound
from deepspot_scale.kernels.dye_likelihood import classify_by_likelihood
from deepspot_scale.simulation.dyes import DyeScene, draw_dyes, gaussian_spread


def spreads(*wavelengths: float) -> list:
    return [gaussian_spread(nm, aperture=1.45, pixel_nm=110) for nm in wavelengths]


@pytest.mark.parametrize(
    ("pair", "photons", "dark", "expected"),
    [
        ((580, 670), 500, 30, 0.91),
        ((580, 670), 500, 5, 0.98),
        ((580, 670), 1000, 30, 0.99),
        ((580, 670), 3000, 30, 1.0),
        ((565, 605), 500, 30, 0.74),
        ((565, 605), 500, 5, 0.84),
        ((565, 605), 1000, 30, 0.85),
        ((565, 605), 3000, 30, 0.99),
    ],
)
def test_the_bound_of_dyes_in_focus(pair, photons, dark, expected) -> None:
    scene = DyeScene((photons, photons), (dark, dark))
    found = colour_bound(spreads(*pair), scene, 4000)
    assert found == pytest.approx(expected, abs=0.025)


def test_equal_dyes_are_guessed() -> None:
    assert colour_bound(spreads(600, 600), DyeScene(), 2000) == pytest.approx(
        0.5, abs=0.04
    )


def test_fits_of_unknown_places_come_near_to_the_bound_and_not_above_it() -> None:
    pair, scene = spreads(580, 670), DyeScene((600, 600), (20, 20))
    drawn = draw_dyes(pair, scene, np.random.default_rng(1), 4000)
    bound = np.mean(best_dyes(pair, drawn) == drawn.dye)
    fitted = np.mean(classify_by_likelihood(drawn.images, pair).dye == drawn.dye)
    assert bound - 0.02 < fitted <= bound + 0.005
