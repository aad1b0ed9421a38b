"""The contract of methods: those that keep it pass, each slip is named and mended."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage.feature import peak_local_max

from deepspot_scale.blockwise.answers import BRIGHTNESS
from deepspot_scale.blockwise.contract import Key, Step, Work
from deepspot_scale.blockwise.planning import Pipeline, plan_pipeline
from deepspot_scale.errors import ContractError, SettingsError
from deepspot_scale.stages.brightness import Normalisation
from deepspot_scale.stages.detection.points import PointDetector
from deepspot_scale.stages.detection.wavelet import PRESETS
from deepspot_scale.testing import check_detector, check_steps

CALLS: list[int] = []


def peaks(image: Any, least: float = 0.05) -> Any:
    """Return local maxima of the slightly smoothed image."""
    smooth = ndimage.gaussian_filter(image, 1, truncate=3)
    rises = smooth > ndimage.minimum_filter(smooth, 5)
    top = rises & (smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > least)
    return np.argwhere(top)


def brightest_far_and_wide(image: Any) -> Any:
    """Look 20 px far."""
    top = image == ndimage.maximum_filter(image, 41)
    return np.argwhere(top & (image > 0.05))


def above_a_share_of_the_maximum(image: Any) -> Any:
    return peaks(image, 0.3 * image.max() + 1e-6)


def on_tiles(image: Any) -> Any:
    """Keep one point of each tile of 16 px, counted from where the image starts."""
    points = peaks(image)
    _, first = np.unique(points // 16, axis=0, return_index=True)
    return points[first]


def crash_without_points(image: Any) -> Any:
    points = peaks(image)
    points.min()
    return points


def every_call_another(image: Any) -> Any:
    CALLS.append(1)
    return peaks(image)[len(CALLS) % 3 :]


def darkest_and_brightest(image: Any) -> Any:
    return np.argwhere(image == image.min())[:3]


def swap(image: Any) -> Any:
    """Return (x, y, 1), as some libraries do."""
    return [(point[1], point[0], 1) for point in peaks(image)]


def places_that_hang_on_noise(image: Any) -> Any:
    return peaks(image) + image.mean()


GOOD = PointDetector(peaks, halo=10)


@pytest.mark.parametrize(
    "detector",
    [
        GOOD,
        PointDetector(peaks, halo=10, on="raw", refine=False),
        GOOD.binned(2),
        PointDetector(lambda image: 1.0 * peaks(image), halo=10),
        PointDetector(partial(peak_local_max, threshold_abs=0.3), halo=8),
        PRESETS["enhanced"],
        PRESETS["product"],
    ],
)
def test_methods_that_keep_the_contract_pass(detector: Any) -> None:
    check_detector(detector)


@pytest.mark.parametrize(
    ("find", "reason"),
    [
        (brightest_far_and_wide, "other spots.*With halo=20 they agree: declare"),
        (
            above_a_share_of_the_maximum,
            r"other spots.*take no threshold from the image",
        ),
        (places_that_hang_on_noise, r"other spots.*only in blocks, such as \("),
        (on_tiles, "other spots|do not follow an image"),
        (crash_without_points, "fails on an? .*: ValueError.*give no points"),
        (every_call_another, "other spots"),
        (darkest_and_brightest, "other spots"),
        (swap, "other spots|do not follow"),
        (lambda _: [], "no spot was found.*images="),
        (lambda image: image, r"must give \(n, 2\) points"),
        (lambda _: [[1.0, np.nan]], "NaN or infinite"),
    ],
)
def test_a_function_that_blocks_would_change_is_refused(find: Any, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        check_detector(PointDetector(find, halo=10, refine=False))


def test_the_functions_image_is_its_own() -> None:
    def blacken(image: Any) -> Any:
        points = peaks(image)
        image[:] = 0
        return points

    check_detector(PointDetector(blacken, halo=10))


# --- detectors of one's own -------------------------------------------------------


@dataclass(frozen=True)
class Own:
    """A detector of steps, as somebody might write it, with a slip or without."""

    slip: str = ""
    inner: PointDetector = GOOD
    on: str = "enhanced"

    @property
    def halo(self) -> Any:
        return 10.5 if self.slip == "halo" else self.inner.halo + 1

    def binned(self, _: int) -> Own:
        return self

    def steps(self, layer: str) -> tuple[Step, ...]:
        survey, spots = self.inner.steps(layer)
        # One pixel more than the detector inside, which a slip reads too.
        survey = replace(survey, reads={layer: self.inner.halo + 1})
        slips = {
            "names": (spots, survey),
            "twice": (
                replace(survey, chunk=partial(_without_core, survey.chunk)),
                spots,
            ),
            "reads": (replace(survey, reads={layer: 3}), spots),
            "uses": (survey, replace(spots, uses=())),
            "order": (survey, replace(spots, finalize=_as_it_comes)),
            "columns": (survey, replace(spots, share=_bare)),
        }
        return slips.get(self.slip, (survey, spots))


def _without_core(chunk: Any, here: Any, known: Any) -> Any:
    """Find with a core that is one pixel too large."""
    core = here.block.core.grow(1, here.shape)
    return chunk(replace(here, block=here.block._replace(core=core)), known)


def _as_it_comes(spots: Any, _: Any) -> Any:
    return spots


def _bare(spots: Any) -> Any:
    return spots._replace(table=spots.table.assign(y=spots.table["y"] - 500))


class Loose:
    """One that can be changed."""

    on, halo = "enhanced", GOOD.halo
    binned, steps = GOOD.binned, GOOD.steps


@dataclass(frozen=True)
class Holding(Own):
    """One that holds what cannot travel."""

    file: Any = field(default_factory=lambda: (n for n in range(3)))


def test_a_class_of_ones_own_passes_without_inheriting() -> None:
    check_detector(Own())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("detector", "reason"),
    [
        (peaks, r"peaks is no detector.*PointDetector\(peaks, halo=...\)"),
        (PointDetector, "is a class; make one of it"),
        (Own("halo"), "whole pixels, it is 10.5"),
        (Own(on="both"), "'enhanced' or 'raw', it is 'both'"),
        (Own("names"), r"must end in the step that gives .*DETECTED.*\['detected'"),
        (Own("reads"), "fails on an image in blocks.*'enhanced' beyond the margin 3"),
        (Own("uses"), "fails on an image of spots.*'enhanced', which no stage reads"),
        (Own("twice"), r"several blocks own the spot at \(y, x\) = \("),
        (Own("order"), "order of blocks changes.*finalize must sort"),
        (Own("columns"), "spots lie outside"),
        (Loose(), "frozen=True"),
        (Holding(), "cannot be sent to workers.*generator"),
    ],
)
def test_a_slip_in_a_class_is_named_and_mended(detector: Any, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        check_detector(detector)


def test_an_image_that_is_one_block_proves_nothing() -> None:
    with pytest.raises(ContractError, match=r"one block.*more than 44 px"):
        check_detector(GOOD, images=[np.zeros((40, 40), np.float32)])


def test_parts_of_a_point_detector_that_make_no_sense_are_refused() -> None:
    with pytest.raises(SettingsError, match="at least 0 px"):
        PointDetector(peaks, halo=-1)
    with pytest.raises(SettingsError, match="on enhanced or raw"):
        PointDetector(peaks, halo=8, on="both")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="find is a function"):
        PointDetector("peaks", halo=8)  # type: ignore[arg-type]


# --- any steps --------------------------------------------------------------------

IMAGES = {"image": np.random.default_rng(0).poisson(99, (90, 70)).astype(np.uint16)}


TOTAL: Key[Any] = Key("total")


def _sum(here: Any, _: Any) -> int:
    return int(here.pixels("image").values.sum())


def _sum_with_halo(here: Any, _: Any) -> int:
    return int(here.read("image", here.block.window.grow(0, here.shape)).sum())


def _first(here: Any, _: Any) -> list[int]:
    return [here.block.number]


def _plan(*steps: Step, grid: int = 1) -> Pipeline:
    works = {"brightness": Normalisation().work(), "own": Work(steps, grid=grid)}
    return plan_pipeline(works, wanted=(TOTAL, BRIGHTNESS))


def test_steps_of_whole_sums_pass() -> None:
    check_steps(_plan(Step(TOTAL, _sum, {"image": 6}), grid=8), IMAGES)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (Step(TOTAL, _sum_with_halo), "count each core once"),
        (Step(TOTAL, _first), "order of blocks"),
        (Step(TOTAL, _sum, combine=operator.sub), "order of block"),
    ],
)
def test_a_step_that_blocks_would_change_is_refused(step: Step, reason: str) -> None:
    read = replace(step, reads={"image": 6})
    with pytest.raises(ContractError, match=f"answer 'total'.*{reason}"):
        check_steps(_plan(read), IMAGES)
