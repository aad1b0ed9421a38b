"""Several detectors on the same fields of a plate, each in a run folder of its own.

    COMPARED/runs/default           what `deepspot-scale run` writes, and can be
    COMPARED/runs/bigfish-3f2a91    reported, exported and continued like it

A plate and the names of detectors come in; run folders go out. A detector that works
on the raw image runs without any network. Nothing here compares spots.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.networks.engine_types import Device
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.lease import hold_run
from deepspot_scale.runs.prepare import Selection, prepare_run
from deepspot_scale.runs.progress import Progress
from deepspot_scale.settings import Settings, assemble, find_sources, make_settings
from deepspot_scale.stages.detection.detect import find_detector

DEFAULT: Final = "default"
"""The word for the run's own detector: the network and its judge."""
RUNS: Final = "runs"
"""Folder of the run folders."""


class DetectorRun(NamedTuple):
    """One detector, how it runs, and where."""

    detector: str
    """As the user names it."""
    settings: Settings
    folder: str


@dataclass(frozen=True)
class Doing:
    """How runs are done; nothing of it changes an answer."""

    client: Any = None
    """`distributed.Client`; None: this process does one field after the other."""
    device: Device = "auto"
    threads: int = 0
    """For networks; 0: all."""
    retry_failed: bool = False
    on_begin: Callable[[DetectorRun], None] = lambda _: None
    on_progress: Callable[[Progress], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


def plan_detectors(
    detectors: Sequence[str], out: str | Path, options: Mapping[str, Any]
) -> list[DetectorRun]:
    """Return a run for each detector, checked before the first one starts.

    Parameters
    ----------
    detectors
        At least two names, as ``run --detector`` takes them, or ``default``.
    out
        Folder of the comparison.
    options
        Settings that all have in common, as `make_settings` takes them.

    Raises
    ------
    SettingsError
        Fewer than two detectors, one named twice, one that there is not or whose
        library is not installed, or other settings that are unfit.
    """
    if len(detectors) < 2:
        raise SettingsError(
            f"a comparison needs two detectors or more, got {len(detectors)}; name "
            "each by --detector, such as --detector default --detector skimage-log"
        )
    for word in detectors:
        if list(detectors).count(word) > 1:
            raise SettingsError(f"the detector {word!r} is named twice")
    planned = []
    for word in detectors:
        settings = _settings_for(word, options)
        assemble(settings)
        find_sources(settings)
        place = f"{str(out).rstrip('/')}/{RUNS}/{folder_name(word)}"
        planned.append(DetectorRun(word, settings, place))
    return planned


def _settings_for(word: str, options: Mapping[str, Any]) -> Settings:
    """Return the settings of one detector: only spots and cells are of interest."""
    own: dict[str, Any] = {"quality": {"use": False}, "clusters": {"use": False}}
    if word != DEFAULT:
        on_raw = find_detector(word).on == "raw"
        own |= {"detector": word, "enhance": not on_raw}
    settings = make_settings(**{**options, **own})
    if settings.in_volume or settings.of_movies or not settings.finds_spots:
        raise SettingsError(
            "detectors are compared on the spots of planes; leave volume, localise and "
            "no-detect out"
        )
    return settings


def folder_name(detector: str) -> str:
    """Return the name of a detector's run folder, another one for each detector.

    Examples
    --------
    >>> folder_name("skimage-log")
    'skimage-log'
    >>> folder_name("bigfish:threshold=40")
    'bigfish_threshold_40-ddf7f2'
    """
    plain = re.sub(r"[^\w-]+", "_", detector, flags=re.ASCII).strip("_")[:40]
    if plain == detector:
        return plain
    return f"{plain}-{hashlib.sha256(detector.encode()).hexdigest()[:6]}"


def run_detectors(
    source: Any,
    planned: Sequence[DetectorRun],
    *,
    selection: Selection = Selection(),
    doing: Doing = Doing(),
) -> dict[str, Progress]:
    """Do what is left of each detector's run; return how far each came, by its name.

    Those after one that was stopped are not begun. Parameters and errors are those of
    `runs.execute.run`.
    """
    plate = open_plate(source) if isinstance(source, str | Path) else source
    ends: dict[str, Progress] = {}
    for each in planned:
        doing.on_begin(each)
        ends[each.detector] = end = _run_one(plate, each, selection, doing)
        if end.left:
            break
    return ends


def _run_one(
    plate: Any, each: DetectorRun, selection: Selection, doing: Doing
) -> Progress:
    with hold_run(Folder(each.folder)) as lease:
        prepared = prepare_run(
            plate,
            each.folder,
            each.settings,
            selection=selection,
            device=doing.device,
            threads=doing.threads,
            retry_failed=doing.retry_failed,
        )

        def note(progress: Progress) -> None:
            lease.progress = progress.to_dict()
            doing.on_progress(progress)

        end = execute_run(
            prepared,
            doing.client,
            on_progress=note,
            stop=lambda: doing.stop() or lease.lost,
        )
    if lease.lost:
        raise RunError(f"another client has taken over {each.folder}")
    failed_before = prepared.failed_before
    return replace(
        end, failed=end.failed + failed_before, total=end.total + failed_before
    )
