"""Text about the content of a plate, the needs of a run, and the columns of tables.

Nothing here computes on images.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from deepspot_scale.blockwise.contract import RunContext
from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK, margin_along
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.execution.planes import plane_box
from deepspot_scale.exports.label_record import UNSAID, describe_record
from deepspot_scale.io.absent_chunks import name_absent
from deepspot_scale.io.lost_labels import Absent
from deepspot_scale.io.plate import Field, Plate, open_plate
from deepspot_scale.kernels.binning import binning_for
from deepspot_scale.networks.engine_types import DEFAULT_MODEL
from deepspot_scale.networks.machine_speed import kept_rate, measure_rate
from deepspot_scale.networks.rater_models import find_rater
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.runs.contents import Contents
from deepspot_scale.runs.estimate import (
    DENOISED_BYTES,
    ENHANCED_BYTES,
    RATING_SHARE,
    Plan,
    plan_run,
)
from deepspot_scale.runs.prepare import Prepared
from deepspot_scale.settings import Settings, assemble, make_settings
from deepspot_scale.stages.denoising import DenoiseOptions
from deepspot_scale.stages.detection.detect import DetectOptions
from deepspot_scale.stages.detection.detector_names import read_detector_name
from deepspot_scale.stages.enhancement import EnhanceOptions, choose_engine
from deepspot_scale.stages.rating import RateOptions, tile_boxes
from deepspot_scale.vocabulary import N_BINS, TABLES
from deepspot_scale.words import plural

_SECONDS = 20.0
"""Time for looking at fields for chunks that are not stored."""
_THREADS = 16
_SHOWN = 6
"""Most fields without some chunks that are named."""
_N_OPENED = 200
"""Most loose images whose headers are read."""


def describe_plate(
    source: str,
    channels: tuple[str, ...] = (),
    *,
    enhance: bool = True,
    model: str = DEFAULT_MODEL,
    block: int = DEFAULT_BLOCK,
    workers: int | None = None,
    trust: Iterable[str] = (),
) -> Iterator[str]:
    """Yield lines about a plate's content and the plan of a run on it.

    Without channels the first one is meant; with `workers` the time on so many is said
    too. PlateError, FieldError and SettingsError
    say that there is no plate, or that the settings do not fit it.
    """
    plate = open_plate(source, trust=trust)
    first, failures = _open_first(plate)
    yield from _content(plate, first)
    yield from (f"cannot be read: {reason}" for reason in failures)
    if first.group:
        yield from _label_records(plate)
    yield from _absence(plate)
    try:
        indices = [first.channel_index(name) for name in channels] or [0]
    except FieldError as error:  # the user's option, not the field, is wrong
        raise SettingsError(str(error)) from error
    settings = make_settings(
        channels=tuple(first.channels[i] for i in indices),
        enhance=enhance,
        model=model,
        block=block,
    )
    rate = _rate(settings, measure=True)
    plan = _plan_like(first, len(plate), settings, assemble(settings), rate)
    yield from _plan(plan, workers)


def _open_first(plate: Plate) -> tuple[Field, list[str]]:
    """Return a plate's first field; or of loose images the first that opens.

    The files of a folder, and the images of a file, may be of different kinds, so that
    their headers are all read, and the errors of others are returned.
    """
    if plate.entries[0].address.row:
        return plate.open(next(iter(plate))), []
    opened, errors = None, []
    for path in islice(plate, _N_OPENED):
        try:
            field = plate.open(path)
        except FieldError as error:
            errors.append(error)
        else:
            opened = opened or field
    if opened is None:
        raise errors[0]
    return opened, [str(error) for error in errors]


def _content(plate: Plate, first: Field) -> Iterator[str]:
    wells = {(e.address.row, e.address.column) for e in plate.entries}
    yield f"{plate.name}: {plural(len(wells), 'well')}, {plural(len(plate), 'field')}"
    if plate.missing:
        yield f"listed but missing: {', '.join(plate.missing)}"
    acquisitions = sorted({entry.acquisition for entry in plate.entries})
    if len(acquisitions) > 1:
        yield f"acquisitions: {', '.join(map(str, acquisitions))}"
    sizes = " x ".join(map(str, first.shape))
    yield f"first field {first.address.path}: {first.axes} {sizes} {first.dtype}"
    yield f"channels: {', '.join(first.channels)}"
    yield f"labels: {', '.join(first.label_names) or 'none'}"
    size = first.pixel_size_um
    yield f"pixel size: {f'{size[0]:g} x {size[1]:g} um' if size else 'unknown'}"


_Seen = TypeVar("_Seen")


def _look_at(
    plate: Plate, look: Callable[[str], Mapping[str, _Seen]]
) -> dict[str, Mapping[str, _Seen]]:
    """Return what is seen of fields, by their paths, of those there is time for.

    Nothing is seen of a field that cannot be read; a run will say why.
    """
    began = time.monotonic()

    def answer(path: str) -> tuple[str, Mapping[str, _Seen]] | None:
        if time.monotonic() - began > _SECONDS:
            return None
        try:
            return path, look(path)
        except FieldError:
            return path, {}

    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(filter(None, pool.map(answer, plate)))


def _label_records(plate: Plate) -> Iterator[str]:
    """Yield what made the labels of the plate, if this package made any."""

    def look(path: str) -> Mapping[str, str]:
        field = plate.open(path)
        records = {name: field.about_labels(name) for name in field.label_names}
        return {
            name: describe_record(each) if each else UNSAID
            for name, each in records.items()
        }

    looked = _look_at(plate, look)
    said = Counter(line for found in looked.values() for line in found.items())
    if {words for _, words in said} <= {UNSAID}:
        return
    for (name, words), n in sorted(said.items()):
        share = "" if n == len(plate) else f" (in {n} of {plural(len(plate), 'field')})"
        yield f"labels {name}: {words}{share}"
    if len(looked) < len(plate):
        yield f"labels: only {len(looked)} of {_fields(plate)} looked at"


def _fields(plate: Plate) -> str:
    return plural(len(plate), "field")


def _absence(plate: Plate) -> Iterator[str]:
    """Yield how many fields lack chunks, of those that can be looked at in time."""
    looked: dict[str, Mapping[str, Absent | None]] = _look_at(plate, plate.find_absent)
    told = {path: name_absent(found) for path, found in looked.items()}
    lines = [f"{path} {text}" for path, text in told.items() if text]
    if lines:
        shown = "; ".join(lines[:_SHOWN]) + "; ..." * (len(lines) > _SHOWN)
        yield f"chunks that are not stored: in {plural(len(lines), 'field')}: {shown}"
    unknown = sum(None in found.values() for found in looked.values())
    if unknown:
        fields = plural(unknown, "field")
        yield f"whether all chunks are stored is not known of {fields}"
    if len(looked) < len(plate):
        yield f"absent chunks: only {len(looked)} of {_fields(plate)} looked at"


def describe_run(prepared: Prepared) -> Iterator[str]:
    """Yield lines about what a prepared run will do and need."""
    if not prepared.tasks:
        yield "nothing is left to do"
        return
    first = _first_that_opens(prepared)
    if first is None:  # each field will be a failed row with its reason
        return
    job, n_fields = prepared.job, len(prepared.tasks)
    detector = job.settings.of(DetectOptions).detector
    if detector is not None and read_detector_name(detector).works_on_raw:
        on_raw = "works on the raw image: no network is run for it"
        yield f"the detector {detector} {on_raw}"
    rate = _rate(job.settings, measure=False)
    plan = _plan_like(first, n_fields, job.settings, job.pipeline, rate)
    yield from _plan(plan)
    yield from _rating(job.settings, plan)
    if job.out.is_local:
        free = shutil.disk_usage(job.out.local_path).free
        if free < plan.disk_bytes:
            yield f"warning: only {free / 1e6:.0f} MB are free in {job.out.url}"


def _first_that_opens(prepared: Prepared) -> Field | None:
    for task in prepared.tasks:
        try:
            return prepared.plate.open(task.entry.address.path)
        except FieldError:
            continue
    return None


def _rate(settings: Settings, *, measure: bool) -> float | None:
    """Return the network's pixels per second on this machine; None: unknown."""
    options = settings.of(EnhanceOptions)
    if not options.use:
        return None
    choice = choose_engine(options, RunContext())
    rate = kept_rate(choice)
    rate = measure_rate(choice) if rate is None and measure else rate
    if rate is not None and settings.of(RateOptions).use:
        return rate / (1 + RATING_SHARE)
    return rate


def _plan_like(
    first: Field,
    n_fields: int,
    settings: Settings,
    pipeline: Pipeline,
    rate: float | None,
) -> Plan:
    """Plan a run on `n_fields` fields that all equal the first one."""
    stacked = first.n_z if settings.project == "none" else 1
    return plan_run(
        pipeline.blocks(plane_box(first, pipeline.axes).shape),
        halo=margin_along(pipeline.halo, "y"),
        n_fields=n_fields,
        n_planes=first.n_t * len(settings.channels) * stacked,
        layer_bytes=_layer_bytes(settings),
        pixels_per_second=rate,
    )


def _layer_bytes(settings: Settings) -> float:
    """Return the bytes on disk of a pixel of the images that are kept."""
    kept = {
        ENHANCED_BYTES: settings.of(EnhanceOptions).keep_enhanced,
        DENOISED_BYTES: settings.of(DenoiseOptions).keep_denoised,
    }
    return sum(n for n, is_kept in kept.items() if is_kept)


def _plan(plan: Plan, workers: int | None = None) -> Iterator[str]:
    yield (
        f"a run: {plural(plan.n_fields, 'field')} of {plural(plan.n_planes, 'plane')}; "
        f"{plural(plan.n_blocks, 'block')} a plane of "
        f"{' x '.join(map(str, plan.window))} px, halo {plan.halo} px, "
        f"{plan.useful:.0%} of the computed pixels used"
    )
    time = plan.describe_time(workers)
    size = plan.disk_bytes / 1e6
    disk = f"{size / 1000:.1f} GB" if size >= 1000 else f"{max(size, 1):.0f} MB"
    yield (
        f"memory: about {plan.memory_bytes / 1e9:.1f} GB a worker; written: about "
        f"{disk}" + (f"; time: {time}" if time else "")
    )


def _rating(settings: Settings, plan: Plan) -> Iterator[str]:
    options = settings.of(RateOptions)
    if not options.use:
        return
    model = find_rater(find_weights(options.rater))
    edge = model.tile * model.binning * binning_for(settings.spot_sigma)
    n = len(tile_boxes((plan.shape[-2], plan.shape[-1]), edge))
    yield f"rating: {plural(n, 'tile')} of {edge} px a plane by {options.rater}"


def describe_tables() -> str:
    """Return the columns of every table as Markdown, for the README."""
    settings = make_settings(channels=["0"], cells="cells", nuclei="nuclei", rate=True)
    fields = Contents.of(assemble(settings)).fields
    parts = []
    for name, columns in {**TABLES, "fields": fields}.items():
        lines = [
            f"**{name}**",
            "",
            "| column | type | meaning |",
            "| --- | --- | --- |",
        ]
        for column in columns:
            dtype = f"{N_BINS} x int32" if column.dtype == "bins" else column.dtype
            lines.append(f"| `{column.name}` | {dtype} | {column.meaning} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
