"""OME-Zarr: metadata, layout, pyramids, writing."""
