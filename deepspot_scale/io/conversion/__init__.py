"""A folder of image files becomes an OME-Zarr plate."""
