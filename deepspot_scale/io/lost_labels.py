"""Signs that absent chunks of labels were lost, and not left out as empty.

Many writers leave out chunks of nothing but zeros, which is common where cells are
few; a half copied label image looks the same. Open labels and the mask of their absent
chunks come in, words or nothing go out. Labels are read row of chunks by row of chunks.
Nothing here lists files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.io.labels import LabelImage

_CUT: Final = 0.25
"""Objects are cut if they cover this share of the pixels beside absent chunks, as a
part of the share that they cover elsewhere. Beside lost chunks it is about 1. Objects
that happen to end there cover little: of discs with a radius of 50 px .2 %, so that
one is not enough."""


class Absent(NamedTuple):
    """Chunks of an image or of labels that are not stored."""

    mask: NDArray[np.bool_]
    """For each chunk along each axis whether it is in use and not stored."""
    chunk: tuple[int, ...]
    """Pixels of a chunk along each axis."""
    n_used: int
    """Chunks in use."""

    @property
    def n(self) -> int:
        """Number of absent chunks."""
        return int(np.count_nonzero(self.mask))


@dataclass
class _Tally:
    """Pixels and objects of one time point, in and beside absent chunks."""

    beside: int = 0
    """Stored pixels next to absent ones."""
    beside_covered: int = 0
    """Of them, with a label."""
    stored: int = 0
    covered: int = 0
    filled: bool = False
    """Whether absent pixels read as a label."""
    empty: bool = False
    """Whether a chunk is stored that has no label."""
    there: dict[str, set[int]] = field(default_factory=dict)
    """Other labels in absent chunks."""
    elsewhere: dict[str, set[int]] = field(default_factory=dict)
    """Other labels outside of them."""

    def note(self, name: str, found: NDArray[Any], gone: NDArray[np.bool_]) -> None:
        """Note the objects of other labels, in absent chunks and outside of them."""
        for kept, inside in ((self.there, gone), (self.elsewhere, ~gone)):
            kept.setdefault(name, set()).update(np.unique(found[inside]).tolist())


class _Strip(NamedTuple):
    """Rows of the image that show one row of chunks."""

    rows: slice
    """With the next row below, if there is one."""
    n: int
    """Rows without that one."""
    gone: NDArray[np.bool_]
    """(rows, width), pixels in absent chunks."""
    starts: NDArray[np.int64] | None
    """First column of each chunk; None if more than the strip belongs to chunks."""


def sign_of_loss(
    labels: LabelImage, others: Mapping[str, LabelImage], absent: Absent
) -> str:
    """Return why absent chunks must have been lost; empty: nothing says so.

    They read as labels, since the fill value is not 0; or the writer did store a chunk
    without labels; or objects around them end at their edges; or other labels (nuclei
    of cells, cells of nuclei, or a coarser level) have objects there and nowhere else.

    Parameters
    ----------
    labels
        The labels with absent chunks.
    others
        Other labels of the same cells, and the same at a coarser level, by name.
    absent
        Their chunks that are absent.
    """
    for t in range(labels.stored.size("t")):
        tally = _Tally()
        for z in range(labels.n_z):
            for strip in _strips(labels, absent, t, z):
                shown = labels.read_plane(t, (strip.rows, slice(None)), z)
                _count(shown, strip, tally)
                own = slice(strip.rows.start, strip.rows.start + strip.n)
                for name, other in others.items():
                    alike = other.n_z == labels.n_z > 1
                    plane: int | Literal["max"] = z if alike else "max"
                    found = other.read_plane(t, (own, slice(None)), plane)
                    tally.note(name, found, strip.gone[: strip.n])
        sign = _judge(tally)
        if sign:
            return sign
    return ""


def _judge(tally: _Tally) -> str:
    for name, there in tally.there.items():
        only = there - tally.elsewhere[name] - {0}
        if only:
            return f"but the labels {name} have {len(only)} objects there"
    if tally.filled:
        return "and their fill value is not 0"
    if tally.empty:
        return "although other chunks without labels are stored"
    # covered beside / beside > _CUT * covered / stored, without a division by 0.
    if tally.beside_covered * tally.stored > _CUT * tally.covered * tally.beside:
        return "but objects around them are cut off at their edges"
    return ""


def _strips(labels: LabelImage, absent: Absent, t: int, z: int) -> Iterator[_Strip]:
    *leading, height, width = absent.chunk
    at = {"t": t, "z": z, "c": 0}
    axes = zip(labels.stored.axes, leading, strict=False)
    plane = absent.mask[tuple(at[axis] // size for axis, size in axes)]
    rows, columns = labels.rows // height, labels.columns // width
    edges = [*np.unique(rows, return_index=True)[1].tolist(), len(rows)]
    starts = np.unique(columns, return_index=True)[1]
    # Of labels of another resolution or with deep chunks, a strip shows only a part.
    whole = labels.is_aligned and set(leading) <= {1}
    for start, stop in pairwise(edges):
        shown = slice(start, min(stop + 1, len(rows)))
        gone = plane[np.ix_(rows[shown], columns)]
        yield _Strip(shown, stop - start, gone, starts if whole else None)


def _count(labels: NDArray[Any], strip: _Strip, tally: _Tally) -> None:
    shown, gone = labels != 0, strip.gone
    tally.filled |= bool((shown & gone).any())
    shown &= ~gone
    for axis in "yx":
        if axis == "x":  # the row below comes again
            shown, gone = shown[: strip.n].T, gone[: strip.n].T
        for this, beyond in ((slice(-1), slice(1, None)), (slice(1, None), slice(-1))):
            edge = ~gone[this] & gone[beyond]
            tally.beside += int(np.count_nonzero(edge))
            tally.beside_covered += int(np.count_nonzero(edge & shown[this]))
    tally.stored += int(np.count_nonzero(~gone))
    tally.covered += int(np.count_nonzero(shown))
    if strip.starts is not None:
        columns = (shown | gone).any(axis=1)
        tally.empty |= not np.logical_or.reduceat(columns, strip.starts).all()
