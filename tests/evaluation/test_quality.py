"""Models are judged by their kind, on real files, through the pipeline of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from deepspot_scale.errors import PlateError, RunError, SettingsError, WeightsError
from deepspot_scale.evaluation.quality import (
    evaluate_quality,
    is_judged_by_pairs,
    name_models,
)
from deepspot_scale.kernels.denoising import ABOUT, Denoising
from deepspot_scale.networks.families import DENOISER
from deepspot_scale.networks.weights import write_weights
from deepspot_scale.simulation.nuclei import draw_nuclei


@pytest.fixture
def nuclei(tmp_path: Path) -> Path:
    """Four images of nuclei: three simulated, and one without any."""
    folder = tmp_path / "nuclei"
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number, cover in enumerate((0.2, 0.3, 0.4, 0.0)):
        rng = np.random.default_rng(number)
        made = draw_nuclei(rng, (160, 176), diameter=24, cover=cover)
        image = made.counts.astype(np.uint16)
        tifffile.imwrite(folder / "images" / f"{number}.tif", image)
        tifffile.imwrite(folder / "labels" / f"{number}.tif", made.labels)
    return folder


def test_a_model_of_objects_has_its_sheet(nuclei: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    out = tmp_path / "out"
    result = evaluate_quality(
        ["nuclei"], nuclei, out, progress=lambda *n: seen.append(n)
    )
    (sheet,) = result.sheets
    assert seen == [("images seen by nuclei", done, 4) for done in range(5)]
    scores = sheet.summary.set_index("measure")
    assert scores.loc["ap_50", "value"] > 0.6
    assert scores.loc["ap_50", "low"] < scores.loc["ap_50", "value"]
    table = pd.read_csv(out / "images.csv", dtype={"image": str})
    assert sorted(table["image"]) == list("0123")
    assert table["ap_50"].is_monotonic_increasing  # the worst one is first
    (numbers,) = json.loads((out / "scores.json").read_text())
    assert numbers["scores"]["ap"]["n_images"] == 4
    assert len(sheet.domain.table) == 4
    page = result.page.read_text("utf-8")
    assert page.count("<img") >= 2  # the worst images and the domain
    assert "the worst images" in page


def test_an_image_that_cannot_be_read_is_listed_and_the_others_scored(
    nuclei: Path, tmp_path: Path
) -> None:
    (nuclei / "images" / "1.tif").write_bytes(b"no image")
    (sheet,) = evaluate_quality(["nuclei"], nuclei, tmp_path / "out").sheets
    assert sheet.failed["image"].tolist() == ["1"]
    assert len(sheet.images) == 3


def test_where_nothing_can_be_measured_it_is_an_error(
    nuclei: Path, tmp_path: Path
) -> None:
    for file in (nuclei / "images").iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(RunError, match="none of 4 images could be measured"):
        evaluate_quality(["nuclei"], nuclei, tmp_path / "out")


def test_only_so_many_images_are_taken(nuclei: Path, tmp_path: Path) -> None:
    (sheet,) = evaluate_quality(["nuclei"], nuclei, tmp_path / "o", images=1).sheets
    assert sheet.images["image"].tolist() == ["0"]
    assert sheet.summary["low"].isna().all()  # one image has no interval


@pytest.fixture
def denoiser(tmp_path: Path) -> Path:
    """Weights of a denoiser that answers the mean, and gives back what stands out."""
    import keras

    keras.utils.set_random_seed(0)
    architecture = DENOISER.architecture(filters=2)
    model = DENOISER.build(architecture)
    arrays = [np.zeros(each.shape, np.float32) for each in model.get_weights()]
    scale = Denoising(100.0, 10.0, least=100.0, variance=100.0, doubt=2.5)
    about = {ABOUT: scale.to_text()}
    file = tmp_path / "flat.safetensors"
    write_weights(file, arrays, architecture, family=DENOISER, about=about)
    return file


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three noisy images with two bright spots each, and the clean ones."""
    folder = tmp_path / "pairs"
    rows = []
    for kind in ("noisy", "clean"):
        (folder / kind).mkdir(parents=True)
    for number in range(3):
        rng = np.random.default_rng(number)
        y, x = np.indices((96, 96))
        clean = np.full((96, 96), 100.0)
        for place in ((30, 40), (60, 20 + number)):
            rows.append((f"{number}.tif", *place))
            far = (y - place[0]) ** 2 + (x - place[1]) ** 2
            clean += 900 * np.exp(-far / 2 / 1.4**2)
        noisy = clean + rng.normal(0, 10, clean.shape)
        tifffile.imwrite(folder / "clean" / f"{number}.tif", clean.astype(np.float32))
        tifffile.imwrite(folder / "noisy" / f"{number}.tif", noisy.astype(np.uint16))
    table = pd.DataFrame(rows, columns=["image", "y", "x"])
    table.to_csv(folder / "spots.csv", index=False)
    return folder


def test_a_denoiser_is_judged_by_pixels_and_spots(
    denoiser: Path, pairs: Path, tmp_path: Path
) -> None:
    (sheet,) = evaluate_quality([str(denoiser)], pairs, tmp_path / "out").sheets
    scores = sheet.summary.set_index("measure")["value"]
    assert scores["psnr_gain"] > 3
    assert scores["spot_recall_noisy"] == 1.0
    assert "spot_recall" in scores
    assert sheet.images["n_spots"].tolist() == [2, 2, 2]
    assert "not known" in sheet.domain.words


def test_a_clean_image_without_contrast_is_listed_and_the_others_scored(
    denoiser: Path, pairs: Path, tmp_path: Path
) -> None:
    flat = np.full((96, 96), 7, np.float32)
    tifffile.imwrite(pairs / "clean" / "1.tif", flat)
    (sheet,) = evaluate_quality([str(denoiser)], pairs, tmp_path / "out").sheets
    assert sheet.failed["image"].tolist() == ["1"]
    assert "range of values" in sheet.failed["reason"].item()
    assert len(sheet.images) == 2


def test_labels_below_zero_are_listed_and_the_others_scored(
    nuclei: Path, tmp_path: Path
) -> None:
    labels = np.full((160, 176), -1, np.int32)
    tifffile.imwrite(nuclei / "labels" / "2.tif", labels)
    (sheet,) = evaluate_quality(["nuclei"], nuclei, tmp_path / "out").sheets
    assert "labels hold -1" in sheet.failed["reason"].item()
    assert len(sheet.images) == 3


def test_a_model_that_is_not_there_ends_it_at_once(
    nuclei: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="no model"):
        evaluate_quality(["nothing"], nuclei, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_models_of_several_kinds_are_not_judged_together(
    denoiser: Path, nuclei: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="star_convex, denoiser are not judged"):
        evaluate_quality(["nuclei", str(denoiser)], nuclei, tmp_path / "out")


def test_the_kind_decides_about_the_folders(nuclei: Path, tmp_path: Path) -> None:
    (nuclei / "labels").rename(nuclei / "masks")
    with pytest.raises(PlateError, match="images/ and labels/"):
        evaluate_quality(["nuclei"], nuclei, tmp_path / "out")


def test_the_family_decides_how_a_model_is_judged() -> None:
    assert is_judged_by_pairs("nuclei")
    assert not is_judged_by_pairs("deepspot-fast")
    with pytest.raises(SettingsError, match="evaluate-localisations"):
        is_judged_by_pairs("subpixel")
    with pytest.raises(SettingsError, match="tells dyes apart"):
        is_judged_by_pairs("dyes-580-670")


def test_models_of_one_name_are_told_apart_by_their_paths(denoiser: Path) -> None:
    other = denoiser.parent / "more" / denoiser.name
    other.parent.mkdir()
    other.write_bytes(denoiser.read_bytes())
    named = name_models([str(denoiser), str(other), str(denoiser)])
    assert named == {"flat": str(denoiser), str(other): str(other)}
    with pytest.raises(SettingsError, match="no model"):
        name_models([])
