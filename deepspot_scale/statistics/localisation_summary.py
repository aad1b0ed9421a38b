"""What a movie's localisations come to: molecules, densities, precision, a picture.

Parts of a table come in, one movie and channel, in the order of frames; each is looked
at once. What is kept between parts is counts, pictures and molecules that are still on:
memory does not grow with the frames, but by the table of molecules, if it is wanted.
The same table cut into other parts gives the same bits. Nothing here knows runs or
files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.drift import segment_of
from deepspot_scale.kernels.nearest_frames import (
    NearestDistances,
    count_distances,
    nearest_precision_nm,
    no_distances,
)
from deepspot_scale.kernels.rendering import (
    FULL,
    Method,
    Picture,
    canvas_of,
    draw_onto,
)
from deepspot_scale.kernels.ring_correlation import (
    BLOCKS,
    Rings,
    correlate_rings,
    half_of_blocks,
    resolution_nm,
)
from deepspot_scale.statistics.merged_localisations import (
    Merging,
    OpenMolecules,
    check_merging,
    merge_part,
    merge_rest,
    no_molecules,
)
from deepspot_scale.statistics.movie_parts import (
    MovieSize,
    check_drift,
    checked_parts,
    draw_ones,
    middle_of,
    places,
)
from deepspot_scale.tables import join_tables
from deepspot_scale.vocabulary import LOCALISATIONS

Real = NDArray[np.float64]
Write = Callable[[pd.DataFrame], None]
_MOST_PIXELS: Final = 1 << 30
"""Pixels of the largest picture: 8 GB while it is drawn."""
_WIDEST_NM: Final = 200.0
"""Molecules of less certain places are drawn as wide as this, not wider."""


@dataclass(frozen=True)
class PictureOptions:
    """How molecules are merged and drawn. Invalid values raise SettingsError."""

    pixel_nm: float = 10.0
    """Side of a pixel of the picture."""
    method: Method = "gaussian"
    by_photons: bool = False
    """Whether a molecule counts by its photons, or counts where these are not known;
    else as one."""
    blur_nm: float = 20.0
    """Sigma of molecules whose uncertainty is not known."""
    merging: Merging = field(default_factory=Merging)
    seed: int = 0
    """Of the lot that halves the frames."""

    def __post_init__(self) -> None:
        check_merging(self.merging)
        if not (0 < self.pixel_nm < np.inf and 0 < self.blur_nm < np.inf):
            raise SettingsError(
                "a picture needs pixels and a blur above 0 nm, got "
                f"{self.pixel_nm} and {self.blur_nm}"
            )
        if self.method not in {"sum", "ash", "gaussian"}:
            raise SettingsError(
                f"molecules are drawn by sum, ash or gaussian, not {self.method!r}"
            )


@dataclass(frozen=True)
class LocalisationSummary:
    """What one movie came to."""

    molecules: pd.DataFrame | None
    """Merged rows, in the order in which they were first seen; None: were written."""
    n_molecules: int
    counts: NDArray[np.int64]
    """(n_frames,) localisations of each frame."""
    density: float
    """Localisations per square micrometre and frame, of the whole movie."""
    precision_nm: float
    """By the next frame (NeNA); NaN: not to be told."""
    rings: Rings
    """Agreement of the halves of the frames."""
    resolution_nm: float
    """Where it falls to 1 / 7; NaN: it does not."""
    picture: Picture
    """(y, x) molecules, in units of `rendering.UNIT`."""
    pixel_nm: float


def summarise_localisations(
    parts: Iterable[pd.DataFrame],
    movie: MovieSize,
    options: PictureOptions,
    *,
    drift_nm: Real | None = None,
    write: Write | None = None,
) -> LocalisationSummary:
    """Return what the localisations of one movie and channel come to.

    Parameters
    ----------
    parts
        Tables with the columns of `vocabulary.LOCALISATIONS`; whole frames, in order.
    movie, options
        What they are of, and how they are drawn.
    drift_nm
        (n_frames, 2) y and x that are taken off first, see `localisation_drift`;
        finite. None: none.
    write
        Takes molecules part by part as they end, instead of collecting them; their
        order then depends on the parts, the rows themselves do not.

    Raises
    ------
    SettingsError
        Parts out of order, of several movies, with frames beyond the movie or places
        that are not finite; a drift of another movie; or a pixel of the picture is too
        bright for its numbers.
    """
    if drift_nm is not None:
        check_drift(drift_nm, movie)
    going = _Going.begin(movie, options)
    for part in checked_parts(parts, movie, drift_nm):
        going.take(part, write)
    return going.end(write)


@dataclass
class _Going:
    """What is kept from part to part; changed in place, since pictures are large."""

    movie: MovieSize
    options: PictureOptions
    counts: NDArray[np.int64]
    distances: NearestDistances
    open: OpenMolecules
    picture: Picture
    halves: Picture
    """(2, y, x) localisations of the two halves of the frames."""
    corner: Real
    """Of the halves' pictures, nm."""
    tables: list[pd.DataFrame]
    numbers: list[NDArray[np.int64]]

    @classmethod
    def begin(cls, movie: MovieSize, options: PictureOptions) -> _Going:
        whole = canvas_of((movie.height_nm, movie.width_nm), options.pixel_nm)
        if whole.shape[0] * whole.shape[1] > _MOST_PIXELS:
            raise SettingsError(
                f"a picture of {whole.shape[0]} x {whole.shape[1]} px is too large; "
                f"draw pixels larger than {options.pixel_nm:g} nm (--pixel, in um)"
            )
        middle, corner = middle_of(movie, options.pixel_nm)
        return cls(
            movie,
            options,
            np.zeros(movie.n_frames, np.int64),
            no_distances(),
            no_molecules(),
            np.zeros(whole.shape, np.int64),
            np.zeros((2, *middle.shape), np.int64),
            corner,
            [],
            [],
        )

    def take(self, part: pd.DataFrame, write: Write | None) -> None:
        frames, yx = part["frame"].to_numpy(np.int64), places(part)
        self.counts += np.bincount(frames, minlength=self.movie.n_frames)
        self.distances = count_distances(self.distances, frames, yx)
        n_blocks = min(BLOCKS, self.movie.n_frames)
        block = segment_of(frames, self.movie.n_frames, n_blocks)
        half = half_of_blocks(n_blocks, self.options.seed)[block]
        for i, own in enumerate((half, ~half)):
            draw_ones(self.halves[i], yx[own] - self.corner, self.options.pixel_nm)
        self.open, rows, numbers = merge_part(self.open, part, self.options.merging)
        self.keep(rows, numbers, write)

    def keep(
        self, rows: pd.DataFrame, numbers: NDArray[np.int64], write: Write | None
    ) -> None:
        """Draw molecules that have ended, and collect or write them."""
        if not len(rows):
            return
        options = self.options
        known = rows["uncertainty_nm"]
        # Among molecules of known uncertainty, one without has no light to speak of.
        blur = options.blur_nm if known.isna().all() else _WIDEST_NM
        sigma = known.fillna(blur).to_numpy(np.float64)
        draw_onto(
            self.picture,
            options.method,
            places(rows),
            _weights(rows, by_photons=options.by_photons),
            np.clip(sigma, options.pixel_nm / 100, _WIDEST_NM),
            pixel_nm=options.pixel_nm,
        )
        if self.picture.max() >= FULL or self.picture.min() < 0:
            raise SettingsError(
                "a pixel of the picture is brighter than its numbers can tell; draw "
                "molecules as one each, or smaller pixels"
            )
        if write is not None:
            write(rows)
            return
        self.tables.append(rows)
        self.numbers.append(numbers)

    def end(self, write: Write | None) -> LocalisationSummary:
        self.keep(*merge_rest(self.open), write)
        movie, pixel_nm = self.movie, self.options.pixel_nm
        rings = correlate_rings(*self.halves)
        area_um2 = movie.height_nm * movie.width_nm / 1e6
        return LocalisationSummary(
            molecules=self.table() if write is None else None,
            n_molecules=self.open.links.n,
            counts=self.counts,
            density=float(self.counts.sum() / max(movie.n_frames, 1) / area_um2),
            precision_nm=nearest_precision_nm(self.distances.counts),
            rings=rings,
            resolution_nm=resolution_nm(rings, pixel_nm),
            picture=self.picture,
            pixel_nm=pixel_nm,
        )

    def table(self) -> pd.DataFrame:
        """Return the molecules in the order in which they were first seen."""
        whole = join_tables(self.tables, LOCALISATIONS)
        order = np.argsort(np.concatenate([np.zeros(0, np.int64), *self.numbers]))
        return whole.iloc[order].reset_index(drop=True)


def _weights(rows: pd.DataFrame, *, by_photons: bool) -> Real:
    if not by_photons:
        return np.ones(len(rows))
    light = rows["photons"].fillna(rows["intensity"])
    return np.asarray(np.maximum(light.fillna(0).to_numpy(np.float64), 0))
