"""A microscope with a phase mask as a Keras 3 layer, so that its mask can be learned.

Places and dyes of molecules come in, the share of their light in each pixel of a window
goes out, as `simulation.optics` gives it, differentiable by the mask. Complex numbers
are pairs of real ones and the Fourier transform is two matrix products, so that every
Keras backend can run it. Nothing here knows noise, losses or files.

    mask * ratio --+
    depth ---------+-> cos, sin -> rows' transform -> columns' transform -> |.|^2
    focal plane ---+

Source: Nehme et al. 2020, https://doi.org/10.1038/s41592-020-0853-5 (a mask learned
together with the network that reads its images).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.simulation.optics import Optics, make_pupil

if TYPE_CHECKING:
    import keras

Array = NDArray[np.float32]


@dataclass(frozen=True)
class DyeOptics:
    """One microscope at the wavelengths of some dyes, as plain arrays."""

    amplitude: Array
    """(dyes, k, k), of the wave in the back focal plane; 0 outside the aperture."""
    phase: Array
    """(dyes, k, k), radians without mask and depth."""
    axial: Array
    """(dyes, k, k), radians that one micrometre of depth adds."""
    lateral: Array
    """(dyes, k), radians that one pixel along an axis adds."""
    ratio: Array
    """(dyes,), wavelength that the mask is set for over that of the dye."""

    @property
    def edge(self) -> int:
        """Edge k of the mask in its pixels, which covers the aperture; odd."""
        return int(self.lateral.shape[1])


def dye_optics(optics: Sequence[Optics], designed_for: float) -> DyeOptics:
    """Return the arrays of one microscope at each dye's wavelength.

    `optics` differ in nothing but the wavelength; the mask has its phases at the
    wavelength `designed_for`, in micrometres.
    """
    pupils = [make_pupil(each) for each in optics]
    return DyeOptics(
        *(
            np.stack(values).astype(np.float32)
            for values in (
                [np.abs(pupil.wave) for pupil in pupils],
                [np.angle(pupil.wave) for pupil in pupils],
                [pupil.axial[pupil.ring] for pupil in pupils],
                [
                    pupil.lateral * each.pixel
                    for pupil, each in zip(pupils, optics, strict=True)
                ],
                [designed_for / each.wavelength for each in optics],
            )
        )
    )


def shares(mask: Any, optics: DyeOptics, dye: Any, places: Any, side: int) -> Any:
    """Return the share of each molecule's light in each pixel, (n, side, side).

    Parameters
    ----------
    mask
        (k, k) phases in radians at the wavelength it is set for.
    optics
        From `dye_optics`.
    dye
        (n,) int32, number of each molecule's dye.
    places
        (n, 3): depth in micrometres, y and x in pixels from the centre of the first.
    side
        Edge of a window in pixels.
    """
    from keras import ops

    def of_dye(values: Array) -> Any:
        return ops.take(ops.convert_to_tensor(values), dye, axis=0)

    # Torch does not multiply its tensors with arrays of NumPy 2.
    mask, places = ops.convert_to_tensor(mask), ops.convert_to_tensor(places)
    delay = of_dye(optics.ratio)[:, None, None] * mask
    depth = places[:, 0, None, None] * of_dye(optics.axial)
    phase = of_dye(optics.phase) + depth + delay
    amplitude = of_dye(optics.amplitude)
    wave = amplitude * ops.cos(phase), amplitude * ops.sin(phase)
    pixels = ops.convert_to_tensor(np.arange(side, dtype=np.float32))
    lateral = of_dye(optics.lateral)[:, None, :]
    turns = [
        lateral * (places[:, axis, None, None] - pixels[None, :, None])
        for axis in (1, 2)
    ]
    rows = _product((ops.cos(turns[0]), ops.sin(turns[0])), wave)
    across = [ops.transpose(each(turns[1]), (0, 2, 1)) for each in (ops.cos, ops.sin)]
    real, imaginary = _product(rows, (across[0], across[1]))
    return ops.square(real) + ops.square(imaginary)


def _product(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the matrix product of complex numbers given as pairs of real ones."""
    from keras import ops

    real = ops.matmul(one[0], other[0]) - ops.matmul(one[1], other[1])
    imaginary = ops.matmul(one[0], other[1]) + ops.matmul(one[1], other[0])
    return real, imaginary


def phase_mask_layer(
    optics: DyeOptics, side: int, radians: float = 1.0
) -> keras.layers.Layer:
    """Return a layer whose one weight is the mask, flat at the start.

    It maps dyes (n,) and places (n, 3) to `shares`. The weight is in units of
    `radians`, so that a mask moves that many times as fast as the weights of a network
    that shares its optimiser.
    """
    import keras

    class PhaseMask(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        def __init__(self) -> None:
            super().__init__(name="phase_mask")
            self.mask = self.add_weight(
                (optics.edge, optics.edge), "zeros", name="mask"
            )

        def call(self, dye: Any, places: Any) -> Any:
            return shares(radians * self.mask, optics, dye, places, side)

        def compute_output_shape(
            self, dye_shape: Any, places_shape: Any
        ) -> tuple[Any, ...]:
            return (dye_shape[0], side, side)

    return PhaseMask()
