"""Detection by wavelets: what stands out at every one of some scales is a spot.

A detector surveys each block (wavelet sums that make the field's threshold, and the
few pixels that could pass any threshold), then finds the spots whose peak lies in the
block's core. Which of these are spots of their field is the last step, in `decisions`.
Thresholds that follow from all of a field's pixels rise with the number of its spots,
until in a crowded field none passes; so spots that stand clear of their own
surroundings are counted, and kept where they are more than those that pass.
Presets differ in their thresholds alone. Nothing here knows networks, files or plates.

What decides about a pixel reaches no farther than `halo`, and all sums are of whole
numbers, so the blocks of a field give exactly the spots of the whole field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import BRIGHTNESS, IMAGE
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Pixels,
    Step,
)
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.blockwise.spots import (
    Candidates,
    Spots,
    inside,
    measure_spots,
    nearest_pixel,
    reach,
)
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels import peaks, wavelet
from deepspot_scale.kernels.populations import Judge
from deepspot_scale.kernels.thresholds import (
    IcyThreshold,
    ProductThreshold,
    Threshold,
)
from deepspot_scale.stages.detection.decisions import (
    CANDIDATES,
    CLEAR_SNR,
    SURE,
    FieldRules,
    Populations,
)

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
    finest: NDArray[np.float32]
    """(n,) coefficients at the finest scale, whether in use or not."""
    finest_sums: NDArray[np.int64]
    """Mergeable sums of that scale over the core."""


class FieldSums(NamedTuple):
    """What makes the thresholds of a field."""

    state: NDArray[np.int64]
    """Of the scales in use."""
    finest: NDArray[np.int64]
    """Of the finest scale."""

    def __add__(self, other: object) -> FieldSums:
        """Add the sums of other pixels."""
        if not isinstance(other, FieldSums):
            return NotImplemented
        return FieldSums(self.state + other.state, self.finest + other.finest)


class Levels(NamedTuple):
    """Thresholds of a field."""

    used: list[float]
    """Least coefficient of each scale in use."""
    finest: float
    """Coefficient of the finest scale that noise does not reach."""


NOISE = IcyThreshold((100.0,))
"""Tells what may be more than noise at the finest scale."""
SURVEY: Key[Survey] = Key("survey")
LEVELS: Key[Levels] = Key("levels")
MEASURED: Key[Spots] = Key("measured_spots")
"""Spots that pass, and behind them `n_crowded` clear ones that do not."""
CROWDED: Key[bool] = Key("crowded")
"""Whether clear spots that do not pass are more than those that pass."""


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
    least_share: float = 0.0
    """Least intensity of a spot as a share of the field's typical one: brighter and
    fainter ones that the network is sure of hold half of the light each."""
    texture_floor: float = 0.0
    """The floor of a field of hardly any sure spot, see `FieldRules`."""
    judge: Judge | None = None
    """Gives candidates their probability; None: the rules of the last two decide."""
    least_probability: float = 0.5
    """Least probability of a spot where there is a judge."""
    clear_snr: float = 0.0
    """Spots from this SNR on that pass the threshold of one scale only, or none on
    enhanced images, where they must be sure, are clear: they are counted, and kept
    where they are more than those that pass; 0: not looked for."""
    binning: int = 1
    """Pixels between the points that make a spot's peak, place, intensity and SNR."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.scales or min(self.scales) < 1 or max(self.scales) > 6:
            raise SettingsError(f"wavelet scales lie in 1..6, got {self.scales}")
        if self.split not in {"peaks", "components"}:
            raise SettingsError(f"split is peaks or components, not {self.split!r}")
        if self.largest < 2 or self.min_area < 1:
            raise SettingsError("largest must be at least 2 px, min_area at least 1 px")
        if not (0 <= self.floor <= 1 and 0 <= self.least_share < 1):
            raise SettingsError("floor lies in 0..1, the least share in 0..1, below 1")

    @property
    def rim(self) -> int:
        """Pixels around the core in which objects of its spots may lie."""
        # One more than the object: its last pixel's neighbours decide the way up.
        return max(self.largest + 1, reach(self.binning))

    def binned(self, binning: int) -> WaveletDetector:
        """Return the detector of spots that are wider by a factor, a power of 2."""
        further = binning.bit_length() - 1
        scales = tuple(scale + further for scale in self.scales)
        return replace(
            self, scales=scales, largest=self.largest * binning, binning=binning
        )

    def adjusted(
        self, *, floor: float | None = None, least_share: float | None = None
    ) -> WaveletDetector:
        """Return the detector with a user's own numbers, where there are any."""
        answer = self
        if floor is not None and self.judge is not None:
            answer = replace(answer, least_probability=floor)
        elif floor is not None:  # also in wary fields: it was asked for
            answer = replace(answer, floor=floor, texture_floor=0.0)
        if least_share is not None:
            answer = replace(answer, least_share=least_share)
        return answer

    @property
    def halo(self) -> int:
        """Pixels around the core that the detector reads: rim and filter reach."""
        return self.rim + wavelet.reach(max(self.scales))

    # -- first round: the survey -------------------------------------------------

    def survey(
        self,
        pixels: Pixels,
        core: Box,
        *,
        low: float,
        high: float,
        imaged: NDArray[np.bool_] | None = None,
    ) -> Survey:
        """Survey one block.

        Parameters
        ----------
        pixels
            The image in use on the core and `halo` around it (less at field edges).
        core
            The pixels that count for the field's sums.
        low, high
            Range of the image, mapped to whole numbers 0..65535.
        imaged
            Which of the pixels were imaged, and count for the sums; None: all.
        """
        image = wavelet.quantise(pixels.values, low, high)
        planes = wavelet.planes(image, max(self.scales))
        used = np.stack([planes[scale - 1] for scale in self.scales])
        finest = planes[self.binning.bit_length() - 1 :]
        if self.on == "raw":  # at finer scales each bump of noise would be a peak
            response = used[-1] if len(used) == 1 else used[-2] + used[-1]
        else:
            response = finest[0] + finest[1] if len(finest) > 2 else finest[0]
        in_core = core.within(pixels.box)
        counted = used[:, *in_core].reshape(len(self.scales), -1)
        noise = finest[0][in_core].reshape(1, -1)
        if imaged is not None:
            own = imaged[in_core].ravel()
            counted, noise = counted[:, own], noise[:, own]
        state = self.threshold.count(counted)
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
            response[cut].ravel()[index],
            image[cut].ravel()[index],
            finest[0][cut].ravel()[index],
            NOISE.count(noise),
        )

    # -- second round: the spots -------------------------------------------------

    def find(self, survey: Survey, levels: Levels, core: Box) -> Candidates:
        """Return the spots whose peak (or centre) lies in the core, before photometry.

        Parameters
        ----------
        survey
            The block's survey.
        levels
            Thresholds of the field.
        core
            The block's core.
        """
        passed = (survey.planes >= np.array(levels.used)[:, None]).all(axis=0)
        mask = _spread(survey, survey.places[passed], True)
        response = _spread(survey, survey.places, survey.response)
        spots = peaks.climb(mask, response)
        if self.split == "components":
            return self._components(spots, mask, response, survey.box, core)
        y, x = spots.y + survey.box.y.start, spots.x + survey.box.x.start
        own = inside(core, y, x) & (spots.area >= self.min_area)
        large = own & (spots.extent >= self.largest)
        keep = own & ~large
        return Candidates(y[keep], x[keep], None, spots.area[keep], int(large.sum()))

    def find_clear(self, survey: Survey, levels: Levels, core: Box) -> Candidates:
        """Return peaks in the core beside what passes, that may be clear spots.

        They stand out at one scale, or on enhanced images are sure; and are highest
        within two (large) pixels, where nothing passes the threshold, so that no spot
        is found twice. The area is that of the peak's 5x5 (large) pixels.
        """
        if self.on == "raw":
            could = survey.finest >= levels.finest
            for plane, least in zip(survey.planes, levels.used, strict=True):
                could |= plane >= least
        else:
            could = survey.values >= SURE * wavelet.LEVELS
        index = np.flatnonzero(could)  # few of many: what follows is cheap
        places = survey.places[index]
        passes = survey.planes[:, index] >= np.array(levels.used)[:, None]
        own = passes.all(axis=0)
        mask = _spread(survey, places, True)
        taken = _spread(survey, places[own], True)
        response = _spread(survey, survey.places, survey.response)
        y, x = np.divmod(places[~own], survey.box.shape[1])
        near = inside(core, y + survey.box.y.start, x + survey.box.x.start)
        y, x = peaks.highest_near(response, taken, y[near], x[near], 2 * self.binning)
        area = peaks.count_near(mask, y, x, 2 * self.binning)
        keep = area >= self.min_area
        y, x = y[keep] + survey.box.y.start, x[keep] + survey.box.x.start
        centre = None
        if self.split == "components":
            centre = np.stack([y, x]).astype(np.float64)
        return Candidates(y, x, centre, area[keep], 0)

    def _components(
        self,
        spots: peaks.Objects,
        mask: NDArray[np.bool_],
        response: Planes,
        box: Box,
        core: Box,
    ) -> Candidates:
        origin = box.y.start, box.x.start
        regions = peaks.connect(mask, np.maximum(response, 0), spots, origin)
        large = regions.extent >= self.largest
        of_large = large[regions.of_peak]
        dropped = of_large & inside(core, spots.y + box.y.start, spots.x + box.x.start)
        whole = nearest_pixel(regions.y), nearest_pixel(regions.x)
        keep = ~large & (regions.area >= self.min_area) & inside(core, *whole)
        return Candidates(
            whole[0][keep],
            whole[1][keep],
            np.stack([regions.y[keep], regions.x[keep]]),
            regions.area[keep],
            int(dropped.sum()),
        )

    # -- as steps of a pipeline --------------------------------------------------

    def steps(self, layer: str) -> tuple[Step, ...]:
        """Return the survey, the candidates and the spots, each for its own round."""
        return (
            Step(
                SURVEY,
                _SurveyStep(self, layer),
                {layer: self.halo},
                agreed=(BRIGHTNESS,) if self.on == "raw" else (),
                settles=LEVELS,
                share=_sums,
                finalize=self._levels,
            ),
            *self._candidate_steps(),
            *self.decision.steps(),
        )

    @property
    def decision(self) -> FieldRules | Populations:
        """Which candidates of a field are its spots."""
        if self.judge is None:
            return FieldRules(self.least_share, self.texture_floor)
        return Populations(
            self.judge, self.least_probability, self.least_share, self.binning
        )

    def _candidate_steps(self) -> tuple[Step, ...]:
        measure: dict[str, Any] = {
            "chunk": _CandidateStep(self),
            "reads": {IMAGE: reach(self.binning)},
            "uses": (SURVEY,),
            "agreed": (BRIGHTNESS, LEVELS),
        }
        settle = self.decision.settled
        if self.clear_snr == 0:
            return (Step(CANDIDATES, **measure, **settle),)
        return (
            Step(
                MEASURED,
                **measure,
                settles=CROWDED,
                share=_balance,
                finalize=_is_crowded,
            ),
            Step(
                CANDIDATES,
                _keep_clear,
                uses=(MEASURED,),
                agreed=(CROWDED,),
                **settle,
            ),
        )

    def _levels(self, sums: FieldSums, _: Answers) -> Levels:
        (finest,) = NOISE.levels(sums.finest, (self.binning.bit_length(),))
        return Levels(self.threshold.levels(sums.state, self.scales), finest)


def _sums(survey: Survey) -> FieldSums:
    return FieldSums(survey.state, survey.finest_sums)


def _spread(survey: Survey, places: NDArray[np.int64], values: Any) -> NDArray[Any]:
    """Return values at places of the survey's box, 0 elsewhere."""
    image = np.zeros(survey.box.shape, np.asarray(values).dtype)
    image.ravel()[places] = values
    return image


def _balance(spots: Spots) -> NDArray[np.int64]:
    """Return how many pass, and how many clear ones do not."""
    return np.array([len(spots.table) - spots.n_crowded, spots.n_crowded])


def _is_crowded(balance: NDArray[np.int64], _: Answers) -> bool:
    return bool(balance[1] > balance[0])


def _keep_clear(here: BlockContext, agreed: Answers) -> Spots:
    spots = here.answers[MEASURED]
    if agreed[CROWDED]:
        return spots
    return spots._replace(table=spots.table.iloc[: len(spots.table) - spots.n_crowded])


@dataclass(frozen=True)
class _SurveyStep:
    detector: WaveletDetector
    layer: str

    def __call__(self, here: BlockContext, agreed: Answers) -> Survey:
        pixels, core = here.pixels(self.layer, self.detector.halo), here.block.core
        if self.detector.on == "enhanced":
            return self.detector.survey(pixels, core, low=0.0, high=1.0)
        brightness, imaged = agreed[BRIGHTNESS], None
        if brightness.fill is not None:
            imaged = pixels.values != brightness.fill
            pixels = pixels._replace(values=brightness.fill_in(pixels.values))
        low, high = brightness.low, brightness.high
        return self.detector.survey(pixels, core, low=low, high=high, imaged=imaged)


@dataclass(frozen=True)
class _CandidateStep:
    detector: WaveletDetector

    def __call__(self, here: BlockContext, agreed: Answers) -> Spots:
        survey, detector = here.answers[SURVEY], self.detector
        levels, core = agreed[LEVELS], here.block.core

        def measure(found: Candidates) -> Spots:
            value = _value_at(survey, found)
            return measure_spots(found, value, here, agreed, step=detector.binning)

        own = measure(detector.find(survey, levels, core))
        if detector.clear_snr == 0:
            return own
        beside = measure(detector.find_clear(survey, levels, core)).table
        clear = beside[beside["snr"] >= detector.clear_snr]
        table = pd.concat([own.table, clear], ignore_index=True)
        return own._replace(table=table, n_crowded=len(clear))


def _value_at(survey: Survey, found: Candidates) -> NDArray[np.float32]:
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
    "enhanced": WaveletDetector(
        (2,), IcyThreshold((np.inf,)), floor=0.25, least_share=0.3, texture_floor=0.5
    ),
    "paper": WaveletDetector(
        (2, 3), IcyThreshold((20.0, 100.0)), floor=0.1, clear_snr=CLEAR_SNR
    ),
    "raw": WaveletDetector(
        (2, 3), IcyThreshold((100.0, 100.0)), on="raw", clear_snr=CLEAR_SNR
    ),
    "product": WaveletDetector(
        (1, 2, 3), ProductThreshold(3.0), on="raw", clear_snr=CLEAR_SNR
    ),
}
"""Detectors by name.

enhanced
    The default on enhanced images: bumps of the wavelet at s = 2 that the network is
    certain of; those of `judged_detector` where its model brings a judge. Infinite
    sensitivity: no threshold from the field, which would rise with the number of spots
    in it until few pass (F1 .69 against .87, one to one, on 40 images of
    `artificial.broad_image`).
paper
    The paper's one setting, "scale 3, sensitivity 20 and scale 7, sensitivity 100".
    Icy labels scales by their size in pixels (1, 3, 7, 13), so these are s = 2 and 3.
    Between its spots an enhanced image is nearly zero and so is the threshold; the
    floor keeps out what the network itself holds for unlikely.
raw
    For raw images, Icy's threshold at its usual sensitivity.
product
    For raw images, Olivo-Marin's product of three scales.

The last three differ from what they are named after in one point: where more spots of
an SNR from `CLEAR_SNR` lie below the threshold than above, the field's own many spots
have raised it, and they are kept. On raw images a spot is a peak of the sum of the two
coarsest scales in use.
"""


CANDIDATE_FLOOR = 0.05
"""Least certainty of what a judge is asked about."""
CANDIDATE_DETECTOR = replace(
    PRESETS["enhanced"], floor=CANDIDATE_FLOOR, least_share=0.0, texture_floor=0.0
)
"""Keeps all that a judge is asked about."""


def judged_detector(judge: Judge) -> WaveletDetector:
    """Return the detector on enhanced images whose candidates a judge decides about."""
    return replace(CANDIDATE_DETECTOR, judge=judge)
