"""What a kind of model is judged by: the values that scores of one kind consist of.

A `QualityKind` says where the truth of its images lies, how one image is scored, which
numbers make the summary and how an image is shown; the loop over images, the page and
the checks of training and domain are the same for all kinds. Nothing here runs a model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.io.image_files.paired_files import FilePair, list_pairs
from deepspot_scale.networks.engine_types import Device
from deepspot_scale.statistics.image_bootstrap import Estimate
from deepspot_scale.vocabulary import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMARY: Final = (
    Column("measure", "string", "what is measured"),
    Column("value", "float64", "over all images, NaN: not known"),
    Column("low", "float64", "lower end of the 95 % interval over images"),
    Column("high", "float64", "its upper end"),
    Column("n_images", "int64", "images with a value"),
    Column("meaning", "string", "in words"),
)
IMAGE: Final = Column("image", "string", "name of the image")
SECONDS: Final = Column("seconds", "float64", "time that the model took")
FAILURES: Final = (IMAGE, Column("reason", "string", "why it was not measured"))


class Measure(NamedTuple):
    """One line of a summary."""

    name: str
    """Name in tables, such as ap_50."""
    estimate: Callable[[pd.DataFrame], Estimate]
    """Gives value and interval from the rows of all images."""
    meaning: str
    """In words; it begins a line of the page."""
    headline: bool = False
    """Whether it stands at the top of the page."""


class Scored(NamedTuple):
    """One image, scored."""

    row: dict[str, Any]
    """The numbers, by the names of the kind's columns."""
    seen: NDArray[Any]
    """(y, x), the image as the network sees it."""
    shown: tuple[NDArray[Any], ...]
    """(y, x) each, what a picture of it needs."""


class ShownImage(NamedTuple):
    """One image that is shown."""

    title: str
    layers: tuple[NDArray[Any], ...]
    """As in `Scored.shown`."""


Scorer = Callable[[FilePair], Scored]


@dataclass(frozen=True)
class QualityKind:
    """How models of one kind are judged."""

    title: str
    """Heads the page."""
    folders: tuple[str, str]
    """Of a data set: what the model is given, and the truth."""
    columns: tuple[Column, ...]
    """Of the table of images, besides its name and the time."""
    measures: tuple[Measure, ...]
    """Of the summary."""
    worst: str
    """The column that is lowest for the worst image."""
    open: Callable[[str, Device, Path], Scorer]
    """Gives what scores an image, for a model on a device and a folder of data."""
    draw: Callable[[Sequence[ShownImage]], Figure]
    """Shows images side by side."""
    key: str
    """How a picture is to be read, in plain text."""
    list_images: Callable[[Path], Sequence[FilePair]] | None = None
    """Lists the images of a data set; None: it has two folders with files of the same
    names."""

    def pairs(self, data: Path) -> Sequence[FilePair]:
        """Return the images of a data set, each with the file of its truth."""
        if self.list_images is not None:
            return self.list_images(data)
        return list_pairs(data, *self.folders)

    @property
    def image_columns(self) -> tuple[Column, ...]:
        """Columns of the table of images."""
        return (IMAGE, *self.columns, SECONDS)

    def summarise(self, images: pd.DataFrame) -> pd.DataFrame:
        """Return the columns `SUMMARY`, one row for each measure that is known."""
        rows = []
        for measure in self.measures:
            of = measure.estimate(images)
            if of.n:
                rows.append((measure.name, *of, measure.meaning))
        return pd.DataFrame(rows, columns=[column.name for column in SUMMARY])
