"""Which GPUs there are, and the messages where one cannot be used.

Nothing here knows networks or engines.
"""

from __future__ import annotations

import logging
import os
import sys

from deepspot_scale.errors import DeviceError, SettingsError
from deepspot_scale.networks.keras_library import import_keras
from deepspot_scale.plugins import install_line

_LOGGER = logging.getLogger(__name__)


def gpu_names() -> list[str]:
    """Return the GPUs that the configured Keras backend can use."""
    keras = import_keras("a GPU")
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
    """Return whether there is a GPU driver; without one, Keras need not be asked."""
    if not sys.platform.startswith("linux"):
        return True
    devices = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, WSL
    return any(os.path.exists(device) for device in devices)


def require_gpu() -> None:
    """Raise `DeviceError` if Keras cannot use a GPU, SettingsError if it is missing."""
    if gpu_names():
        return
    import keras

    raise DeviceError(
        f"a GPU was asked for, but Keras' {keras.backend.backend()} backend sees "
        "none in this process; check the driver, CUDA_VISIBLE_DEVICES and that "
        "the backend was installed with GPU support, TensorFlow's by "
        + install_line("gpu")
    )


def usable_gpu() -> bool:
    """Return whether Keras can use a GPU; warn of a GPU that it cannot use."""
    if not _gpu_driver():
        return False
    try:
        if gpu_names():
            return True
    except SettingsError:  # no Keras, or no backend of it: it sees no GPU
        pass
    if sys.platform.startswith("linux"):  # elsewhere a driver proves nothing
        _LOGGER.warning(
            "this machine has a GPU that the network cannot use, so it runs on the "
            "processors; see %s, or ask for --device cpu",
            install_line("gpu"),
        )
    return False
