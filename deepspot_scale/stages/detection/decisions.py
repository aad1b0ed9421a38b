"""Which of a field's candidates are its spots: by rules, or by a fitted judge.

Candidates come in, with what was measured of them; spots go out, and what was left out
is counted. The field agrees on whole numbers, or on values in a fixed order, so its
blocks decide exactly as the whole field does. Nothing here knows how candidates were
found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import NOISE
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Step,
    everything,
)
from deepspot_scale.blockwise.spots import DETECTED, Spots, order_spots
from deepspot_scale.kernels.populations import Dots, Judge

Intensities = NDArray[np.float32]

CANDIDATES: Key[Spots] = Key("candidates")

# -- by rules --------------------------------------------------------------------------

SURE = 0.9
"""Enhanced value from which on a spot says what is typical of its field."""
LEAST_SURE = 5
"""Fewer sure spots than these say nothing: then none is too faint."""
MOST_UNSURE = 2
"""More unsure spots than these for each sure one are rather texture."""
CLEAR_SNR = 10.0
"""A spot of this SNR is no noise. The brightest peak of noise, white or smoothed by 1.5
px, has less than 7, and that at the field's edge, where the ring repeats pixels."""
FEW = 3
"""Where more than so many clear spots are too faint for each one that is not, the few
are sites or aggregates, and the many are the field's molecules."""


class FieldPopulation(NamedTuple):
    """What the candidates of a field say about one another."""

    sure: Intensities
    """(n,), intensities of those that the network is sure of."""
    n_unsure: int
    """The others."""
    clear: Intensities
    """(m,), intensities of those with an SNR from `CLEAR_SNR`."""


class Cutoffs(NamedTuple):
    """What a field's candidates must have to be spots."""

    intensity: float
    """Least intensity."""
    value: float
    """Least enhanced value."""
    with_clear: bool
    """Whether clear spots are kept whatever their intensity."""


CUTOFFS: Key[Cutoffs] = Key("cutoffs")


@dataclass(frozen=True)
class FieldRules:
    """Leaves out what is far fainter than typical, and doubtful spots of texture."""

    least_share: float = 0.0
    """Least intensity of a spot as a share of the field's typical one: brighter and
    fainter ones that the network is sure of hold half of the light each."""
    texture_floor: float = 0.0
    """The floor where more than `MOST_UNSURE` spots are unsure for each sure one."""

    @property
    def settled(self) -> dict[str, Any]:
        """What the step that gives the candidates settles."""
        return {
            "settles": CUTOFFS,
            "share": _population,
            "combine": _join,
            "finalize": self._cutoffs,
        }

    def steps(self) -> tuple[Step, ...]:
        """Return the steps from the candidates to the spots."""
        leave_out = Step(
            DETECTED,
            _leave_out,
            uses=(CANDIDATES,),
            agreed=(CUTOFFS,),
            share=everything,
            finalize=order_spots,
        )
        return (leave_out,)

    def _cutoffs(self, population: FieldPopulation, _: Answers) -> Cutoffs:
        wary = population.n_unsure > MOST_UNSURE * population.sure.size
        least, clear = self._least_intensity(population.sure), population.clear
        n_bright = int((clear >= least).sum())
        few = clear.size - n_bright > FEW * n_bright
        return Cutoffs(least, self.texture_floor if wary else 0.0, few)

    def _least_intensity(self, sure: Intensities) -> float:
        if self.least_share == 0 or sure.size < LEAST_SURE:
            return -np.inf
        # By light, not by number: many faint grains do not become what is typical.
        ordered = np.sort(np.maximum(sure, 0).astype(np.float64))
        light = np.cumsum(ordered)
        return self.least_share * float(ordered[np.searchsorted(light, light[-1] / 2)])


def _population(spots: Spots) -> FieldPopulation:
    sure = spots.table["enhanced"].to_numpy() >= SURE
    clear = spots.table["snr"].to_numpy() >= CLEAR_SNR
    intensity = spots.table["intensity"].to_numpy()
    return FieldPopulation(intensity[sure], int((~sure).sum()), intensity[clear])


def _join(one: FieldPopulation, other: FieldPopulation) -> FieldPopulation:
    sure, clear = (
        np.concatenate(pair)
        for pair in ((one.sure, other.sure), (one.clear, other.clear))
    )
    return FieldPopulation(sure, one.n_unsure + other.n_unsure, clear)


def _leave_out(here: BlockContext, agreed: Answers) -> Spots:
    spots, cutoffs = here.answers[CANDIDATES], agreed[CUTOFFS]
    kept = spots.table["intensity"].to_numpy() >= cutoffs.intensity
    if cutoffs.with_clear:
        kept |= spots.table["snr"].to_numpy() >= CLEAR_SNR
    kept &= spots.table["enhanced"].to_numpy() >= cutoffs.value
    table = spots.table[kept].reset_index(drop=True)
    return spots._replace(table=table, n_faint=spots.n_faint + int((~kept).sum()))


# -- by a judge ------------------------------------------------------------------------

LIKELY = 0.5
"""Enhanced value from which on a candidate that is left out is counted as faint: below,
most are noise."""
LEAST_FOR_SITES = 10
"""Fewer spots than these do not tell the intensity of one molecule."""
LEAST_MOLECULES, LEAST_DEVIATIONS = 3.5, 4.0
"""A site is so many times brighter than the field's typical spot, and stands out of the
distribution of the others by so many standard deviations of their logarithms."""


class Typical(NamedTuple):
    """What one molecule looks like in a field."""

    intensity: float
    """Median of the spots; NaN if they are too few."""
    site: float
    """Intensity from which on a spot is a site."""


_COUNTS: Key[NDArray[np.int64]] = Key("candidate_counts")
_JUDGED: Key[Spots] = Key("judged")
_TYPICAL: Key[Typical] = Key("typical_spot")


@dataclass(frozen=True)
class Populations:
    """Keeps the candidates that a fitted judge holds for spots of their field."""

    judge: Judge
    """Gives each candidate its probability."""
    least: float = 0.5
    """Least probability of a spot."""
    least_share: float = 0.0
    """Least intensity of a spot as a share of the field's typical one."""
    binning: int = 1
    """Pixels along each axis that the judge counts as one: for wide spots."""

    @property
    def settled(self) -> dict[str, Any]:
        """What the step that gives the candidates settles: nothing."""
        return {}

    def steps(self) -> tuple[Step, ...]:
        """Return the steps from the candidates to the spots."""
        return (
            Step(_COUNTS, self._count, uses=(CANDIDATES,), agreed=(NOISE,)),
            Step(
                _JUDGED,
                self._judge,
                uses=(CANDIDATES,),
                agreed=(NOISE, _COUNTS),
                settles=_TYPICAL,
                share=_intensities,
                combine=_together,
                finalize=_typical,
            ),
            Step(
                DETECTED,
                self._finish,
                uses=(_JUDGED,),
                agreed=(_TYPICAL,),
                share=everything,
                finalize=order_spots,
            ),
        )

    def _count(self, here: BlockContext, agreed: Answers) -> NDArray[np.int64]:
        return self._dots(here.answers[CANDIDATES], agreed).counts()

    def _dots(self, spots: Spots, agreed: Answers) -> Dots:
        return dots_of(spots.table, agreed[NOISE], self.binning)

    def _judge(self, here: BlockContext, agreed: Answers) -> Spots:
        spots = here.answers[CANDIDATES]
        dots = self._dots(spots, agreed)
        n_pixels = here.shape[-2] * here.shape[-1] / self.binning**2
        features = dots.features(agreed[_COUNTS], n_pixels)
        table = spots.table.assign(probability=self.judge.probability(features))
        return _only(spots._replace(table=table), table["probability"] >= self.least)

    def _finish(self, here: BlockContext, agreed: Answers) -> Spots:
        return _against(here.answers[_JUDGED], agreed[_TYPICAL], self.least_share)


def choose_judged(
    judged: pd.DataFrame, least: float, least_share: float
) -> pd.DataFrame:
    """Return the spots among the judged candidates of one whole field.

    They are those that `Populations` with these numbers keeps, measured against one
    another as there: what the judge says of a candidate does not depend on either.

    Parameters
    ----------
    judged
        All candidates, as `Populations` with the numbers 0 gives them.
    least, least_share
        As in `Populations`.
    """
    spots = _only(Spots(judged, 0), judged["probability"] >= least)
    typical = _typical(_intensities(spots), Answers())
    return _against(spots, typical, least_share).table


def _against(spots: Spots, typical: Typical, least_share: float) -> Spots:
    """Return spots with their light against the field's typical one."""
    intensity = spots.table["intensity"].to_numpy()
    molecules = (intensity / typical.intensity).astype(np.float32)
    table = spots.table.assign(molecules=molecules, site=intensity >= typical.site)
    spots = spots._replace(table=table)
    if least_share == 0 or np.isnan(typical.intensity):
        return spots
    return _only(spots, intensity >= least_share * typical.intensity)


def dots_of(table: pd.DataFrame, noise: float, binning: int = 1) -> Dots:
    """Return what a judge sees of the candidates in a table, in a field of this noise.

    The noise is in counts, of single pixels; `binning` is as in `Populations`.
    """
    names = ("enhanced", "intensity", "snr", "area")
    enhanced, intensity, snr, area = (table[name].to_numpy() for name in names)
    # In large pixels, as the judge learned: their noise is as many times lower.
    contrast, snr = binning * intensity / noise, binning * snr
    return Dots(enhanced, contrast, snr, area / binning**2)


def _only(spots: Spots, kept: Any) -> Spots:
    likely = spots.table["enhanced"].to_numpy() >= LIKELY
    n_faint = int((likely & ~np.asarray(kept)).sum())
    table = spots.table[np.asarray(kept)].reset_index(drop=True)
    return spots._replace(table=table, n_faint=spots.n_faint + n_faint)


def _intensities(spots: Spots) -> Intensities:
    return spots.table["intensity"].to_numpy()


def _together(one: Intensities, other: Intensities) -> Intensities:
    return np.concatenate([one, other])


def _typical(intensities: Intensities, _: Answers) -> Typical:
    light = intensities[intensities > 0].astype(np.float64)
    if light.size < LEAST_FOR_SITES:
        return Typical(np.nan, np.inf)
    median = float(np.median(light))
    logs = np.sort(np.log(light))  # in an order that blocks do not change
    deviation = 1.4826 * float(np.median(np.abs(logs - np.median(logs))))
    least = max(np.log(LEAST_MOLECULES), LEAST_DEVIATIONS * deviation)
    return Typical(median, median * float(np.exp(least)))
