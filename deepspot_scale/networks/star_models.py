"""How the answer of a network of star-convex objects is read, by its weights.

Weights come in; a `StarModel` goes out. Nothing here runs a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.image_features import LEAST_EDGE
from deepspot_scale.networks.domains import Domain, find_domain
from deepspot_scale.networks.families import STAR_CONVEX
from deepspot_scale.networks.weights import Weights

DIAMETER: Final = 26.0
"""Diameter in pixels at which objects are shown to a network that says no other."""


@dataclass(frozen=True)
class StarModel:
    """What a network's answer says."""

    threshold: float
    """Least probability of a candidate."""
    overlap: float
    """Largest share of the smaller object that two objects may share."""
    halo: int
    """Pixels around a place that decide about it."""
    grid: int
    """Stride of windows in pixels."""
    diameter: float = DIAMETER
    """Of objects, in pixels, for which the network is best."""
    domain: Domain | None = None
    """What the network was trained on; None: not known."""

    def is_unlike(self, image: NDArray[Any]) -> bool:
        """Return whether a plane (y, x), as the network sees it, is of another kind.

        What is too small to be compared, or where nothing is known, is not.
        """
        if self.domain is None or min(image.shape) < LEAST_EDGE:
            return False
        return self.domain.distance(image).is_outside


def find_star_model(weights: Weights) -> StarModel:
    """Return how the answers of a model are read.

    Raises
    ------
    SettingsError
        The model does not find star-convex objects.
    """
    family = weights.family
    if family.name != STAR_CONVEX.name:
        raise SettingsError(
            f"{weights.name} is of the family {family.name}, which does not find "
            f"nuclei; expected {STAR_CONVEX.name}"
        )
    about = weights.about
    return StarModel(
        float(about.get("threshold", 0.5)),
        float(about.get("overlap", 0.4)),
        family.halo(weights.architecture),
        family.grid,
        float(about.get("diameter", DIAMETER)),
        find_domain(weights),
    )
