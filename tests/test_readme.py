"""The README says what the code does: columns, commands, the Python example."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from pathlib import Path

import dask
import numpy as np
import pytest
import typer.main
from typer.testing import CliRunner

from deepspot_scale import cli
from deepspot_scale.cli.describe import describe_tables
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_plate,
    write_image,
    write_labels,
)
from deepspot_scale.runs.camera_file import read_camera
from deepspot_scale.training.recipe import make_recipe
from deepspot_scale.training.search import read_tune
from deepspot_scale.vocabulary import FieldAddress

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(scope="module")
def text() -> str:
    if not README.is_file():
        pytest.skip("the installed package has no README beside it")
    return README.read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def toml_file(text: str, name: str) -> str:
    (found,) = (b for b in blocks(text, "toml") if b.startswith(f"# {name}"))
    return str(found)


def test_the_camera_of_the_readme_can_be_read(text: str, tmp_path: Path) -> None:
    (tmp_path / "camera.toml").write_text(toml_file(text, "camera.toml"))
    known = read_camera(tmp_path / "camera.toml")
    assert known["psf_sigma_nm"] == pytest.approx(0.21 * 680 / 1.49)


def test_the_page_of_columns_is_that_of_the_tables(text: str) -> None:
    page = (README.parent / "docs/columns.md").read_text(encoding="utf-8")
    assert page.partition("-->\n\n")[2] == describe_tables() + "\n"
    assert "(docs/columns.md)" in text


def command_words(words: list[str]) -> list[str]:
    """Return the first words, as far as they name a command."""
    node, named = typer.main.get_command(cli.app), []
    for word in words:
        node = getattr(node, "commands", {}).get(word)
        if node is None:
            break
        named.append(word)
    return named


@pytest.mark.parametrize("page", ["README.md", "docs/rating.md"])
def test_every_option_in_the_documents_exists(text: str, page: str) -> None:
    runner, text = CliRunner(), (README.parent / page).read_text(encoding="utf-8")
    for block in blocks(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.split("&&")[-1])
            if not words or not words[0].endswith("deepspot-scale"):
                continue
            named = command_words(words[1:])
            shown = runner.invoke(cli.app, [*named, "--help"], terminal_width=300)
            assert named, line
            assert shown.exit_code == 0, line
            for word in words[2:]:
                if word.startswith("--"):
                    assert word in shown.output, line


def test_the_python_example_runs(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = FieldAddress("B", "03", "0")
    rng = np.random.default_rng(0)
    image = rng.poisson(100, (1, 64, 64)).astype(np.uint16)
    labels = np.zeros((64, 64), np.int32)
    labels[8:56, 8:56] = 1
    create_plate(tmp_path / "PLATE.zarr", [address])
    layout = ImageLayout("cyx", image.shape, image.dtype, ("FISH",), (0.1, 0.1))
    write_image(tmp_path / "PLATE.zarr", address, image, layout)
    write_labels(tmp_path / "PLATE.zarr", address, "cells", labels)
    labels[:24] = 0
    write_labels(tmp_path / "PLATE.zarr", address, "nuclei", labels)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with dask.config.set(scheduler="synchronous"):
        exec(blocks(text, "python")[0] + "\nanswer = table.compute()", names)
    assert list(names["answer"]["cell"]) == [1]


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (1, "spots_of_wells.py"),
        (2, "own_detector.py"),
        (3, "own_nuclei.py"),
        (4, "smooth_stage.py"),
    ],
)
def test_the_worked_examples_are_those_that_are_run(
    text: str, number: int, name: str
) -> None:
    def code(source: str) -> str:
        tree = ast.parse(source)
        start = 1 if ast.get_docstring(tree) is not None else 0
        return ast.unparse(ast.Module(tree.body[start:], []))

    kept = Path(__file__).parent / "examples" / name
    assert code(blocks(text, "python")[number]) == code(kept.read_text("utf-8"))


def test_the_recipe_in_the_readme_can_be_read(text: str) -> None:
    recipe = make_recipe(**tomllib.loads(toml_file(text, "train.toml")))
    assert [part.patches for part in recipe.mixture] == [24, 8]


def test_the_denoising_in_the_readme_can_be_read(text: str) -> None:
    recipe = make_recipe(**tomllib.loads(toml_file(text, "denoise.toml")))
    assert (recipe.family, recipe.batch) == ("denoiser", 16)


def test_the_tuning_in_the_readme_can_be_read(text: str, tmp_path: Path) -> None:
    names = ("train.toml", "tune.toml")
    for name, block in ((name, toml_file(text, name)) for name in names):
        (tmp_path / name).write_text(block)
    assert read_tune(tmp_path / "tune.toml").search.batch == (16, 32)
