"""The order of stages as data: what the settings ask for is what is assembled."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from deepspot_scale.errors import SettingsError, WeightsError
from deepspot_scale.pipeline import ORDER
from deepspot_scale.settings import assemble, make_settings
from deepspot_scale.stages.detection.wavelet import PRESETS


def _names(**settings: Any) -> list[str]:
    pipeline = assemble(make_settings(channels=("0",), **settings))
    return [step.name for steps in pipeline.rounds for step in steps]


def test_only_what_was_asked_for_is_assembled() -> None:
    found = ["candidates", "spots", "assigned"]
    spots_only = ["range", "brightness", "pixels", "survey", *found]
    assert _names() == _names(enhance=False) == spots_only
    assert set(_names(cells="c")) - set(spots_only) == {"cells", "polarity"}
    assert set(_names(keep_enhanced=True)) - set(spots_only) == {"enhanced_image"}


def test_no_step_is_lost_in_the_order() -> None:
    everything = _names(cells="c", nuclei="n", keep_enhanced=True)
    assert sorted(everything) == sorted(name for line in ORDER for name in line)


def test_the_halo_is_that_of_network_and_detector_together() -> None:
    with_network = assemble(make_settings(channels=("0",)))
    without = assemble(make_settings(channels=("0",), enhance=False))
    assert without.halo == PRESETS["raw"].halo
    assert with_network.halo == 128 + PRESETS["enhanced"].halo
    assert (with_network.grid, without.grid) == (8, 1)


def test_a_pipeline_travels_to_workers() -> None:
    pipeline = assemble(make_settings(channels=("0",), cells="c"))
    assert pickle.loads(pickle.dumps(pipeline)).halo == pipeline.halo


@pytest.mark.parametrize(
    ("values", "instead"),
    [
        ({"detector": "raw"}, "enhanced, paper"),
        ({"detector": "product"}, "enhanced, paper"),
        ({"detector": "enhanced", "enhance": False}, "raw, product"),
        ({"detector": "paper", "enhance": False}, "raw, product"),
    ],
)
def test_a_detector_for_other_images_is_refused(
    values: dict[str, Any], instead: str
) -> None:
    with pytest.raises(SettingsError, match=instead):
        assemble(make_settings(channels=("0",), **values))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(SettingsError, match="no detector 'best'"):
        assemble(make_settings(channels=("0",), detector="best"))
    with pytest.raises(WeightsError, match="no model 'best'"):
        assemble(make_settings(channels=("0",), model="best"))


def test_a_block_without_a_core_is_refused() -> None:
    pipeline = assemble(make_settings(channels=("0",), block=256))
    with pytest.raises(SettingsError, match="at least"):
        pipeline.blocks((1000, 1000))
