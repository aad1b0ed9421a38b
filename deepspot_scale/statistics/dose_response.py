"""Dose and response: a value of each well comes in, Hill's curve goes out.

    value = bottom + (top - bottom) * dose^h / (EC50^h + dose^h)

Wells are what is independent, so a well is one point, and the interval of the EC50
draws wells again. A curve is only fitted where it can be told: at least `FEWEST_DOSES`
doses and a response that goes one way (Spearman's rank correlation of dose and value,
and how much of it means that only rise or fall explain). What is not fitted says why.
Nothing here draws or reads files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.statistics.groups import WELL, group_keys

Floats = NDArray[np.float64]

FEWEST_DOSES: Final = 4
"""As many as the curve has parameters; a dose of 0 counts as one."""
MOST_P: Final = 0.05
"""Of the rank correlation; above it no response is told from chance."""
LEAST_ONE_WAY: Final = 0.6
"""Share of the variance of doses' means that means which only rise, or only fall, must
explain; a response that turns round has less."""
MEASURES: Final = ("spots_per_cell", "polarity_corrected")
"""Columns of `vocabulary.WELLS` that are looked at."""
KEYS: Final = group_keys(["channel", "condition", "gene"])
"""What a curve is named by."""
STEEPNESS: Final = (0.3, 8.0)
"""Hill coefficients that are tried: as good as flat, and as good as a step."""
_GRID: Final = (321, 25)
"""Steps of log EC50 and of the log coefficient from which the fit sets out."""


class HillFit(NamedTuple):
    """A fitted curve; all NaN, and a reason, where there is none."""

    bottom: float = np.nan
    """Value without any dose."""
    top: float = np.nan
    """Value at an endless dose; below `bottom` where the response falls."""
    ec50: float = np.nan
    """Dose of half the response."""
    hill: float = np.nan
    """Hill's coefficient, above 0."""
    low: float = np.nan
    """95 % bootstrap interval of the EC50 over wells; 0: the doses do not bound it."""
    high: float = np.nan
    """Its upper end; infinite: the doses do not bound it."""
    n_wells: int = 0
    n_doses: int = 0
    """Different doses, 0 among them."""
    reason: str = ""
    """Why nothing was fitted; empty: it was."""

    def at(self, dose: Any) -> Floats:
        """Return the curve's value at doses."""
        share = _share(np.asarray(dose, np.float64), self.ec50, self.hill)
        return np.asarray(self.bottom + (self.top - self.bottom) * share, np.float64)


def fit_hill(
    doses: Floats, values: Floats, *, n_boot: int = 500, seed: int = 0
) -> HillFit:
    """Fit Hill's curve by least squares.

    Parameters
    ----------
    doses
        (n,), of each well, 0 or more; NaN is left out.
    values
        (n,), of each well; NaN is left out.
    n_boot
        Draws of wells for the interval.
    seed
        Of the draws.

    Returns
    -------
    HillFit
        Bottom and top follow from EC50 and coefficient by linear least squares
        (variable projection, doi:10.1137/0710036), so only two are searched for, within
        a decade beyond the doses. For the interval wells are drawn with replacement
        within their dose, residuals widened by sqrt(n / (n - 4)); where most doses have
        one well, residuals are drawn over all doses. Measured on 9 doses and a response
        of ten standard deviations of a well, 95 % intervals held the EC50 in 85 % of
        runs of one well a dose, in 91 % with two, 93 % with three and 95 % with six.
    """
    known = np.isfinite(doses) & np.isfinite(values)
    dose, value = doses[known], values[known]
    none = HillFit(n_wells=len(dose), n_doses=len(np.unique(dose)))
    if reason := _why_not(dose, value):
        return none._replace(reason=reason)
    grid = _Grid.about(dose)
    start = grid.best(value[None])[0]
    ec50, hill = _refine(dose, value, start, grid)
    bottom, top = _levels(_share(dose, ec50, hill), value)
    fit = none._replace(bottom=bottom, top=top, ec50=ec50, hill=hill)
    positive = dose[dose > 0]
    if not positive.min() <= ec50 <= positive.max():
        where = "below" if ec50 < positive.min() else "above"
        return none._replace(reason=f"half of the response lies {where} all doses")
    draws = grid.best(_draw(dose, value, fit, n_boot, np.random.default_rng(seed)))
    low, high = np.quantile(draws[:, 0], [0.025, 0.975]) if n_boot else (np.nan, np.nan)
    ends = grid.ec50[[0, -1]]
    return fit._replace(
        low=0.0 if low <= ends[0] * 1.001 else float(low),
        high=np.inf if high >= ends[1] * 0.999 else float(high),
    )


def _why_not(dose: Floats, value: Floats) -> str:
    from scipy.stats import spearmanr

    n = len(np.unique(dose))
    if n < FEWEST_DOSES:
        return f"{n} doses with a value, and the curve needs {FEWEST_DOSES}"
    if len(np.unique(dose[dose > 0])) < FEWEST_DOSES - 1:
        return f"fewer than {FEWEST_DOSES - 1} doses above 0"
    if np.ptp(value) == 0:
        return "no response: all wells have the same value"
    rank = spearmanr(dose, value)
    if not rank.pvalue <= MOST_P:
        return (
            "no response that goes one way (rank correlation "
            f"{rank.statistic:.2f}, p = {rank.pvalue:.2g})"
        )
    share = _one_way(dose, value)
    if share < LEAST_ONE_WAY:
        return f"the response turns round (one way explains {share:.0%} of it)"
    return ""


def _one_way(dose: Floats, value: Floats) -> float:
    """Return what the best means that only rise, or only fall, explain; 0 to 1.

    Means of neighbouring doses that go the other way are joined until none does (pool
    adjacent violators, doi:10.1214/aoms/1177728423).
    """
    _, place, n = np.unique(dose, return_inverse=True, return_counts=True)
    means = np.bincount(place, value) / n
    total = float(n @ (means - value.mean()) ** 2)
    best = 0.0
    for side in (1, -1):
        pools: list[tuple[float, float]] = []
        for mean, weight in zip(side * means, n.astype(np.float64), strict=True):
            pools.append((float(mean), float(weight)))
            while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
                (one, a), (other, b) = pools.pop(), pools.pop()
                pools.append(((one * a + other * b) / (a + b), a + b))
        explained = sum(w * (m - side * value.mean()) ** 2 for m, w in pools)
        best = max(best, explained / total if total > 0 else 0.0)
    return best


def _share(dose: Floats, ec50: Any, hill: Any) -> Floats:
    """Return dose^h / (EC50^h + dose^h); 0 at dose 0."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(1 / (1 + np.exp(hill * (np.log(ec50) - np.log(dose)))))


def _levels(share: Floats, value: Floats) -> tuple[float, float]:
    """Return bottom and top of the line of values over shares."""
    slope = _slope(share, value)
    bottom = float(value.mean() - slope * share.mean())
    return bottom, bottom + slope


def _slope(share: Floats, value: Floats) -> float:
    centred = share - share.mean()
    square = float(centred @ centred)
    return float(centred @ value) / square if square > 0 else 0.0


class _Grid(NamedTuple):
    """EC50 and coefficient on a grid, and the line through each."""

    ec50: Floats
    hill: Floats
    basis: Floats
    """(points, n), centred shares of unit length."""

    @classmethod
    def about(cls, dose: Floats) -> _Grid:
        positive = dose[dose > 0]
        ends = np.log(positive.min() / 10), np.log(positive.max() * 10)
        ec50, hill = np.meshgrid(
            np.exp(np.linspace(*ends, _GRID[0])),
            np.geomspace(*STEEPNESS, _GRID[1]),
            indexing="ij",
        )
        share = _share(dose[None], ec50.reshape(-1, 1), hill.reshape(-1, 1))
        basis = share - share.mean(axis=1, keepdims=True)
        length = np.sqrt((basis**2).sum(axis=1, keepdims=True))
        basis = np.divide(basis, length, out=np.zeros_like(basis), where=length > 1e-9)
        return cls(ec50.ravel(), hill.ravel(), basis)

    def best(self, values: Floats) -> Floats:
        """Return EC50 and coefficient of the least squares of each row of values."""
        # The square that a line explains; the rest of each row's square is the error.
        at = np.abs(values @ self.basis.T).argmax(axis=1)
        return np.stack([self.ec50[at], self.hill[at]], axis=1)


def _refine(
    dose: Floats, value: Floats, start: Floats, grid: _Grid
) -> tuple[float, float]:
    from scipy.optimize import least_squares

    def errors(at: Floats) -> Floats:
        share = _share(dose, *np.exp(at))
        bottom, top = _levels(share, value)
        return np.asarray((bottom + (top - bottom) * share - value) / value.std())

    low = np.log([grid.ec50[0], STEEPNESS[0]]) - 1e-6
    high = np.log([grid.ec50[-1], STEEPNESS[1]]) + 1e-6
    found = least_squares(errors, np.log(start), bounds=(low, high))
    ec50, hill = np.exp(found.x)
    return float(ec50), float(hill)


def _draw(
    dose: Floats, value: Floats, fit: HillFit, n: int, rng: np.random.Generator
) -> Floats:
    """Return n rows of values as other wells might have given them."""
    mean = fit.at(dose)
    rest = (value - mean) * np.sqrt(len(dose) / max(len(dose) - 4, 1))
    groups = [np.flatnonzero(dose == each) for each in np.unique(dose)]
    if np.median([len(group) for group in groups]) < 2:
        return mean + rng.choice(rest, (n, len(dose)))
    drawn = np.empty((n, len(dose)))
    for group in groups:
        own = rest[group]
        middle, size = own.mean(), len(group)
        # The mean of a dose strays more than draws of so few wells do.
        wider = np.sqrt(size / (size - 1)) if size > 1 else 1.0
        picked = own[rng.integers(0, size, (n, size))]
        drawn[:, group] = mean[group] + middle + (picked - middle) * wider
    return drawn


# -- of a run --------------------------------------------------------------------------


def has_doses(wells: pd.DataFrame) -> bool:
    """Return whether wells have at least two doses."""
    return "dose" in wells and bool(wells["dose"].nunique() > 1)


def iter_curves(wells: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Yield the names and the wells of each curve.

    There is one for each channel, occasion, gene and condition with a dose above 0;
    wells of conditions whose only dose is 0 (a solvent control) stand at dose 0 of all
    curves of their gene. Where no condition has two doses above 0, conditions are the
    doses, and all wells of a gene are one curve, with an empty condition.
    """
    known = wells[wells["dose"].notna()]
    others = [name for name in KEYS if name != "condition"]
    doses = known[known["dose"] > 0].groupby("condition")["dose"].nunique()
    for key, group in known.groupby(others, sort=False):
        names = dict(zip(others, key, strict=True))
        if not (doses > 1).any():
            yield {**dict.fromkeys(KEYS, ""), **names}, group
            continue
        most = group.groupby("condition")["dose"].transform("max")
        controls = group[most == 0]
        for condition, own in group[most > 0].groupby("condition", sort=False):
            yield (
                {**dict.fromkeys(KEYS, ""), **names, "condition": condition},
                pd.concat([controls, own]),
            )


def measure_dose_response(
    wells: pd.DataFrame, *, n_boot: int = 500
) -> dict[str, pd.DataFrame]:
    """Return the curves of a run in numbers.

    Parameters
    ----------
    wells
        `vocabulary.WELLS`.
    n_boot
        Draws of wells for each interval.

    Returns
    -------
    dict
        Three tables, each with `KEYS` and measure (one of `MEASURES`). ``points``: row,
        column, dose, value of each well that has both. ``means``: dose, mean, low and
        high (Student's 95 % interval over wells; NaN: one well), n_wells.
        ``fits``: the fields of `HillFit`.
    """
    parts: dict[str, list[pd.DataFrame]] = {"points": [], "means": [], "fits": []}
    for names, own in iter_curves(wells):
        for measure in MEASURES:
            known = own[own[measure].notna()]
            if known.empty:
                continue
            line = {**names, "measure": measure}
            dose, value = (known[n].to_numpy(np.float64) for n in ("dose", measure))
            points = known[WELL].assign(dose=dose, value=value)
            fit = fit_hill(dose, value, n_boot=n_boot)
            parts["points"].append(points.assign(**line))
            parts["means"].append(_means(dose, value).assign(**line))
            parts["fits"].append(pd.DataFrame([fit._asdict()]).assign(**line))
    made = {n: pd.concat(p, ignore_index=True) for n, p in parts.items() if p}
    keys = [*KEYS, "measure"]
    return {
        n: table[[*keys, *table.columns.difference(keys, sort=False)]]
        for n, table in made.items()
    }


def _means(dose: Floats, value: Floats) -> pd.DataFrame:
    from scipy.stats import t

    rows = []
    for each in np.unique(dose):
        own = value[dose == each]
        n = len(own)
        half = np.nan
        if n > 1:
            half = float(t.ppf(0.975, n - 1)) * own.std(ddof=1) / np.sqrt(n)
        mean = float(own.mean())
        rows.append((each, mean, mean - half, mean + half, n))
    return pd.DataFrame(rows, columns=["dose", "mean", "low", "high", "n_wells"])
