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

from deepspot_scale.pipeline import STAGES
from deepspot_scale.settings import (
    RUN_FIELDS,
    iter_flat_names,
    make_settings,
    write_settings,
)

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


NESTED = """
channel = ["FISH", "DAPI"]
plate-map = "wells.csv"
limit = 3
wells = ["B03", "B04"]
spot_sigma = 2.5

[enhance]
use = false

[polarity]
sectors = 4
"""


def test_options_of_a_stage_may_stand_in_its_table(
    tmp_path: Path, printed: Callable[..., dict[str, Any]]
) -> None:
    (tmp_path / "flat.toml").write_text(FILE)
    (tmp_path / "nested.toml").write_text(NESTED)
    nested = printed(*WORDS, "--config", tmp_path / "nested.toml")
    assert nested == printed(*WORDS, "--config", tmp_path / "flat.toml")
    assert (nested["enhance"], nested["sectors"]) == (False, 4)
    flags = printed(*WORDS, "--config", tmp_path / "nested.toml", "--sectors", 3)
    assert flags["sectors"] == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[detect]\nflor = 1", "run has no option 'flor'. Did you mean 'floor'?"),
        ("[detekt]\nfloor = 1", "run has no option 'detekt'"),
    ],
)
def test_an_unknown_name_in_a_table_is_refused(
    tmp_path: Path, command: Command, text: str, reason: str
) -> None:
    (tmp_path / "run.toml").write_text(text)
    ended = command(*WORDS, "-c", "0", "--config", tmp_path / "run.toml")
    assert (ended.code, reason in ended.err) == (USAGE, True), ended.err


def test_the_settings_of_a_run_are_a_file_of_options(
    tmp_path: Path, printed: Callable[..., dict[str, Any]]
) -> None:
    values = {"cells": "c", "sectors": 4, "enhance": False, "floor": 0.2, "block": 512}
    settings = make_settings(channels=("FISH", "DAPI"), quality=False, **values)
    (tmp_path / "settings.toml").write_text(write_settings(settings))
    options = printed(*WORDS, "--config", tmp_path / "settings.toml")
    assert options["channels"] == ["FISH", "DAPI"]
    assert {name: options[name] for name in values} == values
    known = {*RUN_FIELDS, *(name for name, _ in iter_flat_names(STAGES))}
    again = {name: value for name, value in options.items() if name in known}
    assert make_settings(**again) == settings


def test_every_setting_is_an_option_with_its_default_and_its_words(
    command: Command, printed: Callable[..., dict[str, Any]]
) -> None:
    options = printed("run", "P.zarr", "--out", "R", "-c", "0")
    settings = make_settings(channels=("0",))
    stated = {name: value for name, value in options.items() if name in RUN_FIELDS}
    expected = {n: v for n, v in settings.to_dict().items() if n in RUN_FIELDS}
    assert stated == {n: v for n, v in expected.items() if v is not None}
    for flat, (stage, name) in iter_flat_names(STAGES):
        default = getattr(settings.options[stage], name)
        shown = list(default) if isinstance(default, tuple) else default
        assert options.get(flat) == shown, flat
    text = " ".join(command("run", "--help").out.replace("\u2502", " ").split())
    for flat, _ in iter_flat_names(STAGES):
        assert f"--{flat.replace('_', '-').removesuffix('s')}" in text, flat


@pytest.mark.parametrize("lines", ["use = true", "segments = ['nuclei:DAPI']"])
def test_a_table_and_a_flag_of_one_name_are_told_apart(
    tmp_path: Path, command: Command, lines: str
) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f"[segment]\n{lines}\ncell_um = 9.5")
    words = (*WORDS, "-c", "0", "--config", file, "--segment", "nuclei:2")
    ended = command(*words, "--print-config")
    read = tomllib.loads(ended.out)
    assert read["segments"] == ["nuclei:2"]
    assert read["cell_um"] == 9.5
    file.write_text(f"[segment]\n{lines}")
    ended = command(*WORDS, "-c", "0", "--config", file, "--print-config")
    given = ["nuclei:DAPI"] if "DAPI" in lines else []
    assert tomllib.loads(ended.out)["segments"] == given


@pytest.mark.parametrize("word", ["flag", "file", "table"])
def test_the_former_name_of_an_option_works_and_says_what_it_is_called_now(
    tmp_path: Path, command: Command, word: str
) -> None:
    file = tmp_path / "run.toml"
    file.write_text("[detect]\nfaint = 0.1" if word == "table" else "faint = 0.1")
    words = ("--faint", 0.1) if word == "flag" else ("--config", file)
    ended = command(*WORDS, "-c", "0", *words, "--print-config")
    assert ended.code == DONE, ended.err
    assert "--faint is called --min-relative-intensity now" in ended.err
    values = tomllib.loads(ended.out)
    assert values["min_relative_intensity"] == 0.1
    assert "faint" not in values
    help_text = command("run", "--help").out
    assert "--faint" not in help_text
    assert "--min-relative-intensity" in help_text


def test_detect_has_the_options_of_the_stages_that_find_spots_alone(
    command: Command,
) -> None:
    text = command("detect", "--help").out
    for flag in ("--floor", "--model", "--normalisation", "--spot-sigma"):
        assert flag in text
    for flag in ("--sectors", "--quality", "--plate-map"):
        assert flag not in text
