"""Reading of TIFF, PNG and vendors' image files."""
