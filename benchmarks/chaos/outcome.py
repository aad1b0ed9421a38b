"""Digests of a run's tables, equal for equal content.

Nothing here knows how the run went.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from deepspot_scale.io.tables import Folder, read_table
from deepspot_scale.runs.contents import read_contents
from deepspot_scale.vocabulary import WELLS


def digest(out: Path) -> dict[str, str]:
    """Return the SHA-256 of each table, sorted, without columns that may differ."""
    folder = Folder(str(out))
    contents = read_contents(folder)
    tables = {
        "fields": read_table(folder, "fields.parquet", contents.fields),
        "wells": read_table(folder, "wells.parquet", WELLS),
    }
    for name, columns in contents.tables.items():
        # All files, as a user would read them; a table may have none.
        none = pd.DataFrame(columns=[column.name for column in columns])
        tables[name] = pd.concat([*_files(folder, name, columns)] or [none])
    return {name: _digest(table) for name, table in tables.items()}


def _files(folder: Folder, kind: str, columns: Any) -> Iterator[pd.DataFrame]:
    for name in folder.names(kind):
        yield read_table(folder, f"{kind}/{name}", columns)


def _digest(table: pd.DataFrame) -> str:
    differing = [name for name in table if name.startswith("seconds")]
    kept = table.drop(columns=[*differing, "worker", "part"], errors="ignore")
    lines = kept.to_csv(index=False, header=False).splitlines()
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
