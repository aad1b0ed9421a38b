"""The verb *detect*: images in, tables of spots out.

A detector surveys each block (wavelet sums that make the field's threshold, and the
few pixels that could pass any threshold), then finds the spots whose peak lies in the
block's core. `IcyDetector` and `ProductDetector` differ in their thresholds alone.
Nothing here knows networks, files or plates.

What decides about a pixel reaches no farther than `halo`, and all sums are of whole
numbers, so the blocks of a field give exactly the spots of the whole field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.brightness import Normalisation
from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK, Box, plan_blocks
from deepspot_scale.blockwise.mapping import check_image, iter_planes, reduce_plane
from deepspot_scale.blockwise.reduction import (
    FieldAnswers,
    Here,
    Pixels,
    Step,
    everything,
)
from deepspot_scale.blockwise.tables import (
    PlaneIdentity,
    gather_tables,
    identify,
    in_reading_order,
    plane_identity,
)
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels import peaks, wavelet
from deepspot_scale.kernels.thresholds import (
    IcyThreshold,
    ProductThreshold,
    Threshold,
)
from deepspot_scale.vocabulary import SPOTS

Planes = NDArray[np.float32]


class Survey(NamedTuple):
    """What one block says before the threshold is known."""

    state: NDArray[np.int64]
    """Mergeable sums over the core."""
    box: Box
    """The core and what objects may reach around it."""
    places: NDArray[np.int64]
    """(n,) places in the flattened box of pixels that could pass."""
    planes: Planes
    """(scales, n) wavelet coefficients there."""
    response: Planes
    """(n,) what peaks are peaks of."""
    values: NDArray[np.float32]
    """(n,) the surveyed image, 0..65535."""


class Spots(NamedTuple):
    """The spots of one block's core, or of a field."""

    table: pd.DataFrame
    """Columns y to snr and area of the vocabulary, pixels in the field."""
    n_dropped: int
    """Peaks left out because their object is larger than allowed."""

    def __add__(self, other: object) -> Spots:
        """Put two blocks' spots together."""
        if not isinstance(other, Spots):
            return NotImplemented
        both = pd.concat([self.table, other.table], ignore_index=True)
        return Spots(both, self.n_dropped + other.n_dropped)


@dataclass(frozen=True)
class WaveletDetector:
    """Spots are what stands out at every one of some wavelet scales.

    Use `PRESETS` by name, or `dataclasses.replace` on one of them.
    """

    scales: tuple[int, ...]
    """Wavelet scales s >= 1 in use; spots of about 2^s pixels."""
    threshold: Threshold
    """How each scale's threshold follows from the whole field."""
    on: Literal["enhanced", "raw"] = "enhanced"
    """enhanced: the image lies in [0, 1]; raw: its range is measured in each field."""
    floor: float = 0.0
    """Least value that a pixel of a spot has, as a share of the image's range."""
    split: Literal["peaks", "components"] = "peaks"
    """Touching spots: one for each local maximum, or one for each connected region."""
    min_area: int = 1
    """Objects of fewer pixels are no spots."""
    largest: int = 16
    """Objects that reach this far, in pixels, are dropped and counted."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.scales or min(self.scales) < 1 or max(self.scales) > 6:
            raise SettingsError(f"wavelet scales lie in 1..6, got {self.scales}")
        if self.split not in {"peaks", "components"}:
            raise SettingsError(f"split is peaks or components, not {self.split!r}")
        if self.largest < 2 or self.min_area < 1:
            raise SettingsError("largest must be at least 2 px, min_area at least 1 px")

    @property
    def rim(self) -> int:
        """Pixels around the core in which objects of its spots may lie."""
        # One more than the object: its last pixel's neighbours decide the way up.
        return max(self.largest + 1, peaks.RING_REACH + 2)

    @property
    def halo(self) -> int:
        """Pixels around the core that the detector reads: rim and filter reach."""
        return self.rim + wavelet.reach(max(self.scales))

    # -- first round: the survey -------------------------------------------------

    def survey(self, pixels: Pixels, core: Box, *, low: float, high: float) -> Survey:
        """Survey one block.

        Parameters
        ----------
        pixels
            The image in use on the core and `halo` around it (less at field edges).
        core
            The pixels that count for the field's sums.
        low, high
            Range of the image, mapped to whole numbers 0..65535.
        """
        image = wavelet.quantise(pixels.values, low, high)
        planes = wavelet.planes(image, max(self.scales))
        used = np.stack([planes[scale - 1] for scale in self.scales])
        fine = planes[0] + planes[1] if len(planes) > 2 else planes[0]
        in_core = core.within(pixels.box)
        state = self.threshold.count(used[:, *in_core].reshape(len(self.scales), -1))
        box = core.grow(self.rim, (pixels.box.y.stop, pixels.box.x.stop))
        cut = box.within(pixels.box)
        could = (used[:, *cut] > 0).all(axis=0)
        if self.floor > 0:
            could &= image[cut] >= self.floor * wavelet.LEVELS
        index = np.flatnonzero(could)
        return Survey(
            state,
            box,
            index,
            used[:, *cut].reshape(len(self.scales), -1)[:, index],
            fine[cut].ravel()[index],
            image[cut].ravel()[index],
        )

    # -- second round: the spots -------------------------------------------------

    def find(self, survey: Survey, levels: list[float], core: Box) -> Found:
        """Return the spots whose peak (or centre) lies in the core, before photometry.

        Parameters
        ----------
        survey
            The block's survey.
        levels
            Least coefficient of each scale.
        core
            The block's core.
        """
        passed = (survey.planes >= np.array(levels)[:, None]).all(axis=0)
        mask = np.zeros(survey.box.shape, bool)
        mask.ravel()[survey.places[passed]] = True
        response = np.zeros(survey.box.shape, np.float32)
        response.ravel()[survey.places] = survey.response
        spots = peaks.climb(mask, response)
        if self.split == "components":
            return self._components(spots, mask, response, survey.box, core)
        y, x = spots.y + survey.box.y.start, spots.x + survey.box.x.start
        own = _inside(core, y, x) & (spots.area >= self.min_area)
        large = own & (spots.extent >= self.largest)
        keep = own & ~large
        return Found(y[keep], x[keep], None, spots.area[keep], int(large.sum()))

    def _components(
        self,
        spots: peaks.Objects,
        mask: NDArray[np.bool_],
        response: Planes,
        box: Box,
        core: Box,
    ) -> Found:
        origin = box.y.start, box.x.start
        regions = peaks.connect(mask, np.maximum(response, 0), spots, origin)
        large = regions.extent >= self.largest
        of_large = large[regions.of_peak]
        dropped = of_large & _inside(core, spots.y + box.y.start, spots.x + box.x.start)
        whole = _whole(regions.y), _whole(regions.x)
        keep = ~large & (regions.area >= self.min_area) & _inside(core, *whole)
        return Found(
            whole[0][keep],
            whole[1][keep],
            np.stack([regions.y[keep], regions.x[keep]]),
            regions.area[keep],
            int(dropped.sum()),
        )

    # -- as steps of a pipeline --------------------------------------------------

    def steps(self) -> tuple[Step, Step]:
        """Return ``survey`` and ``spots``, for two rounds.

        The first reads the block's answer ``pixels`` (see `Enhancement.step`), the
        second the raw counts ``image`` and the field's ``brightness``.
        """
        first = Step(
            "survey",
            _SurveyStep(self),
            share=_state,
            finalize=self._levels,
            carried=True,
        )
        second = Step("spots", _SpotStep(self), share=everything, finalize=_in_order)
        return first, second

    def _levels(self, state: NDArray[np.int64], _: FieldAnswers) -> list[float]:
        return self.threshold.levels(state, self.scales)


class Found(NamedTuple):
    """Spots before photometry, in pixels of the field."""

    y: NDArray[np.int64]
    x: NDArray[np.int64]
    centre: NDArray[np.float64] | None
    """(2, n) centres of mass where spots are components."""
    area: NDArray[np.int64]
    n_dropped: int


def _inside(core: Box, y: NDArray[np.int64], x: NDArray[np.int64]) -> Any:
    return (
        (core.y.start <= y)
        & (y < core.y.stop)
        & (core.x.start <= x)
        & (x < core.x.stop)
    )


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(values + 0.5).astype(np.int64)


def _state(survey: Survey) -> NDArray[np.int64]:
    return survey.state


def _in_order(spots: Spots, _: FieldAnswers) -> Spots:
    return spots._replace(table=in_reading_order(spots.table))


@dataclass(frozen=True)
class _SurveyStep:
    detector: WaveletDetector

    def __call__(self, here: Here, field: FieldAnswers) -> Survey:
        low, high = 0.0, 1.0
        if self.detector.on == "raw":
            low, high = field["brightness"].low, field["brightness"].high
        pixels: Pixels = here.answers["pixels"]
        return self.detector.survey(pixels, here.block.core, low=low, high=high)


@dataclass(frozen=True)
class _SpotStep:
    detector: WaveletDetector

    def __call__(self, here: Here, field: FieldAnswers) -> Spots:
        survey: Survey = here.answers["survey"]
        found = self.detector.find(survey, field["survey"], here.block.core)
        box = here.block.core.grow(self.detector.rim, here.shape)
        raw = here.read("image", box)
        y, x = found.y - box.y.start, found.x - box.x.start
        bright = field["brightness"]
        intensity, snr = peaks.photometry(raw, y, x, least_noise=bright.least_noise)
        if found.centre is None:
            at_y, at_x = peaks.refine(raw, y, x, (box.y.start, box.x.start))
        else:
            at_y, at_x = found.centre
        columns = {
            "y": at_y,
            "x": at_x,
            "enhanced": _value_at(survey, found),
            "intensity": intensity.astype(np.float32),
            "snr": snr.astype(np.float32),
            "area": found.area.astype(np.int32),
            "cell": np.zeros(found.area.size, np.int64),
            "nucleus": np.zeros(found.area.size, np.int64),
        }
        return Spots(pd.DataFrame(columns), found.n_dropped)


def _value_at(survey: Survey, found: Found) -> NDArray[np.float32]:
    """Return the surveyed image at the spots as a share of its range, 0 to 1."""
    place = (found.y - survey.box.y.start) * survey.box.shape[1] + (
        found.x - survey.box.x.start
    )
    at = np.searchsorted(survey.places, place)
    at = np.minimum(at, max(survey.places.size - 1, 0))
    if survey.places.size == 0:
        return np.zeros(0, np.float32)
    hit = survey.places[at] == place
    value: NDArray[np.float32] = np.where(hit, survey.values[at] / wavelet.LEVELS, 0)
    return value.astype(np.float32)


PRESETS: dict[str, WaveletDetector] = {
    "enhanced": WaveletDetector((2,), IcyThreshold((np.inf,)), floor=0.4),
    "paper": WaveletDetector((2, 3), IcyThreshold((20.0, 100.0)), floor=0.1),
    "raw": WaveletDetector((2, 3), IcyThreshold((100.0, 100.0)), on="raw"),
    "product": WaveletDetector((1, 2, 3), ProductThreshold(3.0), on="raw"),
}
"""Detectors by name.

enhanced
    The default on enhanced images: bumps of the wavelet at s = 2 that the network is
    certain of. Infinite sensitivity: no threshold from the field, which would rise
    with the number of spots in it until few pass (F1 .69 against .87, one to one,
    on 40 images of `artificial.broad_image`).
paper
    The paper's one setting, "scale 3, sensitivity 20 and scale 7, sensitivity 100".
    Icy labels scales by their size in pixels (1, 3, 7, 13), so these are s = 2 and 3.
    Between its spots an enhanced image is nearly zero and so is the threshold; the
    floor keeps out what the network itself holds for unlikely.
raw
    For raw images, Icy's threshold at its usual sensitivity.
product
    For raw images, Olivo-Marin's product of three scales.
"""


def find_detector(method: str | WaveletDetector) -> WaveletDetector:
    """Return a detector by its preset's name, or as it is.

    Raises
    ------
    SettingsError
        No preset of that name.
    """
    if isinstance(method, WaveletDetector):
        return method
    if method not in PRESETS:
        raise SettingsError(
            f"no detector {method!r}: expected one of {sorted(PRESETS)}"
        )
    return PRESETS[method]


def read_pixels(margin: int) -> Step:
    """Return the step ``pixels`` of an image that needs no enhancement."""
    return Step("pixels", _ReadPixels("image", margin))


@dataclass(frozen=True)
class _ReadPixels:
    name: str
    margin: int

    def __call__(self, here: Here, _: FieldAnswers) -> Pixels:
        box = here.block.core.grow(self.margin, here.shape)
        pixels = here.read(self.name, box)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise FieldError(
                "the image to detect on has pixels that are NaN or infinite; replace "
                "them first"
            )
        return Pixels(box, pixels)


def detect(
    image: xr.DataArray,
    raw: xr.DataArray | None = None,
    *,
    method: str | WaveletDetector = "enhanced",
    block: int = DEFAULT_BLOCK,
) -> Any:
    """Find every spot.

    Parameters
    ----------
    image
        Enhanced image in [0, 1], or a raw one for ``method="raw"``; dimensions y and
        x, leading dimensions are mapped over.
    raw
        Raw counts of the same shape, on which positions are refined and intensity
        and SNR measured; `image` itself when not given.
    method
        Preset (enhanced, raw, product) or a detector.
    block
        Largest edge of a block in pixels; the answer does not depend on it.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The columns `vocabulary.SPOTS`; lazy, one partition a plane, when an image is.

    Raises
    ------
    FieldError
        Images of different shapes, raw counts where an enhanced image is expected,
        or pixels that are not finite (when computed).
    SettingsError
        No such method, a block too small for it, or `raw` beside a method for raw
        images.
    """
    detector = find_detector(method)
    if raw is not None and detector.on == "raw":
        # The range that is measured in raw counts would not be that of `image`.
        raise SettingsError(
            "this method works on raw counts alone; give them as the image, without raw"
        )
    image = check_image(image)
    if detector.on == "enhanced" and image.dtype.kind != "f":
        raise FieldError(
            f"this method expects an enhanced image in [0, 1], got {image.dtype}; "
            "enhance the image first, or detect with method='raw'"
        )
    raw = image if raw is None else check_image(raw, "raw image")
    if raw.shape != image.shape:
        raise FieldError(
            f"raw image has shape {raw.shape}, the image to detect on {image.shape}"
        )
    shape = (image.sizes["y"], image.sizes["x"])
    blocks = plan_blocks(shape, block=block, halo=detector.halo)
    survey, spots = detector.steps()
    pixels = Step("pixels", _ReadPixels("surveyed", detector.halo))
    rounds = (*Normalisation().steps(), (pixels, survey), (spots,))
    tables = []
    for (index, plane), (_, counts) in zip(
        iter_planes(image), iter_planes(raw), strict=True
    ):
        images = {"image": counts, "surveyed": plane}
        answers = reduce_plane(rounds, images, blocks)
        tables.append((answers, plane_identity(image, index)))
    return gather_tables(tables, _spot_table, SPOTS)


def _spot_table(answers: FieldAnswers, identity: PlaneIdentity) -> pd.DataFrame:
    return identify(answers["spots"].table, identity, SPOTS)
