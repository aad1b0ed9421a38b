"""A small plate with known truth: a wound assay that shows the whole pipeline at work.

A target comes in; an OME-Zarr plate, of planes or of z-stacks, the plate map, the
wound's edge and every planted spot go out. Then a run's results are compared with what
was planted. `wound_assay` decides how a field looks, `wound_stacks` how its planes do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.cluster.client import open_client
from deepspot_scale.cluster.local import threads_per_worker
from deepspot_scale.evaluation.matching import REACH, Score, pair_one_to_one
from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image, write_labels
from deepspot_scale.outputs import check_output_folder
from deepspot_scale.report.page import write_report
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.runs.progress import Progress
from deepspot_scale.runs.results import open_run
from deepspot_scale.settings import make_settings
from deepspot_scale.simulation import wound_assay, wound_stacks
from deepspot_scale.simulation.wound_assay import SPOT_CHANNEL, AssayScene
from deepspot_scale.statistics.sector_index import SectorIndex
from deepspot_scale.statistics.summaries import summarise_groups
from deepspot_scale.vocabulary import DONE, FieldAddress

CONDITIONS: Final = {"B": "migrating", "C": "control"}
"""Condition of each plate row."""
ENRICHMENT: Final = 2.0
"""Density of spots towards the wound over that elsewhere, in a typical migrating
cell. With more, every cell exceeds the median, and the index is 1 whatever the detector
does."""

_COLUMNS: Final = ("02", "03", "04")
_FIELDS_PER_WELL: Final = 2
_STACKS_PER_WELL: Final = 1
"""A stack of eleven planes takes eleven times the pixels and the time of a plane."""
_ADDRESS: Final = ["row", "column", "field"]


@dataclass(frozen=True)
class PlantedTruth:
    """What was planted, and where the files are."""

    plate: Path
    reference: Path
    """CSV: row, column, field, y, x; the rows of a field are the wound's corners."""
    plate_map: Path
    """CSV: row, column, condition, gene, replicate."""
    spots: pd.DataFrame
    """row, column, field, z (planes; of stacks only), y, x (pixels), cell (0: outside),
    in_cytoplasm."""
    cells: pd.DataFrame
    """The true cells, with those columns of `vocabulary.CELLS` that polarity needs."""

    @property
    def axes(self) -> list[str]:
        """Columns that say where a spot is: y and x, of stacks z before them."""
        return [name for name in "zyx" if name in self.spots]


def simulate_plate(
    target: str | os.PathLike[str], *, seed: int = 0, volume: bool = False
) -> PlantedTruth:
    """Write a plate of a simulated wound assay, and its truth beside it.

    Six wells of two 1024 px fields: row B migrates into the wound, its spots twice as
    dense within 60 degrees of the wound's direction; row C is the control, its spots
    uniform in the cytoplasm.

    With `volume` each well has one field, a z-stack of eleven planes with flat masks of
    cells and nuclei, and every spot has a depth in its cell.

    The plate is OME-Zarr 0.5 at `target`; reference.csv, wells.csv and truth.parquet
    are written into the same folder. The same seed gives the same plate.

    Raises
    ------
    PlateError
        `target` already exists.
    """
    plate = Path(target)
    addresses = [
        FieldAddress(row, column, str(field))
        for row in CONDITIONS
        for column in _COLUMNS
        for field in range(_STACKS_PER_WELL if volume else _FIELDS_PER_WELL)
    ]
    create_plate(plate, addresses, name="simulated wound assay")
    planted, cells, corners = [], [], []
    for number, address in enumerate(addresses):
        rng = np.random.default_rng([seed, number])
        scene = wound_assay.draw_scene(rng)
        migrating = CONDITIONS[address.row] == "migrating"
        enrichment = ENRICHMENT if migrating else 1.0
        spots = wound_assay.plant_spots(rng, scene, enrichment)
        if volume:
            spots = wound_stacks.add_depth(rng, scene, spots)
            image = wound_stacks.photograph_stack(rng, scene, spots)
        else:
            image = wound_assay.photograph(rng, scene, spots)
        _write_field(plate, address, image, scene)
        place = {name: getattr(address, name) for name in _ADDRESS}
        planted.append(spots.assign(**place))
        cells.append(wound_assay.true_cells(scene, spots).assign(**place))
        corners.append(pd.DataFrame(scene.wound, columns=["y", "x"]).assign(**place))
    parts = (planted, cells, corners)
    return _write_truth(plate, *(pd.concat(each, ignore_index=True) for each in parts))


class SpotScore(NamedTuple):
    """Found against planted spots."""

    score: Score
    gaps: NDArray[np.float64]
    """(k, 2) or (k, 3): found minus planted, of each pair, in pixels and planes."""


def score_spots(found: pd.DataFrame, truth: PlantedTruth) -> SpotScore:
    """Compare the spots that a run found with the planted ones, one to one.

    `found` has the columns `vocabulary.SPOTS`. A pair lies within `REACH`.
    """
    found, axes = found[found["channel"] == SPOT_CHANNEL], truth.axes
    radius = REACH.radius(len(axes))
    by_field = {key: group[axes].to_numpy() for key, group in found.groupby(_ADDRESS)}
    score, gaps = Score(), [np.zeros((0, len(axes)))]
    for key, group in truth.spots.groupby(_ADDRESS):
        own, planted = by_field.get(key, gaps[0]), group[axes].to_numpy()
        pairs = pair_one_to_one(own, planted, radius)
        score += Score(len(planted), len(own), len(pairs))
        gaps.append(own[pairs[:, 0]] - planted[pairs[:, 1]])
    return SpotScore(score, np.concatenate(gaps))


def planted_polarity(
    truth: PlantedTruth, index: SectorIndex | None = None
) -> pd.DataFrame:
    """Return `vocabulary.CONDITIONS` of the planted spots in the true masks.

    The arithmetic is that of a run, so a difference between the two comes from finding
    and assigning spots.
    """
    fields = truth.spots.groupby(_ADDRESS).size().rename("n_spots").reset_index()
    once = {"acquisition": 0, "n_t": 1, "n_z": 1}
    return summarise_groups(
        fields.assign(status=DONE, **once),
        truth.cells,
        pd.read_csv(truth.plate_map, dtype=str),
        channels=[SPOT_CHANNEL],
        index=index,
    )["conditions"]


@dataclass(frozen=True)
class DemoOutcome:
    """How a run on the simulated plate compares with what was planted."""

    progress: Progress
    """Progress at the run's end."""
    spots: SpotScore
    """Found against planted spots, one to one."""
    found: pd.DataFrame
    """`vocabulary.CONDITIONS` as measured."""
    planted: pd.DataFrame
    """The same from the planted spots in the true masks."""
    report: Path

    @property
    def lines(self) -> list[str]:
        """The comparison in words."""
        score, gaps = self.spots
        in_stacks = gaps.shape[1] == 3
        depth = f" and {REACH.planes:g} planes" if in_stacks else ""
        lines = [
            f"spots: {score.n_found} found, {score.n_true} planted, "
            f"{score.n_matched} matched within {REACH.pixels:g} px{depth}: precision "
            f"{score.precision:.3f}, recall {score.recall:.3f}, F1 {score.f1:.3f}"
        ]
        if in_stacks and len(gaps):
            z, yx = (_root_mean_square(own) for own in (gaps[:, :1], gaps[:, 1:]))
            lines.append(
                f"place of the matched spots: z to {z:.2f} planes "
                f"({1000 * wound_stacks.Z_STEP_UM * z:.0f} nm), y and x to {yx:.2f} px "
                f"({1000 * wound_assay.PIXEL_SIZE_UM[0] * yx:.0f} nm), root mean square"
            )
        both = self.found.merge(
            self.planted, on=["channel", "condition"], suffixes=("", "_planted")
        )
        for row in both.to_dict("records"):
            lines.append(
                f"polarity of {row['condition']}: index {row['polarity_index']:+.2f} "
                f"[{row['polarity_low']:+.2f}, {row['polarity_high']:+.2f}], minus its "
                f"uniform null {row['polarity_corrected']:+.2f} "
                f"(p = {row['p_value']:.3f}); from the planted spots "
                f"{row['polarity_index_planted']:+.2f}, minus null "
                f"{row['polarity_corrected_planted']:+.2f}"
            )
        return [*lines, f"report: {self.report}"]


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    volume: bool = False,
    workers: int = 1,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> DemoOutcome:
    """Simulate the plate, run on it as a user would, and compare with the truth.

    The new folder `out` then holds plate.zarr, wells.csv, reference.csv, truth.parquet
    and RUN. The same seed gives the same plate; with `volume` it is one of z-stacks and
    spots are found with their depth; `workers` are worker processes.
    """
    check_output_folder(out, "--out")
    out.mkdir(parents=True)
    truth = simulate_plate(out / "plate.zarr", seed=seed, volume=volume)
    settings = make_settings(
        channels=(SPOT_CHANNEL,),
        cells="cells",
        nuclei="nuclei",
        reference=str(truth.reference),
        plate_map=str(truth.plate_map),
        volume=volume,
        rate=True,
    )
    folder = out / "RUN"
    threads = threads_per_worker(workers)
    prepared = prepare_run(truth.plate, str(folder), settings, threads=threads)
    with open_client(workers=workers) as client:
        progress = execute_run(prepared, client, on_progress=on_progress)
    results = open_run(folder)
    return DemoOutcome(
        progress,
        score_spots(results.read("spots"), truth),
        results.summaries["conditions"],
        planted_polarity(truth),
        write_report(folder, plate=prepared.plate),
    )


def _root_mean_square(gaps: NDArray[np.float64]) -> float:
    return float(np.sqrt((gaps**2).mean()))


def _write_field(
    plate: Path, address: FieldAddress, image: NDArray[np.uint16], scene: AssayScene
) -> None:
    layout = ImageLayout(
        axes="czyx" if image.ndim == 4 else "cyx",
        shape=image.shape,
        dtype=image.dtype,
        channels=wound_assay.CHANNELS,
        pixel_size_um=wound_assay.PIXEL_SIZE_UM,
        n_levels=3,
        z_step_um=wound_stacks.Z_STEP_UM if image.ndim == 4 else None,
    )
    write_image(plate, address, image, layout)
    write_labels(plate, address, "cells", scene.cells)
    write_labels(plate, address, "nuclei", scene.nuclei)


def _write_truth(
    plate: Path, spots: pd.DataFrame, cells: pd.DataFrame, corners: pd.DataFrame
) -> PlantedTruth:
    """Write what was planted beside the plate."""
    axes = [name for name in "zyx" if name in spots]
    truth = PlantedTruth(
        plate=plate,
        reference=plate.parent / "reference.csv",
        plate_map=plate.parent / "wells.csv",
        spots=spots[[*_ADDRESS, *axes, "cell", "in_cytoplasm"]],
        cells=cells,
    )
    corners[[*_ADDRESS, "y", "x"]].round(3).to_csv(truth.reference, index=False)
    wells = [
        (row, column, condition, "simulated", f"{number}")
        for row, condition in CONDITIONS.items()
        for number, column in enumerate(_COLUMNS, 1)
    ]
    names = ["row", "column", "condition", "gene", "replicate"]
    pd.DataFrame(wells, columns=names).to_csv(truth.plate_map, index=False)
    truth.spots.to_parquet(plate.parent / "truth.parquet", index=False)
    return truth
