"""The simulated images of the DeepSpot paper, with its ranges.

A generator and the number of spots come in; an image of 0 to 255 and its truth go out.
Source: Bouilhol et al. 2021, https://doi.org/10.1101/2021.11.25.469984, section 4.1,
and the authors' public code for details: spots are Gaussians of equal *light*, so wide
ones are dimmer; the noise is normal, although the paper names it otherwise.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from deepspot_scale.simulation.drawing import (
    Image,
    Truth,
    elastic_grid,
    perlin_noise,
    render_spots,
    rescale,
)

Intensity = Literal["fixed", "var"]


def paper_image(
    rng: np.random.Generator, n_spots: int, intensity: Intensity, size: int = 256
) -> Truth:
    """Simulate one image of the sets DS_fixed or DS_var; 256 px square in the paper.

    There are 10, 20 ... 100 spots in the paper. ``"fixed"``: one intensity for all
    spots; ``"var"``: one for each spot; both from 80 to 150.
    """
    shape = (size, size)
    points = rng.uniform(2, size - 2, (n_spots, 2))
    kernel, n_sigma = rng.integers(13, 19, n_spots), rng.integers(4, 9, n_spots)
    sigma = kernel / (2.0 * n_sigma)
    light = rng.uniform(80, 150, n_spots if intensity == "var" else 1)
    heights = np.broadcast_to(light, n_spots) / (2 * np.pi * sigma**2)
    drawn = render_spots(shape, points, heights, sigma)
    gain = rng.uniform(160, 220) / max(float(drawn.max()), 1e-9)
    noise = _noise(rng, size)
    # The noise at the scale of spots.
    spread = float((noise - cv2.GaussianBlur(noise, (0, 0), 3.0)).std())
    image = rescale(np.round(gain * drawn + noise)) * 255
    return Truth(
        image=np.round(image).astype(np.float32),
        points=points,
        snr=gain * heights / max(spread, 1e-9),
        sigma=sigma,
    )


def _noise(rng: np.random.Generator, size: int) -> Image:
    """Return the elastically deformed sum of normal and Perlin noise, from 0 up."""
    shape = (2 * size, 2 * size)
    fine = rescale(rng.standard_normal(shape, dtype=np.float32)) * rng.uniform(50, 100)
    cloud = rescale(perlin_noise(rng, shape, 2 << int(rng.integers(4))))
    both = rescale(fine + cloud * rng.uniform(50, 100)) * rng.uniform(80, 150)
    grid = elastic_grid(rng, shape, rng.uniform(10, 20), int(rng.integers(2, 7)))
    bent = cv2.remap(both, *grid, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    middle = slice(size // 2, size // 2 + size)
    return np.asarray(bent[middle, middle], np.float32)
