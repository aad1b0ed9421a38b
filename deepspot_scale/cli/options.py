"""Options that several commands have, said once; and files that stand for options.

A group is a class whose fields are options; a command takes a group's values as
keywords. ``--config FILE`` makes a file's values the defaults, so flags win over the
file and the file wins over what is built in. Nothing here knows what a command does.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK
from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.networks.engines import Precision

Command = Callable[..., None]


def _complete_detector(incomplete: str) -> list[str]:
    from deepspot_scale.plugins import DETECTORS, plugin_names
    from deepspot_scale.stages.detection.wavelet import PRESETS

    names = (*PRESETS, *plugin_names(DETECTORS))
    return [name for name in names if name.startswith(incomplete)]


def _complete_engine(incomplete: str) -> list[str]:
    from deepspot_scale.networks.engines import AUTO, LOADERS
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
Workers = Annotated[
    int | None,
    typer.Option(help="Processes, GPUs, jobs or pods; else one, or every GPU."),
]


class Method:
    """How spots are found: fields of `Settings`."""

    project: Project = "max"
    enhance: Enhance = True
    model: Model = "deepspot"
    normalisation: Annotated[
        Literal["quantile", "max"], typer.Option(help="Brightness scale of a field.")
    ] = "quantile"
    detector: Annotated[
        str | None,
        typer.Option(
            help="Preset (enhanced, paper, raw, product), or module:attribute of your "
            "own.",
            autocompletion=_complete_detector,
        ),
    ] = None
    floor: Annotated[
        float | None,
        typer.Option(help="Least certainty of a spot, 0 to 1: lower finds more."),
    ] = None
    faint: Annotated[
        float | None,
        typer.Option(
            help="Spots below this share of the field's typical intensity are left "
            "out; 0: none is."
        ),
    ] = None
    spot_sigma: Annotated[
        float | None,
        typer.Option(help="Standard deviation of wide spots, above 3.5 px, in pixels."),
    ] = None
    engine: Annotated[
        str,
        typer.Option(
            help="What runs the network: auto, keras, openvino, or module:attribute "
            "of your own.",
            autocompletion=_complete_engine,
        ),
    ] = "auto"
    precision: Annotated[
        Precision,
        typer.Option(help="Number format of the network."),
    ] = "auto"
    block: Block = DEFAULT_BLOCK


class Measures:
    """What is measured in cells: fields of `Settings`."""

    cells: Annotated[str | None, typer.Option(help="Label image of the cells.")] = None
    nuclei: Annotated[str | None, typer.Option(help="Label image of the nuclei.")] = (
        None
    )
    reference: Annotated[
        str | None,
        typer.Option(help="CSV by field, angle:DEG, point:Y,X or line:Y,X,Y,X."),
    ] = None
    plate_map: Annotated[
        str | None, typer.Option(help="CSV of condition, gene, replicate by well.")
    ] = None
    sectors: Annotated[int, typer.Option(help="Sectors about the nucleus.")] = 3
    min_spots: Annotated[
        int, typer.Option(help="Cytoplasmic spots a cell needs for the index.")
    ] = 10
    rotation: Annotated[
        Literal["fixed", "published"],
        typer.Option(help="published: DypFISH's densest rotation, which is biased."),
    ] = "fixed"
    exclude_border: Annotated[
        bool, typer.Option(help="Leave cells at the field's edge out of the index.")
    ] = False
    nucleus_margin: Annotated[
        float, typer.Option(help="Pixels around the nucleus that do not count.")
    ] = 0.0
    keep_enhanced: Annotated[
        bool, typer.Option(help="Write the enhanced images beside the tables.")
    ] = False


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
    """Return a file's values by the names that the command knows them by."""
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
    for key, value in read.items():
        option = names.get(key) or names.get(key.replace("_", "-"))
        if option is None or option.name is None:
            raise SettingsError(
                f"{path}: {context.command.name} has no option {key!r}."
                + did_you_mean(key, names)
            )
        many = option.nargs == -1 or getattr(option, "multiple", False)
        values[option.name] = _as_given(value, many=many)
    return values


def _as_given(value: Any, *, many: bool) -> Any:
    """Return a value of a file as flags would give it: B03,B04 or one of many."""
    if many:
        return value if isinstance(value, list) else [value]
    return ",".join(map(str, value)) if isinstance(value, list) else value


def _parameters(group: type) -> Iterator[inspect.Parameter]:
    for name, annotation in inspect.get_annotations(group, eval_str=True).items():
        yield inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(group, name),
            annotation=annotation,
        )


_FIELDS = {parameter.name for parameter in _parameters(Configuration)}


def with_options(*groups: type) -> Callable[[Command], Command]:
    """Give a command the options of some groups, and ``--config``.

    The command takes the groups' values as keywords (``**settings``).
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in signature.parameters.values()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        ]
        added = [p for group in (*groups, Configuration) for p in _parameters(group)]

        @wraps(command)
        def call(**values: Any) -> None:
            rest = {p.name: values[p.name] for p in (*own, *added)}
            for name in _FIELDS - {"print_config"}:
                del rest[name]
            if rest.pop("print_config"):
                typer.echo(write_config(rest), nl=False)
            else:
                command(**rest)

        call.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]  # what `inspect` looks for
        return call

    return decorate


def write_config(values: dict[str, Any]) -> str:
    """Return options as TOML that ``--config`` reads; what is None is left out."""
    import tomli_w

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        return str(value) if isinstance(value, Path) else value

    return tomli_w.dumps({n: plain(v) for n, v in values.items() if v is not None})
