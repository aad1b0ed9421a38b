"""Description of the machine for each row, and the machine's limits.

Nothing here knows what is measured.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from deepspot_scale.networks.openvino.engine import precision_hint
from deepspot_scale.networks.openvino.library import import_openvino
from deepspot_scale.plugins import installed_versions

TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")
PRODUCT_EDGE = 2048
"""Edge of the matrices whose product gives the machine's limit."""
VERSIONS = ("openvino", "tensorflow", "keras", "dask", "zarr", "numpy", "pandas")


def describe_machine() -> dict[str, Any]:
    """Return what determines the speed: processor, cores, memory, GPU, versions."""
    processor = _lines("/proc/cpuinfo", "model name")
    flags = (_lines("/proc/cpuinfo", "flags") or [""])[0].split()
    memory = _lines("/proc/meminfo", "MemTotal")
    return {
        "processor": processor[0] if processor else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "flags": [flag for flag in TELLING_FLAGS if flag in flags],
        "memory_gb": round(int(memory[0].split()[0]) / 1e6) if memory else None,
        "gpu": gpu_name(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _versions() -> dict[str, str]:
    return dict(installed_versions(VERSIONS))


def _lines(path: str, key: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    lines = (line.partition(":") for line in text.splitlines())
    return [value.strip() for name, _, value in lines if name.strip() == key]


def gpu_name() -> str | None:
    """Return the name of the first NVIDIA GPU; None without driver."""
    names = [
        name
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
        for name in _lines(str(path), "Model")
    ]
    return names[0] if names else None


def peak_bytes() -> int:
    """Return this process's peak memory; getrusage may include the parent's."""
    return int(_lines("/proc/self/status", "VmHWM")[0].split()[0]) * 1024


def best_seconds(call: Callable[[], Any], repeats: int = 3) -> tuple[float, float]:
    """Return wall and processor seconds of the fastest call, after a warm-up."""
    call()
    measured = []
    for _ in range(repeats):
        began, worked = time.perf_counter(), time.process_time()
        call()
        measured.append((time.perf_counter() - began, time.process_time() - worked))
    return min(seconds for seconds, _ in measured), min(cpu for _, cpu in measured)


def product_flops(engine_name: str) -> float:
    """Return operations per second of a large matrix product in the engine's format.

    Parameters
    ----------
    engine_name
        `Engine.name`: its library and number format are those of the product; whole
        numbers are held against float32.
    """
    library, number_format = engine_name.split()[:2]
    make = _openvino_product if library == "openvino" else _keras_product
    seconds, _ = best_seconds(make(number_format.removeprefix("mixed_")), 5)
    return float(2 * PRODUCT_EDGE**3 / seconds)


def _openvino_product(number_format: str) -> Callable[[], Any]:
    openvino = import_openvino()
    ops = openvino.opset13
    shape = [PRODUCT_EDGE, PRODUCT_EDGE]
    rng = np.random.default_rng(0)
    factor = ops.constant(rng.random(shape, np.float32))
    given = ops.parameter(shape, np.float32)
    network = openvino.Model([ops.matmul(given, factor, False, False)], [given])
    hints = precision_hint(number_format)
    compiled = openvino.Core().compile_model(network, "CPU", hints)
    request, matrix = compiled.create_infer_request(), rng.random(shape, np.float32)
    return lambda: request.infer({0: matrix})


def _keras_product(number_format: str) -> Callable[[], Any]:
    import keras

    shape = (PRODUCT_EDGE, PRODUCT_EDGE)
    one, other = (keras.random.uniform(shape, dtype=number_format) for _ in range(2))
    return lambda: float(keras.ops.matmul(one, other)[0, 0])
