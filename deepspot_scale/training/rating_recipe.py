"""The images that a judge of quality learns from, as a table of a recipe.

Ranges come in as TOML, checked plain values go out. Nothing here draws or knows Keras.
"""

from __future__ import annotations

from pydantic import Field

from deepspot_scale.config import Strict

LADDERS = "ladders"
"""The source in a recipe's mixture whose images are simulated, each in steps of one
degradation, with what the default detector finds on them."""


class RatingRanges(Strict):
    """Which images a judge learns from, and what it is told of their order."""

    ladders: int = Field(default=1500, ge=10)
    """Simulated ladders."""
    seed: int = Field(default=0, ge=0)
    """Seed of the ladders; the recipe's own decides what is held out."""
    steps: int = Field(default=5, ge=2)
    """Images of a ladder."""
    size: int = Field(default=512, ge=256)
    """Edge of a simulated image in pixels."""
    left_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of ladders, or of a folder's images, that is neither learned from nor
    validated on: it is for tests."""
    order: float = Field(default=0.05, ge=0)
    """Weight of the order of a ladder's images beside the squared error of scores."""
    margin: float = Field(default=0.15, gt=0)
    """Least fall of the score's log-odds from step to step that is asked for."""
    cache: str | None = None
    """Folder for ladders that were drawn, which are the same each time; None: in the
    user's cache."""
