"""Keras, or what to install where it is missing.

Training, and networks that run on Keras, need it with one of its backends; what only
runs on OpenVINO does not. Nothing here knows networks.
"""

from __future__ import annotations

from typing import Any

from deepspot_scale.errors import SettingsError


def import_keras(purpose: str = "this") -> Any:
    """Return the module `keras`; `purpose` begins the message where it is missing.

    Raises
    ------
    SettingsError
        Keras or the backend that it is configured for is not installed.
    """
    try:
        import keras
    except ImportError as error:
        raise SettingsError(
            f"{purpose} needs Keras and a backend of it, and {error}. Run: pip install "
            "keras tensorflow; or, where TensorFlow has no release (Python 3.14): "
            "pip install keras jax, and set KERAS_BACKEND=jax"
        ) from error
    return keras
