"""scikit-image's blob detectors, block by block.

The image that is searched is the field's own brightness, dark at 0 and its brightest
thousandth at 1, so thresholds mean the same in every block. What differs from one call
on the whole plane: of blobs that overlap the library keeps the wider one, pair after
pair in the order of its search tree, so where many overlap in a chain, others of them
may be kept near a seam.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.plugins import module_files
from deepspot_scale.stages.detection.points import PointDetector

_REACH: Final[Mapping[str, float]] = {"log": 4.0, "dog": 4.0, "doh": 3.0}
"""Standard deviations that decide about one blob, by how it is found."""
_KINDS: Final = ("log", "dog", "doh")


@dataclass(frozen=True)
class BlobFinder:
    """A function from an image to the places of its blobs."""

    kind: str
    """log, dog or doh."""
    options: tuple[tuple[str, float | int], ...]
    """Of the library's function."""

    def __call__(self, image: NDArray[np.float32]) -> NDArray[Any]:
        """Return (n, 2) places of an image (y, x)."""
        from skimage import feature

        find = getattr(feature, f"blob_{self.kind}")
        blobs: NDArray[Any] = find(image.astype(np.float64), **dict(self.options))
        return blobs[:, :2]


def blob_detector(  # noqa: PLR0913 - the numbers of the library's functions
    kind: str,
    *,
    min_sigma: float = 1.0,
    max_sigma: float = 3.0,
    num_sigma: int | None = None,
    sigma_ratio: float | None = None,
    threshold: float | None = None,
    overlap: float = 0.5,
    refine: bool = False,
) -> PointDetector:
    """Return ``skimage.feature.blob_log``, ``blob_dog`` or ``blob_doh`` as a detector.

    Parameters
    ----------
    kind
        log: Laplacian of Gaussian; dog: difference of Gaussians; doh: determinant of
        the Hessian, for which spots must be larger than 3 px, as its documentation
        says.
    min_sigma, max_sigma
        Standard deviations of blobs in pixels.
    num_sigma
        Between them, of log and doh; None: 5.
    sigma_ratio
        Between two, of dog; None: 1.6.
    threshold
        Least value of a blob in scale space; the image's dark is 0, its brightest
        thousandth 1. None: 0.2 (log), 0.1 (dog), 0.01 (doh).
    overlap
        Two blobs whose areas overlap by more than this share are one.
    refine
        Whether places are refined on the raw image; else they are the library's
        pixels.

    Raises
    ------
    SettingsError
        No such kind, or a number out of range or of another kind.
    """
    if kind not in _KINDS:
        raise SettingsError(f"blobs are found by {', '.join(_KINDS)}, not {kind!r}")
    if not 0 < min_sigma <= max_sigma < math.inf:
        raise SettingsError(
            f"expected 0 < min_sigma <= max_sigma, got {min_sigma} and {max_sigma}"
        )
    if not 0 <= overlap <= 1:
        raise SettingsError(f"overlap is a share, 0 to 1, got {overlap}")
    if kind == "dog" and num_sigma is not None:
        raise SettingsError("num_sigma is not of blob_dog; give sigma_ratio")
    if kind != "dog" and sigma_ratio is not None:
        raise SettingsError(f"sigma_ratio is not of blob_{kind}; give num_sigma")
    default = {"log": 0.2, "dog": 0.1, "doh": 0.01}[kind]
    least = default if threshold is None else threshold
    if not 0 < least < math.inf:
        raise SettingsError(f"the threshold of blobs is above 0, got {least}")
    options: dict[str, float | int] = {
        "min_sigma": min_sigma,
        "max_sigma": max_sigma,
        "threshold": least,
        "overlap": overlap,
    }
    widest = max_sigma
    if kind == "dog":
        options["sigma_ratio"] = ratio = 1.6 if sigma_ratio is None else sigma_ratio
        if not 1 < ratio < math.inf:
            raise SettingsError(f"sigma_ratio is above 1, got {ratio}")
        widest = max_sigma * ratio
    else:
        options["num_sigma"] = 5 if num_sigma is None else num_sigma
        if options["num_sigma"] < 1:
            raise SettingsError(f"num_sigma is 1 or more, got {num_sigma}")
    # What decides about a blob, and about one that it may have to give way to.
    own = math.ceil(_REACH[kind] * widest) + 1
    halo = own + math.ceil(2 * math.sqrt(2) * max_sigma)
    return PointDetector(
        BlobFinder(kind, tuple(sorted(options.items()))),
        halo,
        on="raw",
        refine=refine,
        files=module_files("skimage", ("feature/blob.py",), "scikit-image"),
    )


BLOB_DETECTORS: Final[Mapping[str, Callable[..., PointDetector]]] = {
    f"skimage-{kind}": partial(blob_detector, kind) for kind in _KINDS
}
"""By the names that runs know them by."""
