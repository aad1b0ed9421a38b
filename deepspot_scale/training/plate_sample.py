"""Windows of a plate's own images, for a denoiser that learns from that plate alone.

An open plate and a channel come in; a folder of small TIFF files goes out, which a
recipe names as its source, so a training continues, and can be repeated, without the
plate. Wells take turns in an order that a seed decides. Other windows are kept apart,
to plant spots in. This process reads them: a few hundred windows take seconds, less
than sending them. Nothing here knows networks or Dask.

    FOLDER/learn/0000.tif ...     to learn from
    FOLDER/planted/0000.tif ...   never learned from, unless the plate is too small
    FOLDER/windows.csv            use, file, field, t, z, y, x of each
    FOLDER/sample.json            what was asked for and left out; written last
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice, zip_longest
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from deepspot_scale.errors import DeepspotError, FieldError, RunError
from deepspot_scale.io.field import Field, FieldEntry
from deepspot_scale.io.plate import Plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.training.recipe import Recipe, make_recipe

LEARN, PLANTED = "learn", "planted"
"""Folders of windows, and what they are for."""
SAMPLE_FILE: Final = "sample.json"
STEPS: Final = 1000
"""Steps after which spots are no longer smoothed away, see benchmarks/denoising.py."""
DOUBT: Final = 1.2
"""Gives more of what was taken away back than is usual: that leaves some noise, and
keeps spots of 5 times the noise on a plate of cells, whose light is uneven."""
_EDGES: Final = {LEARN: 128, PLANTED: 256}
"""Edges of windows in pixels; spots are found in the larger ones as in a field."""
_NUMBERS: Final = {LEARN: 96, PLANTED: 12}
"""How many windows; of plates with more wells, one of each to learn from."""
_MOST_LEARNED: Final = 384
_ATTEMPTS: Final = 4
"""Windows that are looked at for each that is wanted."""
_FEWEST: Final = 48
"""With fewer windows to learn from, those kept apart are learned from as well."""
_MOST_FLAT: Final = 0.05
"""Largest share of pixels that equal all their neighbours, so have no noise: dark
borders, what was not imaged, saturation."""
_MOST_NAMED: Final = 5
"""Fields that are named in words where they could not be read."""
_TURNS: Final = 32
"""Places that are tried in a field before it is the next one's turn."""

Project = Literal["max", "mean", "none"]


class _Place(NamedTuple):
    """One window of a plate."""

    path: str
    t: int
    z: int | Literal["max", "mean"]
    y: int
    x: int
    height: int
    width: int

    def overlaps(self, other: _Place) -> bool:
        """Return whether two windows show one piece of a field, in any plane."""
        return self.path == other.path and all(
            a < b + n and b < a + m
            for a, m, b, n in (
                (self.y, self.height, other.y, other.height),
                (self.x, self.width, other.x, other.width),
            )
        )


@dataclass(frozen=True)
class Sample:
    """What was asked for, and what was found."""

    source: str
    """Path or URL of the plate."""
    channel: str
    project: Project
    """How a z-stack becomes a plane; none: planes are drawn."""
    seed: int
    n_learn: int = 0
    """Windows to learn from."""
    n_planted: int = 0
    """Windows for planted spots."""
    apart: bool = True
    """Whether no pixel is in windows of both kinds."""
    n_flat: int = 0
    """Windows left out since many of their pixels have no noise."""
    n_not_finite: int = 0
    """Windows left out for NaN or infinite pixels."""
    failed: dict[str, str] = field(default_factory=dict)
    """Fields that could not be read, and why."""

    def describe(self) -> Iterator[str]:
        """Yield what was taken and left out, in words."""
        yield (
            f"{self.n_learn} windows of {self.channel} to learn from, "
            f"{self.n_planted} for planted spots"
        )
        if not self.apart:
            yield (
                "warning: the plate is too small to keep windows apart; those for "
                "planted spots were learned from as well"
            )
        if self.n_flat:
            yield (
                f"{self.n_flat} windows were left out, as more than {_MOST_FLAT:.0%} "
                "of their pixels have no noise: black, not imaged or saturated"
            )
        if self.n_not_finite:
            yield f"{self.n_not_finite} windows with NaN or infinite pixels left out"
        for path, reason in islice(self.failed.items(), _MOST_NAMED):
            yield f"warning: nothing was learned from field {path}: {reason}"
        if len(self.failed) > _MOST_NAMED:
            n = len(self.failed) - _MOST_NAMED
            yield f"warning: nor from {n} more fields, see {SAMPLE_FILE}"


def take_sample(
    plate: Plate,
    folder: Path,
    *,
    channel: str,
    project: Project,
    seed: int = 0,
    fewest: int = 2,
) -> Sample:
    """Write windows of a plate into a folder, or take those that are there.

    Parameters
    ----------
    plate
        All of its fields can be drawn, whichever a run selects.
    folder
        On a local disk; it is made if needed.
    channel
        Name or number of the only channel that is read.
    project
        How a z-stack becomes a plane, as in the run that follows.
    seed
        Decides about the order of wells and the places of windows.
    fewest
        Windows to learn from without which there can be no training.

    Raises
    ------
    FieldError
        There are fewer.
    RunError
        The folder holds windows of another plate or channel.
    """
    asked = Sample(plate.source, channel, project, seed)
    place = Folder(str(folder))
    if place.exists(SAMPLE_FILE):
        return _take_up(place, asked)
    reader = _Reader(plate, asked)
    fields, rows = _order(plate.entries, seed), []
    n_wells = len({(e.address.row, e.address.column) for e in plate.entries})
    n_learn = min(max(_NUMBERS[LEARN], n_wells), _MOST_LEARNED)
    held = list(reader.draw(fields, PLANTED, _NUMBERS[PLANTED], ()))
    learned = list(reader.draw(fields, LEARN, n_learn, [at for at, _ in held]))
    apart = len(learned) >= _FEWEST
    if not apart:
        learned += reader.draw(fields, LEARN, n_learn - len(learned), ())
    sample = reader.sample(len(learned), len(held), apart=apart or not held)
    if len(learned) < fewest:
        raise FieldError(
            f"{plate.source} has {len(learned)} windows of channel {channel} to learn "
            f"from, and {fewest} are needed ({'; '.join(sample.describe())}). Train on "
            "a folder of such images instead, and name its weights (--model)"
        )
    for use, windows in ((LEARN, learned), (PLANTED, held)):
        for number, (at, pixels) in enumerate(windows):
            name = f"{use}/{number:04d}.tif"
            place.write(name, _as_tiff(pixels))
            rows.append((use, name, *at[:5]))
    place.write("windows.csv", _as_csv(rows))
    place.write(SAMPLE_FILE, json.dumps(asdict(sample), indent=2).encode())
    return sample


def _take_up(folder: Folder, asked: Sample) -> Sample:
    there = Sample(**json.loads(folder.read(SAMPLE_FILE)))
    for name in ("source", "channel", "project", "seed"):
        old, new = getattr(there, name), getattr(asked, name)
        if old != new:
            raise RunError(
                f"{folder.url} holds windows of another {name}: {old!r}, not {new!r}; "
                "give another run folder"
            )
    return there


def plate_recipe(
    folder: Path, *, steps: int = STEPS, doubt: float = DOUBT, seed: int = 0
) -> Recipe:
    """Return the recipe that learns from the windows in a folder, by Noise2Void.

    `doubt` is that of `BlindSpots`.
    """
    return make_recipe(
        family="denoiser",
        mixture=[{"source": str(folder / LEARN), "patches": 16}],
        patch=64,
        steps=steps,
        learning_rate=2e-3,
        average=0.98,
        seed=seed,
        blind={"doubt": doubt},
        validation={"every": 100, "patches": 64},
        save_every=100,
    )


def read_windows(folder: Path, use: str) -> list[NDArray[Any]]:
    """Return the windows (y, x) of a sample of one use, `LEARN` or `PLANTED`."""
    return [tifffile.imread(path) for path in sorted((folder / use).glob("*.tif"))]


def _order(entries: Sequence[FieldEntry], seed: int) -> list[FieldEntry]:
    """Return the first field of each well, then the second, wells by chance."""
    wells: dict[tuple[str, str], list[FieldEntry]] = {}
    for entry in entries:
        wells.setdefault((entry.address.row, entry.address.column), []).append(entry)
    own = list(wells.values())
    shuffled = [own[n] for n in np.random.default_rng(seed).permutation(len(own))]
    return [e for rank in zip_longest(*shuffled) for e in rank if e is not None]


class _Reader:
    """Draws windows of a plate, and counts what is left out."""

    def __init__(self, plate: Plate, asked: Sample) -> None:
        self._plate, self._asked = plate, asked
        self._opened: dict[str, Field] = {}
        self._failed: dict[str, str] = {}
        self._seen: set[_Place] = set()
        self._n_flat = self._n_not_finite = 0

    def sample(self, n_learn: int, n_planted: int, *, apart: bool) -> Sample:
        """Return what was found."""
        counts = (n_learn, n_planted, apart, self._n_flat, self._n_not_finite)
        a = self._asked
        return Sample(
            a.source, a.channel, a.project, a.seed, *counts, failed=self._failed
        )

    def draw(
        self, fields: list[FieldEntry], use: str, n: int, avoid: Sequence[_Place]
    ) -> Iterator[tuple[_Place, NDArray[Any]]]:
        """Yield up to `n` windows, of each field in turn, that overlap none of some."""
        found = 0
        for number, entry in enumerate(islice(cycle(fields), max(_ATTEMPTS * n, 0))):
            if found == n:
                return
            path = entry.address.path
            if path in self._failed:
                continue
            rng = np.random.default_rng((self._asked.seed, use == LEARN, number))
            try:
                own = self._open(path)
                at = self._place(own, rng, _EDGES[use], avoid)
                pixels = None if at is None else self._read(own, at)
            except DeepspotError as error:
                self._failed[path] = str(error)
                continue
            if at is not None and pixels is not None:
                found += 1
                yield at, pixels

    def _open(self, path: str) -> Field:
        if path not in self._opened:
            self._opened[path] = self._plate.open(path)
            self._opened[path].channel_index(self._asked.channel)
        return self._opened[path]

    def _place(
        self, own: Field, rng: np.random.Generator, edge: int, avoid: Sequence[_Place]
    ) -> _Place | None:
        """Return a window that was not drawn before; None: none was found."""
        height, width = (min(edge, size) for size in own.shape_yx)
        for _ in range(_TURNS):
            t, z = int(rng.integers(own.n_t)), int(rng.integers(own.n_z))
            y, x = (
                int(rng.integers(size - length + 1))
                for size, length in zip(own.shape_yx, (height, width), strict=True)
            )
            project = self._asked.project
            plane = z if project == "none" or own.n_z == 1 else project
            at = _Place(own.address.path, t, plane, y, x, height, width)
            if at not in self._seen and not any(map(at.overlaps, avoid)):
                self._seen.add(at)
                return at
        return None

    def _read(self, own: Field, at: _Place) -> NDArray[Any] | None:
        """Return the pixels of a window; None: they are left out, and counted."""
        window = (slice(at.y, at.y + at.height), slice(at.x, at.x + at.width))
        channel = own.channel_index(self._asked.channel)
        pixels = own.read(t=at.t, channel=channel, z=at.z, window=window)
        if not np.isfinite(pixels).all():
            self._n_not_finite += 1
            return None
        least = ndimage.minimum_filter(pixels, 3)
        if (least == ndimage.maximum_filter(pixels, 3)).mean() > _MOST_FLAT:
            self._n_flat += 1
            return None
        return pixels


def _as_tiff(pixels: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="minisblack", metadata=None)
    return file.getvalue()


def _as_csv(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("use", "file", "field", "t", "z", "y", "x"))
    table.writerows(rows)
    return text.getvalue().encode()
