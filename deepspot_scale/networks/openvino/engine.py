"""The network as OpenVINO runs it on CPUs, compiled once for each shape.

An `EngineChoice` comes in, an engine goes out. Compiled networks are kept on disk
beside the exported network, so a later process starts at once. Nothing here chooses
between engines.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from deepspot_scale.errors import SettingsError, WeightsError
from deepspot_scale.networks.engine_types import Batch, EngineChoice
from deepspot_scale.networks.openvino import quantise
from deepspot_scale.networks.openvino.cache import (
    Making,
    make_once,
    openvino_file,
    run_maker,
)
from deepspot_scale.networks.openvino.library import import_openvino
from deepspot_scale.networks.weights import Weights, find_weights
from deepspot_scale.plugins import install_line

PIXELS_PER_CALL = 1 << 14
"""From 128 x 128 px on, the overhead of a call is small compared with its work."""


@dataclass
class OpenVinoEngine:
    """The network as OpenVINO runs it."""

    core: Any
    network: Any
    hints: dict[str, Any]
    name: str
    pixels_per_call: int = PIXELS_PER_CALL
    compiled: dict[tuple[int, ...], Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def predict(self, batch: Batch) -> Batch:
        """Return the answers (n, *space, channels) to a batch of such images."""
        with self.lock:
            request = self.compiled.get(batch.shape)
            if request is None:
                request = self.compiled[batch.shape] = self._compile(batch.shape)
            # With one channel this is a view, as OpenVINO needs it.
            images = np.ascontiguousarray(np.moveaxis(batch, -1, 1))
            answers = request.infer({0: images}, share_inputs=True, share_outputs=True)
            # The request owns these arrays: copy them before the next call fills them.
            answer: Batch = np.moveaxis(answers[0], 1, -1).copy()
        return answer

    def _compile(self, shape: tuple[int, ...]) -> Any:
        n, *space, channels = shape
        network = self.network.clone()
        network.reshape([n, channels, *space])
        compiled = self.core.compile_model(network, "CPU", self.hints)
        return compiled.create_infer_request()


def load(choice: EngineChoice) -> OpenVinoEngine:
    """Return the network on the CPU.

    Raises
    ------
    SettingsError
        OpenVINO or, for int8, NNCF is not installed, or this processor lacks the number
        format.
    WeightsError
        The model is missing or damaged, or cannot be exported.
    """
    if find_spec("openvino") is None:
        raise SettingsError("the openvino engine needs: pip install openvino")
    core = import_openvino().Core()
    precision = _number_format(choice, core.get_property("CPU", _ABILITIES))
    make = int8_file if precision == "int8" else openvino_file
    file = make(find_weights(choice.model))
    hints: dict[str, Any] = {
        # The parts of a quantised network that have no whole numbers stay float32.
        **precision_hint(precision),
        "CACHE_DIR": str(file.parent / "compiled"),
        # Otherwise the threads of all workers would run on the same first processors.
        "ENABLE_CPU_PINNING": False,
    }
    if choice.threads:
        hints["INFERENCE_NUM_THREADS"] = choice.threads
    network = core.read_model(file)
    return OpenVinoEngine(core, network, hints, f"openvino {precision} cpu")


def int8_file(weights: Weights, folder: Path | None = None) -> Path:
    """Return the quantised network, made if that was not done before; needs NNCF.

    `folder` is where exported networks are kept; None: the user's cache folder.

    Raises
    ------
    WeightsError
        The network could not be exported or quantised.
    """
    family = weights.family
    if family.calibration is None:
        raise WeightsError(
            f"{weights.path} is of the family {family.name}, which names no images to "
            f"calibrate int8 on; use {_INSTEAD}"
        )
    network = openvino_file(weights, folder)
    exported = network.parent
    name = f"{exported.name}-nncf-{version('nncf')}-{quantise.CALIBRATION}"
    making = Making(quantise.__name__, "quantised", _INSTEAD)
    source = (str(network), family.calibration, family.normalisation)
    make = partial(run_maker, weights, making, source)
    return make_once(exported.with_name(name), make)


def precision_hint(number_format: str) -> dict[str, str]:
    """Return OpenVINO's setting for a number format as named in `Engine.name`."""
    bf16 = number_format == "bfloat16"
    return {"INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32"}


_INSTEAD = "--precision float32"
_ABILITIES = "OPTIMIZATION_CAPABILITIES"


def _number_format(choice: EngineChoice, abilities: list[str]) -> str:
    if choice.precision == "float16":
        raise SettingsError("openvino on CPUs has no float16; take float32 or int8")
    if choice.precision == "int8" and find_spec("nncf") is None:
        raise SettingsError(f"int8 needs: {install_line('int8')}")
    if choice.precision == "auto":
        return "bfloat16" if "BF16" in abilities else "float32"
    if choice.precision == "bfloat16" and "BF16" not in abilities:
        # OpenVINO would run it in float32 and not say so.
        raise SettingsError(
            "this processor does not multiply bfloat16; leave precision at auto, or "
            "take float32"
        )
    return choice.precision
