"""Assigns label images to fields by their names.

Names of masks and places of images come in; the masks of each field go out. A mask is
named ``<image>_<label>.tif`` or ``<label>/<image>.tif``, where ``<image>`` is the name
of an image of the field, with or without its channel, or its beginning up to the
field. Nothing here opens a file.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product, takewhile

from deepspot_scale.errors import PlateError
from deepspot_scale.io.conversion.filenames import Place, Stem, read_stem
from deepspot_scale.vocabulary import FieldAddress

# The text between an image's name and the mask's suffix. It must not contain a time
# point or plane, which would be lost: such a name must contain a full image name.
_LABEL = re.compile(r"(?!(?:.*_)?[tTzZ]\d+(?:_|$))[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class MaskFile:
    """One label image of a field."""

    path: str
    """Path below the masks' folder."""
    label: str
    """Name of the labels, such as ``cells``."""
    t: int | None = None
    """Time point as in the images' names; None: for all."""
    z: int | None = None
    """Plane as in the images' names; None: for all."""


def place_masks(
    names: Sequence[str], places: Mapping[str, Place], pattern: str | None
) -> dict[FieldAddress, tuple[MaskFile, ...]]:
    """Assign each mask to its field, by the places of the images.

    `pattern` is the regular expression that matched the images' names; None: none did.
    Raises PlateError if a mask belongs to no field or to several, two masks have the
    same label, time point and plane, or some time points or planes have no mask.
    """
    stems = _Stems.read(places, pattern)
    masks: dict[FieldAddress, list[MaskFile]] = defaultdict(list)
    indices: dict[FieldAddress, list[Place]] = defaultdict(list)
    for place in places.values():
        indices[place.address].append(place)
    for name in names:
        label, found = _find_images(name, stems)
        address = found[0].address
        t = _only({p.t for p in found}, {p.t for p in indices[address]})
        z = _only({p.z for p in found}, {p.z for p in indices[address]})
        masks[address].append(MaskFile(name, label, t, z))
    return {
        address: tuple(_check_masks(address, group, indices[address]))
        for address, group in masks.items()
    }


@dataclass(frozen=True)
class _Stems:
    """An index of the images' names, by full name and by beginning."""

    exact: Mapping[str, Sequence[Place]]
    ordered: Sequence[tuple[Stem, Place]]

    @classmethod
    def read(cls, places: Mapping[str, Place], pattern: str | None) -> _Stems:
        """Build the index of all images."""
        pairs = [(read_stem(name, pattern), place) for name, place in places.items()]
        exact: dict[str, list[Place]] = defaultdict(list)
        for stem, place in pairs:
            for key in {stem.text, stem.without_channel}:
                exact[key].append(place)
        return cls(dict(exact), sorted(pairs, key=lambda pair: pair[0].text))

    def find(self, key: str) -> Sequence[Place]:
        """Return the images with this name, or else those whose name starts with it."""
        if key in self.exact:
            return self.exact[key]
        start = bisect_left(self.ordered, key, key=lambda pair: pair[0].text)
        matches = takewhile(lambda p: p[0].text.startswith(key), self.ordered[start:])
        return [
            place
            for stem, place in matches
            if len(key) >= stem.n_needed
            and not (key[-1].isdigit() and stem.text[len(key)].isdigit())
        ]


def _find_images(name: str, stems: _Stems) -> tuple[str, Sequence[Place]]:
    """Return the label of a mask and its images, which are all of one field."""
    for key, label in _readings(name):
        found = stems.find(key)
        fields = sorted({place.address for place in found})
        if len(fields) > 1:
            raise PlateError(
                f"The mask {name} may belong to several fields, among them "
                f"{fields[0].path} and {fields[1].path}. Name it after one image, as "
                f"in <image>_{label}.tif."
            )
        if found:
            return label, found
    raise PlateError(
        f"The mask {name} belongs to no image. Name it <image>_<label>.tif, or put it "
        f"into a folder with the label's name, as <label>/<image>.tif; <image> is the "
        f"image's name, with or without its channel."
    )


def _readings(name: str) -> Iterator[tuple[str, str]]:
    """Yield the possible pairs of image name and label of a mask, longest first.

    >>> list(_readings("B03_0_cells.tif"))
    [('B03_0', 'cells')]
    >>> list(_readings("cells/B03_0_cp_masks.png"))[0]
    ('B03_0_cp_masks', 'cells')
    """
    stem = name.rpartition(".")[0]
    folder, _, rest = stem.partition("/")
    if rest:
        yield rest, folder
    for text, label in ((rest, folder), (stem, "")):
        parts = text.split("_")
        for n in range(len(parts) - 1, 0, -1):
            word = "_".join(parts[n:])
            if _LABEL.fullmatch(word):
                yield "_".join(parts[:n]), label or word


def _only(values: set[int], all_values: set[int]) -> int | None:
    """Return the only value of a mask; None: it is for several or all."""
    return min(values) if len(values) == 1 < len(all_values) else None


def _check_masks(
    address: FieldAddress, masks: Sequence[MaskFile], places: Sequence[Place]
) -> Iterator[MaskFile]:
    """Check that each label has one mask for all, or one per time point and plane."""
    by_label: dict[str, list[MaskFile]] = defaultdict(list)
    for mask in masks:
        by_label[mask.label].append(mask)
    for label, found in by_label.items():
        one_plane = len({mask.z for mask in found}) == 1
        # A mask of one plane, named after that plane, is used for all planes.
        group = [replace(mask, z=None) for mask in found] if one_plane else found
        taken: dict[tuple[int | None, int | None], str] = {}
        for mask in group:
            other = taken.setdefault((mask.t, mask.z), mask.path)
            if other != mask.path:
                raise PlateError(
                    f"The masks {other} and {mask.path} are both {label} of field "
                    f"{address.path}. Remove one."
                )
        times = _all_of({mask.t for mask in group}, {p.t for p in places})
        planes = _all_of({mask.z for mask in group}, {p.z for p in places})
        if missing := set(product(times, planes)) - set(taken):
            t, z = min(missing, key=str)
            raise PlateError(
                f"{label} of field {address.path} have masks for some time points or "
                f"planes ({group[0].path}), but none for t {t}, z {z}. Add the "
                f"missing masks, or give one for all."
            )
        yield from group


def _all_of(given: set[int | None], there: set[int]) -> set[int | None]:
    """Return the indices that masks must cover; None alone stands for all."""
    return {None} if given == {None} else given | there
