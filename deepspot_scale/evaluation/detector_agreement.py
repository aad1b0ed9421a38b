"""Where detectors differ: the spots of several runs in, tables out.

Spots of two detectors are pairs one to one, as many as there can be within a radius on
the same image (`kernels.pairing`). No one is taken for the truth: F1 is twice the pairs
over all spots of both, and is the same both ways. Nothing here runs a detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.evaluation.matching import RADIUS
from deepspot_scale.kernels.pairing import pair_one_to_one
from deepspot_scale.runs.manifest import ADDRESS
from deepspot_scale.runs.results import RunResults

IMAGE: Final = ("acquisition", "t", "plane", "channel")
"""Which image of a field a spot is on."""
_FIELD_CHANNEL: Final = [*ADDRESS, "channel"]
_READ: Final = (*IMAGE, "y", "x", "intensity", "snr", "cell")
TILE: Final = 96
"""Edge in pixels of the places by which differences are counted."""
_MOST_PLACES: Final = 2
"""Most places of one field among those that are shown."""


class Place(NamedTuple):
    """Part of an image in which detectors differ."""

    path: str
    """Of the field."""
    t: int
    plane: int
    channel: str
    y: int
    """First row of the tile."""
    x: int
    """First column."""
    n_differ: int
    """Spots there that not every detector found."""


@dataclass(frozen=True)
class Agreement:
    """All tables of a comparison."""

    detectors: tuple[str, ...]
    radius: float
    """Largest distance of a pair, pixels."""
    spots: pd.DataFrame
    """All spots: detector, address, image, y, x, intensity, snr, cell, found_by."""
    summary: pd.DataFrame
    """One row for each detector."""
    pairs: pd.DataFrame
    """One row for each two detectors: detector, other, n_spots, n_other, n_pairs,
    n_only_detector, n_only_other, f1, distance_px (median of the pairs)."""
    fields: pd.DataFrame
    """One row for each field, channel and detector: n_spots, n_shared (by all),
    n_only."""
    field_pairs: pd.DataFrame
    """`pairs` for each field and channel."""
    cells: pd.DataFrame
    """One row for each cell and detector; empty without cells."""
    left_out: pd.DataFrame
    """Fields that not every detector has done: address, detector, reason."""
    places: tuple[Place, ...]
    """Where they differ most, the worst first."""

    @property
    def differences(self) -> pd.DataFrame:
        """Bland and Altman's numbers of each two detectors, over fields and cells.

        Columns unit, detector, other, n, mean_difference (other minus detector), low,
        high: between these lie 95 % of the differences, if they are normal
        (doi:10.1016/S0140-6736(86)90837-8).
        """
        lines = []
        for unit, table in (("field", self.fields), ("cell", self.cells)):
            for one, other in combinations(self.detectors, 2):
                counts = paired_counts(table, one, other)
                lines.append(
                    {"unit": unit, "detector": one, "other": other, **_limits(counts)}
                )
        frame = pd.DataFrame(lines)
        return frame[frame["n"] > 0].reset_index(drop=True)


def paired_counts(table: pd.DataFrame, one: str, other: str) -> NDArray[np.float64]:
    """Return (n, 2) numbers of spots by two detectors, in the order of the table.

    `table` is `Agreement.fields` or `Agreement.cells`.
    """
    if table.empty:
        return np.zeros((0, 2))
    keys = [c for c in table if c not in {"detector", "n_spots", "n_shared", "n_only"}]
    columns = []
    for detector in (one, other):
        own = table[table["detector"] == detector]
        columns.append(own.set_index(keys)["n_spots"])
    both = pd.concat(columns, axis=1, join="inner")
    return both.to_numpy(np.float64)


def _limits(counts: NDArray[np.float64]) -> dict[str, float]:
    difference = counts[:, 1] - counts[:, 0]
    n = len(difference)
    mean = float(difference.mean()) if n else np.nan
    spread = 1.96 * float(difference.std(ddof=1)) if n > 1 else np.nan
    return {
        "n": n,
        "mean_difference": mean,
        "low": mean - spread,
        "high": mean + spread,
    }


def compare_runs(
    runs: Mapping[str, RunResults], *, radius: float = RADIUS, n_places: int = 6
) -> Agreement:
    """Return where the detectors of some runs on one plate differ.

    Parameters
    ----------
    runs
        Runs by the names of their detectors, two or more.
    radius
        Largest distance of a pair in pixels, itself included.
    n_places
        How many of the places are returned in which they differ most.

    Raises
    ------
    SettingsError
        Fewer than two runs, runs of other images, or a radius that is not above 0.
    RunError
        No field was done by all.
    """
    _check(runs, radius)
    shared, left_out = _shared_fields(runs)
    spots = _read_spots(runs, shared)
    field_pairs, found_by = _pair_all(spots, tuple(runs), radius)
    spots["found_by"] = found_by
    tiles = _tiles(spots, len(runs))
    fields = _count_fields(spots, tuple(runs), shared)
    return Agreement(
        tuple(runs),
        radius,
        spots,
        _summarise(runs, spots, fields, shared),
        _pool(field_pairs, tuple(runs), spots),
        fields,
        field_pairs,
        _read_cells(runs, shared),
        left_out,
        tuple(_choose(tiles, n_places)),
    )


def _check(runs: Mapping[str, RunResults], radius: float) -> None:
    if len(runs) < 2:
        raise SettingsError(f"expected two runs or more, got {len(runs)}")
    if not 0 < radius < np.inf:
        raise SettingsError(f"the radius of a pair is above 0 px, got {radius}")
    first = next(iter(runs.values()))
    for name, run in runs.items():
        one, other = (
            (each.begun_on, each.settings.channels, each.settings.project)
            for each in (first, run)
        )
        if one != other:
            raise SettingsError(
                f"the run of {name!r} is on {other}, another one on {one}: plate, "
                "channels and projection must be the same"
            )


def _shared_fields(
    runs: Mapping[str, RunResults],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the addresses that all have done, and those that some have not."""
    done = {name: _addresses(run.done) for name, run in runs.items()}
    shared = set.intersection(*map(set, done.values()))
    if not shared:
        raise RunError(
            "no field was done by every detector, so nothing can be compared; "
            "deepspot-scale status RUN says why fields failed"
        )
    lines = []
    for name, run in runs.items():
        reasons = dict(zip(_addresses(run.failed), run.failed["reason"], strict=True))
        every = set().union(*(set(_addresses(each.fields)) for each in runs.values()))
        for address in sorted(every - set(done[name])):
            reason = reasons.get(address, "not tried")
            lines.append([*address, name, reason])
    left_out = pd.DataFrame(lines, columns=[*ADDRESS, "detector", "reason"])
    return pd.DataFrame(sorted(shared), columns=[*ADDRESS]), left_out


def _addresses(fields: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(map(str, line)) for line in fields[[*ADDRESS]].to_numpy()]


def _read_spots(runs: Mapping[str, RunResults], shared: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for name, run in runs.items():
        table = run.read("spots", _READ).astype(dict.fromkeys(ADDRESS, str))
        own = table.merge(shared, on=[*ADDRESS], how="inner")
        parts.append(own.assign(detector=name))
    return pd.concat(parts, ignore_index=True)


def _pair_all(
    spots: pd.DataFrame, detectors: Sequence[str], radius: float
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the pairs of each field, and how many detectors found each spot."""
    found_by = np.ones(len(spots), np.int64)
    totals: dict[tuple[Any, ...], list[Any]] = {}
    points = spots[["y", "x"]].to_numpy(np.float64)
    for key, rows in _images(spots):
        owners = spots["detector"].to_numpy()[rows]
        by_detector = {name: rows[owners == name] for name in detectors}
        for one, other in combinations(detectors, 2):
            a, b = by_detector[one], by_detector[other]
            matched = pair_one_to_one(points[a], points[b], radius)
            found_by[a[matched[:, 0]]] += 1
            found_by[b[matched[:, 1]]] += 1
            apart = points[a[matched[:, 0]]] - points[b[matched[:, 1]]]
            line = totals.setdefault((*key, one, other), [0, 0, 0, []])
            line[0] += len(a)
            line[1] += len(b)
            line[2] += len(matched)
            line[3].append(np.hypot(*apart.T))
    lines = [
        [*key, n, m, k, n - k, m - k, f1(n, m, k), _median(np.concatenate(distances))]
        for key, (n, m, k, distances) in totals.items()
    ]
    names = [*_FIELD_CHANNEL, "detector", "other", *_PAIR_COLUMNS]
    return pd.DataFrame(lines, columns=names), found_by


_PAIR_COLUMNS: Final = (
    *("n_spots", "n_other", "n_pairs", "n_only_detector", "n_only_other"),
    *("f1", "distance_px"),
)


def f1(n: int, m: int, k: int) -> float:
    """Return twice the pairs over all spots of both; 1 if neither has any."""
    return 2 * k / (n + m) if n + m else 1.0


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if values.size else np.nan


def _images(spots: pd.DataFrame) -> Iterator[tuple[tuple[Any, ...], NDArray[np.int64]]]:
    """Yield field and channel of each image with spots, and the rows of its spots."""
    groups = spots.groupby([*ADDRESS, *IMAGE], sort=True).indices
    at = len(ADDRESS)
    for key, rows in groups.items():
        words: Any = key
        yield (*words[:at], words[-1]), np.asarray(rows, np.int64)


def _pool(
    field_pairs: pd.DataFrame, detectors: Sequence[str], spots: pd.DataFrame
) -> pd.DataFrame:
    """Return the pairs of all fields together."""
    lines = []
    for one, other in combinations(detectors, 2):
        own = field_pairs[
            (field_pairs["detector"] == one) & (field_pairs["other"] == other)
        ]
        n, m, k = (int(own[c].sum()) for c in ("n_spots", "n_other", "n_pairs"))
        weights = own["n_pairs"].to_numpy(np.float64)
        known = weights > 0
        distance = (
            float(np.average(own["distance_px"][known], weights=weights[known]))
            if known.any()
            else np.nan
        )
        lines.append([one, other, n, m, k, n - k, m - k, f1(n, m, k), distance])
    return pd.DataFrame(lines, columns=["detector", "other", *_PAIR_COLUMNS])


def _count_fields(
    spots: pd.DataFrame, detectors: Sequence[str], shared: pd.DataFrame
) -> pd.DataFrame:
    """Count spots for each field, channel and detector; 0 where there is none."""
    channels = pd.DataFrame({"channel": sorted(set(spots["channel"].astype(str)))})
    names = pd.DataFrame({"detector": list(detectors)})
    frame = shared.merge(channels, how="cross").merge(names, how="cross")
    keys = [*_FIELD_CHANNEL, "detector"]
    own = spots.assign(
        channel=spots["channel"].astype(str),
        n_spots=1,
        n_shared=spots["found_by"] == len(detectors),
        n_only=spots["found_by"] == 1,
    )
    counts = own.groupby(keys)[["n_spots", "n_shared", "n_only"]].sum().reset_index()
    whole = frame.merge(counts, how="left", on=keys)
    numbers = ["n_spots", "n_shared", "n_only"]
    whole[numbers] = whole[numbers].fillna(0).astype(np.int64)
    return whole


def _summarise(
    runs: Mapping[str, RunResults],
    spots: pd.DataFrame,
    fields: pd.DataFrame,
    shared: pd.DataFrame,
) -> pd.DataFrame:
    lines = []
    for name, run in runs.items():
        own = spots[spots["detector"] == name]
        only, shared_by_all = own["found_by"] == 1, own["found_by"] == len(runs)
        done = run.done.astype(dict.fromkeys(ADDRESS, str)).merge(shared, on=[*ADDRESS])
        counts = fields[fields["detector"] == name]["n_spots"]
        n = len(own)
        lines.append(
            {
                "detector": name,
                "n_spots": n,
                "spots_per_field": _median(counts.to_numpy(np.float64)),
                "found_by_all": shared_by_all.mean() if n else np.nan,
                "found_by_it_alone": only.mean() if n else np.nan,
                "snr_of_shared": _median(own.loc[shared_by_all, "snr"].to_numpy()),
                "snr_of_its_own": _median(own.loc[only, "snr"].to_numpy()),
                "seconds_per_field": float(done["seconds"].median()),
            }
        )
    return pd.DataFrame(lines)


def _read_cells(runs: Mapping[str, RunResults], shared: pd.DataFrame) -> pd.DataFrame:
    keys = [*ADDRESS, "acquisition", "t", "channel", "z", "cell"]
    parts = []
    for name, run in runs.items():
        if "cells" not in run.contents.tables:
            return pd.DataFrame(columns=[*keys, "detector", "n_spots"])
        table = run.read("cells", (*keys[len(ADDRESS) :], "n_spots"))
        own = table.astype(dict.fromkeys(ADDRESS, str)).merge(shared, on=[*ADDRESS])
        parts.append(own[[*keys, "n_spots"]].assign(detector=name))
    whole = pd.concat(parts, ignore_index=True)
    return whole[[*keys, "detector", "n_spots"]]


def _tiles(spots: pd.DataFrame, n_detectors: int) -> pd.DataFrame:
    """Count the spots that not all found, by tile; the most first."""
    own = spots[spots["found_by"] < n_detectors]
    places = own.assign(
        tile_y=(own["y"] // TILE).astype(np.int64).clip(lower=0),
        tile_x=(own["x"] // TILE).astype(np.int64).clip(lower=0),
    )
    keys = [*ADDRESS, *IMAGE, "tile_y", "tile_x"]
    counts = places.groupby(keys).size().rename("n").reset_index()
    return counts.sort_values(["n", *keys], ascending=[False] + [True] * len(keys))


def _choose(tiles: pd.DataFrame, n_places: int) -> Iterator[Place]:
    """Yield the worst tiles, at most some of one field, and none beside another."""
    taken: dict[str, list[tuple[int, int]]] = {}
    n = 0
    for line in tiles.to_dict("records"):
        address = [str(line[c]) for c in ADDRESS]
        path = "/".join(part for part in address if part)
        own = taken.setdefault(path, [])
        y, x = int(line["tile_y"]), int(line["tile_x"])
        beside = any(max(abs(y - a), abs(x - b)) < 2 for a, b in own)
        if n == n_places:
            return
        if len(own) < _MOST_PLACES and not beside:
            own.append((y, x))
            n += 1
            image = int(line["t"]), int(line["plane"]), str(line["channel"])
            yield Place(path, *image, y * TILE, x * TILE, int(line["n"]))
