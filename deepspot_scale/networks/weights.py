"""Weights files: which there are, whether they are whole, how they are read.

A weights file is a safetensors file of arrays and a little text, so reading one runs no
code from it. The text names the family (without a name it is caso_resnet) and holds the
architecture; the arrays are in the order of the network's own list. Arrays of a judge
may stand beside them, which tells spots from other dots of a field. Shipped models are
listed in ``models.json`` with their SHA-256 and are part of the package. Nothing here
knows how a network is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepspot_scale.errors import WeightsError, did_you_mean
from deepspot_scale.kernels.populations import Judge
from deepspot_scale.networks.engine_types import DEFAULT_MODEL
from deepspot_scale.networks.families import CASO_RESNET, Family, find_family

if TYPE_CHECKING:
    import keras

SHIPPED = Path(__file__).parent / "models"
_JUDGE = "judge."
"""Begins the names of the judge's arrays."""


@dataclass(frozen=True)
class Weights:
    """A verified weights file."""

    name: str
    """Name of a shipped model, or the file's own stem."""
    path: Path
    """Path of the file."""
    sha256: str
    """Hex digest of the whole file, which identifies it in provenance and caches."""
    family: Family
    """Family of the network."""
    architecture: Any
    """The network these weights belong to, of the type `family.architecture`."""
    about: dict[str, str]
    """Free text stored with the weights: training recipe, steps, versions."""


def shipped_models() -> dict[str, dict[str, str]]:
    """Return the shipped models: name to file, sha256 and one line of description."""
    listed: dict[str, dict[str, str]] = json.loads(
        (SHIPPED / "models.json").read_text(encoding="utf-8")
    )
    return listed


def find_weights(model: str | Path = DEFAULT_MODEL) -> Weights:
    """Find a model by name or path and check that its file is whole.

    It is the name of a shipped model, or the path of a ``.safetensors`` file.

    Raises
    ------
    WeightsError
        The model does not exist, its file is damaged, its family is unknown, or it has
        no architecture.
    """
    listed = shipped_models()
    entry = listed.get(str(model))
    path = SHIPPED / entry["file"] if entry else Path(model)
    if not path.is_file():
        raise WeightsError(
            f"no model {str(model)!r}: expected one of {sorted(listed)} or the path "
            f"of a .safetensors file.{did_you_mean(str(model), listed)}"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if entry and digest != entry["sha256"]:
        raise WeightsError(
            f"{path} is damaged: SHA-256 {digest[:12]}..., expected "
            f"{entry['sha256'][:12]}...; install the package again"
        )
    about = _read_text(path)
    try:
        family = find_family(about.pop("family", CASO_RESNET.name))
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    try:
        text = json.loads(about.pop("architecture"))
        architecture = family.architecture.from_dict(text)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path} names no architecture of the family {family.name}; was it "
            "written by deepspot_scale?"
        ) from error
    name = str(model) if entry else path.stem
    return Weights(name, path, digest, family.of(architecture), architecture, about)


def _read_text(path: Path) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except SafetensorError as error:
        raise WeightsError(f"{path} is no whole safetensors file: {error}") from error


def write_weights(  # noqa: PLR0913 - arrays, and what is known of them
    path: Path,
    arrays: Sequence[np.ndarray[Any, np.dtype[Any]]],
    architecture: Any,
    *,
    family: Family = CASO_RESNET,
    dtype: str = "float32",
    about: dict[str, str] | None = None,
    judge: Judge | None = None,
) -> None:
    """Write the arrays of ``model.get_weights()`` with their architecture to one file.

    `dtype` ``"float16"`` halves the file; batch statistics then keep three digits. The
    judge is one that was fitted to what this network answers. Equal arguments give
    equal bytes, by whose hash a run knows its network again.
    """
    from safetensors.numpy import save

    stored = {
        f"{number:04d}": np.ascontiguousarray(array, dtype)
        for number, array in enumerate(arrays)
    }
    if judge is not None:
        stored |= {_JUDGE + name: values for name, values in judge.arrays().items()}
    text = {"family": family.name, "architecture": json.dumps(architecture.to_dict())}
    path.write_bytes(_in_order(save(stored, metadata={**text, **(about or {})})))


def _in_order(file: bytes) -> bytes:
    """Return a safetensors file whose header has its words in order, not by chance."""
    n = int.from_bytes(file[:8], "little")
    header = json.dumps(json.loads(file[8 : 8 + n]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)  # arrays begin at a multiple of 8 bytes
    return len(header).to_bytes(8, "little") + header + file[8 + n :]


def read_arrays(weights: Weights) -> list[np.ndarray[Any, np.dtype[Any]]]:
    """Return the stored arrays in the order of ``model.weights``, as float32."""
    from safetensors.numpy import load_file

    stored = load_file(weights.path)
    own = sorted(key for key in stored if not key.startswith(_JUDGE))
    return [stored[key].astype(np.float32) for key in own]


def stored_dtype(weights: Weights) -> str:
    """Return the dtype in which the network's arrays are stored."""
    from safetensors import safe_open

    with safe_open(weights.path, framework="numpy") as file:
        return str(file.get_tensor(min(file.keys())).dtype)


def read_judge(weights: Weights) -> Judge | None:
    """Return the judge of a model, or None where it has none.

    Raises
    ------
    WeightsError
        Its arrays are no judge of this version.
    """
    from safetensors import safe_open

    with safe_open(weights.path, framework="numpy") as file:
        arrays = {
            name.removeprefix(_JUDGE): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118 - the file is no dictionary
            if name.startswith(_JUDGE)
        }
    if not arrays:
        return None
    try:
        return Judge.from_arrays(arrays)
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{weights.path} has a judge of spots that this version cannot use: {error}"
        ) from error


def fitting_arrays(
    weights: Weights, shapes: Sequence[tuple[int, ...]]
) -> list[np.ndarray[Any, np.dtype[Any]]]:
    """Return what `read_arrays` does, if it has these shapes.

    Raises
    ------
    WeightsError
        The file does not hold the arrays of the architecture.
    """
    arrays = read_arrays(weights)
    if [array.shape for array in arrays] != list(shapes):
        raise WeightsError(
            f"{weights.path} does not fit its architecture: {len(arrays)} arrays, "
            f"expected {len(shapes)} of other shapes"
        )
    return arrays


def load_weights(model: keras.Model, weights: Weights) -> None:
    """Fill `model`, built from ``weights.architecture``, with the stored arrays.

    Raises
    ------
    WeightsError
        The file does not hold the arrays of the architecture.
    """
    shapes = [tuple(variable.shape) for variable in model.weights]
    model.set_weights(fitting_arrays(weights, shapes))
