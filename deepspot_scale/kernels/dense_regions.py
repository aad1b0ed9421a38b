"""Dense regions of a stack, taken apart into single molecules.

Spots as they were fitted, and the raw voxels about the bright ones, come in; the places
of molecules go out. One molecule is a Gaussian of the field's usual height and width.
In each region molecules are added where the rest of the light fits one best, and moved
together, as long as the sum of squares falls; if they explain the light no better than
the spots do, the region is left whole. A region is a small problem of its own, so it
does not matter who solves it. Nothing here knows blocks, fields or tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.sparse import coo_array, csgraph
from scipy.spatial import KDTree

from deepspot_scale.kernels.single_spot import SingleSpot
from deepspot_scale.kernels.spot_fit import FittedSpots, seen_widths
from deepspot_scale.kernels.volumes import Index, Real

_MEMBER: Final = 2.5
"""Spots so many sigmas from a bright one are placed anew with it."""
_LINK: Final = 6.0
"""Bright spots so many sigmas from each other are one region."""
_INNER: Final = 3.5
"""Molecules lie at most so many sigmas from a spot of the region."""
_MOST_EACH: Final = 40
"""Molecules for each bright spot of a region. Brighter objects are dirt or aggregates,
of which the fit would make hundreds of molecules."""
_MOST_VOXELS: Final = 1 << 22
"""Of a region's box."""
_REACH: Final = 5.0
"""Voxels of a region, in sigmas about its bright spots along each axis."""
_LIGHT: Final = 4.0
"""Sigmas along an axis at which the light of a molecule ends."""
_NEAR: Final = 2.0
"""Voxels so many sigmas from a molecule tell how high it is, and its ground."""
_LEAST_SPREAD: Final = 0.05
"""Where the light of a molecule varies less, as a share, it is not told from ground."""
_LEAST_CONTRAST: Final = 0.25
"""Of a molecule, before those about it make room for it."""
_TOGETHER: Final = 3.0
"""Molecules so many sigmas from a new one are moved with it."""
_DARK: Final = 2.5
"""Voxels so many sigmas from all spots tell the background."""
_FEWEST_DARK, _FOR_A_SURFACE = 20, 200
_STEPS, _MORE_STEPS = 3, 12
_FARTHEST_STEP: Final = 0.5


def region_reach(sigmas: Real) -> tuple[int, ...]:
    """Return the voxels about a bright spot that its region needs, along each axis."""
    return tuple(int(reach) for reach in np.ceil(_REACH * sigmas))


def find_regions(places: Real, bright: NDArray[np.bool_], sigmas: Real) -> list[Index]:
    """Return the spots of each region, as ascending indices, in order of the first.

    Parameters
    ----------
    places
        (n, 3) of all spots of a field.
    bright
        (n,) whether each is several molecules.
    sigmas
        (3,) of a spot.
    """
    if not bright.any():
        return []
    tree, which = KDTree(places / sigmas), np.flatnonzero(bright)
    tree_of_bright = KDTree(places[which] / sigmas)
    near = tree_of_bright.sparse_distance_matrix(tree, _MEMBER, output_type="ndarray")
    linked = tree_of_bright.query_pairs(_LINK, output_type="ndarray")
    one = which[np.concatenate([near["i"], linked[:, 0]])]
    other = np.concatenate([near["j"], which[linked[:, 1]]])
    n = len(places)
    graph = coo_array((np.ones(one.size), (one, other)), shape=(n, n))
    _, group = csgraph.connected_components(graph, directed=False)
    members = np.unique(np.concatenate([one, other]))
    by_group: dict[int, list[int]] = {}
    for member in members.tolist():
        by_group.setdefault(int(group[member]), []).append(member)
    return [np.array(each) for each in by_group.values()]


class Crop(NamedTuple):
    """Voxels about a bright spot."""

    origin: Index
    """(3,) first voxel in the field."""
    counts: NDArray[Any]
    """(z, y, x), raw."""


class Molecules(NamedTuple):
    """What a region was taken apart into."""

    places: Real
    """(k, 3) in voxels of the field."""
    light: float
    """The region's light over that of its molecules, times their number: how many there
    are by brightness, beside k by fit."""


def take_apart(
    spots: FittedSpots, region: Index, crops: Sequence[Crop], single: SingleSpot
) -> Molecules | None:
    """Return the molecules of one region.

    Parameters
    ----------
    spots
        All spots of the field.
    region
        Indices of the region's own, from `find_regions`.
    crops
        Voxels about its bright spots, `region_reach` to each side.
    single
        One molecule.

    Returns
    -------
    Molecules or None
        None where the region is left whole: it is too large or too bright to be sure
        of, or single molecules explain its light no better than its spots do, each with
        its own height.
    """
    if np.prod(np.subtract(*_ends(crops)[::-1])) > _MOST_VOXELS:
        return None
    window, sigmas = _Window.of(crops), seen_widths(single.width)
    peaks = spots.heights * (single.peak / single.height)
    light_ends = _LIGHT * sigmas
    first, last = window.origin, window.origin + window.rest.shape
    reached = (spots.places >= first - light_ends) & (spots.places < last + light_ends)
    others = np.setdiff1d(np.flatnonzero(reached.all(axis=1)), region)
    for other in others:
        window.add(spots.places[other], -peaks[other], sigmas)
    own = spots.places[region]
    window.rest[...] -= _background(
        window, np.concatenate([spots.places[others], own]), sigmas
    )
    total = window.rest.copy()
    inner = window.within(own, _INNER, sigmas) & window.there
    most = _MOST_EACH * len(crops)
    one_light = single.peak * float(np.prod(sigmas)) * (2 * np.pi) ** 1.5
    if total[inner].sum() > most * one_light:
        return None
    for member, height in zip(own, peaks[region], strict=True):
        window.add(member, -height, sigmas)
    squares = window.squares()
    window.rest[...] = total
    places = _place(window, inner, single.peak, sigmas, most)
    if len(places) <= len(region) or window.squares() >= squares:
        return None
    near = window.within(places, _MEMBER, sigmas) & window.there
    model = (total - window.rest)[near].sum()
    light = len(places) * float(total[near].sum() / model) if model > 0 else 0.0
    return Molecules(places, light)


def _ends(crops: Sequence[Crop]) -> tuple[Index, Index]:
    """Return the first voxel of a box about all crops, and that behind its last."""
    first = np.min([crop.origin for crop in crops], axis=0)
    last = np.max([crop.origin + crop.counts.shape for crop in crops], axis=0)
    return first, last


class _One(NamedTuple):
    """One molecule, and where it may be."""

    height: float
    sigmas: Real
    allowed: NDArray[np.bool_]
    """(z, y, x) of the region's box."""


class _Window(NamedTuple):
    """The box of a region."""

    origin: Index
    """(3,) first voxel in the field."""
    rest: Real
    """(z, y, x) counts that no molecule explains yet."""
    there: NDArray[np.bool_]
    """Whether each voxel is of the region."""

    @classmethod
    def of(cls, crops: Sequence[Crop]) -> _Window:
        first, last = _ends(crops)
        rest, there = np.zeros(last - first), np.zeros(last - first, bool)
        for crop in crops:
            box = _box(crop.origin - first, crop.origin - first + crop.counts.shape)
            rest[box], there[box] = crop.counts, True
        return cls(first, rest, there)

    def squares(self, box: tuple[slice, ...] = ()) -> float:
        """Return the sum of squares of what is not explained, in all or in a box."""
        return float((self.rest[box][self.there[box]] ** 2).sum())

    def around(self, place: Real, reach: Real) -> tuple[slice, ...]:
        """Return the box of the voxels about a place of the field."""
        at = place - self.origin
        first = np.clip(np.ceil(at - reach), 0, self.rest.shape)
        last = np.clip(np.floor(at + reach) + 1, first, self.rest.shape)
        return _box(first.astype(np.int64), last.astype(np.int64))

    def add(self, place: Real, height: float, sigmas: Real) -> None:
        """Add the light of one spot to the rest."""
        box = self.around(place, _LIGHT * sigmas)
        z, y, x = self.profiles(box, place[None], sigmas)
        bell = z[0][:, None, None] * y[0][:, None] * x[0]
        self.rest[box] += height * bell

    def away(self, box: tuple[slice, ...], places: Real) -> list[Real]:
        """Return how far voxels of a box are from k places, (k, voxels) an axis."""
        return [
            np.arange(side.start, side.stop) + self.origin[axis] - places[:, axis, None]
            for axis, side in enumerate(box)
        ]

    def profiles(
        self, box: tuple[slice, ...], places: Real, sigmas: Real
    ) -> list[Real]:
        """Return the light of k spots along each axis of a box, (k, voxels) each."""
        away = self.away(box, places)
        return [
            np.exp(-0.5 * gap**2 / sigma**2)
            for gap, sigma in zip(away, sigmas, strict=True)
        ]

    def holds(self, places: Real, allowed: NDArray[np.bool_]) -> bool:
        """Return whether all places lie in voxels that are allowed."""
        voxels = np.floor(places - self.origin + 0.5).astype(np.int64)
        if (voxels < 0).any() or (voxels >= self.rest.shape).any():
            return False
        return bool(allowed[tuple(voxels.T)].all())

    def within(self, places: Real, reach: float, sigmas: Real) -> NDArray[np.bool_]:
        """Return which voxels lie at most `reach` sigmas from one of some places."""
        inside = np.zeros(self.rest.shape, bool)
        for place in places:
            box = self.around(place, reach * sigmas)
            z, y, x = (
                gap[0] ** 2 / sigma**2
                for gap, sigma in zip(self.away(box, place[None]), sigmas, strict=True)
            )
            distance = z[:, None, None] + y[:, None] + x
            inside[box] |= distance <= reach**2
        return inside


def _box(first: Index, last: Index) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))


def _background(window: _Window, places: Real, sigmas: Real) -> Real:
    """Return the background of each voxel, by the voxels that no spot lights.

    It is the quadratic surface that fits them best, or their median if they are few; of
    hardly any, the darkest tenth of all.
    """
    dark = window.there & ~window.within(places, _DARK, sigmas)
    n = np.count_nonzero(dark)
    if n < _FEWEST_DARK:
        return np.asarray(np.percentile(window.rest[window.there], 10))
    counts = window.rest[dark]
    if n < _FOR_A_SURFACE:
        return np.asarray(np.median(counts))
    shape = window.rest.shape
    axes = [np.linspace(-1.0, 1.0, size) if size > 1 else np.zeros(1) for size in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    terms = [z, y, x, z * z, y * y, x * x, z * y, z * x, y * x]
    whole = [np.ones(shape), *(np.broadcast_to(term, shape) for term in terms)]
    columns = np.column_stack([term[dark] for term in whole])
    shares = np.linalg.lstsq(columns, counts, rcond=1e-6)[0]
    return np.asarray(sum(s * term for s, term in zip(shares, whole, strict=True)))


def _place(
    window: _Window,
    allowed: NDArray[np.bool_],
    height: float,
    sigmas: Real,
    most: int,
) -> Real:
    """Return the molecules of a window, whose light is taken off its rest."""
    one = _One(height, sigmas, allowed)
    places = np.zeros((0, 3))
    fits = np.full(window.rest.shape, -np.inf)
    whole = _box(np.zeros(3, np.int64), np.array(window.rest.shape))
    _update(fits, window, whole, one)
    while len(places) < most:
        voxel = np.unravel_index(int(fits.argmax()), fits.shape)
        # With less than half of a molecule there the sum of squares rises at first, and
        # falls only if those about it make room.
        crowds = fits[voxel] <= height / 2
        if fits[voxel] <= _LEAST_CONTRAST * height:
            break
        new = np.array(voxel, np.float64) + window.origin
        near = window.around(new, (_TOGETHER + 2 * _LIGHT) * sigmas)
        before, squares = window.rest[near].copy(), window.squares(near)
        added = np.concatenate([places, new[None]])
        window.add(new, -height, sigmas)
        _move(window, added, one, _MORE_STEPS if crowds else _STEPS)
        if window.squares(near) >= squares:
            window.rest[near] = before
            break
        places = added
        around = window.around(new, (_TOGETHER + 2 * _LIGHT + _NEAR) * sigmas)
        _update(fits, window, around, one)
    return places


def _update(fits: Real, window: _Window, box: tuple[slice, ...], one: _One) -> None:
    """Write how high a spot would fit best at each voxel of a box, on any ground."""
    sigmas = one.sigmas
    ends = [int(np.ceil(_NEAR * sigma)) for sigma in sigmas]
    around = tuple(
        slice(max(side.start - end, 0), side.stop + end)
        for side, end in zip(box, ends, strict=True)
    )
    inner = tuple(
        slice(side.start - read.start, side.stop - read.start)
        for side, read in zip(box, around, strict=True)
    )
    there = window.there[around].astype(np.float64)
    rest = window.rest[around] * there
    bells = [
        np.exp(-0.5 * (np.arange(-end, end + 1) / sigma) ** 2)
        for sigma, end in zip(sigmas, ends, strict=True)
    ]
    n = _filter(there, [np.ones_like(bell) for bell in bells])
    light = _filter(rest, [np.ones_like(bell) for bell in bells])
    shape, square = _filter(there, bells), _filter(there, [bell**2 for bell in bells])
    spread = n * square - shape**2
    best = np.full(light.shape, -np.inf)
    known = spread > _LEAST_SPREAD * n * square
    np.divide(n * _filter(rest, bells) - shape * light, spread, out=best, where=known)
    fits[box] = np.where(one.allowed[box], best[inner], -np.inf)


def _filter(values: Real, weights: list[Real]) -> Real:
    """Return the sums of values times weights along each axis."""
    for axis, along in enumerate(weights):
        values = correlate1d(values, along, axis=axis, mode="constant")
    return values


def _move(window: _Window, places: Real, one: _One, n_steps: int) -> None:
    """Move the last place and those about it to where they fit best together.

    Steps of Gauss and Newton; one that does not lower the sum of squares, or that leads
    out of the region, is undone.
    """
    height, sigmas = one.height, one.sigmas
    scaled = (places - places[-1]) / sigmas
    own = np.flatnonzero((scaled**2).sum(axis=1) <= _TOGETHER**2)
    box = window.around(places[-1], (_TOGETHER + _LIGHT) * sigmas)
    for _ in range(n_steps):
        before = places[own].copy()
        squares = window.squares(box)
        step = _newton_step(window, box, before, height, sigmas)
        moved = before + np.clip(step, -_FARTHEST_STEP, _FARTHEST_STEP)
        if not window.holds(moved, one.allowed):
            return
        _swap(window, before, moved, height, sigmas)
        if window.squares(box) >= squares:
            _swap(window, moved, before, height, sigmas)
            return
        places[own] = moved


def _swap(
    window: _Window, before: Real, after: Real, height: float, sigmas: Real
) -> None:
    for place in before:
        window.add(place, height, sigmas)
    for place in after:
        window.add(place, -height, sigmas)


def _newton_step(
    window: _Window,
    box: tuple[slice, ...],
    places: Real,
    height: float,
    sigmas: Real,
) -> Real:
    """Return the (k, 3) steps that would be best if light changed evenly with place."""
    there, n = window.there[box], len(places)
    profiles = window.profiles(box, places, sigmas)
    away = window.away(box, places)
    slopes = [
        profile * gap / sigma**2
        for profile, gap, sigma in zip(profiles, away, sigmas, strict=True)
    ]
    columns = np.concatenate(list(_slopes_of(profiles, slopes, there)))
    normal = height**2 * columns @ columns.T
    normal[np.diag_indices_from(normal)] *= 1.01  # two at one place pull apart slowly
    normal[np.diag_indices_from(normal)] += 1e-6 * height**2
    right = height * columns @ window.rest[box][there]
    return np.asarray(np.linalg.solve(normal, right).reshape(3, n).T)


def _slopes_of(
    profiles: list[Real], slopes: list[Real], there: NDArray[np.bool_]
) -> Iterator[Real]:
    """Yield for each axis the (k, voxels) slopes of k spots of height 1."""
    for axis in range(3):
        z, y, x = (
            slopes[each] if each == axis else profiles[each] for each in range(3)
        )
        light = np.einsum("kz,ky,kx->kzyx", z, y, x)
        yield light[:, there]
