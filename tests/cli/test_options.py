"""Options from flags and from files; misspelt names."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepspot_scale.cli.options import Measures, Method
from deepspot_scale.settings import Settings

DONE, USAGE = 0, 2
Command = Callable[..., Any]
WORDS = ("run", "PLATE.zarr", "--out", "RUN")
FLAGS = (
    "-c", "FISH", "-c", "DAPI", "--no-enhance", "--sectors", 4, "--limit", 3,
    "--wells", "B03,B04", "--plate-map", "wells.csv", "--spot-sigma", 2.5,
)  # fmt: skip
FILE = """
channel = ["FISH", "DAPI"]
enhance = false
sectors = 4
wells = ["B03", "B04"]
plate-map = "wells.csv"
limit = 3
spot_sigma = 2.5
"""


@pytest.fixture
def printed(command: Command) -> Callable[..., dict[str, Any]]:
    """Return the options in use for some words."""

    def call(*words: object) -> dict[str, Any]:
        ended = command(*words, "--print-config")
        assert ended.code == DONE, ended.err
        return tomllib.loads(ended.out)

    return call


def test_a_file_says_the_same_as_flags(
    tmp_path: Path, printed: Callable[..., dict[str, Any]]
) -> None:
    (tmp_path / "run.toml").write_text(FILE)
    flags = printed(*WORDS, *FLAGS)
    assert flags["channels"] == ["FISH", "DAPI"]
    assert printed(*WORDS, "--config", tmp_path / "run.toml") == flags


def test_what_is_printed_can_be_read_back(
    tmp_path: Path, command: Command, printed: Callable[..., dict[str, Any]]
) -> None:
    ended = command(*WORDS, *FLAGS, "--print-config")
    (tmp_path / "run.toml").write_text(ended.out)
    again = printed("run", "--config", tmp_path / "run.toml")
    assert again == tomllib.loads(ended.out)


def test_the_options_of_detect_can_be_read_back(
    tmp_path: Path, command: Command, printed: Callable[..., dict[str, Any]]
) -> None:
    ended = command("detect", "a.tif", "b.tif", "--out", "spots.csv", "--print-config")
    assert tomllib.loads(ended.out)["images"] == ["a.tif", "b.tif"]
    (tmp_path / "detect.toml").write_text(ended.out)
    again = printed("detect", "--config", tmp_path / "detect.toml")
    assert again == tomllib.loads(ended.out)


def test_flags_win_over_the_file_and_the_file_over_what_is_built_in(
    tmp_path: Path, printed: Callable[..., dict[str, Any]]
) -> None:
    (tmp_path / "run.toml").write_text(FILE)
    file = ("--config", tmp_path / "run.toml")
    flags = ("--enhance", "--sectors", 3, "-c", "0")
    for words in ((*file, *flags), (*flags, *file)):
        values = printed(*WORDS, *words)
        assert (values["enhance"], values["sectors"]) == (True, 3)
        assert values["channels"] == ["0"]
        assert (values["limit"], values["block"]) == (3, 2560)


def test_a_single_channel_needs_no_list(
    tmp_path: Path, printed: Callable[..., dict[str, Any]]
) -> None:
    (tmp_path / "run.toml").write_text('channel = "FISH"')
    values = printed(*WORDS, "--config", tmp_path / "run.toml")
    assert values["channels"] == ["FISH"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sectrs = 3", "run has no option 'sectrs'. Did you mean 'sectors'?"),
        ("plate_mop = 'a'", "Did you mean 'plate_map'?"),
        ("[run]\nsectors = 3", "run has no option 'run'"),
        ("config = 'other.toml'", "run has no option 'config'"),
        ("sectors: 3", "is no TOML file"),
    ],
)
def test_a_file_that_cannot_be_meant_so_is_refused(
    tmp_path: Path, command: Command, text: str, reason: str
) -> None:
    (tmp_path / "run.toml").write_text(text)
    ended = command(*WORDS, "-c", "0", "--config", tmp_path / "run.toml")
    assert ended.code == USAGE
    assert reason in ended.err


def test_a_file_with_a_value_of_another_kind_is_refused(
    tmp_path: Path, command: Command
) -> None:
    (tmp_path / "run.toml").write_text("sectors = 'many'")
    ended = command(*WORDS, "-c", "0", "--config", tmp_path / "run.toml")
    assert ended.code == USAGE
    assert "--sectors" in ended.err


def test_an_absent_file_is_refused(command: Command) -> None:
    assert command(*WORDS, "-c", "0", "--config", "no.toml").code == USAGE


def test_detect_takes_a_file_too_and_a_detector_that_lies_beside_the_images(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", draw_scene(0, (64, 64), n=12).image[1])
    (tmp_path / "corner_of_mine.py").write_text(
        "from deepspot_scale.stages.detection.points import PointDetector\n"
        "def find(image): return [(9.25, 7.5)]\n"
        "detector = PointDetector(find, halo=8, on='raw', refine=False)\n"
    )
    (tmp_path / "detect.toml").write_text(
        "enhance = false\ndetector = 'corner_of_mine:detector'\nout = 'spots.csv'"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    ended = command("detect", "a.tif", "--config", "detect.toml")
    assert (ended.code, ended.out.strip()) == (DONE, "spots.csv"), ended.err
    spots = np.genfromtxt("spots.csv", delimiter=",", names=True, usecols=(1, 2))
    assert (float(spots["y"]), float(spots["x"])) == (9.25, 7.5)


def test_the_defaults_of_options_are_those_of_the_settings() -> None:
    fields = Settings.model_fields
    for group in (Method, Measures):
        for name in group.__annotations__:
            assert getattr(group, name) == fields[name].default, name
    names = {*Method.__annotations__, *Measures.__annotations__, "channels"}
    assert names == set(fields)
