"""A plate without noise: the images that a run denoised, as an OME-Zarr plate.

A run that kept its denoised images comes in; a plate 0.5 goes out, with the fields of
the run under their names, their pixel sizes and the channels that were denoised, no
others and no labels. Counts are float32 and not rounded, so whatever runs on the plate
sees what it would see behind ``run --denoise``. A field that failed is listed by its
well and has no image, so that whoever opens it is told. Nothing here removes noise.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import zarr

from deepspot_scale.errors import RunError
from deepspot_scale.io.field import Field
from deepspot_scale.io.ome_zarr.creation import create_plate, plate_address
from deepspot_scale.io.ome_zarr.writing import ImageLayout, write_image
from deepspot_scale.io.stored_image import StoredImage
from deepspot_scale.runs.kept_layers import open_layer
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import RunResults
from deepspot_scale.stages.denoising import KEPT
from deepspot_scale.vocabulary import FieldAddress

ABOUT: Final = "deepspot_scale_denoised"
"""Attribute of the plate: what it was made of."""
SIGN: Final = ("zarr.json", ABOUT)
"""A file, and a text in it, that identify such a plate."""
_COARSEST: Final = 512
"""Levels end once the image is not larger, in pixels."""


def write_denoised(results: RunResults, path: Path) -> None:
    """Write the plate of all fields that are done.

    Raises
    ------
    RunError
        The run kept no denoised images, has none that is done, or has lost one.
    """
    if KEPT.name not in results.contents.layers:
        raise RunError(
            f"the run {results.folder.url} kept no images without noise; run again "
            "with --denoise --keep-denoised, or denoise the plate"
        )
    if results.done.empty:
        raise RunError(f"no field of the run {results.folder.url} is done")
    acquisitions = _acquisitions(results)
    create_plate(
        path,
        list(acquisitions),
        name=f"{results.plate_name}, denoised",
        acquisitions=acquisitions if any(acquisitions.values()) else None,
    )
    for address in results.iter_done():
        field = open_layer(results.folder, KEPT.stored_name, address)
        if field is None:
            raise RunError(
                f"{results.folder.url} has lost its images without noise; denoise the "
                "plate again, in another run folder"
            )
        source = results.plate.open(address.path)
        image = field.image[(slice(None),) * len(field.axes)]
        layout = _layout(field, source.image)
        write_image(path, plate_address(address), image, layout)
    # Last, as the metadata of an image are.
    zarr.open_group(path, mode="r+").attrs[ABOUT] = about(results)


def _acquisitions(results: RunResults) -> dict[FieldAddress, int]:
    """Return the number of the acquisition of each field that was tried."""
    numbers = results.fields["acquisition"]
    rows = zip(addresses_of(results.fields), numbers, strict=True)
    # A whole well that is missing has no field to be listed.
    return {plate_address(each): int(n) for each, n in rows if each.field}


def about(results: RunResults) -> dict[str, Any]:
    """Return what a plate is made of: equal facts make equal pixels."""
    rows = zip(
        addresses_of(results.fields), results.fields["source_digest"], strict=True
    )
    return {
        "source": results.source,
        "channels": list(results.settings.channels),
        "project": results.settings.project,
        "denoiser": results.provenance.get("denoiser", {}).get("sha256", ""),
        "fields": {address.path: str(digest) for address, digest in rows},
    }


def read_about(plate: Path) -> dict[str, Any] | None:
    """Return what a plate says that it is made of; None: it is no such plate."""
    file = plate / SIGN[0]
    if not file.is_file():
        return None
    attributes = json.loads(file.read_text("utf-8")).get("attributes", {})
    found: dict[str, Any] | None = attributes.get(ABOUT)
    return found


def _layout(field: Field, source: StoredImage) -> ImageLayout:
    """Return the layout of a denoised image; places are those of its source."""
    n_levels = 1
    while max(field.shape_yx) > _COARSEST << (n_levels - 1):
        n_levels += 1
    keeps_planes = field.n_z == source.size("z")
    return ImageLayout(
        field.axes,
        field.shape,
        field.dtype,
        field.channels,
        field.pixel_size_um,
        n_levels=n_levels,
        z_step_um=source.spacing_um.get("z") if keeps_planes else None,
        begin_um=source.begin_um,
    )
