"""The verb *export*: a run folder in, a file or folder of another tool's format out.

Says which formats there are, where each goes by default, and that what it writes is
whole or not there. Nothing here knows how a format is written.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from deepspot_scale.errors import InputWarning, RunError, SettingsError, did_you_mean
from deepspot_scale.exports import (
    csv_folder,
    denoised_plate,
    localised_movies,
    napari_folder,
    picasso,
    smlm,
    spatialdata_store,
    thunderstorm,
)
from deepspot_scale.exports.anndata_file import write_anndata
from deepspot_scale.exports.fractal_tables import write_fractal_tables
from deepspot_scale.exports.plate_labels import write_made
from deepspot_scale.exports.sector_labels import write_sectors
from deepspot_scale.exports.targets import whole
from deepspot_scale.io.plate import Plate
from deepspot_scale.io.stores import Source, is_url
from deepspot_scale.runs.changed_fields import check_unchanged
from deepspot_scale.runs.results import RunResults, open_run

Format = Literal[
    "csv",
    "anndata",
    "spatialdata",
    "ngio",
    "napari",
    "sectors",
    "labels",
    "denoised",
    "thunderstorm",
    "picasso",
    "smlm",
]
FORMATS: tuple[str, ...] = get_args(Format)
_ADDED: dict[str, Callable[..., None]] = {
    "ngio": write_fractal_tables,
    "sectors": write_sectors,
    "labels": write_made,
}
IN_PLATE = tuple(_ADDED)
"""Formats that are added to the run's input instead of standing alone."""
ON_PIXELS = (*IN_PLATE, "denoised", "spatialdata", "napari")
"""Formats whose spots and cells are shown on the input's images and labels."""
_OWN: dict[str, tuple[str, Callable[..., None], tuple[str, str] | None]] = {
    "csv": ("csv", csv_folder.write_csv, csv_folder.SIGN),
    "anndata": ("cells.h5ad", write_anndata, None),
    "spatialdata": (
        "spatialdata.zarr",
        spatialdata_store.write_spatialdata,
        spatialdata_store.SIGN,
    ),
    "denoised": ("denoised.zarr", denoised_plate.write_denoised, denoised_plate.SIGN),
    "napari": ("napari", napari_folder.write_napari, napari_folder.SIGN),
    "thunderstorm": ("thunderstorm", thunderstorm.write_run, localised_movies.SIGN),
    "picasso": ("picasso", picasso.write_run, localised_movies.SIGN),
    "smlm": ("smlm", smlm.write_run, localised_movies.SIGN),
}
"""The other formats: name below ``RUN/exports``, writer, and sign of a folder."""


def export_run(  # noqa: PLR0913 - what, in which format, where to, and how much of it
    run: Source,
    to: Format,
    out: Path | None = None,
    *,
    overwrite: bool = False,
    fields: Sequence[str] = (),
    images: bool = False,
    plate: Source | Plate | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path | str:
    """Write the results of a run in the format of another tool.

    Parameters
    ----------
    run
        Run folder, or its fsspec URL.
    to
        ``csv``: a folder of tables, and one that says what their columns mean.
        ``anndata``: cells x measures, a ``.h5ad`` file.
        ``spatialdata``: points, labels and tables in one ``.zarr``.
        ``ngio``: Fractal's tables of cells, spots and regions, inside the plate.
        ``napari``: points of each field as CSV files that napari opens.
        ``sectors``: the label image ``sectors``, inside the plate.
        ``labels``: cells and nuclei that the run made, inside the plate.
        ``denoised``: an OME-Zarr plate of the images without noise that the run kept.
        ``thunderstorm``: localisations, a CSV file for each movie.
        ``picasso``: localisations, an HDF5 and a YAML file for each movie.
        ``smlm``: localisations, an SMLM file for each movie.
    out
        File or folder to write; None: below ``RUN/exports``.
    overwrite
        Replace what an earlier export wrote there.
    fields
        Only these, paths such as ``B/03/0`` or wells such as ``B03``.
    images
        For ``spatialdata``: copy the images too.
    plate
        The run's input, or where it is now, if it was moved.
    progress
        Called with the numbers of written and all fields.

    Returns
    -------
    Path or str
        What was written; for exports into the plate, the plate.

    Raises
    ------
    RunError
        There is no finished run, it lacks what the format holds, there is something at
        `out` already, or the input has changed since the run.
    SettingsError
        No such format, field or place, or a library is not installed.
    PlateError, FieldError
        The run's input is not where it was, or is damaged.
    """
    if to not in FORMATS:
        raise SettingsError(
            f"there is no format {to!r}, but {', '.join(FORMATS)}."
            + did_you_mean(to, FORMATS)
        )
    results = replace(open_run(run, plate=plate).only(fields), on_field=progress)
    try:
        if to in IN_PLATE:
            return _add_to_plate(results, to, out, overwrite=overwrite)
        name, write, sign = _OWN[to]
        target = _target(results, name, out)
        given = {"images": images} if to == "spatialdata" else {}
        with whole(target, overwrite=overwrite, sign=sign) as partial:
            _check_unchanged(results, to)
            write(results, partial, **given)
    except OSError as error:
        raise RunError(f"the export to {to} stopped: {error}") from error
    return target


def _check_unchanged(results: RunResults, to: str) -> None:
    note = check_unchanged(results, results.plate) if to in ON_PIXELS else ""
    if note:
        warnings.warn(note, InputWarning, stacklevel=3)


def _target(results: RunResults, name: str, out: Path | None) -> Path:
    if out is not None:
        return Path(out)
    if not results.folder.is_local:
        raise SettingsError(
            f"the run {results.folder.url} is not on this machine; say where the "
            "export is to go (out)"
        )
    return results.folder.local_path / "exports" / name


def _add_to_plate(
    results: RunResults, to: str, out: Path | None, *, overwrite: bool
) -> Path | str:
    if out is not None:
        raise SettingsError(
            f"{to} goes inside the plate {results.source}; leave {out} out"
        )
    _check_unchanged(results, to)
    _ADDED[to](results, overwrite=overwrite)
    source = results.source
    return source if is_url(source) else Path(source)
