"""A command of the user's is told how a long command ended, whatever the end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from deepspot_scale.cli import main
from deepspot_scale.cli.notification import notify_end
from deepspot_scale.errors import ClusterError, SettingsError


@pytest.fixture
def told(tmp_path: Path) -> tuple[str, Callable[[], list[str]]]:
    """Return a command that keeps what it is told, and a function that reads it."""
    file = tmp_path / "told.txt"
    names = ("STATUS", "EXIT_CODE", "RUN", "MESSAGE")
    line = "|".join(f"$DEEPSPOT_{name}" for name in names)
    return f'printf "%s" "{line}" > {file}', lambda: file.read_text().split("|")


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (typer.Exit(3), "fields failed", "3"),
        (typer.Exit(75), "stopped", "75"),
        (typer.Exit(130), "interrupted", "130"),
        (KeyboardInterrupt(), "interrupted", "130"),
        (ClusterError("workers are gone"), "stopped", "75"),
        (SettingsError("no such channel"), "error", "2"),
        (RuntimeError("a fault of ours"), "error", "1"),
    ],
)
def test_the_command_is_told_how_it_ended(
    told: tuple[str, Callable[[], list[str]]],
    error: BaseException,
    status: str,
    code: str,
) -> None:
    command, read = told
    with pytest.raises(type(error)), notify_end(command, "RUN"):
        _raise(error)
    found = read()
    assert found[:3] == [status, code, "RUN"]
    if not isinstance(error, typer.Exit):
        assert found[3] == str(error) or not str(error)


def test_the_end_without_an_error_is_done(
    told: tuple[str, Callable[[], list[str]]],
) -> None:
    command, read = told
    with notify_end(command, "RUN"):
        pass
    assert read()[:2] == ["done", "0"]


def test_words_of_an_error_are_not_read_as_a_command(
    told: tuple[str, Callable[[], list[str]]], tmp_path: Path
) -> None:
    command, read = told
    words = f"$(touch {tmp_path / 'run'})"
    with pytest.raises(SettingsError), notify_end(command, "RUN"):
        raise SettingsError(words)
    assert read()[3] == words
    assert not (tmp_path / "run").exists()


def test_a_command_that_fails_changes_nothing_and_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with notify_end("exit 7", "RUN"):
        pass
    assert "the command of --notify ended with 7" in capsys.readouterr().err


def test_a_run_that_cannot_begin_tells(
    told: tuple[str, Callable[[], list[str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command, read = told
    out, absent = str(tmp_path / "RUN"), str(tmp_path / "absent.zarr")
    words = ["deepspot-scale", "run", absent, "--channel", "FISH", "--out", out]
    monkeypatch.setattr(sys, "argv", [*words, "--notify", command])
    with pytest.raises(SystemExit, match="2"):
        main()
    status, code, run, message = read()
    assert (status, code, run) == ("error", "2", out)
    assert "absent.zarr" in message
