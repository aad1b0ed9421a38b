"""Stages of a run: what the settings ask for is what is assembled."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType
from typing import Any

import pytest

from deepspot_scale.blockwise.contract import RunContext, Stage, StageOptions, Work
from deepspot_scale.errors import SettingsError, WeightsError
from deepspot_scale.pipeline import STAGES, assemble_stages, find_stages
from deepspot_scale.settings import assemble, make_settings
from deepspot_scale.stages.detection.wavelet import PRESETS


def _names(**settings: Any) -> list[str]:
    pipeline = assemble(make_settings(channels=("0",), **settings))
    return [each.step.gives.name for round_ in pipeline.rounds for each in round_.steps]


def test_only_what_was_asked_for_is_assembled() -> None:
    brightness = {"measured_range", "pixel_counts"}
    found = {"survey", "candidates", "measured_spots", "detected", "left_out"}
    found |= {"assigned", "spots_to_cluster"}
    spots_only = {*brightness, *found, "quality_sums"}
    assert set(_names(enhance=False)) == spots_only
    assert set(_names(enhance=False, quality=False)) == spots_only - {"quality_sums"}
    network = {"pixel_differences", "enhanced", "candidate_counts", "judged"}
    plain = (spots_only | network) - {"measured_spots"}
    by_noise = {"tile_medians", "deviations"}
    assert set(_names(model="deepspot")) == plain | {"contrasts"}
    assert set(_names(model="deepspot-fast")) >= plain | by_noise
    cells = set(_names(cells="c")) - set(_names())
    assert cells == {"cell_shapes", "spot_sums"}
    assert set(_names(cells="c", polarity=False)) == set(_names())
    assert set(_names(keep_enhanced=True)) - set(_names()) == {"enhanced_image"}


def test_without_spots_nothing_is_assigned_and_no_cell_measured() -> None:
    names = _names(detect=False, enhance=False, cells="c")
    assert names == ["measured_range", "pixel_counts", "quality_sums"]
    with pytest.raises(SettingsError, match=r"'enhanced', which no stage.*--no-enh"):
        _names(detect=False)


def test_the_order_is_that_in_which_each_can_be_made() -> None:
    names = _names(cells="c", nuclei="n", keep_enhanced=True)
    order = ["measured_range", "pixel_counts", "enhanced", "survey", "candidates"]
    order += ["detected", "assigned", "spot_sums"]
    assert [name for name in names if name in order] == order


def test_no_step_of_any_stage_is_lost() -> None:
    layers = frozenset({"image", "cells", "nuclei", "enhanced"})
    context = RunContext(layers, frozenset({"detected", "assigned"}))
    declared, planned = set[str](), set[str]()
    unused = {"segment", "volume", "denoise", "localise", "rate"}
    stages = [stage for stage in STAGES if stage.name not in unused]
    for model in ("deepspot", "deepspot-fast"):  # they scale an image in their own ways
        own = {"model": model, "keep_enhanced": True, "cells": "c", "nuclei": "n"}
        settings = make_settings(channels=("0",), **own)
        works = [stage.plan(settings.options[stage.name], context) for stage in stages]
        declared |= {step.gives.name for work in works if work for step in work.steps}
        names = _names(**own)
        assert len(set(names)) == len(names)
        planned |= set(names)
    assert planned >= declared
    assert assemble(settings).stages == tuple(stage.name for stage in stages)
    in_volume = make_settings(channels=("0",), volume=True, cells="c", nuclei="n")
    unused -= {"volume"}
    assert assemble(in_volume).stages == tuple(
        stage.name for stage in STAGES if stage.name not in unused
    )


def test_a_stage_of_ones_own_comes_first_and_must_not_take_a_name() -> None:
    assert find_stages() == STAGES
    module = ModuleType("stages_of_mine")
    module.mine = Stage("mine", StageOptions, _nothing)  # type: ignore[attr-defined]
    module.twice = Stage("detect", StageOptions, _nothing)  # type: ignore[attr-defined]
    module.none = _nothing  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "stages_of_mine", module)
        found = find_stages(["stages_of_mine:mine"])
        assert [stage.name for stage in found] == ["mine", *(s.name for s in STAGES)]
        with pytest.raises(SettingsError, match="two stages are called 'detect'"):
            find_stages(["stages_of_mine:twice"])
        with pytest.raises(SettingsError, match="of type function, not a Stage"):
            find_stages(["stages_of_mine:none"])
    with pytest.raises(SettingsError, match="no stage 'absent'"):
        find_stages(["absent"])


def _nothing(_: Any, __: RunContext) -> Work | None:
    return None


def test_a_stage_that_is_not_used_or_has_nothing_to_do_gives_no_work() -> None:
    idle = Stage("idle", StageOptions, _nothing)
    choices = {stage: stage.options() for stage in STAGES} | {idle: StageOptions()}
    context = RunContext()
    assert "idle" not in assemble_stages(choices, context).stages
    names = {stage.name for stage in choices} - {
        "idle",
        "polarity",
        "segment",
        "volume",
        "denoise",
        "localise",
        "rate",
    }
    assert set(assemble_stages(choices, context).stages) == names


def test_the_halo_is_that_of_network_and_detector_together() -> None:
    without = assemble(make_settings(channels=("0",), enhance=False))
    assert (without.halo, without.grid) == (_margin(PRESETS["raw"].halo), 1)
    for model, halo, grid in (("deepspot", 128, 8), ("deepspot-fast", 88, 4)):
        with_network = assemble(make_settings(channels=("0",), model=model))
        assert with_network.halo == _margin(halo + PRESETS["enhanced"].halo)
        assert with_network.grid == grid


def test_a_rater_looks_at_what_is_enhanced_for_it_alone_or_for_spots_too() -> None:
    for enhance in (True, False):
        pipeline = assemble(
            make_settings(channels=("0",), enhance=enhance, rate=True, detect=False)
        )
        assert set(pipeline.stages) == {"enhance", "brightness", "quality", "rate"}
        names = [each.step.gives.name for r in pipeline.rounds for each in r.steps]
        assert names.count("enhanced") == names.count("scaled") == 1
    raw = assemble(make_settings(channels=("0",), enhance=False, rate=True))
    assert "enhance" in raw.stages
    reads = {
        layer
        for some in raw.rounds
        for each in some.steps
        if each.stage == "detect"
        for layer in each.step.reads
    }
    assert reads == {"image"}  # spots are found in the raw image, as was asked for


def _margin(pixels: int) -> dict[str, int]:
    return {"y": pixels, "x": pixels}


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
    pipeline = assemble(make_settings(channels=("0",), block=160))
    with pytest.raises(SettingsError, match="at least"):
        pipeline.blocks((1000, 1000))
