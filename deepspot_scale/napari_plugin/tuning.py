"""Tuning: one channel of a field, enhanced once, decided about as numbers change.

An open run or plate comes in; spots, cells and sectors go out, those that a run with
the same settings finds. The network runs once; where its model judges candidates no
pixel is read again either. Nothing here knows napari or threads.

    read_subject -> enhance_subject -> find_again  (again and again)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import RunContext
from deepspot_scale.errors import SettingsError
from deepspot_scale.exports.pixels import folded_labels, lazy_image
from deepspot_scale.exports.sector_labels import draw_sectors
from deepspot_scale.exports.viewer import axes_of
from deepspot_scale.kernels.binning import binning_for
from deepspot_scale.kernels.pixel_shape import pixel_shape
from deepspot_scale.kernels.references import Reference
from deepspot_scale.kernels.sectors import relative_concentration, sector_sums
from deepspot_scale.napari_plugin.sources import Opened
from deepspot_scale.runs.user_tables import read_references
from deepspot_scale.settings import Settings, make_settings
from deepspot_scale.stages.brightness import BrightnessOptions, Normalisation
from deepspot_scale.stages.denoising import DenoiseOptions
from deepspot_scale.stages.detection.detect import DetectOptions
from deepspot_scale.stages.detection.wavelet import PRESETS
from deepspot_scale.stages.enhancement import EnhanceOptions, choose_engine
from deepspot_scale.stages.polarity.measure import PolarityOptions
from deepspot_scale.stages.volume import VolumeOptions
from deepspot_scale.statistics import groups
from deepspot_scale.statistics.sector_index import SectorIndex, measure_group
from deepspot_scale.verbs.cells import assign, measure_polarity
from deepspot_scale.verbs.decisions import choose_spots, find_candidates, has_judge
from deepspot_scale.verbs.images import detect, enhance
from deepspot_scale.vocabulary import FieldAddress

_BLOCK = 512
"""Edge of a block while a network can be stopped between blocks; the answer does not
depend on it."""


NO_CELLS = pd.DataFrame(columns=["cell", "spots", "toward", "angle"])
"""`cell_rows` of nothing."""


class StoppedError(Exception):
    """The user has asked to stop."""


@dataclass(frozen=True)
class Subject:
    """One channel of a field, in memory, with what a run knows of it."""

    path: str
    """Of the field."""
    raw: xr.DataArray
    """Raw counts as a run takes them: t and z where it keeps several, y, x."""
    labels: Mapping[str, xr.DataArray]
    """Label images in memory, by what they are for: cells, nuclei."""
    scale: tuple[float, ...]
    """Size of a pixel along each axis of `raw`, micrometres where it is known."""
    own_reference: str | None
    """What the opened settings say of the reference."""
    reference: Any
    """That of this field, read once: by time point, or one, or None."""

    @property
    def axes(self) -> list[str]:
        """Axes of `raw`."""
        return [str(axis) for axis in self.raw.dims]


@dataclass(frozen=True)
class Enhanced:
    """A subject after the network, ready for any number of decisions."""

    subject: Subject
    image: xr.DataArray
    """As `subject.raw`, 0 to 1."""
    binning: int
    """That the network saw: wide spots ask for another."""
    candidates: pd.DataFrame | None
    """All that may be a spot; None where the model judges none."""


@dataclass(frozen=True)
class Found:
    """What a run with these settings finds in the subject."""

    spots: pd.DataFrame
    """`vocabulary.SPOTS`, with cell and nucleus."""
    cells: pd.DataFrame | None
    """`vocabulary.CELLS`; None without labels of cells."""


def tuned_settings(settings: Settings, channel: str, **numbers: Any) -> Settings:
    """Return settings with a channel and some numbers instead of their own.

    Parameters
    ----------
    settings
        Of the run, or of the plate.
    channel
        Where settings name several channels and this one among them, they keep all.
    **numbers
        By the names of options: floor, min_relative_intensity, spot_sigma, sectors,
        reference.

    Raises
    ------
    SettingsError
        A number is out of its range.
    """
    values = settings.to_dict()
    options = {
        "detect": ("floor", "min_relative_intensity"),
        "polarity": ("sectors",),
    }
    for stage, names in options.items():
        values[stage] |= {name: numbers.pop(name) for name in names if name in numbers}
    values |= numbers
    if channel not in settings.channels:
        values["channels"] = [channel]
    return make_settings(**values)


def check_tunable(settings: Settings) -> None:
    """Raise SettingsError if the numbers that are tuned would not decide."""
    name = settings.of(DetectOptions).detector
    preset = PRESETS.get(name or "enhanced")
    if preset is None or preset.on != "enhanced" or not settings.of(EnhanceOptions).use:
        raise SettingsError(
            "tuning changes the numbers of detectors on enhanced images, and these "
            f"settings have the detector {settings.detector_name!r}, which has its "
            "own; open the plate instead of the run"
        )
    if settings.of(DenoiseOptions).use:
        raise SettingsError(
            "the run denoises images before it enhances them, which tuning does not; "
            "write them (deepspot-scale export --to denoised) and open that plate"
        )


def read_subject(
    opened: Opened, path: str, channel: str, stopped: Callable[[], bool] = bool
) -> Subject:
    """Read one channel of a field and its labels, planes projected as in a run.

    Parameters
    ----------
    opened
        Run or plate.
    path
        Of the field.
    channel
        Name or index.
    stopped
        Says whether to stop before the next plane.

    Raises
    ------
    FieldError
        No such field or channel, or damaged pixels.
    StoppedError
        `stopped` says so.
    """
    field, project = opened.open(path), opened.settings.projection
    index = field.channel_index(channel)
    like = lazy_image(field, project).isel(c=index)
    planes = []
    for t in range(field.n_t):
        kept = range(field.n_z) if project == "none" or field.n_z == 1 else (project,)
        for z in kept:
            _heed(stopped)
            planes.append(field.read(t=t, channel=index, z=z))
    raw = like.copy(data=np.stack(planes).reshape(like.shape))
    labels = {
        use: folded_labels(field, name, like).load()
        for use, name in opened.labels.items()
        if use in {"cells", "nuclei"} and name in field.label_names
    }
    _, scale = axes_of(field, raw)
    text = opened.settings.reference
    reference = read_references(text, opened.addresses)(field.address)
    return Subject(path, raw, labels, scale, text, reference)


def enhance_subject(
    subject: Subject, settings: Settings, stopped: Callable[[], bool] = bool
) -> Enhanced:
    """Run the network, and find what may be a spot.

    Parameters
    ----------
    subject
        What is enhanced.
    settings
        Model, engine, brightness scale, width of spots.
    stopped
        Says whether to stop before the next block.

    Raises
    ------
    SettingsError
        Settings that are not tuned here, or unfit ones.
    WeightsError, FieldError
        As `verbs.images.enhance`.
    StoppedError
        `stopped` says so.
    """
    check_tunable(settings)
    options = settings.of(EnhanceOptions)
    volume = settings.of(VolumeOptions)
    lazy = enhance(
        subject.raw.chunk(),
        normalisation=Normalisation(settings.of(BrightnessOptions).normalisation),
        engine=choose_engine(options, RunContext()),
        block=min(settings.block, _BLOCK),
        spot_sigma=settings.spot_sigma,
        volume=volume.use,
        sigma_z=volume.sigma_z,
    )
    # Of this computation alone (start, state, before and after each task, end), so that
    # images that the viewer reads are not stopped.
    before_each = (None, None, lambda *_: _heed(stopped), None, None)
    image = lazy.compute(scheduler="synchronous", callbacks=[before_each])
    _heed(stopped)
    made = Enhanced(subject, image, binning_for(settings.spot_sigma), None)
    judged = settings.detector_name == "enhanced" and not volume.use
    if not (judged and has_judge(image, subject.raw)):
        return made
    sigma = settings.spot_sigma
    return replace(
        made, candidates=find_candidates(image, subject.raw, spot_sigma=sigma)
    )


def _heed(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise StoppedError


def fits(enhanced: Enhanced, settings: Settings) -> bool:
    """Return whether the network saw the pixels that spots of this width ask for."""
    return binning_for(settings.spot_sigma) == enhanced.binning


def find_again(enhanced: Enhanced, settings: Settings) -> Found:
    """Return what a run with these settings finds, without the network.

    Raises
    ------
    SettingsError
        The width of spots asks for another enhanced image, or the reference is one of
        several time points.
    FieldError
        Label images that do not fit.
    """
    if not fits(enhanced, settings):
        raise SettingsError(
            "spots of this width are enhanced in other pixels: enhance again"
        )
    subject: Subject = enhanced.subject
    spots: Any = _find_spots(enhanced, settings)
    if "cells" not in subject.labels:
        return Found(spots, None)
    spots = assign(spots, **subject.labels)
    cells: Any = measure_polarity(
        spots,
        **subject.labels,
        reference=_reference(subject, settings),
        like=subject.raw,
        nucleus_margin=settings.of(PolarityOptions).nucleus_margin,
    )
    return Found(spots, cells)


def _find_spots(enhanced: Enhanced, settings: Settings) -> Any:
    options, volume = settings.of(DetectOptions), settings.of(VolumeOptions)
    numbers: dict[str, Any] = {
        "floor": options.floor,
        "min_relative_intensity": options.min_relative_intensity,
    }
    if enhanced.candidates is not None:
        return choose_spots(enhanced.candidates, **numbers)
    return detect(
        enhanced.image,
        enhanced.subject.raw,
        method=settings.detector_name,
        spot_sigma=settings.spot_sigma,
        volume=volume.use,
        sigma_z=volume.sigma_z,
        decompose=options.decompose,
        **numbers,
    )


def _reference(subject: Subject, settings: Settings) -> Reference | None:
    known: Reference | Mapping[int, Reference] | None = subject.reference
    if settings.reference != subject.own_reference:  # an angle, for all fields
        known = read_references(settings.reference, ())(FieldAddress("", "", ""))
    if not isinstance(known, Mapping):
        return known
    if len(known) == 1:
        return next(iter(known.values()))
    raise SettingsError(
        "the settings have a reference for each time point, and tuning takes one for "
        "all; move the angle"
    )


def describe_found(found: Found, settings: Settings) -> str:
    """Return counts and the polarity index in words, one line for each time point."""
    lines = [f"{len(found.spots)} spots"]
    if found.cells is None:
        return f"{lines[0]}; no labels of cells, so no polarity"
    own = settings.of(PolarityOptions)
    index = SectorIndex(own.sectors, own.min_spots, own.rotation, n_boot=0, n_null=0)
    inside = int((found.spots["cell"] > 0).sum())
    lines[0] += f", {inside} of them in {found.cells['cell'].nunique()} cells"
    for group in groups.iter_groups(found.cells, None, ["channel"]):
        known = groups.with_reference(group.cells)
        if own.exclude_border:
            known = known[~known["touches_border"].astype(bool)]
        spots, areas = (known[n].tolist() for n in ("spot_bins", "area_bins"))
        measured = measure_group(spots, areas, index, group.key)
        where = f"t {group.names['t']}: " if found.cells["t"].nunique() > 1 else ""
        lines.append(where + _describe_index(measured, own))
    return "\n".join(lines)


def _describe_index(measured: Any, own: PolarityOptions) -> str:
    used = f"{measured.n_cells_used} cells of at least {own.min_spots} spots"
    if np.isnan(measured.polarity_index):
        return f"no polarity index: {used}, and a direction"
    return f"polarity index {measured.polarity_index:+.2f} ({used})"


def cell_rows(found: Found, settings: Settings) -> pd.DataFrame:
    """Return one row for each cell: its spots and how many lie toward the reference.

    The columns are t where there are several, cell, spots (in the cytoplasm), toward
    (density in the reference sector over that of the whole cytoplasm, 1: uniform, NaN:
    no spots) and angle (mean direction of the spots in degrees, NaN: none).
    """
    cells, n = found.cells, settings.of(PolarityOptions).sectors
    if cells is None or cells.empty:
        return NO_CELLS
    areas, spots = (
        sector_sums(cells[name].to_list(), n) for name in ("area_bins", "spot_bins")
    )
    rows = pd.DataFrame(
        {
            "cell": cells["cell"].to_numpy(),
            "spots": cells["n_spots_cytoplasm"].to_numpy(),
            "toward": relative_concentration(spots, areas)[:, 0].round(2),
            "angle": cells["resultant_deg"].to_numpy().round(),
        }
    )
    if cells["t"].nunique() > 1:
        rows.insert(0, "t", cells["t"].to_numpy())
    return rows


def draw_again(
    subject: Subject, found: Found, settings: Settings
) -> NDArray[np.uint8] | None:
    """Return the sector of each pixel of cytoplasm, with the axes of `Subject.raw`.

    None: there are no cells, or they are label volumes, which have no flat sectors.
    """
    cells = subject.labels.get("cells")
    if found.cells is None or cells is None or "z" in cells.dims:
        return None
    sectors = settings.of(PolarityOptions).sectors
    nuclei = subject.labels.get("nuclei")
    cytoplasm = cells if nuclei is None else cells.where(nuclei == 0, 0)
    pixel = pixel_shape(subject.raw.attrs.get("pixel_size_um"))
    drawn = []
    for t in range(subject.raw.sizes.get("t", 1)):
        own = found.cells[found.cells["t"] == t]
        here = cytoplasm.isel(t=t) if "t" in cytoplasm.dims else cytoplasm
        known = own.drop_duplicates("cell").sort_values("cell")
        by_nuclei = nuclei is not None
        given = (here.to_numpy(), known, sectors)
        drawn.append(draw_sectors(*given, has_nuclei=by_nuclei, pixel=pixel))
    whole = xr.DataArray(np.stack(drawn), dims=("t", "y", "x"))
    if "t" not in subject.raw.dims:
        whole = whole.isel(t=0)
    return whole.broadcast_like(subject.raw.drop_vars(subject.raw.coords)).to_numpy()
