"""InstanSeg models as segmenters: by the real library where it is installed.

Its own networks are trained and are not at hand, so the library's TorchScript is given
one whose weights are written down: pixels above half are of the object at whose seed
they hang.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.networks.adapters.instanseg import instanseg_segmenter
from deepspot_scale.networks.segmenters import hash_files, run_segmenter
from deepspot_scale.testing import check_segmenter

INSTANSEG = importlib.util.find_spec("instanseg") is not None
needs_instanseg = pytest.mark.skipif(
    not INSTANSEG, reason="instanseg-torch is not installed"
)


def write_model(path: Path, *, pixel_um: float = 0.5, both: bool = False) -> Path:
    """Write a model of one kind, or of nuclei and of cells above a fifth."""
    import torch
    from instanseg.utils.loss.instanseg_loss import (
        InstanSeg_Torchscript,
        ProbabilityNet,
    )

    kinds = 2 if both else 1
    net = torch.nn.Conv2d(1, 5 * kinds, 9, padding=4)
    classify = ProbabilityNet(4, width=2)
    with torch.no_grad():
        for each in (*net.parameters(), *classify.parameters()):
            each.zero_()
        # Of each kind: shifts y and x, which stay 0, two widths, and the seeds' map.
        for kind, level in enumerate((0.5, 0.2)[:kinds]):
            net.weight[5 * kind + 2, 0, 4, 4] = 1
            net.bias[5 * kind + 2] = -level
            net.weight[5 * kind + 4, 0] = 15 / 81
            net.bias[5 * kind + 4] = 15 * (0.25 - level / 2)
        classify.fc1.weight[0, 2] = classify.fc1.weight[1, 2] = 1
        classify.fc1.weight[1, 2] = -1
        classify.fc2.weight.copy_(torch.eye(2))
        classify.fc3.weight.copy_(torch.tensor([[60.0, -60.0]]))
    net.pixel_classifier = classify
    script = InstanSeg_Torchscript(
        net,
        cells_and_nuclei=both,
        pixel_size=pixel_um,
        n_sigma=2,
        backbone_dim_in=1,
    )
    torch.jit.save(torch.jit.script(script), str(path))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("instanseg") / "instanseg.pt")


def draw_discs(shape: tuple[int, int], scale: int = 1) -> tuple[Any, Any]:
    """Return an image of discs and their labels."""
    rng = np.random.default_rng(0)
    image, labels = rng.normal(0, 0.02, shape), np.zeros(shape, np.int32)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    step = 32 * scale
    places = np.ndindex(shape[0] // step, shape[1] // step)
    for number, place in enumerate(places, start=1):
        y, x = ((np.array(place) + 0.5) * 32 + rng.uniform(-4, 4, 2)) * scale
        radius = rng.uniform(7, 9) * scale
        disc = np.hypot(rows - y, columns - x) <= radius
        image[disc] += rng.uniform(0.9, 1)
        labels[disc] = number
    return image.astype(np.float32), labels


def share_in_common(labels: Any, true: Any) -> float:
    covered = (labels > 0) & (true > 0)
    return float(covered.sum() / ((labels > 0) | (true > 0)).sum())


def test_a_name_is_refused_since_nothing_is_downloaded() -> None:
    told = r"fluorescence_nuclei_and_cells'. Give the TorchScript.*not downloaded"
    with pytest.raises(SettingsError, match=told):
        instanseg_segmenter("fluorescence_nuclei_and_cells", largest=40, pixel_um=0.3)


def test_the_file_is_named_and_the_reach_follows_the_size_of_a_pixel(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.pt").write_bytes(b"weights")
    segmenter = instanseg_segmenter(tmp_path / "own.pt", largest=40, pixel_um=0.32)
    assert segmenter.reach == 150
    assert list(hash_files(segmenter)) == ["own.pt"]
    with pytest.raises(SettingsError, match="above 0 micrometres, got nan"):
        instanseg_segmenter(tmp_path / "own.pt", largest=40, pixel_um=float("nan"))


@pytest.mark.skipif(INSTANSEG, reason="instanseg-torch is installed")
def test_without_the_library_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "own.pt").write_bytes(b"weights")
    segmenter = instanseg_segmenter(tmp_path / "own.pt", largest=45, pixel_um=0.5)
    with pytest.raises(FieldError, match=r"needs .*pip install instanseg-torch"):
        run_segmenter(segmenter, np.zeros((32, 32), np.float32), "own")


@needs_instanseg
@pytest.mark.filterwarnings("ignore")  # of torch's and InstanSeg's own
def test_a_model_finds_objects_as_the_library_does(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from instanseg import InstanSeg

    image, true = draw_discs((160, 192))
    segmenter = instanseg_segmenter(model, largest=32, pixel_um=0.5)
    labels = run_segmenter(segmenter, image, "discs")
    assert capsys.readouterr().out == ""
    own = InstanSeg(torch.jit.load(model), verbosity=0)
    expected = own.eval_small_image(
        image[None].copy(), pixel_size=0.5, normalise=False, return_image_tensor=False
    )
    np.testing.assert_array_equal(labels, expected[0, 0])
    assert len(np.unique(labels)) - 1 == true.max() == 30
    assert share_in_common(labels, true) > 0.95


@needs_instanseg
@pytest.mark.filterwarnings("ignore")
def test_images_are_brought_to_the_models_size_of_a_pixel(model: Path) -> None:
    image, true = draw_discs((256, 320), scale=2)
    segmenter = instanseg_segmenter(model, largest=64, pixel_um=0.25)
    labels = run_segmenter(segmenter, image, "discs")
    assert len(np.unique(labels)) - 1 == true.max() == 20
    assert share_in_common(labels, true) > 0.9


@needs_instanseg
@pytest.mark.filterwarnings("ignore")
def test_objects_beyond_the_models_own_window_are_whole(model: Path) -> None:
    image = np.zeros((160, 300), np.float32)
    image[70:90, 60:240] = 1
    segmenter = instanseg_segmenter(model, largest=180, pixel_um=0.5)
    labels = run_segmenter(segmenter, image, "bars")
    np.testing.assert_array_equal(labels > 0, image > 0.5)
    assert len(np.unique(labels)) == 2


@needs_instanseg
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("shape", [(40, 64), (18, 200), (33, 33)])
def test_objects_on_opposite_sides_of_a_small_image_are_two(
    model: Path, shape: tuple[int, int]
) -> None:
    image = np.zeros(shape, np.float32)
    image[:7, 5:16] = image[-7:, 5:16] = 1
    segmenter = instanseg_segmenter(model, largest=40, pixel_um=0.5)
    labels = run_segmenter(segmenter, image, "small")
    np.testing.assert_array_equal(labels > 0, image > 0.5)
    assert len(np.unique(labels)) == 3


@needs_instanseg
@pytest.mark.filterwarnings("ignore")
def test_brightness_of_a_tile_does_not_rescale_it(model: Path) -> None:
    image, _ = draw_discs((128, 128))
    segmenter = instanseg_segmenter(model, largest=32, pixel_um=0.5)
    assert run_segmenter(segmenter, image, "discs").any()
    assert not run_segmenter(segmenter, image * 0.3, "discs").any()


@needs_instanseg
@pytest.mark.filterwarnings("ignore")
def test_a_model_keeps_the_contract(model: Path) -> None:
    segmenter = instanseg_segmenter(model, largest=32, pixel_um=0.5, reach=16)
    check_segmenter(segmenter, images=[draw_discs((256, 224))[0]])


@needs_instanseg
@pytest.mark.filterwarnings("ignore")
def test_nuclei_or_cells_are_chosen_and_a_choice_that_is_none_is_refused(
    model: Path, tmp_path: Path
) -> None:
    both = write_model(tmp_path / "both.pt", both=True)
    image, true = draw_discs((128, 128))
    image[(image < 0.4) & (np.roll(true, 4, 1) > 0)] += 0.3

    def find(path: Path, target: Any) -> Any:
        segmenter = instanseg_segmenter(path, largest=32, pixel_um=0.5, target=target)
        return run_segmenter(segmenter, image, "discs")

    nuclei, cells = find(both, "nuclei"), find(both, "cells")
    assert share_in_common(nuclei, true) > 0.95
    assert (cells > 0).sum() > 1.15 * (nuclei > 0).sum()
    with pytest.raises(FieldError, match="say target='nuclei' or target='cells'"):
        find(both, None)
    with pytest.raises(FieldError, match=r"one kind.*leave target='cells' out"):
        find(model, "cells")
    sizeless = write_model(tmp_path / "sizeless.pt", pixel_um=float("nan"))
    with pytest.raises(FieldError, match="does not say at which size"):
        find(sizeless, None)
