"""The tutorial is walked by copy and paste: from two folders of TIFFs to the figure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/tutorial.md"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAMS = {"python": "", "deepspot-scale": "-m deepspot_scale.cli"}


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """Environment of a shell in which `deepspot-scale` and `python` are these."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, words in PROGRAMS.items():
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        path.chmod(0o755)
    own = {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    return {**os.environ, **own, "PATH": f"{programs}:{os.environ['PATH']}"}


def paste(language: str, text: str, folder: Path, shell: dict[str, str]) -> None:
    """Do what the page says: save a Python block, give a block of the shell to bash."""
    if language == "python":
        (name,) = re.findall(r'\A"""(\w+\.py)"""', text)
        (folder / name).write_text(text, encoding="utf-8")
        return
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, (text, ended.stdout, ended.stderr)


@pytest.mark.skipif(not PAGE.is_file(), reason="no docs beside the package")
def test_a_reader_of_the_tutorial_gets_from_two_folders_of_tiffs_to_the_dose_figure(
    tmp_path: Path, shell: dict[str, str]
) -> None:
    folder = tmp_path / "reader"
    folder.mkdir()
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert [language for language, _ in blocks].count("python") == 2
    for language, text in blocks:
        paste(language, text, folder, shell)
    assert sorted(path.name for path in (folder / "IMAGES").iterdir()) == [
        "DAPI",
        "FISH",
    ]
    assert "<svg" in (folder / "dose_response.svg").read_text(encoding="utf-8")
    wells = pd.read_csv(folder / "dose_response.csv")
    assert len(wells) == 8
    assert (wells["n_cells"] >= 8).all()
    means = wells.groupby("dose")[["spots_per_cell", "polarity_corrected"]].mean()
    assert list(means.index) == [0, 0.1, 1, 10]
    # What was simulated: more RNA and more of it toward the wound, the higher the dose.
    assert means["spots_per_cell"].is_monotonic_increasing
    assert means["spots_per_cell"][10] > 1.8 * means["spots_per_cell"][0]
    assert means["polarity_corrected"][10] > means["polarity_corrected"][0] + 0.3
    assert (folder / "RUN/report.html").is_file()
