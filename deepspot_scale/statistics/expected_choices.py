r"""What the measures of experts' choices are expected to be: probabilities in.

An expert answers N questions, independently, with probabilities t (the target), p (the
predicted score) and e = 1 - t - p (equivalent). Then, exactly,

    E[domination] = p / (t + p)        where T + P > 0
    E[win share]  = p
    E[confusion]  = 1 - E|P - T| / N,
                    E|P - T| = sum_m Bin(m; N, t + p) E|2 X - m|, X ~ Bin(m, p/(t + p))

and if p = t, E|2 X - m| = m binom(m - 1, floor((m - 1) / 2)) / 2^(m - 1), de Moivre's
mean deviation. So confusion is below 1 even where nobody can tell the two apart, by
about sqrt(2 (t + p) / (pi N)): of 20 choices it is .82, not 1. Measured values are to
be compared with this, which is why it stands in the report.

An expert whose own judgement has the error a, who takes the nearer of a target with
error b and a prediction with error c (standard deviations, of normal distributions
about one true score), takes the prediction with the probability

    1/2 - arcsin(r) / pi,   r = (c^2 - b^2) / sqrt((b^2 + c^2) (4 a^2 + b^2 + c^2))

since it is nearer exactly if (T - P) (2 J - T - P) < 0, a product of two normal
numbers with the correlation r. Given the two scores, the judgement lies on the
prediction's side of their middle with a probability that is one normal integral, and
with questions of unequal probabilities the numbers T and P are sums of unequal steps,
whose distribution is a convolution. Nothing here knows tables.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Chances = NDArray[np.float64]


class Expected(NamedTuple):
    """Expected measures of one expert and bin; NaN where they are not known."""

    confusion: float
    domination: float
    win_share: float


def expect_measures(n: int, p_target: float, p_predicted: float) -> Expected:
    """Return the expected measures of `n` choices that are not discarded.

    Parameters
    ----------
    n
        Questions, those without a choice left out.
    p_target, p_predicted
        Probabilities that the one or the other is chosen; what is left to 1 is that of
        "equivalent".

    Examples
    --------
    >>> round(expect_measures(20, 0.5, 0.5).confusion, 3)
    0.824
    """
    from scipy.stats import binom

    either = p_target + p_predicted
    domination = p_predicted / either if either > 0 else np.nan
    if n == 0:
        return Expected(np.nan, np.nan, np.nan)
    if either == 0:
        return Expected(1.0, domination, 0.0)
    decided = np.arange(n + 1)
    apart = [_mean_difference(int(m), domination) if m else 0.0 for m in decided]
    mean = float(binom.pmf(decided, n, min(either, 1.0)) @ np.array(apart))
    return Expected(1 - mean / n, domination, p_predicted)


def expect_unequal(p_target: Chances, p_predicted: Chances) -> Expected:
    """Return the expected measures of questions (n,) with unequal probabilities.

    Examples
    --------
    >>> unequal = expect_unequal(np.full(20, 0.4), np.full(20, 0.5))
    >>> equal = expect_measures(20, 0.4, 0.5)
    >>> bool(np.allclose(unequal, equal))
    True
    """
    n = len(p_target)
    if not n:
        return Expected(np.nan, np.nan, np.nan)
    chance = np.zeros((n + 1, n + 1))  # of T and P after some questions
    chance[0, 0] = 1.0
    for t, p in zip(p_target, p_predicted, strict=True):
        moved = (1 - t - p) * chance
        moved[1:] += t * chance[:-1]
        moved[:, 1:] += p * chance[:, :-1]
        chance = moved
    n_target, n_predicted = np.indices(chance.shape)
    either = n_target + n_predicted
    decided = float(chance[either > 0].sum())
    share = np.divide(n_predicted, either, where=either > 0, out=np.zeros(either.shape))
    return Expected(
        float((chance * (1 - np.abs(n_predicted - n_target) / n)).sum()),
        float((chance * share).sum()) / decided if decided > 0 else np.nan,
        float(np.mean(p_predicted)),
    )


def chances_of_choice(
    true: Chances,
    shown: tuple[Chances, Chances],
    error: float,
    indifference: float = 0.0,
) -> tuple[Chances, Chances]:
    """Return how likely an expert takes the target and the predicted score, (n,) each.

    Parameters
    ----------
    true
        Means (n,) of the expert's judgements.
    shown
        Target and predicted score, (n,) each.
    error
        Standard deviation of judgements, above 0.
    indifference
        The two are equivalent if their distances differ by no more.
    """
    from scipy.stats import norm

    target, predicted = shown
    middle, apart = (target + predicted) / 2, np.abs(target - predicted)
    # Between the two, the distances differ by twice the way from the middle.
    way = np.where(apart > indifference, indifference / 2, np.inf)
    above = norm.sf(middle + way, true, error)
    below = norm.cdf(middle - way, true, error)
    up = predicted > target
    return np.where(up, below, above), np.where(up, above, below)


def _mean_difference(m: int, p: float) -> float:
    """Return E|2 X - m| of X ~ Bin(m, p)."""
    from scipy.stats import binom

    x = np.arange(m + 1)
    return float(binom.pmf(x, m, p) @ np.abs(2 * x - m))


def chance_of_nearer(judged: float, target: float, predicted: float) -> float:
    """Return the probability that a prediction is nearer to a judgement than a target.

    Parameters
    ----------
    judged, target, predicted
        Standard deviations of the three about the true score, in one unit.

    Examples
    --------
    >>> chance_of_nearer(5, 10, 10), round(chance_of_nearer(0, 10, 1e-9), 6)
    (0.5, 1.0)
    """
    both = target**2 + predicted**2
    across = np.sqrt(both * (4 * judged**2 + both))
    if across == 0:
        return 0.5
    return float(0.5 - np.arcsin((predicted**2 - target**2) / across) / np.pi)
