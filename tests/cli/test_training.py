"""simulate, train, tune, fit-judge and evaluate call what Python users call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.io.image_files.annotated_images import read_annotated
from deepspot_scale.networks.weights import find_weights, read_judge
from deepspot_scale.simulation import simulate_image

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
