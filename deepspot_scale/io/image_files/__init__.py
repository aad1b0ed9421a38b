"""TIFF, PNG and vendor files."""
