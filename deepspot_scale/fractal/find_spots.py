"""The task *find_spots* of Fractal: one image of a plate in, tables in that image out.

    zarr_url, options -> a run on this image alone -> IMAGE/tables, IMAGE/labels

The tables are those of ``deepspot-scale export --to ngio`` after a run on the plate,
to the last bit. The task's arguments are the settings of a run and the tables of its
stages, each declared once, by its own Options. Fractal wants a task to be called as its
module is, and starts this file itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

from pydantic import Field

from deepspot_scale.blockwise.contract import Stage
from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.exports.fractal_tables import write_fractal_tables
from deepspot_scale.exports.plate_labels import write_made
from deepspot_scale.exports.targets import safe_names
from deepspot_scale.fractal.plate_images import open_image
from deepspot_scale.pipeline import STAGES
from deepspot_scale.runs.execute import run
from deepspot_scale.runs.made_labels import made_layers
from deepspot_scale.runs.prepare import Selection
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.settings import RUN_FIELDS, Settings, make_settings
from deepspot_scale.stages.denoising import DenoiseOptions
from deepspot_scale.stages.enhancement import EnhanceOptions
from deepspot_scale.stages.localisation import LOCALISE

_OF_PLATES: Final = frozenset(
    {
        "plate_map",  # words of wells, which no table of an image has
        *("colocalise", "pair_distance", "pair_planes", "chromatic_shift"),
        "stages",  # code of the user's own, which is not on Fractal's machines
    }
)
"""Settings that need a whole plate, whose shift between channels is one."""


def find_spots(  # type: ignore[no-untyped-def]  # its signature is derived, below
    *, zarr_url: str, overwrite: bool = True, runs: str | None = None, **settings
) -> None:
    """Find every smFISH spot of an image, and measure RNA polarity of its cells.

    Writes the tables `deepspot_spots_CHANNEL` (a row for each spot),
    `deepspot_cells_CHANNEL` (a row for each label of the cells) and
    `deepspot_field_ROI_table`; and the labels of nuclei and cells, if they are
    segmented here.

    Args:
        zarr_url: Path or URL of the OME-Zarr image.
        overwrite: Replace tables and labels of an earlier run.
        runs: Folder in which each image keeps its run, for `deepspot-scale merge`,
            which makes one run with a report of them.
        settings: As in `deepspot-scale run`.
    """
    chosen = make_settings(**settings)
    if runs is None:
        _check_nothing_kept(chosen)
    plate, path = open_image(zarr_url)
    with _run_folder(runs, path) as folder:
        end = run(plate, folder, chosen, selection=Selection(fields=(path,)))
        results = open_run(folder, plate=plate)
        if end.failed or len(results.failed):
            again = f"; to try again: deepspot-scale retry {folder} --failed"
            reason = results.failed["reason"].iloc[0]
            raise RunError(f"{zarr_url}: {reason}{again if runs else ''}")
        _write(results, overwrite=overwrite)


def _write(results: RunResults, *, overwrite: bool) -> None:
    if made_layers(results):
        write_made(results, overwrite=overwrite)
    write_fractal_tables(results, overwrite=overwrite)


def _check_nothing_kept(settings: Settings) -> None:
    """Raise SettingsError if images are to be kept, and there is no place for them."""
    enhanced = settings.of(EnhanceOptions).keep_enhanced
    if enhanced or settings.of(DenoiseOptions).keep_denoised:
        raise SettingsError(
            "images of a run are kept in its folder: name a folder for it (runs), or "
            "leave keep_enhanced and keep_denoised out"
        )


@contextmanager
def _run_folder(runs: str | None, path: str) -> Iterator[str]:
    """Give the run folder of one image; without `runs` it is removed at the end."""
    if runs is None:
        with TemporaryDirectory(prefix="deepspot-") as folder:
            yield str(Path(folder) / "run")
    else:
        yield f"{runs.rstrip('/')}/{safe_names([path])[path]}"


def _parameters() -> Iterator[inspect.Parameter]:
    """Yield an argument for each setting of an image, and a table for each stage."""
    for name, field in RUN_FIELDS.items():
        if name not in _OF_PLATES:
            default = inspect.Parameter.empty if field.is_required() else field.default
            yield _argument(name, field.annotation, str(field.description), default)
    for stage in STAGES:
        if stage is not LOCALISE and _can_be_chosen(stage):
            told = str(inspect.getdoc(stage.options))
            yield _argument(stage.name, stage.options, told, stage.options())


def _can_be_chosen(stage: Stage) -> bool:
    fields = stage.options.model_fields.items()
    return any(name != "use" or field.annotation is bool for name, field in fields)


def _argument(name: str, kind: Any, told: str, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, Field(description=told)],
    )


def _derive_signature(task: Any) -> None:
    """Let a task show, to whoever inspects it, all settings as its own arguments."""
    written = inspect.signature(task, eval_str=True)
    own = [p for p in written.parameters.values() if p.kind is p.KEYWORD_ONLY]
    shown = [*own, *_parameters()]
    task.__signature__ = written.replace(parameters=shown)
    task.__annotations__ = {p.name: p.annotation for p in shown} | {"return": None}


_derive_signature(find_spots)


if __name__ == "__main__":
    from fractal_task_tools.task_wrapper import run_fractal_task

    run_fractal_task(task_function=find_spots)
