"""The folder of a study in which experts rate images: written, read, checked.

    STUDY/study.json         what each image is, and how the study was drawn
    STUDY/images/NAME.tif    single planes, pixels as stored; names say nothing
    STUDY/answers.sqlite     what experts said, see `study_answers`
    STUDY/key                secret of the study's links, for its owner only
    STUDY/scores.csv         scores from elsewhere: image, score, and expert if known

A folder with ``images/`` and ``scores.csv`` alone is read as well. Nothing here knows
plates, pages or networks.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from deepspot_scale.errors import StudyError
from deepspot_scale.io.image_files.tiff_png import open_file
from deepspot_scale.io.study_answers import CHOICE, SCORE, read_answers
from deepspot_scale.io.tables import Folder

STUDY_FILE: Final = "study.json"
IMAGES: Final = "images"
SCORES_FILE: Final = "scores.csv"
KEY_FILE: Final = "key"
UNNAMED_EXPERT: Final = "labels"
"""The expert of a file of scores that names none."""
MAX_SCORE: Final = 100.0
_VERSION: Final = 1
_ENDINGS: Final = (".tif", ".tiff", ".png")
_EXPERT: Final = re.compile(r"\w[\w.-]{0,39}")
_MOST_NAMED: Final = 5


@dataclass(frozen=True)
class Origin:
    """Where an image of a study is from; experts do not see it."""

    well: str = ""
    """Such as ``B03``; empty: not of a plate."""
    field: str = ""
    """Path on the plate, such as ``B/03/0``."""
    channel: str = ""
    t: int = 0
    z: int | str = 0
    """Plane, or how planes were projected: ``max`` or ``mean``."""
    y: int = 0
    """First row in the field."""
    x: int = 0
    """First column in the field."""


@dataclass(frozen=True)
class Study:
    """What is in `STUDY_FILE`."""

    images: Mapping[str, Origin]
    """Where each image is from, by its name in `IMAGES`, without ending."""
    source: str = ""
    """Path or URL of the plate."""
    channel: str = ""
    size: int = 0
    """Edge of an image in pixels; 0: they differ."""
    seed: int = 0
    """Decides about what was drawn, and about each expert's order."""
    experts: tuple[str, ...] = ()
    """Pseudonyms that take part; none: whoever comes gives one."""
    consent: str = ""
    """What experts agree to before they begin; empty: nothing."""
    version: int = field(default=_VERSION)


def write_study(folder: Path, study: Study) -> None:
    """Write or replace what a study says of itself; images are written before.

    Raises StudyError for pseudonyms that cannot be used.
    """
    for expert in study.experts:
        check_expert(expert)
    if len(set(study.experts)) < len(study.experts):
        raise StudyError(f"a pseudonym is there twice: {', '.join(study.experts)}")
    text = json.dumps(asdict(study), indent=1, ensure_ascii=False)
    Folder(str(folder)).write(STUDY_FILE, text.encode())


def read_study(folder: Path) -> Study:
    """Read what a study says of itself.

    A folder of images that no study was made of is a study of them all.

    Raises
    ------
    StudyError
        There is neither, the file is damaged, or images that it names are absent.
    """
    path = folder / STUDY_FILE
    there = list_images(folder)
    if not path.is_file():
        if not there:
            raise StudyError(
                f"{folder} is no study: there is no {STUDY_FILE}, and no image in "
                f"{IMAGES}/. Draw one from a plate: deepspot-scale rate study"
            )
        return Study(dict.fromkeys(there, Origin()))
    study = _parse(path)
    absent = sorted(study.images.keys() - there.keys())
    if absent:
        raise StudyError(f"{folder}: {_some(absent)} of {STUDY_FILE} not in {IMAGES}/")
    return study


def _parse(path: Path) -> Study:
    try:
        read: dict[str, Any] = json.loads(path.read_text("utf-8"))
        version = read["version"]
        if version != _VERSION:
            raise StudyError(
                f"{path} has version {version}, expected {_VERSION}: another version "
                "of deepspot-scale wrote it"
            )
        images = {str(n): Origin(**at) for n, at in read.pop("images").items()}
        experts = tuple(map(str, read.pop("experts")))
        return Study(images, experts=experts, **read)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, StudyError):
            raise
        raise StudyError(f"{path} is damaged: {error}") from error


def check_expert(expert: str) -> str:
    """Return a pseudonym; StudyError unless it is a word of at most 40 letters."""
    if not _EXPERT.fullmatch(expert):
        raise StudyError(
            f"{expert!r} is no pseudonym: expected one word of letters, digits, '.', "
            "'_' or '-', at most 40"
        )
    return expert


def with_experts(folder: Path, study: Study, experts: tuple[str, ...]) -> Study:
    """Return a study with further experts, and write it if there are any."""
    every = tuple(dict.fromkeys((*study.experts, *experts)))
    grown = replace(study, experts=every)
    if every != study.experts or not (folder / STUDY_FILE).is_file():
        write_study(folder, grown)
    return grown


def study_key(folder: Path) -> bytes:
    """Return the secret of a study, 32 bytes; it is made once, readable by its owner.

    Raises StudyError if the file is damaged.
    """
    path = folder / KEY_FILE
    try:
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != 32:
            raise StudyError(
                f"{path} is damaged; delete it, and give experts their new links"
            ) from None
        return key
    with os.fdopen(opened, "wb") as file:
        key = secrets.token_bytes(32)
        file.write(key)
    return key


def write_crop(
    folder: Path,
    name: str,
    pixels: NDArray[Any],
    pixel_size_um: tuple[float, float] | None,
) -> None:
    """Write one image (y, x) of a study, with the size (y, x) of its pixels if known.

    The file has no date and no program's name: equal crops are equal files.
    """
    buffer = io.BytesIO()
    scale: dict[str, Any] = {}
    if pixel_size_um is not None:
        y, x = (1e4 / um for um in pixel_size_um)
        scale = {"resolution": (x, y), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(
        buffer,
        pixels,
        photometric="minisblack",
        metadata=None,
        software=False,
        **scale,
    )
    Folder(str(folder)).write(f"{IMAGES}/{name}.tif", buffer.getvalue())


def list_images(folder: Path) -> dict[str, Path]:
    """Return the files of images by name, sorted.

    Raises StudyError if two files have one name.
    """
    place = folder / IMAGES
    paths = sorted(place.iterdir()) if place.is_dir() else []
    found: dict[str, Path] = {}
    for path in paths:
        if path.suffix.lower() not in _ENDINGS or path.name.startswith("."):
            continue
        if path.stem in found:
            raise StudyError(f"{path} and {found[path.stem].name} have one name")
        found[path.stem] = path
    return found


def read_image(path: Path) -> NDArray[Any]:
    """Return the pixels (y, x) of an image of a study, as they are stored.

    Raises StudyError if it is no plane, and FieldError if it is damaged.
    """
    image = open_file(str(path))
    extra = {a: image.size(a) for a in image.axes if a not in "yx"}
    if any(n != 1 for n in extra.values()):
        raise StudyError(f"{path} is no single plane: it has {extra}")
    every = (slice(0, image.size("y")), slice(0, image.size("x")))
    return image.plane(dict.fromkeys("tc", 0), 0, every)


def read_ratings(folder: Path | str) -> pd.DataFrame:
    """Return the scores that experts gave, one row for each image and expert.

    Parameters
    ----------
    folder
        Of a study, or with ``images/`` and ``scores.csv`` alone. Its columns are
        image (name, with or without the file's ending), score (0 to 100) and, if
        there are several, expert.

    Returns
    -------
    DataFrame
        Columns image, expert and score, 0 to 100, sorted by image and expert. Images
        that nobody has rated have no row.

    Raises
    ------
    StudyError
        There is no such folder, a score is out of range, an image is not there, or
        one expert has two scores of an image.
    """
    place = Path(folder)
    images = read_study(place).images
    answers = read_answers(place)
    rows = answers.loc[answers["kind"] == SCORE, ["image", "expert", "score"]]
    given = place / SCORES_FILE
    if given.is_file():
        rows = pd.concat([rows, read_scores(given)], ignore_index=True)
    rows = rows.astype({"image": object, "expert": object, "score": "float64"})
    unknown = sorted(set(rows["image"]) - images.keys())
    if unknown:
        raise StudyError(f"{place}: scores of images that are not there: {unknown[:5]}")
    twice = rows.loc[rows.duplicated(["image", "expert"]), "image"]
    if len(twice):
        raise StudyError(f"{place}: one expert has two scores of {_some(list(twice))}")
    return rows.sort_values(["image", "expert"], ignore_index=True)


def read_scores(path: Path) -> pd.DataFrame:
    """Read scores that were given elsewhere: columns image, expert, score.

    Raises StudyError unless each line has a score of 0 to 100.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read: {error}") from error
    lines = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    if not {"image", "score"} <= set(lines.fieldnames or ()):
        raise StudyError(
            f"{path}: expected columns image and score, found "
            f"{', '.join(lines.fieldnames or ()) or 'none'}"
        )
    rows = []
    for number, line in enumerate(lines, start=2):
        name, word = (line["image"] or "").strip(), (line["score"] or "").strip()
        try:
            score = float(word)
        except ValueError:
            score = np.nan
        if not 0 <= score <= MAX_SCORE:
            raise StudyError(f"{path}, line {number}: {word!r} is no score of 0 to 100")
        ending = Path(name).suffix
        stem = name.removesuffix(ending) if ending.lower() in _ENDINGS else name
        expert = (line.get("expert") or "").strip() or UNNAMED_EXPERT
        rows.append((stem, expert, score))
    scores = [score for _, _, score in rows]
    if max(scores, default=np.inf) <= 1 and any(0 < score < 1 for score in scores):
        raise StudyError(
            f"{path}: all scores are 0 to 1; expected 0 to 100. Multiply them by 100"
        )
    return pd.DataFrame(rows, columns=["image", "expert", "score"])


def read_choices(folder: Path | str) -> pd.DataFrame:
    """Return what experts chose between two scores, one row for each choice.

    Returns
    -------
    DataFrame
        Columns comparison, arm (``network`` or ``random``), image, expert, choice
        (``target``, ``predicted``, ``equivalent`` or ``discard``), stands_left,
        target and predicted (0 to 100), position, milliseconds and time.

    Raises
    ------
    StudyError
        There is no such folder, or its answers are damaged.
    """
    place = Path(folder)
    read_study(place)
    answers = read_answers(place)
    kept = answers[answers["kind"] == CHOICE]
    return kept.drop(columns=["kind", "score", "revision"]).reset_index(drop=True)


def _some(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and {more} more" if more > 0 else shown
