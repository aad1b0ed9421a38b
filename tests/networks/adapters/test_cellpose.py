"""Cellpose models as segmenters: by the real library where it is installed.

Its own network is of 305 million weights, so it is given a small one of the same
layers, whose weights are written down: flows lead up the slope of the blurred image.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.networks.adapters.cellpose import cellpose_segmenter
from deepspot_scale.networks.segmenters import hash_files, run_segmenter

CELLPOSE = importlib.util.find_spec("cellpose") is not None
needs_cellpose = pytest.mark.skipif(not CELLPOSE, reason="cellpose is not installed")
PATCH = 8
"""Edge of the patches that the network sees as one."""
N = PATCH**2


def slopes_and_brightness() -> np.ndarray:
    """Return (3 * 64, 64, 3, 3): flows and logits of a patch, of 3 by 3 patches."""
    edge = 3 * PATCH
    weights = np.zeros((3, N, edge, edge))
    for number, (y, x) in enumerate(np.ndindex(PATCH, PATCH)):
        at = np.zeros((edge, edge))
        at[PATCH + y, PATCH + x] = 1
        for axis, order in enumerate([(1, 0), (0, 1)]):
            weights[axis, number] = -60 * ndimage.gaussian_filter(at, 3, order=order)
        weights[2, number] = 10 * at
    split = weights.reshape(3 * N, 3, PATCH, 3, PATCH)
    return split.transpose(0, 2, 4, 1, 3).reshape(3 * N, N, 3, 3)


def write_weights(net: Any) -> None:
    """Set the weights; two channels hold +4 and -4, which undo layer norms."""
    import torch

    embed, neck = net.encoder.patch_embed.proj, net.encoder.neck
    with torch.no_grad():
        for each in (embed.weight, embed.bias, neck[0].weight, neck[2].weight):
            each.zero_()
        net.encoder.pos_embed.zero_()
        embed.weight[:N, 0] = torch.eye(N).reshape(N, PATCH, PATCH)
        embed.bias[N:] = torch.tensor([4.0, -4.0])
        neck[0].weight[: N + 2, :, 0, 0] = torch.eye(N + 2)
        wanted = torch.tensor(slopes_and_brightness(), dtype=torch.float32)
        neck[2].weight[:-2, :N] = wanted
        neck[2].weight[:-2, N : N + 2] = -wanted.sum(1, keepdim=True) / 2
        neck[2].weight[2 * N : 3 * N, N : N + 2, 1, 1] += torch.tensor([-0.5, 0.5])
        neck[2].weight[-2:, N : N + 2, 1, 1] = torch.tensor([[10.0, -10], [-10, 10]])
        net.out.weight.zero_()
        net.out.bias.zero_()
        net.out.weight[:, :-2, 0, 0] = 8 * torch.eye(3 * N)
        net.out.weight[:, -2:, 0, 0] = -4


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write a small Cellpose model, and let the library build one as small."""
    from cellpose.vit import CPSAM
    from segment_anything import sam_model_registry
    from segment_anything.modeling import ImageEncoderViT

    def small(_: None) -> SimpleNamespace:
        encoder = ImageEncoderViT(depth=0, embed_dim=N + 2, out_chans=3 * N + 2)
        return SimpleNamespace(image_encoder=encoder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sam_model_registry, "vit_l", small)
        net = CPSAM()
        write_weights(net)
        file = tmp_path_factory.mktemp("cellpose") / "small"
        net.save_model(str(file))
        yield file


def draw_discs(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of discs and their labels."""
    rng = np.random.default_rng(0)
    image, labels = rng.normal(0, 0.02, shape), np.zeros(shape, np.int32)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    places = np.ndindex(shape[0] // 32, shape[1] // 32)
    for number, place in enumerate(places, start=1):
        y, x = (np.array(place) + 0.5) * 32 + rng.uniform(-4, 4, 2)
        disc = np.hypot(rows - y, columns - x) <= rng.uniform(7, 9)
        image[disc] += rng.uniform(0.9, 1)
        labels[disc] = number
    return image.astype(np.float32), labels


def test_a_name_is_refused_since_nothing_is_downloaded() -> None:
    with pytest.raises(SettingsError, match=r"cpsam'. Give the file.*not downloaded"):
        cellpose_segmenter("cpsam", largest=40)


def test_the_file_is_named_and_the_windows_size_follows_the_diameter(
    tmp_path: Path,
) -> None:
    (tmp_path / "own").write_bytes(b"weights")
    plain = cellpose_segmenter(tmp_path / "own", largest=40)
    resized = cellpose_segmenter(tmp_path / "own", largest=100, diameter=60)
    assert (plain.reach, resized.reach) == (256, 512)
    assert list(hash_files(plain)) == ["own"]
    with pytest.raises(SettingsError, match="diameter above 0 px, got -3"):
        cellpose_segmenter(tmp_path / "own", largest=40, diameter=-3)


@pytest.mark.skipif(CELLPOSE, reason="cellpose is installed")
def test_without_the_library_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(b"weights")
    segmenter = cellpose_segmenter(tmp_path / "own", largest=45)
    with pytest.raises(FieldError, match=r"needs cellpose.*pip install 'cellpose"):
        run_segmenter(segmenter, np.zeros((32, 32), np.float32), "own")


@needs_cellpose
@pytest.mark.filterwarnings("ignore")  # of torch's and Cellpose's own
def test_a_model_finds_objects_as_the_library_does(weights: Path) -> None:
    from cellpose.models import CellposeModel

    image, true = draw_discs((320, 288))
    labels = run_segmenter(cellpose_segmenter(weights, largest=32), image, "discs")
    own = CellposeModel(pretrained_model=str(weights))
    expected = own.eval(image, normalize=False)[0]
    np.testing.assert_array_equal(labels, expected)
    assert abs(labels.max() - true.max()) <= 0.05 * true.max()
    covered = (labels > 0) & (true > 0)
    assert covered.sum() > 0.8 * ((labels > 0) | (true > 0)).sum()


@needs_cellpose
@pytest.mark.filterwarnings("ignore")
def test_brightness_of_a_tile_does_not_rescale_it(weights: Path) -> None:
    image, _ = draw_discs((128, 128))
    segmenter = cellpose_segmenter(weights, largest=32)
    assert run_segmenter(segmenter, image, "discs").max() == 16
    assert run_segmenter(segmenter, image * 0.3, "discs").max() == 0


@needs_cellpose
@pytest.mark.filterwarnings("ignore")
def test_a_file_that_lacks_weights_or_has_gone_is_refused(
    weights: Path, tmp_path: Path
) -> None:
    import torch

    stored = torch.load(weights)
    del stored["out.weight"]
    torch.save(stored, tmp_path / "half")
    blank = np.zeros((32, 32), np.float32)
    with pytest.raises(FieldError, match=r"lacks 1 of the .*out\.weight"):
        run_segmenter(cellpose_segmenter(tmp_path / "half", largest=32), blank, "half")
    torch.save(stored, tmp_path / "cpsam")
    segmenter = cellpose_segmenter(tmp_path / "cpsam", largest=32)
    (tmp_path / "cpsam").unlink()
    with pytest.raises(FieldError, match=r"no file .*not downloaded"):
        run_segmenter(segmenter, blank, "gone")
