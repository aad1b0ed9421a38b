"""A command of the user's is told how a long command ended, whatever the end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import typer
from scipy import ndimage

from deepspot_scale.cli import main
from deepspot_scale.cli.notification import Served, check_command, notify_end
from deepspot_scale.errors import ClusterError, SettingsError
from deepspot_scale.networks.segmenters import Segmenter
from deepspot_scale.training.image_sets import write_simulated_set


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
    tmp_path: Path,
) -> None:
    command, read = told
    run = str(tmp_path)
    with pytest.raises(type(error)), notify_end(command, run):
        _raise(error)
    found = read()
    assert found[:3] == [status, code, run]
    if not isinstance(error, typer.Exit):
        assert found[3] == str(error) or not str(error)


def test_the_end_without_an_error_is_done(
    told: tuple[str, Callable[[], list[str]]],
) -> None:
    command, read = told
    with notify_end(command, "RUN"):
        pass
    assert read()[:2] == ["done", "0"]


def test_the_end_of_a_worker_of_another_command_is_not_told(
    told: tuple[str, Callable[[], list[str]]], tmp_path: Path
) -> None:
    command, _ = told
    with pytest.raises(Served), notify_end(command, "RUN"):
        raise Served
    assert not (tmp_path / "told.txt").exists()


def test_a_search_tells_of_its_folder_or_of_its_file(
    told: tuple[str, Callable[[], list[str]]],
    command: Callable[..., Any],
    tmp_path: Path,
) -> None:
    notify, read = told
    (tmp_path / "tune.toml").write_text("steps = 'many'")
    ended = command("tune", "--config", tmp_path / "tune.toml", "--notify", notify)
    assert ended.code == 2
    status, code, run, _ = read()
    assert (status, code, run) == ("error", "2", "")


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


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no-such-command --to me", "there is no 'no-such-command'"),
        ("A=1 no-such-command", "there is no 'no-such-command'"),
        ("./absent.sh", "there is no './absent.sh'"),
        ("echo 'half", "cannot be read"),
        (" ", "an empty one"),
    ],
)
def test_a_command_that_cannot_be_started_is_refused_before_the_work(
    line: str, said: str, command: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=said), notify_end(line, "RUN"):
        raise AssertionError("the work began")
    ended = command("report", tmp_path / "absent", "--notify", line)
    assert ended.code == 2
    assert said in ended.err
    assert "absent has no" not in ended.err


@pytest.mark.parametrize("line", ["true", "A=1 true", "$NAME x", "(true)", "exit 0"])
def test_lines_that_a_shell_can_start_are_not_refused(line: str) -> None:
    check_command(line)


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
    assert (status, code, run) == ("error", "2", "")  # nothing was written
    assert "absent.zarr" in message


def _find(image: np.ndarray) -> np.ndarray:
    return ndimage.label(image > image.mean())[0]


FIND = Segmenter(_find, largest=40, tile=128)


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Path:
    """A folder of one image, a plate, a run on it, and an image with its truth."""
    folder = tmp_path_factory.mktemp("place")
    scene = draw_scene(0, (64, 64))
    plate = write_plate(folder / "plate.zarr", {"B/03/0": scene}, masks=())
    run_quickly(plate, folder / "RUN", cells=None, nuclei=None)
    (folder / "images").mkdir()
    tifffile.imwrite(folder / "images/B03_f0_cFISH.tif", scene.image[1])
    write_simulated_set(folder / "known", "var", images=1, spots=4, size=64)
    return folder


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("convert images new.zarr --pixel-size .1 --overwrite", "new.zarr"),
        (f"segment plate.zarr --nuclei {__name__}:FIND@DAPI", "plate-segmented"),
        ("export RUN --to csv --overwrite", "RUN"),
        ("export RUN --to csv --out tables --overwrite", "tables"),
        ("report RUN", "RUN"),
        ("evaluate deepspot-fast known --out EVAL", "EVAL"),
        ("merge RUN --out MERGED", "MERGED"),
        ("simulate sets --set var --images 1 --spots 3 --size 64", "sets"),
    ],
)
def test_commands_that_take_long_tell_that_they_are_done(
    told: tuple[str, Callable[[], list[str]]],
    place: Path,
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    written: str,
) -> None:
    monkeypatch.chdir(place)
    notify, read = told
    ended = command(*words.split(), "--notify", notify)
    assert ended.code == 0, ended.err
    message = f"deepspot-scale: done: {written}"
    assert read() == ["done", "0", written, message]


@pytest.mark.parametrize(
    ("words", "written"),
    [
        ("convert absent new.zarr", "new.zarr"),
        ("segment absent.zarr --nuclei DAPI", "absent-segmented"),
        ("denoise absent.zarr --channel FISH --out clean.zarr", "clean.zarr"),
        ("localise absent.tif --pixel-size .1 --out RUN", "RUN"),
        ("retry absent", "absent"),
        ("report absent", "absent"),
        ("export absent --to csv", "absent"),
        ("evaluate deepspot-fast absent --out EVAL", "EVAL"),
        ("evaluate nuclei absent --out EVAL", "EVAL"),
        ("merge absent --out MERGED", "MERGED"),
        ("compare absent.zarr --channel FISH --detector default --out C", "C"),
    ],
)
def test_commands_that_take_long_tell_why_they_failed(
    told: tuple[str, Callable[[], list[str]]],
    tmp_path: Path,
    command: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    written: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    notify, read = told
    ended = command(*words.split(), "--notify", notify)
    status, code, run, message = read()
    there = written if Path(written).exists() else ""  # nothing may be written
    assert (status, code, run) == ("error", str(ended.code), there)
    assert ended.code == 2
    assert "absent" in message
    assert message in ended.err
