"""smooth_stage.py"""

from functools import partial

from pydantic import Field
from scipy.ndimage import gaussian_filter

from deepspot_scale.blockwise.contract import Layer, Stage, StageOptions, Work
from deepspot_scale.blockwise.shapes import map_pixels


class SmoothOptions(StageOptions):
    """How much the image is smoothed."""

    sigma: float = Field(default=2.0, gt=0, description="Gaussian sigma in pixels.")


SMOOTHED = Layer("smoothed", dtype="float32", keep=True)


def plan_smooth(options, context):
    """Declare one step: which layer it makes, of which, and how far around it looks."""
    radius = round(4 * options.sigma)
    smooth = partial(gaussian_filter, sigma=options.sigma, radius=radius, output="f4")
    return Work((map_pixels(SMOOTHED, "image", smooth, margin=radius),))


SMOOTH = Stage("smooth", SmoothOptions, plan_smooth)
