"""The network as Keras runs it, on the backend that Keras is configured for.

An `EngineChoice` comes in, an engine goes out: weights on one device and, under
TensorFlow, a function compiled for each shape. Nothing here chooses between engines.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.devices import gpu_names
from deepspot_scale.networks.engine_types import Batch, EngineChoice
from deepspot_scale.networks.keras_library import import_keras
from deepspot_scale.networks.weights import find_weights, load_weights

if TYPE_CHECKING:
    import keras

GPU_PIXELS = 1 << 20
"""An image of 1024 x 1024 px keeps a GPU busy."""
CPU_PIXELS = 1 << 14
BFLOAT16_SINCE = (8, 0)
"""NVIDIA's GPUs multiply bfloat16 from this compute capability on, before float16."""

Function = Callable[[Batch], Any]


@dataclass
class KerasEngine:
    """The network as Keras runs it."""

    model: keras.Model
    name: str
    pixels_per_call: int
    place: str
    """Device in Keras' words, such as ``gpu:0``."""
    compiled: dict[tuple[int, ...], Function] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def predict(self, batch: Batch) -> Batch:
        """Return the answers (n, *space, channels) to a batch of such images."""
        with self.lock:
            function = self.compiled.get(batch.shape)
            if function is None:
                function = self.compiled[batch.shape] = self._compile(batch.shape)
            return np.asarray(function(batch))

    def _compile(self, shape: tuple[int, ...]) -> Function:
        import keras

        with keras.device(self.place):
            function = self._trace(shape)

        def run(batch: Batch) -> Any:
            with keras.device(self.place):
                return function(batch)

        return run

    def _trace(self, shape: tuple[int, ...]) -> Function:
        import keras

        if keras.backend.backend() != "tensorflow":
            predict: Function = self.model.predict_on_batch
            return predict
        import tensorflow as tf

        traced = tf.function(
            lambda batch: self.model(batch, training=False),
            input_signature=[tf.TensorSpec(shape, tf.float32)],
            # On CPUs XLA's convolutions are slower.
            jit_compile=self.place.startswith("gpu"),
        ).get_concrete_function()
        return lambda batch: traced(tf.constant(batch))


def load(choice: EngineChoice) -> KerasEngine:
    """Return the network on the first GPU that Keras may use, or on the CPU.

    Raises
    ------
    SettingsError
        Keras is not installed, or does not have the number format.
    WeightsError
        The model is missing or damaged.
    """
    keras = import_keras("the engine keras")
    gpus = [] if choice.device == "cpu" else gpu_names()
    if keras.backend.backend() == "tensorflow":
        _take_memory_as_needed()
    dtype = _number_format(choice, gpus)
    pixels = GPU_PIXELS if gpus else CPU_PIXELS
    name = f"keras {dtype} {gpus[0] if gpus else 'cpu'}"
    return place_engine(choice, dtype, name, pixels, "gpu:0" if gpus else "cpu:0")


def place_engine(
    choice: EngineChoice, dtype: str, name: str, pixels: int, place: str
) -> KerasEngine:
    """Return the network with its weights and its work on one device.

    `dtype` is a Keras dtype policy; `name`, `pixels` and `place` are as in
    `KerasEngine`.
    """
    import keras

    weights = find_weights(choice.model)
    with keras.device(place):
        model = weights.family.build(weights.architecture, dtype=dtype)
        load_weights(model, weights)
    return KerasEngine(model, name, pixels, place)


def _number_format(choice: EngineChoice, gpus: list[str]) -> str:
    wanted: str = choice.precision
    if wanted == "int8":
        raise SettingsError("keras cannot run int8; engine openvino does, on CPUs")
    if wanted == "auto":
        wanted = _fastest() if gpus else "float32"
    return wanted if wanted == "float32" else f"mixed_{wanted}"


def _fastest() -> str:
    """Return the reduced number format that the GPU multiplies natively."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return "bfloat16"
    import tensorflow as tf

    gpu = tf.config.list_physical_devices("GPU")[0]
    details = tf.config.experimental.get_device_details(gpu)
    since = details.get("compute_capability", BFLOAT16_SINCE)
    return "bfloat16" if tuple(since) >= BFLOAT16_SINCE else "float16"


def _take_memory_as_needed() -> None:
    """Keep TensorFlow from taking all of a GPU's memory at its first use."""
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # already in use, with the settings of its owner
            return
