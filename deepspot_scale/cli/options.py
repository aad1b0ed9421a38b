"""Options that several commands have, said once; and files that stand for options.

A group is a class whose fields are options; a command takes a group's values as
keywords. ``--config FILE`` makes a file's values the defaults, so flags win over the
file and the file wins over what is built in. Nothing here knows what a command does.
"""

from __future__ import annotations

import inspect
import json
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, update_wrapper
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_origin

import typer
from pydantic.fields import FieldInfo

from deepspot_scale.cli.application import say
from deepspot_scale.errors import SettingsError, did_you_mean

Command = Callable[..., None]


def complete_detector(incomplete: str) -> list[str]:
    """Return the detectors that begin so, for the shell."""
    from deepspot_scale.plugins import DETECTORS, plugin_names
    from deepspot_scale.stages.detection.detector_names import KNOWN

    names = (*KNOWN, *plugin_names(DETECTORS))
    return [name for name in names if name.startswith(incomplete)]


def _complete_engine(incomplete: str) -> list[str]:
    from deepspot_scale.networks.engine_types import AUTO
    from deepspot_scale.networks.engines import LOADERS
    from deepspot_scale.plugins import ENGINES, plugin_names

    names = (AUTO, *LOADERS, *plugin_names(ENGINES))
    return [name for name in names if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Return the shipped models that begin so, for the shell."""
    from deepspot_scale.networks.weights import shipped_models

    return [name for name in shipped_models() if name.startswith(incomplete)]


def _complete_cluster(incomplete: str) -> list[str]:
    from deepspot_scale.cluster.client import KINDS

    return [name for name in KINDS if name.startswith(incomplete)]


Channel = Annotated[
    list[str], typer.Option("--channel", "-c", help="Channel, by name or index.")
]
Channels = Annotated[
    list[str] | None,
    typer.Option("--channel", "-c", help="Channel, by name or index; else the first."),
]
Enhance = Annotated[bool, typer.Option(help="Use the network.")]
Model = Annotated[
    str,
    typer.Option(
        help="Shipped model, or a weights file.", autocompletion=complete_model
    ),
]
Block = Annotated[int, typer.Option(help="Largest edge of a block in pixels.")]
Project = Annotated[
    Literal["max", "mean", "none"], typer.Option(help="How a z-stack becomes a plane.")
]
Device = Annotated[
    Literal["auto", "cpu", "gpu"], typer.Option(help="gpu: refuse to run without one.")
]
Cluster = Annotated[
    str,
    typer.Option(
        help="local, gpu, slurm, pbs, sge, lsf, htcondor, oar, moab, srun, kubernetes; "
        "tcp://host:port, tls://host:port or file:scheduler.json of a scheduler; or a "
        "TOML file, see deploy.",
        autocompletion=_complete_cluster,
    ),
]
AllowAbsent = Annotated[
    Literal["none", "labels", "all"],
    typer.Option(
        help="Chunks that are not stored, as in sparse plates, and are no error."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes, GPUs, jobs or pods; else one, or every GPU."),
]


TrustWords = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        help="What of a plate is not checked, if you know where it comes from: links "
        "out of it; sizes of chunks that unpack to more than is declared, or have an "
        "unusual codec; holes, images of which hardly any chunk is stored.",
    ),
]


_COMPLETIONS = {
    "detector": complete_detector,
    "engine": _complete_engine,
    "model": complete_model,
}


class StageFlags(NamedTuple):
    """Flags of the settings of a run and of its stages, as these declare them."""

    own: tuple[str, ...] = ()
    """Settings of the run as a whole."""
    stages: tuple[str, ...] = ()
    """Stages whose options are flags; none: all, installed plug-ins among them."""


def setting_parameters(flags: StageFlags) -> Iterator[inspect.Parameter]:
    """Yield a parameter for each setting, with its flag, default and help."""
    from deepspot_scale.pipeline import STAGES, find_stages
    from deepspot_scale.plugins import STAGES as GROUP
    from deepspot_scale.plugins import plugin_names
    from deepspot_scale.settings import RUN_FIELDS, iter_flat_names

    for name in flags.own:
        yield _parameter(name, RUN_FIELDS[name])
    stages = find_stages(() if flags.stages else plugin_names(GROUP))
    kept = [each for each in stages if not flags.stages or each.name in flags.stages]
    fields = {stage.name: stage.options.model_fields for stage in kept}
    further = {stage.name for stage in kept} - {stage.name for stage in STAGES}
    for flat, (stage, option) in iter_flat_names(kept):
        field = fields[stage][option]
        # Where a run does not name the stage they are unknown to its settings.
        yield _parameter(flat, field, may_be_absent=stage in further)
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "formerly" in extra:
            yield _former(str(extra["formerly"]), flat, field)


def _parameter(
    name: str, field: FieldInfo, *, may_be_absent: bool = False
) -> inspect.Parameter:
    many = get_origin(field.annotation) is tuple
    flags = [f"--{name.removesuffix('s')}"] if many else []
    default = list(field.default) if many else field.default
    kind: Any = list[str] if many else field.annotation
    told = field.description
    if may_be_absent:
        told, default, kind = f"{told}  [default: {default}]", None, kind | None
    option = typer.Option(*flags, help=told, autocompletion=_COMPLETIONS.get(name))
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, option],
    )


def _former(name: str, now: str, field: FieldInfo) -> inspect.Parameter:
    """Return the flag that an option once had: it works, and says what it is called."""

    def say_so(value: Any) -> Any:
        if value is not None:
            say(f"--{name} is called --{now.replace('_', '-')} now")
        return value

    told = f"Now --{now.replace('_', '-')}."
    option = typer.Option(f"--{name}", hidden=True, callback=say_so, help=told)
    return inspect.Parameter(
        now + _FORMERLY,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[field.annotation, option],
    )


_FORMERLY = "_formerly"
"""After an option's name: its value by the flag that it once had."""


def _take_former(values: dict[str, Any]) -> None:
    for name in [name for name in values if name.endswith(_FORMERLY)]:
        value = values.pop(name)
        if value is not None:
            values[name.removesuffix(_FORMERLY)] = value


METHOD = StageFlags(
    ("project", "spot_sigma", "block"), ("volume", "brightness", "enhance", "detect")
)
"""How spots are found."""


class FurtherTables:
    """Options of stages that are not installed, and so have no flags."""

    further: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="STAGE.OPTION=VALUE",
            help="Option of a stage that --stage names as module:attribute.",
        ),
    ] = None


def _read_further(words: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return tables of options from words such as ``smooth.sigma=1.5``."""
    tables: dict[str, dict[str, Any]] = {}
    for word in words:
        name, equals, value = word.partition("=")
        stage, dot, option = name.partition(".")
        if not (equals and dot and option):
            raise SettingsError(f"--set reads STAGE.OPTION=VALUE, got {word!r}")
        try:
            read = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:  # a word without quotation marks
            read = value
        tables.setdefault(stage, {})[option] = read
    return tables


EVERYTHING = StageFlags(
    (
        *("cells", "nuclei", "reference", "plate_map"),
        *("colocalise", "pair_distance", "pair_planes", "chromatic_shift"),
        *("project", "spot_sigma", "block", "stages"),
    )
)
"""All that a run measures, and how."""


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a file the defaults of all other options."""
    if path is not None:
        context.default_map = {**(context.default_map or {}), **_values(context, path)}
    return path


class Configuration:
    """Where options come from."""

    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of options, such as settings.toml of a run; flags win.",
            is_eager=True,
            callback=_read_config,
        ),
    ] = None
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print all options as TOML and stop.")
    ] = False


def _values(context: typer.Context, path: Path) -> dict[str, Any]:
    """Return a file's values by the names that the command knows them by.

    A table holds options of the stage that it is named after.
    """
    try:
        read = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"--config: {path} is no TOML file: {error}") from error
    options = [p for p in context.command.params if p.name not in _FIELDS]
    names = {
        word: option
        for option in options
        for word in (*(flag.lstrip("-") for flag in option.opts), option.name)
        if word is not None and len(word) > 1
    }
    values: dict[str, Any] = {}
    for key, value in _flatten(read, names).items():
        option = names.get(key) or names.get(key.replace("_", "-"))
        if isinstance(value, dict) and read.get("stages") and "further" in names:
            words = [f"{key}.{name}={json.dumps(each)}" for name, each in value.items()]
            values["further"] = [*values.get("further", ()), *words]
            continue
        if option is None or option.name is None:
            raise SettingsError(
                f"{path}: {context.command.name} has no option {key!r}."
                + did_you_mean(key, names)
            )
        many = option.nargs == -1 or getattr(option, "multiple", False)
        values[option.name] = _as_given(value, many=many)
    return values


def _flatten(read: dict[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that stand in tables by the names that they have as flags."""
    from deepspot_scale.pipeline import STAGES

    flat: dict[str, Any] = {}
    tables = {*names, *(stage.name for stage in STAGES)}
    for key, value in read.items():
        if not isinstance(value, dict) or key not in tables:
            flat[key] = value
            continue
        for option, each in value.items():
            of_use = getattr(names.get(key), "name", None) == key
            if option == "use" and each is True and not of_use:
                continue  # a stage that is always there has no flag that says so
            whole = f"{key}_{option}"
            flat[key if option == "use" else whole if whole in names else option] = each
    return flat


def _as_given(value: Any, *, many: bool) -> Any:
    """Return a value of a file as flags would give it: B03,B04 or one of many."""
    if many:
        return value if isinstance(value, list) else [value]
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _parameters(group: type | StageFlags) -> Iterator[inspect.Parameter]:
    if isinstance(group, StageFlags):
        yield from setting_parameters(group)
        return
    for name, annotation in inspect.get_annotations(group, eval_str=True).items():
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(group, name),
            annotation=annotation,
        )


_FIELDS = {parameter.name for parameter in _parameters(Configuration)}


def with_options(*groups: type | StageFlags) -> Callable[[Command], Command]:
    """Give a command the options of some groups, and ``--config``.

    The command takes the groups' values as keywords (``**settings``).
    """
    return lambda command: _WithOptions(command, groups)


class _WithOptions:
    """A command and its options, looked up once a command is asked for.

    Stages declare options in modules that bring compiled libraries; importing the
    command line stays light.
    """

    def __init__(self, command: Command, groups: tuple[type | StageFlags, ...]) -> None:
        update_wrapper(self, command)
        self.__dict__.pop("__signature__", None)  # the command's own would hide ours
        self.command, self.groups = command, groups

    @cached_property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self.command, eval_str=True)
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in signature.parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        groups = (*self.groups, Configuration)
        added = [parameter for group in groups for parameter in _parameters(group)]
        return signature.replace(parameters=[*own, *added])

    def __call__(self, **values: Any) -> None:
        rest = {name: values[name] for name in self.__signature__.parameters}
        for name in _FIELDS - {"print_config"}:
            del rest[name]
        _take_former(rest)
        if rest.pop("print_config"):
            typer.echo(write_config(rest), nl=False)
            return
        tables = _read_further(rest.pop("further", None) or ())
        own = inspect.signature(self.command).parameters
        given = {n: v for n, v in rest.items() if v is not None or n in own}
        self.command(**given, **tables)


def write_config(values: dict[str, Any]) -> str:
    """Return options as TOML that ``--config`` reads; what is None is left out."""
    import tomli_w

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return str(value) if isinstance(value, Path) else value

    return tomli_w.dumps({n: plain(v) for n, v in values.items() if v is not None})
