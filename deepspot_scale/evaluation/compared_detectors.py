"""The verb *compare detectors*: a plate and names in, run folders and a page out.

Nothing here finds, pairs or draws; it calls those that do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepspot_scale.errors import RunError
from deepspot_scale.evaluation.detector_agreement import Agreement, compare_runs
from deepspot_scale.evaluation.detector_page import write_comparison
from deepspot_scale.evaluation.detector_runs import (
    DetectorRun,
    Doing,
    plan_detectors,
    run_detectors,
)
from deepspot_scale.evaluation.matching import RADIUS
from deepspot_scale.io.plate import Plate, open_plate
from deepspot_scale.runs.prepare import Selection
from deepspot_scale.runs.results import open_results


def compare_detectors(  # noqa: PLR0913 - what, by what, where to, which, and how
    source: Any,
    out: str | Path,
    detectors: Sequence[str],
    *,
    options: Mapping[str, Any],
    selection: Selection = Selection(),
    doing: Doing = Doing(),
    radius: float = RADIUS,
) -> Agreement:
    """Run several detectors on the same fields and write where they differ.

    The same call continues where it stopped; with one more detector, only that runs.

    Parameters
    ----------
    source
        Plate, image or folder of images, as `open_plate` takes it, or an open Plate.
    out
        Folder of the comparison: a run folder for each detector in ``runs``, tables,
        and ``compared.html``.
    detectors
        At least two, as ``run --detector`` takes them: presets, ``bigfish``, ``ufish``,
        ``skimage-log`` and others with their options, plug-ins; ``default`` is the
        network with its judge.
    options
        Settings that all have in common, as `make_settings` takes them; at least
        ``{"channels": ["FISH"]}``.
    selection
        Which fields.
    doing
        How runs are done.
    radius
        Largest distance of a pair in pixels.

    Returns
    -------
    Agreement
        All tables; fields that failed are in `Agreement.left_out`.

    Raises
    ------
    SettingsError
        A detector or setting is unfit, found before the first field is read.
    RunError
        A folder holds another run, the runs were stopped, or no field was done by all.

    Examples
    --------
    >>> compare_detectors(  # doctest: +SKIP
    ...     "PLATE.zarr",
    ...     "COMPARED",
    ...     ["default", "bigfish:threshold=40"],
    ...     options={"channels": ["FISH"]},
    ... ).pairs[["detector", "other", "f1"]]
    """
    plate = source if isinstance(source, Plate) else open_plate(source)
    planned = plan_detectors(detectors, out, options)
    ends = run_detectors(plate, planned, selection=selection, doing=doing)
    if len(ends) < len(planned) or any(end.left for end in ends.values()):
        raise RunError("the comparison was stopped; the same call continues")
    return write_compared(plate, planned, Path(out), radius=radius)


def write_compared(
    plate: Plate, planned: Sequence[DetectorRun], out: Path, *, radius: float = RADIUS
) -> Agreement:
    """Write where detectors differ, as tables and a page; return the tables."""
    runs = {each.detector: open_results(each.folder, plate=plate) for each in planned}
    agreement = compare_runs(runs, radius=radius)
    write_comparison(agreement, runs, plate, out)
    return agreement
