"""Simulated images with known spots, for training and tests.

A seeded generator comes in; an image and its true spots go out as plain arrays.
Nothing here knows networks, files or plates.
"""

from deepspot_scale.simulation.broad import broad_image
from deepspot_scale.simulation.drawing import (
    Image,
    Points,
    Truth,
    elastic_grid,
    ellipse,
    log_uniform,
    perlin_noise,
    render_spots,
    rescale,
    smooth_noise,
)
from deepspot_scale.simulation.paper import paper_image
from deepspot_scale.simulation.sets import (
    SIMULATORS,
    Simulator,
    find_simulator,
    simulate_image,
)

__all__ = [
    "SIMULATORS",
    "Image",
    "Points",
    "Simulator",
    "Truth",
    "broad_image",
    "elastic_grid",
    "ellipse",
    "find_simulator",
    "log_uniform",
    "paper_image",
    "perlin_noise",
    "render_spots",
    "rescale",
    "simulate_image",
    "smooth_noise",
]
