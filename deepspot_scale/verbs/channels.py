"""Verbs on two channels: measure the shift between them, and pair their spots.

Tables of spots come in, those of one field for each channel; pairs and shares go out.
All of both tables is needed at once, so lazy ones are computed here. Nothing here knows
plates or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from deepspot_scale.blockwise.identity import pixel_size_of
from deepspot_scale.blockwise.lifting import (
    check_labels,
    is_volume,
    labels_at,
    same_depth,
)
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.chromatic import Shift
from deepspot_scale.kernels.compartments import Compartments, find_compartments
from deepspot_scale.statistics.channel_pairs import (
    IMAGE,
    ImageSpots,
    PairRule,
    measure_cells,
    pair_spots,
)
from deepspot_scale.statistics.shift_sample import choose_images, measure_on
from deepspot_scale.tables import join_tables
from deepspot_scale.verbs.cells import assign
from deepspot_scale.vocabulary import CELL_PAIRS, PAIRS, PROJECTED

if TYPE_CHECKING:
    from deepspot_scale.verbs.images import AnyTable


class ChannelPairs(NamedTuple):
    """What comparing two channels gives."""

    pairs: pd.DataFrame
    """Columns `vocabulary.PAIRS`."""
    cells: pd.DataFrame
    """Columns `vocabulary.CELL_PAIRS`; without label images it has no rows."""
    shift: Shift
    """The shift that was undone."""


def measure_chromatic_shift(spots: AnyTable, other: AnyTable) -> Shift:
    """Measure where the other channel shows what the one channel shows.

    The displacement that most spots share is sought within 10 pixels and 3 planes, then
    refined on one-to-one pairs; with 20 pairs and more it may be affine, so that it
    changes with the place. Of large tables a sample is taken, as in a run. Beads, or
    spots that really coincide, can tell it.

    Parameters
    ----------
    spots, other
        Tables from `detect`, of one or many fields, the same in both; lazy ones are
        computed.

    Returns
    -------
    Shift
        Its ``how`` is ``measured``, or ``not measurable`` if no displacement stands out
        of chance; such a shift moves nothing.

    Examples
    --------
    >>> from deepspot_scale.simulation import render_spots
    >>> from deepspot_scale.verbs.images import detect
    >>> points = np.random.default_rng(0).uniform(20, 230, (60, 2))
    >>> light = [render_spots((250, 250), points + moved, np.full(60, 500.0),
    ...          np.full(60, 1.3)) for moved in ((0, 0), (1, -4))]
    >>> one, other = (detect(xr.DataArray(100 + each, dims=("y", "x")), method="raw")
    ...               for each in light)
    >>> shift = measure_chromatic_shift(one, other)
    >>> round(shift.dy, 1), round(shift.dx, 1), shift.how
    (1.0, -4.0, 'measured')
    """
    images = {
        tuple(image.names[name] for name in IMAGE): image
        for image in _iter_images(*_computed(spots, other))
        if len(image.one) and len(image.other)
    }
    return measure_on(choose_images(images), images.items())


def colocalise(  # noqa: PLR0913 - two tables, two label images, and the rule
    spots: AnyTable,
    other: AnyTable,
    *,
    cells: xr.DataArray | None = None,
    nuclei: xr.DataArray | None = None,
    shift: Shift | Literal["measured", "none"] = "measured",
    pair_distance: float = 2.0,
    pair_planes: float = 1.5,
    n_draws: int = 100,
) -> ChannelPairs:
    """Pair the spots of two channels, and compare each cell's share with chance.

    Pairs are one to one: as many as there can be, and the closest such ones, once the
    shift is undone. For chance, spots of the other channel are moved to random pixels
    of their own cell, in its nucleus or outside as they were, and pairs counted again.

    Parameters
    ----------
    spots, other
        Tables of one field and of one channel each, from `detect`; lazy ones are
        computed, because pairing needs all of both.
    cells, nuclei
        Label images (y, x), or (z, y, x) for spots of volumes, each also with t in
        front, on the image's grid. Spots are assigned to them again.
    shift
        ``measured`` on these spots, ``none``, or one that beads gave.
    pair_distance, pair_planes
        Half axes of the ellipsoid in which spots are partners, in pixels and planes.
    n_draws
        How often spots are moved.

    Returns
    -------
    ChannelPairs
        The pairs, a row for each cell, and the shift.

    Raises
    ------
    FieldError
        Spots of several fields or channels, or label images that do not fit.
    SettingsError
        A distance that is not above 0, or no draws.

    Notes
    -----
    The cell's p value is ``(draws with as many pairs + 1) / (n_draws + 1)``. In a stack
    spots keep their depth when they move, because flat labels do not tell how deep a
    cell is; this makes chance rather too large than too small.

    Examples
    --------
    >>> from deepspot_scale.simulation import render_spots
    >>> from deepspot_scale.verbs.images import detect
    >>> light = render_spots((40, 60), np.array([[20, 30]]), [500.0], [1.3])
    >>> spots = detect(xr.DataArray(100 + light, dims=("y", "x")), method="raw")
    >>> cells = xr.DataArray(np.full((40, 60), 7), dims=("y", "x"))
    >>> found = colocalise(spots, spots, cells=cells, shift="none")
    >>> found.cells[["cell", "n_spots", "n_pairs", "share"]].to_numpy().tolist()
    [[7.0, 1.0, 1.0, 1.0]]
    """
    if not (pair_distance > 0 and pair_planes > 0 and n_draws >= 1):
        raise SettingsError(
            "expected distances above 0 and at least one draw; got "
            f"{pair_distance} pixels, {pair_planes} planes and {n_draws} draws"
        )
    one, two = _computed(spots, other)
    _check_one_field(one, two)
    labels = check_labels(cells, nuclei)
    if nuclei is not None and cells is None:
        raise FieldError("nuclei need cells: give the label image of the cells too")
    if labels:
        one, two = _computed(
            *(assign(each, cells=cells, nuclei=nuclei) for each in (one, two))
        )
    if isinstance(shift, str):
        measured = shift == "measured"
        shift = measure_chromatic_shift(one, two) if measured else Shift()
    rule = PairRule(pair_distance, pair_planes, shift, n_draws)
    voxel_um = _voxel_um(pd.concat([one, two]))
    pairs, of_cells = [], []
    known: dict[int, Compartments] = {}
    for image in _iter_images(one, two):
        found = pair_spots(image, rule, voxel_um)
        pairs.append(found)
        if labels:
            t = int(image.names["t"])
            if t not in known:
                known[t] = _compartments(labels, t)
            own = known[t]
            flat = not is_volume(labels)
            of_cells.append(
                measure_cells(image, found, rule, own.cells, own, flat=flat)
            )
    tables = join_tables(pairs, PAIRS), join_tables(of_cells, CELL_PAIRS)
    return ChannelPairs(*tables, shift)


def _computed(*tables: AnyTable) -> tuple[pd.DataFrame, pd.DataFrame]:
    one, other = (
        table if isinstance(table, pd.DataFrame) else table.compute()
        for table in tables
    )
    return one, other


def _check_one_field(*tables: pd.DataFrame) -> None:
    for table in tables:
        names = table["channel"].unique()
        if len(names) > 1:
            raise FieldError(
                f"spots of several channels, {', '.join(names)}; give the spots of one"
            )
    fields = pd.concat(tables)[["row", "column", "field"]].drop_duplicates()
    if len(fields) > 1:
        raise FieldError(
            f"the spots are of {len(fields)} fields; compare those of each field alone"
        )


def _iter_images(one: pd.DataFrame, other: pd.DataFrame) -> Iterator[ImageSpots]:
    """Yield the spots of each image in which any channel has some, in order."""
    both = pd.concat([one, other])
    depth = bool(((both["plane"] == PROJECTED) & (both["z"] != PROJECTED)).any())
    channels = [str(t["channel"].iloc[0]) if len(t) else "" for t in (one, other)]
    found = [dict(iter(table.groupby([*IMAGE]))) for table in (one, other)]
    for key in sorted({*found[0], *found[1]}):
        names: dict[str, Any] = dict(zip(IMAGE, key, strict=True))
        names |= {"channel": channels[0], "other": channels[1]}
        own, partners = (of.get(key, both.iloc[:0]) for of in found)
        yield ImageSpots.of(names, own, partners, depth=depth)


def _compartments(labels: dict[str, xr.DataArray], t: int) -> Compartments:
    of_time = labels_at(labels, t)
    if not is_volume(labels):
        of_time = {name: i.expand_dims("z") for name, i in of_time.items()}
    stacks = {n: np.asarray(i.data) for n, i in same_depth(of_time).items()}
    nuclei = stacks.get("nuclei")
    return find_compartments(
        (cells, None if nuclei is None else nuclei[z])
        for z, cells in enumerate(stacks["cells"])
    )


def _voxel_um(spots: pd.DataFrame) -> tuple[float | None, ...]:
    """Return the distances of planes, rows and columns, None where not known."""
    known = spots[spots["z_um"].notna()].sort_values("z")
    first, last = known[["z", "z_um"]].to_numpy()[[0, -1]] if len(known) else (0, 0)
    z, z_um = np.subtract(last, first) if len(known) else (0.0, 0.0)
    size = pixel_size_of(spots) or (None, None)
    return (z_um / z if z else None, *size)
