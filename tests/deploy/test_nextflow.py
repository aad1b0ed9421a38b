"""Nextflow's file: parsed, its scripts run by the shell; run by Nextflow where it is.

Nextflow is a file of Java that its launcher fetches from its own address; where it does
not reach that, the last test is skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "deploy" / "nextflow"
FILE = FOLDER / "main.nf"
PARSE = """
import sys
from reftrace import Module
module = Module.from_file(sys.argv[1])
print(module.to_json())
"""


def parse(file: Path) -> dict[str, Any]:
    """Return what reftrace, a parser of Nextflow's language, reads of a file."""
    program = shutil.which("reftrace")
    if program is None:
        pytest.skip("no reftrace on the path: pip install reftrace")
    python = Path(program).with_name("python")
    read = subprocess.run(
        [python, "-c", PARSE, file], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(read.stdout)
    return found


def scripts() -> dict[str, str]:
    """Return the script of each process by the name of the process."""
    text = FILE.read_text()
    found = re.findall(r'^process (\w+) \{.*?"""\n(.*?)"""\n\}', text, re.M | re.S)
    return dict(found)


def fill(script: str, **values: str) -> str:
    """Return a script as Nextflow writes it: words filled in, ``\\$`` a ``$``."""
    filled = re.sub(r"(?<!\\)\$\{([\w.]+)\}", lambda found: values[found[1]], script)
    return filled.replace("\\$", "$")


def test_the_file_is_nextflow(tmp_path: Path) -> None:
    module = parse(FILE)
    assert [process["name"] for process in module["processes"]] == [*scripts()]
    assert [p["name"] for p in module["params"]] == [
        *("plate", "options", "files", "split", "out")
    ]
    (tmp_path / "broken.nf").write_text(FILE.read_text().rstrip()[:-1])
    with pytest.raises(subprocess.CalledProcessError):
        parse(tmp_path / "broken.nf")


def test_the_scripts_of_the_processes_give_the_run_in_one_go(
    screened: Any, shell: dict[str, str], tmp_path: Path
) -> None:
    script = scripts()
    params = {"params.options": screened.options, "params.split": "rows"}
    given = {"plate": screened.plate, **params}

    def start(name: str, folder: Path, **values: str) -> str:
        folder.mkdir(exist_ok=True)
        # Nextflow's own way to start a script.
        command = ["bash", "-ue", "-c", fill(script[name], **given, **values)]
        ended = subprocess.run(
            command, cwd=folder, env=shell, check=False, capture_output=True, text=True
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    wells = start("SPLIT", tmp_path / "split").split()
    assert wells == ["B03", "C04,C05"]
    (tmp_path / "merge").mkdir()
    for number, each in enumerate(wells, 1):
        start("RUN_PART", tmp_path / f"work-{number}", wells=each)
        link = tmp_path / "merge" / f"part-{number}"
        link.symlink_to(tmp_path / f"work-{number}" / "run")
    start("MERGE", tmp_path / "merge")
    screened.assert_same(tmp_path / "merge/run")


def test_nextflow_runs_a_plate_in_rows(
    screened: Any, shell: dict[str, str], tmp_path: Path
) -> None:
    program = shutil.which("nextflow")
    if program is None:
        pytest.skip("no nextflow on the path")
    said = subprocess.run([program, "-v"], capture_output=True, check=False, env=shell)
    if said.returncode != 0:
        pytest.skip("nextflow's launcher has no Nextflow, and cannot fetch it")
    words = ["--plate", screened.plate, "--options", screened.options]
    ended = subprocess.run(
        [program, "run", FILE, *words, "--out", "results"],
        cwd=tmp_path,
        env=shell,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout
    screened.assert_same(tmp_path / "results/run")
