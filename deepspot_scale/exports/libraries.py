"""Loads optional libraries when an export needs them; names the extra if missing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from deepspot_scale.errors import SettingsError
from deepspot_scale.plugins import install_line


def load_library(name: str, extra: str) -> Any:
    """Return a module of an optional library, which an extra of this package installs.

    Raises SettingsError if the library is not installed, or its installation is broken.
    """
    library = name.partition(".")[0]
    try:
        return import_module(name)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == library
        reason = "which is not installed" if missing else f"which fails: {error}"
        raise SettingsError(
            f"this needs {library}, {reason}. Run: {install_line(extra)}"
        ) from error


@contextmanager
def anndata_defaults() -> Iterator[None]:
    """Silence anndata's warning of a new storage default: both defaults work."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "zarr v3 autosharding", UserWarning)
        yield
