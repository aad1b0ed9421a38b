"""The notebooks of the site are executed, and what they keep is what they give."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "docs/notebooks"
NAMES = ("first_plate", "polarity")
LARGEST = 300_000
"""Bytes of all notebooks together."""

pytestmark = pytest.mark.skipif(
    not NOTEBOOKS.is_dir(), reason="the installed package has no docs beside it"
)


def kinds(notebook: Any) -> list[list[tuple[str, list[str]]]]:
    """Return what each code cell shows: kinds of outputs, and their forms."""
    return [
        [
            (each["output_type"], sorted(each.get("data", {})))
            for each in cell["outputs"]
        ]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's libraries
def test_a_notebook_runs_and_gives_the_outputs_that_it_keeps(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    root = str(Path(__file__).parents[1])
    # A kernel is a process of its own: it finds this package, and is not talkative.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, *sys.path[1:]]))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    execute = runpy.run_path(str(NOTEBOOKS / "execute.py"))["execute"]
    (tmp_path / "work").mkdir()
    path = NOTEBOOKS / f"{name}.ipynb"
    made = execute(path, tmp_path / "work")
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kinds(made) == kinds(kept)
    assert [cell["source"] for cell in made["cells"]] == [
        "".join(cell["source"]) for cell in kept["cells"]
    ]


def test_all_notebooks_are_executed_here() -> None:
    assert sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")) == sorted(NAMES)


def test_what_notebooks_keep_is_small_and_of_no_machine() -> None:
    texts = [path.read_text(encoding="utf-8") for path in NOTEBOOKS.glob("*.ipynb")]
    assert sum(map(len, texts)) < LARGEST
    for text in texts:
        assert "/tmp" not in text
        for cell in json.loads(text)["cells"]:
            for output in cell.get("outputs", ()):
                assert output.get("name") != "stderr", output


def test_a_notebook_shows_the_accessor_and_a_run() -> None:
    text = (NOTEBOOKS / "first_plate.ipynb").read_text(encoding="utf-8")
    assert "field.deepspot.enhance()" in text
    assert "done, 0 failed" in text
