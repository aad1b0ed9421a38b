"""Conversion of a folder of image files to an OME-Zarr plate."""
