"""How far an image lies from those that a network was trained on.

The features of training patches come in as a `Domain`, which is stored in the text of a
weights file, or for shipped models in ``models/domains.json``. An image as the network
sees it comes in too; its distance goes out. The distance is that to the third nearest
training patch, in robust units of each feature, because training images are of several
kinds: a mean over all of them would describe none. What is farther than nearly all
training patches are from each other is *outside*. That is no verdict on an answer; it
says that no score of the training holds for this image.

Source: Ramaswamy et al. 2000, https://doi.org/10.1145/342009.335437 (distance to the
k-th neighbour). Nothing here runs a network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from deepspot_scale.errors import WeightsError
from deepspot_scale.kernels.image_features import (
    FEATURES,
    LEAST_EDGE,
    measure_features,
)
from deepspot_scale.networks.weights import SHIPPED, Weights

Real = NDArray[np.float64]
TEXT: Final = "domain"
"""Name of the domain in the text of a weights file."""
FILE: Final = "domains.json"
"""Domains of shipped models, beside their weights."""
PATCHES: Final = 192
"""Training patches of which a domain consists."""
_NEIGHBOUR: Final = 3
"""Which neighbour counts: with the first, one odd patch would excuse odd images."""
_SHARE: Final = 0.99
"""Share of the training patches that lie inside, each measured without itself."""
_LEAST_SPREAD: Final = 0.02
"""Smallest unit of a feature: differences below it cannot be seen in an image."""
_TILES: Final = 3
"""Most tiles of an image along each axis that are measured."""
_DIGITS: Final = 3


class Distance(NamedTuple):
    """How far one image lies from the training patches."""

    ratio: float
    """Distance over its limit: above 1 the image is outside; NaN: it is constant."""
    feature: str
    """The feature that differs most from the nearest training patch."""
    shift: float
    """That difference in the feature's units of spread, above 0: the image's is
    larger."""

    @property
    def is_outside(self) -> bool:
        """Whether the image is farther than its limit, or says nothing at all."""
        return not self.ratio <= 1


@dataclass(frozen=True, eq=False)
class Domain:
    """What the patches look like that a network was trained on."""

    edge: int
    """Edge of a patch in pixels."""
    patches: Real
    """(n, 7), features of patches in the order of `FEATURES`."""

    @property
    def spread(self) -> Real:
        """(7,), robust standard deviation of each feature."""
        middle = np.median(self.patches, axis=0)
        deviation = 1.4826 * np.median(np.abs(self.patches - middle), axis=0)
        return np.asarray(np.maximum(deviation, _LEAST_SPREAD))

    @property
    def limit(self) -> float:
        """Distance within which `_SHARE` of the patches lie from the others."""
        patches = self.patches / self.spread
        near = KDTree(patches).query(patches, k=[_NEIGHBOUR + 1])[0][:, 0]
        return float(np.quantile(near, _SHARE))

    def distance(self, image: NDArray[Any]) -> Distance:
        """Return how far an image (y, x) lies, as the network sees it.

        It is cut into up to 3 x 3 tiles of the size of a training patch, spread over
        the image, and the tile of the median distance counts. Tiles in which all
        pixels are equal say nothing, and are left out.
        """
        return self.distance_of(
            np.array([measure_features(tile) for tile in _tiles(image, self.edge)])
        )

    def distance_of(self, measured: Real) -> Distance:
        """Return how far an image lies by the features (n, 7) of some of its tiles.

        Tiles whose features are not known are left out.
        """
        features = measured[np.isfinite(measured).all(axis=1)]
        if not len(features):
            return Distance(np.nan, "", np.nan)
        tree = KDTree(self.patches / self.spread)
        far, which = tree.query(features / self.spread, k=[1, _NEIGHBOUR])
        order = np.argsort(far[:, 1], kind="stable")
        middle = order[len(order) // 2]
        shifts = (features[middle] - self.patches[which[middle, 0]]) / self.spread
        most = int(np.argmax(np.abs(shifts)))
        ratio = float(far[middle, 1] / self.limit)
        return Distance(ratio, FEATURES[most], float(shifts[most]))

    def to_text(self) -> str:
        """Return the domain as one line of JSON."""
        rows = np.round(self.patches, _DIGITS).tolist()
        return json.dumps({"edge": self.edge, "features": FEATURES, "patches": rows})


@lru_cache(maxsize=16)
def read_domain(text: str) -> Domain:
    """Read what `to_text` wrote; WeightsError if it is something else.

    One text gives one value, which every block's method can share and compare.
    """
    try:
        values = json.loads(text)
        patches = np.array(values["patches"], np.float64)
        fits = tuple(values["features"]) == FEATURES and patches.ndim == 2
        if not (
            fits and patches.shape[1] == len(FEATURES) and len(patches) > _NEIGHBOUR
        ):
            raise ValueError(f"its features are {values['features']}")
        patches.flags.writeable = False
        return Domain(int(values["edge"]), patches)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"the domain stored with the weights cannot be read: {error}"
        ) from error


def find_domain(weights: Weights) -> Domain | None:
    """Return what a model was trained on; None: that is not known.

    Raises WeightsError if what is stored cannot be read.
    """
    text = weights.about.get(TEXT)
    if text is None and weights.path.parent == SHIPPED:
        listed = json.loads((SHIPPED / FILE).read_text("utf-8"))
        known = listed.get(weights.name)
        if known is None or known["sha256"] != weights.sha256:
            return None
        text = json.dumps(known)
    return None if text is None else read_domain(text)


def make_domain(patches: NDArray[Any]) -> Domain | None:
    """Return the domain of training patches (n, y, x), as the network sees them.

    None: they are too small, or nearly all of them are constant.
    """
    if min(patches.shape[1:]) < LEAST_EDGE:
        return None
    measured = np.array([measure_features(patch) for patch in patches])
    known = measured[np.isfinite(measured).all(axis=1)]
    if len(known) <= _NEIGHBOUR:
        return None
    return Domain(int(patches.shape[1]), np.round(known, _DIGITS))


def _tiles(image: NDArray[Any], edge: int) -> list[NDArray[Any]]:
    """Return tiles of `edge` pixels, fewer where the image is smaller."""
    starts = []
    for length in image.shape:
        n = min(_TILES, max(1, length // edge))
        starts.append(np.linspace(0, max(0, length - edge), n).round().astype(int))
    return [image[y : y + edge, x : x + edge] for y, x in product(*starts)]
