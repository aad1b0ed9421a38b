"""The network that removes noise: its reach, its engines and its numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.networks.denoiser import GRID, Architecture, build, reach
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import get_engine
from deepspot_scale.networks.families import DENOISER
from deepspot_scale.networks.weights import write_weights

SMALL = Architecture(filters=3)


@pytest.fixture(scope="module", autouse=True)
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")


def filled():
    """Weights above 0: no impulse is cancelled, and no unit is ever off."""
    rng = np.random.default_rng(0)
    model = build(SMALL)
    model.set_weights(
        [
            rng.uniform(0.5, 1.0, array.shape) / max(1, np.prod(array.shape[:-1]))
            for array in model.get_weights()
        ]
    )
    return model


def test_an_impulse_reaches_exactly_as_far_as_declared() -> None:
    model, middle, far = filled(), 48, 0
    for place in range(GRID):
        lit = np.zeros((1, 96, 96, 1), np.float32)
        lit[0, middle + place, middle + place] = 1e4
        change = np.asarray(model(lit) - model(0 * lit))[0, ..., 0]
        touched = np.argwhere(change != 0) - middle - place
        far = max(far, int(np.abs(touched).max()))
    assert far == reach(SMALL)
    assert DENOISER.halo(SMALL) % GRID == 0


def test_keras_and_openvino_give_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "clean.safetensors"
    write_weights(path, build(SMALL).get_weights(), SMALL, family=DENOISER)
    batch = np.random.default_rng(1).normal(size=(2, 32, 48, 1)).astype(np.float32)
    one, other = (
        get_engine(EngineChoice(str(path), engine, "float32", "cpu")).predict(batch)
        for engine in ("keras", "openvino")
    )
    assert one.shape == batch.shape
    assert np.ptp(one) > 0
    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_network_without_filters_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more; got 0"):
        Architecture(filters=0)
