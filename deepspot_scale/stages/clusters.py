"""The stage *clusters*: spots that lie so densely that they are one place.

Spots with their cells and nuclei come in; each gets the number of its cluster, and each
cluster a row: where it is, how many molecules it holds, and whether it is a
transcription site, which is a cluster most of whose spots lie in a nucleus. Distances
are micrometres. Nothing here knows how spots were found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from deepspot_scale.blockwise.answers import PIXEL_UM, STEP
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Count,
    Key,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Table,
    Work,
)
from deepspot_scale.blockwise.identity import identify
from deepspot_scale.blockwise.spots import ASSIGNED, Spots, order_spots
from deepspot_scale.kernels.clusters import number_clusters
from deepspot_scale.vocabulary import CLUSTERS, SPOTS, PlaneIdentity

_LABELS = ("cell", "nucleus")


class Clustered(NamedTuple):
    """The spots of a field with their clusters."""

    spots: pd.DataFrame
    """In reading order, with the column cluster."""
    clusters: pd.DataFrame
    """A row each, in order of their numbers."""
    n_unknown: int
    """Spots whose distances in micrometres are not known."""


CLUSTERED: Key[Clustered] = Key("clustered")
_TO_CLUSTER: Key[Spots] = Key("spots_to_cluster")


@dataclass(frozen=True)
class Clustering:
    """Finds clusters by density."""

    reach_um: float
    """Distance at which spots are neighbours, micrometres."""
    least: int
    """Molecules that a spot and its neighbours are in the midst of a cluster."""

    def work(self) -> Work:
        """Return the step to `CLUSTERED`, and what leaves the field."""
        step = Step(
            _TO_CLUSTER,
            _pass_on,
            uses=(ASSIGNED,),
            agreed=(PIXEL_UM, STEP),
            settles=CLUSTERED,
            finalize=self._find,
        )
        what = "spots not looked at for clusters: pixel size or z step is not known"
        return Work(
            (step,),
            (
                Table("spots", SPOTS, (CLUSTERED,), _spot_table),
                Table("clusters", CLUSTERS, (CLUSTERED,), _cluster_table),
                Count("n_unclustered", what, CLUSTERED, _n_unknown),
            ),
            stacks=True,
        )

    def _find(self, total: Spots, agreed: Answers) -> Clustered:
        spots = order_spots(total, agreed).table
        axes = [axis for axis in "zyx" if axis in spots]
        pixel, step = agreed[PIXEL_UM], agreed[STEP]
        sizes = {"z": step, **dict(zip("yx", pixel or (None, None), strict=True))}
        if any(sizes[axis] is None for axis in axes):
            none = spots.assign(cluster=np.zeros(len(spots), np.int64))
            return Clustered(none, summarise_clusters(none, sizes), len(spots))
        places = spots[axes].to_numpy() * [sizes[axis] for axis in axes]
        number = number_clusters(places, weigh(spots), self.reach_um, self.least)
        own = spots.assign(cluster=number)
        return Clustered(own, summarise_clusters(own, sizes), 0)


def weigh(spots: pd.DataFrame) -> NDArray[np.float64]:
    """Return how many molecules each row stands for.

    A site of a plane is one row for several; in a stack each molecule has its own.
    """
    ones = np.ones(len(spots))
    if "z" in spots:
        return ones
    several = spots["site"].to_numpy() & spots["molecules"].notna().to_numpy()
    molecules = np.rint(spots["molecules"].fillna(1).to_numpy(np.float64))
    return np.where(several, np.maximum(molecules, 1), ones)


def summarise_clusters(spots: pd.DataFrame, sizes: dict[str, Any]) -> pd.DataFrame:
    """Return a row for each cluster.

    Parameters
    ----------
    spots
        With the columns cluster, y, x, and z in a stack.
    sizes
        Micrometres of a voxel by axis.
    """
    axes = [axis for axis in "zyx" if axis in spots]
    inside = spots[spots["cluster"] > 0]
    order = np.argsort(inside["cluster"].to_numpy(), kind="stable")
    inside = inside.iloc[order]
    starts = np.flatnonzero(np.diff(inside["cluster"].to_numpy(), prepend=0))
    ends = np.append(starts[1:], len(inside))[: len(starts)]
    rows = [
        _describe(inside.iloc[a:b], axes, sizes)
        for a, b in zip(starts, ends, strict=True)
    ]
    names = ("cluster", *axes, "n_spots", "molecules", "radius_um", *_LABELS)
    table = pd.DataFrame(rows, columns=list(names))
    return table.assign(transcription_site=table["nucleus"].to_numpy(np.int64) > 0)


def _describe(
    spots: pd.DataFrame, axes: list[str], sizes: dict[str, Any]
) -> tuple[Any, ...]:
    places = spots[axes].to_numpy()
    centre = places.mean(axis=0)
    away = (places - centre) * [sizes[axis] for axis in axes]
    radius = float(np.sqrt((away**2).sum(axis=1).mean()))
    light = spots["molecules"].to_numpy(np.float64)
    labels = (_most_frequent(spots[name].to_numpy(np.int64)) for name in _LABELS)
    number = int(spots["cluster"].iloc[0])
    return (number, *centre, len(spots), float(light.sum()), radius, *labels)


def _most_frequent(labels: NDArray[np.int64]) -> int:
    """Return the label that more than half of the spots have; 0: there is none."""
    found, counts = np.unique(labels, return_counts=True)
    best = int(counts.argmax())
    return int(found[best]) if 2 * counts[best] > labels.size else 0


def _pass_on(here: BlockContext, _: Answers) -> Spots:
    return here.answers[ASSIGNED]


def _spot_table(agreed: Answers, plane: PlaneIdentity) -> pd.DataFrame:
    return identify(agreed[CLUSTERED].spots, plane, SPOTS)


def _cluster_table(agreed: Answers, plane: PlaneIdentity) -> pd.DataFrame:
    return identify(agreed[CLUSTERED].clusters, plane, CLUSTERS)


def _n_unknown(found: Clustered) -> int:
    return found.n_unknown


class ClusterOptions(StageOptions):
    """Which spots are one cluster."""

    use: bool = Field(
        default=True, description="Find clusters of spots and transcription sites."
    )
    cluster_um: float = Field(
        default=0.35,
        gt=0,
        description="Distance at which spots of a cluster are neighbours, micrometres.",
    )
    cluster_molecules: int = Field(
        default=4,
        ge=2,
        description="Molecules that a spot and its neighbours are within a cluster.",
    )


def plan_clusters(options: ClusterOptions, context: RunContext) -> Work | None:
    """Return the stage's work; None where no spots are detected."""
    if ASSIGNED.name not in context.answers:
        return None
    return Clustering(options.cluster_um, options.cluster_molecules).work()


FIND_CLUSTERS = Stage("clusters", ClusterOptions, plan_clusters)
