"""Converts a folder of TIFF or PNG images to an OME-Zarr plate, field by field.

A folder, a target and checked settings come in; a plate, and beside it a table with the
place of each file, go out. One plane is in memory at a time. Until everything is
complete the plate is named ``<target>.part``. Names are parsed in `plan`, files are
read in `planes`.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from deepspot_scale.errors import DeepspotError, PlateError
from deepspot_scale.io.conversion.field_files import FieldFiles
from deepspot_scale.io.conversion.field_stack import read_stack
from deepspot_scale.io.conversion.plan import (
    FILE_COLUMNS,
    Conversion,
    ConversionPlan,
    plan_conversion,
)
from deepspot_scale.io.ome_zarr import metadata, writing
from deepspot_scale.io.stores import is_url, open_node
from deepspot_scale.outputs import check_output_folder
from deepspot_scale.vocabulary import FieldAddress

if TYPE_CHECKING:
    import distributed

__all__ = [
    "Conversion",
    "ConversionPlan",
    "convert",
    "convert_field",
    "plan_conversion",
]

_N_SHOWN = 10
"""Most failures that a message lists."""


def convert(
    folder: str | os.PathLike[str],
    target: str | os.PathLike[str],
    conversion: Conversion | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
    client: distributed.Client | None = None,
) -> ConversionPlan:
    """Convert a folder of images to an OME-Zarr plate.

    Beside the plate, ``<target>.files.csv`` has the place of each file. A bad image
    does not stop the conversion of others, so that one message names all bad ones;
    but then no plate is created, and the converted fields stay in ``<target>.part``
    until the next conversion.

    Parameters
    ----------
    folder
        Folder of TIFF and PNG images; subfolders are searched too.
    target
        Folder of the new plate, on a local disk, or one shared with all workers.
    conversion
        Settings; None: the defaults of `Conversion`.
    progress
        Called with the numbers of finished and all fields, first at the start.
    overwrite
        Replace an existing OME-Zarr plate once the new one is complete.
    client
        Client of workers, one field per task; None: convert in this process.

    Returns
    -------
    ConversionPlan
        The executed plan; its `unmatched` lists images that belong to no field.

    Raises
    ------
    PlateError
        The names form no plate, the target exists, or some files are bad.
    SettingsError
        Nothing can be written where the target is to be.
    """
    conversion = conversion or Conversion()
    place = _check_target(target, overwrite=overwrite)
    check_output_folder(place.parent, "the plate")
    plan = plan_conversion(Path(folder).resolve(), conversion)
    part = place.with_name(f"{place.name}.part")
    writing.create_plate(
        part,
        [field.address for field in plan.fields],
        name=place.name.removesuffix(".zarr").removesuffix(".ome"),
        version=conversion.version,
        overwrite=True,
    )
    failures = _convert_all(plan, part, conversion, progress, client)
    if failures:
        raise PlateError(_failure_message(failures, len(plan.fields), part))
    table = place.with_name(f"{place.name}.files.csv")
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([FILE_COLUMNS, *plan.rows()])
    _rename(part, place)
    return plan


def convert_field(
    field: FieldFiles, folder: Path, target: Path, conversion: Conversion
) -> None:
    """Write one field, image and labels, into a plate that lists it.

    The arguments are small and picklable, so this can be a task on any worker. Paths
    are relative to `folder`. If it fails, the partial field is deleted.

    Raises FieldError if a file is unreadable, or does not fit the field's others.
    """
    try:
        stack = read_stack(field, folder, conversion)
        writing.create_image(target, field.address, stack.layout)
        for index, plane in stack.planes():
            whole = (slice(0, plane.shape[0]), slice(0, plane.shape[1]))
            writing.write_window(
                target, field.address, plane, index=index, window=whole
            )
        for label in sorted({mask.label for mask in field.masks}):
            labels, axes = stack.read_labels(label)
            writing.write_labels(target, field.address, label, labels, axes=axes)
    except BaseException:  # also when killed: no partial field may remain
        shutil.rmtree(target / field.address.path, ignore_errors=True)
        raise


def _check_target(target: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the absolute path of the new plate, after checking that it is free."""
    if is_url(os.fspath(target)):
        raise PlateError(
            f"A conversion needs a local folder, not {os.fspath(target)}, because the "
            f"complete plate is renamed. Convert locally and copy the plate."
        )
    place = Path(target).absolute()
    if not os.path.lexists(place):
        return place
    if not overwrite:
        raise PlateError(
            f"{place} exists. Choose another place, or ask to overwrite it."
        )
    try:
        if "plate" not in metadata.read_block(open_node(os.fspath(place))):
            raise ValueError("a Zarr hierarchy without a plate")
    except Exception as error:  # zarr raises many kinds if this is no plate
        raise PlateError(
            f"{place} is no OME-Zarr plate, so it is not overwritten. Choose another "
            "place."
        ) from error
    return place


def _convert_all(
    plan: ConversionPlan,
    part: Path,
    conversion: Conversion,
    progress: Callable[[int, int], None] | None,
    client: distributed.Client | None,
) -> dict[FieldAddress, str]:
    """Convert all fields; return the errors of failed ones, in plate order."""
    task = partial(_attempt, folder=plan.folder, target=part, conversion=conversion)
    outcomes = (
        map(task, plan.fields)
        if client is None
        else _map_on_workers(task, plan.fields, client)
    )
    report = progress or (lambda done, total: None)
    report(0, len(plan.fields))
    failures = {}
    for done, (address, reason) in enumerate(outcomes, start=1):
        if reason:
            failures[address] = reason
        report(done, len(plan.fields))
    order = [field.address for field in plan.fields]
    return {address: failures[address] for address in order if address in failures}


def _attempt(
    field: FieldFiles, folder: Path, target: Path, conversion: Conversion
) -> tuple[FieldAddress, str]:
    """Convert a field; return its error message, empty on success."""
    try:
        convert_field(field, folder, target, conversion)
    except DeepspotError as error:
        return field.address, str(error)
    return field.address, ""


def _map_on_workers(
    task: Callable[[FieldFiles], tuple[FieldAddress, str]],
    fields: Sequence[FieldFiles],
    client: distributed.Client,
) -> Iterator[tuple[FieldAddress, str]]:
    from distributed import as_completed  # slow to import, rarely needed

    # Impure, because a repeated conversion must write again.
    futures = client.map(task, fields, pure=False)
    try:
        for _, outcome in as_completed(futures, with_results=True):
            yield outcome
    finally:
        client.cancel(futures)


def _failure_message(
    failures: dict[FieldAddress, str], n_fields: int, part: Path
) -> str:
    lines = [
        f"{len(failures)} of {n_fields} fields could not be converted, so no plate was "
        f"created. Repair or remove these files and convert again. The others are in "
        f"{part} until then."
    ]
    shown = islice(failures.items(), _N_SHOWN)
    lines += [f"  {address.path}: {reason}" for address, reason in shown]
    if len(failures) > _N_SHOWN:
        lines.append(f"  and {len(failures) - _N_SHOWN} more")
    return "\n".join(lines)


def _rename(part: Path, place: Path) -> None:
    """Rename the complete plate; delete an existing one only after that."""
    if os.path.lexists(place):
        old = place.with_name(f"{place.name}.old")
        place.rename(old)
        part.rename(place)
        shutil.rmtree(old)
    else:
        part.rename(place)
