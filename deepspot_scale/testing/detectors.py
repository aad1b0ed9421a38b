"""The rules of a detector, checked on images with spots on every seam.

A detector comes in, nothing goes out, or a `ContractError`. Nothing here knows how
spots are found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from deepspot_scale.blockwise.geometry import plan_blocks
from deepspot_scale.blockwise.spots import (
    DETECTED,
    Detector,
    reach,
    require_detector,
)
from deepspot_scale.errors import ContractError, FieldError, SettingsError
from deepspot_scale.simulation import render_spots
from deepspot_scale.testing.steps import CORE, Image, check_steps, send_copy
from deepspot_scale.testing.tables import are_alike, places_of, tell_apart
from deepspot_scale.verbs.images import detect, detection_pipeline
from deepspot_scale.vocabulary import SPOTS

SHIFT = (7, 5)
"""Rows and columns that an image is moved by: no multiple of any stride."""


def check_detector(
    detector: Detector, *, images: Sequence[Image] = (), seed: int = 0
) -> None:
    """Check that a detector may be run on blocks.

    Its parts are there and frozen, it travels to workers, and blocks, threads, order
    and a shift of the image change nothing. Spots are wanted on neither black, even
    nor saturated images, and no image may be altered.

    Parameters
    ----------
    detector
        A `PointDetector`, a `WaveletDetector`, or a class of your own with the parts
        of `blockwise.spots.Detector`.
    images
        (y, x) images such as it is made for; none: Gaussian spots of a standard
        deviation of 1.3 px, on every seam and between, from dim to bright.
    seed
        Of the spots and the noise that are drawn.

    Raises
    ------
    ContractError
        The first rule that is broken.
    """
    _check_parts(detector)
    drawn = [np.asarray(image) for image in images] or list(_draw(detector, seed))
    for image in drawn:
        if max(image.shape) <= _edge(detector):
            raise ContractError(
                f"an image of {image.shape} px is one block; with a halo of "
                f"{detector.halo} px give images of more than {_edge(detector)} px"
            )
        whole = _find(detector, image, "an image of spots")
        if whole.empty:
            raise ContractError(
                f"no spot was found on an image of {image.shape} px, so nothing can be "
                "compared; give images with spots for this detector: images=[...]"
            )
        _check_blocks(detector, image, whole)
        pipeline = detection_pipeline(detector)
        check_steps(pipeline, dict.fromkeys(pipeline.reads, image))
        _check_workers(detector, image, whole)
        _check_shift(detector, image)
        _check_dtypes(detector, image)
    _check_empty(detector)
    _check_odd(detector, drawn[0])


def _check_parts(detector: Detector) -> None:
    try:
        require_detector(detector)
    except SettingsError as error:
        raise ContractError(str(error)) from error
    if detector.on not in {"enhanced", "raw"}:
        raise ContractError(f"on must be 'enhanced' or 'raw', it is {detector.on!r}")
    if not isinstance(detector.halo, int) or detector.halo < 0:
        raise ContractError(f"halo must be whole pixels, it is {detector.halo!r}")
    given = [step.gives.name for step in detector.steps("image")]
    if not given or given[-1] != DETECTED.name:
        raise ContractError(
            "steps(layer) must end in the step that gives `blockwise.spots.DETECTED`; "
            f"its steps give {given}"
        )
    if not (is_dataclass(detector) and detector.__dataclass_params__.frozen):
        raise ContractError(
            f"{type(detector).__name__} can be changed after it was made, and workers "
            "would not hear of it; decorate it with @dataclass(frozen=True)"
        )
    send_copy(detector)


def _check_blocks(detector: Detector, image: Image, whole: pd.DataFrame) -> None:
    edge = _edge(detector)
    parts = _find(detector, image, "an image in blocks", block=edge)
    again = Counter(places_of(parts)) - Counter(places_of(whole))
    twice = [place for place in again if place in places_of(whole)]
    if twice:
        raise ContractError(
            f"several blocks own the spot at (y, x) = {twice[0]}; a block keeps the "
            "spots whose pixel lies in its core, `blockwise.spots.inside` tells"
        )
    if not are_alike(parts, whole):
        raise ContractError(
            f"blocks of {edge} px and the whole field of {image.shape} px give other "
            f"spots. {tell_apart('blocks', parts, whole)}. {_advise(detector)}"
        )


def _advise(detector: Detector) -> str:
    """Say whether a wider halo mends what blocks answer."""
    declared = is_dataclass(detector) and "halo" in {f.name for f in fields(detector)}
    for halo in (2 * detector.halo, 4 * detector.halo) if declared else ():
        wider = replace(detector, halo=halo)  # type: ignore[type-var]  # one, see above
        if all(map(partial(_agrees, wider), _draw(wider, 0))):
            return f"With halo={halo} they agree: declare what is needed"
    return (
        f"All that decides about a spot must lie within halo={detector.halo} px of it: "
        "raise the halo, and take no threshold from the image that is handed over "
        "(threshold_rel, a maximum or a quantile), which differs from block to block"
    )


def _agrees(detector: Detector, image: Image) -> bool:
    whole = _find(detector, image, "a larger image")
    parts = _find(detector, image, "a larger image", block=_edge(detector))
    return len(whole) > 0 and are_alike(parts, whole)


def _check_workers(detector: Detector, image: Image, whole: pd.DataFrame) -> None:
    """Compare with a copy that travelled, on lazy pixels, in four threads."""
    sent = send_copy(detector)
    lazy = _label(image).chunk({"y": 37, "x": 53})
    before = image.copy()
    with _on("a Dask array"):
        table: Any = detect(lazy, method=sent, block=_edge(detector))
        found: Any = table.compute(scheduler="threads", num_workers=4)
    if not are_alike(found, whole):
        raise ContractError(
            f"a copy on workers gives other spots. {tell_apart('it', found, whole)}. "
            "Keep no state between calls, and draw no random numbers without a seed"
        )
    if not np.array_equal(image, before):
        raise ContractError("the image was altered; work on a copy of it")


def _check_shift(detector: Detector, image: Image) -> None:
    # In an even frame nothing but the place changes, the field's sums neither.
    frame = np.pad(image, detector.halo + max(SHIFT) + 1, constant_values=image.min())
    still = _find(detector, frame, "an image in an even frame")
    moved = _find(detector, np.roll(frame, SHIFT, (0, 1)), "a shifted image")
    back = moved.assign(y=moved["y"] - SHIFT[0], x=moved["x"] - SHIFT[1])
    if not are_alike(back, still):
        raise ContractError(
            f"spots do not follow an image that is moved by {SHIFT} px. "
            f"{tell_apart('moved', back, still)}. Places must not depend on where "
            "the image starts: use no tiles or strides of your own"
        )


def _check_dtypes(detector: Detector, image: Image) -> None:
    whole = image.dtype.kind != "f"
    if whole:
        pairs = [(image >> 8 if image.max() > 255 else image).astype(np.uint8)]
        pairs.append(pairs[0].astype(np.uint16))
        for dtype in (np.float32, np.float64):
            _find(detector, image.astype(dtype), f"a {np.dtype(dtype)} image")
    else:
        pairs = [image.astype(np.float32)]
        pairs.append(pairs[0].astype(np.float64))
    one, other = (_find(detector, each, f"a {each.dtype} image") for each in pairs)
    if not are_alike(one, other):
        raise ContractError(
            f"the same pixels as {pairs[0].dtype} and as {pairs[1].dtype} give other "
            f"spots. {tell_apart(str(pairs[0].dtype), one, other)}. Turn the image "
            "into one number format first, without rescaling it by its dtype"
        )


def _check_empty(detector: Detector) -> None:
    dtype, largest = (np.uint16, 65535) if detector.on == "raw" else (np.float32, 1)
    values = (("black", 0), ("grey", largest / 2), ("saturated", largest))
    for what, value in values:
        table = _find(detector, np.full((64, 80), value, dtype), f"a {what} image")
        if len(table):
            raise ContractError(
                f"{len(table)} spots were found on a {what} image without spots, such "
                f"as {places_of(table)[0]}; a spot is brighter than what is around it"
            )


def _check_odd(detector: Detector, image: Image) -> None:
    for shape in ((16, 16), (16, 70), (70, 16)):
        cut = image[: shape[0], : shape[1]]
        _find(detector, cut, f"an image of {cut.shape} px")
    bright = image.copy()
    bright[10:40, 10:40] = image.max()
    _find(detector, bright, "an image with a saturated square")
    damaged = image.astype(np.float32)
    damaged[3, 3] = np.nan
    try:
        detect(_label(damaged), method=detector)
    except FieldError:
        return
    raise ContractError("an image with NaN must end in FieldError, it gave a table")


def _draw(detector: Detector, seed: int) -> Iterator[Image]:
    """Yield images with spots: on every seam, then anywhere."""
    rng = np.random.default_rng(seed)
    halo = detector.halo
    shape = 2 * halo + 3 * CORE, 2 * halo + 2 * CORE + 11
    read = max(halo, reach())
    blocks = plan_blocks(shape, block=_edge(detector), halo=read).blocks
    cores = [block.core for block in blocks]
    about = ((-0.5, CORE / 2), (CORE / 2, -0.5), (-0.5, -0.5))
    seams = [(core.y.start + y, core.x.start + x) for core in cores for y, x in about]
    n = shape[0] * shape[1] // 300
    for points in (np.array(seams), rng.uniform(0, shape, (n, 2))):
        places = np.clip(points, 0, np.array(shape) - 1)
        # From dim on the left to bright on the right: what a block alone would take
        # for its range is not the field's.
        heights = 0.1 + 0.9 * places[:, 1] / shape[1]
        light = render_spots(shape, places, heights, np.full(len(places), 1.3))
        light += abs(rng.normal(0, 0.01, shape)).astype(np.float32)
        if detector.on == "enhanced":
            yield np.minimum(light, 1)
        else:
            yield np.rint(2000 + 40000 * np.minimum(light, 1.5)).astype(np.uint16)


def _edge(detector: Detector) -> int:
    # Photometry may read farther than the detector: a core is left.
    return max(2 * detector.halo + CORE, 2 * reach() + CORE // 2)


def _label(image: Image) -> xr.DataArray:
    return xr.DataArray(image, dims=("y", "x"))


@contextmanager
def _on(what: str) -> Iterator[None]:
    """Name the image on which a detector fails."""
    try:
        yield
    except Exception as error:  # whatever a method of somebody else raises
        raise ContractError(
            f"the detector fails on {what}: {type(error).__name__}: {error}; where "
            "nothing is found, give no points: numpy.empty((0, 2))"
        ) from error


def _find(detector: Detector, image: Image, what: str, **options: Any) -> pd.DataFrame:
    """Return the spots of an image, whose table must be as all others."""
    # What is undefined ends as NaN in the table; a warning would not name the image.
    with _on(what), np.errstate(all="ignore"):
        table: Any = detect(_label(image), method=detector, **options)
    columns = {c.name: c.dtype for c in SPOTS}
    if list(table) != list(columns):
        raise ContractError(
            f"on {what} the columns are {list(table)}, not {[*columns]}"
        )
    places, size = table[["y", "x"]].to_numpy(), np.array(image.shape)
    if not ((places >= -1) & (places <= size)).all():
        raise ContractError(f"on {what} spots lie outside: places are (y, x) in pixels")
    found: pd.DataFrame = table
    return found
