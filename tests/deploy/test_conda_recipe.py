"""The conda recipe renders, and needs what the package needs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "deploy" / "conda" / "recipe.yaml"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())[
    "project"
]
CONDA_NAMES = {
    "dask[array,dataframe]": "dask-core",
    "matplotlib": "matplotlib-base",
    "opencv-python-headless": "py-opencv",
    "prometheus-client": "prometheus_client",
}
"""Of packages that have another name there."""


@pytest.fixture(scope="module")
def outputs() -> dict[str, list[str]]:
    """Return what each package of the recipe needs, as it is rendered."""
    library = pytest.importorskip("rattler_build", reason="no py-rattler-build")
    recipe = library.Stage0Recipe.from_file(RECIPE)
    found = {}
    for variant in recipe.render():
        stage = variant.recipe.to_dict()
        found[stage["package"]["name"]] = stage["requirements"]["run"]
    return found


def test_it_renders_both_packages(outputs: dict[str, list[str]]) -> None:
    assert sorted(outputs) == ["deepspot-scale", "deepspot-scale-run"]
    assert "python >=3.11" in outputs["deepspot-scale-run"]


def test_its_versions_are_those_of_the_package() -> None:
    recipe = yaml.safe_load(RECIPE.read_text())
    assert recipe["context"]["version"] == PROJECT["version"]
    assert f">={recipe['context']['python_min']}" == PROJECT["requires-python"]
    smaller, larger = (each["requirements"]["run"] for each in recipe["outputs"])
    needed = {each for each in (*smaller, *larger) if not each.startswith("${{")}
    needed -= {"python >=${{ python_min }}"}
    assert needed == {conda_requirement(each) for each in PROJECT["dependencies"]}
    assert not [each for each in smaller if re.match("keras|tensorflow", each)]


def conda_requirement(requirement: str) -> str:
    """Return a requirement in conda's words; conda's packages have no markers."""
    name, least = requirement.partition(";")[0].split(">=")
    return f"{CONDA_NAMES.get(name, name)} >={least}"
