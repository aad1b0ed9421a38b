"""How the answer of a network that localises is read: from its map to molecules.

Weights come in; a `Localiser` goes out, which knows how far the network and the maxima
reach, how a frame is scaled, and where the molecules of an answer are. Nothing here
runs a network.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import InputWarning, SettingsError
from deepspot_scale.kernels.distance_peaks import Cones, find_distance_peaks
from deepspot_scale.kernels.heat_maxima import Maxima, refine_maxima
from deepspot_scale.kernels.heat_maxima import reach as maxima_reach
from deepspot_scale.kernels.volume_maxima import find_maxima
from deepspot_scale.networks.families import (
    DEEP_STORM,
    DEEPSTORM3D,
    SUBPIXEL_CNN,
    SUBPIXEL_CNN8,
)
from deepspot_scale.networks.weights import Weights, find_weights

Find = Callable[[NDArray[Any]], NDArray[np.float64]]
_RADIUS: Final = 2
"""Fine pixels around a maximum in which none is higher."""


@dataclass(frozen=True)
class Localiser:
    """What a network's answer says."""

    find: Find
    """Gives (n, 6) of an answer (y, x, channels): depth in nm (NaN: none), row and
    column of the highest fine pixel, how far the molecule is from its centre along
    both, and height."""
    scale: int
    """Fine pixels along a pixel's edge."""
    halo: int
    """Pixels around a place that decide whether a molecule is there."""
    grid: int = 1
    full: float = 1.0
    """Height that is certain."""
    in_depth: bool = False
    """Whether molecules have a depth, and their light its shape."""
    pixel_nm: float | None = None
    """Edge of a pixel that it was trained for; None: any."""


def _find_maxima(
    answer: NDArray[Any], *, threshold: float, refine: Any
) -> NDArray[np.float64]:
    return _flat(
        refine_maxima(answer[..., 0], threshold, radius=_RADIUS, refine=refine)
    )


def _find_distances(
    answer: NDArray[Any], *, threshold: float, cones: Cones
) -> NDArray[np.float64]:
    return _flat(find_distance_peaks(answer[..., 0], threshold, cones, radius=_RADIUS))


def _flat(found: Maxima) -> NDArray[np.float64]:
    depth = np.full(len(found.heights), np.nan)
    return np.column_stack([depth, found.pixels, found.shifts, found.heights])


def _find_volume(
    answer: NDArray[Any], *, threshold: float, planes: Planes
) -> NDArray[np.float64]:
    volume = np.moveaxis(answer, -1, 0)
    found = find_maxima(volume, threshold, (_RADIUS, _RADIUS))
    depth = planes.first_nm + planes.step_nm * (found.voxels + found.shifts)[:, 0]
    places = (found.voxels[:, 1:], found.shifts[:, 1:], found.heights)
    return np.column_stack([depth, *places])


class Planes(NamedTuple):
    """Where the planes of an answer lie."""

    first_nm: float
    step_nm: float


_DISTANCES: Final = (SUBPIXEL_CNN.name, SUBPIXEL_CNN8.name)
"""Families whose answer is a distance transform."""
_FLAT: Final = (*_DISTANCES, DEEP_STORM.name)
"""Families whose answer is a flat map."""
_LOCALISING: Final = (*_FLAT, DEEPSTORM3D.name)
_THRESHOLDS: Final = {
    SUBPIXEL_CNN.name: "0.4",
    SUBPIXEL_CNN8.name: "0.4",
    DEEPSTORM3D.name: "0.2",
}
"""Heights of a molecule where a model says no other one: those that were best on
simulated frames for the shipped models, whose answers are scaled alike."""


def _cones(weights: Weights) -> Cones | None:
    """Return what a molecule explains, by the recipe of the model's training.

    None where a molecule's height and width are not known: another family, or weights
    that were not trained here.
    """
    if weights.family.name not in _DISTANCES or "recipe" not in weights.about:
        return None
    movies = json.loads(weights.about["recipe"]).get("movies", {})
    known = {name: movies[name] for name in ("alpha", "d_max") if name in movies}
    return Cones(**known)


def find_localiser(weights: Weights, certainty: float | None = None) -> Localiser:
    """Return how the answers of a model are read.

    Parameters
    ----------
    weights
        The model. Its text says ``threshold`` and ``full``, in units of its answer.
    certainty
        Least height, 0 to 1 (``full``); None: the model's own threshold.

    Raises
    ------
    SettingsError
        The model does not localise, or says no threshold and none is given.
    """
    family = weights.family.of(weights.architecture)
    if family.name not in _LOCALISING:
        raise SettingsError(
            f"{weights.name} is of the family {family.name}, which does not localise "
            f"molecules; expected one of {', '.join(_LOCALISING)}"
        )
    full = float(weights.about.get("full", 1.0))
    stated = weights.about.get("threshold", _THRESHOLDS.get(family.name))
    if certainty is None and stated is None:
        raise SettingsError(
            f"{weights.name} does not say from which height on a maximum is a "
            "molecule; give the least certainty"
        )
    threshold = full * certainty if certainty is not None else float(str(stated))
    scale = int(family.scale)
    if family.name == DEEPSTORM3D.name:
        return _in_depth(weights, scale, threshold, full)
    cones = _cones(weights)
    if cones is None:
        refine = "quadratic" if family.name in _DISTANCES else "centroid"
        find: Find = partial(_find_maxima, threshold=threshold, refine=refine)
        far = maxima_reach(_RADIUS)
    else:
        find = partial(_find_distances, threshold=threshold, cones=cones)
        far = cones.reach(_RADIUS)
    halo = family.halo(weights.architecture) + math.ceil((far + 1) / scale) + 1
    return Localiser(find, scale, halo, family.grid, full)


def _in_depth(weights: Weights, scale: int, threshold: float, full: float) -> Localiser:
    """Return how volumes are read; SettingsError if the model does not say where."""
    if "recipe" not in weights.about:
        raise SettingsError(
            f"{weights.name} does not say at which depths its planes lie; localise "
            "with weights that `deepspot-scale train` wrote"
        )
    ranges = json.loads(weights.about["recipe"])["volumes"]
    step = 1000 * float(ranges["plane"])
    middle = 500 * float(sum(ranges["depth"]))
    first = (
        middle - (weights.family.of(weights.architecture).channels_out - 1) / 2 * step
    )
    find = partial(_find_volume, threshold=threshold, planes=Planes(first, step))
    halo = weights.family.halo(weights.architecture)
    halo += math.ceil((_RADIUS + 1) / scale) + 1
    pixel = 1000 * float(ranges["camera_pixel"]) / float(ranges["magnification"])
    grid = weights.family.grid
    return Localiser(find, scale, halo, grid, full, in_depth=True, pixel_nm=pixel)


def check_density(model: str, density: float | None) -> None:
    """Warn if frames are denser than a model was trained for.

    `density` is in molecules per square micrometre; None: nothing is checked.
    """
    if density is None:
        return
    weights = find_weights(model)
    most = weights.about.get("most_dense")
    if most is None:
        warnings.warn(
            f"{weights.name} does not say for which density it was trained",
            InputWarning,
            stacklevel=2,
        )
    elif density > float(most):
        warnings.warn(
            f"{weights.name} was trained with up to {most} molecules per square "
            f"micrometre, and {density:g} were announced: more molecules will be "
            "missed. Train a model for this density: deepspot-scale train",
            InputWarning,
            stacklevel=2,
        )
