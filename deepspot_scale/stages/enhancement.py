"""The verb *enhance*: raw images in, images in which every spot is equally bright out.

`Enhancement` runs the network on one block of a field whose brightness is known.
Windows start on the network's grid; at the right and bottom edge a window may reach
past the field, where the last row and column are repeated. Nothing here knows
spots, files or plates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.batching import BatchedWork
from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK, plan_blocks
from deepspot_scale.blockwise.lifting import (
    check_image,
    iter_planes,
    map_cores,
    reduce_plane,
    stack_planes,
)
from deepspot_scale.blockwise.rounds import BlockContext, Pixels, PlaneAnswers, Step
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.binning import bin_pixels, binning_for, unbin_pixels
from deepspot_scale.kernels.normalisation import Scale
from deepspot_scale.networks.caso_resnet import GRID
from deepspot_scale.networks.engines import EngineChoice, get_engine, predict_images
from deepspot_scale.networks.weights import DEFAULT_MODEL, find_weights
from deepspot_scale.stages.brightness import Normalisation


@dataclass(frozen=True)
class Enhancement:
    """The network on one block."""

    engine: EngineChoice = EngineChoice()
    """Which network, and how it is run."""
    halo: int = 128
    """Pixels of true neighbours the network needs, a multiple of `grid`."""
    grid: int = GRID
    """Stride of the network in pixels."""
    binning: int = 1
    """Pixels along each axis that the network sees as one: for wide spots."""

    @classmethod
    def of(cls, engine: EngineChoice, binning: int = 1) -> Enhancement:
        """Return the enhancement whose halo is that of the model's own layers."""
        weights = find_weights(engine.model)
        family = weights.family
        gives = (family.channels_in, family.channels_out, family.scale)
        if (*gives, family.answer_range) != (1, 1, 1, (0.0, 1.0)):
            raise SettingsError(
                f"{engine.model} is of the family {family.name}, whose answer is no "
                "enhanced image of one channel; name another model"
            )
        reach = family.halo(weights.architecture)
        # Between the centres of large pixels, one neighbour more decides.
        rim = reach if binning == 1 else reach + family.grid
        return cls(engine, rim * binning, family.grid * binning, binning)

    def prepare(self, here: BlockContext, field: PlaneAnswers) -> NDArray[np.float32]:
        """Return the normalised window, padded to the grid at the field's far edges."""
        scale: Scale = field["brightness"].scale
        window = here.block.window
        pixels = scale(here.read("image", window.grow(0, here.shape)))
        lacking = [(0, n - k) for n, k in zip(window.shape, pixels.shape, strict=True)]
        if np.any(lacking):
            pixels = np.pad(pixels, lacking, mode="edge")
        return bin_pixels(pixels, self.binning)

    def predict(self, windows: Sequence[NDArray[np.float32]]) -> list[Any]:
        """Return the enhanced windows of prepared ones of one shape."""
        images = [window[..., None] for window in windows]
        answers = predict_images(get_engine(self.engine), images)
        return [answer[..., 0] for answer in answers]

    def cut(
        self,
        margin: int,
        here: BlockContext,
        _: PlaneAnswers,
        enhanced: NDArray[np.float32],
    ) -> Pixels:
        """Return the core, and `margin` pixels around it, of an enhanced window."""
        box = here.block.core.grow(margin, here.shape)
        pixels = unbin_pixels(enhanced, self.binning)
        return Pixels(box, pixels[box.within(here.block.window)])

    def batched_work(self, margin: int) -> BatchedWork:
        """Return the enhancement of the core and `margin` pixels around it."""
        return BatchedWork(self.prepare, self.predict, partial(self.cut, margin))

    def on_core(self, here: BlockContext, field: PlaneAnswers) -> NDArray[np.float32]:
        """Return the enhanced pixels of the block's core."""
        core: Pixels = self.batched_work(0)(here, field)
        return core.values

    def step(self, margin: int) -> Step:
        """Return the step ``pixels``: the core and `margin` pixels around it."""
        return Step("pixels", self.batched_work(margin))


def keep_enhanced() -> Step:
    """Return the step ``enhanced_image``: the plane as uint8, 255 the brightest."""
    return Step("enhanced_image", _as_bytes, share=list, finalize=_put_together)


def _as_bytes(here: BlockContext, _: PlaneAnswers) -> list[Pixels]:
    pixels: Pixels = here.answers["pixels"]
    core = pixels.values[here.block.core.within(pixels.box)]
    return [Pixels(here.block.core, np.rint(core * 255).astype(np.uint8))]


def _put_together(pieces: list[Pixels], _: PlaneAnswers) -> NDArray[np.uint8]:
    ends = [(piece.box.y.stop, piece.box.x.stop) for piece in pieces]
    plane = np.zeros(np.max(ends, axis=0), np.uint8)
    for piece in pieces:
        plane[piece.box.slices] = piece.values
    return plane


def enhance(
    image: xr.DataArray,
    *,
    model: str = DEFAULT_MODEL,
    normalisation: Normalisation = Normalisation(),
    engine: EngineChoice | None = None,
    block: int = DEFAULT_BLOCK,
    spot_sigma: float | None = None,
) -> xr.DataArray:
    """Make every spot equally bright with the CASO-ResNet.

    Each plane is normalised by its own quantiles and enhanced in blocks of one
    static shape, with true neighbours as halo (patchwise overlap-and-trim).

    Parameters
    ----------
    image
        Raw counts with dimensions y and x; leading dimensions are mapped over.
    model
        Name of a shipped model or path of a weights file.
    normalisation
        How a plane's brightness scale is found.
    engine
        How the network is run, when the default does not serve; it names the model.
    block
        Largest edge of a block in pixels.
    spot_sigma
        Standard deviation of the spots in pixels, when it is above the network's
        range (3.5 px): the network then sees binned pixels.

    Returns
    -------
    xarray.DataArray
        float32 in [0, 1], same dims, coords and attrs; lazy when `image` is.

    Raises
    ------
    FieldError
        No image, or pixels that are not finite (when computed).
    SettingsError
        The block is too small for the network's halo, or the spots are too wide.

    References
    ----------
    .. [1] Bouilhol et al. 2021, https://doi.org/10.1101/2021.11.25.469984
    """
    image = check_image(image)
    method = Enhancement.of(engine or EngineChoice(model), binning_for(spot_sigma))
    shape = (image.sizes["y"], image.sizes["x"])
    blocks = plan_blocks(shape, block=block, halo=method.halo, grid=method.grid)
    planes = []
    for _, plane in iter_planes(image):
        bright = reduce_plane(normalisation.steps(), {"image": plane}, blocks)
        planes.append(map_cores(method.on_core, plane, blocks, bright))
    return stack_planes(planes, image)
