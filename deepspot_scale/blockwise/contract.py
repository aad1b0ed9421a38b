"""What a stage declares: the words by which a pipeline is put together.

A **stage** is one verb. From its options it makes **work**: steps on a block, and the
tables, layers and counts that they give. A **step** says which layers it reads and how
far around its block, which answers of its block it uses, and what the whole field must
have agreed on before it starts. Order, rounds, halos, columns and files are derived
from this by `planning`; no stage states them. Nothing here knows any particular stage,
and nothing here runs.

    layer    pixels on the field's grid, or on a finer or coarser one: image, cells
    answer   anything else that a step gives, reached by its key
    table    rows that leave the field, with declared columns
    count    a number that leaves the field, a column of the table of fields
    mean     another one, which is averaged over the field's planes
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deepspot_scale.blockwise.geometry import Block, Box, Margin
from deepspot_scale.config import Strict
from deepspot_scale.errors import ContractError
from deepspot_scale.vocabulary import Column

if TYPE_CHECKING:
    import pandas as pd

    from deepspot_scale.vocabulary import PlaneIdentity

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Key(Generic[T]):
    """The name of an answer, and the type of what it reaches."""

    name: str


class Pixels(NamedTuple):
    """A layer's pixels that stand somewhere in a field."""

    box: Box
    """Where, on the layer's own grid."""
    values: NDArray[Any]
    """The pixels, of the box's shape."""


@dataclass(frozen=True)
class Layer(Key[Pixels]):
    """Pixels that a step gives: later steps read them as they read stored ones."""

    dtype: str = "float32"
    scale: Fraction | int = 1
    """Pixels of the layer along y and x for each pixel of the image."""
    labels: bool = False
    """Whether its numbers name objects."""
    deep: bool = False
    """Of labels in a stack: whether each plane has its own; else they are flat, and
    those of one plane hold for all."""
    keep: bool = False
    """Whether a run writes it beside its tables."""
    joined: bool = False
    """Whether it can be read only once the step's `finalize` has made the whole plane
    of it, as labels of objects that reach over blocks can."""
    folder: str = ""
    """Name in a run folder; empty: its own."""
    offered: bool = False
    """Whether nothing is amiss where no stage reads it."""

    @property
    def stored_name(self) -> str:
        """Name of the layer in a run folder."""
        return self.folder or self.name


class Answers:
    """Answers by their keys; of a block, or of the whole field."""

    def __init__(self, by_name: Mapping[str, Any] | None = None) -> None:
        self.by_name: dict[str, Any] = dict(by_name or {})

    def __getitem__(self, key: Key[T]) -> T:
        try:
            answer: T = self.by_name[key.name]
        except KeyError:
            raise ContractError(
                f"the answer {key.name!r} is not there; a step names what it uses of "
                "its block in `uses`, and what the field agreed on in `agreed`"
            ) from None
        return answer

    def __setitem__(self, key: Key[T], answer: T) -> None:
        self.by_name[key.name] = answer

    def __contains__(self, key: Key[Any]) -> bool:
        return key.name in self.by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self.by_name)

    def only(self, keys: tuple[Key[Any], ...]) -> Answers:
        """Return those of some keys, as far as they are there."""
        own = self.by_name
        return Answers({key.name: own[key.name] for key in keys if key.name in own})


class Reader(Protocol):
    """Gives the pixels of one plane of a field."""

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return the pixels of the layer `name` in `box`, inside the field."""

    def has(self, name: str) -> bool:
        """Return whether there is such a layer."""

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return its dtype, without reading it."""


@dataclass(frozen=True)
class BlockContext:
    """All that a step may see of its block."""

    block: Block
    """Which block."""
    shape: tuple[int, ...]
    """The field's pixels along its axes, y and x last."""
    read: Reader
    """Layers that the step reads, stored or made."""
    answers: Answers
    """Answers of this block that the step uses."""
    wanted: Box
    """Of a step that gives a layer: where its pixels are wanted, on the layer's grid.
    That is the core, and what later steps read around it."""

    def pixels(self, layer: str, margin: Margin = 0) -> Pixels:
        """Return a layer of the image's grid on the core and `margin` around it."""
        box = self.block.core.grow(margin, self.shape)
        return Pixels(box, self.read(layer, box))


def scaled_shape(shape: tuple[int, ...], scale: Fraction) -> tuple[int, ...]:
    """Return the shape of a layer whose image has the shape (..., y, x)."""
    return (*shape[:-2], *(math.ceil(n * scale) for n in shape[-2:]))


def everything(answer: Any) -> Any:
    """Share the block's answer as it is."""
    return answer


def _total(total: Any, _: Answers) -> Any:
    return total


@dataclass(frozen=True)
class Step:
    """One action on one block, and how the blocks' answers make the field's.

    `combine` must not care about grouping, and about order only as far as
    `finalize` mends it. All parts can be pickled. What a step neither reads nor uses
    by declaration it cannot reach.
    """

    gives: Key[Any]
    """Key of the answer; a `Layer` for pixels."""
    chunk: Callable[[BlockContext, Answers], Any]
    """The block's answer, given the block and what the field agreed on; `Pixels` on
    `BlockContext.wanted` for a layer. May be `BatchedWork`."""
    reads: Mapping[str, Margin] = field(default_factory=dict)
    """Layers by name, and how far around the step's own pixels, in the layer's
    pixels."""
    uses: tuple[Key[Any], ...] = ()
    """Answers of the same block."""
    agreed: tuple[Key[Any], ...] = ()
    """Answers of the whole field."""
    settles: Key[Any] | None = None
    """Key of the field's answer; None: that of the block's."""
    share: Callable[[Any], Any] = everything
    """Takes from the block's answer what the field needs."""
    combine: Callable[[Any, Any], Any] = operator.add
    """Merges two shares."""
    finalize: Callable[[Any, Answers], Any] = _total
    """Makes the field's answer of the merged shares, given `agreed`."""

    @property
    def field_key(self) -> Key[Any]:
        """Key of the field's answer."""
        return self.settles or self.gives


@dataclass(frozen=True)
class Table:
    """Rows that leave the field: a table of the run."""

    name: str
    """Its folder in a run."""
    columns: tuple[Column, ...]
    agreed: tuple[Key[Any], ...]
    """Answers of the field that it is made of."""
    make: Callable[[Answers, PlaneIdentity], pd.DataFrame]
    """Gives the rows of one plane."""


@dataclass(frozen=True)
class Count:
    """A number that leaves the field: a column of the table of fields."""

    name: str
    meaning: str
    """For people, as in `vocabulary.Column`."""
    of: Key[Any]
    """Answer of the field that holds it."""
    count: Callable[[Any], int]
    """Takes it from that answer."""


@dataclass(frozen=True)
class Mean:
    """A number that leaves the field: its mean over the planes is a column."""

    name: str
    """Column of the table of fields, float64; NaN: no plane has the number."""
    meaning: str
    """For people, as in `vocabulary.Column`."""
    of: Key[Any]
    """Answer of the field that holds it."""
    value: Callable[[Any], float]
    """Takes it from that answer; NaN: the plane has none."""


@dataclass(frozen=True)
class Work:
    """What a stage does in one run."""

    steps: tuple[Step, ...]
    gives: tuple[Table | Count | Mean, ...] = ()
    """What leaves the field, beside layers that are kept."""
    grid: int = 1
    """Stride that block origins must keep, in pixels."""
    axes: str = "yx"
    """Axes of a block; planes along any other axis are looped over."""
    stacks: bool = False
    """Whether a block may have further axes in front, which the steps then loop over
    themselves."""
    networks: tuple[Any, ...] = ()
    """Engines that workers load before their first field."""
    image: str | None = None
    """Layer that later stages take for the image; None: they keep theirs."""


class StageOptions(Strict):
    """Options of a stage: its table in a configuration file, its flags, its help."""

    use: bool = Field(default=True, description="Run this stage.")


@dataclass(frozen=True)
class RunContext:
    """What a stage is told beside its own options."""

    layers: frozenset[str] = frozenset({"image"})
    """Layers that are stored, or given by an earlier stage."""
    in_volume: bool = False
    """Whether a stack is taken as one image."""
    answers: frozenset[str] = frozenset()
    """Names of the answers that earlier stages give."""
    image: str = "image"
    """Layer in which brightness is measured and spots are found: the stored image, or
    one that an earlier stage makes of it."""
    channel: str = "0"
    """Name or index of the run's first channel."""
    enhanced_by: str | None = None
    """Model of the earlier stage that gives the enhanced image."""
    spot_sigma: float | None = None
    """Standard deviation of the spots in pixels, where the user gave it."""
    device: Any = "auto"
    """Where networks must run."""
    threads: int = 0
    """Processor threads for networks; 0: all."""


def _nothing(_: Any) -> Mapping[str, Mapping[str, str]]:
    return {}


@dataclass(frozen=True)
class Stage:
    """One verb, as `pipeline.STAGES` lists it or an entry point names it."""

    name: str
    """Its table in settings, and its column of seconds."""
    options: type[StageOptions]
    plan: Callable[[Any, RunContext], Work | None]
    """Given its options, the work; None where there is nothing for it to do."""
    sources: Callable[[Any], Mapping[str, Mapping[str, str]]] = _nothing
    """Given its options, the files that decide about its answer, by role: ``name`` and
    ``sha256`` of networks and plug-ins. A run does not mix two versions of them."""
