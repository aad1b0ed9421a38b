"""What every detector is, and what it ends in: the spot table of one block.

Places in pixels of the field come in, rows go out; intensity, SNR and the place
between pixels are measured on the raw image, whoever found the spots. Nothing here
knows how they are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import BRIGHTNESS, IMAGE
from deepspot_scale.blockwise.contract import Answers, BlockContext, Key, Step
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.blockwise.identity import in_reading_order
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels import peaks


def reach(step: int = 1) -> int:
    """Return the pixels around a spot that `measure_spots` reads: the least halo."""
    return step * peaks.RING_REACH + 2


class Detector(Protocol):
    """Anything that finds spots, block by block.

    It may also have a `grid`, the stride in pixels that blocks must begin on, and
    `files`, paths that decide about its answer: a run does not go on with others.
    """

    @property
    def on(self) -> Literal["enhanced", "raw"]:
        """The image it works on: enhanced, in [0, 1], or raw counts."""

    @property
    def halo(self) -> int:
        """Pixels around a block's core that decide about the core's spots."""

    def binned(self, binning: int) -> Detector:
        """Return the detector of spots that are wider by a factor, a power of 2.

        The network then sees large pixels; the image in use keeps its own.
        """

    def steps(self, layer: str) -> tuple[Step, ...]:
        """Return the steps that find spots, of which the last gives `DETECTED`.

        They read the image in use, `layer`, with the halo as margin. All may read the
        raw counts `answers.IMAGE`, and want the field's `answers.BRIGHTNESS` agreed.
        """


def require_detector(method: Any) -> Detector:
    """Return `method` if it is a detector.

    Raises
    ------
    SettingsError
        It lacks what `Detector` asks for.
    """
    if isinstance(method, type):
        raise SettingsError(
            f"a detector is an object, {method.__name__} is a class; make one of it: "
            f"{method.__name__}(...)"
        )
    parts = ("on", "halo", "binned", "steps")
    lacking = [name for name in parts if not hasattr(method, name)]
    if lacking:
        name = getattr(method, "__name__", type(method).__name__)
        raise SettingsError(
            f"{name} is no detector, it has no {', no '.join(lacking)}; a function "
            f"from an image to points becomes one by PointDetector({name}, halo=...)"
        )
    detector: Detector = method
    return detector


class Candidates(NamedTuple):
    """Spots before photometry, in pixels of the field."""

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    centre: NDArray[np.float64] | None
    """(2, n) places that are kept as they are; None: refined on the raw image."""
    area: NDArray[np.int64]
    """Pixels of each object; 0 where the detector does not tell."""
    n_dropped: int
    """Peaks left out because their object is larger than allowed."""

    def only(self, chosen: NDArray[np.bool_]) -> Candidates:
        """Return some of the spots."""
        centre = None if self.centre is None else self.centre[:, chosen]
        y, x, area = (values[chosen] for values in (self.y, self.x, self.area))
        return Candidates(y, x, centre, area, self.n_dropped)


class Spots(NamedTuple):
    """The spots of one block's core, or of a field."""

    table: pd.DataFrame
    """Columns y to snr and area of the vocabulary, pixels in the field."""
    n_dropped: int
    """Peaks left out because their object is larger than allowed."""
    n_faint: int = 0
    """Spots left out: far fainter than typical of the field, doubtful, or beside
    pixels that were not imaged."""
    n_crowded: int = 0
    """Clear spots below the field's threshold, whether kept or not."""

    def __add__(self, other: object) -> Spots:
        """Put two blocks' spots together."""
        if not isinstance(other, Spots):
            return NotImplemented
        both = pd.concat([self.table, other.table], ignore_index=True)
        counts = zip(self[1:], other[1:], strict=True)
        return Spots(both, *(one + another for one, another in counts))


def inside(core: Box, y: NDArray[np.int64], x: NDArray[np.int64]) -> Any:
    """Return whether each pixel lies in the core: then the block owns the spot."""
    return (
        (core.y.start <= y)
        & (y < core.y.stop)
        & (core.x.start <= x)
        & (x < core.x.stop)
    )


def nearest_pixel(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the pixel that holds each place; between two, the later."""
    return np.floor(values + 0.5).astype(np.int64)


SLACK = 8
"""Pixels that a spot's place between pixels may lie beyond its block's core."""
DETECTED: Key[Spots] = Key("detected")
"""Spots as a detector finds them."""
ASSIGNED: Key[Spots] = Key("assigned")
"""The same spots with the labels of their cells and nuclei."""


def measure_spots(
    found: Candidates,
    value: NDArray[np.float32],
    here: BlockContext,
    agreed: Answers,
    *,
    step: int = 1,
) -> Spots:
    """Return the table of a block's spots, without their cells.

    Parameters
    ----------
    found
        Spots that the block's core holds.
    value
        (n,) the image in use at each spot as a share of its range, 0 to 1.
    here, agreed
        The block, and the field's answers, `answers.BRIGHTNESS` among them.
    step
        Pixels between the points that make place, intensity and SNR; more than 1 for
        wide spots. `reach` tells how far around the core is read.
    """
    if found.area.size == 0:
        empty = [np.zeros(0)] * 5
        return Spots(spot_table(found.area, empty[:2], *empty[2:]), found.n_dropped)
    box = here.block.core.grow(reach(step), here.shape)
    raw, brightness = here.read(IMAGE, box), agreed[BRIGHTNESS]
    y, x = found.y - box.y.start, found.x - box.x.start
    n_cut = 0
    if brightness.fill is not None:
        whole = ~peaks.beside(raw, y, x, brightness.fill)
        found, value, y, x = found.only(whole), value[whole], y[whole], x[whole]
        n_cut = int((~whole).sum())
    least_noise = brightness.least_noise
    intensity, snr = peaks.photometry(raw, y, x, least_noise=least_noise, step=step)
    if found.centre is None:
        origin = box.y.start, box.x.start
        at_y, at_x = peaks.refine(raw, y, x, origin, step=step)
    else:
        at_y, at_x = found.centre
    table = spot_table(found.area, (at_y, at_x), value, intensity, snr)
    return Spots(table, found.n_dropped, n_cut)


def spot_table(
    area: NDArray[np.int64],
    places: Sequence[NDArray[np.float64]],
    value: NDArray[Any],
    intensity: NDArray[Any],
    snr: NDArray[Any],
) -> pd.DataFrame:
    """Return the table of a block's spots, at (y, x) or (z, y, x) of the field."""
    axes = "zyx"[-len(places) :]
    columns: dict[str, Any] = {
        **dict(zip(axes, places, strict=True)),
        "enhanced": value.astype(np.float32),
        "intensity": intensity.astype(np.float32),
        "snr": snr.astype(np.float32),
        "area": area.astype(np.int32),
        "probability": np.full(area.size, np.nan, np.float32),
        "molecules": np.full(area.size, np.nan, np.float32),
        "site": np.zeros(area.size, bool),
        "cell": np.zeros(area.size, np.int64),
        "nucleus": np.zeros(area.size, np.int64),
        "cluster": np.zeros(area.size, np.int64),
    }
    return pd.DataFrame(columns)


def order_spots(spots: Spots, _: Answers) -> Spots:
    """Return a field's spots in reading order, whatever the order of its blocks."""
    return spots._replace(table=in_reading_order(spots.table))
