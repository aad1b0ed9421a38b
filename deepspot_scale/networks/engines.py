"""Engines run a network on batches of images: Keras, OpenVINO, or a plug-in.

A float32 batch ``(n, *space, channels)`` goes in, the batch of the answers comes out.
`get_engine` loads an engine once in each process. A requested device or number format
that is missing is an error, never a slower run. Nothing here knows blocks, plates or
Dask.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec

import numpy as np

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.devices import require_gpu, usable_gpu
from deepspot_scale.networks.engine_types import (
    AUTO,
    Batch,
    Engine,
    EngineChoice,
    Loader,
)
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.plugins import ENGINES, hash_plugin, load_plugin


def _load_keras(choice: EngineChoice) -> Engine:
    from deepspot_scale.networks.keras_engine import load

    return load(choice)


def _load_openvino(choice: EngineChoice) -> Engine:
    from deepspot_scale.networks.openvino.engine import load

    return load(choice)


LOADERS: dict[str, Loader] = {"keras": _load_keras, "openvino": _load_openvino}
"""The built-in engines."""


def get_engine(choice: EngineChoice) -> Engine:
    """Return this process's engine for `choice`, loaded at the first call.

    Raises
    ------
    DeviceError
        A GPU was requested and none can be used.
    SettingsError
        The engine does not exist, or cannot run as requested.
    WeightsError
        The model is missing or damaged.
    """
    with _LOADING:
        return _load(choice, _state_of_file(choice.model))


_LOADING = threading.Lock()
"""Threads that need an engine at the same time wait until the first has loaded it."""


def _state_of_file(model: str) -> tuple[int, int] | None:
    """Return time and size of a file, which change when a user trains into it again."""
    try:
        state = os.stat(model)
    except OSError:  # a model by name, or none, which the loader reports
        return None
    return state.st_mtime_ns, state.st_size


@lru_cache(maxsize=4)
def _load(choice: EngineChoice, _: tuple[int, int] | None) -> Engine:
    if choice.device == "gpu":
        require_gpu()
        if choice.engine == "openvino":
            raise SettingsError("the openvino engine runs on CPUs; use engine keras")
    if choice.engine != AUTO:
        return find_loader(choice.engine)(choice)
    on_gpu = choice.device != "cpu" and usable_gpu()
    by_keras = on_gpu or find_spec("openvino") is None
    return LOADERS["keras" if by_keras else "openvino"](choice)


def find_loader(name: str) -> Loader:
    """Return the loader of the engine of this name, which is not ``auto``.

    Raises
    ------
    SettingsError
        The engine does not exist.
    """
    if name in LOADERS:
        return LOADERS[name]
    loader: Loader = load_plugin(name, ENGINES, known=(AUTO, *LOADERS))
    if not callable(loader):
        raise SettingsError(
            f"engine {name!r} must be a function from an EngineChoice to an engine; it "
            f"is of type {type(loader).__name__}"
        )
    return loader


def network_sources(
    model: str, engine: str, *, roles: tuple[str, str]
) -> dict[str, dict[str, str]]:
    """Return the files that decide about a network's answer.

    `roles` are those of the weights, and of the engine where it is a plug-in; each has
    a ``name`` and its ``sha256``. WeightsError if there is no such model.
    """
    weights = find_weights(model)
    found = {roles[0]: {"name": weights.name, "sha256": weights.sha256}}
    plugin = hash_plugin(engine, ENGINES)
    if plugin is not None:
        found[roles[1]] = {"name": engine, "sha256": plugin}
    return found


def batch_size(engine: Engine, space: tuple[int, ...], finer: int = 1) -> int:
    """Return how many images of so many pixels along each axis go into one call.

    `finer` is how many pixels of the answer a pixel has; they count as those of images.

    The number is always the same, because an engine may round differently in batches of
    another size, and an image's answer must not depend on the number of other images.
    """
    return max(1, engine.pixels_per_call // (math.prod(space) * finer))


def predict_images(engine: Engine, images: Sequence[Batch]) -> list[Batch]:
    """Return the answers to images (*space, channels) of one shape."""
    return list(iter_predictions(engine, images))


def iter_predictions(
    engine: Engine, images: Sequence[Batch], *, finer: int = 1
) -> Iterator[Batch]:
    """Yield the answers to images (*space, channels) of one shape, one by one.

    They go into batches of `batch_size`; the last is filled up with empty images.
    """
    shape = images[0].shape
    n = batch_size(engine, shape[:-1], finer)
    for start in range(0, len(images), n):
        some = images[start : start + n]
        if n == 1:  # as it is, without a copy
            batch = some[0][None]
        else:
            batch = np.zeros((n, *shape), np.float32)
            np.stack(some, out=batch[: len(some)])
        yield from engine.predict(batch)[: len(some)]
