"""Engines run a network on batches of images: Keras, OpenVINO, or a plug-in.

In goes a float32 batch ``(n, y, x)`` of normalised images, out comes the enhanced
batch of the same shape in [0, 1]. An engine is loaded once in each process, by
`get_engine`; a device or number format that was asked for and is missing is an error,
never a slower run. Nothing here knows blocks, plates or Dask.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import DeviceError, SettingsError
from deepspot_scale.networks.weights import DEFAULT_MODEL
from deepspot_scale.plugins import ENGINES, load_plugin

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Device = Literal["auto", "cpu", "gpu"]
Batch = NDArray[np.float32]
AUTO = "auto"
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineChoice:
    """Which network runs how; small, hashable, and safe to send to a worker."""

    model: str = DEFAULT_MODEL
    """Name of a shipped model or path of a weights file."""
    engine: str = AUTO
    """keras, openvino, a plug-in's name or ``module:attribute``; auto: Keras where it
    sees a GPU, else OpenVINO where installed, else Keras."""
    precision: Precision = "auto"
    """auto: bfloat16 where the processor multiplies it natively, else float32.
    int8: the quantised network, on CPUs by OpenVINO alone."""
    device: Device = "auto"
    """gpu: refuse to run without one."""
    threads: int = 0
    """Processor threads for OpenVINO; 0: all that the process may use."""


class Engine(Protocol):
    """Anything that enhances batches."""

    @property
    def name(self) -> str:
        """What runs where in which number format, for people."""

    @property
    def pixels_per_call(self) -> int:
        """Pixels that fill the device: smaller images go together into one batch."""

    def predict(self, batch: Batch) -> Batch:
        """Return the enhanced batch (n, y, x); y and x are multiples of 8."""


Loader = Callable[[EngineChoice], Engine]
"""Makes an engine; what an engine plug-in is. `testing.check_engine` checks it."""


def _load_keras(choice: EngineChoice) -> Engine:
    from deepspot_scale.networks.keras_engine import load

    return load(choice)


def _load_openvino(choice: EngineChoice) -> Engine:
    from deepspot_scale.networks.openvino.engine import load

    return load(choice)


LOADERS: dict[str, Loader] = {"keras": _load_keras, "openvino": _load_openvino}
"""Engines that are built in."""


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
        There is no such engine, or it cannot run as asked.
    WeightsError
        The model is missing or damaged.
    """
    with _LOADING:
        return _load(choice, _state_of_file(choice.model))


_LOADING = threading.Lock()
"""Threads that ask at the same time wait for the first one's engine."""


def _state_of_file(model: str) -> tuple[int, int] | None:
    """Return what changes as a user trains again into the same file."""
    try:
        state = os.stat(model)
    except OSError:  # a model by name, or none: who loads it says so
        return None
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=4)
def _load(choice: EngineChoice, _: tuple[int, int] | None) -> Engine:
    if choice.device == "gpu":
        _require_gpu()
        if choice.engine == "openvino":
            raise SettingsError("the openvino engine runs on CPUs; use engine keras")
    if choice.engine != AUTO:
        return find_loader(choice.engine)(choice)
    on_gpu = choice.device != "cpu" and _gpu_driver() and _usable_gpu()
    by_keras = on_gpu or find_spec("openvino") is None
    return LOADERS["keras" if by_keras else "openvino"](choice)


def _require_gpu() -> None:
    if gpu_names():
        return
    import keras

    raise DeviceError(
        f"a GPU was asked for, but Keras' {keras.backend.backend()} backend sees "
        "none in this process; check the driver, CUDA_VISIBLE_DEVICES and that "
        "the backend was installed with GPU support, TensorFlow's by "
        "pip install 'deepspot-scale[gpu]'"
    )


def _usable_gpu() -> bool:
    if gpu_names():
        return True
    if sys.platform.startswith("linux"):  # elsewhere a driver proves nothing
        _LOGGER.warning(
            "this machine has a GPU that the network cannot use, so it runs on the "
            "processors; see pip install 'deepspot-scale[gpu]', or ask for --device cpu"
        )
    return False


def find_loader(name: str) -> Loader:
    """Return what loads the engine of this name; ``auto`` has none of its own.

    Raises
    ------
    SettingsError
        No such engine.
    """
    if name in LOADERS:
        return LOADERS[name]
    loader: Loader = load_plugin(name, ENGINES, known=(AUTO, *LOADERS))
    if not callable(loader):
        raise SettingsError(
            f"engine {name!r} is no function from an EngineChoice to an engine; it is "
            f"of type {type(loader).__name__}"
        )
    return loader


def batch_size(engine: Engine, shape: tuple[int, int]) -> int:
    """Return how many images of this shape go into one call.

    Always the same number: an engine may round differently in batches of another
    size, and an image's answer must not depend on how many others there are.
    """
    return max(1, engine.pixels_per_call // (shape[0] * shape[1]))


def predict_images(engine: Engine, images: Sequence[Batch]) -> list[Batch]:
    """Return the enhanced images of (y, x) images of one shape.

    They go into batches of `batch_size`; the last is filled up with empty images.
    """
    shape = images[0].shape
    n = batch_size(engine, (shape[0], shape[1]))
    if n == 1:
        return [engine.predict(image[None])[0] for image in images]
    answers: list[Batch] = []
    for start in range(0, len(images), n):
        batch = np.zeros((n, *shape), np.float32)
        some = images[start : start + n]
        np.stack(some, out=batch[: len(some)])
        answers.extend(engine.predict(batch)[: len(some)])
    return answers
