"""The smaller distribution: all of the package, all that it imports, one command."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("hatchling")
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "run"
PACKAGE = ROOT / "deepspot_scale"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", place]
    subprocess.run(command, cwd=FOLDER, check=True, capture_output=True)
    (file,) = place.glob("deepspot_scale_run-*.whl")
    return zipfile.ZipFile(file)


def read(wheel: zipfile.ZipFile, name: str) -> str:
    (found,) = (each for each in wheel.namelist() if each.endswith(f"info/{name}"))
    return wheel.read(found).decode()


def test_its_wheel_has_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    own = {
        str(file.relative_to(ROOT))
        for file in PACKAGE.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    there = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert there == own | {"deepspot_scale/LICENSE"}


def test_it_needs_what_the_package_needs_but_for_training(
    wheel: zipfile.ZipFile,
) -> None:
    metadata = message_from_string(read(wheel, "METADATA"))
    assert metadata["Version"] == PROJECT["project"]["version"]
    requirements = metadata.get_all("Requires-Dist") or []
    always = {bare(each) for each in requirements if "extra ==" not in each}
    all_of_them = {bare(each) for each in PROJECT["project"]["dependencies"]}
    left_out = {"keras", "tensorflow", "dask-image", "scikit-learn"}
    assert always == all_of_them - left_out
    train = {bare(each) for each in requirements if "extra == 'train'" in each}
    assert train == {"keras", "tensorflow"}
    # On every processor: there is no other engine.
    assert "openvino>=2026.0" in requirements


def bare(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement)[0].lower()


def test_both_names_are_the_command(wheel: zipfile.ZipFile) -> None:
    lines = read(wheel, "entry_points.txt").splitlines()
    assert "deepspot-scale = deepspot_scale.cli:main" in lines
    assert "deepspot-scale-run = deepspot_scale.cli:main" in lines


def test_nothing_imports_what_it_leaves_out_as_unused() -> None:
    imports = re.compile(r"^\s*(?:import|from) (?:sklearn|dask_image)\b", re.MULTILINE)
    for file in PACKAGE.rglob("*.py"):
        assert not imports.search(file.read_text(encoding="utf-8")), file
