"""The stage *localise*: frames of a movie in, molecules between the pixels out.

A network gives each frame a finer map, high at molecules; its maxima, refined, are
positions, and their light is measured in the frame itself. Each block answers for the
molecules whose maximum lies in its core, and reads as far around as the network, the
maxima and the neighbours' light reach. Positions are nanometres from the outer corner
of the first pixel. Nothing here knows files or what becomes of the molecules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from deepspot_scale.blockwise.answers import IMAGE, MOVIE_SCALE, PIXEL_UM
from deepspot_scale.blockwise.batching import BatchedWork
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Count,
    Key,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Table,
    Work,
)
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.camera_model import Camera
from deepspot_scale.kernels.heat_maxima import to_camera_pixels
from deepspot_scale.kernels.local_photometry import measure_light, reach
from deepspot_scale.kernels.localisation_precision import Light, least_squares_nm
from deepspot_scale.kernels.movie_scale import frame_floor, normalise
from deepspot_scale.networks.engine_types import AUTO, EngineChoice, Precision
from deepspot_scale.networks.engines import (
    find_loader,
    get_engine,
    iter_predictions,
    network_sources,
)
from deepspot_scale.networks.localisers import Localiser, find_localiser
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.tables import empty_table, table_of
from deepspot_scale.vocabulary import LOCALISATIONS, PlaneIdentity

LEAST_SIGMA_PX, MOST_SIGMA_PX = 0.3, 3.5
"""Narrowest and widest point spread function, pixels."""
LEAST_NM, MOST_NM = 10.0, 5000.0
"""Sizes of pixels and of light between which no unit was mistaken."""
TRAINED = 0.03
"""Share by which pixels may differ from those of a model that tells depths."""
SQUARE = 0.01
"""Share by which height and width of a pixel may differ."""
_PIXELS: Key[list[NDArray[Any]]] = Key("frame_pixels")
FLOOR: Key[float] = Key("frame_floor")


class Molecules(NamedTuple):
    """Molecules of one block, or of a frame."""

    places: NDArray[np.float64]
    """(n, 3) depth in nm (NaN: none), y and x in pixels of the frame."""
    certainty: NDArray[np.float64]
    """(n,) height in the network's answer."""
    light: NDArray[np.float64]
    """(n, 3) counts above the background, counts per pixel under it, noise; NaN: the
    width of the point spread function is not known."""

    def __add__(self, other: object) -> Molecules:
        if not isinstance(other, Molecules):
            return NotImplemented
        pairs = zip(self, other, strict=True)
        return Molecules(*(np.concatenate(pair) for pair in pairs))

    def take(self, which: NDArray[Any]) -> Molecules:
        """Return some of them."""
        return Molecules(*(each[which] for each in self))


FOUND: Key[Molecules] = Key("molecules_found")


class LocaliseOptions(StageOptions):
    """How molecules of a movie are found, and what is known of the microscope."""

    use: bool = Field(default=False, description="Localise molecules of movies.")
    localiser: str = Field(
        default="subpixel", description="Name of a shipped model, or a weights file."
    )
    localiser_engine: str = Field(
        default=AUTO,
        description="What runs it: auto, keras, openvino, or module:attribute.",
    )
    localiser_precision: Precision = Field(
        default="auto", description="Number format of the network that localises."
    )
    certainty: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Least height in the network's answer; else the model's own.",
    )
    pixel_nm: float | None = Field(
        default=None,
        gt=0,
        description="Edge of a pixel in the sample, nanometres; else of the metadata.",
    )
    psf_sigma_nm: float | None = Field(
        default=None,
        gt=0,
        description="Standard deviation of the point spread function, nanometres.",
    )
    camera_offset: float | None = Field(
        default=None, description="Counts of a pixel without light."
    )
    camera_gain: float | None = Field(
        default=None, gt=0, description="Counts per electron."
    )
    camera_quantum_efficiency: float = Field(
        default=1.0, gt=0, le=1, description="Electrons per photon."
    )
    camera_em_gain: float = Field(
        default=1.0, ge=1, description="Electrons of EM multiplication."
    )
    camera_read_noise: float = Field(
        default=0.0, ge=0, description="Electrons of read-out noise."
    )

    picture_nm: float = Field(
        default=10.0, gt=0, description="Edge of a pixel of the picture, nanometres."
    )
    picture: Literal["gaussian", "ash", "sum"] = Field(
        default="gaussian", description="How molecules are drawn."
    )
    merge_nm: float = Field(
        default=0.0,
        ge=0,
        description="Farthest that one molecule is from frame to frame; 0: each counts "
        "in every frame.",
    )
    drift: bool = Field(default=True, description="Take the sample's drift off.")

    @model_validator(mode="after")
    def _fits(self) -> LocaliseOptions:
        edge, sigma = self.pixel_nm, self.psf_sigma_nm
        if edge is not None and not LEAST_NM <= edge <= MOST_NM:
            raise ValueError(
                f"pixels of {edge:g} nm are no camera's in a sample; sizes of pixels "
                "are given in micrometres, such as 0.1 (pixel_nm in nanometres)"
            )
        if sigma is not None and not LEAST_NM <= sigma <= MOST_NM:
            raise ValueError(
                f"light of a molecule {sigma:g} nm wide is none that a microscope "
                "gives; its width is in nanometres, such as 120"
            )
        if edge is not None and self.picture_nm > edge:
            raise ValueError(
                f"pixels of the picture, {self.picture_nm:g} nm, are wider than those "
                f"of the camera, {edge:g} nm; on the command line they are in "
                "micrometres, such as --pixel 0.01"
            )
        if (self.camera_offset is None) != (self.camera_gain is None):
            raise ValueError(
                "photons need offset and gain of the camera; give both or neither"
            )
        return self

    @property
    def camera(self) -> Camera | None:
        """The camera; None: its offset and gain are not known."""
        if self.camera_offset is None or self.camera_gain is None:
            return None
        return Camera(
            self.camera_offset,
            self.camera_gain,
            self.camera_quantum_efficiency,
            self.camera_read_noise,
            self.camera_em_gain,
        )


@dataclass(frozen=True)
class Localisation:
    """The network, and what is measured at its maxima, on one block of a frame."""

    engine: EngineChoice
    """Which network, and how it is run."""
    localiser: Localiser
    """How its answer is read."""
    pixel_nm: float | None = None
    """Edge of a pixel; None: by the image's metadata."""
    sigma_nm: float | None = None
    """Of the point spread function; None: light is not measured."""
    widest_px: int = 0
    """Pixels around a molecule that its light may depend on."""

    @property
    def own(self) -> int:
        """Pixels around the core in which molecules must be known."""
        return self.widest_px + 1

    @property
    def margin(self) -> int:
        """Pixels around the core that decide about its molecules."""
        return max(self.own + self.localiser.halo, 2 * self.own)

    def edge_nm(self, answers: Answers) -> float:
        """Return the edge of a pixel in nanometres.

        Raises FieldError if it is not known, or pixels are not square.
        """
        edge = self.pixel_nm or stated_edge(answers[PIXEL_UM])
        trained = self.localiser.pixel_nm
        if trained is not None and abs(edge - trained) > TRAINED * trained:
            raise FieldError(
                f"pixels of {edge:g} nm are not those that the model was trained for "
                f"({trained:g} nm), and depths would be wrong; train a model for this "
                "microscope"
            )
        return edge

    def window(self, here: BlockContext) -> Box:
        """Return the pixels that the network is given: of all blocks as many."""
        return here.block.window.grow(0, here.shape)

    def prepare(self, here: BlockContext, agreed: Answers) -> NDArray[np.float32]:
        """Return the normalised window; at the frame's edges the network pads."""
        self.edge_nm(agreed)
        counts = here.read(IMAGE, self.window(here))
        return normalise(counts, agreed[FLOOR], agreed[MOVIE_SCALE]())

    def predict(self, windows: Sequence[NDArray[np.float32]]) -> list[Any]:
        """Return the molecules of prepared windows, in pixels of the window.

        The maps are looked at one by one: of many they would fill the memory.
        """
        images = [window[..., None] for window in windows]
        finer = self.localiser.scale**2
        answers = iter_predictions(get_engine(self.engine), images, finer=finer)
        return [self.localiser.find(answer) for answer in answers]

    def finish(
        self, here: BlockContext, agreed: Answers, found: NDArray[np.float64]
    ) -> Molecules:
        """Return the molecules of the core, with their light."""
        core, window = here.block.core, self.window(here)
        # Whole pixels are added first: no rounding depends on the block.
        scale = self.localiser.scale
        fine = found[:, 1:3] + np.multiply([window.y.start, window.x.start], scale)
        fine += found[:, 3:5]
        places = np.column_stack([found[:, 0], to_camera_pixels(fine, scale)])
        known = _inside(places, core.grow(self.own, here.shape))
        places, found = places[known], found[known]
        light = np.full((len(places), 3), np.nan)
        if self.sigma_nm is not None and len(places):
            sigma = self.sigma_nm / self.edge_nm(agreed)
            if not LEAST_SIGMA_PX <= sigma <= MOST_SIGMA_PX:
                raise _unfit_width(self.sigma_nm, sigma)
            counts = here.pixels(IMAGE, min(2 * self.own, self.margin))
            at = np.column_stack([np.zeros(len(places)), places[:, 1:]])
            box = counts.box
            origin = (0, box.y.start, box.x.start)
            measured = measure_light(
                counts.values[None].astype(np.float64), at, sigma, origin=origin
            )
            light = np.column_stack(measured)
        molecules = Molecules(places, found[:, 5], light)
        return molecules.take(_inside(places, core))

    def work(self, camera: Camera | None, engine: EngineChoice) -> Work:
        """Return the steps to the table of localisations."""
        floor = Step(_PIXELS, _core_pixels, {IMAGE: 0}, settles=FLOOR, finalize=_floor)
        find = Step(
            FOUND,
            BatchedWork(self.prepare, self.predict, self.finish),
            {IMAGE: self.margin},
            agreed=(PIXEL_UM, MOVIE_SCALE, FLOOR),
            finalize=_in_order,
        )
        make = partial(_localisation_table, method=self, camera=camera)
        table = Table("localisations", LOCALISATIONS, (FOUND,), make)
        counts = (
            Count("n_localisations", "molecules localised", FOUND, _n_found),
            Count("n_unmeasured", _UNMEASURED, FOUND, _n_unmeasured),
        )
        steps = (floor, find)
        return Work(
            steps, (table, *counts), grid=self.localiser.grid, networks=(engine,)
        )


_UNMEASURED = (
    "molecules whose light and uncertainty are not known: no width of the point spread "
    "function was given"
)


def stated_edge(size_um: tuple[float, float] | None) -> float:
    """Return the edge of a pixel in nanometres, given (y, x) in micrometres.

    Raises FieldError if it is not known, or pixels are not square.
    """
    if size_um is None:
        raise FieldError(
            "the size of a pixel is not known, and positions are in nanometres; give "
            "it in micrometres: --pixel-size 0.1"
        )
    height, width = size_um
    if abs(height - width) > SQUARE * width:
        raise FieldError(
            f"pixels of {height} x {width} um are not square; localisation needs "
            "square ones"
        )
    return 1000 * (height + width) / 2


def _inside(places: NDArray[np.float64], box: Box) -> NDArray[np.bool_]:
    """Return which places have their pixel in a box."""
    y, x = np.floor(places[:, 1:3] + 0.5).T
    inside_y = (y >= box.y.start) & (y < box.y.stop)
    return np.asarray(inside_y & (x >= box.x.start) & (x < box.x.stop))


def _core_pixels(here: BlockContext, _: Answers) -> list[NDArray[Any]]:
    return [here.pixels(IMAGE).values.ravel()]


def _floor(pixels: list[NDArray[Any]], _: Answers) -> float:
    whole = np.concatenate(pixels)
    if whole.dtype.kind == "f" and not np.isfinite(whole).all():
        raise FieldError(
            "a frame has pixels that are NaN or infinite; replace them before the run"
        )
    return frame_floor(whole)


def _in_order(found: Molecules, _: Answers) -> Molecules:
    """Return molecules from top to bottom, whatever the order of blocks."""
    places, certainty, _light = found
    order = np.lexsort([certainty, places[:, 2], places[:, 1]])
    return found.take(order)


def _n_found(found: Molecules) -> int:
    return len(found.places)


def _n_unmeasured(found: Molecules) -> int:
    return int(np.isnan(found.light[:, 0]).sum())


def _localisation_table(
    agreed: Answers,
    plane: PlaneIdentity,
    *,
    method: Localisation,
    camera: Camera | None,
) -> pd.DataFrame:
    found = agreed[FOUND]
    if not len(found.places):
        return empty_table(LOCALISATIONS)
    edge = method.pixel_nm or stated_edge(plane.pixel_size_um)
    n = len(found.places)
    intensity, background, noise = found.light.T
    sigma = np.nan if method.sigma_nm is None else method.sigma_nm
    values: dict[str, Any] = {
        "row": np.full(n, plane.address.row, object),
        "column": np.full(n, plane.address.column, object),
        "field": np.full(n, plane.address.field, object),
        "channel": np.full(n, plane.channel, object),
        "frame": np.full(n, plane.t, np.int64),
        "x_nm": (found.places[:, 2] + 0.5) * edge,
        "y_nm": (found.places[:, 1] + 0.5) * edge,
        "z_nm": found.places[:, 0],
        "intensity": intensity,
        "background": background,
        "sigma_nm": np.full(n, sigma),
        "uncertainty_z_nm": np.full(n, np.nan),
        "certainty": np.minimum(found.certainty / method.localiser.full, 1.0),
        "n_frames": np.ones(n, np.int32),
    }
    unknown = np.full(n, np.nan)
    photons = background_photons = uncertainty = unknown
    if camera is not None:
        photons = intensity / camera.counts_per_photon
        background_photons = camera.to_photons(background)
        light = Light(
            photons,
            noise / camera.counts_per_photon,
            np.full(n, sigma),
            edge,
            camera.em_gain > 1,
        )
        uncertainty = least_squares_nm(light)
    values |= {
        "photons": photons,
        "background_photons": background_photons,
        "uncertainty_nm": uncertainty,
    }
    return table_of(values, LOCALISATIONS)


def _choose_engine(options: LocaliseOptions, context: RunContext) -> EngineChoice:
    return EngineChoice(
        options.localiser,
        options.localiser_engine,
        options.localiser_precision,
        context.device,
        context.threads,
    )


def plan_localise(options: LocaliseOptions, context: RunContext) -> Work:
    """Return the stage's work.

    Raises
    ------
    SettingsError
        No such engine, or a model that does not localise.
    WeightsError
        No such model.
    """
    engine = _choose_engine(options, context)
    if engine.engine != AUTO:
        find_loader(engine.engine)
    localiser = find_localiser(find_weights(engine.model), options.certainty)
    widest = 0
    if localiser.in_depth and options.psf_sigma_nm is not None:
        raise SettingsError(
            "in depth the light of a molecule has no one width; leave psf_sigma out "
            "(and wavelength_nm of a camera file)"
        )
    if options.psf_sigma_nm is not None:
        # The widest that a point spread function in pixels may be, since the size of
        # a pixel may be known only when a movie is read.
        edge = options.pixel_nm
        sigma = MOST_SIGMA_PX if edge is None else options.psf_sigma_nm / edge
        if not LEAST_SIGMA_PX <= sigma <= MOST_SIGMA_PX:
            raise _unfit_width(options.psf_sigma_nm, sigma)
        widest = reach(sigma)
    method = Localisation(
        engine, localiser, options.pixel_nm, options.psf_sigma_nm, widest
    )
    return method.work(options.camera, engine)


def _unfit_width(sigma_nm: float, sigma_px: float) -> SettingsError:
    return SettingsError(
        f"a point spread function of {sigma_nm:g} nm is {sigma_px:.1f} pixels wide; "
        f"expected {LEAST_SIGMA_PX} to {MOST_SIGMA_PX} pixels"
    )


def find_sources(options: LocaliseOptions) -> Mapping[str, Mapping[str, str]]:
    """Return the weights, and the engine where it is a plug-in."""
    roles = ("localiser", "localiser engine")
    return network_sources(options.localiser, options.localiser_engine, roles=roles)


LOCALISE = Stage("localise", LocaliseOptions, plan_localise, find_sources)
