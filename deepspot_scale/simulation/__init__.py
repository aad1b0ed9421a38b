"""Simulated images with known spots, for training and tests.

A seeded generator comes in; an image and its true spots go out as plain arrays.
Nothing here knows networks, files or plates.
"""

from deepspot_scale.simulation.broad import broad_image
from deepspot_scale.simulation.drawing import (
    Image,
    Points,
    Truth,
    render_spots,
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
    "find_simulator",
    "paper_image",
    "render_spots",
    "simulate_image",
    "smooth_noise",
]
