"""The plug-in for napari: opens runs and plates, and tunes a run's numbers live."""
