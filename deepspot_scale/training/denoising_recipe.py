"""How a denoiser learns, as a table of a recipe: TOML comes in, plain values go out.

Nothing here opens images or knows Keras.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from deepspot_scale.config import Strict


class BlindSpots(Strict):
    """Pixels that are hidden from a network that learns from noisy images alone."""

    share: float = Field(default=0.015, gt=0, le=0.25)
    """Share of a patch's pixels that are hidden, and that it is judged by."""
    radius: int = Field(default=5, ge=1, le=7)
    """Pixels around a hidden one of which its replacement is drawn; a patch is 16 px
    or more."""
    replacement: Literal["uniform", "median"] = "uniform"
    """uniform: one neighbour, all equally likely, never the pixel itself (Noise2Void);
    median: that of all neighbours (N2V2)."""
    doubt: float | None = Field(default=2.5, ge=0)
    """How many times its own variance noise may seem to have before a residual is taken
    for lost signal and given back; TOML has no none: 1e9 gives nothing back."""
