"""Which pages of an OME-TIFF hold which planes, if its OME-XML lists other images too.

A set of files may be one image, or an image for each position, with the whole OME-XML
in every file; and a file may hold several images. An open file comes in; the place of
its own planes goes out. Nothing here reads pixels or other files' pages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import tifffile

from deepspot_scale.errors import FieldError
from deepspot_scale.io.image_files.xml import parse_xml
from deepspot_scale.io.limits import FREE_PIECES, MAX_HOLES

_NOT_THE_SAMPLE = ("label", "macro", "thumb", "overview")
_N_SHOWN = 3


@dataclass(frozen=True)
class OwnPlanes:
    """The planes of an image that lie in one file of a set."""

    pixels: Element
    """Its element Pixels in the OME-XML."""
    sizes: dict[str, int]
    """Along t, c and z, of what lies in the file."""
    pages: tuple[int, ...]
    """Numbers of the pages, in the order t, c, z."""
    channels: tuple[int, ...]
    """Which of the image's channels lie in the file."""


def read_ome(file: tifffile.TiffFile, path: Path) -> Element | None:
    """Return the OME-XML, also if it lies in a companion; None: there is none.

    Raises FieldError if the companion is missing.
    """
    text = file.ome_metadata if file.is_ome else None
    root = parse_xml(text) if text else None
    pointer = root.find("{*}BinaryOnly") if root is not None else None
    if root is None or pointer is None:
        return root
    companion = path.with_name(Path(pointer.get("MetadataFile") or "?").name)
    if not companion.is_file():
        raise FieldError(
            f"{path} says that {companion.name} has the meaning of its pages, but this "
            "is not there. Copy it into the same folder."
        )
    if companion.suffix.lower() in {".tif", ".tiff"}:
        with tifffile.TiffFile(companion) as other:
            whole = parse_xml(other.ome_metadata or "")
    else:
        whole = parse_xml(companion.read_bytes())
    whole.set("UUID", root.get("UUID", ""))
    whole.set("companion", companion.name)
    return whole


def check_number(pixels: Element, n_pages: int) -> None:
    """Raise ValueError if far more planes are declared than there are pages."""
    declared = math.prod(int(pixels.get(f"Size{axis}", 1)) for axis in "TCZ")
    if declared > max(FREE_PIECES, MAX_HOLES * n_pages):
        raise ValueError(
            f"its OME-XML declares {declared} planes, but it has {n_pages} pages"
        )


def find_own_planes(root: Element, path: Path, n_pages: int) -> OwnPlanes | None:
    """Find the planes of a file; None: its pages are its one image, in order.

    Raises FieldError if none of the planes lie in the file, those of several images do,
    or those that do are no block along t, c and z.
    """
    images = [i for i in root.findall("{*}Image") if i.find("{*}Pixels") is not None]
    uuids = root.findall("{*}Image/{*}Pixels/{*}TiffData/{*}UUID")
    files = {uuid.get("FileName", "") for uuid in uuids}
    own = all(_is_own(uuid, root, path, files) for uuid in uuids)
    if own and len(images) == 1 and not root.get("companion"):
        return None
    found = {}
    for image in images:
        pixels = image.find("{*}Pixels")
        if pixels is not None:
            planes = dict(_planes(pixels, root, path, files, n_pages))
            if planes:
                found[image] = (pixels, planes)
    others = sorted(files - {path.name})
    named = ", ".join(others[:_N_SHOWN]) + ", ..." * (len(others) > _N_SHOWN)
    if not found:
        raise FieldError(
            f"{path}: its OME-XML says that all planes lie in other files ({named}). "
            "If it was renamed, give it its old name."
        )
    if len(found) > 1:
        names = [image.get("Name") or image.get("ID") or "?" for image in found]
        kept = [i for i, n in zip(found, names, strict=True) if not _is_extra(n)]
        if len(kept) != 1:
            raise FieldError(
                f"{path} contains {len(found)} images ({', '.join(names[:_N_SHOWN])}"
                f"{', ...' * (len(names) > _N_SHOWN)}); expected one. Split the file."
            )
        found = {kept[0]: found[kept[0]]}
    ((pixels, planes),) = found.values()
    return _block(pixels, planes, path, named)


def _is_extra(name: str) -> bool:
    return any(word in name.lower() for word in _NOT_THE_SAMPLE)


def _planes(
    pixels: Element, root: Element, path: Path, files: set[str], n_pages: int
) -> Iterator[tuple[tuple[int, int, int], int]]:
    """Yield (t, c, z) and page of each plane that lies in the file."""
    order = [
        axis for axis in pixels.get("DimensionOrder", "XYZCT")[2:] if axis in "ZCT"
    ]
    spp = max(
        (int(c.get("SamplesPerPixel") or 1) for c in pixels.findall("{*}Channel")),
        default=1,
    )
    sizes = {axis: int(pixels.get(f"Size{axis}", 1)) for axis in order}
    sizes["C"] = max(1, sizes["C"] // spp)
    total, shape = math.prod(sizes.values()), [sizes[axis] for axis in order[::-1]]
    for data in pixels.findall("{*}TiffData"):
        uuid = data.find("{*}UUID")
        if uuid is not None and not _is_own(uuid, root, path, files):
            continue
        first = [int(data.get(f"First{axis}", 0)) for axis in order[::-1]]
        start, page = int(np.ravel_multi_index(first, shape)), int(data.get("IFD", 0))
        several = n_pages - page if "IFD" not in data.attrib else 1
        for k in range(min(int(data.get("PlaneCount", several)), total - start)):
            at = dict(zip(order[::-1], np.unravel_index(start + k, shape), strict=True))
            yield (int(at["T"]), int(at["C"]), int(at["Z"])), page + k


def _is_own(uuid: Element, root: Element, path: Path, files: set[str]) -> bool:
    """Return whether planes lie in the file: by its name, or if renamed by its UUID."""
    if path.name in files:
        return uuid.get("FileName", path.name) == path.name
    return (uuid.text or "").strip() == root.get("UUID", "?")


def _block(
    pixels: Element, planes: dict[tuple[int, int, int], int], path: Path, others: str
) -> OwnPlanes:
    values = [sorted({place[i] for place in planes}) for i in range(3)]
    wanted = [(t, c, z) for t, c, z in product(*values)]
    if len(wanted) != len(planes):
        t, c, z = next(place for place in wanted if place not in planes)
        raise FieldError(
            f"{path} holds {len(planes)} planes of its image, but not t {t}, c {c}, z "
            f"{z}, which should lie in another file ({others}). Convert the whole set "
            "to one OME-TIFF or OME-Zarr first."
        )
    sizes = dict(zip("tcz", map(len, values), strict=True))
    return OwnPlanes(pixels, sizes, tuple(planes[p] for p in wanted), tuple(values[1]))
