"""What makes a photograph of smFISH worse: declared, composable, each with a severity.

A `Degradation` names one of `KINDS` and says how severe it is, from 0 (nothing is
changed) to 1; it changes a scene before it is photographed, or the stored counts. Its
own seed draws its pattern, so the same degradation at a greater severity is the same
one, only worse. Nothing here knows detectors or scores.

    scene -> photons, blur ... -> photograph -> saturation, smoothing ... -> image
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import cv2
import numpy as np

from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.simulation.drawing import Image, log_uniform, smooth_noise
from deepspot_scale.simulation.fish_scenes import FishScene, debris, smear

Chance = np.random.Generator
OfScene = Callable[[FishScene, float, Chance], FishScene]
"""Makes a scene worse, by a severity above 0; the generator draws the pattern."""
OfCounts = Callable[[Image, float, Chance], Image]
"""Makes stored counts worse; it may give any numbers, which are rounded after it."""


class Kind(NamedTuple):
    """One way in which images are bad."""

    meaning: str
    """In words."""
    of_scene: OfScene | None = None
    """How it changes a scene; None: it changes stored counts."""
    of_counts: OfCounts | None = None
    """How it changes stored counts; None: it changes a scene."""
    everywhere: bool = True
    """Whether every part of an image is worse with more of it."""


@dataclass(frozen=True)
class Degradation:
    """One way in which an image is bad, and how bad it is.

    Examples
    --------
    >>> Degradation("blur", 0.5).worse(0.7).severity
    0.7
    """

    kind: str
    """A name of `KINDS`."""
    severity: float
    """0: not at all; 1: little is left."""
    seed: int = 0
    """Of its pattern, such as where debris lies."""

    def __post_init__(self) -> None:
        """Check name and range."""
        if self.kind not in KINDS:
            raise SettingsError(
                f"no degradation {self.kind!r}: expected one of {', '.join(KINDS)}."
                f"{did_you_mean(self.kind, KINDS)}"
            )
        if not 0 <= self.severity <= 1:
            raise SettingsError(f"a severity is 0 to 1, got {self.severity}")

    def worse(self, severity: float) -> Degradation:
        """Return the same one with another severity."""
        return replace(self, severity=severity)


def photograph(
    scene: FishScene, degradations: Sequence[Degradation], rng: Chance
) -> Image:
    """Return the stored counts (y, x) of a scene with some degradations.

    Those of scenes are applied in their order, then the camera's noise is drawn from
    `rng`, then those of stored counts are applied in theirs.
    """
    for each in degradations:
        change = KINDS[each.kind].of_scene
        if change is not None and each.severity:
            scene = change(scene, each.severity, np.random.default_rng(each.seed))
    return spoil(scene.photograph(rng), degradations, top=scene.file.top)


def spoil(
    counts: Image, degradations: Sequence[Degradation], *, top: float = 65535.0
) -> Image:
    """Return stored counts (y, x), whole and at most `top`, with some degradations.

    Only those of stored counts are applied.
    """
    for each in degradations:
        change = KINDS[each.kind].of_counts
        if change is not None and each.severity:
            worse = change(counts, each.severity, np.random.default_rng(each.seed))
            counts = np.asarray(np.clip(np.round(worse), 0, top), np.float32)
    return counts


# -- before the camera -----------------------------------------------------------------


def _photons(scene: FishScene, severity: float, _: Chance) -> FishScene:
    share = np.float32(10 ** (-1.5 * severity))
    return replace(scene, light=scene.light * share, glow=scene.glow * share)


def _bleaching(scene: FishScene, severity: float, rng: Chance) -> FishScene:
    """Fade spots more than what surrounds them, here more and there less."""
    uneven = 0.7 + 0.3 * smooth_noise(rng, _shape(scene), 200.0)
    left = np.asarray(10 ** (-1.3 * severity * uneven), np.float32)
    rest = np.float32(10 ** (-0.3 * severity))
    return replace(scene, light=scene.light * rest, glow=scene.glow * left)


def _blur(scene: FishScene, severity: float, _: Chance) -> FishScene:
    sigma = 4.0 * severity
    light, glow = (
        np.asarray(cv2.GaussianBlur(each, (0, 0), sigma), np.float32)
        for each in (scene.light, scene.glow)
    )
    return replace(scene, light=light, glow=glow)


def _defocus(scene: FishScene, severity: float, _: Chance) -> FishScene:
    """Turn the light of every point into a disc."""
    return _smeared(scene, _disc(7.0 * severity))


def _disc(radius: float) -> Any:
    reach = int(np.ceil(radius)) + 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.clip(radius + 0.5 - np.hypot(y, x), 0, 1) + 1e-6


def _motion(scene: FishScene, severity: float, rng: Chance) -> FishScene:
    """Move the sample along a line while it is exposed."""
    angle, length = rng.uniform(0, 2 * np.pi), 12.0 * severity
    reach = int(np.ceil(length)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    for part in np.linspace(-length / 2, length / 2, 8 * reach):
        y, x = reach + part * np.sin(angle), reach + part * np.cos(angle)
        row, column = int(y), int(x)
        near = np.outer([row + 1 - y, y - row], [column + 1 - x, x - column])
        kernel[row : row + 2, column : column + 2] += near
    return _smeared(scene, kernel)


def _smeared(scene: FishScene, kernel: Any) -> FishScene:
    light, glow = smear(scene.light, kernel), smear(scene.glow, kernel)
    return replace(scene, light=light, glow=glow)


def _background(scene: FishScene, severity: float, _: Chance) -> FishScene:
    typical = float(np.median(scene.light)) + 5
    more = np.float32(typical * (10 ** (1.6 * severity) - 1))
    return replace(scene, light=scene.light + more)


def _haze(scene: FishScene, severity: float, rng: Chance) -> FishScene:
    """Add light from above and below the focus, with broad structures."""
    scale = float(log_uniform(rng, 10, 100))
    typical = float(np.median(scene.light)) + 5
    structure = smooth_noise(rng, _shape(scene), scale)
    more = np.float32(typical * (10 ** (1.5 * severity) - 1)) * (0.2 + structure)
    return replace(scene, light=np.asarray(scene.light + more, np.float32))


def _stripes(scene: FishScene, severity: float, rng: Chance) -> FishScene:
    """Let the camera's lines differ in their dark level, or light come in fringes."""
    rows = scene.light.shape[0]
    if rng.random() < 0.5:
        noise = float(np.median(scene.camera.level(scene.light)))
        lines = rng.standard_normal((rows, 1)).astype(np.float32)
        stripes = np.broadcast_to(4 * severity * noise * lines, scene.light.shape)
        light = scene.light + (stripes.T if rng.random() < 0.5 else stripes)
        return replace(scene, light=np.asarray(light, np.float32))
    y, x = np.indices(scene.light.shape, np.float32)
    angle, period = rng.uniform(0, np.pi), log_uniform(rng, 6, 60)
    wave = np.sin(2 * np.pi * (y * np.sin(angle) + x * np.cos(angle)) / period)
    share = np.asarray(1 - 0.45 * severity * (1 + wave), np.float32)
    return replace(scene, light=scene.light * share, glow=scene.glow * share)


def _debris(scene: FishScene, severity: float, rng: Chance) -> FishScene:
    n = 1 + int(30 * severity)
    typical = float(np.quantile(scene.glow, 0.999)) + float(np.median(scene.light))
    bright = typical * float(log_uniform(rng, 0.5, 20)) * (0.3 + severity)
    dirt = bright * debris(rng, _shape(scene), n)
    return replace(scene, light=np.asarray(scene.light + dirt, np.float32))


def _read_noise(scene: FishScene, severity: float, _: Chance) -> FishScene:
    least = float(np.median(scene.camera.level(scene.light)))
    noise = scene.camera.read_noise + np.float32(least * (10 ** (1.2 * severity) - 1))
    return replace(scene, camera=scene.camera._replace(read_noise=noise))


def _shape(scene: FishScene) -> tuple[int, int]:
    return scene.light.shape[0], scene.light.shape[1]


# -- behind the camera -----------------------------------------------------------------


def _saturation(counts: Image, severity: float, _: Chance) -> Image:
    dark, bright = float(np.median(counts)), float(counts.max())
    return np.minimum(
        counts, np.float32(dark + (bright - dark) * 10 ** (-2 * severity))
    )


def _smoothing(counts: Image, severity: float, _: Chance) -> Image:
    return np.asarray(cv2.GaussianBlur(counts, (0, 0), 3.5 * severity), np.float32)


def _averaging(counts: Image, severity: float, _: Chance) -> Image:
    return smear(counts, _disc(6.0 * severity))


def _resampling(counts: Image, severity: float, _: Chance) -> Image:
    """Reduce and enlarge again."""
    height, width = counts.shape
    share = 1 / (1 + 4 * severity)
    small = (max(2, round(width * share)), max(2, round(height * share)))
    reduced = cv2.resize(counts, small, interpolation=cv2.INTER_AREA)
    large = cv2.resize(reduced, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.float32)


class _Electrons(NamedTuple):
    """A guess how many photons stood behind stored counts."""

    dark: float
    gain: float

    @classmethod
    def guess(cls, counts: Image, rng: Chance) -> _Electrons:
        dark, bright = (float(np.quantile(counts, q)) for q in (0.001, 0.999))
        most = float(log_uniform(rng, 30, 5000))
        return cls(dark, max(bright - dark, 1.0) / most)

    def of(self, counts: Image) -> Image:
        above = (counts - np.float32(self.dark)) / np.float32(self.gain)
        return np.asarray(np.maximum(above, 0), np.float32)

    def counts(self, electrons: Any) -> Image:
        return np.asarray(self.dark + self.gain * electrons, np.float32)


def _thinning(counts: Image, severity: float, rng: Chance) -> Image:
    """Take counted photons away at random; a gain may make up for it."""
    known = _Electrons.guess(counts, rng)
    share, made_up = 10 ** (-1.6 * severity), rng.random() < 0.5
    left = rng.poisson(known.of(counts) * share)
    return known.counts(left / share if made_up else left)


def _glare(counts: Image, severity: float, rng: Chance) -> Image:
    """Add light everywhere, with its own shot noise."""
    known = _Electrons.guess(counts, rng)
    most = float(known.of(counts).max())
    more = rng.poisson(most * (10 ** (1.2 * severity) - 1) * 0.3, counts.shape)
    return known.counts(known.of(counts) + more)


def _veil(counts: Image, severity: float, rng: Chance) -> Image:
    """Add smooth light with structures, with its own shot noise."""
    known = _Electrons.guess(counts, rng)
    most = float(known.of(counts).max())
    height, width = counts.shape
    shape = smooth_noise(rng, (height, width), float(log_uniform(rng, 8, 80)))
    more = rng.poisson(most * (10 ** (1.2 * severity) - 1) * 0.5 * shape)
    return known.counts(known.of(counts) + more)


def _noise(counts: Image, severity: float, rng: Chance) -> Image:
    fine = float(np.median(np.abs(np.diff(counts, axis=1)))) + 0.5
    bright = float(np.quantile(counts, 0.999) - np.median(counts))
    spread = fine * (max(bright / fine, 4.0) ** severity - 1)
    drawn = rng.standard_normal(counts.shape, dtype=np.float32)
    return np.asarray(counts + spread * drawn, np.float32)


KINDS: Final[dict[str, Kind]] = {
    "photons": Kind("fewer photons of everything", _photons),
    "bleaching": Kind("spots fade more than what surrounds them", _bleaching),
    "blur": Kind("a wider point spread function", _blur),
    "defocus": Kind("points become discs", _defocus),
    "motion": Kind("the sample moved while it was exposed", _motion),
    "background": Kind("light everywhere", _background),
    "haze": Kind("light from out of focus", _haze),
    "stripes": Kind("lines or fringes", _stripes, everywhere=False),
    "debris": Kind("bright bodies", _debris, everywhere=False),
    "read_noise": Kind("a noisier camera", _read_noise),
    "saturation": Kind(
        "bright counts are cut", of_counts=_saturation, everywhere=False
    ),
    "smoothing": Kind("stored counts are blurred", of_counts=_smoothing),
    "averaging": Kind("stored counts are averaged over discs", of_counts=_averaging),
    "resampling": Kind("reduced and enlarged", of_counts=_resampling),
    "thinning": Kind("counted photons are taken away", of_counts=_thinning),
    "glare": Kind("light is added to stored counts", of_counts=_glare),
    "veil": Kind("smooth light is added to stored counts", of_counts=_veil),
    "noise": Kind("noise is added to stored counts", of_counts=_noise),
}
"""The kinds by name: those of scenes first."""
