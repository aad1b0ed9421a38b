"""Detectors of other libraries, each imported when it is used."""
