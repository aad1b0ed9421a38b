"""The stage *segment*: labels of nuclei and cells, made in the run.

Each kind of object is found by one method in one channel, for the whole plane; blocks
then draw their part of the labels. So an object is never merged with another one at a
seam, nor split. Later stages read the labels as they read stored ones.

    nuclei   plane of the channel -> network or plug-in -> objects -> labels
    cells    plane of the channel, nuclei -> grown, or plug-in     -> labels

Of a stack the plane is the brightest pixel along z, and labels are flat: they hold for
all planes. Only a plug-in that takes volumes is given the stack itself, and its labels
have a depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from deepspot_scale.blockwise.answers import CELLS, NUCLEI, PIXEL_UM
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Count,
    Key,
    Layer,
    Pixels,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Work,
)
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.cell_growth import grow_cells
from deepspot_scale.kernels.object_size import bin_plane, scale_plane
from deepspot_scale.kernels.objects import draw_labels
from deepspot_scale.networks.engine_types import AUTO, EngineChoice, Precision
from deepspot_scale.networks.engines import find_loader, network_sources
from deepspot_scale.networks.segmenters import (
    Segmenter,
    find_segmenter,
    hash_files,
)
from deepspot_scale.networks.star_models import find_star_model
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.plugins import SEGMENTERS, hash_plugin
from deepspot_scale.stages.segmentation.found import (
    DrawCells,
    DrawObjects,
    Found,
    Grown,
    count_objects,
)
from deepspot_scale.stages.segmentation.planes import (
    NucleiPlane,
    Plane,
    in_pixels,
    plane_step,
    put_flat,
)
from deepspot_scale.stages.segmentation.plugin import Owned, PluginObjects
from deepspot_scale.stages.segmentation.stacks import Stack, stack_step
from deepspot_scale.stages.segmentation.stars import StarNetwork

_CELL_SHARE = 3.0
"""Largest distance of a cell's pixel from its nucleus, in diameters of a nucleus."""
_NUCLEUS_PX = 14.0
"""Diameter of a nucleus in pixels of the plane on which cells are grown."""
_USUAL_PX = 40.0
"""Diameter of a nucleus in pixels where it is not known."""
KINDS: Mapping[str, Layer] = {"nuclei": NUCLEI, "cells": CELLS}
"""What can be segmented, and the layer that it gives."""
_FOUND: Mapping[str, Key[Found]] = {
    kind: Key(f"{kind}_found") for kind in ("nuclei", "cells")
}
_PLANE: Mapping[str, Key[Plane]] = {
    kind: Key(f"{kind}_plane") for kind in ("nuclei", "cells")
}
_STACK: Mapping[str, Key[Stack]] = {
    kind: Key(f"{kind}_stack") for kind in ("nuclei", "cells")
}
_GROWN: Key[Grown] = Key("cells_grown")


class Segment(NamedTuple):
    """What is segmented, in which channel, and by what."""

    kind: str
    """nuclei or cells."""
    channel: str | None
    """None: the run's first channel."""
    plugin: str | None
    """``module:attribute`` or an entry point; None: the built-in method."""


def read_segment(word: str) -> Segment:
    """Read ``nuclei:DAPI``, ``cells:PLUGIN@FISH`` or ``cells:module:attribute``.

    PLUGIN is ``module:attribute`` or the name of an entry point; without an @ a name is
    that of a channel. Raises ValueError if it is none of these.
    """
    kind, colon, what = word.partition(":")
    if kind not in KINDS or not colon or not what:
        raise ValueError(
            f"segment reads nuclei:CHANNEL, cells:CHANNEL, or a plug-in, such as "
            f"cells:module:attribute@CHANNEL; got {word!r}"
        )
    plugin, at, channel = what.partition("@")
    if not at and ":" not in what:
        return Segment(kind, what, None)
    if not plugin:
        raise ValueError(f"segment names no plug-in before the @ of {word!r}")
    return Segment(kind, channel or None, plugin)


class SegmentOptions(StageOptions):
    """What is segmented, and how."""

    use: Literal[True] = True
    segments: tuple[str, ...] = Field(
        default=(),
        description="Labels to make in the run: nuclei:DAPI, cells:FISH, or by a "
        "plug-in, cells:module:attribute@FISH or cells:PLUGIN@FISH.",
    )
    nucleus_um: float | None = Field(
        default=None,
        gt=0,
        description="Typical diameter of a nucleus, micrometres; else measured.",
    )
    cell_um: float | None = Field(
        default=None,
        gt=0,
        description="Largest distance of a cell's pixel from its nucleus, micrometres; "
        "else 3 diameters of a nucleus.",
    )
    nuclei_model: str = Field(
        default="nuclei", description="Name of a shipped model, or a weights file."
    )
    nuclei_engine: str = Field(
        default=AUTO,
        description="What runs it: auto, keras, openvino, or module:attribute.",
    )
    nuclei_precision: Precision = Field(
        default="auto", description="Number format of the network of nuclei."
    )

    @field_validator("segments")
    @classmethod
    def _readable(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        kinds = [read_segment(word).kind for word in words]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"segment names {kind} twice")
        grown = [s for s in map(read_segment, words) if s.kind == "cells"]
        if grown and grown[0].plugin is None and "nuclei" not in kinds:
            raise ValueError(
                "cells are grown from nuclei: add --segment nuclei:CHANNEL, or take a "
                "plug-in that finds cells alone"
            )
        return words

    @property
    def made(self) -> dict[str, Segment]:
        """What is segmented, by its kind; nuclei first."""
        read = {each.kind: each for each in map(read_segment, self.segments)}
        return {kind: read[kind] for kind in KINDS if kind in read}


def _reduced(pieces: list[Pixels], agreed: Answers) -> Plane:
    """Return the plane of cells, reduced by the size of the nuclei."""
    whole = put_flat(pieces)
    diameter = agreed[_PLANE["nuclei"]].diameter
    binning = max(1, round((diameter or _USUAL_PX) / _NUCLEUS_PX))
    shape = (whole.shape[0], whole.shape[1])
    return Plane(bin_plane(whole, binning), binning, shape, diameter)


def _as_it_is(pieces: list[Pixels], _: Answers) -> Plane:
    """Return the scaled plane, not reduced, for a plug-in."""
    whole = put_flat(pieces)
    shape = (whole.shape[0], whole.shape[1])
    return Plane(scale_plane(whole)(whole), 1, shape, None)


def _nothing(_here: BlockContext, _: Answers) -> int:
    return 0


def _grow(_: int, agreed: Answers, *, cell_um: float | None) -> Grown:
    """Return the plane's cells."""
    found, plane = agreed[_FOUND["nuclei"]], agreed[_PLANE["cells"]]
    labels = draw_labels(found.objects, [0, 0], plane.shape)
    k = plane.binning
    height, width = plane.image.shape
    rows = np.minimum(np.arange(height) * k + k // 2, plane.shape[0] - 1)
    columns = np.minimum(np.arange(width) * k + k // 2, plane.shape[1] - 1)
    small = labels[np.ix_(rows, columns)]
    far = _CELL_SHARE * (plane.diameter or _USUAL_PX) / k
    if cell_um is not None:
        far = in_pixels(cell_um, agreed, "--cell-um") / k
    cells = grow_cells(small, plane.image, far=far)
    return Grown(cells.labels, k, cells.source, count_objects(found))


def _n_grown(grown: Grown) -> int:
    return grown.n if grown.source == "grown" else 0


def _n_claimed(found: Found) -> int:
    return found.n_claimed


def _n_cut(found: Found) -> int:
    return found.n_cut


def _n_unsized(found: Found) -> int:
    return int(found.unsized)


def _n_unlike(found: Found) -> int:
    return int(found.unlike)


def _counts(kind: str) -> tuple[Count, ...]:
    key = _FOUND[kind]
    return (
        Count(
            f"n_segmented_{kind}", f"{kind} segmented in the run", key, count_objects
        ),
        Count(
            f"n_claimed_{kind}",
            f"pixels that two {kind} claimed; the more certain one has them",
            key,
            _n_claimed,
        ),
    )


_CUT = "{} that may be cut, since they are larger than the plug-in declares"
_UNSIZED = "planes in which the size of nuclei could not be measured"
_UNLIKE = "planes unlike those that the network of nuclei was trained on"


def _segmenter_of(segment: Segment) -> Segmenter:
    name = str(segment.plugin)
    try:
        return find_segmenter(name)
    except SettingsError as error:
        if ":" in name:
            raise
        raise SettingsError(
            f"{error} If {name}@{segment.channel} is the name of a channel, give the "
            "channel's number"
        ) from error


def _by_plugin(kind: str, segment: Segment, channel: str) -> Work:
    name, found = str(segment.plugin), _FOUND[kind]
    segmenter = _segmenter_of(segment)
    cores: Key[list[Pixels]] = Key(f"{kind}_cores")
    if segmenter.volume:
        look = stack_step(channel, cores, _STACK[kind])
    else:
        look = plane_step(channel, cores, _PLANE[kind], _as_it_is)
    owned: Key[Owned] = Key(f"{kind}_owned")
    method = PluginObjects(name, segmenter, look.field_key, owned, found)
    layer = replace(KINDS[kind], deep=segmenter.volume)
    steps = (look, method.step(), DrawObjects(found).step(layer))
    cut = Count(f"n_cut_{kind}", _CUT.format(kind), found, _n_cut)
    gives = (*_counts(kind), cut)
    return Work(steps, gives, axes=segmenter.axes, stacks=True)


def _check_depth(options: SegmentOptions, context: RunContext) -> None:
    """Raise SettingsError for a segmenter of volumes where it cannot be used."""
    plugins = {kind: each for kind, each in options.made.items() if each.plugin}
    for kind, segment in plugins.items():
        if not _segmenter_of(segment).volume:
            continue
        name = segment.plugin
        if not context.in_volume:
            raise SettingsError(
                f"the segmenter {name} takes stacks (volume=True), and {kind} are "
                "looked for in planes here. Run with --volume; export --to labels then "
                "puts the labels into the plate. In Python, ds.segment takes an image "
                "with the dimension z"
            )
        if kind == "nuclei" and "cells" in options.made and "cells" not in plugins:
            raise SettingsError(
                f"the nuclei of {name} have a depth (volume=True), and cells are grown "
                "around flat nuclei only; name a segmenter for the cells too, or one "
                "without volume for the nuclei"
            )


def _by_network(options: SegmentOptions, engine: EngineChoice, channel: str) -> Work:
    if engine.engine != AUTO:
        find_loader(engine.engine)
    model = find_star_model(find_weights(engine.model))
    plane, found = _PLANE["nuclei"], _FOUND["nuclei"]
    reduce_plane = NucleiPlane(model.diameter, options.nucleus_um)
    steps = (
        plane_step(channel, Key("nuclei_cores"), plane, reduce_plane),
        StarNetwork(engine, model, plane, found).step(),
        DrawObjects(found).step(NUCLEI),
    )
    unsized = Count("n_unsized", _UNSIZED, found, _n_unsized)
    unlike = Count("n_unlike", _UNLIKE, found, _n_unlike)
    gives = (*_counts("nuclei"), unsized, unlike)
    return Work(steps, gives, stacks=True, networks=(engine,))


def _by_growth(options: SegmentOptions, channel: str) -> Work:
    plane, found = _PLANE["cells"], _FOUND["nuclei"]
    grow: Step = Step(
        Key("cells_asked"),
        _nothing,
        agreed=(found, plane, PIXEL_UM),
        settles=_GROWN,
        finalize=partial(_grow, cell_um=options.cell_um),
    )
    steps = (
        plane_step(channel, Key("cells_cores"), plane, _reduced, (_PLANE["nuclei"],)),
        grow,
        DrawCells(found, _GROWN).step(CELLS),
    )
    told = "cells whose channel shows no cytoplasm: nuclei grown by a distance"
    return Work(steps, (Count("n_cells_grown", told, _GROWN, _n_grown),), stacks=True)


def plan_segment(options: SegmentOptions, context: RunContext) -> Work | None:
    """Return the stage's work; None where nothing is segmented.

    Raises
    ------
    SettingsError
        No such plug-in or engine, a model of another family, labels that are both
        stored and made, or a segmenter of volumes where there are none.
    WeightsError
        No such model.
    """
    _check_depth(options, context)
    works = []
    for kind, segment in options.made.items():
        if kind in context.layers:
            raise SettingsError(
                f"{kind} are named as stored labels (--{kind}) and segmented "
                f"(--segment {kind}:...); use one of them"
            )
        channel = segment.channel or context.channel
        if segment.plugin is not None:
            works.append(_by_plugin(kind, segment, channel))
        elif kind == "nuclei":
            works.append(_by_network(options, _engine(options, context), channel))
        else:
            works.append(_by_growth(options, channel))
    if not works:
        return None
    return Work(
        tuple(step for work in works for step in work.steps),
        tuple(each for work in works for each in work.gives),
        axes=max((work.axes for work in works), key=len),
        stacks=True,
        networks=tuple(engine for work in works for engine in work.networks),
    )


def _engine(options: SegmentOptions, context: RunContext) -> EngineChoice:
    return EngineChoice(
        options.nuclei_model,
        options.nuclei_engine,
        options.nuclei_precision,
        context.device,
        context.threads,
    )


def find_sources(options: SegmentOptions) -> Mapping[str, Mapping[str, str]]:
    """Return the weights and plug-ins that decide about labels."""
    found: dict[str, dict[str, Any]] = {}
    for kind, segment in options.made.items():
        if segment.plugin is not None:
            found |= _plugin_sources(kind, segment)
        elif kind == "nuclei":
            found |= network_sources(
                options.nuclei_model,
                options.nuclei_engine,
                roles=("nuclei", "nuclei engine"),
            )
    return found


def _plugin_sources(kind: str, segment: Segment) -> dict[str, dict[str, str]]:
    """Return the plug-in's own file, and the files that it names."""
    role, name = f"segmenter of {kind}", str(segment.plugin)
    found = {}
    digest = hash_plugin(name, SEGMENTERS)
    if digest is not None:
        found[role] = {"name": name, "sha256": digest}
    for file, digest in hash_files(_segmenter_of(segment)).items():
        found[f"{role}, {file}"] = {"name": file, "sha256": digest}
    return found


SEGMENT = Stage("segment", SegmentOptions, plan_segment, find_sources)
