"""U-FISH's network, cut where it looks at the whole image.

An ONNX file comes in; OpenVINO runs it. In two places the network weighs its channels
by their mean and largest value over the whole image, so what it answers on a piece
depends on how the image is cut. It is therefore taken apart there: the values are
measured piece by piece, agreed on, and given back, and a piece then answers what the
whole image would. Nothing here knows spots or fields. Source:
https://github.com/GangCaoLab/U-FISH, MIT.

    image -> encoder -> [mean, max] -> decoder -> [mean, max] -> last layers -> answer
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError, WeightsError
from deepspot_scale.networks.openvino.library import import_openvino

GRID: Final = 4
"""Stride of the network in pixels: pieces begin on multiples of it."""
REACH: Final = 56
"""Pixels around one that decide about it, beside the agreed values: 52 by its layers,
45 by an impulse; a multiple of `GRID`."""
N_POOLS: Final = 2
"""Places in which it looks at the whole image."""
_WEIGHTS: Final = "model/weights/v1.0-alldata-ufish_c32.onnx"
_STEPS: Final = 1 << 20
"""Means are summed in whole numbers of this part, so that the order of pieces does not
count."""


class Pools(NamedTuple):
    """What pieces say together about the whole image, in one place of the network."""

    totals: NDArray[np.int64]
    """(channels,), sums of values in units of `_STEPS`."""
    largest: NDArray[np.float32]
    """(channels,)."""
    n: int
    """Values in each channel."""

    def __add__(self, other: object) -> Pools:
        """Put the pieces' values together."""
        if not isinstance(other, Pools):
            return NotImplemented
        largest = np.maximum(self.largest, other.largest)
        return Pools(self.totals + other.totals, largest, self.n + other.n)

    @property
    def inputs(self) -> dict[str, NDArray[np.float32]]:
        """As the network takes them."""
        mean = (self.totals / (self.n * _STEPS)).astype(np.float32)
        shape = (1, -1, 1, 1)
        return {
            "ReduceMean": mean.reshape(shape),
            "ReduceMax": self.largest.reshape(shape),
        }


def weights_file(weights: str | None = None) -> Path:
    """Return the ONNX file: the one that is named, or that of the package ufish.

    Raises
    ------
    SettingsError
        There is no such file, or the package is not installed.
    """
    if weights is not None:
        path = Path(weights).absolute()
        if not path.is_file():
            raise SettingsError(
                f"there is no file {weights!r}; give U-FISH's ONNX file"
            )
        return path
    spec = find_spec("ufish")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise SettingsError(
            "the detector ufish needs U-FISH's ONNX file, which its package brings. "
            "Run: pip install --no-deps ufish; or name it: ufish:weights=FILE.onnx"
        )
    return Path(places[0], _WEIGHTS)


@dataclass
class UFishNetwork:
    """The network in its parts, compiled once for images of any shape.

    Compiled for one shape OpenVINO would divide the negative numbers by which maps of
    an odd size are cut in another way (down) than when it runs (towards 0), and the
    answer would be shifted by a pixel.
    """

    parts: tuple[Any, ...]
    """Requests: up to the first place where it looks at the whole image, up to the
    second, and up to the end, given what it looks at."""
    whole: Any
    """Request: the network as it is, for images that are not cut."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def measure(
        self,
        image: NDArray[np.float32],
        own: tuple[slice, slice],
        known: tuple[Pools, ...],
    ) -> Pools:
        """Return what a piece says about the whole image in the next place.

        Parameters
        ----------
        image
            (y, x) values 0 to 255, which begins on a multiple of `GRID` of the whole.
        own
            The pixels that the piece answers for; they begin on such a multiple and
            end on one or with the image.
        known
            What was agreed on in earlier places.
        """
        maps = self._run(image, known)
        step = -(-image.shape[0] // maps.shape[1])
        rows, columns = (slice(s.start // step, -(-s.stop // step)) for s in own)
        values = maps[:, rows, columns]
        whole = np.rint(values.astype(np.float64) * _STEPS).astype(np.int64)
        n = values.shape[1] * values.shape[2]
        return Pools(whole.sum((1, 2)), values.max((1, 2)), n)

    def enhance(
        self, image: NDArray[np.float32], known: tuple[Pools, ...] | None
    ) -> NDArray[np.float32]:
        """Return the enhanced piece (y, x), given what was agreed on in all places.

        `known` is None for an image that is not cut.
        """
        answer: NDArray[np.float32] = self._run(image, known)[0]
        return answer

    def _run(
        self, image: NDArray[np.float32], known: tuple[Pools, ...] | None
    ) -> NDArray[np.float32]:
        inputs: dict[str, Any] = {"image": np.ascontiguousarray(image)[None, None]}
        for place, pools in enumerate(known or ()):
            inputs |= {f"{kind}{place}": v for kind, v in pools.inputs.items()}
        with self.lock:
            request = self.whole if known is None else self.parts[len(known)]
            request.infer(inputs, share_inputs=True)
            answer: NDArray[np.float32] = request.get_output_tensor(0).data[0].copy()
        return answer


@lru_cache(maxsize=2)
def load_network(file: str, threads: int = 0) -> UFishNetwork:
    """Return the network of an ONNX file, loaded once in a process.

    Parameters
    ----------
    file
        Path.
    threads
        Processor threads; 0: all.

    Raises
    ------
    SettingsError
        OpenVINO is not installed.
    WeightsError
        The file cannot be read, or has another network.
    """
    if find_spec("openvino") is None:
        raise SettingsError("the detector ufish needs: pip install openvino")
    openvino = import_openvino()
    core = openvino.Core()
    # Pinned threads of all workers would run on the same first processors.
    hints: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    if threads:
        hints["INFERENCE_NUM_THREADS"] = threads
    try:
        parts = [_cut(openvino, core, file, n) for n in (*range(N_POOLS + 1), None)]
    except RuntimeError as error:
        raise WeightsError(f"{file} cannot be read as a network: {error}") from error
    requests = [
        core.compile_model(p, "CPU", hints).create_infer_request() for p in parts
    ]
    return UFishNetwork(tuple(requests[:-1]), requests[-1])


def _cut(openvino: Any, core: Any, file: str, part: int | None) -> Any:
    """Return one part of the network, which takes what earlier ones look at.

    None: the network as it is.
    """
    network = core.read_model(file)
    image = network.get_parameters()[0]
    image.output(0).set_names({"image"})
    by_source: dict[str, list[Any]] = {}
    for node in network.get_ordered_ops():
        if _looks_at_all(node):
            source = node.input_value(0).get_node().get_friendly_name()
            by_source.setdefault(source, []).append(node)
    places = list(by_source.values())
    kinds = [sorted(node.get_type_name() for node in nodes) for nodes in places]
    if kinds != [["ReduceMax", "ReduceMean"]] * N_POOLS:
        raise WeightsError(
            f"{file} is not U-FISH's network: expected {N_POOLS} places in which it "
            f"takes mean and maximum of the whole image, found {kinds}"
        )
    if part is None:
        return network
    given = [image]
    for place, nodes in enumerate(places[:part]):
        for node in nodes:
            name = f"{node.get_type_name()}{place}"
            shape = node.output(0).get_partial_shape()
            value = openvino.opset13.parameter([1, *list(shape)[1:]], np.float32, name)
            value.output(0).set_names({name})
            for target in list(node.output(0).get_target_inputs()):
                target.replace_source_output(value.output(0))
            given.append(value)
    if part == len(places):
        return openvino.Model(network.get_results(), given, "ufish")
    end = openvino.opset13.result(places[part][0].input_value(0))
    return openvino.Model([end], given, "ufish")


def _looks_at_all(node: Any) -> bool:
    """Return whether a node takes mean or maximum over all rows and columns."""
    if node.get_type_name() not in {"ReduceMean", "ReduceMax"}:
        return False
    before = node.input_value(0).get_partial_shape()
    after = node.output(0).get_partial_shape()
    return len(after) == 4 and all(
        after[axis].is_static
        and after[axis].get_length() == 1
        and before[axis].is_dynamic
        for axis in (2, 3)
    )
