"""The Snakefile, run by Snakemake: a plate in parts is the run in one go."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "snakemake"


@pytest.fixture(scope="module")
def snakemake() -> str:
    """Snakemake's program; it may have an environment of its own."""
    program = shutil.which("snakemake")
    if program is None:
        pytest.skip("no snakemake on the path: pip install snakemake")
    return program


def test_a_plate_in_rows_is_the_run_in_one_go(
    snakemake: str, screened: Any, shell: dict[str, str], tmp_path: Path
) -> None:
    config = yaml.safe_load((FOLDER / "config.yaml").read_text())
    config |= {"plate": screened.plate, "options": screened.options, "threads": 1}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    words = ["--snakefile", FOLDER / "Snakefile", "--configfile", "config.yaml"]
    ended = subprocess.run(
        [snakemake, *words, "--cores", "2"],
        cwd=tmp_path,
        env=shell,
        check=False,
        capture_output=True,
        text=True,
    )
    logs = {p.name: p.read_text() for p in (tmp_path / "results").rglob("*.log")}
    assert ended.returncode == 0, (ended.stderr, logs)
    assert "5 of 5 steps (100%) done" in ended.stderr
    wells = (tmp_path / "results/parts/wells.txt").read_text()
    assert wells == "B03\nC04,C05\n"
    screened.assert_same(tmp_path / "results/run")
    assert "2 runs merged: 2 fields done, 1 failed" in logs["merge.log"]
    assert (tmp_path / "results/run/report.html").is_file()
