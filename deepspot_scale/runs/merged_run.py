"""Runs on parts of one plate, merged into the run folder of one run on all of them.

    RUN1  wells B03, B04    |
    RUN2  wells C03, C04    |  OUT: every part and layer, and the summaries of them all
    RUN3  wells D03, D04    |

Finished run folders come in, of the same settings, input, networks and version, and
with no field in two of them; one run folder goes out, equal to that of one run in one
go. All of it is checked before anything is written. Nothing here reads an image, but
where a run compares channels, whose shift belongs to the whole plate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pandas as pd

from deepspot_scale.config import difference
from deepspot_scale.errors import RunError
from deepspot_scale.io.plate import Plate
from deepspot_scale.io.stores import Source
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs import manifest
from deepspot_scale.runs.contents import NAME as CONTENTS
from deepspot_scale.runs.kept_layers import plate_name
from deepspot_scale.runs.lease import hold_run, is_gone, read_holder
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.prepare import Selection, name_channels, select_fields
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.runs.run_folder import (
    DENOISER,
    begin_run,
    check_lasting,
    identity_changes,
    open_provenance,
)
from deepspot_scale.runs.summarise import summarise_run
from deepspot_scale.vocabulary import FieldAddress

_SHOWN: Final = 6
"""Most fields that an error names."""


def merge_runs(
    runs: Sequence[Source], out: Source, *, plate: Source | Plate | None = None
) -> RunResults:
    """Merge finished runs on different fields of one plate; return the merged run.

    A merge that was stopped is continued by the same call.

    Parameters
    ----------
    runs
        Run folders, paths or fsspec URLs; they are left as they are.
    out
        Run folder to write, path or fsspec URL.
    plate
        The runs' input, or where it is now, if it was moved; it is opened only if the
        runs compare channels.

    Raises
    ------
    RunError
        A run is not finished, is being worked on, or differs from the first in its
        settings, input, networks, tables or version; a field is in two of them; or
        `out` holds something else.
    PlateError
        Channels are compared, and the input is not where it was.

    Examples
    --------
    >>> merge_runs(["RUN-B", "RUN-C"], "RUN").done  # doctest: +SKIP
    """
    if not runs:
        raise RunError("there is no run to merge; name the folders of finished runs")
    parts = [_open_part(run, plate) for run in runs]
    for other in parts[1:]:
        _check_alike(parts[0], other)
    _check_apart(parts)
    folder = Folder(str(out))
    check_lasting(folder)
    _check_outside(parts, folder)
    with hold_run(folder) as lease:
        _begin(parts, folder)
        for part in parts:
            _copy_layers(part, folder)
            _copy_parts(part, folder)
        manifest.sweep(folder)
        _summarise(parts, folder)
    if lease.lost:
        raise RunError(f"another client has taken over {folder.url}")
    return open_run(folder.url, plate=plate)


def _open_part(run: Source, plate: Source | Plate | None) -> RunResults:
    """Open a run that can be merged; RunError says why one cannot."""
    results = open_run(run, plate=plate)
    folder = results.folder
    holder = read_holder(folder)
    if holder is not None and not (holder.released or is_gone(holder)):
        raise RunError(
            f"a client works on {folder.url}: {holder}. Wait until it has ended, then "
            "merge"
        )
    if not folder.exists(CONTENTS):
        raise RunError(
            f"{folder.url} holds a run of an earlier version, which can be read but "
            "not merged; run again"
        )
    if results.settings.of_movies or folder.exists(DENOISER):
        raise RunError(
            f"{folder.url} is a run of localise or denoise; only runs of "
            "deepspot-scale run are merged"
        )
    return results


def _check_alike(first: RunResults, other: RunResults) -> None:
    """Raise RunError unless two runs would be one run in one folder."""
    settings = (each.settings.to_dict() for each in (first, other))
    changes = {
        "settings": difference(*settings),
        "input": identity_changes(first.provenance, other.provenance),
        "tables": [] if first.contents == other.contents else ["contents.json"],
    }
    for what, lines in changes.items():
        if lines:
            raise RunError(
                f"{other.folder.url} has other {what} than {first.folder.url}:\n  "
                + "\n  ".join(lines)
                + "\nruns are merged only if nothing but their fields differs"
            )


def _check_apart(parts: Sequence[RunResults]) -> None:
    """Raise RunError if a field is in two runs."""
    owners: dict[FieldAddress, RunResults] = {}
    for part in parts:
        addresses = addresses_of(part.fields)
        twice = [each for each in addresses if each in owners]
        if twice:
            other = owners[twice[0]].folder.url
            raise RunError(
                f"{_name(twice)} of {part.folder.url} are in {other} too, and would "
                "count twice; merge runs on different wells"
            )
        owners |= dict.fromkeys(addresses, part)


def _name(addresses: Sequence[FieldAddress]) -> str:
    shown = ", ".join(address.path for address in addresses[:_SHOWN])
    more = f" and {len(addresses) - _SHOWN} more" if len(addresses) > _SHOWN else ""
    return f"the fields {shown}{more}"


def _check_outside(parts: Sequence[RunResults], folder: Folder) -> None:
    """Raise RunError if the place to write to is one of the runs, or holds more."""
    if folder.is_local:
        places = [p.folder.local_path for p in parts if p.folder.is_local]
        own = folder.local_path.resolve() in {place.resolve() for place in places}
    else:
        own = folder.url.rstrip("/") in {p.folder.url.rstrip("/") for p in parts}
    if own:
        raise RunError(f"{folder.url} is one of the runs to merge; give another --out")
    if not folder.exists(CONTENTS):
        return
    given = {address for part in parts for address in addresses_of(part.fields)}
    there = addresses_of(manifest.read_fields(folder))
    strange = [each for each in there if each not in given]
    if strange:
        raise RunError(
            f"{folder.url} holds {_name(strange)}, which none of the runs has; give a "
            "new folder with --out"
        )


def _begin(parts: Sequence[RunResults], folder: Folder) -> None:
    """Write which run the folder holds: that of its parts, begun with the first."""
    facts: dict[str, Any] = dict(parts[0].provenance)
    facts["started"] = min(str(part.provenance.get("started", "")) for part in parts)
    facts["merged"] = [part.folder.url for part in parts]
    begin_run(folder, parts[0].settings, parts[0].contents)
    open_provenance(folder, facts)


def _copy_parts(run: RunResults, folder: Folder) -> None:
    """Copy the rows that count of every part; its entry makes them count again."""
    for name, rows in run.fields.groupby("part", sort=False):
        part = str(name)
        tables = {kind: run.read_part(kind, part) for kind in run.contents.tables}
        manifest.commit_part(folder, part, tables, rows, run.contents)


def _copy_layers(run: RunResults, folder: Folder) -> None:
    """Copy the images and labels that a run kept, file by file."""
    for layer in run.contents.layers.values():
        for name in run.folder.files_below(plate_name(layer.folder)):
            content = run.folder.read(name)
            if not folder.exists(name):
                folder.write(name, content)
            elif folder.read(name) != content:
                raise RunError(
                    f"{name} of {run.folder.url} differs from that of another run: the "
                    "plate was changed between the runs; run again on it as it is"
                )


def _summarise(parts: Sequence[RunResults], folder: Folder) -> None:
    """Write the summary tables, measured over the fields of all runs."""
    settings = parts[0].settings
    maps = pd.concat([part.plate_map for part in parts], ignore_index=True)
    if settings.colocalise:
        opened = parts[0].plate
        chosen = select_fields(opened, Selection())
        channels: Sequence[str] = name_channels(opened, chosen, settings.channels)
    else:
        opened = None
        named = pd.concat([part.wells["channel"] for part in parts])
        channels = sorted(named.unique())
    wells = maps.drop_duplicates(["row", "column"], ignore_index=True)
    summarise_run(folder, settings, wells, channels, plate=opened)
