"""Code that users add to the package: found by name, imported, identified by a hash.

A plug-in's name is that of an entry point of an installed package, or
``module:attribute``. Names are plain text, so they can be in settings files and on the
command line. Nothing here knows what a plug-in does.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from typing import Any

from deepspot_scale.errors import SettingsError, did_you_mean

DETECTORS = "deepspot_scale.detectors"
"""Group of entry points for detectors."""
ENGINES = "deepspot_scale.engines"
"""Group of entry points for engines, which run the network."""
STAGES = "deepspot_scale.stages"
"""Group of entry points for stages, which a run applies to each field."""
NETWORKS = "deepspot_scale.networks"
"""Group of entry points for families of networks, which weights files name."""

SEGMENTERS = "deepspot_scale.segmenters"
"""Group of entry points for segmenters, which give labels of images."""
DISTRIBUTIONS = ("deepspot-scale", "deepspot-scale-run")
"""What may have installed this package: with all it can use, or what runs need."""


def plugin_names(group: str) -> list[str]:
    """Return the names of a group's entry points, in alphabetical order."""
    return sorted({entry.name for entry in _entry_points(group, tuple(sys.path))})


def load_plugin(name: str, group: str, *, known: Iterable[str] = ()) -> Any:
    """Import a plug-in.

    The name is that of an entry point of the group, such as `DETECTORS`, or
    ``module:attribute``; `known` are built-in names, for the message.

    Raises
    ------
    SettingsError
        There is no plug-in of that name, or it cannot be imported.
    """
    place = _place(name, group)
    if place is None:
        names = sorted({*known, *plugin_names(group)})
        raise SettingsError(
            f"no {_noun(group)} {name!r}: expected "
            + (f"one of {', '.join(names)}, or " if names else "")
            + f"module:attribute of your own.{did_you_mean(name, names)}"
        )
    module, _, attribute = place.partition(":")
    try:
        return attrgetter(attribute)(import_module(module))
    except ImportError as error:
        raise SettingsError(
            f"{_noun(group)} {name!r} cannot be imported: {error}; install its "
            "package, or start where its module lies"
        ) from error
    except AttributeError as error:
        names = dir(import_module(module))
        raise SettingsError(
            f"{_noun(group)} {name!r}: module {module} has no {attribute!r}."
            + did_you_mean(attribute, names)
        ) from error


def is_own_code(name: str | None, group: str) -> bool:
    """Return whether a name is ``module:attribute``, not that of an installed package.

    Any module that can be imported has such a name, so it runs only if the user gives
    it, never because a file does.
    """
    return name is not None and _place(name, group) == name


def hash_plugin(name: str, group: str) -> str | None:
    """Return the SHA-256 of a plug-in's file; None if there is no plug-in or no file.

    A run that is continued must not mix the answers of two versions.
    """
    place = _place(name, group)
    if place is None:
        return None
    spec = find_spec(place.partition(":")[0])
    file = Path(spec.origin if spec and spec.origin else "")
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def module_files(module: str, files: Iterable[str], package: str) -> tuple[str, ...]:
    """Return the paths of files of an installed library, without importing it.

    Parameters
    ----------
    module
        The library's own module.
    files
        Paths in its folder.
    package
        What it is called where it can be installed from.

    Raises
    ------
    SettingsError
        The library is not installed, or has no such files.
    """
    spec = find_spec(module)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise SettingsError(
            f"{package} is not installed, and the detector needs it. Run: pip install "
            f"{package}"
        )
    found = tuple(str(Path(places[0], file)) for file in files)
    for path in found:
        if not Path(path).is_file():
            raise SettingsError(
                f"{package} {_version(package)} has no file {path!r}; install a "
                "version that has"
            )
    return found


def hash_files(files: Iterable[str | Path]) -> dict[str, str]:
    """Return the SHA-256 of files by their names; those of one name together.

    Where they lie does not matter, their order does.

    Raises
    ------
    SettingsError
        A file is not there, or cannot be read.
    """
    found: dict[str, Any] = {}
    for file in map(Path, files):
        try:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256")
        except OSError as error:
            raise SettingsError(
                f"a plug-in names the file {str(file)!r}, which cannot be read: "
                f"{error.strerror or error}"
            ) from error
        found.setdefault(file.name, []).append(digest)
    return {name: _joined(digests) for name, digests in found.items()}


def _joined(digests: list[Any]) -> str:
    if len(digests) == 1:
        return str(digests[0].hexdigest())
    return hashlib.sha256(b"".join(each.digest() for each in digests)).hexdigest()


def _place(name: str, group: str) -> str | None:
    """Return where a plug-in is, as ``module:attribute``."""
    for entry in _entry_points(group, tuple(sys.path)):
        if entry.name == name:
            return entry.value
    module, _, attribute = name.partition(":")
    words = (*module.split("."), *attribute.split("."))
    return name if attribute and all(word.isidentifier() for word in words) else None


@lru_cache(maxsize=8)
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Return the installed entry points; a look-up takes a quarter of a second."""
    del path
    return tuple(entry_points(group=group))


def _noun(group: str) -> str:
    return group.rpartition(".")[2].removesuffix("s")


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the version of each package, or "not installed"."""
    return {name: _version(name) for name in packages}


def own_version() -> str:
    """Return the version of this package, whatever distribution brought it.

    Two that hold the same files may be installed, which is a mistake if their versions
    differ; then both are named.
    """
    found = {name: each for name in DISTRIBUTIONS if (each := _found(name))}
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return ", ".join(f"{each} of {name}" for name, each in found.items())


def install_line(extra: str) -> str:
    """Return the line that installs an extra of the distribution that is here.

    Examples
    --------
    >>> install_line("queue").endswith("[queue]'")
    True
    """
    here = [name for name in DISTRIBUTIONS if _found(name)]
    return f"pip install '{(here or DISTRIBUTIONS)[0]}[{extra}]'"


def _version(package: str) -> str:
    found = own_version() if package == DISTRIBUTIONS[0] else _found(package)
    return found or "not installed"


def _found(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
