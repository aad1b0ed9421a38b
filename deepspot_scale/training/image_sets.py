"""Simulated images in a folder with their truth, in the format of annotated images.

    OUT/images/000000.tif ...   one plane each, or one z-stack each
    OUT/spots.csv               image, y, x, snr, sigma, group; one row per spot;
                                of stacks z before y, in planes from 0
    OUT/set.json                the arguments that give the same files again

The name of a set and a seed come in. Nothing here knows what is drawn, or trains on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from deepspot_scale import simulation
from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.io.image_files.annotated_images import IMAGES_FOLDER
from deepspot_scale.io.image_files.annotated_table import SPOTS_FILE
from deepspot_scale.io.tables import Folder
from deepspot_scale.plugins import own_version
from deepspot_scale.simulation import Image, Simulator, Truth
from deepspot_scale.simulation.stacks import StackKind, simulate_stack

SET_FILE: Final = "set.json"
LEAST_SIZE: Final = 16
"""Smallest edge of an image in pixels; less has no room for spots and background."""
_COLUMNS: Final = ("image", "y", "x", "snr", "sigma", "group")
_STACK_COLUMNS: Final = ("image", "z", "y", "x", "snr", "sigma", "group")


class Stored(NamedTuple):
    """The pixels of a file: ``round((counts + offset) * scale)``."""

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    offset: int = 0
    """Added so that no count is negative."""
    scale: float = 1.0
    """Below 1 only if the counts would not fit."""


def write_simulated_set(  # noqa: PLR0913 - where, what, how many, by what chance
    out: Path,
    name: str,
    *,
    images: int,
    spots: int | None = None,
    size: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write simulated images and their true spots into a folder.

    Parameters
    ----------
    out
        The folder; it is made if needed, and must be empty. ``spots.csv`` is written
        last, so a folder that has this file is whole.
    name
        ``fixed`` or ``var``, the paper's sets; ``paper``, one of these two at random
        for each image; ``broad``, images as from many microscopes; or another name
        of `simulation.SIMULATORS`.
    images
        Number of images, 1 or more. Image i depends only on the set, its options, the
        seed and i, so a longer set begins with the shorter one.
    spots
        Spots in each image of the paper's sets; 10, 20 ... 100 in turn if not given.
        The column ``group`` repeats the number. ``broad`` draws its own.
    size
        Edge of the square images in pixels, 256 if not given.
    seed
        Seed of all random numbers; 0 or more.
    progress
        Called after each image with the number of images written and of all.

    Raises
    ------
    SettingsError
        The set does not exist or cannot be written, or a number is out of range.
    RunError
        The folder is not empty or cannot be written to.

    Notes
    -----
    The paper's images are stored unchanged, as uint8. Those of ``broad`` are uint16:
    rounded, raised by a whole number where a count is negative, and scaled down where
    the largest would not fit; none of this changes signal to noise ratios. ``set.json``
    lists offset and scale of the images that were changed.
    """
    out, size = Path(out), 256 if size is None else size
    simulator = simulation.find_simulator(name)
    if spots is not None and not simulator.takes_spots:
        raise SettingsError(
            f"The set {name!r} draws its own number of spots for each image, but "
            f"spots={spots} was given. Leave it out, or choose another set."
        )
    if simulator.has_uncounted:
        raise SettingsError(
            f"The set {name!r} has objects of which it does not count whether they are "
            "found, which a folder cannot say; evaluate models on it by its name."
        )
    _check_numbers(images=images, spots=spots, size=size, seed=seed)
    _make_folder(out)
    tables, changed = [], {}
    for number in range(images):
        truth = simulation.simulate_image(name, seed, number, spots=spots, size=size)
        file = f"{number:06d}.tif"
        stored = _store(truth.image, simulator)
        plain: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
        tifffile.imwrite(out / IMAGES_FOLDER / file, stored.pixels, **plain)
        if (stored.offset, stored.scale) != (0, 1.0):
            changed[file] = {"offset": stored.offset, "scale": stored.scale}
        tables.append(_tabulate(truth, file, simulator))
        if progress is not None:
            progress(number + 1, images)
    about = {"set": name, "seed": seed, "size": size, "images": images, "spots": spots}
    return _finish(out, about, tables, {"changed": changed})


def write_simulated_stacks(
    out: Path,
    kind: StackKind,
    *,
    images: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write simulated z-stacks and the places of their spots into a folder.

    Stack i depends only on the kind, the seed and i. Pixels are uint16, counts as they
    were drawn; ``spots.csv`` has z, y, x from 0, SNR, and sigma in the plane. `out`,
    `progress` and errors are those of `write_simulated_set`.
    """
    out = Path(out)
    n_planes, *sizes = kind.shape
    _check_numbers(images=images, spots=kind.spots, size=min(sizes), seed=seed)
    rules = {"planes of 3 or more": n_planes >= 3, "an SNR above 0": kind.peak > 0}
    rules |= {"sigmas above 0": min(kind.sigma) > 0}
    unfit = [words for words, holds in rules.items() if not holds]
    if unfit:
        raise SettingsError(f"expected {unfit[0]}, got {kind}")
    _make_folder(out)
    tables = []
    for number in range(images):
        truth = simulate_stack(kind, (seed, number))
        file = f"{number:06d}.tif"
        tifffile.imwrite(
            out / IMAGES_FOLDER / file,
            truth.image.astype(np.uint16),
            photometric="minisblack",
            metadata={"axes": "ZYX"},
        )
        places = dict(zip("zyx", truth.points.T, strict=True))
        known = {"snr": truth.snr, "sigma": truth.sigma, "group": str(kind.spots)}
        rows = pd.DataFrame({**places, **known}).assign(image=file)
        tables.append(rows[[*_STACK_COLUMNS]])
        if progress is not None:
            progress(number + 1, images)
    about = {"set": "stacks", "seed": seed, "images": images, **asdict(kind)}
    return _finish(out, about, tables)


def _finish(
    out: Path,
    about: dict[str, Any],
    tables: list[pd.DataFrame],
    further: dict[str, Any] | None = None,
) -> Path:
    """Write what makes the set again, and at last the truth."""
    about |= {"version": own_version(), **(further or {})}
    folder, table = Folder(str(out)), pd.concat(tables)
    folder.write(SET_FILE, json.dumps(about, indent=1).encode())
    folder.write(SPOTS_FILE, table.to_csv(index=False, lineterminator="\n").encode())
    return out


def store_counts(counts: Image) -> Stored:
    """Return counts of any range as the integers of a 16-bit file."""
    offset = max(0, -int(np.floor(counts.min())))
    raised = counts.astype(np.float64) + offset
    scale = float(min(1.0, np.iinfo(np.uint16).max / max(raised.max(), 1.0)))
    return Stored(np.round(raised * scale).astype(np.uint16), offset, scale)


def _store(counts: Image, simulator: Simulator) -> Stored:
    bytes_fit = simulator.is_8bit
    return Stored(counts.astype(np.uint8)) if bytes_fit else store_counts(counts)


def _tabulate(truth: Truth, file: str, simulator: Simulator) -> pd.DataFrame:
    y, x = truth.points.T
    group = str(len(truth.points)) if simulator.takes_spots else ""
    columns = (file, y, x, truth.snr, truth.sigma, group)
    return pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)))


def _check_numbers(*, images: int, spots: int | None, size: int, seed: int) -> None:
    checks = [("images", images, 1), ("size", size, LEAST_SIZE), ("seed", seed, 0)]
    for what, value, least in (*checks, ("spots", spots, 0)):
        if value is not None and value < least:
            raise SettingsError(f"expected {what} of {least} or more, got {value}")


def _make_folder(out: Path) -> None:
    try:
        if out.exists() and any(out.iterdir()):
            raise RunError(
                f"{out} is not empty: expected a new folder. Choose another one, or "
                "remove it, also if an earlier writing into it was interrupted."
            )
        (out / IMAGES_FOLDER).mkdir(parents=True)
    except OSError as error:
        raise RunError(f"{out} cannot be written to: {error}") from error
