"""Labels that a run made, inside the plate: ``FIELD/labels/cells`` and ``nuclei``.

A run comes in; each label image that it made and kept is copied beside the image, in
the plate's own version, with the image's scale. Later runs name it as any stored one.
What made them is said beside them, see `label_record`. Labels that are there already
and hold the same numbers are left as they are, so a killed copy is continued by the
same call; others are replaced only on request, and so is what is said of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError, RunError, SettingsError
from deepspot_scale.exports.label_record import label_record
from deepspot_scale.exports.targets import open_stored
from deepspot_scale.io.field import Field
from deepspot_scale.io.labels import LabelImage
from deepspot_scale.io.ome_zarr.writing import write_labels
from deepspot_scale.io.plate import Plate
from deepspot_scale.runs.contents import LayerKept
from deepspot_scale.runs.made_labels import made_layers, with_made
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import RunResults
from deepspot_scale.vocabulary import FieldAddress

_ROWS = 1024
"""Rows that are compared at once; bounds memory, not the answer."""


def write_made(results: RunResults, *, overwrite: bool) -> None:
    """Write the labels that the run made into its plate, for every field that is done.

    Nothing is written before all fields are looked at.

    Raises
    ------
    RunError
        The run made no labels, a field has others of that name, or the input is no
        OME-Zarr plate.
    SettingsError
        The run was measured with stored labels of that name.
    """
    layers = made_layers(results)
    if not layers:
        raise RunError(
            f"the run {results.folder.url} made no labels; run again with --segment, "
            "or segment the plate"
        )
    taken = {results.settings.cells, results.settings.nuclei} & {*layers}
    if taken:
        raise SettingsError(
            f"the run was measured with labels {min(map(str, taken))!r} of the plate, "
            "which are not replaced by others; rename them"
        )
    left = list(_iter_left(results, layers, overwrite=overwrite))
    for number, (field, names) in enumerate(left, start=1):
        for layer in names:
            made = with_made(results, field).open_labels(layer)
            labels, axes = _whole(made, deep=layers[layer].deep)
            where = (results.source, field.address, layer)
            about = label_record(results, layer, field)
            write_labels(*where, labels, axes=axes, about=about)
        if results.on_field is not None:
            results.on_field(number, len(left))


def check_no_labels(plate: Plate, names: tuple[str, ...]) -> None:
    """Raise RunError if labels of these names cannot be added to the plate.

    It is no OME-Zarr plate, or a field has such labels already; without names only the
    former is checked.
    Fields that cannot be opened are passed over; their own task says why.
    """
    for entry in plate.entries:
        try:
            field = plate.open(entry.address.path)
        except FieldError:
            continue
        _check_plate(entry.address, plate.source, field.group)
        for name in names:
            if name in field.label_names:
                raise _there(entry.address, name, plate.source)


def _there(address: FieldAddress, name: str, source: object) -> RunError:
    return RunError(
        f"field {address.path} of {source} has other labels {name!r} already; "
        "replace them by --overwrite (overwrite=True)"
    )


def _check_plate(address: FieldAddress, source: object, group: str) -> None:
    if not (address.row and group):
        raise RunError(
            f"{source} is no OME-Zarr plate, and labels are added to plates; convert "
            "the images to one first"
        )


def _iter_left(
    results: RunResults, layers: Mapping[str, LayerKept], *, overwrite: bool
) -> Iterator[tuple[Field, list[str]]]:
    """Yield the fields some of whose labels are not in the plate yet, and which."""
    for address in addresses_of(results.done):
        field = open_stored(results, address)
        _check_plate(address, results.source, field.group)
        left = []
        for layer, kept in layers.items():
            if layer in field.label_names:
                stored = field.open_labels(layer)
                made = with_made(results, field).open_labels(layer)
                same = _is_same(stored, made, field, deep=kept.deep)
                if not (same or overwrite):
                    raise _there(address, layer, results.source)
                record = label_record(results, layer, field)
                if same and (not overwrite or field.about_labels(layer) == record):
                    continue
            left.append(layer)
        if left:
            yield field, left


def _is_same(stored: LabelImage, made: LabelImage, field: Field, *, deep: bool) -> bool:
    """Return whether stored labels hold the numbers that the run made."""
    height, width = field.shape_yx
    if not stored.is_aligned or stored.stored.size("t") != made.stored.size("t"):
        return False
    if stored.n_z not in ({made.n_z} if deep else {1, made.n_z}):
        return False
    for t in range(made.stored.size("t")):
        for z in range(made.n_z):
            for top in range(0, height, _ROWS):
                window = (slice(top, min(top + _ROWS, height)), slice(0, width))
                own = made.read_plane(t, window, z)
                there = stored.read_plane(t, window, min(z, stored.n_z - 1))
                if not np.array_equal(own, there):
                    return False
    return True


def _whole(made: LabelImage, *, deep: bool) -> tuple[NDArray[Any], str]:
    """Return labels and their axes; planes that are all alike become one.

    Those of labels with a depth do not: an object is then as high as the stack.
    """
    n_z = made.n_z
    labels = made.stored[(slice(None),) * 4]
    if not deep and all((labels[:, z] == labels[:, 0]).all() for z in range(1, n_z)):
        labels = labels[:, :1]
    axes = [a for a, n in zip("tz", labels.shape, strict=False) if n > 1] + ["y", "x"]
    kept = tuple(slice(None) if n > 1 else 0 for n in labels.shape[:2])
    return labels[kept], "".join(axes)
