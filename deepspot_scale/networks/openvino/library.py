"""OpenVINO and NNCF, imported without their telemetry.

Every process that imports them would fork another one, which reports the import over
the internet; a cluster's nodes have no internet, and a fork beside busy threads may
hang forever. Nothing here knows networks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SENDER = "openvino_telemetry"


def import_openvino() -> Any:
    """Return the module `openvino`."""
    with _hidden(_SENDER):
        import openvino
    return openvino


def import_nncf() -> Any:
    """Return the module `nncf`."""
    with _hidden(_SENDER):
        import nncf
    return nncf


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Make imports of a module fail; both libraries then work without it."""
    missing = object()
    before: Any = sys.modules.get(name, missing)
    sys.modules[name] = None  # type: ignore[assignment] # Python's own way to say so
    try:
        yield
    finally:
        if before is missing:
            del sys.modules[name]
        else:
            sys.modules[name] = before
