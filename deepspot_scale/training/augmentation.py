"""Random changes of training images: one declared list for all tasks.

An image and what is known of it come in, both changed alike go out. The changes stand
here in the order in which they are done:

| change | image | points | labels, masks | paired image |
| --- | --- | --- | --- | --- |
| scale, stretch, any_angle, elastic | interpolated | moved | nearest | interpolated |
| blur | yes | - | - | - |
| gamma, gradient, gain, offset | yes | - | - | the same |
| noise | yes | - | - | - |
| turns, flips | exact | exact | exact | exact |

A paired image shows the same place, such as the clean image of a noisy one. With any
change of the first line, turns and flips are part of its map. Random numbers are drawn
only for what is on, so a recipe that leaves out the newer changes gives the batches it
always gave. Images are normalised before. Nothing here knows networks, or where images
come from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from scipy.ndimage import gaussian_filter

from deepspot_scale.config import Strict
from deepspot_scale.kernels.warping import PatchMap, bend_of
from deepspot_scale.simulation.drawing import Image, Points

Labels = NDArray[np.integer]
_KNOTS: Final = 48
"""Pixels between places that are displaced on their own."""


def _ordered(ends: tuple[float, float]) -> tuple[float, float]:
    if not 0 < ends[0] <= ends[1]:
        raise ValueError(f"expected [least, most], both above 0, got {list(ends)}")
    return ends


Factors = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Least and most of a factor, both above 0."""


class Augmentation(Strict):
    """Random changes of a patch: the table [augmentation] of a recipe."""

    turns: bool = True
    """Whether patches are turned by 0, 90, 180 or 270 degrees."""
    flips: bool = True
    """Whether half of the patches are mirrored."""
    any_angle: bool = False
    """Whether half of the patches are turned by any angle instead."""
    scale: Factors = (1.0, 1.0)
    """Least and most factor of size; its logarithm is uniform."""
    stretch: float = Field(default=0.0, ge=0, lt=1)
    """Largest share by which one axis is longer."""
    elastic: float = Field(default=0.0, ge=0)
    """Largest displacement in pixels of places that are 48 px apart."""
    blur: float = Field(default=0.0, ge=0)
    """Largest standard deviation of a blur in pixels; half of the patches have none."""
    gamma: Factors = (1.0, 1.0)
    """Least and most exponent of normalised values above 0."""
    gradient: float = Field(default=0.0, ge=0)
    """Largest share by which the light differs over a patch."""
    gain: float = Field(default=0.5, ge=0)
    """Largest natural logarithm, of either sign, of a patch's gain."""
    offset: float = Field(default=0.05, ge=0)
    """Largest offset, of either sign, in units of the normalised range."""
    noise: float = Field(default=0.02, ge=0)
    """Largest standard deviation of the normal noise added to patches of annotated
    images, in the same units; simulated spots bring noise of their own."""
    faint_noise: bool = False
    """Whether most patches have little noise: the root of its standard deviation, not
    the standard deviation, is uniform."""

    @property
    def is_map(self) -> bool:
        """Whether patches are more than turned and mirrored."""
        mapped = self.any_angle or self.stretch or self.elastic
        return bool(mapped or self.scale != (1.0, 1.0))


UNCHANGED: Final = Augmentation(turns=False, flips=False, gain=0, offset=0, noise=0)
"""No change at all."""
TURNED: Final = Augmentation(gain=0, offset=0, noise=0)
"""Turns and flips alone."""
OBJECTS: Final = Augmentation(
    any_angle=True,
    scale=(0.5, 1.8),
    stretch=0.15,
    elastic=4.0,
    blur=1.5,
    gamma=(0.6, 1.6),
    gradient=0.3,
    offset=0.08,
    noise=0.12,
    faint_noise=True,
)
"""That of networks of objects: what nuclei look like differs more than spots do."""
DEFAULTS: Final = {
    "star_convex": OBJECTS,
    "denoiser": TURNED,
    "rater": TURNED,
    "rating_cnn": TURNED,
}
"""What a recipe's table leaves out, by family; others take `Augmentation()`."""


@dataclass(frozen=True, eq=False)
class Example:
    """One image and what is known of it; what is None is not known."""

    image: Image
    """(y, x, channels), normalised."""
    points: Points | None = None
    """(n, 2), in pixels."""
    labels: Labels | None = None
    """(y, x), labels of objects, or a mask."""
    paired: Image | None = None
    """(y, x, channels), another image of the same place."""


def augment(
    whole: Example, how: Augmentation, edge: int, rng: np.random.Generator
) -> Example:
    """Cut a patch of `edge` pixels from an image at random, and change it at random.

    Without a map the image has at least `edge` pixels along y and x. Points of the
    image that lie outside the patch stay in the list.
    """
    shape = (whole.image.shape[0], whole.image.shape[1])
    if how.is_map:
        patch = move(whole, draw_map(how, edge, shape, rng))
        return relight(patch, how, rng)
    corner = tuple(int(rng.integers(0, n - edge + 1)) for n in shape)
    patch = relight(_cut(whole, corner, edge), how, rng)
    return turn(patch, draw_turn(how, edge, rng))


# -- places ----------------------------------------------------------------------------


class Turn(NamedTuple):
    """Turns in the plane of y and x, the last two axes of space, then mirrors y."""

    edge: int
    """Pixels along y and x."""
    turns: int
    """Quarter turns."""
    mirrored: bool
    """Whether y is mirrored after them."""

    def image(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return an image (*space, channels)."""
        y, x = image.ndim - 3, image.ndim - 2
        turned = np.rot90(image, self.turns, (y, x))
        return np.flip(turned, y) if self.mirrored else turned

    def points(self, points: Points) -> Points:
        """Return points (n, d), of which y and x are the last two axes."""
        y, x = points[:, -2], points[:, -1]
        for _ in range(self.turns):
            y, x = self.edge - 1 - x, y
        y = self.edge - 1 - y if self.mirrored else y
        return np.column_stack([points[:, :-2], y, x])


def draw_turn(how: Augmentation, edge: int, rng: np.random.Generator) -> Turn:
    """Return a turn; of those that are on, each is as likely."""
    turns = int(rng.integers(4)) if how.turns else 0
    mirrored = bool(rng.choice([-1, 1]) < 0) if how.flips else False
    return Turn(edge, turns, mirrored)


def draw_map(
    how: Augmentation, edge: int, shape: tuple[int, int], rng: np.random.Generator
) -> PatchMap:
    """Return the map of a patch of `edge` pixels, of an image of a shape."""
    scale, stretch, angle = 1.0, 1.0, 0.0
    if how.scale != (1.0, 1.0):
        scale = float(np.exp(rng.uniform(*np.log(how.scale))))
    if how.stretch:
        stretch = 1 + rng.uniform(-how.stretch, how.stretch)
    if how.any_angle and rng.random() < 0.5:
        angle = rng.uniform(0, 2 * np.pi)
    elif how.turns:
        angle = float(np.pi / 2 * rng.integers(4))
    mirrored = bool(rng.choice([-1.0, 1.0]) < 0) if how.flips else False
    bend = (
        (_draw_bend(how, edge, rng), _draw_bend(how, edge, rng))
        if how.elastic
        else None
    )
    reach = edge / scale / 2
    # The centre of the first pixel is 0.
    top, left = (
        rng.uniform(min(reach, n / 2), max(n - reach, n / 2)) - 0.5 for n in shape
    )
    return PatchMap(edge, (top, left), scale, stretch, angle, mirrored, bend)


def _draw_bend(
    how: Augmentation, edge: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    n = max(2, edge // _KNOTS) + 1
    knots = rng.uniform(-how.elastic, how.elastic, (n, n)) * rng.random()
    return bend_of(knots, edge)


def move(whole: Example, by: PatchMap) -> Example:
    """Return the patch of an example that a map cuts."""
    shape = (whole.image.shape[0], whole.image.shape[1])
    return Example(
        _move_channels(whole.image, by),
        None if whole.points is None else by.points(whole.points, shape),
        None if whole.labels is None else by.labels(whole.labels),
        None if whole.paired is None else _move_channels(whole.paired, by),
    )


def _move_channels(image: Image, by: PatchMap) -> Image:
    return np.moveaxis(by.image(np.moveaxis(image, -1, 0)), 0, -1)


def turn(patch: Example, by: Turn) -> Example:
    """Return an example turned and mirrored, to the bit."""
    labels = patch.labels
    return Example(
        by.image(patch.image),
        None if patch.points is None else by.points(patch.points),
        None if labels is None else by.image(labels[..., None])[..., 0],
        None if patch.paired is None else by.image(patch.paired),
    )


def _cut(whole: Example, corner: tuple[int, ...], edge: int) -> Example:
    window = tuple(slice(start, start + edge) for start in corner)
    return Example(
        whole.image[window],
        None if whole.points is None else whole.points - corner,
        None if whole.labels is None else whole.labels[window],
        None if whole.paired is None else whole.paired[window],
    )


# -- brightness ------------------------------------------------------------------------


def relight(patch: Example, how: Augmentation, rng: np.random.Generator) -> Example:
    """Return an example with another blur, brightness and noise."""
    image: NDArray[Any] = patch.image
    paired = patch.paired
    if how.blur and rng.random() < 0.5:
        sigma = rng.uniform(0, how.blur)
        sigmas = (0.0,) * (image.ndim - 3) + (sigma, sigma, 0.0)
        image = gaussian_filter(image, sigmas)
    light = _draw_light(how, image.shape, rng)
    image = light(image)
    if how.noise:
        share = rng.random()
        spread = how.noise * (share**2 if how.faint_noise else share)
        image = image + spread * rng.standard_normal(image.shape)
    return replace(patch, image=image, paired=None if paired is None else light(paired))


class _Light(NamedTuple):
    """One change of brightness."""

    power: np.float32
    slope: NDArray[np.float64] | None
    gain: float
    offset: float

    def __call__(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return an image (*space, channels)."""
        if self.power != 1:
            above = np.maximum(image, 0) ** self.power
            image = np.where(image > 0, above, image)
        if self.slope is not None:
            image = image * self.slope
        return image * self.gain + self.offset


def _draw_light(
    how: Augmentation, shape: tuple[int, ...], rng: np.random.Generator
) -> _Light:
    power, slope = 1.0, None
    if how.gamma != (1.0, 1.0):
        power = rng.uniform(*how.gamma)
    if how.gradient:
        rise = rng.uniform(-how.gradient, how.gradient, 2) * rng.random()
        y, x = (np.linspace(-1, 1, n) for n in shape[-3:-1])
        slope = (1 + rise[0] * y[:, None] + rise[1] * x)[..., None]
    gain = np.exp(rng.uniform(-how.gain, how.gain))
    return _Light(np.float32(power), slope, gain, rng.uniform(-how.offset, how.offset))
