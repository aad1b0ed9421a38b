"""StarDist models as segmenters: by the real library where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.networks.adapters.stardist import stardist_segmenter
from deepspot_scale.networks.segmenters import run_segmenter
from deepspot_scale.testing import check_segmenter

STARDIST = importlib.util.find_spec("stardist") is not None
needs_stardist = pytest.mark.skipif(not STARDIST, reason="stardist is not installed")


@pytest.fixture(scope="session")
def discs() -> list[tuple[Any, Any]]:
    """Images of bright discs and their labels."""
    rng, pairs = np.random.default_rng(0), []
    rows, columns = np.ogrid[:96, :96]
    for _ in range(12):
        image, labels = rng.normal(0, 0.02, (96, 96)), np.zeros((96, 96), np.int32)
        for number, (y, x) in enumerate(np.ndindex(3, 3), start=1):
            at = (np.array([y, x]) + 0.5) * 32 + rng.uniform(-4, 4, 2)
            disc = np.hypot(rows - at[0], columns - at[1]) <= rng.uniform(6, 10)
            image[disc] += rng.uniform(0.6, 1)
            labels[disc] = number
        pairs.append((image.astype(np.float32), labels))
    return pairs


@pytest.fixture(scope="session")
def model(
    tmp_path_factory: pytest.TempPathFactory, discs: list[tuple[Any, Any]]
) -> str:
    """Train the smallest StarDist for some seconds."""
    from stardist.models import Config2D, StarDist2D

    folder = tmp_path_factory.mktemp("stardist")
    config = Config2D(
        n_rays=8,
        grid=(2, 2),
        unet_n_depth=1,
        unet_n_filter_base=8,
        net_conv_after_unet=16,
        train_patch_size=(64, 64),
        train_learning_rate=3e-3,
        train_epochs=6,
        train_steps_per_epoch=40,
        train_tensorboard=False,
    )
    made = StarDist2D(config, name="discs", basedir=str(folder))
    np.random.seed(0)  # noqa: NPY002  # StarDist draws its patches from it
    images, labels = (list(each) for each in zip(*discs, strict=True))
    made.train(images[2:], labels[2:], validation_data=(images[:2], labels[:2]))
    return str(folder / "discs")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no config\.json.*not downloaded"):
        stardist_segmenter(tmp_path, largest=40)


def test_tiles_begin_on_the_networks_stride(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    segmenter = stardist_segmenter(tmp_path, largest=45, tile=500)
    assert segmenter.halo % 16 == segmenter.tile % 16 == 0
    assert segmenter.largest == 45
    assert segmenter.reach >= 96


def test_the_models_files_are_named(tmp_path: Path) -> None:
    for name in ("config.json", "thresholds.json", "weights_best.h5", "notes.txt"):
        (tmp_path / name).write_text("{}")
    named = stardist_segmenter(tmp_path, largest=45).files
    assert [Path(each).name for each in named] == [
        "config.json",
        "thresholds.json",
        "weights_best.h5",
    ]


@pytest.mark.skipif(STARDIST, reason="stardist is installed")
def test_without_the_library_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    segmenter = stardist_segmenter(tmp_path, largest=45)
    with pytest.raises(FieldError, match=r"needs stardist.*pip install stardist"):
        run_segmenter(segmenter, np.zeros((32, 32), np.float32), "own")


@needs_stardist
@pytest.mark.filterwarnings("ignore")  # of TensorFlow's and StarDist's own
def test_a_model_finds_objects_as_the_library_does(
    model: str, discs: list[tuple[Any, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    from stardist.models import StarDist2D

    capsys.readouterr()
    image, true = discs[0]
    labels = run_segmenter(stardist_segmenter(model, largest=32), image, "discs")
    assert capsys.readouterr().out == ""
    folder = Path(model)
    own = StarDist2D(None, name=folder.name, basedir=str(folder.parent))
    np.testing.assert_array_equal(labels, own.predict_instances(image)[0])
    assert abs(labels.max() - true.max()) <= 2


@needs_stardist
@pytest.mark.filterwarnings("ignore")
def test_a_model_keeps_the_contract(model: str, discs: list[tuple[Any, Any]]) -> None:
    tiled = np.tile(np.vstack([i for i, _ in discs[:4]]), (1, 4))
    segmenter = stardist_segmenter(model, largest=32, reach=32)
    check_segmenter(segmenter, images=[tiled], least_iou=0.9)
