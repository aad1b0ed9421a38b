"""The progress of a run and of what comes after it: rows and items in, numbers out.

Nothing here knows how fields are processed, or who is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from deepspot_scale.vocabulary import DONE
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from deepspot_scale.blockwise.contract import Count

Tell = Callable[[str, int, int], None]
"""Called with what is counted, and the numbers of finished and all of it."""
_Item = TypeVar("_Item")


def counted(
    items: Iterable[_Item], noun: str, total: int, tell: Tell | None
) -> Iterator[_Item]:
    """Yield items; tell at the start, and once the caller is done with each."""
    if tell is not None:
        tell(noun, 0, total)
    for number, item in enumerate(items, start=1):
        yield item
        if tell is not None:
            tell(noun, number, total)


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    total: int
    """Fields of this run, without the skipped ones."""
    skipped: int
    """Fields that were done or failed before."""
    done: int = 0
    failed: int = 0
    n_spots: int = 0
    seconds: float = 0.0
    """Time since the run began."""
    last: pd.DataFrame | None = None
    """Rows of the fields that came in last."""
    n_images: int = 0
    """Planes of the fields that are done."""
    n_absent: int = 0
    """Fields done that have chunks which are not stored, or which are not known."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Sums of the numbers that stages count, by column of the table of fields."""

    @property
    def absence(self) -> str:
        """What to say of absent chunks; empty: nothing."""
        if not self.n_absent:
            return ""
        verb = "has" if self.n_absent == 1 else "have"
        return (
            f"{plural(self.n_absent, 'field')} {verb} "
            "chunks that are not stored and count as black, or it is not known whether "
            "some are: n_absent in fields.parquet"
        )

    @property
    def left(self) -> int:
        """Fields that are neither done nor failed."""
        return self.total - self.done - self.failed

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, for the lease and for `status`."""
        finished = self.done + self.failed
        return {
            "total": self.total,
            "skipped": self.skipped,
            "done": self.done,
            "failed": self.failed,
            "seconds": round(self.seconds, 1),
            "images_per_second": finished / self.seconds if self.seconds else None,
        }

    def after(self, rows: pd.DataFrame, seconds: float) -> Progress:
        """Return the progress once these rows have come in."""
        done = rows["status"] == DONE
        good = int(done.sum())
        return Progress(
            self.total,
            self.skipped,
            self.done + good,
            self.failed + len(rows) - good,
            self.n_spots + int(rows["n_spots"].sum()),
            seconds,
            rows,
            self.n_images + int(rows["n_planes"].sum()),
            self.n_absent + int((done & (rows["n_absent"] != 0)).sum()),
            {name: n + int(rows[name].sum()) for name, n in self.counts.items()},
        )


def describe_counts(counts: Iterable[Count], sums: Mapping[str, int]) -> list[str]:
    """Return a line for each number above 0: what was counted, and its column."""
    found = ((count, sums[count.name]) for count in counts)
    return [f"{n} {count.meaning} ({count.name})" for count, n in found if n]
