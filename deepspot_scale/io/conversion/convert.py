"""A folder of TIFF or PNG images becomes an OME-Zarr plate, field by field.

A folder, a target and checked settings come in; a plate and beside it a table that
says where each file went go out. One plane is in memory at a time. The plate gets its
name when everything in it is whole; until then it is called ``<target>.part``. What
names mean is `conversion_plan`'s matter, what lies in a file `planes`'s.
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
from deepspot_scale.io.conversion.field_stack import read_stack
from deepspot_scale.io.conversion.plan import (
    FILE_COLUMNS,
    Conversion,
    ConversionPlan,
    FieldFiles,
    plan_conversion,
)
from deepspot_scale.io.ome_zarr import metadata
from deepspot_scale.io.ome_zarr.writing import (
    create_image,
    create_plate,
    write_labels,
    write_window,
)
from deepspot_scale.io.stores import is_url, open_node
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
"""Failures that a message spells out."""


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

    Beside the plate, ``<target>.files.csv`` says which place each file has got. A bad
    image does not stop the others, so that one message names all bad ones, but no
    plate is made then; what was converted stays in ``<target>.part`` until the next
    conversion.

    Parameters
    ----------
    folder
        Folder of TIFF and PNG images; subfolders are searched too.
    target
        Folder of the new plate, on a disk of this machine (of all workers, too).
    conversion
        Settings; by default all of `Conversion`'s own.
    progress
        Called with fields done and fields in all, at the start and after each field.
    overwrite
        Replace an OME-Zarr plate that is there, once the new one is whole.
    client
        Workers that do one field per task; None: this process.

    Returns
    -------
    ConversionPlan
        What was done; `unmatched` lists the images that are in no field.

    Raises
    ------
    PlateError
        The names make no plate, the target is taken, or some files are bad.
    """
    conversion = conversion or Conversion()
    place = _check_target(target, overwrite=overwrite)
    plan = plan_conversion(Path(folder).resolve(), conversion)
    part = place.with_name(f"{place.name}.part")
    create_plate(
        part,
        [field.address for field in plan.fields],
        name=place.name.removesuffix(".zarr").removesuffix(".ome"),
        version=conversion.version,
        overwrite=True,
    )
    failures = _convert_all(plan, part, conversion, progress, client)
    if failures:
        raise PlateError(_failure_message(failures, len(plan.fields), part))
    _write_table(plan, place.with_name(f"{place.name}.files.csv"))
    _give_name(part, place)
    return plan


def convert_field(
    field: FieldFiles, folder: Path, target: Path, conversion: Conversion
) -> None:
    """Write one field, image and labels, into a plate that lists it.

    Everything is plain and small, so that this can be a task on any worker. When it
    fails, nothing of the field is left.

    Parameters
    ----------
    field
        Its files.
    folder
        Where the images' paths begin.
    target
        The plate.
    conversion
        The settings that `field` was planned with.

    Raises
    ------
    FieldError
        A file is unreadable, or does not fit the field's others.
    """
    try:
        stack = read_stack(field, folder, conversion)
        create_image(target, field.address, stack.layout)
        for index, plane in stack.planes():
            whole = (slice(0, plane.shape[0]), slice(0, plane.shape[1]))
            write_window(target, field.address, plane, index=index, window=whole)
        for label in sorted({mask.label for mask in field.masks}):
            labels, axes = stack.read_labels(label)
            write_labels(target, field.address, label, labels, axes=axes)
    except BaseException:  # whatever stopped it, half a field must not look like one
        shutil.rmtree(target / field.address.path, ignore_errors=True)
        raise


def _check_target(target: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """Return the absolute place of the new plate, if it may be made there."""
    if is_url(os.fspath(target)):
        raise PlateError(
            f"A conversion needs a local folder, because its plate is renamed when it "
            f"is whole, not {os.fspath(target)}. Convert locally and copy the plate."
        )
    place = Path(target).absolute()
    if not os.path.lexists(place):
        return place
    if not overwrite:
        raise PlateError(
            f"{place} exists. Choose another place, or ask to overwrite it."
        )
    try:
        node = open_node(os.fspath(place))
        block = metadata.read_block(node.attrs.asdict(), node.metadata.zarr_format)
    except Exception as error:  # zarr raises many kinds; none means a plate
        raise _no_plate(place) from error
    if "plate" not in block:
        raise _no_plate(place)
    return place


def _no_plate(place: Path) -> PlateError:
    return PlateError(
        f"{place} is no OME-Zarr plate, so it is not overwritten. Choose another place."
    )


def _convert_all(
    plan: ConversionPlan,
    part: Path,
    conversion: Conversion,
    progress: Callable[[int, int], None] | None,
    client: distributed.Client | None,
) -> dict[FieldAddress, str]:
    """Convert all fields; return the reasons of those that failed, in plate order."""
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
    """Convert a field; return why it failed, empty when it did not."""
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

    # Impure: the same conversion again has to write again.
    futures = client.map(task, fields, pure=False)
    try:
        for _, outcome in as_completed(futures, with_results=True):
            yield outcome
    finally:
        client.cancel(futures)


def _failure_message(
    failures: dict[FieldAddress, str], n_fields: int, part: Path
) -> str:
    shown = [
        f"  {address.path}: {reason}"
        for address, reason in islice(failures.items(), _N_SHOWN)
    ]
    if len(failures) > _N_SHOWN:
        shown.append(f"  and {len(failures) - _N_SHOWN} more")
    return "\n".join(
        [
            f"{len(failures)} of {n_fields} fields could not be converted, so no plate "
            f"was made. Mend or remove these files and convert again. The other fields "
            f"are in {part} until then.",
            *shown,
        ]
    )


def _write_table(plan: ConversionPlan, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(FILE_COLUMNS)
        writer.writerows(plan.rows())


def _give_name(part: Path, place: Path) -> None:
    """Move a whole plate to its place; one that stood there goes only then."""
    if os.path.lexists(place):
        old = place.with_name(f"{place.name}.old")
        place.rename(old)
        part.rename(place)
        shutil.rmtree(old)
    else:
        part.rename(place)
