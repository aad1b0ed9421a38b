"""The stage *rate*: how good an image is, from 0 to 1, in tiles fixed to the plane.

The shipped network foretells the detector's F1 on spots like those of the image; one
that was trained on an expert's scores tells the expert's. A plane's score is the mean
of its tiles', made of sums of whole numbers, so blocks give what the whole plane gives.
Where detection is foretold, tiles count by their bright pixels, about as F1 counts
them by their spots: a part without spots says little of how well spots are found.

    tiles    |0 0 0 0|1 1 1 1|          begin at multiples of their edge;
                         |2 2 2 2|      the last ends at the plane's end
    blocks   |a a a a a a|b b b b b b|  a tile is of the block where it begins

Tiles that lie in one block are rated there. Of the others blocks hand over their parts,
so no block reads more for this stage. The network sees the image scaled by its noise,
and, if its family has two channels, the enhanced one beside it, of which it can tell
what the detector makes of the image. Nothing here knows spots or what score is good
enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deepspot_scale.blockwise.answers import (
    BRIGHTNESS,
    ENHANCED,
    IMAGE,
    SCALED,
    Brightness,
)
from deepspot_scale.blockwise.batching import BatchedWork
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Work,
)
from deepspot_scale.blockwise.geometry import Box, Span
from deepspot_scale.blockwise.ratings import DISTANCE, RATING, Rating, rating_gives
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.binning import bin_window, binning_for
from deepspot_scale.kernels.image_features import FEATURES
from deepspot_scale.networks.engine_types import AUTO, EngineChoice, Precision
from deepspot_scale.networks.engines import (
    find_loader,
    get_engine,
    iter_predictions,
    network_sources,
)
from deepspot_scale.networks.rater_models import (
    DEFAULT_RATER,
    RaterModel,
    find_rater,
)
from deepspot_scale.networks.weights import find_weights

_LOOKED_AT = ((0, 1), (1, 2), (2, 0))
"""Row and column, in thirds of the plane, of tiles that are compared with the training
images: each takes as long as the network takes for a fifth of the plane's tiles."""
_BRIGHT = float(np.arcsinh(4 / 3) / 2)
"""Above it a pixel is bright: four times the noise above its background."""
_LEAST_WEIGHT = 4
"""Bright pixels, as the network sees them, that every tile has at least, about those of
a spot."""
_LEAST_IMAGED = 0.5
"""Share of a tile's pixels below which it says nothing, where not all were imaged."""


class Piece(NamedTuple):
    """A block's part of a tile that lies in several blocks."""

    tile: int
    """Its place in `tile_boxes`."""
    box: Box
    """The part."""
    seen: tuple[NDArray[np.float32], ...]
    """Its pixels in each layer that the network sees."""
    n_imaged: NDArray[np.int64]
    """Of each plane, how many pixels were imaged."""


_PIECES: Key[list[Piece]] = Key("rating_pieces")
_WHOLE: Key[Rating] = Key("rating_of_whole_tiles")
_LOOKED: Key[NDArray[np.float64]] = Key("rating_features_of_whole_tiles")
_FEATURES: Key[NDArray[np.float64]] = Key("rating_features")


def tile_boxes(shape: tuple[int, int], edge: int) -> list[Box]:
    """Return the tiles of a plane, row by row; shorter only where the plane is.

    Examples
    --------
    >>> [tuple(box.x) for box in tile_boxes((3, 10), 4)]
    [(0, 4), (4, 8), (6, 10)]
    """
    spans = []
    for length in shape:
        starts = [min(at, max(0, length - edge)) for at in range(0, length, edge)]
        spans.append([Span(start, min(start + edge, length)) for start in starts])
    return [Box(pair) for pair in product(*spans)]


@dataclass(frozen=True)
class Rater:
    """The network on the tiles of one block."""

    engine: EngineChoice
    """Which network, and how it is run."""
    model: RaterModel
    """How its answer is read."""
    layer: str
    """The image that is rated: that in which spots are found."""
    binning: int = 1
    """Pixels along each axis that the network sees as one: its family's, and more for
    wide spots."""

    @classmethod
    def of(cls, engine: EngineChoice, layer: str = IMAGE, binning: int = 1) -> Rater:
        """Return the rater of a model; `binning` is that for wide spots.

        Raises
        ------
        SettingsError
            The model rates no images, or scales them in another way.
        WeightsError
            No such model.
        """
        weights = find_weights(engine.model)
        model = find_rater(weights)
        if weights.family.normalisation != "noise":
            raise SettingsError(
                f"{engine.model} scales images by {weights.family.normalisation}; a "
                "rater scales them by their noise"
            )
        return cls(engine, model, layer, binning * model.binning)

    @property
    def edge(self) -> int:
        """Edge of a tile in pixels of the image."""
        return self.model.tile * self.binning

    @property
    def seen(self) -> tuple[str, ...]:
        """The layers that are the network's channels."""
        enhanced = (ENHANCED.name,) if self.model.sees_enhanced else ()
        return (SCALED.name, *enhanced)

    # -- tiles that lie in one block ---------------------------------------------------

    def _whole(self, here: BlockContext) -> Iterator[tuple[int, Box]]:
        """Yield the tiles that lie in the block's core, with their numbers."""
        core = here.block.core
        for number, tile in enumerate(_tiles(here, self.edge)):
            if tile.lies_in(core):
                yield number, tile

    def prepare_whole(self, here: BlockContext, _: Answers) -> NDArray[np.float32]:
        """Return the windows (n, y, x, channels) of whole tiles, all planes of each."""
        layers = [here.pixels(name).values for name in self.seen]
        core = here.block.core
        cut = [
            [layer[tile.within(core)] for layer in layers]
            for _, tile in self._whole(here)
        ]
        return self._windows(cut)

    def finish_whole(
        self, here: BlockContext, agreed: Answers, answers: NDArray[Any]
    ) -> Rating:
        """Return the ratings of whole tiles."""
        whole, bright = list(self._whole(here)), agreed[BRIGHTNESS]
        imaged = [self._count_imaged(here, tile, bright) for _, tile in whole]
        return self._rate(here, whole, imaged, answers)

    def look(self, here: BlockContext, _: Answers) -> NDArray[np.float64]:
        """Return the features (n, 7) of some whole tiles of the middle plane."""
        if not (plane := self._plane_looked_at(here)):
            return np.zeros((0, len(FEATURES)))
        scaled, core = here.pixels(SCALED.name).values, here.block.core
        looked_at = _looked_at(here.shape, self.edge)
        cut = [
            [scaled[tile.within(core)]]
            for number, tile in self._whole(here)
            if number in looked_at
        ]
        return self._features(self._windows(cut)[plane - 1 :: _n_planes(here)])

    # -- tiles that lie in several blocks ----------------------------------------------

    def cut_pieces(self, here: BlockContext, agreed: Answers) -> list[Piece]:
        """Return the core's parts of tiles that are not in it as a whole."""
        core, bright = here.block.core, agreed[BRIGHTNESS]
        parts = [
            (number, tile.overlap(core))
            for number, tile in enumerate(_tiles(here, self.edge))
            if _meet(tile, core) and not tile.lies_in(core)
        ]
        if not parts:
            return []
        layers = [here.pixels(name).values for name in self.seen]
        return [
            Piece(
                number,
                part,
                tuple(layer[part.within(core)] for layer in layers),
                self._count_imaged(here, part, bright),
            )
            for number, part in parts
        ]

    def _pieced(
        self, here: BlockContext, agreed: Answers
    ) -> Iterator[tuple[int, Box, list[Piece]]]:
        """Yield the other tiles that begin in the block's core, with their pieces."""
        core, pieces = here.block.core, agreed[_PIECES]
        y, x = core.spans[-2:]
        for number, tile in enumerate(_tiles(here, self.edge)):
            begins = y.start <= tile.y.start < y.stop
            if begins and x.start <= tile.x.start < x.stop and not tile.lies_in(core):
                parts = [each for each in pieces if each.tile == number]
                # Else it is of other planes.
                yield number, tile, [each for each in parts if each.box.lies_in(tile)]

    def _put_together(self, tile: Box, pieces: Sequence[Piece]) -> list[NDArray[Any]]:
        """Return what the network sees of a tile, a stack (..., y, x) each."""
        stacks = [np.empty(tile.shape, np.float32) for _ in pieces[0].seen]
        for piece in pieces:
            for stack, values in zip(stacks, piece.seen, strict=True):
                stack[piece.box.within(tile)] = values
        return stacks

    def prepare_pieced(
        self, here: BlockContext, agreed: Answers
    ) -> NDArray[np.float32]:
        """Return the windows (n, y, x, channels) of the other tiles, as of whole."""
        return self._windows(
            [self._put_together(*each[1:]) for each in self._pieced(here, agreed)]
        )

    def finish_pieced(
        self, here: BlockContext, agreed: Answers, answers: NDArray[Any]
    ) -> Rating:
        """Return the ratings of all tiles that begin in the block's core."""
        pieced = list(self._pieced(here, agreed))
        tiles = [(number, tile) for number, tile, _ in pieced]
        imaged = [
            np.sum([piece.n_imaged for piece in pieces], axis=0)
            for *_, pieces in pieced
        ]
        return here.answers[_WHOLE] + self._rate(here, tiles, imaged, answers)

    def look_again(self, here: BlockContext, agreed: Answers) -> NDArray[np.float64]:
        """Return the features (n, 7) of all tiles that are looked at."""
        known = here.answers[_LOOKED]
        if not (plane := self._plane_looked_at(here)):
            return known
        looked_at = _looked_at(here.shape, self.edge)
        cut = [
            self._put_together(tile, pieces)[:1]
            for number, tile, pieces in self._pieced(here, agreed)
            if number in looked_at
        ]
        windows = self._windows(cut)[plane - 1 :: _n_planes(here)]
        return np.concatenate([known, self._features(windows)])

    # -- both --------------------------------------------------------------------------

    def _windows(self, cut: Sequence[Sequence[NDArray[Any]]]) -> NDArray[np.float32]:
        """Return the windows (n, y, x, channels) of tiles, all planes of each.

        Of each tile come its channels (..., y, x). A plane that is smaller than a tile
        is mirrored.
        """
        edge = self.model.tile
        planes = [
            channels
            for layers in cut
            for channels in zip(
                *(layer.reshape(-1, *layer.shape[-2:]) for layer in layers), strict=True
            )
        ]
        n_channels = len(planes[0]) if planes else len(self.seen)
        # Channels first, as engines on processors want them: no later copy.
        windows = np.empty((len(planes), n_channels, edge, edge), np.float32)
        for window, channels in zip(windows, planes, strict=True):
            for own, channel in zip(window, channels, strict=True):
                own[:] = self._as_seen(channel)
        return np.moveaxis(windows, 1, -1)

    def _as_seen(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        lacking = [(0, self.edge - length) for length in plane.shape]
        if np.any(lacking):
            plane = np.pad(plane, lacking, mode="symmetric")
        return bin_window(plane, self.binning)

    def _count_imaged(
        self, here: BlockContext, box: Box, bright: Brightness
    ) -> NDArray[np.int64]:
        """Return how many pixels of each plane of a box were imaged.

        None was where all of an image's are alike.
        """
        n = _n_planes(here)
        if bright.fill is None:
            known = np.prod(box.shape[-2:]) * (bright.high > bright.low)
            return np.full(n, known, np.int64)
        core = here.block.core
        counts = here.pixels(self.layer).values[box.within(core)].reshape(n, -1)
        return np.asarray(np.count_nonzero(counts != bright.fill, axis=1))

    def predict(self, given: Sequence[NDArray[np.float32]]) -> list[Any]:
        """Return weights and answers (n, 1 + channels) to the windows of each block."""
        images = [window for windows in given for window in windows]
        if not images:
            return [np.zeros((0, 1 + len(self.model.outputs))) for _ in given]
        answers = iter_predictions(get_engine(self.engine), images)
        found = np.stack(
            [
                np.append(self._weight(image[..., 0]), answer[0, 0])
                for image, answer in zip(images, answers, strict=True)
            ]
        )
        ends = np.cumsum([len(windows) for windows in given])
        return np.split(found, ends[:-1])

    def _weight(self, window: NDArray[np.float32]) -> int:
        """Return how much a tile counts in its image; an expert sees all alike."""
        if not self.model.foretells_detection:
            return 1
        return max(_LEAST_WEIGHT, int(np.count_nonzero(window > _BRIGHT)))

    def _rate(
        self,
        here: BlockContext,
        tiles: Sequence[tuple[int, Box]],
        imaged: Sequence[NDArray[np.int64]],
        answers: NDArray[Any],
    ) -> Rating:
        """Return the ratings of tiles, given how many of their pixels were imaged."""
        weights, answers = answers[:, :1].astype(np.int64), answers[:, 1:]
        if not np.isfinite(answers).all():
            raise FieldError(
                f"the network {self.engine.model} rates a tile as NaN; are its weights "
                "those of a training that ended well?"
            )
        places = [
            (plane, tile.y.start, tile.x.start, *tile.shape[-2:])
            for _, tile in tiles
            for plane in _plane_numbers(here)
        ]
        table = np.array(places, np.int64).reshape(-1, 5)
        share = np.array(imaged, np.int64).reshape(-1) / table[:, 3:].prod(axis=1)
        kept = share >= _LEAST_IMAGED
        scores = np.where(kept[:, None], self.model.score(answers), -1)
        return Rating(np.concatenate([table, weights, scores], axis=1))

    def _plane_looked_at(self, here: BlockContext) -> int:
        """Return which plane of the block is looked at, from 1 on; 0: none."""
        planes, middle = _plane_numbers(here), _middle_plane(here.shape)
        known = self.model.domain is not None and middle in planes
        return 1 + planes.index(middle) if known else 0

    def _features(self, windows: NDArray[np.float32]) -> NDArray[np.float64]:
        found = [self.model.features(window[..., 0]) for window in windows]
        return np.array(found, np.float64).reshape(-1, len(FEATURES))

    def distance(self, features: NDArray[np.float64], _: Answers) -> float:
        """Return how far the plane lies from the training images; NaN: not known."""
        if self.model.domain is None or not len(features):
            return float("nan")
        # In one order, whichever block was first.
        ordered = features[np.lexsort(features.T)]
        return self.model.domain.distance_of(ordered).ratio

    def work(self, least: float | None = None) -> Work:
        """Return the steps to `RATING` and `DISTANCE`, and what leaves the field.

        `least` is the score below which an image is counted as left out.
        """
        reads = dict.fromkeys((self.layer, *self.seen), 0)
        known: tuple[Key[Any], ...] = (BRIGHTNESS,)
        whole = BatchedWork(self.prepare_whole, self.predict, self.finish_whole)
        pieced = BatchedWork(self.prepare_pieced, self.predict, self.finish_pieced)
        steps = (
            Step(_WHOLE, whole, reads, agreed=known),
            Step(_LOOKED, self.look, {SCALED.name: 0}),
            Step(_PIECES, self.cut_pieces, reads, agreed=known),
            Step(RATING, pieced, uses=(_WHOLE,), agreed=(_PIECES,), finalize=_in_order),
            Step(
                _FEATURES,
                self.look_again,
                uses=(_LOOKED,),
                agreed=(_PIECES,),
                settles=DISTANCE,
                combine=_joined,
                finalize=self.distance,
            ),
        )
        gives = rating_gives(self.model.outputs, least)
        return Work(steps, gives, stacks=True, networks=(self.engine,))


def _tiles(here: BlockContext, edge: int) -> list[Box]:
    """Return the plane's tiles, on all planes of the block."""
    core = here.block.core
    return [
        Box((*core.spans[:-2], *tile.spans), core.axes)
        for tile in tile_boxes((here.shape[-2], here.shape[-1]), edge)
    ]


def _n_planes(here: BlockContext) -> int:
    return int(np.prod(here.block.core.shape[:-2], dtype=int))


def _meet(one: Box, other: Box) -> bool:
    pairs = zip(one.spans, other.spans, strict=True)
    return all(a.start < b.stop and b.start < a.stop for a, b in pairs)


def _plane_numbers(here: BlockContext) -> list[int]:
    """Return the numbers of the block's planes in the field's stack; of a plane 0."""
    spans, shape = here.block.core.spans[:-2], here.shape[:-2]
    if not shape:
        return [0]
    places = np.ix_(*(np.arange(*span) for span in spans))
    return [int(n) for n in np.ravel_multi_index(places, shape).ravel()]


def _middle_plane(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape[:-2], dtype=int)) // 2


def _looked_at(shape: tuple[int, ...], edge: int) -> set[int]:
    """Return the numbers of tiles that stand for all, spread over the plane."""
    rows, columns = (-(-length // edge) for length in shape[-2:])
    return {
        (2 * row + 1) * rows // 6 * columns + (2 * column + 1) * columns // 6
        for row, column in _LOOKED_AT
    }


def _joined(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([one, other])


def _in_order(rating: Rating, _: Answers) -> Rating:
    return rating.in_order()


class RateOptions(StageOptions):
    """Whether images are rated, and by which network."""

    use: bool = Field(
        default=False,
        description="Rate how good each image is, 0 to 1. The shipped rater looks at "
        "the enhanced image, which is made for it where nothing else wants it.",
    )
    rater: str = Field(
        default=DEFAULT_RATER,
        description="What rates: a shipped model, or a weights file of the family "
        "rater.",
    )
    rater_engine: str = Field(
        default=AUTO,
        description="What runs it: auto, keras, openvino, or module:attribute.",
    )
    rater_precision: Precision = Field(
        default="auto", description="Number format of the rater."
    )
    min_quality: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Least score of an image that counts in the statistics; its spots "
        "and cells stay in their tables.",
    )


def plan_rating(options: RateOptions, context: RunContext) -> Work:
    """Return the stage's work.

    Raises
    ------
    SettingsError
        No such engine, or a model that rates no images.
    WeightsError
        No such model.
    """
    engine = EngineChoice(
        options.rater,
        options.rater_engine,
        options.rater_precision,
        context.device,
        context.threads,
    )
    if engine.engine != AUTO:
        find_loader(engine.engine)
    rater = Rater.of(engine, context.image, binning_for(context.spot_sigma))
    return rater.work(options.min_quality)


def find_sources(options: RateOptions) -> Mapping[str, Mapping[str, str]]:
    """Return the weights, and the engine where it is a plug-in."""
    roles = ("rater", "rater engine")
    return network_sources(options.rater, options.rater_engine, roles=roles)


RATE = Stage("rate", RateOptions, plan_rating, find_sources)
