"""How fast this machine runs a network: measured once, then kept.

An `EngineChoice` comes in, pixels a second go out. Rates are kept beside exported
networks, by machine, weights and engine, so that a plan can be told at once. Nothing
here knows plates.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
import uuid
from dataclasses import asdict
from pathlib import Path

import numpy as np

from deepspot_scale.networks.engine_types import Batch, Engine, EngineChoice
from deepspot_scale.networks.engines import get_engine
from deepspot_scale.networks.openvino.cache import TRANSLATION, cache_folder
from deepspot_scale.networks.weights import find_weights

EDGE = 256
"""Pixels along each side of the image that is timed, or what the grid makes of it:
seconds on any machine."""


def _file(choice: EngineChoice, folder: Path | None) -> tuple[Path, str]:
    parts = asdict(choice) | {"model": find_weights(choice.model).sha256[:16]}
    machine = (platform.node(), os.cpu_count(), TRANSLATION)
    key = "|".join(map(str, (*machine, *parts.values())))
    return (folder or cache_folder()) / "rates.json", key


def kept_rate(choice: EngineChoice, folder: Path | None = None) -> float | None:
    """Return pixels a second as measured here before; None: not measured yet.

    Parameters
    ----------
    choice
        The engine.
    folder
        Where rates are kept; None: the user's cache folder.
    """
    file, key = _file(choice, folder)
    try:
        rate = json.loads(file.read_bytes()).get(key)
    except (OSError, ValueError, AttributeError):  # none yet, or damaged: as good
        return None
    return float(rate) if isinstance(rate, int | float) and rate > 0 else None


def measure_rate(choice: EngineChoice, folder: Path | None = None) -> float:
    """Return pixels a second, measured now and kept; errors are `get_engine`'s."""
    engine = get_engine(choice)
    family = find_weights(choice.model).family
    edge = math.ceil(EDGE / family.grid) * family.grid
    image = np.zeros((1, edge, edge, family.channels_in), np.float32)
    engine.predict(image)
    # The fastest of a few: what else the machine does now says little of the run.
    rate = edge**2 / max(min(_seconds(engine, image) for _ in range(3)), 1e-6)
    _keep(choice, rate, folder)
    return rate


def _seconds(engine: Engine, image: Batch) -> float:
    began = time.perf_counter()
    engine.predict(image)
    return time.perf_counter() - began


def _keep(choice: EngineChoice, rate: float, folder: Path | None) -> None:
    file, key = _file(choice, folder)
    try:
        rates = json.loads(file.read_bytes())
    except (OSError, ValueError):
        rates = {}
    known = rates if isinstance(rates, dict) else {}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{uuid.uuid4().hex[:8]}")
    partial.write_text(json.dumps(known | {key: round(rate)}), encoding="utf-8")
    os.replace(partial, file)
