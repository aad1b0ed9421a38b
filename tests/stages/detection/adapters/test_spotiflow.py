"""Spotiflow in blocks: the points that the library finds on the whole plane.

Published models are not at hand, so a small one is written whose weights are random:
what matters is that blocks and the whole plane agree. Run where Spotiflow is installed.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from deepspot_scale.errors import SettingsError
from deepspot_scale.stages.detection.adapters.spotiflow import SpotiflowDetector
from deepspot_scale.verbs.images import detect

needs_spotiflow = pytest.mark.skipif(
    importlib.util.find_spec("spotiflow") is None, reason="spotiflow is not installed"
)


@needs_spotiflow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("shape", [(160, 200), (173, 201)])
def test_points_are_those_of_the_library_on_the_whole_plane(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    import torch
    from spotiflow.model import Spotiflow, SpotiflowModelConfig

    torch.manual_seed(0)
    folder = str(tmp_path / "model")
    Spotiflow(SpotiflowModelConfig(levels=2, initial_fmaps=8)).save(
        folder, update_thresholds=True
    )
    library = Spotiflow.from_folder(folder, map_location="cpu")
    counts = np.random.default_rng(0).poisson(100, shape).astype(np.uint16)
    how: dict[str, Any] = {"verbose": False, "n_tiles": (1, 1)}
    _, details = library.predict(counts, **how)
    threshold = float(np.quantile(details.heatmap, 0.97))
    points, _ = library.predict(counts, prob_thresh=threshold, **how)
    expected = np.clip(np.asarray(points, float), 0, np.array(shape) - 1)
    expected = expected[np.lexsort(expected.T[::-1])]
    assert len(expected) > 50
    detector = SpotiflowDetector(folder, threshold=threshold)
    image = xr.DataArray(counts, dims=("y", "x"))
    for block in (2560, 2 * detector.halo + 24):
        table: Any = detect(image, method=detector, block=block)
        found = table[["y", "x"]].to_numpy()
        found = found[np.lexsort(found.T[::-1])]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


CONFIG = """
in_channels: 1
is_3d: false
levels: 4
n_convs_per_level: 3
downsample_factors: [[2, 2], [2, 2], [2, 2], [2, 2]]
kernel_sizes: [[3, 3], [3, 3], [3, 3]]
background_remover: false
"""


def _write(folder: Path, config: str = CONFIG) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(config)
    (folder / "best.pt").write_bytes(b"weights")
    return str(folder)


def test_stride_and_reach_are_those_of_the_configuration(tmp_path: Path) -> None:
    detector = SpotiflowDetector(_write(tmp_path / "model"))
    assert detector.grid == 16
    assert detector.halo == 192  # 144 by an impulse, a stride, and what follows
    assert [Path(file).name for file in detector.files] == ["config.yaml", "best.pt"]


def test_folders_and_numbers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no Spotiflow model"):
        SpotiflowDetector(str(tmp_path / "none"))
    volumes = _write(tmp_path / "v", CONFIG.replace("is_3d: false", "is_3d: true"))
    with pytest.raises(SettingsError, match="of volumes"):
        SpotiflowDetector(volumes)
    good = _write(tmp_path / "model")
    with pytest.raises(SettingsError, match="is a probability"):
        SpotiflowDetector(good, threshold=2)
    with pytest.raises(SettingsError, match="at least 1 px"):
        SpotiflowDetector(good, distance=0)
