"""How fast this machine runs a network: measured once, then kept.

An `EngineChoice` comes in, pixels per second go out. Rates are kept beside exported
networks, by machine, weights and engine, so that an estimate is available at once.
Nothing here knows plates.
"""

from __future__ import annotations

import json
import math
import os
import platform
import timeit
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import get_engine
from deepspot_scale.networks.openvino.cache import TRANSLATION, cache_folder
from deepspot_scale.networks.weights import find_weights

EDGE = 256
"""Pixels along each side of the timed image, before it is rounded up to the grid. It
takes seconds on any machine."""


def _file(choice: EngineChoice, folder: Path | None) -> tuple[Path, str]:
    parts = asdict(choice) | {"model": find_weights(choice.model).sha256[:16]}
    machine = (platform.node(), os.cpu_count(), TRANSLATION)
    key = "|".join(map(str, (*machine, *parts.values())))
    return (folder or cache_folder()) / "rates.json", key


def kept_rate(choice: EngineChoice, folder: Path | None = None) -> float | None:
    """Return pixels per second as measured before; None: not measured yet.

    `folder` is where rates are kept; None: the user's cache folder.
    """
    file, key = _file(choice, folder)
    rate = _read(file).get(key)
    return float(rate) if isinstance(rate, int | float) and rate > 0 else None


def _read(file: Path) -> dict[str, Any]:
    try:
        rates = json.loads(file.read_bytes())
    except (OSError, ValueError):  # none yet, or damaged: measured again
        return {}
    return rates if isinstance(rates, dict) else {}


def measure_rate(choice: EngineChoice, folder: Path | None = None) -> float:
    """Measure pixels per second and keep the rate; errors are those of `get_engine`."""
    engine = get_engine(choice)
    family = find_weights(choice.model).family
    edge = math.ceil(EDGE / family.grid) * family.grid
    image = np.zeros((1, edge, edge, family.channels_in), np.float32)
    engine.predict(image)
    # The fastest of three: other work of this moment says little about the run.
    seconds = min(timeit.repeat(lambda: engine.predict(image), number=1, repeat=3))
    rate = edge**2 / max(seconds, 1e-6)
    file, key = _file(choice, folder)
    rates = _read(file) | {key: round(rate)}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{uuid.uuid4().hex[:8]}")
    partial.write_text(json.dumps(rates), encoding="utf-8")
    os.replace(partial, file)
    return rate
