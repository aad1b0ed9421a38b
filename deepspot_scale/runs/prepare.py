"""Preparing a run: everything that can be checked before the first field is read.

A plate, settings and a folder come in; the fields that are left to do go out, each
with everything that its task needs. Nothing here runs a field.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from deepspot_scale.blockwise.answers import channel_of
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.errors import FieldError, PlateError, SettingsError, did_you_mean
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.io.absent_chunks import Allowed
from deepspot_scale.io.movies import cut_movies
from deepspot_scale.io.plate import FieldEntry, Plate, open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.networks.engine_types import Device
from deepspot_scale.plugins import installed_versions
from deepspot_scale.runs import manifest
from deepspot_scale.runs.changed_fields import check_sources
from deepspot_scale.runs.compared_channels import read_shifts, resolve_pairs
from deepspot_scale.runs.contents import Contents
from deepspot_scale.runs.job import Job
from deepspot_scale.runs.kept_layers import create_plates
from deepspot_scale.runs.run_folder import begin_run, open_provenance
from deepspot_scale.runs.user_tables import read_plate_map, read_references
from deepspot_scale.settings import Settings, assemble, find_files, find_sources
from deepspot_scale.vocabulary import FieldAddress, same_well, well_names


@dataclass(frozen=True)
class Selection:
    """Which fields of the plate a run processes; the others may follow later."""

    wells: tuple[str, ...] = ()
    """Wells such as B03; empty: all."""
    limit: int | None = None
    """Largest number of fields, from the first of the plate."""
    failed: bool = False
    """Whether only fields that failed before are processed."""
    redo_changed: bool = False
    """Whether fields that changed since they were done are done again."""
    allow_absent: Allowed = "none"
    """Which chunks that are not stored are taken for zeros, see `io.absent_chunks`."""
    fields: tuple[str, ...] = ()
    """Paths of fields such as B/03/0; empty: all."""


@dataclass(frozen=True)
class Prepared:
    """A run that is checked and ready to start."""

    plate: Plate
    tasks: list[FieldTask]
    """Fields left to do."""
    skipped: int
    """Fields that were done or failed before and are skipped."""
    plate_map: pd.DataFrame
    job: Job
    missing: list[FieldTask]
    """Wells that the plate lists and does not have."""
    channels: tuple[str, ...]
    """Names of the settings' channels, as given by a field."""
    failed_before: int
    """Skipped fields that had failed."""
    before: pd.DataFrame
    """Rows of the skipped fields, columns `vocabulary.FIELDS`."""


def prepare_run(  # noqa: PLR0913 - what, how, where to, which, and where the work is done
    source: Any,
    out: str,
    settings: Settings,
    *,
    selection: Selection = Selection(),
    device: Device = "auto",
    threads: int = 0,
    retry_failed: bool = False,
    files: str = "",
) -> Prepared:
    """Check everything that can be checked before the first field is read.

    Parameters are as in `execute.run`; `threads` is as in `EngineChoice`, and
    `retry_failed` says whether fields that failed before are tried again. Files that
    the settings name are looked for below the folder `files`; empty: the working one.

    Raises
    ------
    PlateError, SettingsError, RunError, WeightsError
        The plate cannot be opened, a setting is unfit, the folder holds another run, or
        a field has changed since it was done.
    """
    plate = source if isinstance(source, Plate) else open_plate(source)
    if settings.of_movies:
        plate = cut_movies(plate)
    chosen = select_fields(plate, selection)
    fields = [entry.address for entry in plate.entries]
    absent = [_well_address(well) for well in plate.missing]
    written, settings = settings, find_files(settings, files)
    plate_map = read_plate_map(settings.plate_map, _one_a_well([*fields, *absent]))
    references = read_references(settings.reference, fields)
    folder = Folder(str(out))
    pipeline = assemble(settings, device=device, threads=threads)
    further = tuple(filter(None, map(channel_of, pipeline.reads)))
    channels = name_channels(plate, chosen, settings.channels, further)
    read_shifts(settings.chromatic_shift, resolve_pairs(settings, channels))
    begin_run(folder, written, _contents(pipeline, settings))
    open_provenance(folder, _provenance(plate, settings))
    tried = check_sources(folder, plate, settings, redo=selection.redo_changed)
    good = manifest.settled(tried, retry_failed=True)
    settled = good if retry_failed or selection.failed else _all_tried(tried)
    create_plates(folder, pipeline.layers, fields)
    missing = _missing_wells(plate, selection)
    if selection.failed:
        failed = _all_tried(tried) - good
        chosen, missing = (
            [entry for entry in entries if _is_among(entry.address, failed)]
            for entries in (chosen, missing)
        )
    skipped = settled & {entry.address for entry in (*chosen, *missing)}
    tasks = [
        FieldTask(entry, references(entry.address), selection.allow_absent)
        for entry in chosen
        if entry.address not in skipped
    ]
    job = Job(settings, pipeline, folder)
    return Prepared(
        plate,
        tasks,
        len(skipped),
        plate_map,
        job,
        [FieldTask(entry) for entry in missing if entry.address not in skipped],
        channels,
        len(skipped - good),
        manifest.rows_of(tried, skipped),
    )


def _contents(pipeline: Pipeline, settings: Settings) -> Contents:
    contents = Contents.of(pipeline)
    if settings.colocalise:
        made = "cells" in contents.layers and contents.layers["cells"].labels
        return contents.compared(in_cells=made or settings.cells is not None)
    return contents


def _all_tried(tried: pd.DataFrame) -> set[FieldAddress]:
    return manifest.settled(tried, retry_failed=False)


def _is_among(address: FieldAddress, failed: set[FieldAddress]) -> bool:
    """Return whether a field failed, or its well, if that was absent as a whole."""
    return address in failed or replace(address, field="") in failed


def select_fields(plate: Plate, selection: Selection) -> list[FieldEntry]:
    """Return the selected fields, in plate order.

    Raises
    ------
    SettingsError
        The plate lacks a well or field, or all of its wells are absent, or the limit is
        below 1.
    PlateError
        Two wells have names that a user's word cannot tell apart.
    """
    entries = list(plate.entries)
    absent = [_well_address(well) for well in plate.missing]
    known = _one_a_well([entry.address for entry in entries])
    _check_wells(plate, [*known, *absent])
    for word in selection.wells:
        if not any(same_well(word, address) for address in (*known, *absent)):
            names = ", ".join(address.well for address in known[:12])
            more = " ..." if len(known) > 12 else ""
            near = did_you_mean(word, [address.well for address in known])
            raise SettingsError(f"no well {word!r}: the plate has {names}{more}.{near}")
    if selection.wells:
        entries = [e for e in entries if _is_selected(e.address, selection)]
    if selection.fields:
        entries = _named_fields(entries, selection.fields, plate)
    if selection.limit is not None and selection.limit < 1:
        raise SettingsError(f"the limit is at least 1, got {selection.limit}")
    chosen = entries[: selection.limit]
    if not chosen:
        raise SettingsError(
            f"none of the wells {', '.join(selection.wells)} that {plate.source} lists "
            "exists; give others"
        )
    return chosen


def _named_fields(
    entries: list[FieldEntry], paths: Sequence[str], plate: Plate
) -> list[FieldEntry]:
    known = {entry.address.path: entry for entry in entries}
    for path in paths:
        if path not in known:
            raise SettingsError(
                f"no field {path!r} in {plate.source}.{did_you_mean(path, known)}"
            )
    return [entry for path, entry in known.items() if path in paths]


def _check_wells(plate: Plate, wells: list[FieldAddress]) -> None:
    """Raise PlateError if a word of a user, such as B3, would mean two wells."""
    owners: dict[tuple[str, str] | str, FieldAddress] = {}
    for well in wells:
        for name in well_names(well) if well.row else ():
            other = owners.setdefault(name, well)
            if (other.row, other.column) != (well.row, well.column):
                raise PlateError(
                    f"{plate.source} has the wells {other.row}/{other.column} and "
                    f"{well.row}/{well.column}, and {well.well} would mean both; "
                    "rename one of them in the plate"
                )


def _one_a_well(addresses: list[FieldAddress]) -> list[FieldAddress]:
    return list({(a.row, a.column): a for a in reversed(addresses)}.values())[::-1]


def _missing_wells(plate: Plate, selection: Selection) -> list[FieldEntry]:
    """Return an entry for each selected well that is listed but does not exist."""
    if selection.limit is not None or selection.fields:
        return []
    entries = []
    for well in plate.missing:
        address = _well_address(well)
        if not selection.wells or _is_selected(address, selection):
            entries.append(FieldEntry(address, f"{plate.source}/{well}"))
    return entries


def _well_address(well: str) -> FieldAddress:
    row, _, column = well.partition("/")
    return FieldAddress(row, column, "")


def _is_selected(address: FieldAddress, selection: Selection) -> bool:
    return any(same_well(word, address) for word in selection.wells)


def name_channels(
    plate: Plate,
    chosen: list[FieldEntry],
    channels: tuple[str, ...],
    further: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Return the channels' names in the first field that opens.

    If this field lacks one of them, or one that a stage reads beside, it is probably a
    typing error: fail early.
    """
    for entry in chosen:
        try:
            opened = plate.open(entry.address.path)
        except FieldError:  # damaged, which its own task will report
            continue
        try:
            indices = [opened.channel_index(name) for name in channels]
            for name in further:
                opened.channel_index(name)
        except FieldError as error:
            raise SettingsError(str(error)) from error
        if len(set(indices)) < len(indices):
            raise SettingsError(f"channels {channels} name one channel twice")
        names = tuple(opened.channels[index] for index in indices)
        if len(set(names)) < len(names):
            raise SettingsError(
                f"channels {', '.join(channels)} are all called "
                f"{names[0]!r}, and tables could not tell them apart; give each a run "
                "of its own, or a name of its own in the plate"
            )
        return names
    return channels


def _provenance(plate: Plate, settings: Settings) -> dict[str, Any]:
    packages = ("deepspot-scale", "keras", "tensorflow", "openvino", "dask", "zarr")
    facts: dict[str, Any] = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "working_folder": os.getcwd(),
        "input": {
            "source": str(plate.source),
            "name": plate.name,
            "n_fields": len(plate.entries) + len(plate.missing),
        },
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": installed_versions(packages),
    }
    facts |= find_sources(settings)
    compared = settings.chromatic_shift if settings.colocalise else ""
    for role, name in (("reference", settings.reference), ("shifts", compared)):
        file = Path(name or "")
        if file.is_file():
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            facts[role] = {"sha256": digest}
    return facts
