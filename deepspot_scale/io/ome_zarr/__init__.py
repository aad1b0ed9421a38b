"""OME-Zarr images and plates: metadata, layout, pyramids, reading, writing."""
