"""The stage *rate*: how good an image is, from 0 to 1, in tiles fixed to the plane.

The shipped network foretells the detector's F1 on spots like those of the image; one
that was trained on an expert's scores tells the expert's. A plane's score is the mean
of its tiles', made of sums of whole numbers, so blocks give what the whole plane gives.
Where detection is foretold, tiles count by their bright pixels, about as F1 counts
them by their spots: a part without spots says little of how well spots are found.

    tiles    |0 0 0 0|1 1 1 1|          begin at multiples of their edge;
                         |2 2 2 2|      the last ends at the plane's end
    blocks   |a a a a a a|b b b b b b|  a tile is of the block where it begins

Blocks hand over their parts of tiles that lie in several blocks, so no block reads
more for this stage. Nothing here knows spots or what score is good enough.
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
    BACKGROUND,
    BRIGHTNESS,
    IMAGE,
    JOINT_NOISE,
)
from deepspot_scale.blockwise.batching import BatchedWork
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Pixels,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Work,
)
from deepspot_scale.blockwise.geometry import Box, Span
from deepspot_scale.blockwise.ratings import DISTANCE, RATING, Rating, rating_gives
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.background import TILE
from deepspot_scale.kernels.binning import bin_pixels, binning_for
from deepspot_scale.kernels.normalisation import NoiseScale
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
_LEAST_WEIGHT = 16
"""Bright pixels that every tile has at least, about those of a spot."""
_LEAST_IMAGED = 0.5
"""Share of a tile's pixels below which it says nothing, where not all were imaged."""


class Piece(NamedTuple):
    """A block's part of a tile that lies in several blocks."""

    tile: int
    """Its place in `tile_boxes`."""
    pixels: Pixels


_PIECES: Key[list[Piece]] = Key("rating_pieces")
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
    """Pixels along each axis that the network sees as one: for wide spots."""

    @classmethod
    def of(cls, engine: EngineChoice, layer: str = IMAGE, binning: int = 1) -> Rater:
        """Return the rater of a model.

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
        return cls(engine, model, layer, binning)

    @property
    def edge(self) -> int:
        """Edge of a tile in pixels of the image."""
        return self.model.tile * self.binning

    def _own(self, here: BlockContext) -> Iterator[tuple[int, Box]]:
        """Yield the tiles that begin in the block's core, with their numbers."""
        y, x = here.block.core.spans[-2:]
        for number, tile in enumerate(_tiles(here, self.edge)):
            begins = y.start <= tile.y.start < y.stop
            if begins and x.start <= tile.x.start < x.stop:
                yield number, tile

    def cut_pieces(self, here: BlockContext, _: Answers) -> list[Piece]:
        """Return the core's parts of tiles that are not in it as a whole."""
        core = here.block.core
        parts = [
            (number, tile.overlap(core))
            for number, tile in enumerate(_tiles(here, self.edge))
            if _meet(tile, core) and not tile.lies_in(core)
        ]
        if not parts:
            return []
        values = here.pixels(self.layer).values
        return [
            Piece(number, Pixels(part, values[part.within(core)]))
            for number, part in parts
        ]

    def _stack(
        self, here: BlockContext, agreed: Answers, number: int, tile: Box
    ) -> NDArray[Any]:
        """Return the counts (..., y, x) of a tile on all planes of the block."""
        core = here.block.core
        if tile.lies_in(core):
            values = here.pixels(self.layer).values
            return np.asarray(values[tile.within(core)])
        stack = np.empty(tile.shape, here.read.dtype(self.layer))
        for piece in agreed[_PIECES]:
            at, values = piece.pixels
            if piece.tile == number and at.lies_in(tile):  # else of other planes
                stack[at.within(tile)] = values
        return stack

    def _scales(self, here: BlockContext, agreed: Answers) -> list[NoiseScale]:
        """Return how each plane of the block is scaled."""
        medians = agreed[BACKGROUND][here.block.core.slices[:-2]]
        noise, fill = agreed[JOINT_NOISE], agreed[BRIGHTNESS].fill
        return [
            NoiseScale(plane, noise, fill, TILE * self.binning)
            for plane in medians.reshape(-1, *medians.shape[-2:])
        ]

    def _as_seen(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a tile (y, x) as the network sees it.

        A plane that is smaller than a tile is mirrored.
        """
        lacking = [(0, self.edge - length) for length in scaled.shape]
        if np.any(lacking):
            scaled = np.pad(scaled, lacking, mode="symmetric")
        return bin_pixels(scaled, self.binning)

    def _windows(
        self, here: BlockContext, agreed: Answers, number: int, tile: Box
    ) -> NDArray[np.float32]:
        """Return a tile (n, y, x) as the network sees it, on all of its planes."""
        counts = self._stack(here, agreed, number, tile)
        planes = counts.reshape(-1, *tile.shape[-2:])
        start = (tile.y.start, tile.x.start)
        scales = self._scales(here, agreed)
        return np.stack(
            [
                self._as_seen(scale(plane, start))
                for scale, plane in zip(scales, planes, strict=True)
            ]
        )

    def prepare(self, here: BlockContext, agreed: Answers) -> NDArray[np.float32]:
        """Return the windows (n, y, x) of the block's tiles, all planes of each."""
        own, core = list(self._own(here)), here.block.core
        scales, edge = self._scales(here, agreed), self.model.tile
        windows = np.empty((len(own), len(scales), edge, edge), np.float32)
        whole = [(at, tile) for at, (_, tile) in enumerate(own) if tile.lies_in(core)]
        for at, each in enumerate(own):
            if not each[1].lies_in(core):
                windows[at] = self._windows(here, agreed, *each)
        if whole:  # scaled together, which takes half of the time
            planes = here.pixels(self.layer).values.reshape(-1, *core.shape[-2:])
            for number, (scale, plane) in enumerate(zip(scales, planes, strict=True)):
                scaled = scale(plane, (core.y.start, core.x.start))
                for at, tile in whole:
                    part = scaled[tile.within(core)[-2:]]
                    windows[at, number] = self._as_seen(part)
        return windows.reshape(-1, edge, edge)

    def predict(self, given: Sequence[NDArray[np.float32]]) -> list[Any]:
        """Return weights and answers (n, 1 + channels) to the windows of each block."""
        images = [window[..., None] for windows in given for window in windows]
        if not images:
            return [np.zeros((0, 1 + len(self.model.outputs))) for _ in given]
        answers = iter_predictions(get_engine(self.engine), images)
        found = np.stack(
            [
                np.append(self._weight(image), answer[0, 0])
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

    def finish(
        self, here: BlockContext, agreed: Answers, answers: NDArray[Any]
    ) -> Rating:
        """Return the ratings of the block's tiles."""
        weights, answers = answers[:, :1].astype(np.int64), answers[:, 1:]
        if not np.isfinite(answers).all():
            raise FieldError(
                f"the network {self.engine.model} rates a tile as NaN; are its weights "
                "those of a training that ended well?"
            )
        own, planes = list(self._own(here)), _plane_numbers(here)
        places = [
            (plane, tile.y.start, tile.x.start, *tile.shape[-2:])
            for _, tile in own
            for plane in planes
        ]
        imaged = [self._imaged(here, agreed, *each) for each in own]
        kept = np.concatenate([*imaged, np.ones(0, bool)])
        scores = np.where(kept[:, None], self.model.score(answers), -1)
        table = np.array(places, np.int64).reshape(-1, 5)
        return Rating(np.concatenate([table, weights, scores], axis=1))

    def _imaged(
        self, here: BlockContext, agreed: Answers, number: int, tile: Box
    ) -> NDArray[np.bool_]:
        """Return of each plane whether enough of a tile was imaged."""
        fill, n = agreed[BRIGHTNESS].fill, len(_plane_numbers(here))
        if fill is None:
            return np.ones(n, bool)
        counts = self._stack(here, agreed, number, tile).reshape(n, -1)
        return np.asarray((counts != fill).mean(axis=1) >= _LEAST_IMAGED)

    def look(self, here: BlockContext, agreed: Answers) -> NDArray[np.float64]:
        """Return the features (n, 7) of some tiles of the middle plane."""
        looked_at = _looked_at(here.shape, self.edge)
        number = _middle_plane(here.shape)
        planes = _plane_numbers(here)
        found = [
            self.model.features(self._windows(here, agreed, *own)[planes.index(number)])
            for own in self._own(here)
            if self.model.domain and own[0] in looked_at and number in planes
        ]
        return np.array(found, np.float64).reshape(-1, 7)

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
        needed: tuple[Key[Any], ...] = (_PIECES, BRIGHTNESS, BACKGROUND, JOINT_NOISE)
        batched = BatchedWork(self.prepare, self.predict, self.finish)
        reads = {self.layer: 0}
        look = Step(
            _FEATURES,
            self.look,
            reads,
            agreed=needed,
            settles=DISTANCE,
            combine=_joined,
            finalize=self.distance,
        )
        cut = Step(_PIECES, self.cut_pieces, reads)
        rate = Step(RATING, batched, reads, agreed=needed, finalize=_in_order)
        gives = rating_gives(self.model.outputs, least)
        return Work((cut, rate, look), gives, stacks=True, networks=(self.engine,))


def _tiles(here: BlockContext, edge: int) -> list[Box]:
    """Return the plane's tiles, on all planes of the block."""
    core = here.block.core
    return [
        Box((*core.spans[:-2], *tile.spans), core.axes)
        for tile in tile_boxes((here.shape[-2], here.shape[-1]), edge)
    ]


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

    use: bool = Field(default=False, description="Rate how good each image is, 0 to 1.")
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
