"""The shipped network of dyes comes near to the bound, on every engine."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.dye_verdicts import DYE_MODEL, classify_by_network
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import find_loader
from deepspot_scale.simulation.dyes import DyeScene, draw_dyes, gaussian_spread
from deepspot_scale.testing import check_engine

PAIR = [gaussian_spread(nm, aperture=1.45, pixel_nm=110) for nm in (580, 670)]


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_the_shipped_network_is_near_to_the_bound(engine) -> None:
    choice = EngineChoice(DYE_MODEL, engine, "float32", "cpu")
    for dark, bound in ((30, 0.99), (5, 0.999)):
        scene = DyeScene((1000, 1000), (dark, dark))
        drawn = draw_dyes(PAIR, scene, np.random.default_rng(0), 2000)
        # Counts of a camera: gain and offset do not matter.
        verdicts = classify_by_network(100 + 4 * drawn.images, choice)
        right = verdicts.dye == drawn.dye
        assert right.mean() > bound - 0.02
        assert verdicts.probability.mean() == pytest.approx(right.mean(), abs=0.02)


def test_the_shipped_network_keeps_the_contract_of_engines() -> None:
    check_engine(find_loader("keras"), EngineChoice(DYE_MODEL, "keras", "float32"))


def test_a_window_that_is_not_known_has_no_dye() -> None:
    windows = np.ones((3, 11, 11))
    windows[1, 0, 0] = np.nan
    verdicts = classify_by_network(windows)
    assert verdicts.dye[1] == -1
    assert np.isnan(verdicts.probability).tolist() == [False, True, False]
    none = classify_by_network(np.full((2, 11, 11), np.nan))
    assert none.dye.tolist() == [-1, -1]


def test_other_models_and_other_windows_are_refused() -> None:
    with pytest.raises(SettingsError, match="tells no dyes apart"):
        classify_by_network(np.zeros((1, 11, 11)), EngineChoice("deepspot-fast"))
    with pytest.raises(SettingsError, match="windows of 11 x 11"):
        classify_by_network(np.zeros((1, 13, 13)))
