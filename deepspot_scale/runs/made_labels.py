"""Label images of a run, whether they were stored before or the run made them.

A run and an open field come in; the field goes out with the labels that the run made
and kept, to be read as stored ones are. Whoever shows or exports cells asks here and
need not know where they come from. Nothing here knows how labels are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import LABELS
from deepspot_scale.io.field import Field
from deepspot_scale.io.labels import LabelImage
from deepspot_scale.io.stored_image import StoredImage
from deepspot_scale.runs.contents import LayerKept
from deepspot_scale.runs.kept_layers import open_layer
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import RunResults


def label_names(results: RunResults) -> dict[str, str]:
    """Return the names of a run's labels, by what they are for: cells and nuclei first.

    Those that the settings name are stored with the image; the run made the others,
    which `with_made` adds to a field under these names.
    """
    stored = _stored(results)
    names = dict(stored)
    for layer in made_layers(results):
        names[layer] = f"{layer}_made" if layer in stored.values() else layer
    first = [use for use in LABELS.values() if use in names]
    return {use: names[use] for use in (*first, *sorted({*names}.difference(first)))}


def with_made(results: RunResults, field: Field) -> Field:
    """Return the field with the labels that the run made of it.

    A field that is not done has none.

    Raises
    ------
    FieldError
        The run folder has lost them.
    """
    made = made_layers(results)
    if not made or field.address not in addresses_of(results.done):
        return field
    names, images = label_names(results), {}
    flat = results.settings.made_labels if results.settings.in_volume else ()
    for layer, kept in made.items():
        opened = open_layer(results.folder, kept.folder, field.address)
        if opened is not None:
            is_flat = layer in flat and not kept.deep
            images[names[layer]] = _as_labels(opened.image, is_flat=is_flat)
    return field.with_labels(images)


def _stored(results: RunResults) -> dict[str, str]:
    named = {use: getattr(results.settings, use) for use in LABELS.values()}
    return {use: name for use, name in named.items() if name is not None}


def made_layers(results: RunResults) -> dict[str, LayerKept]:
    """Return the layers of labels that a run made on the image's grid and kept."""
    stored = _stored(results)
    return {
        name: kept
        for name, kept in results.contents.layers.items()
        if kept.labels and tuple(kept.scale) == (1, 1) and name not in stored
    }


@dataclass(frozen=True)
class _FirstChannel:
    """Reads a layer with a c axis: labels are the same for each channel of a run."""

    image: StoredImage
    n_z: int
    """Planes, the first ones."""

    def __call__(self, slices: tuple[slice, ...]) -> NDArray[Any]:
        t, z, *window = slices
        planes = slice(*z.indices(self.n_z))
        values: NDArray[Any] = self.image[(t, 0, planes, *window)]
        return values


def _as_labels(image: StoredImage, *, is_flat: bool) -> LabelImage:
    """Return a kept layer, axes t, c, z, y, x, as labels on its own grid.

    Of flat ones, which stages of volumes repeat on each plane, one plane is taken.
    """
    t, _, *shape = image.shape
    n_t, _, *chunks = image.chunks
    if is_flat:
        shape[0] = 1
    stored = StoredImage(
        image.source,
        "tzyx",
        (t, *shape),
        image.dtype,
        (n_t, *chunks),
        _FirstChannel(image, shape[0]),
        spacing_um=image.spacing_um,
    )
    return LabelImage(stored, np.arange(shape[-2]), np.arange(shape[-1]))
