"""Answers that stages hand to one another: the words that they share, and no more.

A stage imports no other stage; what one gives and another one reads has its key, and
its type, here or in `spots`. Nothing here measures anything.
"""

from __future__ import annotations

from typing import NamedTuple

from deepspot_scale.blockwise.contract import Key, Layer
from deepspot_scale.kernels.normalisation import Scale, Typical
from deepspot_scale.kernels.references import Reference

IMAGE = "image"
"""The stored layer of raw counts."""
LABELS = {"cell": "cells", "nucleus": "nuclei"}
"""Stored layers of labels, by the column of the spot table that they fill."""
ENHANCED = Layer("enhanced", "float32")
"""The layer in which every spot is equally bright, in [0, 1]."""
REFERENCE: Key[Reference | None] = Key("reference")
"""Where "toward" is in this field; given by the user."""


class Brightness(NamedTuple):
    """What a whole field says about its brightness."""

    scale: Scale
    """To the network's range."""
    low: float
    """Least pixel, counts."""
    high: float
    """Largest pixel, counts."""
    least_noise: float
    """Noise that the number format itself makes, counts."""
    typical: Typical
    """What most pixels are like."""


BRIGHTNESS: Key[Brightness] = Key("brightness")
