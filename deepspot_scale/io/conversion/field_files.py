"""The files of one field, and whether they are a whole image.

Places read from names come in. Nothing here reads a name or opens a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from deepspot_scale.errors import PlateError
from deepspot_scale.io.conversion.filenames import natural_order
from deepspot_scale.io.conversion.mask_files import MaskFile
from deepspot_scale.vocabulary import FieldAddress


@dataclass(frozen=True)
class ImageFile:
    """One image file and its place in its field."""

    path: str
    """Path below the plan's folder."""
    channel: str
    """Channel as written in the name; empty: none."""
    t: int
    z: int


@dataclass(frozen=True)
class FieldFiles:
    """All files of one field; small enough to be part of a task."""

    address: FieldAddress
    images: tuple[ImageFile, ...]
    masks: tuple[MaskFile, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels in the names, sorted."""
        return tuple(sorted({i.channel for i in self.images}, key=natural_order))

    @property
    def times(self) -> tuple[int, ...]:
        """Time points in the names, sorted; the first becomes index 0."""
        return tuple(sorted({image.t for image in self.images}))

    @property
    def planes(self) -> tuple[int, ...]:
        """Planes in the names of all channels, sorted; the first becomes index 0."""
        return tuple(sorted({image.z for image in self.images}))

    def planes_of(self, channel: str) -> tuple[int, ...]:
        """Return the planes in the names of one channel, sorted."""
        return tuple(sorted({i.z for i in self.images if i.channel == channel}))


def check_complete(field: FieldFiles, *, zero_is_projection: bool) -> None:
    """Raise PlateError for a hole; a channel may have one image beside stacks."""
    present = {(image.channel, image.t, image.z) for image in field.images}
    depths = {channel: field.planes_of(channel) for channel in field.channels}
    single = [c for c, z in depths.items() if z == (0,) and zero_is_projection]
    planes = sorted({z for c in depths if c not in single for z in depths[c]})
    expected = (
        (channel, t, z)
        for channel, t in product(field.channels, field.times)
        for z in ([0] if channel in single else planes)
    )
    missing = [place for place in expected if place not in present]
    if missing:
        channel, t, z = missing[0]
        raise PlateError(
            f"Field {field.address.path} lacks {len(missing)} of "
            f"{len(missing) + len(present)} images, the first is channel {channel!r}, "
            f"t {t}, z {z}. Add the missing files, or remove the field's others."
        )


def check_depths(field: FieldFiles, project: str) -> None:
    """Raise PlateError unless all channels have planes, or are projected anyway."""
    depths = {c: len(field.planes_of(c)) for c in field.channels}
    if len(set(depths.values())) > 1 and project != "max":
        counted = ", ".join(f"{channel} {n}" for channel, n in depths.items())
        raise PlateError(
            f"The channels of field {field.address.path} have different numbers of "
            f"planes ({counted}), but an OME-Zarr image has one. Convert with the "
            f"projection (--project max), or only some channels with --pattern."
        )


def iter_lacking(fields: Sequence[FieldFiles]) -> Iterator[str]:
    """Yield a note if fields have different channels: their numbers then differ too."""
    known = {channel for field in fields for channel in field.channels}
    lacking = [field for field in fields if set(field.channels) != known]
    if lacking:
        absent = ", ".join(sorted(known - set(lacking[0].channels)))
        yield (
            f"{len(lacking)} of {len(fields)} fields lack channels that others have, "
            f"such as {lacking[0].address.path} without {absent}: name channels, do "
            "not number them"
        )
