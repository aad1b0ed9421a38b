"""The rounds of a field as one Dask graph, of as many tasks as its blocks need.

A planned pipeline, blocks and what reads them come in; delayed answers and Dask arrays
go out, and nothing is computed. All tasks of a field are one layer of the graph,
written as plain data: `dask.delayed` would copy at every call what its arguments are
made of, and so cost the square of the number of blocks. Nothing here knows what the
steps do.

    chunks of lazy layers -> cuts -> round 0, block 0 ... n -> shares -> agreed
                                     round 1, block 0 ... n   <----------'
                                          `- pieces -> chunks of the layers that leave
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import (
    Answers,
    Layer,
    Pixels,
    Reader,
    scaled_shape,
)
from deepspot_scale.blockwise.geometry import Block, Blocks
from deepspot_scale.blockwise.planning import Pipeline, Round
from deepspot_scale.blockwise.rounds import (
    BlockAnswer,
    combine_shares,
    finalize_round,
    run_block,
    with_planes,
)

if TYPE_CHECKING:
    from dask.highlevelgraph import HighLevelGraph

FAN_IN = 16
"""Partial answers that one task combines."""
GraphKey = tuple[str | int, ...]


class Tasks:
    """One layer of a graph, written task by task.

    A task is a tuple of a function and its arguments: keys, lists of keys, tasks. What
    is known beforehand is bound to the function, where Dask does not look for keys.
    """

    def __init__(self) -> None:
        self.token = uuid4().hex
        self.by_key: dict[GraphKey, Any] = {}

    def add(self, what: str, function: Callable[..., Any], *arguments: Any) -> GraphKey:
        """Write one task, `what` being its kind in Dask's pages; return its key."""
        key = f"{what}-{self.token}", len(self.by_key)
        self.by_key[key] = (function, *arguments)
        return key

    def graph(self, *below: HighLevelGraph) -> HighLevelGraph:
        """Return the graph of these tasks, which may need those of graphs below."""
        return layered(self.token, self.by_key, *below)


def layered(
    name: str, tasks: Mapping[Any, Any], *below: HighLevelGraph
) -> HighLevelGraph:
    """Return some graphs as one, with a layer of tasks on top that may need them."""
    from dask.highlevelgraph import HighLevelGraph

    layers: dict[str, Any] = {}
    needs: dict[str, Any] = {}
    for each in below:
        layers |= each.layers
        needs |= each.dependencies
    needs[name] = set(layers)
    layers[name] = tasks
    graph: HighLevelGraph = HighLevelGraph(layers, needs)
    return graph


def defer_rounds(
    pipeline: Pipeline,
    blocks: Blocks,
    read_at: Callable[[Block], Any],
    given: Answers | None = None,
    below: HighLevelGraph | None = None,
) -> tuple[Any, dict[str, list[Any]]]:
    """Return delayed answers of the field, and delayed pieces of its layers.

    Nothing is computed. The answers are those of `reduce_rounds`, to the last bit.

    Parameters
    ----------
    pipeline, blocks, given
        As in `reduce_rounds`.
    read_at
        Gives each block's `Reader`, or the task that makes one from keys of `below`: a
        tuple of a function and its arguments.
    below
        The graph of these keys.

    Returns
    -------
    answers
        `dask.delayed` value of `Answers`, without layers that are kept in pieces.
    pieces
        For each layer that is kept in pieces, delayed `Pixels` of each block's core.
    """
    from dask.delayed import Delayed

    tasks = Tasks()
    readers = [read_at(block) for block in blocks.blocks]
    agreed: Any = given or Answers()
    answers: list[Any] = [BlockAnswer() for _ in blocks.blocks]
    pieces: dict[str, list[GraphKey]] = {}
    for round_ in pipeline.rounds:
        answers = [
            tasks.add("run_block", partial(_run, round_, block, blocks.shape), *values)
            for block, *values in zip(
                blocks.blocks, readers, [agreed] * len(readers), answers, strict=True
            )
        ]
        for name in (each.step.gives.name for each in round_.steps if each.kept):
            pick = partial(_piece, name)
            pieces[name] = [tasks.add("piece", pick, answer) for answer in answers]
        total = _combine_all(tasks, round_, answers)
        agreed = tasks.add("finalize_round", partial(_finalize, round_), total, agreed)
    graph = tasks.graph(*([] if below is None else [below]))
    # All of them share the one graph: nothing is copied for a piece.
    delayed_pieces = {
        name: [Delayed(key, graph, layer=tasks.token) for key in keys]
        for name, keys in pieces.items()
    }
    return Delayed(agreed, graph, layer=tasks.token), delayed_pieces


def _combine_all(tasks: Tasks, round_: Round, answers: Sequence[GraphKey]) -> GraphKey:
    level = [tasks.add("shares", _shares, answer) for answer in answers]
    combine = partial(combine_shares, round_)
    while len(level) > 1:
        groups = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
        level = [tasks.add("combine_shares", combine, group) for group in groups]
    return level[0]


def _run(
    round_: Round,
    block: Block,
    shape: tuple[int, ...],
    read: Reader,
    agreed: Answers,
    before: BlockAnswer,
) -> BlockAnswer:
    return run_block(round_, block, shape, read, agreed, before.carried)


def _shares(answer: BlockAnswer) -> dict[str, Any]:
    return answer.shares


def _piece(name: str, answer: BlockAnswer) -> Pixels:
    return answer.pieces[name]


def _finalize(round_: Round, total: Mapping[str, Any], agreed: Answers) -> Answers:
    return finalize_round(round_, total, agreed)


def join_pieces(
    pipeline: Pipeline, answers: Any, pieces: Mapping[str, Sequence[Any]]
) -> Any:
    """Return what `reduce_rounds` gives, delayed, of what `defer_rounds` gives."""
    from dask.delayed import Delayed

    tasks = Tasks()
    keys = [[piece.key for piece in of_layer] for of_layer in pieces.values()]
    join = partial(_join, pipeline, tuple(pieces))
    key = tasks.add("join_pieces", join, answers.key, keys)
    return Delayed(key, tasks.graph(answers.dask), layer=tasks.token)


def _join(
    pipeline: Pipeline,
    names: tuple[str, ...],
    answers: Answers,
    pieces: Sequence[Sequence[Pixels]],
) -> Answers:
    return with_planes(answers, pipeline, dict(zip(names, pieces, strict=True)))


def layer_arrays(
    pipeline: Pipeline, blocks: Blocks, answers: Any, pieces: Mapping[str, list[Any]]
) -> dict[str, Any]:
    """Return the layers that leave the field as Dask arrays, chunked by cores."""
    return {
        layer.name: _joined_array(layer, blocks, answers)
        if layer.joined
        else _array_of_cores(layer, blocks, answers, pieces[layer.name])
        for layer in pipeline.layers
    }


def _joined_array(layer: Layer, blocks: Blocks, answers: Any) -> Any:
    shape = scaled_shape(blocks.shape, Fraction(layer.scale))
    task = (partial(_get, layer.name), answers.key)
    chunks = tuple((length,) for length in shape)
    return _array(layer, chunks, {(0,) * len(shape): task}, answers.dask)


def _array_of_cores(
    layer: Layer, blocks: Blocks, answers: Any, pieces: Sequence[Any]
) -> Any:
    cores = [block.core.scaled(Fraction(layer.scale)) for block in blocks.blocks]
    spans = [
        sorted({core.spans[axis] for core in cores})
        for axis in range(len(blocks.shape))
    ]
    places = [{span: number for number, span in enumerate(along)} for along in spans]
    by_place = {
        tuple(at[span] for at, span in zip(places, core.spans, strict=True)): (
            _values,
            piece.key,
        )
        for core, piece in zip(cores, pieces, strict=True)
    }
    chunks = tuple(tuple(stop - start for start, stop in along) for along in spans)
    return _array(layer, chunks, by_place, answers.dask)


def _array(
    layer: Layer,
    chunks: tuple[tuple[int, ...], ...],
    by_place: Mapping[tuple[int, ...], Any],
    below: HighLevelGraph,
) -> Any:
    import dask.array as da

    name = f"{layer.name}-{uuid4().hex}"
    tasks = {(name, *place): task for place, task in by_place.items()}
    return da.Array(layered(name, tasks, below), name, chunks, layer.dtype)


def _get(name: str, answers: Answers) -> Any:
    return answers.by_name[name]


def _values(piece: Pixels) -> NDArray[Any]:
    return piece.values
