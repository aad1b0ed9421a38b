"""The network in OpenVINO's own format, made once for each weights file and kept.

It is made in a process of its own, so that a CPU worker never loads Keras and
TensorFlow: that saves it ten seconds and half a gigabyte. Files are named by the
weights' SHA-256, OpenVINO's version and that of the translation, so a stale one is
never read. Nothing here runs a network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from deepspot_scale.errors import WeightsError
from deepspot_scale.networks.weights import Weights, find_weights, load_weights

TRANSLATION = 3
"""Counts the ways in which `translation` has put networks into operations."""


def cache_folder() -> Path:
    """Return the user's folder of exported networks."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("deepspot_scale"))


def openvino_file(
    weights: Weights, folder: Path | None = None, *, int8: bool = False
) -> Path:
    """Return the exported network, exporting it if that was not done before.

    Parameters
    ----------
    weights
        A verified weights file.
    folder
        Where exported networks are kept; None: the user's cache folder.
    int8
        Whether its quantised twin is wanted (see `quantisation`); needs NNCF.

    Raises
    ------
    WeightsError
        The network could not be exported or quantised.
    """
    kept = folder or cache_folder()
    exported = f"{weights.sha256[:16]}-openvino-{version('openvino')}-{TRANSLATION}"
    network = _make_once(kept / exported, weights, _EXPORT, weights.path)
    if not int8:
        return network
    from deepspot_scale.networks.openvino import quantise as quantisation

    made_by = f"nncf-{version('nncf')}-{quantisation.CALIBRATION}"
    quantised = kept / f"{exported}-{made_by}"
    return _make_once(quantised, weights, _QUANTISATION, network)


class _Making(NamedTuple):
    module: str
    """What makes the network, run as a program of its own."""
    done: str
    """What it does, for messages."""
    instead: str
    """What the user can do without it."""


_EXPORT = _Making(__name__, "exported to OpenVINO", "--engine keras")
_QUANTISATION = _Making(
    "deepspot_scale.networks.openvino.quantise", "quantised", "--precision float32"
)


def _make_once(folder: Path, weights: Weights, making: _Making, source: Path) -> Path:
    """Return the network in a folder, made from a file if not yet there."""
    target = folder / "net.xml"
    if target.exists():
        return target
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        _make_in_child(weights, making, source, Path(scratch) / "new" / "net.xml")
        try:
            os.replace(Path(scratch) / "new", folder)
        except OSError:
            # Another process was faster; its file is as good.
            if not target.exists():
                raise
    return target


def _make_in_child(
    weights: Weights, making: _Making, source: Path, target: Path
) -> None:
    target.parent.mkdir()
    command = [sys.executable, "-m", making.module, str(source), str(target)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, capture_output=True, env=quiet, check=False)
    if done.returncode or not target.exists():
        words = done.stderr.decode(errors="replace").strip().splitlines()
        raise WeightsError(
            f"{weights.path} could not be {making.done}: "
            f"{words[-1] if words else 'no message'}; use {making.instead}"
        )


def export(model: str, target: str) -> None:
    """Export a model, by name or path, to an OpenVINO file, in this process."""
    from deepspot_scale.networks.caso_resnet import build
    from deepspot_scale.networks.openvino.library import import_openvino
    from deepspot_scale.networks.openvino.translate import translate

    weights = find_weights(model)
    network = build(weights.architecture)
    load_weights(network, weights)
    openvino = import_openvino()
    openvino.save_model(translate(network), target, compress_to_fp16=False)


if __name__ == "__main__":
    export(sys.argv[1], sys.argv[2])
