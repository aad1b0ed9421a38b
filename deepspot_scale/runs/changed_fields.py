"""Fields whose image, labels or metadata have changed since a run did them.

A run folder and the plate as it is now come in. The results of two contents of one
path must not be mixed, nor drawn on what they were not measured on: a changed field is
an error that names it, or is left to do again. No pixel is read.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pandas as pd

from deepspot_scale.errors import FieldError, InputWarning, RunError
from deepspot_scale.execution.planes import InputChoice, digest_inputs
from deepspot_scale.io.plate import FieldEntry, Plate, open_field
from deepspot_scale.io.source_digest import UNLISTED, differ_in_time_only
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs import manifest
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import RunResults
from deepspot_scale.vocabulary import DONE, FieldAddress
from deepspot_scale.words import plural

_SHOWN = 12
"""Most changed fields that a message names."""
_THREADS = 16
"""Fields looked at in parallel, since this waits for disks and networks."""


class _Compared(NamedTuple):
    """Fields as they are now, and as they were when a run did them."""

    changed: list[FieldAddress]
    touched: list[FieldAddress]
    """Of the changed ones, those whose files differ only in time or etag."""
    unlisted: list[FieldAddress]
    """Unchanged as far as metadata tell: the store does not list its files."""


def check_sources(
    folder: Folder, plate: Plate, choice: InputChoice, *, redo: bool
) -> pd.DataFrame:
    """Return the fields that were tried, after comparing those that are done.

    A warning counts the fields of which only the metadata could be compared.

    Parameters
    ----------
    folder
        The run folder.
    plate
        The run's input as it is now; fields that it no longer lists are kept.
    choice
        Which labels the run reads.
    redo
        Whether the parts of changed fields are removed, with the fields beside them.

    Returns
    -------
    DataFrame
        `manifest.read_fields`.

    Raises
    ------
    RunError
        Fields have changed, and `redo` is false.
    """
    tried = manifest.read_fields(folder)
    done = tried[tried["status"] == DONE]
    kept = dict(zip(addresses_of(done), done["source_digest"], strict=True))
    changed, touched, unlisted = _compare(plate, choice, kept)
    if not changed:
        if unlisted:
            warnings.warn(_not_compared(unlisted), InputWarning, stacklevel=3)
        return tried
    if not redo:
        raise RunError(
            f"{folder.url} has results of {plural(len(changed), 'field')} whose "
            f"images, labels or metadata have changed since: {_names(changed)}. "
            f"{_of_copies(touched)}"
            "Use another folder with --out, or run --redo-changed, which does these "
            "fields again"
        )
    manifest.remove_parts(folder, manifest.rows_of(done, set(changed))["part"].unique())
    return check_sources(folder, plate, choice, redo=True)


def check_unchanged(run: RunResults, plate: Plate) -> str:
    """Raise RunError if fields that are done have changed since, on the run's input.

    Returns what could not be compared, as a sentence; empty: all is as it was. If the
    input was moved, files whose times alone differ are no error: copies have new times.
    """
    kept = dict(zip(addresses_of(run.done), run.done["source_digest"], strict=True))
    known = {address: digest for address, digest in kept.items() if digest}
    changed, touched, unlisted = _compare(plate, run.settings, known)
    if plate.source != run.begun_on:
        changed = [address for address in changed if address not in touched]
    if changed:
        raise RunError(
            f"{plural(len(changed), 'field')} changed since the run {run.folder.url}: "
            f"{_names(changed)}. Spots and cells would be shown on other pixels and "
            f"labels. {_of_copies(touched)}Run again with --redo-changed first"
        )
    notes = [_not_compared(unlisted)] if unlisted else []
    if touched:
        notes.append(
            f"the files of {plural(len(touched), 'field')} have other times than in "
            f"the run, as copies do, and their pixels were not compared: "
            f"{_names(touched)}"
        )
    if len(known) < len(kept):
        notes.append("an earlier version made the run, and its fields are not compared")
    return "; ".join(notes)


def _compare(
    plate: Plate, choice: InputChoice, kept: Mapping[FieldAddress, str]
) -> _Compared:
    """Compare fields with their digests; those that the plate has not are left out."""
    entries = [entry for entry in plate.entries if entry.address in kept]
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = pool.map(lambda entry: digest_entry(entry, choice), entries)
        now = {e.address: found for e, found in zip(entries, digests, strict=True)}
    changed = [each for each, digest in now.items() if digest != kept[each]]
    touched = [each for each in changed if differ_in_time_only(kept[each], now[each])]
    same = (each for each, digest in now.items() if digest == kept[each])
    return _Compared(changed, touched, [e for e in same if now[e].startswith(UNLISTED)])


def _not_compared(unlisted: list[FieldAddress]) -> str:
    return (
        f"of {plural(len(unlisted), 'field')} done before, only the metadata were "
        "compared: the store does not list its files"
    )


def _names(addresses: list[FieldAddress]) -> str:
    shown = ", ".join(address.path for address in addresses[:_SHOWN])
    left = len(addresses) - _SHOWN
    return f"{shown} and {left} more" if left > 0 else shown


def _of_copies(same: list[FieldAddress]) -> str:
    if not same:
        return ""
    return (
        f"Of these, {len(same)} have files with the names and sizes of before, and "
        "other times: if they are copies, copy them again with their times (cp -p, "
        "rsync -a). "
    )


def digest_entry(entry: FieldEntry, choice: InputChoice) -> str:
    """Return the digest of a field as it is now; empty if it cannot be opened."""
    try:
        return digest_inputs(open_field(entry), choice)
    except FieldError:  # once it could
        return ""
