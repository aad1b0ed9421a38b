"""Exports of a run's results to the formats of other tools; one module per format."""
