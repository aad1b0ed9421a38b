"""The table [dyes] of a recipe."""

from __future__ import annotations

import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.training.recipe import make_recipe


@pytest.mark.parametrize("name", ["wavelengths_nm", "photons", "background"])
def test_ranges_out_of_order_are_refused(name) -> None:
    with pytest.raises(SettingsError, match="least, greatest"):
        make_recipe(dyes={name: [9.0, 2.0]})


def test_other_recipes_have_the_defaults() -> None:
    assert make_recipe().dyes.wavelengths_nm == (580.0, 670.0)
