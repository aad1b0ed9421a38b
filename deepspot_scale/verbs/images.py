"""Verbs on images: enhance, detect, measure quality, and any stages.

Nothing here knows plates or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from deepspot_scale.blockwise.answers import (
    AVERAGED,
    DENOISED,
    ENHANCED,
    IMAGE,
    LABEL_HEIGHT,
    PIXEL,
    PIXEL_UM,
    REFERENCE,
    STEP,
)
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Layer,
    Pixels,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Work,
)
from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK
from deepspot_scale.blockwise.identity import (
    gather_tables,
    plane_identity,
)
from deepspot_scale.blockwise.lifting import (
    LiftedPlane,
    check_image,
    check_labels,
    is_volume,
    iter_planes,
    labels_over,
    lift_plane,
    stack_planes,
)
from deepspot_scale.blockwise.planning import Pipeline, plan_pipeline
from deepspot_scale.blockwise.spots import Detector
from deepspot_scale.errors import FieldError, SettingsError, WeightsError
from deepspot_scale.kernels.binning import binning_for
from deepspot_scale.kernels.pixel_shape import pixel_shape, voxel_height
from deepspot_scale.kernels.references import Reference
from deepspot_scale.networks.engine_types import DEFAULT_MODEL, EngineChoice
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.pipeline import assemble_stages
from deepspot_scale.stages.brightness import (
    MEASURE_BRIGHTNESS,
    BrightnessOptions,
    Normalisation,
)
from deepspot_scale.stages.denoising import Denoiser
from deepspot_scale.stages.detection.detect import detector_work, find_detector
from deepspot_scale.stages.detection.volume import VolumeDetector
from deepspot_scale.stages.enhancement import Enhancement, check_normalisation
from deepspot_scale.stages.quality import QualityOptions, plan_quality
from deepspot_scale.stages.volume import StackAverage
from deepspot_scale.vocabulary import PlaneIdentity

if TYPE_CHECKING:
    import dask.dataframe as dd

    AnyTable: TypeAlias = pd.DataFrame | dd.DataFrame

_GIVEN_IMAGE = "given"
_ENHANCED_BY = "enhanced_by"
"""Attribute of an enhanced image: the model that made it."""
_ROUNDING = 1e-3
"""What float16 rounds near 1; a larger excess over [0, 1] is not from rounding."""


def enhance(  # noqa: PLR0913 - how it is scaled, run and cut
    image: xr.DataArray,
    *,
    model: str = DEFAULT_MODEL,
    normalisation: Normalisation = Normalisation(),
    engine: EngineChoice | None = None,
    block: int = DEFAULT_BLOCK,
    spot_sigma: float | None = None,
    volume: bool = False,
    sigma_z: float | None = None,
) -> xr.DataArray:
    """Make every spot equally bright, by a network.

    Each plane is scaled by its own noise or brightness, as the model asks, and enhanced
    in blocks of one static shape, with true neighbours as halo (patchwise
    overlap-and-trim).

    Parameters
    ----------
    image
        Raw counts with dimensions y and x; leading dimensions are mapped over.
    model
        Name of a shipped model or path of a weights file.
    normalisation
        How a plane's brightness scale is found.
    engine
        How the network is run, when the default does not serve; it names the model.
    block
        Largest edge of a block in pixels.
    spot_sigma
        Standard deviation of the spots in pixels, when it is above the network's
        range (3.5 px): the network then sees binned pixels.
    volume
        Take the dimensions z, y and x, which come last, for one stack: it is averaged
        along z by half a spot, and its brightness is that of the stack. For `detect`
        with `volume`.
    sigma_z
        Standard deviation of a spot along z in planes, for `volume`; None: measured.

    Returns
    -------
    xarray.DataArray
        float32 in [0, 1], same dims, coords and attrs; lazy when `image` is. The
        attribute ``enhanced_by`` names the model, and tells `detect` what it is given.

    Raises
    ------
    FieldError
        No image, or pixels that are not finite (when computed).
    SettingsError
        The block is too small for the network's halo, the spots are too wide, or a
        `normalisation` for a model that scales by noise.

    References
    ----------
    Bouilhol et al. 2021, https://doi.org/10.1101/2021.11.25.469984

    Examples
    --------
    >>> import numpy as np
    >>> counts = np.random.default_rng(0).poisson(100, (64, 96)).astype(np.uint16)
    >>> image = xr.DataArray(counts, dims=("y", "x"))
    >>> enhance(image, model="deepspot-fast").shape
    (64, 96)
    """
    image = check_image(image)
    method = Enhancement.of(engine or EngineChoice(model), binning_for(spot_sigma))
    check_normalisation(method.engine.model, normalisation == Normalisation())
    works: dict[str, Work] = {}
    if volume:
        works["volume"] = StackAverage(sigma_z).work()
        method = replace(method, layer=AVERAGED.name)
        normalisation = replace(normalisation, layer=AVERAGED.name)
    works["brightness"] = normalisation.work(method.binning)
    works["enhance"] = method.work()
    pipeline = plan_pipeline(works, given=(STEP,), wanted=(ENHANCED,), block=block)
    planes = [
        lift_plane(pipeline, {IMAGE: plane}, _known(image, index)).layers[ENHANCED.name]
        for index, plane in iter_planes(image, pipeline.axes)
    ]
    enhanced = stack_planes(planes, image, pipeline.axes)
    return enhanced.assign_attrs({_ENHANCED_BY: method.engine.model})


def denoise(
    image: xr.DataArray,
    *,
    model: str,
    engine: EngineChoice | None = None,
    block: int = DEFAULT_BLOCK,
) -> xr.DataArray:
    """Remove the noise of a camera, by a network that was trained on such images.

    Each plane is done in blocks with true neighbours as halo, so blocks do not show.
    Where the network took away more than noise, it is given back (see
    `kernels.denoising.Denoising.combine`).

    Parameters
    ----------
    image
        Raw counts with dimensions y and x, of the camera and exposure that the network
        learned; leading dimensions are mapped over.
    model
        Path of a weights file of the family ``denoiser``.
    engine
        How the network is run, when the default does not serve; it names the model.
    block
        Largest edge of a block in pixels.

    Returns
    -------
    xarray.DataArray
        float32 in counts, same dims, coords and attrs; lazy when `image` is.

    Raises
    ------
    FieldError
        No image, or pixels that are not finite (when computed).
    SettingsError
        The model removes no noise, or the block is too small for its halo.
    WeightsError
        No such model.

    References
    ----------
    Krull et al. 2019, https://doi.org/10.1109/CVPR.2019.00223
    """
    image = check_image(image)
    works = {"denoise": Denoiser.of(engine or EngineChoice(model)).work()}
    pipeline = plan_pipeline(works, wanted=(DENOISED,), block=block)
    planes = [
        lift_plane(pipeline, {IMAGE: plane}).layers[DENOISED.name]
        for _, plane in iter_planes(image, pipeline.axes)
    ]
    return stack_planes(planes, image, pipeline.axes)


def _known(image: xr.DataArray, index: dict[str, int]) -> Answers:
    """Return what the image's coordinates say of a plane or a stack."""
    return Answers({STEP.name: plane_identity(image, index).z_step_um})


def _check_enhanced(here: BlockContext, _: Answers) -> Pixels:
    pixels = here.read(_GIVEN_IMAGE, here.wanted)
    if not np.isfinite(pixels).all():
        raise FieldError(
            "the image to detect on has pixels that are NaN or infinite; replace "
            "them first"
        )
    low, high = float(pixels.min()), float(pixels.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise FieldError(
            "this method expects an enhanced image in [0, 1], got pixels from "
            f"{low:g} to {high:g}; enhance the image first, or detect with method='raw'"
        )
    return Pixels(here.wanted, pixels)


def detection_pipeline(
    detector: Detector, block: int = DEFAULT_BLOCK, *, sigma_z: float | None = None
) -> Pipeline:
    """Return what finds spots on the layer ``given``, and measures them on ``image``.

    A detector of raw images finds them on ``image`` itself, one of volumes takes
    `sigma_z` for the standard deviation of spots along z in planes; None: measured.
    """
    if detector.on == "raw":
        brightness = Normalisation().work()
        works = {"brightness": brightness, "detect": detector_work(detector, IMAGE)}
        return plan_pipeline(works, block=block)
    check = Step(ENHANCED, _check_enhanced, {_GIVEN_IMAGE: 0})
    works, layer, axes = {"given": Work((check,), stacks=True)}, IMAGE, "yx"
    if isinstance(detector, VolumeDetector):
        works["volume"], layer, axes = (
            StackAverage(sigma_z).work(),
            AVERAGED.name,
            "zyx",
        )
    works["brightness"] = Normalisation(layer=layer).work()
    works["detect"] = detector_work(detector, ENHANCED.name, axes)
    images = (IMAGE, _GIVEN_IMAGE)
    return plan_pipeline(works, images=images, given=(STEP,), block=block)


def detect(  # noqa: PLR0913 - what, how, and with which numbers
    image: xr.DataArray,
    raw: xr.DataArray | None = None,
    *,
    method: str | Detector | None = None,
    model: str | None = None,
    block: int = DEFAULT_BLOCK,
    floor: float | None = None,
    min_relative_intensity: float | None = None,
    spot_sigma: float | None = None,
    volume: bool = False,
    sigma_z: float | None = None,
    decompose: bool = True,
) -> AnyTable:
    """Find every spot.

    Parameters
    ----------
    image
        Enhanced image in [0, 1], or a raw one for ``method="raw"``; dimensions y and
        x, leading dimensions are mapped over.
    raw
        Raw counts of the same shape, on which positions are refined and intensity
        and SNR measured; `image` itself when not given.
    method
        Preset (enhanced, paper, raw, product), plug-in, or a detector. None: enhanced,
        for an image that `enhance` gave or that has `raw` beside it; for another one
        it has to be said, since raw pixels in [0, 1] look the same.
    model
        Model that gave the image; None: the one of its attribute ``enhanced_by``. With
        `raw` beside it, the model's judge decides which dots are spots (columns
        ``probability``, ``molecules``, ``site``); without a model, or without raw
        counts, rules do.
    block
        Largest edge of a block in pixels; the answer does not depend on it.
    floor
        Least probability of a spot (its column ``probability``), or where the image's
        model judges none its least certainty (``enhanced``), 0 to 1; None: the
        detector's own.
    min_relative_intensity
        Least intensity of a spot as a share of the field's typical one, 0: none is
        too faint; None: the detector's own.
    spot_sigma
        Standard deviation of the spots in pixels, as given to `enhance`.
    volume
        Find each spot once in a stack, of which z, y and x are the last dimensions,
        with its depth (columns ``z`` and ``z_um``). The image is one that `enhance`
        gave with `volume`, and `raw` stands beside it.
    sigma_z
        As given to `enhance`.
    decompose
        In a volume, take dense regions apart: a spot that is much brighter than those
        that stand alone becomes as many molecules as explain its light (column
        ``site``; ``molecules`` is their number by brightness).

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The columns `vocabulary.SPOTS`; lazy, one partition a plane, when an image is.

    Raises
    ------
    FieldError
        Images of different shapes, raw counts where an enhanced image is expected
        (floats: when computed), neither a method, nor `raw`, nor the image's attribute
        ``enhanced_by``, or pixels that are not finite (when computed).
    WeightsError
        The model that gave the image is not to be found.
    SettingsError
        No such method, a block too small for it, `raw` beside a method for raw
        images, or numbers out of range.

    Examples
    --------
    >>> from deepspot_scale.simulation import render_spots
    >>> light = render_spots((64, 96), np.array([[20, 30]]), [500.0], [1.3])
    >>> image = xr.DataArray((100 + light).astype(np.uint16), dims=("y", "x"))
    >>> detect(image, method="raw")[["y", "x"]].round().to_numpy().tolist()
    [[20.0, 30.0]]
    """
    detector: Detector
    if volume:
        in_volume = _volume_detector(method, raw, floor, min_relative_intensity)
        detector = replace(in_volume, decompose=decompose)
    else:
        detector = find_detector(
            method or "enhanced",
            floor=floor,
            min_relative_intensity=min_relative_intensity,
            model=judging_model(image, raw, model),
        )
    detector = detector.binned(binning_for(spot_sigma))
    if raw is not None and detector.on == "raw":
        # The range that is measured in raw counts would not be that of `image`.
        raise SettingsError(
            "this method works on raw counts alone; give them as the image, without raw"
        )
    image = check_image(image)
    if detector.on == "enhanced" and image.dtype.kind != "f":
        raise FieldError(
            f"this method expects an enhanced image in [0, 1], got {image.dtype}; "
            "enhance the image first, or detect with method='raw'"
        )
    if method is None and raw is None and _ENHANCED_BY not in image.attrs:
        raise FieldError(
            "the image does not say that it is enhanced (its attribute enhanced_by is "
            "not there, and no raw image beside it); enhance it first, or say what it "
            "is by method='enhanced' or method='raw'"
        )
    raw = image if raw is None else check_image(raw, "raw image")
    if raw.shape != image.shape:
        raise FieldError(
            f"raw image has shape {raw.shape}, the image to detect on {image.shape}"
        )
    pipeline = detection_pipeline(detector, block, sigma_z=sigma_z)
    axes = pipeline.axes
    pairs = zip(iter_planes(image, axes), iter_planes(raw, axes), strict=True)
    planes = [
        (
            lift_plane(
                pipeline,
                _only_read(pipeline, {IMAGE: c, _GIVEN_IMAGE: p}),
                _known(image, index),
            ),
            plane_identity(image, index),
        )
        for (index, p), (_, c) in pairs
    ]
    return _gather(pipeline, planes)


def _volume_detector(
    method: Any, raw: Any, floor: float | None, min_relative_intensity: float | None
) -> VolumeDetector:
    if method not in (None, "enhanced") or min_relative_intensity:
        raise SettingsError(
            "in a volume spots are found on enhanced planes, and none is left out for "
            "its intensity; leave method and min_relative_intensity out"
        )
    if raw is None:
        raise SettingsError(
            "spots of a volume are measured in raw counts; give them as raw"
        )
    return VolumeDetector().adjusted(floor)


def judging_model(image: Any, raw: Any, model: str | None) -> str | None:
    """Return the model whose judge can be asked: it needs raw counts.

    Parameters are as in `detect`; WeightsError if the model is not to be found.
    """
    if raw is None:
        return None
    named = getattr(image, "attrs", {}).get(_ENHANCED_BY)
    if model is not None or named is None:
        return model
    try:
        return str(find_weights(named).path)
    except WeightsError as error:
        raise WeightsError(
            f"the image says that {named} enhanced it, and: {error}. Name the model by "
            "model=, or take the attribute enhanced_by away for a decision by rules"
        ) from error


def _only_read(
    pipeline: Pipeline, layers: Mapping[str, xr.DataArray]
) -> dict[str, xr.DataArray]:
    return {name: image for name, image in layers.items() if name in pipeline.reads}


def _gather(
    pipeline: Pipeline, planes: list[tuple[LiftedPlane, PlaneIdentity]]
) -> AnyTable:
    """Return the one table of a pipeline, of all planes."""
    (table,) = pipeline.tables
    answers = [(plane.answers, identity) for plane, identity in planes]
    gathered: AnyTable = gather_tables(answers, table.make, table.columns)
    return gathered


def apply(
    stages: Mapping[Stage, StageOptions],
    image: xr.DataArray,
    *,
    cells: xr.DataArray | None = None,
    nuclei: xr.DataArray | None = None,
    reference: Reference | None = None,
    block: int = DEFAULT_BLOCK,
) -> dict[str, Any]:
    """Run some stages on an image, as a run does on a field.

    Parameters
    ----------
    stages
        Stages and their options. The brightness of the field is measured where one of
        them asks for it.
    image
        Raw counts with dimensions y and x, and the further axes of the stages last but
        these; other leading dimensions are mapped over.
    cells, nuclei
        Label images (y, x), (z, y, x) or with t in front, on the image's grid; flat
        ones go with every plane of a stack.
    reference
        Where "toward" is.
    block
        Largest edge of a block in pixels; the answer does not depend on it.

    Returns
    -------
    dict
        Every table that the stages give, and every layer that they make, by name; lazy
        where an input is.

    Raises
    ------
    FieldError
        Unfit images.
    SettingsError
        Stages that do not go together.
    """
    image = check_image(image)
    labels = check_labels(cells, nuclei, image)
    choices = {MEASURE_BRIGHTNESS: BrightnessOptions(), **stages}
    context = RunContext(frozenset({IMAGE, *labels}))
    layers = _layers_of(stages, context)
    pipeline = assemble_stages(choices, context, wanted=layers, block=block)
    planes, identities = [], []
    for index, plane in iter_planes(image, pipeline.axes):
        identities.append(plane_identity(image, index))
        pixel = pixel_shape(identities[-1].pixel_size_um)
        known = Answers({REFERENCE.name: reference, PIXEL.name: pixel})
        known[STEP] = identities[-1].z_step_um
        known[PIXEL_UM] = identities[-1].pixel_size_um
        height = voxel_height(identities[-1].pixel_size_um, known[STEP])
        deep = pipeline.makes_volumes or is_volume(labels)
        known[LABEL_HEIGHT] = height if deep and "z" in pipeline.axes else None
        own = labels_over(labels, plane, identities[-1].t, index.get("z", 0))
        stored = {IMAGE: plane, **own}
        planes.append(lift_plane(pipeline, _only_read(pipeline, stored), known))
    answers = [plane.answers for plane in planes]
    found: dict[str, Any] = {
        table.name: gather_tables(
            list(zip(answers, identities, strict=True)), table.make, table.columns
        )
        for table in pipeline.tables
    }
    for layer in pipeline.layers:
        whole = [plane.layers[layer.name] for plane in planes]
        found[layer.name] = stack_planes(whole, image, pipeline.axes)
    return found


def _layers_of(
    stages: Mapping[Stage, StageOptions], context: RunContext
) -> list[Layer]:
    works = [stage.plan(options, context) for stage, options in stages.items()]
    steps = [step for work in works if work is not None for step in work.steps]
    return [step.gives for step in steps if isinstance(step.gives, Layer)]


def measure_quality(image: xr.DataArray) -> AnyTable:
    """Measure saturation, emptiness and focus of each plane.

    Focus is the variance of the image's Laplacian over the square of its mean
    (Pertuz et al. 2013, https://doi.org/10.1016/j.patcog.2012.11.011): compare it
    between fields of one screen, since it has no absolute meaning.

    Parameters
    ----------
    image
        Raw counts with dimensions y and x; leading dimensions are mapped over.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The columns `vocabulary.QUALITY`; lazy when `image` is.

    Raises
    ------
    FieldError
        No image, or pixels that are not finite (when computed).

    Examples
    --------
    >>> image = xr.DataArray(np.full((20, 30), 255, np.uint8), dims=("y", "x"))
    >>> measure_quality(image)[["saturated", "focus"]].to_numpy().tolist()
    [[1.0, 0.0]]
    """
    image = check_image(image)
    quality = plan_quality(QualityOptions(), RunContext())
    works = {"brightness": Normalisation().work(), "quality": quality}
    pipeline = plan_pipeline(works)
    planes = [
        (lift_plane(pipeline, {IMAGE: plane}), plane_identity(image, index))
        for index, plane in iter_planes(image)
    ]
    return _gather(pipeline, planes)
