"""The bare engine, and other methods on the same pixels, which are in memory.

An engine comes in, rows go out. Nothing here knows plates or workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.throughput.flops import flops_per_pixel
from benchmarks.throughput.machine import best_seconds, peak_bytes, product_flops
from benchmarks.throughput.plates import draw_field
from benchmarks.throughput.rows import Row, work_rates
from deepspot_scale.kernels.normalisation import SCALES
from deepspot_scale.networks.engine_types import Engine, EngineChoice
from deepspot_scale.networks.engines import get_engine
from deepspot_scale.networks.weights import find_weights

EDGES = (2048, 1024, 512, 256)
"""Edges of the tried static shapes; the fastest is the bare engine."""
PATCH = 256
"""Edge of the authors' patches."""


def field_pixels(size: int, normalisation: str) -> NDArray[np.float32]:
    """Return a field of size x size pixels, normalised as a family of networks asks."""
    counts = draw_field(size)[0]
    return SCALES[normalisation](counts)(counts)


def time_engine(
    choice: EngineChoice, size: int, *, repeats: int = 3, limit: float | None = None
) -> Iterator[Row]:
    """Yield one row for each static shape that fits into a field of `size`."""
    engine = get_engine(choice)
    weights = find_weights(choice.model)
    pixels = field_pixels(size, weights.family.normalisation)
    limit = product_flops(engine.name) if limit is None else limit
    per_pixel = flops_per_pixel(weights.architecture)
    for edge in [edge for edge in EDGES if edge <= size]:
        batch = np.ascontiguousarray(pixels[None, :edge, :edge, None])
        seconds, cpu = best_seconds(lambda b=batch: engine.predict(b), repeats)
        yield Row(
            "engine",
            f"{choice.model} {edge} px",
            1,
            batch.size,
            seconds,
            cpu,
            peak_bytes(),
            {
                "engine": engine.name,
                "product_tflops": round(limit / 1e12, 4),
                **work_rates(batch.size, seconds, per_pixel, limit),
            },
        )


def fastest(rows: list[Row]) -> Row:
    """Return the row with the most pixels per second."""
    return max(rows, key=lambda row: row.pixels / row.seconds)


def time_peers(size: int, ufish: Path | None) -> Iterator[Row | str]:
    """Yield a row for each other method, or the reason why there is none."""
    counts = draw_field(size)[0]
    ways = {
        "the authors' way": lambda: _authors(counts),
        "Big-FISH": lambda: _bigfish(counts),
        "U-FISH": lambda: _ufish(counts, ufish),
    }
    for name, make in ways.items():
        call = make()
        if isinstance(call, str):
            yield f"{name}: skipped, {call}"
            continue
        seconds, cpu = best_seconds(call, 2)
        what = f"{name}, {size} px field"
        yield Row("peers", what, 1, size * size, seconds, cpu, peak_bytes())


def _authors(counts: NDArray[Any]) -> Callable[[], Any]:
    """Float32 TensorFlow on patches of 256 px, each by its own maximum."""
    choice = EngineChoice("deepspot", engine="keras", precision="float32")
    return authors_way(get_engine(choice), counts)


def authors_way(engine: Engine, counts: NDArray[Any]) -> Callable[[], Any]:
    """Return a call that enhances a field patch by patch."""
    edge = min(PATCH, *counts.shape)
    rows = counts.reshape(counts.shape[0] // edge, edge, -1, edge).swapaxes(1, 2)
    patches = rows.reshape(-1, edge, edge).astype(np.float32)

    def enhance() -> None:
        for patch in patches:
            engine.predict((patch / patch.max())[None, ..., None])

    return enhance


def _bigfish(counts: NDArray[Any]) -> Callable[[], Any] | str:
    if find_spec("bigfish") is None:
        return "not installed (pip install big-fish)"
    from bigfish.detection import detect_spots

    return lambda: detect_spots(counts, voxel_size=(100, 100), spot_radius=(150, 150))


def _ufish(counts: NDArray[Any], weights: Path | None) -> Callable[[], Any] | str:
    """Return its network in ONNX Runtime, with its own scaling and maxima."""
    lacking = [name for name in ("ufish", "onnxruntime") if find_spec(name) is None]
    if lacking:
        return f"not installed (pip install {' '.join(lacking)})"
    import onnxruntime
    from ufish.utils.img import scale_image
    from ufish.utils.spot_calling import call_spots_local_maxima

    package = Path(str(find_spec("ufish").origin)).parent
    file = weights or next((package / "model" / "weights").glob("*.onnx"))
    session = onnxruntime.InferenceSession(os.fspath(file))
    name = session.get_inputs()[0].name

    def find() -> Any:
        image = scale_image(counts).astype(np.float32)[None, None]
        return call_spots_local_maxima(session.run(None, {name: image})[0][0, 0])

    return find
