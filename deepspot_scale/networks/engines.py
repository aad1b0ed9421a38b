"""Engines run a network on batches of images: Keras on any backend, or OpenVINO.

In goes a float32 batch ``(n, y, x)`` of normalised images, out comes the enhanced
batch of the same shape in [0, 1]. An engine is loaded once in each process, by
`get_engine`; a device that was asked for and is missing is an error, never a slower
run. Nothing here knows blocks, plates or Dask.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import DeviceError, SettingsError
from deepspot_scale.networks.deepspot import build
from deepspot_scale.networks.export import openvino_file
from deepspot_scale.networks.weights import (
    DEFAULT_MODEL,
    Weights,
    find_weights,
    load_weights,
)

EngineName = Literal["auto", "keras", "openvino"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Device = Literal["auto", "cpu", "gpu"]
Batch = NDArray[np.float32]


@dataclass(frozen=True)
class EngineChoice:
    """Which network runs how; small, hashable, and safe to send to a worker."""

    model: str = DEFAULT_MODEL
    """Name of a shipped model or path of a weights file."""
    engine: EngineName = "auto"
    """auto: Keras where it sees a GPU, else OpenVINO where installed, else Keras."""
    precision: Precision = "auto"
    """auto: bfloat16 where the processor multiplies it natively, else float32."""
    device: Device = "auto"
    """gpu: refuse to run without one."""
    threads: int = 0
    """Processor threads for OpenVINO; 0: all that the process may use."""


class Engine(Protocol):
    """Anything that enhances batches."""

    name: str

    def predict(self, batch: Batch) -> Batch:
        """Return the enhanced batch (n, y, x); y and x are multiples of 8."""


@dataclass
class KerasEngine:
    """The network as Keras runs it, on the backend that Keras is configured for."""

    model: Any
    name: str

    def predict(self, batch: Batch) -> Batch:
        """Return the enhanced batch (n, y, x)."""
        return np.asarray(self.model.predict_on_batch(batch[..., None]))[..., 0]


@dataclass
class OpenVinoEngine:
    """The network as OpenVINO runs it on CPUs, compiled once for each shape."""

    network: Any
    hints: dict[str, Any]
    name: str
    compiled: dict[tuple[int, ...], Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def predict(self, batch: Batch) -> Batch:
        """Return the enhanced batch (n, y, x)."""
        with self.lock:
            request = self.compiled.get(batch.shape)
            if request is None:
                request = self.compiled[batch.shape] = self._compile(batch.shape)
            answer: Batch = request.infer({0: batch[..., None]})[0][..., 0].copy()
        return answer

    def _compile(self, shape: tuple[int, ...]) -> Any:
        import openvino

        network = self.network.clone()
        network.reshape([*shape, 1])
        compiled = openvino.Core().compile_model(network, "CPU", self.hints)
        return compiled.create_infer_request()


def gpu_names() -> list[str]:
    """Return the GPUs that the configured Keras backend can use."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return [device.name for device in tf.config.list_physical_devices("GPU")]
    if backend == "torch":
        import torch

        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if backend == "jax":
        import jax

        return [str(device) for device in jax.devices() if device.platform != "cpu"]
    return []


def _gpu_driver() -> bool:
    """Return whether there is a GPU driver: without one, no need to ask Keras."""
    if not sys.platform.startswith("linux"):
        return True
    devices = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, WSL
    return any(os.path.exists(device) for device in devices)


def get_engine(choice: EngineChoice) -> Engine:
    """Return this process's engine for `choice`, loaded at the first call.

    Raises
    ------
    DeviceError
        A GPU was asked for and none can be used.
    SettingsError
        The engine can not run as asked.
    WeightsError
        The model is missing or damaged.
    """
    with _LOADING:
        return _load(choice)


_LOADING = threading.Lock()
"""Threads that ask at the same time wait for the first one's engine."""


@lru_cache(maxsize=4)
def _load(choice: EngineChoice) -> Engine:
    weights = find_weights(choice.model)
    may_have = choice.device == "gpu" or (choice.device == "auto" and _gpu_driver())
    gpus = gpu_names() if may_have else []
    if choice.device == "gpu" and not gpus:
        import keras

        raise DeviceError(
            f"a GPU was asked for, but Keras' {keras.backend.backend()} backend sees "
            "none in this process; check the driver, CUDA_VISIBLE_DEVICES and that "
            "the backend was installed with GPU support"
        )
    on_gpu = bool(gpus)
    if choice.engine == "openvino" and on_gpu and choice.device == "gpu":
        raise SettingsError("the openvino engine runs on CPUs; use engine keras")
    if choice.engine == "openvino" or (
        choice.engine == "auto" and not on_gpu and _openvino_here()
    ):
        return _load_openvino(choice, weights)
    dtype = {"auto": "mixed_bfloat16" if on_gpu else "float32"}.get(
        choice.precision, f"mixed_{choice.precision}"
    )
    dtype = "float32" if dtype == "mixed_float32" else dtype
    model = build(weights.architecture, dtype=dtype)
    load_weights(model, weights)
    return KerasEngine(model, f"keras {dtype} {gpus[0] if gpus else 'cpu'}")


def _openvino_here() -> bool:
    from importlib.util import find_spec

    return find_spec("openvino") is not None


def _load_openvino(choice: EngineChoice, weights: Weights) -> Engine:
    if not _openvino_here():
        raise SettingsError("the openvino engine needs: pip install openvino")
    import openvino

    if choice.precision == "float16":
        raise SettingsError("openvino on CPUs knows float32 and bfloat16, not float16")
    core = openvino.Core()
    wanted = choice.precision
    if wanted == "auto":
        abilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        wanted = "bfloat16" if "BF16" in abilities else "float32"
    network = core.read_model(openvino_file(weights))
    hints: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": {"bfloat16": "bf16", "float32": "f32"}[wanted]
    }
    if choice.threads:
        hints["INFERENCE_NUM_THREADS"] = choice.threads
    return OpenVinoEngine(network, hints, f"openvino {wanted} cpu")
