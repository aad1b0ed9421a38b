"""Settings: checked, written, read back and compared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st

from deepspot_scale.config import difference
from deepspot_scale.errors import SettingsError
from deepspot_scale.settings import (
    Settings,
    make_settings,
    read_settings,
    write_settings,
)

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
        "faint": draw(st.none() | st.floats(0, 0.9)),
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
    lines = difference(make_settings(**first), make_settings(**second))
    named = {line.partition(":")[0] for line in lines}
    assert named == {name for name in first if first[name] != second[name]}


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
    with pytest.raises(SettingsError, match=r"block.*; sectors"):
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
    assert Settings(channels=("FISH",), **values).detector_name == name
