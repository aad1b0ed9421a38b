"""One tidy row per measurement: printed for people, appended as JSON for the plots.

Numbers come in; rates, ratios and shares are computed from them here only. Nothing here
measures.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.throughput.machine import describe_machine


@dataclass(frozen=True)
class Row:
    """One measurement."""

    benchmark: str
    """The command of the measurement."""
    what: str
    """Description of what was measured."""
    images: int
    """Number of fields or images."""
    pixels: int
    """Pixels of all images."""
    seconds: float
    """Wall time in seconds."""
    cpu_seconds: float | None = None
    """Processor time of all processes; does not depend on other programs."""
    peak_bytes: int | None = None
    """Largest peak memory of a process."""
    more: dict[str, Any] = field(default_factory=dict)
    """Additional values."""

    def to_dict(self) -> dict[str, Any]:
        """Return the row with its rates."""
        return {
            "benchmark": self.benchmark,
            "what": self.what,
            "images": self.images,
            "pixels": self.pixels,
            "seconds": float(f"{self.seconds:.4g}"),
            "cpu_seconds": self.cpu_seconds and round(self.cpu_seconds, 3),
            "images_per_s": _digits(self.images / self.seconds),
            "mpx_per_s": _digits(self.pixels / self.seconds / 1e6),
            "peak_bytes": self.peak_bytes,
            **self.more,
        }


def _digits(value: float) -> float:
    return float(f"{value:.4g}")


def work_rates(
    pixels: int, seconds: float, flops_per_pixel: float, limit: float
) -> dict[str, float]:
    """Return TFLOP/s of the network and their share of the matrix product's."""
    rate = pixels * flops_per_pixel / seconds
    return {"tflops": _digits(rate / 1e12), "share_of_product": _digits(rate / limit)}


@lru_cache(maxsize=1)
def _circumstances() -> dict[str, Any]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": describe_machine(),
    }


def keep(row: Row, out: Path | None) -> None:
    """Print a row; append it with the machine if a file is given."""
    values = row.to_dict()
    print(json.dumps(values), flush=True)
    if out is None:
        return
    busy = {"load": round(os.getloadavg()[0], 1)}
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values | busy | _circumstances()) + "\n")
