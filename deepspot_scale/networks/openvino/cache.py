"""The network in OpenVINO's own format, made once for each weights file and kept.

A network with a plan is made without Keras. Others are made in a separate process, so
that a CPU worker never loads Keras and TensorFlow, which would take ten seconds and
half a gigabyte. File names contain the weights' SHA-256, the versions of OpenVINO and
of the translation, and the hash of the plan or of a plug-in family, so an outdated file
is never read.
Nothing here runs a network on a user's images.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from deepspot_scale.errors import WeightsError
from deepspot_scale.networks.families import Family
from deepspot_scale.networks.layer_plan import Plan, plan_network
from deepspot_scale.networks.openvino.library import import_openvino
from deepspot_scale.networks.openvino.translate import translate, translate_model
from deepspot_scale.networks.weights import (
    Weights,
    find_weights,
    fitting_arrays,
    load_weights,
)
from deepspot_scale.plugins import NETWORKS, hash_plugin

TRANSLATION = 3
"""Version of `translate`; raised when the same network is translated otherwise."""


def cache_folder() -> Path:
    """Return the user's folder of exported networks."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("deepspot_scale"))


def openvino_file(weights: Weights, folder: Path | None = None) -> Path:
    """Return the exported network, exporting it if that was not done before.

    `folder` is where exported networks are kept; None: the user's cache folder.

    Raises
    ------
    WeightsError
        The network could not be exported.
    """
    exported = f"{weights.sha256[:16]}-openvino-{version('openvino')}-{TRANSLATION}"
    if code := hash_plugin(weights.family.name, NETWORKS):
        exported += f"-{code[:8]}"
    place = (folder or cache_folder()) / exported
    if weights.family.has_plan:
        plan = plan_network(weights.family.build, weights.architecture)
        layers = hashlib.sha256(repr(plan).encode()).hexdigest()
        planned = place.with_name(f"{place.name}-{layers[:8]}")
        return make_once(planned, partial(_write_planned, weights, plan))
    return make_once(place, partial(run_maker, weights, _EXPORT, (str(weights.path),)))


class Making(NamedTuple):
    """How a network is made of another one, in a process of its own."""

    module: str
    """Module that makes the network, run as a program of its own."""
    done: str
    """What it does, for messages."""
    instead: str
    """Options that a user can use instead."""


_EXPORT = Making(__name__, "exported to OpenVINO", "--engine keras")


def make_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return the network in a folder; `make` writes it to a path if not yet there."""
    target = folder / "net.xml"
    if target.exists():
        return target
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "new"
        made.mkdir()
        make(made / target.name)
        try:
            os.replace(made, folder)
        except OSError:
            # Another process was faster, and its file is just as good.
            if not target.exists():
                raise
    return target


def run_maker(
    weights: Weights, making: Making, source: tuple[str, ...], target: Path
) -> None:
    """Make a network in a process of its own.

    Raises
    ------
    WeightsError
        It could not be made; the last line of the process says why.
    """
    command = [sys.executable, "-m", making.module, *source, str(target)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, capture_output=True, env=quiet, check=False)
    if done.returncode or not target.exists():
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise WeightsError(
            f"{weights.path} could not be {making.done}: "
            f"{words[-1] if words else 'no message'}; use {making.instead}"
        )


def _write_planned(weights: Weights, plan: Plan, target: Path) -> None:
    _save(translate(plan, fitting_arrays(weights, plan.shapes)), target)


def _save(network: Any, target: Path) -> None:
    import_openvino().save_model(network, target, compress_to_fp16=False)


def export(model: str, target: str) -> None:
    """Export a model, by name or path, to an OpenVINO file; Keras builds it here."""
    weights = find_weights(model)
    network = weights.family.build(weights.architecture)
    load_weights(network, weights)
    translated = translate_model(network)
    _require_same(network, translated, weights.family)
    _save(translated, Path(target))


def _require_same(network: Any, translated: Any, family: Family) -> None:
    """Raise WeightsError if Keras and OpenVINO differ on an image of noise."""
    from keras import ops

    shape = (1, 4 * family.grid, 6 * family.grid, family.channels_in)
    image = np.random.default_rng(0).random(shape, np.float32)
    expected = ops.convert_to_numpy(network(image, training=False))
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = import_openvino().Core().compile_model(translated, "CPU", exact)
    answer = np.moveaxis(compiled([np.moveaxis(image, -1, 1)])[0], 1, -1)
    near = 1e-3 * max(1.0, float(np.abs(expected).max()))
    if answer.shape != expected.shape or not np.allclose(
        answer, expected, rtol=0, atol=near, equal_nan=True
    ):
        raise WeightsError(
            f"OpenVINO answers {answer.shape}, Keras {expected.shape}, or with other "
            "values: `openvino.translate` lacks an option of one of its layers"
        )


if __name__ == "__main__":
    export(sys.argv[1], sys.argv[2])
