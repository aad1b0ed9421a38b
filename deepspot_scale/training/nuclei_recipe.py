"""The images that a network of objects learns from, as a table of a recipe.

Ranges come in as TOML, checked plain values go out. Nothing here draws or knows Keras.
"""

from __future__ import annotations

from pydantic import Field

from deepspot_scale.config import Strict

NUCLEI = "nuclei"
"""The source in a recipe's mixture whose images are simulated."""
Range = tuple[float, float]


class NucleiRanges(Strict):
    """Which images are left out, and what simulated ones show."""

    left_out: int = Field(default=5, ge=0)
    """Every so manieth image of a folder, in the order of names, is neither learned
    from nor validated on: it is for tests. 0: none."""
    diameter: Range = (10.0, 45.0)
    """Of simulated nuclei, pixels."""
    typical: float | None = Field(default=None, gt=0)
    """Pixels that an image's typical object has before it is altered: images of folders
    are enlarged or reduced to it. None: they stay as they are."""
