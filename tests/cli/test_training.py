"""simulate, train, tune, fit-judge and evaluate call what Python users call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

from deepspot_scale.io.image_files.annotated_images import read_annotated
from deepspot_scale.networks.weights import find_weights, read_judge
from deepspot_scale.simulation import simulate_image
from deepspot_scale.simulation.nuclei import draw_nuclei
from deepspot_scale.simulation.stacks import StackKind, simulate_stack

DONE, OTHER, USAGE = 0, 1, 2
Command = Callable[..., Any]


def test_simulate_writes_the_images_of_its_set_and_seed(
    command: Command, tmp_path: Path
) -> None:
    words = ("--set", "var", "--images", 3, "--spots", 4, "--size", 64, "--seed", 7)
    ended = command("simulate", tmp_path / "set", *words)
    assert (ended.code, ended.out) == (DONE, f"{tmp_path / 'set'}\n"), ended.err
    assert "3/3 images" in ended.err
    images = read_annotated(tmp_path / "set").images
    assert len(images) == 3
    truths = [simulate_image("var", 7, n, spots=4, size=64) for n in range(3)]
    for image, truth in zip(images, truths, strict=True):
        assert image.read().shape == (64, 64)
        np.testing.assert_allclose(image.points, truth.points, atol=1e-3)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--set", "vra"), "no simulated set 'vra'"),
        (("--images", 0), "--images"),
        (("--size", 15), "--size"),
    ],
)
def test_a_set_that_cannot_be_simulated_is_bad_usage(
    command: Command, tmp_path: Path, words: tuple[object, ...], reason: str
) -> None:
    ended = command("simulate", tmp_path / "set", *words)
    assert ended.code == USAGE
    assert reason in ended.err
    assert not (tmp_path / "set").exists()


def test_simulate_writes_stacks_whose_spots_evaluate_finds_in_depth(
    command: Command, tmp_path: Path
) -> None:
    stacks = tmp_path / "stacks"
    size = ("--planes", 12, "--size", 64, "--spots", 25, "--images", 2)
    ended = command("simulate", stacks, *size, "--snr", 20, "--sigma-z", 1.5)
    assert (ended.code, ended.out) == (DONE, f"{stacks}\n"), ended.err
    image, _ = read_annotated(stacks).images
    kind = StackKind((12, 64, 64), 25, 20.0, (1.5, *StackKind().sigma[1:]))
    truth = simulate_stack(kind, (0, 0))
    np.testing.assert_array_equal(image.read(), truth.image)
    near = ("--radius", 2, "--planes", 1.5)
    ended = command("evaluate", "deepspot-fast", stacks, "--out", tmp_path / "e", *near)
    assert ended.code == DONE, ended.err
    scores = pd.read_csv(tmp_path / "e/images.csv")
    assert scores["planes"].tolist() == [12, 12]
    assert (scores["f1_one_to_one"] > 0.9).all()
    assert (scores["error_planes"] < 0.3).all()
    report = (tmp_path / "e/report.md").read_text()
    assert "a match lies within: 2 px, in stacks 1.5 planes along z" in report
    assert "error, planes" in report


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--planes", 5, "--set", "var"), "omit --set"),
        (("--planes", 2), "--planes"),
        (("--snr", 5), "add --planes"),
        (("--sigma-z", 2), "add --planes"),
        (("--planes", 5, "--sigma-z", 0), "sigmas above 0"),
    ],
)
def test_options_of_stacks_that_make_no_sense_are_bad_usage(
    command: Command, tmp_path: Path, words: tuple[object, ...], reason: str
) -> None:
    ended = command("simulate", tmp_path / "set", *words)
    assert ended.code == USAGE
    assert reason in ended.err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("option", ["--radius", "--planes"])
def test_a_match_within_no_distance_is_bad_usage(
    command: Command, tmp_path: Path, option: str
) -> None:
    words = ("simulated-stacks", "--images", 1, "--out", tmp_path / "e", option, 0)
    ended = command("evaluate", "deepspot", *words)
    assert ended.code == USAGE
    assert "above 0" in ended.err


@pytest.mark.parametrize("name", ["train", "tune"])
def test_a_file_that_cannot_be_read_is_bad_usage(
    command: Command, tmp_path: Path, name: str
) -> None:
    out = ("--out", tmp_path / "out") if name == "train" else ()
    config = tmp_path / "config.toml"
    assert command(name, "--config", config, *out).code == USAGE
    config.write_text("steps 3")
    ended = command(name, "--config", config, *out)
    assert ended.code == USAGE
    assert f"{config} is no TOML" in ended.err
    assert not (tmp_path / "out").exists()


def test_evaluate_refuses_an_unknown_model_before_it_writes(
    command: Command, tmp_path: Path
) -> None:
    ended = command("evaluate", "deepsopt", "empty", "--out", tmp_path / "out")
    assert ended.code == OTHER
    assert "Did you mean 'deepspot'?" in ended.err
    assert not (tmp_path / "out/report.html").exists()


def test_evaluate_judges_a_model_of_nuclei_by_its_labels(
    command: Command, tmp_path: Path
) -> None:
    made = draw_nuclei(np.random.default_rng(0), (128, 144), diameter=24, cover=0.3)
    pixels = {"images": made.counts.astype(np.uint16), "labels": made.labels}
    for name, image in pixels.items():
        (tmp_path / "set" / name).mkdir(parents=True)
        tifffile.imwrite(tmp_path / "set" / name / "a.tif", image)
    words = ("evaluate", "nuclei", tmp_path / "set", "--out", tmp_path / "e")
    ended = command(*words)
    assert (ended.code, ended.out) == (DONE, f"{tmp_path}/e/sheet.html\n"), ended.err
    assert "nuclei: ap_50 " in ended.err
    scores = pd.read_csv(tmp_path / "e/scores.csv").set_index("measure")
    assert scores.loc["ap_50", "value"] > 0.5
    ended = command(*words, "--radius", 2, "--rescaled")
    assert ended.code == USAGE
    assert "--radius, --rescaled is for models that enhance spots" in ended.err


def test_evaluate_says_which_command_judges_localisers(
    command: Command, tmp_path: Path
) -> None:
    ended = command("evaluate", "subpixel", tmp_path, "--out", tmp_path / "e")
    assert ended.code == USAGE
    assert "evaluate-localisations" in ended.err
    assert not (tmp_path / "e").exists()


def test_fit_judge_writes_the_model_with_a_judge(
    command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "judged.safetensors"
    ended = command("fit-judge", "deepspot-fast", "--out", out, "--fields", 2)
    assert (ended.code, ended.out) == (DONE, f"{out}\n"), ended.err
    assert "2/2 fields" in ended.err
    assert read_judge(find_weights(out)) is not None


def test_fit_judge_refuses_an_unknown_model(command: Command, tmp_path: Path) -> None:
    ended = command("fit-judge", "deepsopt", "--out", tmp_path / "a.safetensors")
    assert ended.code == OTHER
    assert "Did you mean 'deepspot'?" in ended.err


def test_an_earlier_sheet_and_files_of_others_are_not_replaced_unasked(
    command: Command, tmp_path: Path
) -> None:
    data, out = tmp_path / "data", tmp_path / "EVAL"
    words = ("--set", "var", "--images", 1, "--spots", 4, "--size", 64)
    assert command("simulate", data, *words).code == DONE
    words = ("evaluate", "deepspot-fast", data, "--out")
    for folder in (data, data / "images"):
        folder.mkdir(exist_ok=True)
        (folder / "mine.txt").touch()
        there = _bytes_of(data)
        for more in ((), ("--overwrite",)):
            ended = command(*words, folder, *more)
            assert ended.code == USAGE
            assert f"{folder} holds files and no sheet.html" in ended.err
        assert _bytes_of(data) == there
    out.mkdir()
    (out / ".hidden").touch()
    assert command(*words, out, "--radius", 2).code == DONE
    there = _bytes_of(out)
    ended = command(*words, out)
    assert ended.code == USAGE
    assert f"{out} holds a quality sheet already; replace it by --overwrite" in (
        ended.err
    )
    ended = command("evaluate", "nuclei", data, "--out", out)
    assert "replace it by --overwrite" in ended.err
    ended = command("evaluate", "nuclei", data, "--out", out, "--overwrite")
    assert ended.code == USAGE
    assert "holds the sheet of models of another kind" in ended.err
    assert _bytes_of(out) == there
    assert "2 px" in (out / "report.md").read_text()
    assert command(*words, out, "--overwrite").code == DONE
    assert "3 px" in (out / "report.md").read_text()


def _bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
