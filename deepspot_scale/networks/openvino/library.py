"""OpenVINO and NNCF, imported without their messages to their makers.

Every process that imports them would fork one more, which sends a line about it over
the internet; a cluster's nodes have none, and a fork beside busy threads may hang for
good. Nothing here knows networks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SENDER = "openvino_telemetry"


def import_openvino() -> Any:
    """Return the module `openvino`, imported now if it was not before."""
    with _hidden(_SENDER):
        import openvino
    return openvino


def import_nncf() -> Any:
    """Return the module `nncf`, imported now if it was not before."""
    with _hidden(_SENDER):
        import nncf
    return nncf


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let imports of a module fail meanwhile; both do without this one then."""
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
