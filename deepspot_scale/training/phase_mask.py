"""A phase mask learned together with the network that tells dyes apart behind it.

A microscope, its dyes and what molecules look like come in; a mask and a network go
out. Each step simulates its own windows through the mask, whose noise is the normal
distribution of equal variance: counts that are drawn have no slope. Masks are kept as
an array beside the numbers of their microscope. Nothing here knows recorded movies.

    dye, place -> optics with mask -> photons, background, noise -> network -> dye
                       ^------------------ slope ------------------------|

Source: Nehme et al. 2020, https://doi.org/10.1038/s41592-020-0853-5; of the idea for
colour, Hershko et al. 2019, https://doi.org/10.1364/OE.27.006158.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.dye_windows import BRIGHTNESS
from deepspot_scale.networks import dye_classifier
from deepspot_scale.networks.keras_library import import_keras
from deepspot_scale.networks.phase_optics import (
    Array,
    dye_optics,
    phase_mask_layer,
)
from deepspot_scale.simulation.dyes import (
    DyeScene,
    PupilSpread,
    draw_molecules,
    dye_pupil,
)
from deepspot_scale.simulation.optics import Optics


@dataclass(frozen=True)
class MaskTraining:
    """How a mask and its network are trained."""

    side: int = 21
    """Edge of a window in pixels."""
    steps: int = 3000
    """Steps of the optimiser."""
    batch: int = 64
    """Windows of a step."""
    rate: float = 2e-3
    """Learning rate after the warm-up; a cosine leads down to zero."""
    radians: float = 10.0
    """How many times faster the mask is than the network; 0: it stays flat."""
    architecture: dye_classifier.Architecture = field(
        default_factory=dye_classifier.Architecture
    )
    """The network."""
    seed: int = 0
    """Of weights, molecules and noise."""


class LearnedMask(NamedTuple):
    """A mask and the network that reads images taken through it."""

    mask: Array
    """(k, k), radians at the wavelength it is set for."""
    network: Any
    """Keras model of scaled windows (n, side, side, 1)."""
    losses: list[float]
    """Cross-entropy of each step."""


def learn_mask(
    optics: Sequence[Optics],
    designed_for: float,
    scene: DyeScene,
    training: MaskTraining = MaskTraining(),
    on_step: Callable[[int, float], None] | None = None,
) -> LearnedMask:
    """Train a mask and a network from a flat mask and random weights.

    Parameters
    ----------
    optics
        The microscope at the wavelength of each dye.
    designed_for
        Wavelength at which the mask has its phases, micrometres.
    scene
        Photons, background and depths of the molecules.
    training
        Steps, rate, network.
    on_step
        Called with the number and the loss of each step.

    Raises
    ------
    SettingsError
        The optics are not of two dyes that differ only in wavelength.
    """
    _check(optics)
    keras = import_keras("training a phase mask")
    keras.utils.set_random_seed(training.seed)
    arrays = dye_optics(optics, designed_for)
    layer = phase_mask_layer(arrays, training.side, training.radians)
    network = dye_classifier.build(training.architecture, window=training.side)
    model = _joint_model(layer, network, training.side)
    model.compile(_optimiser(training), loss="categorical_crossentropy")
    rng, losses = np.random.default_rng(training.seed), []
    for step in range(training.steps):
        inputs, answers = _draw(scene, rng, training, len(optics))
        model.reset_metrics()
        losses.append(float(model.train_on_batch(inputs, answers)))
        if on_step is not None:
            on_step(step, losses[-1])
    mask = training.radians * layer.mask.numpy()
    return LearnedMask(np.asarray(mask, np.float32), network, losses)


def _check(optics: Sequence[Optics]) -> None:
    same = {json.dumps({**asdict(each), "wavelength": 0}) for each in optics}
    if len(optics) != dye_classifier.DYES or len(same) != 1:
        raise SettingsError(
            f"expected one microscope at {dye_classifier.DYES} wavelengths, got "
            f"{list(optics)}"
        )


def _optimiser(training: MaskTraining) -> Any:
    from keras import optimizers

    warm = training.steps // 20
    schedule = optimizers.schedules.CosineDecay(
        training.rate / 100,
        max(1, training.steps - warm),
        warmup_target=training.rate,
        warmup_steps=warm,
    )
    return optimizers.Adam(schedule, clipnorm=1.0)


def _joint_model(layer: Any, network: Any, side: int) -> Any:
    import keras

    dye = keras.Input((), dtype="int32", name="dye")
    places = keras.Input((3,), name="places")
    light = keras.Input((2,), name="light")
    noise = keras.Input((side, side), name="noise")
    images = keras.layers.Lambda(_noisy_windows, output_shape=(side, side, 1))(
        [layer(dye, places), light, noise]
    )
    return keras.Model([dye, places, light, noise], network(images))


def _noisy_windows(parts: Any) -> Any:
    """Return windows with noise, scaled as `kernels.dye_windows.scale_windows` does."""
    from keras import ops

    shares, light, noise = parts
    mean = light[:, :1, None] * shares + light[:, 1:, None]
    pixels = mean + ops.sqrt(mean) * noise
    side = pixels.shape[1]
    middle = ops.sum(pixels[:, 1:-1, 1:-1], axis=(1, 2), keepdims=True)
    rim = ops.sum(pixels, axis=(1, 2), keepdims=True) - middle
    above = pixels - rim / (4 * (side - 1))
    whole = ops.maximum(ops.sum(above, axis=(1, 2), keepdims=True), 1.0)
    return (BRIGHTNESS * above / whole)[..., None]


def _draw(
    scene: DyeScene, rng: np.random.Generator, training: MaskTraining, dyes: int
) -> tuple[list[NDArray[Any]], Array]:
    """Return the inputs and answers of one step."""
    n, side = training.batch, training.side
    dye = rng.integers(dyes, size=n).astype(np.int32)
    places, photons, background = draw_molecules(scene, rng, n, side)
    noise = rng.standard_normal((n, side, side), np.float32)
    light = np.column_stack([photons, background])
    answers = np.eye(dyes, dtype=np.float32)[dye][:, None, None]
    inputs = [dye, places.astype(np.float32), light.astype(np.float32), noise]
    return inputs, answers


def write_mask(
    path: Path, mask: Array, optics: Sequence[Optics], designed_for: float
) -> None:
    """Write a mask as PATH.npy, and its microscope as PATH.json."""
    np.save(path.with_suffix(".npy"), mask)
    text = {"designed_for": designed_for, "optics": [asdict(each) for each in optics]}
    path.with_suffix(".json").write_text(json.dumps(text, indent=1) + "\n", "utf-8")


def read_mask(path: Path) -> tuple[Array, tuple[Optics, ...], float]:
    """Return what `write_mask` was given.

    Raises
    ------
    SettingsError
        A file is missing, or the microscope's numbers are not those of `Optics`.
    """
    try:
        mask = np.load(path.with_suffix(".npy"))
        text = json.loads(path.with_suffix(".json").read_text("utf-8"))
        optics = tuple(Optics(**each) for each in text["optics"])
        return mask, optics, float(text["designed_for"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(
            f"{path} is no mask: expected an array .npy and its microscope .json, as "
            f"`write_mask` writes them ({error})"
        ) from error


def mask_figure(
    mask: Array,
    optics: Sequence[Optics],
    designed_for: float,
    depths: Sequence[float],
    side: int = 21,
) -> Figure:
    """Return a drawing of a mask and of each dye's image at some depths.

    Depths are micrometres; every image has its own brightness.
    """
    figure = Figure(figsize=(2.6 + 1.3 * len(depths), 2.8), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(2.4, 1.3 * len(depths)))
    left, right = parts
    axes = left.add_subplot()
    wrapped = np.angle(np.exp(1j * mask))
    shown = axes.imshow(wrapped, cmap="twilight", vmin=-np.pi, vmax=np.pi)
    axes.set_title("mask", fontsize=9)
    axes.set_axis_off()
    left.colorbar(shown, orientation="horizontal", label="radians")
    grid = right.subplots(len(optics), len(depths), squeeze=False)
    middle = (side - 1) / 2
    places = np.array([[depth, middle, middle] for depth in depths])
    for row, each in zip(grid, optics, strict=True):
        images = PupilSpread(dye_pupil(each, mask, designed_for), side)(places)
        for cell, image, depth in zip(row, images, depths, strict=True):
            cell.imshow(image, cmap="gray")
            cell.set_title(f"{each.wavelength * 1e3:.0f} nm, {depth:g} um", fontsize=7)
            cell.set_axis_off()
    return figure
