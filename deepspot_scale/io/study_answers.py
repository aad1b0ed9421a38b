"""Answers of experts in one SQLite file: each is kept once, and none is lost.

Answers come in one by one, rows go out. The file is in WAL mode and every answer is on
the disk before it is acknowledged. A unique key of expert, question and revision keeps
an answer once, whatever was clicked twice, sent again or open in two tabs; a correction
is a further revision, so what was first said stays. Nothing here knows images, pages or
what is right.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pandas as pd

from deepspot_scale.errors import StudyError

ANSWERS: Final = "answers.sqlite"
"""Name of the file in the folder of a study."""
SCORE, CHOICE = "score", "choice"
"""Kinds of question."""
Side = Literal["", "target", "predicted"]
Choice = Literal["target", "predicted", "equivalent", "discard"]
CHOICES: Final = ("target", "predicted", "equivalent", "discard")
_VERSION: Final = 1
_WAIT_SECONDS: Final = 30.0
"""How long a writer waits for another one."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS answers (
  expert TEXT NOT NULL CHECK (expert <> ''),
  kind TEXT NOT NULL CHECK (kind IN ('score', 'choice')),
  comparison TEXT NOT NULL,
  arm TEXT NOT NULL,
  image TEXT NOT NULL CHECK (image <> ''),
  revision INTEGER NOT NULL CHECK (revision >= 0),
  score REAL CHECK (score BETWEEN 0 AND 100),
  choice TEXT CHECK (choice IN ('target', 'predicted', 'equivalent', 'discard')),
  stands_left TEXT NOT NULL CHECK (stands_left IN ('', 'target', 'predicted')),
  target REAL,
  predicted REAL,
  position INTEGER NOT NULL,
  milliseconds INTEGER NOT NULL CHECK (milliseconds >= 0),
  time REAL NOT NULL,
  CHECK ((kind = 'score') = (score IS NOT NULL)),
  CHECK ((kind = 'choice') = (choice IS NOT NULL)),
  UNIQUE (expert, kind, comparison, arm, image, revision)
) STRICT;
CREATE TABLE IF NOT EXISTS consents (
  expert TEXT NOT NULL,
  text TEXT NOT NULL,
  time REAL NOT NULL,
  UNIQUE (expert, text)
) STRICT;
"""


class Question(NamedTuple):
    """What an expert is asked, and answers once."""

    kind: str
    """`SCORE` or `CHOICE`."""
    image: str
    """Name of the image in the study."""
    comparison: str = ""
    """Name of the comparison; empty for scores."""
    arm: str = ""
    """Where the predicted score is from: ``network`` or ``random``; else empty."""


@dataclass(frozen=True)
class Answer:
    """One answer, as a row of the file."""

    expert: str
    """Pseudonym."""
    kind: str
    comparison: str
    arm: str
    image: str
    revision: int
    """0 for the first answer, one more for each correction."""
    score: float | None = None
    """0 to 100; None: a choice."""
    choice: Choice | None = None
    """What was chosen; None: a score."""
    stands_left: Side = ""
    """Which of two scores stood left."""
    target: float | None = None
    """The expert's score that was shown, 0 to 100."""
    predicted: float | None = None
    """The other score that was shown, 0 to 100."""
    position: int = 0
    """Place in the expert's order, from 0."""
    milliseconds: int = 0
    """From the image's appearance to the answer."""
    time: float = 0.0
    """Seconds since 1970."""

    @property
    def question(self) -> Question:
        """What was asked."""
        return Question(self.kind, self.image, self.comparison, self.arm)


_NAMES: Final = tuple(field.name for field in fields(Answer))
_LATEST: Final = f"""
SELECT {", ".join(_NAMES)} FROM answers AS a WHERE revision = (
  SELECT MAX(revision) FROM answers AS b WHERE a.expert = b.expert AND a.kind = b.kind
  AND a.comparison = b.comparison AND a.arm = b.arm AND a.image = b.image)
"""


class AnswerFile:
    """The open file of answers; use it from one thread, and close it.

    Several processes may have it open.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / ANSWERS
        try:
            self._file = sqlite3.connect(
                path, timeout=_WAIT_SECONDS, isolation_level=None
            )
        except sqlite3.Error as error:
            raise StudyError(f"{path} cannot be opened: {error}") from error
        try:
            self._prepare(path)
        except BaseException:
            self._file.close()
            raise

    def _prepare(self, path: Path) -> None:
        try:
            _check_version(self._file, path)
            (mode,) = self._file.execute("PRAGMA journal_mode=WAL").fetchone()
            self._file.execute("PRAGMA synchronous=FULL")
            self._file.executescript(f"{_TABLES} PRAGMA user_version={_VERSION};")
        except sqlite3.Error as error:
            raise StudyError(f"{path} is no file of answers: {error}") from error
        if mode != "wal":
            raise StudyError(
                f"{path} cannot be kept in WAL mode, which needs a local disk. Move "
                "the study there"
            )

    def close(self) -> None:
        """Close the file; answers are on the disk already."""
        self._file.close()

    def keep(self, answer: Answer) -> Answer:
        """Keep an answer unless its question has one of this revision.

        Returns
        -------
        Answer
            The one that is kept now, which may be an earlier one; it is on the disk.

        Raises
        ------
        StudyError
            It is no valid answer, or a revision before it is absent.
        """
        row = astuple(answer)
        marks = ", ".join("?" * len(row))
        words = f"INSERT INTO answers ({', '.join(_NAMES)}) VALUES ({marks})"
        try:
            with self._written():
                there = self._latest(answer.expert, answer.question)
                n_before = 0 if there is None else there.revision + 1
                if answer.revision > n_before:
                    raise StudyError(
                        f"revision {answer.revision} of an answer of which "
                        f"{n_before} are kept"
                    )
                if there is not None and answer.revision < n_before:
                    return there
                self._file.execute(words, row)
        except sqlite3.IntegrityError as error:
            raise StudyError(f"no valid answer: {error}") from error
        return answer

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Make what is done inside one transaction, on the disk at the end."""
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")

    def _latest(self, expert: str, question: Question) -> Answer | None:
        words = "AND expert=? AND kind=? AND image=? AND comparison=? AND arm=?"
        row = self._file.execute(f"{_LATEST} {words}", (expert, *question)).fetchone()
        return None if row is None else Answer(*row)

    def given(self, expert: str, kind: str, comparison: str = "") -> list[Answer]:
        """Return the answers of an expert that hold now, in the order of first giving.

        Corrected ones stand where they were first given.
        """
        words = "AND expert=? AND kind=? AND comparison=? ORDER BY position, rowid"
        rows = self._file.execute(f"{_LATEST} {words}", (expert, kind, comparison))
        return [Answer(*row) for row in rows]

    def consent(self, expert: str, text: str) -> None:
        """Keep that an expert has agreed to a text."""
        words = "INSERT OR IGNORE INTO consents VALUES (?, ?, ?)"
        self._file.execute(words, (expert, text, time.time()))

    def has_consent(self, expert: str, text: str) -> bool:
        """Return whether an expert has agreed to this text."""
        words = "SELECT 1 FROM consents WHERE expert=? AND text=?"
        return self._file.execute(words, (expert, text)).fetchone() is not None


def read_answers(folder: Path, *, history: bool = False) -> pd.DataFrame:
    """Return answers as a table, columns as in `Answer`; without a file no rows.

    Parameters
    ----------
    folder
        Of a study; a server may be writing to it.
    history
        Also those that were corrected later.

    Raises
    ------
    StudyError
        The file is damaged, or of another version.
    """
    path = folder / ANSWERS
    rows: list[tuple[Any, ...]] = []
    if path.is_file():
        every = f"SELECT {', '.join(_NAMES)} FROM answers AS a"
        words = f"{every if history else _LATEST} ORDER BY a.rowid"
        try:
            with closing(_open_to_read(path)) as file:
                _check_version(file, path)
                rows = file.execute(words).fetchall()
        except sqlite3.Error as error:
            raise StudyError(f"{path} cannot be read: {error}") from error
    kinds: dict[str, Any] = dict.fromkeys(("score", "target", "predicted"), "float64")
    kinds |= dict.fromkeys(("revision", "position", "milliseconds"), "int64")
    table = pd.DataFrame(rows, columns=list(_NAMES), dtype=object)
    return table.astype({**kinds, "time": "float64"})


def _open_to_read(path: Path) -> sqlite3.Connection:
    """Open a file that may stand where nothing can be written."""
    name = path.absolute().as_uri()
    file = sqlite3.connect(f"{name}?mode=ro", uri=True, timeout=_WAIT_SECONDS)
    with suppress(sqlite3.OperationalError):
        file.execute("PRAGMA user_version").fetchone()
        return file
    file.close()
    waiting = path.with_name(f"{path.name}-wal")
    if waiting.exists() and waiting.stat().st_size:
        raise StudyError(
            f"{waiting} holds answers that are not yet in {path.name}; copy both to a "
            "folder that can be written"
        )
    return sqlite3.connect(f"{name}?immutable=1", uri=True)


def _check_version(file: sqlite3.Connection, path: Path) -> None:
    (version,) = file.execute("PRAGMA user_version").fetchone()
    if version not in {0, _VERSION}:
        raise StudyError(
            f"{path} has answers of version {version}, expected {_VERSION}: another "
            "version of deepspot-scale wrote it"
        )
