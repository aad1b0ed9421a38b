"""Settings of a run, checked as they come in: all that decides about its answer.

Plain values only, so that they can be written as TOML, compared, and sent to a
worker. Where the work is done, and on which of the fields, is not here: it must not
change an answer.
"""

from __future__ import annotations

import tomllib
from typing import Any, Literal

from pydantic import Field, field_validator

from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK
from deepspot_scale.config import Strict, checked
from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.engines import AUTO, Precision
from deepspot_scale.networks.weights import DEFAULT_MODEL


class Settings(Strict):
    """What a run measures and how."""

    channels: tuple[str, ...] = Field(min_length=1)
    """Channels to find spots in, by name or index."""
    cells: str | None = None
    """Name of the label image of the cells."""
    nuclei: str | None = None
    """Name of the label image of the nuclei."""
    reference: str | None = None
    """CSV of angles, points or lines by field, or a word such as ``angle:90``."""
    plate_map: str | None = None
    """CSV of condition, gene and replicate by well."""
    project: Literal["max", "mean", "none"] = "max"
    """How the planes of a z-stack become one; none: each plane alone."""
    enhance: bool = True
    """Whether the network is used at all."""
    model: str = DEFAULT_MODEL
    """Name of a shipped model or path of a weights file."""
    normalisation: Literal["quantile", "max"] = "quantile"
    """Brightness scale of a field; max is the paper's."""
    engine: str = AUTO
    """What runs the network: auto, keras, openvino, an entry point, or
    ``module:attribute`` of an engine of your own."""
    precision: Precision = "auto"
    """Number format the network is run in."""
    detector: str | None = None
    """Preset, entry point or ``module:attribute`` of the detector; None: enhanced, or
    raw without enhancement."""
    floor: float | None = Field(None, ge=0, le=1)
    """Least certainty of a spot (its column ``enhanced``); None: the detector's own."""
    faint: float | None = Field(None, ge=0, lt=1)
    """Least intensity of a spot as a share of the field's typical one; None: the
    detector's own."""
    spot_sigma: float | None = Field(None, gt=0)
    """Standard deviation of the spots in pixels, when it is above the network's range
    (3.5 px): the network then sees binned pixels."""
    block: int = Field(DEFAULT_BLOCK, ge=64, le=65536)
    """Largest edge of a block in pixels."""
    sectors: int = 3
    """Sectors about the nucleus, a divisor of 180."""
    min_spots: int = Field(10, ge=1)
    """Cytoplasmic spots a cell needs to count for the polarity index."""
    rotation: Literal["fixed", "published"] = "fixed"
    """Whether the reference sector lies on the reference, or, as DypFISH has it, where
    spots are densest among the rotations that still hold it."""
    exclude_border: bool = False
    """Whether cells that touch the field's edge are left out of the index."""
    nucleus_margin: float = Field(0.0, ge=0, lt=512)
    """Pixels around the nucleus that count neither as area nor for their spots."""
    keep_enhanced: bool = False
    """Whether enhanced images are written as a plate beside the tables."""

    @field_validator("sectors")
    @classmethod
    def _divides(cls, sectors: int) -> int:
        if sectors < 2 or 180 % sectors:
            raise ValueError(
                "sectors must be a divisor of 180, at least 2: 2, 3, 4 ..."
            )
        return sectors

    @field_validator("nuclei")
    @classmethod
    def _with_cells(cls, nuclei: str | None, info: Any) -> str | None:
        if nuclei is not None and info.data.get("cells") is None:
            raise ValueError("nuclei need cells: name the label image of the cells too")
        return nuclei

    @field_validator("keep_enhanced")
    @classmethod
    def _with_enhancement(cls, keep_enhanced: bool, info: Any) -> bool:
        if keep_enhanced and not info.data.get("enhance", True):
            raise ValueError("there are no enhanced images to keep without enhancement")
        return keep_enhanced

    @property
    def detector_name(self) -> str:
        """The detector in use."""
        return self.detector or ("enhanced" if self.enhance else "raw")


def make_settings(**values: Any) -> Settings:
    """Return checked settings.

    Raises
    ------
    SettingsError
        Which setting is unfit and why, in one line each.
    """
    return checked(Settings, values, noun="setting")


def write_settings(settings: Settings) -> str:
    """Return the settings as TOML; what is None is left out."""
    import tomli_w

    return tomli_w.dumps(settings.model_dump(exclude_none=True, mode="json"))


def read_settings(text: str) -> Settings:
    """Read what `write_settings` wrote.

    Raises
    ------
    SettingsError
        Text that is no TOML, or settings that do not exist.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings are no TOML: {error}") from error
    return make_settings(**values)
