"""Settings: checked, written, read back and compared."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st

from deepspot_scale.config import difference
from deepspot_scale.errors import SettingsError
from deepspot_scale.pipeline import STAGES
from deepspot_scale.settings import (
    RUN_FIELDS,
    assemble,
    find_sources,
    iter_flat_names,
    load_settings,
    make_settings,
    read_settings,
    write_settings,
)
from deepspot_scale.stages.detection.detect import DetectOptions

few = rules(max_examples=50, deadline=None)
words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
maybe = st.none() | words


@st.composite
def settings_values(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the settings of some run."""
    enhance = draw(st.booleans())
    cells = draw(maybe)
    return {
        "channels": tuple(draw(st.lists(words, min_size=1, max_size=3))),
        "cells": cells,
        "nuclei": None if cells is None else draw(maybe),
        "reference": draw(maybe),
        "plate_map": draw(maybe),
        "project": draw(st.sampled_from(["max", "mean", "none"])),
        "enhance": enhance,
        "keep_enhanced": enhance and draw(st.booleans()),
        "block": draw(st.integers(64, 65536)),
        "sectors": draw(st.sampled_from([2, 3, 4, 5, 6, 9, 180])),
        "min_spots": draw(st.integers(1, 1000)),
        "detector": draw(maybe),
        "floor": draw(st.none() | st.floats(0, 1)),
        "min_relative_intensity": draw(st.none() | st.floats(0, 0.9)),
        "spot_sigma": draw(st.none() | st.floats(0.5, 14)),
    }


@few
@given(settings_values())
def test_settings_written_then_read_are_the_same(values: dict[str, Any]) -> None:
    settings = make_settings(**values)
    assert read_settings(write_settings(settings)) == settings
    assert difference(settings, settings) == []


@few
@given(settings_values(), settings_values())
def test_the_difference_names_just_what_differs(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    one, other = (make_settings(**values).to_dict() for values in (first, second))
    lines = difference(one, other)
    named = {line.partition(":")[0] for line in lines}
    assert named == {_place(n) for n in first if first[n] != second[n]}


def _place(name: str) -> str:
    """Return where a setting stands: in its stage's table, or outside them."""
    return ".".join(dict(iter_flat_names(STAGES)).get(name, (name,)))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"channels": ()}, "channels"),
        ({"sectors": 7}, "divisor of 180"),
        ({"sectors": 1}, "divisor of 180"),
        ({"block": 63}, "block.*64"),
        ({"min_spots": 0}, "min_spots"),
        ({"project": "sum"}, "project.*'max'"),
        ({"nuclei": "nuclei"}, "nuclei need cells"),
        ({"enhance": False, "keep_enhanced": True}, "no enhanced images to keep"),
        ({"keep_denoised": True}, "no images without noise to keep"),
        ({"precision": "int4"}, "precision"),
        ({"thresold": 3}, "there is no setting 'thresold'.$"),
        ({"sectros": 3}, "no setting 'sectros'. Did you mean 'sectors'?"),
        ({"spot_sigma": 0}, "spot_sigma"),
    ],
)
def test_an_unfit_setting_is_refused_with_its_name(
    values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        make_settings(**{"channels": ("FISH",), **values})


def test_all_unfit_settings_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"block.*; polarity.sectors"):
        make_settings(channels=("FISH",), block=1, sectors=7)


def test_text_that_is_no_toml_is_refused() -> None:
    with pytest.raises(SettingsError, match="no TOML"):
        read_settings("channels: FISH")


def test_settings_can_not_be_changed() -> None:
    settings = make_settings(channels=("FISH",))
    with pytest.raises(ValueError, match="frozen"):
        settings.block = 512


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "enhanced"),
        ({"enhance": False}, "raw"),
        ({"detector": "paper"}, "paper"),
    ],
)
def test_the_detector_follows_from_the_image(values: dict[str, Any], name: str) -> None:
    assert make_settings(channels=("FISH",), **values).detector_name == name


OWN = """
from pydantic import Field
from deepspot_scale.blockwise.contract import Stage, StageOptions

class Options(StageOptions):
    use: bool = Field(default=False, description="Rate it.")
    floor: float = Field(default=0.5, ge=0, le=1, description="Least rate.")

stage = Stage("grade", Options, lambda *_: None)
"""


def test_options_stand_in_a_table_of_their_stage_or_by_their_own_name() -> None:
    nested = make_settings(
        channels=["FISH"], enhance={"use": False}, detect={"floor": 0.2}
    )
    flat = make_settings(channels=["FISH"], enhance=False, floor=0.2)
    assert nested == flat
    assert flat.of(DetectOptions).floor == flat.options["detect"].floor == 0.2  # type: ignore[attr-defined]
    written = tomllib.loads(write_settings(flat))
    detect = {"use": True, "floor": 0.2, "decompose": True, "fit": False}
    assert written["detect"] == detect
    assert written["enhance"]["use"] is False
    assert written["channels"] == ["FISH"]
    assert set(written) - set(RUN_FIELDS) == {stage.name for stage in STAGES}


def test_every_setting_of_a_stage_has_a_table_a_default_and_words() -> None:
    for stage in STAGES:
        for name, field in stage.options.model_fields.items():
            assert not field.is_required(), (stage.name, name)
            assert field.description or name == "use", (stage.name, name)
    flat = [name for name, _ in iter_flat_names(STAGES)]
    assert len(flat) == len(set(flat))
    assert not set(flat) & set(RUN_FIELDS)


FORMER = """
channels = ["FISH"]
cells = "cells"
project = "mean"
model = "deepspot-retrained"
enhance = true
keep_enhanced = false
engine = "auto"
precision = "float32"
detector = "paper"
block = 512
normalisation = "max"
sectors = 4
min_spots = 7
rotation = "published"
exclude_border = true
nucleus_margin = 1.5
floor = 0.25
faint = 0.1
spot_sigma = 2.5
"""


def test_settings_of_runs_before_stages_had_tables_are_read() -> None:
    settings = read_settings(FORMER)
    assert settings == make_settings(
        channels=("FISH",),
        cells="cells",
        project="mean",
        block=512,
        spot_sigma=2.5,
        brightness={"normalisation": "max"},
        enhance={"model": "deepspot-retrained", "precision": "float32"},
        detect={"detector": "paper", "floor": 0.25, "min_relative_intensity": 0.1},
        polarity={
            "sectors": 4,
            "min_spots": 7,
            "rotation": "published",
            "exclude_border": True,
            "nucleus_margin": 1.5,
        },
    )
    assert read_settings(write_settings(settings)) == settings


def test_a_former_name_works_and_says_what_it_is_called_now() -> None:
    now = make_settings(channels=("FISH",), min_relative_intensity=0.1)
    with pytest.warns(FutureWarning, match="faint is called min_relative_intensity"):
        former = make_settings(channels=("FISH",), faint=0.1)
    assert former == now


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"detect": {"flor": 1}}, "no setting 'detect.flor'. Did you mean 'floor'"),
        ({"detekt": {"floor": 1}}, "no setting 'detekt'. Did you mean 'detect'"),
        ({"polarity": {"floor": 1}}, "no setting 'polarity.floor'"),
        ({"detect": {"floor": 2}}, "detect.floor: .*less than or equal to 1"),
        ({"brightness": False}, "no setting 'brightness'"),
        ({"options": {}}, "no setting 'options'"),
    ],
)
def test_an_unfit_option_is_named_with_its_table(
    values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        make_settings(channels=("FISH",), **values)


def test_a_stage_of_ones_own_has_a_table_that_is_read_without_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rating_stage.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    named = {"channels": ("FISH",), "stages": ("rating_stage:stage",)}
    settings = make_settings(**named, grade=True, grade_floor=0.25, floor=0.1)
    assert settings.options["grade"].floor == 0.25  # type: ignore[attr-defined]
    assert settings.of(DetectOptions).floor == 0.1
    assert settings == make_settings(
        **named, grade={"use": True, "floor": 0.25}, floor=0.1
    )
    text = write_settings(settings)
    monkeypatch.delitem(sys.modules, "rating_stage")
    read = read_settings(text)
    assert "rating_stage" not in sys.modules
    assert read.to_dict() == settings.to_dict()
    assert difference(read, settings) == []
    with pytest.raises(SettingsError, match=r"again: .* --stage rating_stage:stage$"):
        load_settings(read)
    assert "rating_stage" not in sys.modules
    own = "rating_stage:stage"
    assert write_settings(load_settings(read, allowed=[own])) == text
    assert "rating_stage" in sys.modules
    with pytest.raises(SettingsError, match="do not name another:stage"):
        load_settings(read, allowed=[own, "another:stage"])
    with pytest.raises(SettingsError, match=r"grade\.floor: "):
        make_settings(**named, grade_floor=7)
    assert find_sources(settings)["stage rating_stage:stage"]["sha256"]


def test_a_brightness_scale_that_a_model_does_not_use_is_refused():
    wanted = {"channels": ("FISH",), "normalisation": "max"}
    assemble(make_settings(**wanted, model="deepspot"))
    assemble(make_settings(**wanted, model="deepspot-fast", enhance=False))
    with pytest.raises(SettingsError, match="deepspot-fast scales an image by its noi"):
        assemble(make_settings(**wanted, model="deepspot-fast"))


@pytest.mark.parametrize(
    "given",
    [
        {"detector": "mine:code"},
        {"engine": "mine:code"},
        {"localiser_engine": "mine:code"},
        {"nuclei_engine": "mine:code"},
        {"segments": ("cells:mine:code@FISH",)},
    ],
    ids=lambda given: next(iter(given)),
)
def test_code_of_ones_own_runs_only_if_it_is_named_again(given: dict[str, Any]) -> None:
    settings = make_settings(channels=("FISH",), **given)
    with pytest.raises(SettingsError, match="mine:code"):
        load_settings(settings)
    assert load_settings(settings, allowed=["mine:code"]) == settings
