"""Transient errors are retried; others are raised at once."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest
import zarr

from deepspot_scale.errors import FieldError, StoreError
from deepspot_scale.io import retry as retry_module
from deepspot_scale.io import stores, tables
from deepspot_scale.io.plate import FieldEntry, open_field
from deepspot_scale.io.retry import DELAYS, is_transient, retry, retry_async
from deepspot_scale.io.tables import Folder
from deepspot_scale.vocabulary import FieldAddress


class ServerDisconnectedError(Exception):
    """As aiohttp raises it."""


class SlowDownError(Exception):
    status = 503


class AccessDeniedError(Exception):
    status = 403


TRANSIENT = [
    OSError(errno.EIO, "Input/output error"),
    OSError(errno.ESTALE, "Stale file handle"),
    ConnectionResetError(),
    TimeoutError(),
    ServerDisconnectedError(),
    SlowDownError(),
]
PERMANENT = [
    FileNotFoundError(errno.ENOENT, "gone"),
    PermissionError(errno.EACCES, "no"),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError("holds 3 bytes instead of 7"),
    ValueError("damaged"),
    AccessDeniedError(),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_transient_errors_are_retried(error: Exception) -> None:
    answers, slept = [error, error, None], []

    def call() -> str:
        if (answer := answers.pop(0)) is not None:
            raise answer
        return "here"

    assert retry(call, sleep=slept.append) == "here"
    assert slept == list(DELAYS[:2])


@pytest.mark.parametrize("error", PERMANENT, ids=repr)
def test_other_errors_are_raised_at_once(error: Exception) -> None:
    def call() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        retry(call, sleep=pytest.fail)
    assert caught.value is error
    assert not is_transient(error)


def test_the_last_error_says_how_often_it_was_tried() -> None:
    def call() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match=r"error \(tried 4 times\)") as caught:
        retry(call, sleep=lambda _: None)
    assert caught.value.errno == errno.EIO


def test_what_is_awaited_is_tried_again_too() -> None:
    answers = [TimeoutError(), None]

    async def call() -> str:
        if (answer := answers.pop(0)) is not None:
            raise answer
        return "here"

    async def sleep(_: float) -> None:
        return None

    assert asyncio.run(retry_async(call, sleep=sleep)) == "here"


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait."""
    monkeypatch.setattr(retry_module, "DELAYS", (0.0, 0.0, 0.0))


@pytest.mark.usefixtures("hasty")
def test_a_chunk_that_fails_twice_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr.create_array(str(tmp_path / "a"), shape=(4, 4), dtype="u1")[...] = 7
    read = stores.LocalStore.get
    failures = [OSError(errno.EIO, "Input/output error")] * 2

    async def get(self: object, key: str, *rest: object) -> object:
        if key.startswith("c/") and failures:
            raise failures.pop()
        return await read(self, key, *rest)

    monkeypatch.setattr(stores.LocalStore, "get", get)
    field = open_field(FieldEntry(FieldAddress("", "", "a"), str(tmp_path / "a")))
    assert field.read().min() == 7
    assert failures == []


@pytest.mark.usefixtures("hasty")
def test_a_chunk_that_goes_on_failing_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zarr.create_array(str(tmp_path / "a"), shape=(4, 4), dtype="u1")[...] = 7
    read = stores.LocalStore.get

    async def get(self: object, key: str, *rest: object) -> object:
        if key.startswith("c/"):
            raise OSError(errno.ESTALE, "Stale file handle")
        return await read(self, key, *rest)

    monkeypatch.setattr(stores.LocalStore, "get", get)
    field = open_field(FieldEntry(FieldAddress("", "", "a"), str(tmp_path / "a")))
    with pytest.raises(FieldError, match=r"tried 4 times\). The disk or the network"):
        field.read()


@pytest.mark.usefixtures("hasty")
def test_a_table_whose_write_fails_once_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, failures = tables.os.replace, [OSError(errno.EIO, "Input/output error")]

    def fail_once(*paths: str) -> None:
        if failures:
            raise failures.pop()
        replace(*paths)

    monkeypatch.setattr(tables.os, "replace", fail_once)
    folder = Folder(str(tmp_path))
    folder.write("a", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_said_at_once_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tables.os, "replace", fail)
    with pytest.raises(StoreError, match=r"No space left on device. Make room, then"):
        Folder(str(tmp_path)).write("a", b"x")
    assert list(tmp_path.iterdir()) == []
