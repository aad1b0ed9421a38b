"""How far the files of a plate are trusted: links, and what is no file at all.

Paths of files come in; a FieldError that says what is wrong goes out, or nothing. No
file is opened: to open a device or a FIFO may act on it, or wait for ever. Nothing here
knows Zarr or images.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from deepspot_scale.errors import FieldError, SettingsError, did_you_mean

TrustWord = Literal["links", "sizes", "holes"]
"""What a user can trust: links that lead out of a plate; chunks that unpack to more
than is declared, or whose size cannot be checked; images of which hardly any chunk is
stored."""
MAX_DOCUMENT_BYTES: Final = 1 << 28
"""Largest file of metadata: that of a plate lists all its wells."""


@dataclass(frozen=True)
class Trust:
    """What is trusted of a plate, and where it is."""

    words: frozenset[str] = frozenset()
    """`TrustWord`s."""
    root: str = ""
    """Local folder that must contain all its files; empty: nothing is checked."""

    @property
    def within(self) -> str:
        """The folder that must contain all files; empty: links may lead anywhere."""
        return "" if "links" in self.words else self.root


NO_TRUST: Final = Trust()
"""Nothing is trusted, of a file or folder that the user named."""


def trust_words(words: Iterable[str]) -> frozenset[str]:
    """Return the words of `TrustWord`; SettingsError if one is none."""
    given, known = frozenset(words), get_args(TrustWord)
    for word in sorted(given.difference(known)):
        raise SettingsError(
            f"trust is {', '.join(known)}; got {word!r}.{did_you_mean(word, known)}"
        )
    return given


def check_within(path: str, root: str) -> None:
    """Raise FieldError if a local path leads out of `root`, for example by a link."""
    if os.path.islink(path) and not os.path.exists(path):
        raise FieldError(
            f"{path} is a link that leads nowhere or to itself. Replace it by a copy "
            "of the images."
        )
    if not is_within(path, root):
        raise FieldError(
            f"{path} leads out of {root}, to {os.path.realpath(path)}; it was not "
            "read. Copy the images into the plate instead of linking to them, or, if "
            "you know where its links lead, trust them: --trust links."
        )


def is_within(path: str, root: str) -> bool:
    """Return whether a path is below `root` once all links are followed."""
    real, inside = os.path.realpath(path), os.path.realpath(root)
    return real == inside or real.startswith(inside.rstrip(os.sep) + os.sep)


def check_file(
    path: str,
    within: str = "",
    *,
    largest: int | None = None,
    known: set[str] | None = None,
) -> None:
    """Raise FieldError unless a path is a regular file, or nothing at all.

    Parameters
    ----------
    path
        Local path.
    within
        Folder that it must not lead out of; empty: it may lead anywhere.
    largest
        Most bytes that the file may have.
    known
        Folders that do not lead out; those that are found so are added.
    """
    known = set() if known is None else known
    try:
        state = os.lstat(path)
        is_link = stat.S_ISLNK(state.st_mode)
        state = os.stat(path) if is_link else state
    except NotADirectoryError as error:
        raise FieldError(
            f"{os.path.dirname(path)} is expected to be a folder, and is none. Copy "
            "or convert the image again."
        ) from error
    except OSError:
        # Readers take what is not there for empty; a broken link is not empty.
        for part in _parts_below(path, within):
            check_within(part, within or part)
        return
    if not stat.S_ISREG(state.st_mode):
        raise FieldError(
            f"{path} is {_kind(state.st_mode)}, no file with data; it was not opened. "
            "Copy the image again."
        )
    if largest is not None and state.st_size > largest:
        raise FieldError(
            f"{path} has {state.st_size} bytes, more than the {largest} that can be "
            "in it; it was not read. Copy the image again."
        )
    folder = os.path.dirname(path)
    if within and (is_link or folder not in known):
        check_within(path, within)
        if not is_link:
            known.add(folder)


def _parts_below(path: str, within: str) -> Iterator[str]:
    """Yield a path and the folders above it as far as `within`."""
    while path and path != within and path != os.path.dirname(path):
        yield path
        if not within:
            return
        path = os.path.dirname(path)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "something special")
