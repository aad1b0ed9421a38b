"""The network gives one answer whatever runs it: TensorFlow, JAX or torch."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.kernels.normalisation import quantile_scale
from deepspot_scale.simulation import broad_image

MODULES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
PREDICT = """
import sys
import numpy as np
from deepspot_scale.networks.engine_types import (EngineChoice)
from deepspot_scale.networks.engines import (get_engine)

choice = EngineChoice(engine="keras", precision="float32", device="cpu")
np.save(sys.argv[2], get_engine(choice).predict(np.load(sys.argv[1])))
"""


def predict(backend: str, folder: Path) -> np.ndarray:
    target = folder / f"{backend}.npy"
    quiet = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    arguments = [sys.executable, "-c", PREDICT, str(folder / "in.npy"), str(target)]
    done = subprocess.run(
        arguments, env={**os.environ, **quiet}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return np.load(target)


def test_all_installed_backends_agree_in_float32(tmp_path: Path) -> None:
    here = [name for name, module in MODULES.items() if find_spec(module)]
    if len(here) < 2:
        pytest.skip(f"only {here} is installed, nothing to compare with")
    image = broad_image(np.random.default_rng(3), 128).image
    np.save(tmp_path / "in.npy", quantile_scale(image)(image)[None, ..., None])
    answers = {name: predict(name, tmp_path) for name in here}
    first = answers[here[0]]
    assert first.max() > 0.5
    for name in here[1:]:
        np.testing.assert_allclose(answers[name], first, atol=1e-3, err_msg=name)
