"""Every example of the README and of the site is run, or parsed by the program itself.

An example is a block of code on a page, as the site shows it: with what a page takes
from the code and from other files. Python is executed beside a small plate, or is a
file of ``tests/examples``, or stands on a page that is walked as a whole. Commands are
parsed by the application. Other lines of the shell are in a short list with the reason.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
import tifffile
import typer

from deepspot_scale import cli
from deepspot_scale.cli.describe import describe_tables
from deepspot_scale.runs.camera_file import read_camera
from deepspot_scale.training.recipe import make_recipe
from deepspot_scale.training.search import read_tune

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
if not (DOCS / "conf.py").is_file():
    pytest.skip("the installed package has no docs beside it", allow_module_level=True)
sys.path.insert(0, str(DOCS))
import gathered  # noqa: E402 - it lies beside the pages

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
SOURCES = [
    *PAGES,
    *sorted(ROOT.glob("deploy/**/README.md")),
    ROOT / "benchmarks/README.md",
    ROOT / "findings/README.md",
]
"""Pages whose links are followed, as they are written."""
EXAMPLES = Path(__file__).parent / "examples"
WALKED = {"docs/tutorial.md": "test_tutorial.py"}
"""Pages that are run from the first to the last block, and where."""
NOT_RUN = {
    "python3 -m venv": "makes an environment; CI pastes the README's line",
    ".venv/bin/pip install": "installs; CI pastes the README's line",
    ".venv/bin/pytest": "these tests; CI pastes the README's line",
    ".venv/bin/sphinx-build": "builds the site; test_site.py does",
    "uvx": "installs; deploy/test_run_distribution.py builds what it installs",
    "uv tool": "likewise",
    "pipx": "likewise",
    "pip install": "installs; CI pastes the README's line",
    "snakemake": "deploy/test_snakemake.py runs it",
    "nextflow": "deploy/test_nextflow.py runs it where there is one",
    "fractal-manifest": "fractal/test_find_spots.py checks what it makes",
    "dask": "starts a scheduler and workers; cluster/test_client.py does",
    "sbatch": "needs Slurm; cluster/test_slurm.py submits the file",
    "docker": "needs a container engine; deploy/test_containers.py checks the recipe",
    "apptainer": "needs Apptainer; deploy/test_containers.py checks the recipe",
    "helm": "needs a Kubernetes cluster; deploy/test_kubernetes.py checks the files",
    "kubectl": "needs a Kubernetes cluster; deploy/test_kubernetes.py checks the files",
}
"""Beginnings of lines that no test gives to a shell, and why."""
NO_EXAMPLES = {"text"}
"""Languages of blocks that are output, drawings or files of others."""


class Block(NamedTuple):
    """One block of code on a page."""

    language: str
    text: str


def read_page(name: str) -> str:
    """Return a page as the site shows it."""
    return gathered.fill((ROOT / name).read_text(encoding="utf-8"))


def blocks_of(text: str) -> list[Block]:
    """Return the blocks of code of a page; directives of Sphinx are none."""
    found = re.findall(r"^```(\S*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(*each) for each in found if not each[0].startswith("{")]


def blocks_in(name: str, language: str) -> list[str]:
    """Return the blocks of a page in one language."""
    blocks = blocks_of(read_page(name))
    return [each.text for each in blocks if each.language == language]


def commands_of(block: str) -> Iterator[list[str]]:
    """Yield the words of each command in a block of the shell."""
    for line in block.replace("\\\n", " ").splitlines():
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                words = words[1:]
            if words:
                yield words


def shell_lines(name: str) -> Iterator[list[str]]:
    """Yield the commands of a page, also those after a prompt."""
    for block in blocks_in(name, "bash"):
        yield from commands_of(block)
    for block in blocks_in(name, "console"):
        typed = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
        yield from commands_of("\n".join(typed))


def parse_command(words: list[str]) -> None:
    """Let the application parse a command, as far as it would be called."""
    command: Any = typer.main.get_command(cli.app)
    while subcommands := getattr(command, "commands", None):
        assert words, "a command is missing"
        assert words[0] in subcommands, words
        command, words = subcommands[words[0]], words[1:]
    command.make_context("deepspot-scale", list(words))


def is_known(words: list[str]) -> str:
    """Return the beginning of `NOT_RUN` that a line has; empty: none."""
    line = " ".join(words)
    return next((each for each in NOT_RUN if f"{line} ".startswith(f"{each} ")), "")


# -- every block ----------------------------------------------------------------------


def test_every_block_is_of_a_language_that_is_tested() -> None:
    known = {"bash", "console", "python", "toml", *NO_EXAMPLES}
    blocks = [(name, b.language) for name in NAMES for b in blocks_of(read_page(name))]
    assert {(name, one) for name, one in blocks if one not in known} == set()
    assert len(blocks) > 80  # none was lost by the way in which they are looked for
    n_fences = sum(read_page(n).count("\n```") for n in NAMES)
    n_directives = sum(read_page(n).count("\n```{") for n in NAMES)
    assert n_fences == 2 * (len(blocks) + n_directives)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WALKED])
def test_every_line_of_the_shell_is_one_that_the_program_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in (*ROOT.glob("benchmarks/recipes/*.toml"), *ROOT.glob("deploy/*.toml")):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for shown, text in shown_files().items():
        (tmp_path / shown).write_text(text, encoding="utf-8")
    (tmp_path / "RUN").mkdir()  # some commands look first whether there is one
    for words in shell_lines(name):
        for table in (word for word in words if word.endswith(".csv")):
            (tmp_path / table).touch()
        if words[0].endswith("deepspot-scale"):
            parse_command(words[1:])
        else:
            assert is_known(words), f"neither run nor in NOT_RUN: {words}"


def test_what_is_not_run_is_on_a_page_and_its_reason_names_what_is() -> None:
    pages = [name for name in NAMES if name not in WALKED]
    known = {is_known(words) for name in pages for words in shell_lines(name)}
    assert known - {""} == NOT_RUN.keys()
    for reason in NOT_RUN.values():
        for file in re.findall(r"\S+\.py", reason):
            assert (Path(__file__).parent / file).is_file(), file


def test_a_page_that_is_walked_is_there_and_so_is_its_test() -> None:
    for page, test in WALKED.items():
        assert page in NAMES
        assert (Path(__file__).parent / test).is_file()


def test_a_slip_on_a_page_is_seen() -> None:
    parse_command(["run", "PLATE.zarr", "--channel", "FISH", "--out", "RUN"])
    for words in ("run PLATE.zarr --chanel FISH --out RUN", "runn PLATE.zarr", "run"):
        with pytest.raises(Exception, match=r"chanel|runn|issing"):
            parse_command(words.split())


# -- Python ---------------------------------------------------------------------------


def named_file(code: str) -> str:
    """Return the file of ``tests/examples`` that a block names first; empty: none."""
    words = ast.get_docstring(ast.parse(code)) or ""
    return words if re.fullmatch(r"\w+\.py", words) else ""


def without_docstring(code: str) -> str:
    tree = ast.parse(code)
    start = 1 if ast.get_docstring(tree) is not None else 0
    return ast.unparse(ast.Module(tree.body[start:], []))


@pytest.fixture(scope="module")
def bench(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Path:
    """Make a folder with what the examples name: PLATE.zarr, RUN, MOVIE.tif."""
    folder = tmp_path_factory.mktemp("bench")
    scene = draw_scene(3, (128, 128))
    image = np.concatenate([scene.image, scene.image[1:], scene.image[1:]])
    scene = replace(scene, image=image)
    plate = write_plate(
        folder / "PLATE.zarr",
        {"B/03/0": scene, "C/04/0": scene},
        channels=("DAPI", "FISH", "A", "B"),
        pixel_size_um=(0.1, 0.1),
    )
    run_quickly(plate, folder / "RUN")
    rng = np.random.default_rng(0)
    movie = rng.poisson(100, (2, 64, 64)).astype(np.uint16)
    tifffile.imwrite(folder / "MOVIE.tif", movie)
    return folder


@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in WALKED and blocks_in(n, "python")]
)
def test_every_python_block_runs(
    name: str, bench: Path, monkeypatch: pytest.MonkeyPatch, here_and_now: None
) -> None:
    monkeypatch.chdir(bench)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("MPLBACKEND", "agg")
    tested = (Path(__file__).parent / "test_examples.py").read_text("utf-8")
    for code in blocks_in(name, "python"):
        if file := named_file(code):
            kept = (EXAMPLES / file).read_text("utf-8")
            assert without_docstring(code) == without_docstring(kept)
            assert file in tested
        else:
            exec(compile(code, name, "exec"), {})


# -- files that pages show ------------------------------------------------------------


def shown_files() -> dict[str, str]:
    """Return each file of settings on a page, by the name in its first line."""
    blocks = [block for name in NAMES for block in blocks_in(name, "toml")]
    return {block.split()[1].rstrip(":"): block for block in blocks}


def test_every_file_of_settings_on_a_page_is_read_by_a_test() -> None:
    read = {
        "camera.toml",
        "train.toml",
        "denoise.toml",
        "tune.toml",
        "run.toml",
        "rate.toml",
    }
    assert shown_files().keys() == read


def test_the_camera_can_be_read(tmp_path: Path) -> None:
    text = shown_files()["camera.toml"]
    (tmp_path / "camera.toml").write_text(text)
    known = read_camera(tmp_path / "camera.toml")
    assert known["psf_sigma_nm"] == pytest.approx(0.21 * 680 / 1.49)


def test_the_recipe_can_be_read() -> None:
    text = shown_files()["train.toml"]
    recipe = make_recipe(**tomllib.loads(text))
    assert [part.patches for part in recipe.mixture] == [24, 8]


def test_the_recipe_of_denoising_can_be_read() -> None:
    text = shown_files()["denoise.toml"]
    recipe = make_recipe(**tomllib.loads(text))
    assert (recipe.family, recipe.batch) == ("denoiser", 16)


def test_the_recipe_of_rating_can_be_read() -> None:
    recipe = make_recipe(**tomllib.loads(shown_files()["rate.toml"]))
    assert (recipe.family, recipe.patch) == ("rating_cnn", 224)


def test_the_tuning_can_be_read(tmp_path: Path) -> None:
    for name in ("train.toml", "tune.toml"):
        (tmp_path / name).write_text(shown_files()[name])
    assert read_tune(tmp_path / "tune.toml").search.batch == (16, 32)


def test_the_settings_of_a_run_can_be_read(
    tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.toml").write_text(shown_files()["run.toml"])
    words = "run PLATE.zarr --config run.toml --out RUN --print-config"
    ended = command(*words.split())
    assert ended.code == 0, ended.err
    shown = tomllib.loads(ended.out)
    assert shown["floor"] == 0.2
    assert shown["cells"] == "cells"


def test_the_page_of_columns_is_that_of_the_tables() -> None:
    page = (DOCS / "reference/columns.md").read_text(encoding="utf-8")
    assert page.partition("-->\n\n")[2] == describe_tables() + "\n"


# -- links ----------------------------------------------------------------------------


def links_of(path: Path) -> list[str]:
    """Return what a page links to, and the pictures that it shows."""
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.S | re.M)
    return [a or b for a, b in re.findall(r"\]\(([^)\s]+)\)|<(https?:[^>]+)>", text)]


def anchors_of(path: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    heads = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in heads}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path: Path) -> None:
    for link in links_of(path):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", link
            assert re.fullmatch(r"([\w-]+\.)+[a-z]{2,}", parts.netloc), link
            continue
        target = (path.parent / parts.path) if parts.path else path
        assert target.exists(), link
        if parts.fragment:
            assert parts.fragment in anchors_of(target), link


def test_every_page_is_in_the_contents() -> None:
    listed = set(re.findall(r"^([\w/]+)$", (DOCS / "index.md").read_text(), re.M))
    pages = {*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")}
    names = {str(page.relative_to(DOCS).with_suffix("")) for page in pages}
    assert names - {"index"} == listed


def test_every_public_name_is_in_the_reference() -> None:
    import deepspot_scale as ds

    page = (DOCS / "reference/python.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. auto(?:function|class):: (\w+)$", page, re.M))
    assert named == set(ds.__all__)
