"""Creates plates without images: metadata of the plate, its rows and its wells.

Addresses come in, groups are written to a folder or fsspec URL. Existing data are
deleted only on request, and only if they are an OME-Zarr plate. Nothing here knows
images.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence

import zarr

from deepspot_scale.errors import PlateError
from deepspot_scale.io.ome_zarr import metadata, metadata_blocks
from deepspot_scale.io.ome_zarr.metadata import Version
from deepspot_scale.io.stores import Source, is_url, open_node, source_text
from deepspot_scale.vocabulary import FieldAddress

_NAME = re.compile(r"[A-Za-z0-9]+")


def create_plate(
    target: Source,
    addresses: Sequence[FieldAddress],
    *,
    name: str = "",
    version: Version = "0.5",
    acquisitions: Mapping[FieldAddress, int] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the metadata of a plate, its rows and its wells, without images.

    Parameters
    ----------
    target
        Folder or fsspec URL of the new plate.
    addresses
        Every field of the plate, ordered within each well. Rows, columns and fields
        must be letters and digits, as OME-NGFF requires.
    name
        Name of the plate; empty: no name is stored.
    version
        ``"0.4"`` (Zarr v2) or ``"0.5"`` (Zarr v3).
    acquisitions
        Number of the acquisition, 0 or more, of every field.
    overwrite
        Delete an existing OME-Zarr plate. Anything else is never deleted.

    Raises
    ------
    PlateError
        The target exists, or addresses or acquisitions are invalid.
    """
    source = source_text(target)
    numbers = dict(acquisitions or {})
    _check_addresses(addresses, numbers)
    if version not in {"0.4", "0.5"}:
        raise PlateError(f"OME-Zarr version must be 0.4 or 0.5, not {version!r}")
    _check_free(source, overwrite=overwrite)
    block = metadata_blocks.plate_block(addresses, name, numbers, version)
    root = zarr.create_group(
        source,
        zarr_format=metadata.zarr_format(version),
        attributes=metadata.wrap_block(block, version),
        overwrite=overwrite,
    )
    _add_wells(root, addresses, numbers, version)


def complete_plate(target: Source, addresses: Sequence[FieldAddress]) -> None:
    """Add the rows and wells of these fields to a plate of version 0.5.

    Raises PlateError if the addresses are invalid.
    """
    _check_addresses(addresses, {})
    root = zarr.open_group(source_text(target), mode="r+")
    block = metadata_blocks.plate_block(addresses, "", {}, "0.5")
    root.update_attributes(metadata.wrap_block(block, "0.5"))
    _add_wells(root, addresses, {}, "0.5")


def _add_wells(
    root: zarr.Group,
    addresses: Sequence[FieldAddress],
    numbers: Mapping[FieldAddress, int],
    version: Version,
) -> None:
    """Write the missing groups of rows and wells."""
    wells: dict[str, list[FieldAddress]] = {}
    for address in addresses:
        wells.setdefault(f"{address.row}/{address.column}", []).append(address)
    for row in sorted({address.row for address in addresses}):
        root.require_group(row)
    for path, fields in wells.items():
        if path not in root:
            block = metadata_blocks.well_block(fields, numbers, version)
            root.create_group(path, attributes=metadata.wrap_block(block, version))


def plate_address(address: FieldAddress) -> FieldAddress:
    """Return a valid address in a plate: images outside of a plate get well A/1.

    In a field's name, characters other than letters and digits are removed, and a hash
    of the name is appended to keep it unique.

    Examples
    --------
    >>> plate_address(FieldAddress("", "", "cells")).path
    'A/1/cells'
    """
    name = address.field
    if not _NAME.fullmatch(name):
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
        name = re.sub(r"[^A-Za-z0-9]", "", name) + digest[:8]
    return FieldAddress(address.row or "A", address.column or "1", name)


def _check_addresses(
    addresses: Sequence[FieldAddress], acquisitions: Mapping[FieldAddress, int]
) -> None:
    if not addresses:
        raise PlateError("a plate needs at least one field, but no address was given")
    for address in addresses:
        names = (address.row, address.column, address.field)
        if not all(_NAME.fullmatch(name) for name in names):
            raise PlateError(
                "rows, columns and fields of a plate must be letters and digits, got "
                f"{names}. Rename them."
            )
    if len(set(addresses)) != len(addresses):
        twice = next(a for a in addresses if addresses.count(a) > 1)
        raise PlateError(f"the address {twice.path} was given more than once")
    if acquisitions and (
        set(acquisitions) != set(addresses) or min(acquisitions.values()) < 0
    ):
        raise PlateError("acquisitions must give a number, 0 or more, for every field")


def _check_free(source: str, *, overwrite: bool) -> None:
    """Raise PlateError unless a plate may be written here."""
    try:
        node = open_node(source)
    except FileNotFoundError:
        if is_url(source) or not os.path.lexists(source):
            return
        if os.path.isdir(source) and not os.listdir(source):
            return
        overwrite, is_plate = False, False
    except Exception as error:  # zarr raises many kinds on damaged metadata
        raise PlateError(
            f"{source} exists and its metadata cannot be read ({error}). Delete it or "
            "choose another place."
        ) from error
    else:
        is_plate = "plate" in metadata.read_block(node)
    if not (overwrite and is_plate):
        raise PlateError(
            f"{source} exists{'' if is_plate else ' and is no OME-Zarr plate'}. Choose "
            f"another place{' or ask to overwrite it' if is_plate else ''}."
        )
