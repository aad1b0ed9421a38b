"""``image.deepspot``: the same functions, spelled as methods of a DataArray.

Importing this module registers the accessor. Nothing is computed or decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import xarray as xr

if TYPE_CHECKING:
    from deepspot_scale.verbs.images import AnyTable


@xr.register_dataarray_accessor("deepspot")
class DeepspotAccessor:
    """Spots of the image it is reached through."""

    def __init__(self, image: xr.DataArray) -> None:
        self._image = image

    def denoise(self, **options: Any) -> xr.DataArray:
        """Remove the noise of a camera; see `deepspot_scale.denoise`."""
        from deepspot_scale.verbs.images import denoise

        return denoise(self._image, **options)

    def enhance(self, **options: Any) -> xr.DataArray:
        """Make every spot equally bright; see `deepspot_scale.enhance`."""
        from deepspot_scale.verbs.images import enhance

        return enhance(self._image, **options)

    def detect(self, raw: xr.DataArray | None = None, **options: Any) -> AnyTable:
        """Find every spot; see `deepspot_scale.detect`."""
        from deepspot_scale.verbs.images import detect

        return detect(self._image, raw, **options)

    def rate(self, **options: Any) -> AnyTable:
        """Rate how good each plane is; see `deepspot_scale.rate`."""
        from deepspot_scale.verbs.rating import rate

        return rate(self._image, **options)

    def segment(self, **options: Any) -> xr.Dataset:
        """Label nuclei and cells; see `deepspot_scale.segment`."""
        from deepspot_scale.verbs.segmentation import segment

        return segment(self._image, **options)

    def localise(self, **options: Any) -> AnyTable:
        """Find the molecules of a movie's frames; see `deepspot_scale.localise`."""
        from deepspot_scale.verbs.movies import localise

        return localise(self._image, **options)
