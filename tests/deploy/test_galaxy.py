"""Galaxy's tool files: linted by Galaxy's linter, and their own tests run.

A test's command is filled in by Galaxy's Cheetah, started by the shell, and what it
writes is compared by Galaxy's own assertions. Galaxy itself is not needed.
"""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "deploy" / "galaxy"
TOOLS = ("deepspot_scale_detect", "deepspot_scale_run")
TESTS = [(tool, number) for tool in TOOLS for number in (0, 1)]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """Leave Galaxy its own deprecations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def galaxy(name: str) -> Any:
    """Return a module of galaxy-tool-util."""
    why = "no galaxy-tool-util: pip install galaxy-tool-util edam-ontology"
    pytest.importorskip("galaxy.tool_util", reason=why)
    pytest.importorskip("edam_ontology", reason=why)
    return import_module(f"galaxy.{name}")


def open_tool(name: str, folder: Path = FOLDER) -> Any:
    source = galaxy("tool_util.parser").get_tool_source(str(folder / f"{name}.xml"))
    return source


def lint(source: Any) -> list[str]:
    """Return what the linter has to say against a tool."""
    of_lint = galaxy("tool_util.lint")
    context = of_lint.LintContext(level=of_lint.LintLevel.SILENT)
    of_lint.lint_tool_source_with(context, source)
    assert len(context.message_list) > 5
    said = [(m.level.lower(), m.message) for m in context.message_list]
    return [text for level, text in said if level in {"warning", "error"}]


@pytest.mark.parametrize("tool", TOOLS)
def test_galaxy_has_nothing_to_say_against_a_tool(tool: str) -> None:
    assert lint(open_tool(tool)) == []


def test_a_bad_tool_is_told(tmp_path: Path) -> None:
    for file in FOLDER.glob("*.xml"):
        text = file.read_text().replace('name="enhance" value', 'name="enhanced" value')
        (tmp_path / file.name).write_text(text)
    assert any("enhanced" in text for text in lint(open_tool(TOOLS[0], tmp_path)))


class DataSet:
    """A data set as a command sees it."""

    def __init__(self, path: Path, ftype: str) -> None:
        self.path, self.ftype, self.element_identifier = path, ftype, path.name

    def __str__(self) -> str:
        return str(self.path)

    def is_of_type(self, *kinds: str) -> bool:
        return self.ftype in kinds


def value_of(parameter: Any, given: Mapping[str, Any]) -> Any:
    """Return what a command sees of a parameter: what a test gives, or the default."""
    name = parameter.get("name") or parameter.get("argument").lstrip("-")
    attributes = given.get(name, {}).get("attributes", {})
    value = given[name]["value"] if name in given else parameter.get("value", "")
    kind = parameter.get("type")
    if kind == "data":
        if name not in given:
            return None
        data = DataSet(FOLDER / "test-data" / value, attributes["ftype"])
        return [data] if parameter.get("multiple") == "true" else data
    if kind == "boolean":
        word = str(value or parameter.get("checked", "false")).lower()
        return parameter.get(f"{word}value")
    if kind == "select" and not value:
        (value,) = (o.get("value") for o in parameter if o.get("selected") == "true")
    return value


def context_of(inputs: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every parameter of a tool by its name in the command."""
    found: dict[str, Any] = {}
    for element in inputs:
        if element.tag == "param":
            name = element.get("name") or element.get("argument").lstrip("-")
            found[name.replace("-", "_")] = value_of(element, given)
        elif element.tag == "conditional":
            prefix = f"{element.get('name')}|"
            own = {k.removeprefix(prefix): v for k, v in given.items()}
            choice, *cases = element
            chosen = value_of(choice, own)
            (case,) = (each for each in cases if each.get("value") == chosen)
            inner = {choice.get("name"): chosen, **context_of(case, own)}
            found[element.get("name")] = SimpleNamespace(**inner)
    return found


@pytest.mark.parametrize(("tool", "number"), TESTS)
def test_the_tests_of_a_tool_pass(
    tool: str, number: int, shell: dict[str, str], tmp_path: Path
) -> None:
    source = open_tool(tool)
    test = source.parse_tests_to_dict()["tests"][number]
    given = {each["name"]: each for each in test["inputs"]}
    context = context_of(source.root.find("inputs"), given)
    fill = galaxy("util.template").fill_template
    # Galaxy starts the lines of a command as one.
    command = " ".join(fill(source.parse_command(), context=context).split("\n"))
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env=shell,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, (command, ended.stderr)
    verify = galaxy("tool_util.verify.asserts").verify_assertions
    places = {o.get("name"): o.get("from_work_dir") for o in source.root.iter("data")}
    for output in test["outputs"]:
        content = (tmp_path / places[output["name"]]).read_bytes()
        assert output["attributes"]["assert_list"]
        verify(content, output["attributes"]["assert_list"])
