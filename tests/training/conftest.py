"""What tests of training share: a network that is quick, and quick to start."""

import os

import numpy as np
import pytest

from deepspot_scale.training.recipe import make_recipe


@pytest.fixture
def tiny():
    """Numbers of the smallest architecture, without dropout."""
    return {
        "blocks": 1,
        "stems": (4, 4, 4),
        "filters": 4,
        "up": ((4, 4, 4),) * 3,
        "dropout": 0.0,
    }


@pytest.fixture
def eager():
    """TensorFlow without graphs: tracing one takes longer than these trainings."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tensorflow = pytest.importorskip("tensorflow")
    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


@pytest.fixture
def make_quick(tiny):
    """Make a recipe of few small steps."""

    def make(**values):
        defaults = {
            "architecture": tiny,
            "mixture": [{"source": "paper", "patches": 2, "spots": (3, 9), "size": 32}],
            "patch": 16,
            "steps": 3,
            "learning_rate": 1e-2,
            "dtype": "float32",
            "validation": {"every": 2, "patches": 2},
            "save_every": 1,
        }
        return make_recipe(**{**defaults, **values})

    return make


@pytest.fixture
def annotated_folder(tmp_path):
    """Make a folder of images with one bright pixel at each of their points."""
    import cv2

    def make(name, shapes, seed=0):
        rng = np.random.default_rng(seed)
        folder = tmp_path / name
        folder.mkdir()
        lines = ["image,y,x"]
        for number, (height, width) in enumerate(shapes):
            image = rng.integers(80, 120, (height, width)).astype(np.uint16)
            points = rng.integers(0, (height, width), (4, 2))
            image[tuple(points.T)] = 1000
            file = f"im{number}.png"
            assert cv2.imwrite(str(folder / file), image)
            lines += [f"{file},{y},{x}" for y, x in points]
        (folder / "spots.csv").write_text("\n".join(lines))
        return folder

    return make
