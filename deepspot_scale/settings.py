"""Settings of a run, checked as they come in: all that decides about its answer.

What concerns the whole run stands here; what concerns one stage is declared by that
stage's Options and stands in its own table. Plain values only, so that they can be
written as TOML, compared, and sent to a worker. Where the work is done, and on which of
the fields, is not here: it must not change an answer.
"""

from __future__ import annotations

import os
import tomllib
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, Field, SerializeAsAny, model_validator
from pydantic.fields import FieldInfo

from deepspot_scale.blockwise.answers import LABELS
from deepspot_scale.blockwise.contract import RunContext, Stage, StageOptions
from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.config import Strict, checked
from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.networks.weights import shipped_models
from deepspot_scale.pipeline import STAGES, assemble_stages, find_stages
from deepspot_scale.plugins import (
    DETECTORS,
    ENGINES,
    SEGMENTERS,
    hash_plugin,
    is_own_code,
)
from deepspot_scale.plugins import STAGES as GROUP
from deepspot_scale.stages.denoising import DenoiseOptions
from deepspot_scale.stages.detection.detect import DETECT, DetectOptions
from deepspot_scale.stages.detection.detector_names import read_detector_name
from deepspot_scale.stages.enhancement import (
    ENHANCE,
    EnhanceOptions,
)
from deepspot_scale.stages.localisation import LOCALISE, LocaliseOptions
from deepspot_scale.stages.rating import RATE, RateOptions
from deepspot_scale.stages.segmentation.segment import SegmentOptions
from deepspot_scale.stages.volume import VolumeOptions

Options = TypeVar("Options", bound=StageOptions)


class Settings(Strict):
    """What a run measures and how."""

    channels: tuple[str, ...] = Field(
        min_length=1, description="Channels to find spots in, by name or index."
    )
    cells: str | None = Field(default=None, description="Label image of the cells.")
    nuclei: str | None = Field(default=None, description="Label image of the nuclei.")
    reference: str | None = Field(
        default=None, description="CSV by field, angle:DEG, point:Y,X or line:Y,X,Y,X."
    )
    plate_map: str | None = Field(
        default=None, description="CSV of condition, gene, replicate, dose by well."
    )
    project: Literal["max", "mean", "none"] = Field(
        default="max",
        description="How a z-stack becomes a plane; none: each plane alone.",
    )
    spot_sigma: float | None = Field(
        default=None,
        gt=0,
        description="Standard deviation of wide spots, above 3.5 px, in pixels.",
    )
    colocalise: tuple[str, ...] = Field(
        default=(), description="Channels to compare, A:B: which of A's spots are at B."
    )
    pair_distance: float = Field(
        default=2.0, gt=0, le=100, description="Largest distance of a pair in pixels."
    )
    pair_planes: float = Field(
        default=1.5,
        gt=0,
        le=100,
        description="Largest distance of a pair along z in planes, with --volume.",
    )
    chromatic_shift: str = Field(
        default="measured",
        min_length=1,
        description="Undone first: measured, none, or the file of another run.",
    )
    block: int = Field(
        default=DEFAULT_BLOCK,
        ge=64,
        le=65536,
        description="Largest edge of a block in pixels.",
    )
    stages: tuple[str, ...] = Field(
        default=(), description="Further stages: entry points, or module:attribute."
    )
    options: Mapping[str, SerializeAsAny[StageOptions]] = Field(default_factory=dict)
    """Options of each stage by its name."""

    @model_validator(mode="after")
    def _fits(self) -> Settings:
        if self.nuclei is not None and self.cells is None:
            raise ValueError("nuclei need cells: name the label image of the cells too")
        if self.in_volume and self.project != "max":
            raise ValueError(
                "a volume is not projected: leave out either volume or project"
            )
        _check_compared(self.colocalise)
        if self.of(DetectOptions).fit and not self.in_volume:
            raise ValueError(
                "Gaussians (fit) are fitted to the spots of volumes: add volume (or "
                "--volume), or leave fit out"
            )
        denoise = self.of(DenoiseOptions)
        if denoise.keep_denoised and not denoise.use:
            raise ValueError("there are no images without noise to keep: add denoise")
        if denoise.use and (self.in_volume or self.of_movies):
            raise ValueError(
                "denoising works on planes, and neither on volumes nor on movies: "
                "leave denoise out, or the other"
            )
        rate = self.of(RateOptions)
        if rate.min_quality is not None and not rate.use:
            raise ValueError(
                "min_quality leaves out images that score less, and none has a score: "
                "add rate (or --rate)"
            )
        if rate.use and self.of_movies:
            raise ValueError("frames of movies are not rated: leave rate out")
        enhance = self.of(EnhanceOptions)
        if enhance.keep_enhanced and not enhance.use:
            raise ValueError("there are no enhanced images to keep without enhancement")
        return self

    def of(self, kind: type[Options]) -> Options:
        """Return the options of the stage whose Options are of this type."""
        return next(each for each in self.options.values() if isinstance(each, kind))

    @property
    def detector_name(self) -> str:
        """The detector in use."""
        enhanced = self.of(EnhanceOptions).use
        return self.of(DetectOptions).detector or ("enhanced" if enhanced else "raw")

    @property
    def in_volume(self) -> bool:
        """Whether a z-stack is one image, whose spots have a depth."""
        return self.of(VolumeOptions).use

    @property
    def further_channels(self) -> tuple[str, ...]:
        """Channels that are read to see cells and nuclei, by name or index."""
        made = self.of(SegmentOptions).made.values()
        return tuple(each.channel for each in made if each.channel is not None)

    @property
    def made_labels(self) -> tuple[str, ...]:
        """Labels that the run makes: nuclei, cells."""
        return tuple(self.of(SegmentOptions).made)

    @property
    def finds_spots(self) -> bool:
        """Whether spots are found; else the run has layers, labels or molecules."""
        return self.of(DetectOptions).use

    @property
    def of_movies(self) -> bool:
        """Whether molecules are localised, so fields are segments of movies."""
        return self.of(LocaliseOptions).use

    @property
    def projection(self) -> Literal["max", "mean", "none"]:
        """How a z-stack is shown with its spots."""
        return "none" if self.in_volume else self.project

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, those of each stage in a table of its own."""
        values = self.model_dump(mode="json")
        tables: dict[str, Any] = values.pop("options")
        return values | tables


def _check_compared(words: tuple[str, ...]) -> None:
    """Raise ValueError unless each is two channels, A:B, and all differ."""
    for word in words:
        one, colon, other = word.partition(":")
        if not (one and colon and other):
            raise ValueError(f"colocalise reads A:B, two channels; got {word!r}")
        if one == other:
            raise ValueError(f"colocalise compares two channels; {word!r} is one")
        if words.count(word) > 1:
            raise ValueError(f"colocalise names {word!r} twice")


RUN_FIELDS: Mapping[str, FieldInfo] = {
    name: field for name, field in Settings.model_fields.items() if name != "options"
}
"""Settings of the run as a whole, by name."""


class _UnreadOptions(StageOptions):
    """Options of a stage that is not loaded, as they are written."""

    model_config = ConfigDict(frozen=True, extra="allow")


def make_settings(**values: Any) -> Settings:
    """Return checked settings.

    Parameters
    ----------
    **values
        Fields of `Settings`; options of a stage as a table, ``detect={"floor": .2}``,
        or by their own names, ``floor=.2``.

    Raises
    ------
    SettingsError
        Which setting is unfit and why, in one line each.

    Examples
    --------
    >>> settings = make_settings(channels=["FISH"], enhance=False, floor=0.2)
    >>> settings.options["detect"].floor
    0.2
    """
    stages = find_stages(_names(values))
    for former, now in sorted(_former_names(stages).items()):
        if former in values:
            warnings.warn(f"{former} is called {now} now", FutureWarning, stacklevel=2)
    return _settings(values, stages)


def _names(values: Mapping[str, Any]) -> tuple[str, ...]:
    names = values.get("stages", ())
    return (names,) if isinstance(names, str) else tuple(names)


def _settings(values: Mapping[str, Any], stages: Iterable[Stage]) -> Settings:
    own, tables = _sort(values, tuple(stages))
    options: dict[str, StageOptions] = {}
    unfit: list[str] = []
    for stage in stages:
        table = tables[stage.name]
        try:
            options[stage.name] = checked(
                stage.options, table, noun="setting", table=stage.name
            )
        except SettingsError as error:
            unfit.append(str(error))
            options[stage.name] = stage.options()
    _leave_enhancement_out(options)
    try:
        settings = checked(Settings, {**own, "options": options}, noun="setting")
    except SettingsError as error:
        unfit.insert(0, str(error))
    if unfit:
        raise SettingsError("; ".join(unfit))
    return settings


def _leave_enhancement_out(options: dict[str, StageOptions]) -> None:
    """Run no network where a known detector works on the raw image.

    Its enhanced image would be of no use, unless it is asked for.
    """
    detect, enhance = options.get(DETECT.name), options.get(ENHANCE.name)
    if not isinstance(detect, DetectOptions) or detect.detector is None:
        return
    if not isinstance(enhance, EnhanceOptions) or enhance.keep_enhanced:
        return
    if read_detector_name(detect.detector).works_on_raw:
        options[ENHANCE.name] = enhance.model_copy(update={"use": False})


def _sort(
    values: Mapping[str, Any], stages: tuple[Stage, ...]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return values of the run, and those of each stage."""
    tables: dict[str, dict[str, Any]] = {stage.name: {} for stage in stages}
    flat, former = dict(iter_flat_names(stages)), _former_names(stages)
    own: dict[str, Any] = {}
    for given, value in values.items():
        name = former.get(given, given)
        if name in tables and isinstance(value, Mapping):
            tables[name] |= {former.get(str(k), str(k)): v for k, v in value.items()}
        elif name in flat:
            stage, option = flat[name]
            tables[stage][option] = value
        elif name in RUN_FIELDS:
            own[name] = value
        else:
            known = (*RUN_FIELDS, *flat, *tables)
            raise SettingsError(
                f"there is no setting {given!r}.{did_you_mean(given, known)}"
            )
    return own, tables


def iter_flat_names(stages: Iterable[Stage]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the name of each option outside its table: its stage and its own name.

    Whether a stage is used goes by the stage's name. Options of built-in stages go by
    their own names, those of other stages by both.
    """
    for stage in stages:
        for option, field in stage.options.model_fields.items():
            if option == "use" and field.annotation is bool:
                yield stage.name, (stage.name, option)
            elif option == "use":  # a stage that is always there
                continue
            elif stage in STAGES:
                yield option, (stage.name, option)
            else:
                yield f"{stage.name}_{option}", (stage.name, option)


def _former_names(stages: Iterable[Stage]) -> dict[str, str]:
    """Return what options were once called, and are called now."""
    names = {}
    for stage in stages:
        for option, field in stage.options.model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and "formerly" in extra:
                names[str(extra["formerly"])] = option
    return names


def write_settings(settings: Settings) -> str:
    """Return the settings as TOML; what is None is left out."""
    import tomli_w

    return tomli_w.dumps(_without_none(settings.to_dict()))


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None
    }


def read_settings(text: str) -> Settings:
    """Read what `write_settings` wrote, also before stages had tables of their own.

    No code that the settings name is loaded: options of plug-in stages stay as they
    are written, see `load_settings`.

    Raises
    ------
    SettingsError
        Text that is no TOML, or settings that do not exist.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings are no TOML: {error}") from error
    known = {*RUN_FIELDS, *(stage.name for stage in STAGES)}
    unread = [
        Stage(name, _UnreadOptions, lambda *_: None)
        for name, value in values.items()
        if isinstance(value, Mapping) and name not in known
    ]
    return _settings(values, (*unread, *STAGES))


def load_settings(settings: Settings, *, allowed: Iterable[str] = ()) -> Settings:
    """Return settings as read, with the stages loaded that they name.

    Code that the settings name as ``module:attribute`` is imported only if it is among
    those `allowed`; SettingsError says which is not.
    """
    named = [
        ("detector", _plugin_of(settings.of(DetectOptions).detector), DETECTORS),
        ("engine", settings.of(EnhanceOptions).engine, ENGINES),
        ("engine", settings.of(LocaliseOptions).localiser_engine, ENGINES),
        ("engine", settings.of(SegmentOptions).nuclei_engine, ENGINES),
        ("engine", settings.of(RateOptions).rater_engine, ENGINES),
        *(("stage", name, GROUP) for name in settings.stages),
        *(
            ("segment", each.plugin, SEGMENTERS)
            for each in settings.of(SegmentOptions).made.values()
            if each.plugin is not None
        ),
    ]
    own = [(kind, name) for kind, name, group in named if is_own_code(name, group)]
    if not {name for _, name in own} <= {*allowed, *map(_plugin_of, allowed)}:
        flags = " ".join(dict.fromkeys(f"--{kind} {name}" for kind, name in own))
        raise SettingsError(
            "the settings name code that belongs to no installed package, and may be "
            "another's. It runs only if you name it again: in the folder where its "
            f"module lies, give the same command with {flags}"
        )
    own_names = {name for _, name, _ in named}
    unknown = sorted(
        word for word in allowed if not {word, _plugin_of(word)} & own_names
    )
    if unknown:
        raise SettingsError(
            f"the settings do not name {', '.join(unknown)}; a run keeps the detector, "
            "engine, segmenters and stages that it was begun with"
        )
    return _settings(settings.to_dict(), find_stages(settings.stages))


def _plugin_of(detector: str | None) -> str | None:
    """Return the name of a detector without its options."""
    return None if detector is None else read_detector_name(detector).name


def find_files(settings: Settings, folder: str) -> Settings:
    """Return settings whose tables and weights are named from anywhere.

    Relative paths of files that exist are those below `folder`; empty: as they are.
    """
    if not folder:
        return settings
    values = settings.to_dict()

    def whole(name: str | None) -> str | None:
        path = os.path.join(folder, name or "")
        return path if name and os.path.isfile(path) else name

    for name in ("reference", "plate_map", "chromatic_shift"):
        values[name] = whole(values[name])
    enhance = values[ENHANCE.name]
    if enhance["model"] not in shipped_models():
        enhance["model"] = whole(enhance["model"])
    localise = values[LOCALISE.name]
    if localise["localiser"] not in shipped_models():
        localise["localiser"] = whole(localise["localiser"])
    rate = values[RATE.name]
    if rate["rater"] not in shipped_models():
        rate["rater"] = whole(rate["rater"])
    return _settings(values, find_stages(settings.stages))


def assemble(settings: Settings, *, device: str = "auto", threads: int = 0) -> Pipeline:
    """Return the pipeline that the settings ask for.

    Parameters
    ----------
    settings
        What to measure and how.
    device
        Where networks must run.
    threads
        Processor threads for networks; 0: all.

    Raises
    ------
    SettingsError
        No such engine, detector or stage, or stages that do not go together.
    WeightsError
        No such model.
    """
    choices = {
        stage: settings.options[stage.name] for stage in find_stages(settings.stages)
    }
    labels = {name for name in LABELS.values() if getattr(settings, name) is not None}
    context = RunContext(
        frozenset({"image", *labels}),
        in_volume=settings.in_volume,
        channel=settings.channels[0],
        spot_sigma=settings.spot_sigma,
        device=device,
        threads=threads,
    )
    return assemble_stages(choices, context, block=settings.block)


def find_sources(settings: Settings) -> dict[str, dict[str, str]]:
    """Return the files that decide about answers, by role: ``name`` and ``sha256``."""
    found: dict[str, dict[str, str]] = {}
    for stage in find_stages(settings.stages):
        options = settings.options[stage.name]
        if options.use:
            found |= {role: dict(file) for role, file in stage.sources(options).items()}
    for name in settings.stages:
        digest = hash_plugin(name, GROUP)
        if digest is not None:
            found[f"stage {name}"] = {"name": name, "sha256": digest}
    return found
