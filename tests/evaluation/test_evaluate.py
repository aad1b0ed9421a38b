"""Models on images whose spots are known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.evaluation.datasets import Case, KnownImage, Sample, list_cases
from deepspot_scale.evaluation.evaluate import Terms, evaluate, score_models
from deepspot_scale.evaluation.matching import Reach
from deepspot_scale.evaluation.scores import (
    Detected,
    detect_array,
    rescale_counts,
    score_image,
)
from deepspot_scale.evaluation.tables import FAILURES, IMAGE_SCORES, SPOT_SCORES
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.runs.loose_images import detect_images
from deepspot_scale.settings import assemble, make_settings
from deepspot_scale.simulation.stacks import StackKind
from deepspot_scale.training.image_sets import write_simulated_stacks

RAW = make_settings(channels=("0",), enhance=False, clusters=False)
QUICK = Terms(RAW)


@pytest.fixture
def folder(tmp_path: Path, draw_scene: Callable[..., Any]) -> Path:
    """Two images of planted spots and the table of their places."""
    place = tmp_path / "planted"
    place.mkdir()
    rows = []
    for seed in (0, 1):
        scene = draw_scene(seed)
        tifffile.imwrite(place / f"{seed}.tif", scene.image[1])
        rows += [(f"{seed}.tif", *point) for point in scene.points]
    table = pd.DataFrame(rows, columns=["image", "y", "x"])
    table.to_csv(place / "spots.csv", index=False)
    return place


def known_image(points: list[tuple[float, float]], size: int = 64) -> KnownImage:
    """Black pixels and points of SNR 5 and sigma 2."""
    n = len(points)
    place = np.reshape(np.array(points, np.float64), (n, 2))
    pixels = np.zeros((size, 2 * size), np.uint8)
    return KnownImage(pixels, place, np.full(n, 5.0), np.full(n, 2.0))


def detected(points: list[tuple[float, float]], size: int = 64) -> Detected:
    """Points of certainty 0.9 where the enhanced image is 250."""
    enhanced = np.zeros((size, 2 * size), np.uint8)
    for y, x in points:
        enhanced[round(y), round(x)] = 250
    place = np.reshape(np.array(points, np.float64), (-1, 2))
    return Detected(place, np.full(len(points), 0.9), enhanced)


@pytest.mark.parametrize("enhance", [False, True])
def test_the_spots_scored_are_those_that_detect_finds(
    folder: Path, *, enhance: bool
) -> None:
    named = {"enhance": enhance, "model": "deepspot"}
    settings = make_settings(channels=("0",), **named)
    scores = score_models(["deepspot"], list_cases([folder], Sample()), Terms(settings))
    found = scores.spots[scores.spots["kind"] != "missed"]
    table = detect_images(sorted(folder.glob("*.tif")), settings).table
    assert len(table) > 60
    keys = ["image", "y", "x"]
    ours = found.assign(
        image=found["image"].str.removesuffix(".tif"), y=found["found_y"]
    ).assign(x=found["found_x"])[[*keys, "certainty"]]
    theirs = table.rename(columns={"enhanced": "certainty"})[[*keys, "certainty"]]
    pd.testing.assert_frame_equal(
        ours.sort_values(keys, ignore_index=True),
        theirs.sort_values(keys, ignore_index=True),
        check_dtype=False,
        check_exact=True,
    )


def test_enhanced_intensity_is_high_at_spots_and_unknown_without_a_network(
    folder: Path,
) -> None:
    cases = list_cases([folder], Sample(images=1))
    assert score_models(["deepspot"], cases, QUICK).images["enhanced"].isna().all()
    spots = score_models(["deepspot"], cases, Terms()).spots
    assert spots.loc[spots["kind"] == "found", "enhanced"].median() > 200


def test_every_true_spot_and_every_false_detection_has_one_row() -> None:
    row, spots = score_image(
        detected([(10, 11), (50, 60), (40, 40)]), known_image([(10, 10), (30, 90)])
    )
    assert spots["kind"].tolist() == ["found", "missed", "false", "false"]
    assert spots["y"].tolist() == [10, 30, 40, 50] or (
        spots["y"].tolist() == [10, 30, 50, 40]
    )
    assert spots["error_px"].tolist()[0] == 1
    assert spots["enhanced"].tolist() == [250, 0, 250, 250]
    assert spots["certainty"].isna().tolist() == [False, True, False, False]
    assert row["precision_one_to_one"] == pytest.approx(1 / 3)
    assert (row["recall_one_to_one"], row["f1_one_to_one"]) == (0.5, 0.4)
    assert row["enhanced"] == 125
    assert row["spacing"] == pytest.approx(np.hypot(20, 80) / 2)
    # Two spots on 64 x 128 px, a thirty-second of 512 x 512.
    assert (row["density"], row["false_density"]) == (64, 64)


def test_nothing_found_in_nothing_is_perfect_and_finds_no_fault() -> None:
    row, spots = score_image(detected([]), known_image([]))
    assert row["f1_nearest"] == row["f1_one_to_one"] == row["f1_integrated"] == 1
    assert len(spots) == row["density"] == row["false_density"] == 0
    assert np.isnan(row["error_px"])
    assert np.isnan(row["spacing"])


def test_a_lone_spot_is_infinitely_far_from_others() -> None:
    row, _ = score_image(detected([(5, 5)]), known_image([(5, 5)]))
    assert row["spacing"] == np.inf


def test_two_spots_that_share_a_detection_are_ambiguous_by_the_papers_rule() -> None:
    row, _ = score_image(detected([(5, 6)]), known_image([(5, 5), (5, 7)]))
    assert (row["n_ambiguous"], row["f1_nearest"]) == (1, 1)
    assert row["recall_one_to_one"] == 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
def test_times_three_plus_five_hundred_loses_nothing(dtype: type) -> None:
    limit = 255 if dtype is np.uint8 else 30_000
    image = np.array([[0, 7], [11, limit]], dtype)
    rescaled = rescale_counts(image)
    assert (rescaled == image.astype(np.float64) * 3 + 500).all()
    narrow = dtype is np.uint8
    assert rescaled.dtype == (np.uint16 if narrow else np.float64)


def test_gain_and_offset_of_the_camera_do_not_change_f1(folder: Path) -> None:
    cases = list_cases([folder], Sample(images=1))
    terms = Terms(RAW, rescaled=True)
    assert score_models(["deepspot"], cases, terms).images["f1_change"].tolist() == [0]
    assert score_models(["deepspot"], cases, QUICK).images["f1_change"].isna().all()
    # What does not count in the image does not count in the rescaled one either.
    (case,) = cases
    known = case.load()
    fewer = known._replace(points=known.points[3:], uncounted=known.points[:3])
    fewer = fewer._replace(snr=known.snr[3:], sigma=known.sigma[3:])
    cases = [replace(case, load=lambda: fewer)]
    images = score_models(["deepspot"], cases, terms).images
    assert images["f1_one_to_one"].item() > 0.9
    assert images["f1_change"].tolist() == [0]


def test_a_bad_image_is_named_and_the_others_are_measured(folder: Path) -> None:
    (folder / "0.tif").write_bytes(b"II*\x00 broken")
    seen: list[tuple[str, int, int]] = []
    cases = list_cases([folder], Sample())
    scores = score_models(["deepspot"], cases, QUICK, tell=lambda *n: seen.append(n))
    assert scores.images["image"].tolist() == ["1.tif"]
    assert scores.failed["image"].tolist() == ["0.tif"]
    assert "opening" in scores.failed["reason"].iloc[0]
    assert seen == [("images", done, 2) for done in range(3)]


def test_pixels_that_are_not_finite_are_that_images_failure() -> None:
    known = known_image([(5, 5)])
    bad = known._replace(pixels=np.full((64, 64), np.nan, np.float32))
    cases = [
        Case("made", "made", "", name, lambda image=image: image)  # type: ignore[misc]
        for name, image in {"bad": bad, "good": known}.items()
    ]
    scores = score_models(["deepspot"], cases, QUICK)
    assert scores.images["image"].tolist() == ["good"]
    assert "NaN" in scores.failed.set_index("image").loc["bad", "reason"]


def test_nothing_measured_at_all_is_an_error_that_says_why(folder: Path) -> None:
    for path in folder.glob("*.tif"):
        path.write_bytes(b"II*\x00 broken")
    with pytest.raises(RunError, match=r"none of 2 images .*0\.tif.* opening"):
        evaluate(["deepspot"], [folder], folder / "out", QUICK)


def test_what_every_image_would_meet_ends_at_once(folder: Path) -> None:
    cases = list_cases([folder], Sample())
    terms = Terms(make_settings(channels=("0",), detector="best"))
    with pytest.raises(SettingsError, match="no detector"):
        score_models(["deepspot"], cases, terms)
    with pytest.raises(SettingsError, match="no model"):
        score_models([], cases, QUICK)


@pytest.mark.parametrize(
    ("data", "message"),
    [([], "no data"), (["paper-set"], "Did you mean 'paper-sets'"), (["/no"], "broad")],
)
def test_data_that_are_neither_a_folder_nor_a_word_are_refused(
    data: list[str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        list_cases(data, Sample())


@pytest.mark.parametrize("wrong", [{"images": 0}, {"size": 8}, {"seed": -1}])
def test_a_sample_of_nothing_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        Sample(**wrong)


def test_the_papers_test_sets_are_twenty_and_no_two_images_share_a_spot() -> None:
    cases = list_cases(["paper-sets"], Sample(images=2))
    assert len(cases) == len({case.key for case in cases}) == 40
    sets = {f"{kind}_{n}" for kind in ("fixed", "var") for n in range(10, 101, 10)}
    assert {case.set_name for case in cases} == sets
    some = {"fixed_10", "fixed_20", "var_10"}
    images = [case.load() for case in cases if case.set_name in some]
    assert [len(image.points) for image in images] == [10, 10, 20, 20, 10, 10]
    assert len(np.unique(np.concatenate([i.points for i in images]), axis=0)) == 80
    again = list_cases(["paper-sets"], Sample(images=2))[0].load()
    assert (again.pixels == images[0].pixels).all()
    other = list_cases(["paper-sets"], Sample(images=2, seed=1))[0].load()
    assert (other.pixels != images[0].pixels).any()


def test_empty_images_are_those_of_the_broad_set_without_spots() -> None:
    sample = Sample(images=2, size=64)
    empty = list_cases(["empty"], sample)
    assert [len(case.load().points) for case in empty] == [0, 0]
    numbers = [int(case.image) for case in empty]
    broad = list_cases(["broad"], Sample(images=numbers[-1] + 1, size=64))
    without = [n for n, case in enumerate(broad) if not len(case.load().points)]
    assert without == numbers
    assert (broad[numbers[0]].load().pixels == empty[0].load().pixels).all()


def test_two_folders_and_two_models_of_one_name_are_told_apart(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "other" / "planted")
    models = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        models.append(str(tmp_path / name / "net.safetensors"))
        shutil.copy(find_weights().path, models[-1])
    data = [folder, tmp_path / "other" / "planted", folder]
    cases = list_cases(data, Sample(images=1))
    scores = score_models(models, cases, QUICK)
    assert len(scores.images) == 4
    assert set(scores.images["data"]) == {"planted", str(data[1])}
    assert set(scores.images["model"]) == {"net", models[1]}
    assert set(scores.provenance["SHA-256 of the weights"]) == {"net", models[1]}


def test_an_evaluation_writes_report_tables_and_pictures(folder: Path) -> None:
    out = folder.parent / "EVAL"
    evaluation = evaluate(["deepspot"], [folder], out, QUICK)
    assert evaluation.report == out / "report.md"
    text = evaluation.report.read_text("utf-8")
    for picture in out.glob("*.png"):
        assert f"({picture.name})" in text
    assert (out / "worst_deepspot_planted.png").is_file()
    declared = {"images": IMAGE_SCORES, "spots": SPOT_SCORES, "failed": FAILURES}
    for name, columns in declared.items():
        table = pd.read_csv(out / f"{name}.csv")
        assert list(table) == [column.name for column in columns]
    facts = json.loads((out / "provenance.json").read_text())
    weights = find_weights("deepspot")
    assert facts["SHA-256 of the weights"] == {"deepspot": weights.sha256}
    assert facts["detector"] == "raw"


def test_planted_spots_are_found(folder: Path) -> None:
    images = score_models(["deepspot"], list_cases([folder], Sample()), QUICK).images
    assert (images["f1_one_to_one"] > 0.85).all()
    assert (images["error_px"] < 0.5).all()


def test_the_third_party_images_are_read(shared_data: Path) -> None:
    pipeline = assemble(RAW)
    (beads,) = list_cases([shared_data / "beads"], Sample())
    known = beads.load()
    row, _ = score_image(detect_array(known.pixels, pipeline), known)
    assert (row["n_true"], row["height"], row["width"]) == (115, 300, 300)
    assert len(list_cases([shared_data / "deepspot_simulated"], Sample())) == 101


# -- stacks ----------------------------------------------------------------------------

FAST = Terms(make_settings(channels=("0",), model="deepspot-fast"))


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """Two simulated stacks of 30 spots, with their truth."""
    kind = StackKind((10, 64, 64), spots=30, peak=20.0)
    return write_simulated_stacks(tmp_path / "stacks", kind, images=2)


def deep(points: list[tuple[float, ...]], enhanced: bool = True) -> Detected:
    place = np.reshape(np.array(points, np.float64), (-1, 3))
    layer = np.zeros((9, 64, 128), np.uint8)
    return Detected(place, np.full(len(points), 0.9), layer if enhanced else None)


def known_stack(points: list[tuple[float, ...]]) -> KnownImage:
    place = np.reshape(np.array(points, np.float64), (-1, 3))
    unknown = np.full(len(place), np.nan)
    return KnownImage(np.zeros((9, 64, 128), np.uint8), place, unknown, unknown)


def test_the_spots_of_a_stack_are_those_that_detect_finds_in_its_volume(
    stacks: Path,
) -> None:
    scores = score_models(["deepspot-fast"], list_cases([stacks], Sample()), FAST)
    assert not len(scores.failed)
    assert (scores.images["f1_one_to_one"] > 0.85).all()
    settings = make_settings(channels=("0",), model="deepspot-fast", volume=True)
    table = detect_images(sorted(stacks.glob("images/*.tif")), settings).table
    ours = scores.spots[scores.spots["kind"] != "missed"]
    keys = ["image", "z", "y", "x"]
    ours = ours.assign(image=ours["image"].str.removesuffix(".tif"))
    ours = ours.drop(columns=["z", "y", "x"]).rename(
        columns={f"found_{axis}": axis for axis in "zyx"}
    )
    pd.testing.assert_frame_equal(
        ours[keys].sort_values(keys, ignore_index=True),
        table[keys].sort_values(keys, ignore_index=True),
        check_dtype=False,
        check_exact=True,
    )


@pytest.mark.parametrize(
    ("off", "reach", "found"),
    [
        ((2, 0, 0), Reach(), True),
        ((2.1, 0, 0), Reach(), False),
        ((0, 3, 0), Reach(), True),
        ((0, 2.2, 2.2), Reach(), False),
        ((1.5, 2.5, 0), Reach(), False),
        ((2.1, 0, 0), Reach(3, 4), True),
        ((0, 3, 0), Reach(2, 4), False),
    ],
)
def test_a_match_in_a_stack_lies_in_an_ellipsoid(
    off: tuple[float, ...], reach: Reach, found: bool
) -> None:
    place = np.array([4.0, 30, 60])
    row, spots = score_image(deep([place + off]), known_stack([place]), reach)
    assert row["recall_one_to_one"] == row["recall_nearest"] == found
    if found:
        assert spots["error_planes"].tolist() == [pytest.approx(abs(off[0]))]
        assert spots["error_px"].tolist() == [pytest.approx(np.hypot(*off[1:]))]
        assert row["error_planes"] == pytest.approx(abs(off[0]))


def test_depth_is_told_of_true_found_and_false_spots() -> None:
    row, spots = score_image(
        deep([(1.5, 10, 10), (8, 50, 50)], enhanced=False),
        known_stack([(1, 10, 10), (4, 10, 10)]),
    )
    assert spots["kind"].tolist() == ["found", "missed", "false"]
    assert spots["z"].tolist() == [1, 4, 8]
    assert spots["found_z"].tolist()[::2] == [1.5, 8]
    assert np.isnan(spots["found_z"][1])
    assert row["planes"] == 9
    # Three planes apart, each as far as one and a half pixels in a match.
    assert spots["neighbour_px"].tolist()[:2] == [4.5, 4.5]


def test_a_flat_image_has_one_plane_and_no_depth() -> None:
    row, spots = score_image(detected([(10, 11)]), known_image([(10, 10)]))
    assert row["planes"] == 1
    assert spots[["z", "found_z", "error_planes"]].isna().all(axis=None)
    assert np.isnan(row["error_planes"])


def test_planes_and_stacks_are_scored_side_by_side(folder: Path, stacks: Path) -> None:
    cases = list_cases([folder, stacks, "simulated-stacks"], Sample(images=1))
    assert [case.is_stack for case in cases] == [False, True, True]
    scores = score_models(["deepspot-fast"], cases, FAST)
    assert scores.images["planes"].tolist() == [1, 10, 32]
    assert scores.images["error_planes"].isna().tolist() == [True, False, False]
    assert (scores.images["f1_one_to_one"] > 0.8).all()


def test_a_stack_whose_truth_is_flat_and_the_reverse_fail_in_words(
    stacks: Path, folder: Path
) -> None:
    table = pd.read_csv(stacks / "spots.csv")
    table.drop(columns="z").to_csv(stacks / "spots.csv", index=False)
    flat = pd.read_csv(folder / "spots.csv")
    flat.assign(z=0).to_csv(folder / "spots.csv", index=False)
    cases = list_cases([stacks, folder], Sample(images=1))
    reasons = score_models(["deepspot-fast"], cases, FAST).failed["reason"].tolist()
    assert "add the column z" in reasons[0]
    assert "has one plane, but its true spots are given by z" in reasons[1]


@pytest.mark.parametrize("reach", [Reach(0, 2), Reach(3, -1), Reach(3, np.inf)])
def test_a_match_within_nothing_or_everything_is_refused(reach: Reach) -> None:
    with pytest.raises(SettingsError, match="above 0"):
        Terms(RAW, reach=reach)


def test_the_report_on_stacks_shows_them_from_above_and_says_so(stacks: Path) -> None:
    crowded = StackKind((10, 64, 64), spots=300)
    place = write_simulated_stacks(stacks / "crowded", crowded, images=1)
    evaluation = evaluate(["deepspot-fast"], [place], stacks / "EVAL", FAST)
    assert (stacks / "EVAL/worst_deepspot-fast_crowded.png").is_file()
    text = evaluation.report.read_text()
    assert "in stacks 2 planes along z" in text
    assert "| error, px | error, planes |" in text
