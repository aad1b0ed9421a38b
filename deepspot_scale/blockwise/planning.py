"""From what stages declare to a pipeline: order, rounds, halos, what leaves the field.

The work of some stages comes in, a `Pipeline` goes out: pure arithmetic on
declarations, no pixels. Nothing here knows what any step does.

    round 0    a    b        steps of one round need only their own block
               |    |
    ------- the field agrees -------
               |    |
    round 1    c -> d        d reads the layer that c gives: c makes it on d's margin

A step comes one round after what it wants the field to agree on, and in the round of
what it uses of its own block. A layer is made as far around the core as its readers
look, so no pixel travels between blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from deepspot_scale.blockwise.contract import (
    Count,
    Key,
    Layer,
    Mean,
    Step,
    Table,
    Work,
)
from deepspot_scale.blockwise.geometry import (
    DEFAULT_BLOCK,
    Blocks,
    Margin,
    margin_along,
    plan_blocks,
)
from deepspot_scale.errors import SettingsError
from deepspot_scale.vocabulary import Column

Reach = dict[str, int]
"""Pixels around a core, by axis."""


@dataclass(frozen=True)
class PlannedStep:
    """A step in its round."""

    step: Step
    stage: str
    """Whose it is."""
    reach: Margin
    """Of a layer: how far around the core later steps read it, in its own pixels."""
    shared: bool
    """Whether the field's answer is wanted."""
    kept: bool
    """Whether the layer's pixels leave the field."""
    scales: Mapping[str, Fraction]
    """Of the layers that it reads: pixels for each pixel of the image."""

    @property
    def scale(self) -> Fraction:
        """Of the layer that it gives; 1 for other answers."""
        gives = self.step.gives
        return Fraction(gives.scale) if isinstance(gives, Layer) else Fraction(1)


@dataclass(frozen=True)
class Round:
    """Steps that need only their own block and what the field agreed on before."""

    steps: tuple[PlannedStep, ...]
    """In an order in which each finds what it uses."""
    carries: frozenset[str]
    """Names of the block's answers that later rounds use."""


@dataclass(frozen=True)
class Pipeline:
    """All rounds of one plane, the blocks they need, and what they give."""

    rounds: tuple[Round, ...]
    stages: tuple[str, ...]
    """Names of the stages at work, in the order in which they were given."""
    tables: tuple[Table, ...]
    counts: tuple[Count, ...]
    means: tuple[Mean, ...]
    layers: tuple[Layer, ...]
    """Layers whose pixels leave the field."""
    reads: Mapping[str, Margin]
    """Stored layers, and how far around a core they decide about its answers."""
    halo: Margin
    """The same of all stored images together: what a block's window adds."""
    grid: int
    """Stride that block origins keep along y and x."""
    block: int
    """Largest edge of a block along y and x in pixels."""
    axes: str
    """Axes of a block."""
    networks: tuple[Any, ...]
    """Engines that workers load before their first field."""

    def blocks(self, shape: tuple[int, ...]) -> Blocks:
        """Return the blocks of a field of this shape along `axes`."""
        return plan_blocks(
            shape, block=self.block, halo=self.halo, grid=self.grid, axes=self.axes
        )

    @property
    def makes_volumes(self) -> bool:
        """Whether a step gives labels with a depth."""
        given = (planned.step.gives for each in self.rounds for planned in each.steps)
        return any(isinstance(key, Layer) and key.deep for key in given)

    @property
    def field_columns(self) -> tuple[Column, ...]:
        """Columns that this pipeline adds to the table of fields."""
        counts = (Column(c.name, "int64", c.meaning) for c in self.counts)
        means = (Column(m.name, "float64", m.meaning) for m in self.means)
        times = (
            Column(
                f"seconds_{stage}",
                "float64",
                f"of it, in the stage {stage}; NaN: blocks on several workers",
            )
            for stage in self.stages
        )
        return (*counts, *means, *times)


@dataclass(frozen=True)
class _Node:
    step: Step
    stage: str

    @property
    def name(self) -> str:
        return self.step.gives.name

    @property
    def layer(self) -> Layer | None:
        return self.step.gives if isinstance(self.step.gives, Layer) else None


def plan_pipeline(
    works: Mapping[str, Work],
    *,
    images: Sequence[str] = ("image",),
    labels: Sequence[str] = (),
    given: Iterable[Key[Any]] = (),
    wanted: Iterable[Key[Any]] = (),
    block: int = DEFAULT_BLOCK,
) -> Pipeline:
    """Put the work of some stages together.

    Parameters
    ----------
    works
        By the stages' names.
    images, labels
        Layers that are stored. How far around a core labels are read does not decide
        about windows.
    given
        Answers of the field that are known beforehand.
    wanted
        Answers and layers that are wanted beside tables, counts and kept layers.
    block
        Largest edge of a block in pixels.

    Raises
    ------
    SettingsError
        A layer or an answer that is read and not given, or is given twice; a circle;
        stages of different axes; a layer that is made for nobody.
    """
    nodes = _collect(works, (*images, *labels))
    graph = _Graph(nodes, {*images, *labels}, {key.name for key in given})
    tables = _choose_tables(works, graph)
    leaving = [each for work in works.values() for each in work.gives]
    counts = tuple(each for each in leaving if isinstance(each, Count))
    means = tuple(each for each in leaving if isinstance(each, Mean))
    numbers: tuple[Count | Mean, ...] = (*counts, *means)
    roots = graph.steps_of(wanted).union(*(graph.steps_of(t.agreed) for t in tables))
    roots |= graph.steps_of(number.of for number in numbers)
    kept = {n.name for n in nodes.values() if n.layer and n.layer.keep}
    kept |= {name for name in roots if name in nodes and nodes[name].layer}
    order, levels = graph.arrange(roots | kept)
    _refuse_idle(works, set(order))
    reach = graph.reaches(order)
    agreed = roots.union(*(graph.field_needs(name) for name in order))
    rounds: list[list[PlannedStep]] = [
        [] for _ in range(1 + max(levels.values(), default=-1))
    ]
    last = dict(levels)
    for name in order:
        node = nodes[name]
        joined = node.layer is not None and node.layer.joined
        for other in graph.block_needs(name):
            last[other] = max(last[other], levels[name])
        rounds[levels[name]].append(
            PlannedStep(
                node.step,
                node.stage,
                {} if joined else reach.get(name, {}),
                shared=joined or (node.layer is None and name in agreed),
                kept=name in kept and not joined,
                scales={layer: graph.scale(layer) for layer in node.step.reads},
            )
        )
    at_work = {nodes[name].stage for name in order}
    return Pipeline(
        tuple(
            Round(
                tuple(steps),
                frozenset(n for n in order if levels[n] <= number < last[n]),
            )
            for number, steps in enumerate(rounds)
        ),
        tuple(stage for stage in works if stage in at_work),
        tables,
        counts,
        means,
        tuple(layer for n in order if n in kept and (layer := nodes[n].layer)),
        {name: reach[name] for name in (*images, *labels) if name in reach},
        _widest(reach.get(name, {}) for name in images),
        _common_grid(works),
        block,
        _common_axes(works),
        tuple(e for s, w in works.items() if s in at_work for e in w.networks),
    )


def _collect(works: Mapping[str, Work], stored: Sequence[str]) -> dict[str, _Node]:
    nodes: dict[str, _Node] = {}
    for stage, work in works.items():
        for step in work.steps:
            name = step.gives.name
            if name in nodes:
                raise SettingsError(
                    f"the stages {nodes[name].stage} and {stage} both give {name!r}; "
                    "use one of them"
                )
            if name in stored:
                raise SettingsError(
                    f"the stage {stage} gives {name!r}, and the field has {name!r} "
                    "too; use one of them"
                )
            nodes[name] = _Node(step, stage)
    return nodes


@dataclass(frozen=True)
class _Graph:
    """Who needs what."""

    nodes: Mapping[str, _Node]
    """By the name of the block's answer."""
    stored: set[str]
    given: set[str]

    @cached_property
    def _settled(self) -> dict[str, str]:
        """Name of the step by that of the field's answer."""
        return {node.step.field_key.name: name for name, node in self.nodes.items()}

    def steps_of(self, keys: Iterable[Key[Any]]) -> set[str]:
        """Return the steps that settle answers of the field, but for given ones."""
        names = {key.name for key in keys} - self.given
        return {self._settled.get(name, name) for name in names}

    def block_needs(self, name: str) -> set[str]:
        """Return the steps whose answer on the same block a step needs."""
        step = self.nodes[name].step
        made = {layer for layer in step.reads if not self._is_joined(layer)}
        return {key.name for key in step.uses} | (made - self.stored)

    def field_needs(self, name: str) -> set[str]:
        """Return the steps on whose answer the field must have agreed before."""
        step = self.nodes[name].step
        joined = {layer for layer in step.reads if self._is_joined(layer)}
        return self.steps_of(step.agreed) | joined

    def _is_joined(self, layer: str) -> bool:
        made = self.nodes[layer].layer if layer in self.nodes else None
        return made is not None and made.joined

    def arrange(self, roots: set[str]) -> tuple[list[str], dict[str, int]]:
        """Return all steps that roots need, in order, and the round of each."""
        levels: dict[str, int] = {}
        path: list[str] = []

        def visit(name: str, reader: str) -> int:
            if name in path:
                circle = " -> ".join([*path[path.index(name) :], name])
                raise SettingsError(f"steps wait for one another in a circle: {circle}")
            if name not in levels:
                self._require(name, reader)
                path.append(name)
                stage = self.nodes[name].stage
                waits = [visit(n, stage) for n in sorted(self.block_needs(name))]
                waits += [1 + visit(n, stage) for n in sorted(self.field_needs(name))]
                path.pop()
                levels[name] = max(waits, default=0)
            return levels[name]

        unknown = sorted(roots - set(self.nodes))
        for name in (*(n for n in self.nodes if n in roots), *unknown):
            visit(name, "")
        return sorted(levels, key=levels.__getitem__), levels

    def _require(self, name: str, reader: str) -> None:
        if name in self.nodes:
            return
        known = ", ".join(sorted({*self.nodes, *self.stored}))
        if not reader:
            raise SettingsError(
                f"{name!r} is wanted, and no stage gives it; there are {known}"
            )
        raise SettingsError(
            f"the stage {reader} reads {name!r}, which no stage gives and the field "
            f"does not have; there are {known}"
        )

    def needed_for(self, keys: Iterable[Key[Any]]) -> set[str]:
        """Return the steps that answers of the field need."""
        return set(self.arrange(self.steps_of(keys))[0])

    def reaches(self, order: Sequence[str]) -> dict[str, Reach]:
        """Return how far around a core each layer is read, in its own pixels."""
        reach: dict[str, Reach] = {}
        for name in reversed(order):
            node = self.nodes[name]
            own = {} if node.layer and node.layer.joined else reach.get(name, {})
            for layer, margin in node.step.reads.items():
                to = self.scale(layer) / self.scale(name)
                axes = {*"yx", *own, *(() if isinstance(margin, int) else margin)}
                for axis in axes:
                    grown = math.ceil(own.get(axis, 0) * (to if axis in "yx" else 1))
                    wide = margin_along(margin, axis) + grown
                    known = reach.setdefault(layer, {})
                    known[axis] = max(known.get(axis, 0), wide)
        return reach

    def scale(self, name: str) -> Fraction:
        """Return the pixels of a layer for each pixel of the image."""
        made = self.nodes[name].layer if name in self.nodes else None
        return Fraction(made.scale) if made else Fraction(1)


def _choose_tables(works: Mapping[str, Work], graph: _Graph) -> tuple[Table, ...]:
    """Return the tables; of one name the one that is made of the other's answers."""
    chosen: dict[str, tuple[str, Table]] = {}
    for stage, work in works.items():
        for table in (each for each in work.gives if isinstance(each, Table)):
            if table.name in chosen:
                other, before = chosen[table.name]
                if not graph.steps_of(before.agreed) <= graph.needed_for(table.agreed):
                    raise SettingsError(
                        f"the stages {other} and {stage} both give the table "
                        f"{table.name!r}; use one of them"
                    )
            chosen[table.name] = stage, table
    return tuple(table for _, table in chosen.values())


def _refuse_idle(works: Mapping[str, Work], used: set[str]) -> None:
    for stage, work in works.items():
        names = {step.gives.name for step in work.steps}
        keys = [step.gives for step in work.steps]
        layers = [k.name for k in keys if isinstance(k, Layer) and not k.offered]
        if layers and not names & used:
            raise SettingsError(
                f"the stage {stage} makes the layer {layers[0]!r}, which no stage "
                f"reads and the run does not keep; leave it out (--no-{stage}), "
                "or choose methods that read it"
            )


def _widest(reaches: Iterable[Reach]) -> Reach:
    widest: Reach = {}
    for reach in reaches:
        for axis, pixels in reach.items():
            widest[axis] = max(widest.get(axis, 0), pixels)
    return widest


def _common_grid(works: Mapping[str, Work]) -> int:
    """Return the grid on which cores of coarser layers tile the field too."""
    gives = (step.gives for work in works.values() for step in work.steps)
    scales = [Fraction(layer.scale) for layer in gives if isinstance(layer, Layer)]
    return math.lcm(
        *(work.grid for work in works.values()),
        *(scale.denominator for scale in scales),
    )


def _common_axes(works: Mapping[str, Work]) -> str:
    axes = max((work.axes for work in works.values()), key=len, default="yx")
    for stage, work in works.items():
        fits = work.axes == axes or (work.stacks and axes.endswith(work.axes))
        if not fits:
            raise SettingsError(
                f"the stage {stage} works on {work.axes}, another one on {axes}; use "
                "stages of the same axes"
            )
    return axes
