"""The largest values of a plane, which blocks put together, and quantiles near its top.

Values of blocks come in; the largest of them go out, and a plane that stands in for the
whole one where only its top matters. Nothing here knows what the values are.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 2.4e-7
"""NumPy reckons the place of a quantile of float32 values in float32: two roundings,
each of a 2**23th."""


def n_above(n: int, share: float) -> int:
    """Return how many of the largest of n values decide about the quantile `share`.

    A quantile may lie between two values, and its place is rounded.
    """
    return min(n, math.ceil((1 - share + _ROUNDING) * n) + 2)


def largest_values(values: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the n largest of some values in ascending order; all if they are fewer."""
    flat = values.ravel()
    if n < flat.size:
        flat = np.partition(flat, flat.size - n)[flat.size - n :]
    return np.sort(flat)


def stand_in(top: NDArray[Any], n: int) -> NDArray[Any]:
    """Return n ascending values, of which the largest are `top`, the others alike.

    ``numpy.quantile`` gives of them what it gives of all n, to the last bit, if the
    quantile lies in `top`; it is how other libraries measure, and depends on dtypes.

    Examples
    --------
    >>> float(np.median(stand_in(np.array([5.0, 8.0, 9.0]), 5)))
    5.0
    """
    values = np.full(n, top[0])
    values[n - top.size :] = top
    return values
