"""Fields whose image, labels or metadata have changed since a run did them.

A run folder and the plate as it is now come in. The results of two contents of one
path must not be mixed: a changed field is an error that names it, or is left to do
again. No pixel is read.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from deepspot_scale.errors import FieldError, RunError
from deepspot_scale.execution.planes import InputChoice, digest_inputs
from deepspot_scale.io.plate import FieldEntry, Plate, open_field
from deepspot_scale.io.source_digest import UNLISTED
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs import manifest
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.vocabulary import DONE

_SHOWN = 12
"""Most changed fields that a message names."""
_THREADS = 16
"""Fields looked at in parallel, since this waits for disks and networks."""


def check_sources(
    folder: Folder, plate: Plate, choice: InputChoice, *, redo: bool
) -> tuple[pd.DataFrame, int]:
    """Return the fields that were tried, after comparing those that are done.

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
    DataFrame, int
        `manifest.read_fields`, and how many done fields could not be checked whole.

    Raises
    ------
    RunError
        Fields have changed, and `redo` is false.
    """
    tried = manifest.read_fields(folder)
    done = tried[tried["status"] == DONE]
    kept = dict(zip(addresses_of(done), done["source_digest"], strict=True))
    entries = [entry for entry in plate.entries if entry.address in kept]
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = list(pool.map(lambda entry: digest_entry(entry, choice), entries))
    now = {entry.address: found for entry, found in zip(entries, digests, strict=True)}
    changed = [address for address, digest in now.items() if digest != kept[address]]
    if not changed:
        return tried, sum(digest.startswith(UNLISTED) for digest in digests)
    if not redo:
        names = ", ".join(address.path for address in changed[:_SHOWN])
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise RunError(
            f"{folder.url} has results of {len(changed)} fields whose images, labels "
            f"or metadata have changed since: {names}{more}. Use another folder with "
            "--out, or run --redo-changed, which does these fields again"
        )
    manifest.remove_parts(folder, manifest.rows_of(done, set(changed))["part"].unique())
    return check_sources(folder, plate, choice, redo=True)


def digest_entry(entry: FieldEntry, choice: InputChoice) -> str:
    """Return the digest of a field as it is now; empty if it cannot be opened."""
    try:
        return digest_inputs(open_field(entry), choice)
    except FieldError:  # once it could
        return ""
