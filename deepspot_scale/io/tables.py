"""Atomic tables: Parquet files in a local folder or at a URL, complete or absent.

A table and its declared columns come in; a file gets its final name only once it is
complete. Any fsspec URL works: on object stores an upload is atomic, elsewhere a
complete file is renamed. Nothing here knows what a table means.
"""

from __future__ import annotations

import io
import os
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from deepspot_scale.errors import StoreError
from deepspot_scale.io.retry import FULL, retry
from deepspot_scale.tables import arrow_schema, as_table, empty_table
from deepspot_scale.vocabulary import Column

PARTIAL = ".partial-"
"""Part of the name of every incomplete file."""
ATOMIC = frozenset({"memory", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
"""Protocols of stores on which a file appears only once it is complete."""


@dataclass(frozen=True)
class Folder:
    """A folder on a local disk or an object store."""

    url: str
    """Path or fsspec URL."""

    @cached_property
    def _store(self) -> tuple[Any, str]:
        return fsspec.core.url_to_fs(self.url)  # type: ignore[no-any-return]

    def _path(self, name: str) -> str:
        return f"{self._store[1].rstrip('/')}/{name}" if name else self._store[1]

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a local disk."""
        return "file" in _protocols(self._store[0])

    @property
    def local_path(self) -> Path:
        """The folder on the local disk."""
        return Path(self._store[1])

    def exists(self, name: str) -> bool:
        """Return whether a file exists."""
        return bool(self._store[0].exists(self._path(name)))

    def names(self, folder: str) -> list[str]:
        """Return the names of the complete files in a sub-folder, sorted."""
        fs = self._store[0]
        fs.invalidate_cache()
        if not fs.isdir(self._path(folder)):
            return []
        paths = (path.rsplit("/", 1)[-1] for path in fs.ls(self._path(folder), False))
        return sorted(name for name in paths if PARTIAL not in name)

    def files_below(self, folder: str) -> list[str]:
        """Return the complete files of a sub-folder and all folders in it, sorted.

        They are named as from this folder.
        """
        fs, root = self._store[0], self._path("")
        fs.invalidate_cache()
        paths = (
            path.removeprefix(root).lstrip("/") for path in fs.find(self._path(folder))
        )
        return sorted(path for path in paths if PARTIAL not in path)

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically.

        Raises StoreError if the disk is full or read-only.
        """
        try:
            retry(partial(self._write, name, content))
        except OSError as error:
            if error.errno in FULL:
                raise StoreError(
                    f"{self.url}: {error.strerror or error}. Make room, then give the "
                    "same command again; finished fields are kept"
                ) from error
            raise

    @property
    def is_in_memory(self) -> bool:
        """Whether the folder is in this process's memory, and gone with it."""
        return "memory" in _protocols(self._store[0]) or "memory://" in self.url

    def check_writable(self, folders: Iterable[str] = ()) -> None:
        """Write a file and remove it again, here and in sub-folders that exist.

        Raises what the store raises.
        """
        for folder in ("", *filter(self.exists, folders)):
            name = f"{PARTIAL}{uuid.uuid4().hex[:8]}"  # swept if this process is killed
            name = f"{folder}/{name}" if folder else name
            self.write(name, b"")
            self.remove(name)

    def _write(self, name: str, content: bytes) -> None:
        fs, path = self._store[0], self._path(name)
        partial_path = f"{path}{PARTIAL}{uuid.uuid4().hex[:8]}"
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        if not ATOMIC.isdisjoint(_protocols(fs)):
            fs.pipe_file(path, content)
            return
        try:
            self._write_partial(partial_path, content)
            if self.is_local:
                os.replace(partial_path, path)
            else:
                fs.mv(partial_path, path)
        except BaseException:
            with suppress(OSError):
                fs.rm_file(partial_path)
            raise

    def _write_partial(self, path: str, content: bytes) -> None:
        if not self.is_local:
            self._store[0].pipe_file(path, content)
            return
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless it exists; return whether it was written.

        Of several concurrent writers exactly one succeeds, on local disks and on
        object stores with conditional writes.
        """
        fs, path = self._store[0], self._path(name)
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        try:
            if not self.is_local:
                fs.pipe_file(path, content, mode="create")
                return True
            partial_path = f"{path}{PARTIAL}{uuid.uuid4().hex[:8]}"
            try:
                self._write_partial(partial_path, content)
                _link(partial_path, path)
            finally:
                Path(partial_path).unlink(missing_ok=True)
        except FileExistsError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """Read a whole file."""
        return bytes(retry(partial(self._store[0].cat_file, self._path(name))))

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        if self.exists(name):
            self._store[0].rm_file(self._path(name))

    def sweep(self, folder: str) -> int:
        """Remove the incomplete files of killed writers; return how many."""
        fs = self._store[0]
        if not fs.isdir(self._path(folder)):
            return 0
        paths = fs.ls(self._path(folder), False)
        left = [path for path in paths if PARTIAL in path.rpartition("/")[2]]
        for path in left:
            fs.rm_file(path)
        return len(left)


def _link(path: str, name: str) -> None:
    """Give a complete file its name; FileExistsError if the name exists."""
    try:
        os.link(path, name)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        with open(name, "xb") as file:
            file.write(Path(path).read_bytes())


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def write_table(
    folder: Folder, name: str, table: pd.DataFrame, columns: tuple[Column, ...]
) -> None:
    """Write a table as one Parquet file with the declared columns, which it must have.

    `name` may include sub-folders.
    """
    schema = arrow_schema(columns)
    data = pa.Table.from_pandas(as_table(table, columns), schema, preserve_index=False)
    # Without pandas' metadata (index, version), equal tables give equal files.
    buffer = io.BytesIO()
    pq.write_table(data.replace_schema_metadata(None), buffer, compression="zstd")
    folder.write(name, buffer.getvalue())


def read_table(folder: Folder, name: str, columns: tuple[Column, ...]) -> pd.DataFrame:
    """Read a table of `write_table`, equal to the one written."""
    return as_table(_read_arrow(folder, name).to_pandas(), columns)


def _read_arrow(folder: Folder, name: str, columns: list[str] | None = None) -> Any:
    # `pq.read_table` first plans a data set: slower than reading a small file.
    file = pq.ParquetFile(io.BytesIO(folder.read(name)))
    return file.read(columns, use_threads=False)


def read_columns(folder: Folder, name: str, columns: list[str]) -> pd.DataFrame:
    """Read some columns of a table; the others are not decoded."""
    frame: pd.DataFrame = _read_arrow(folder, name, columns).to_pandas()
    kinds = frame.dtypes.items()
    text = [each for each, kind in kinds if isinstance(kind, pd.StringDtype)]
    return frame.astype(dict.fromkeys(text, object))  # as in every other table


def read_tables(
    folder: Folder, names: list[str], columns: tuple[Column, ...]
) -> pd.DataFrame:
    """Read several files as one table; without names it has no rows."""
    tables = [_read_arrow(folder, name) for name in names]
    kept = [table for table in tables if len(table)]
    if not kept:
        return empty_table(columns)
    return as_table(pa.concat_tables(kept).to_pandas(), columns)
