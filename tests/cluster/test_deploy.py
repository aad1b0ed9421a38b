"""The files of deploy/ are what the program reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspot_scale.cluster.client import read_cluster
from deepspot_scale.cluster.gpu import Gpus
from deepspot_scale.cluster.queue import Queue, job_options

DEPLOY = Path(__file__).parents[2] / "deploy"
DESCRIPTIONS = sorted(path.name for path in DEPLOY.glob("*.toml"))


def test_there_is_a_file_for_each_kind_of_site() -> None:
    assert {"slurm.toml", "pbs.toml", "sge.toml", "workstation.toml"} <= {*DESCRIPTIONS}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_file_is_read_as_it_is(name: str) -> None:
    read = read_cluster(str(DEPLOY / name))
    if not isinstance(read, Queue):
        assert read == Gpus() or read.cluster == "kubernetes"
        return
    assert read.cluster == name.removesuffix(".toml")
    made = job_options(read, folder=Path("logs"))
    assert made["queue"] == read.queue
    assert "source $HOME/deepspot/.venv/bin/activate" in made["job_script_prologue"]


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_what_is_commented_out_fits_too(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / name).read_text()
    lines = [
        line.removeprefix("# ") if _is_option(line) else line
        for line in text.splitlines()
    ]
    whole = tmp_path / name
    whole.write_text("\n".join(lines))
    assert whole.read_text() != text
    read_cluster(str(whole))


def _is_option(line: str) -> bool:
    word = line.removeprefix("# ").split(" ")[:2]
    return line.startswith(("# [", "# ")) and (word[1:] == ["="] or "# [" in line)


@pytest.mark.parametrize("name", [*DESCRIPTIONS, "slurm.sbatch"])
def test_the_page_says_what_each_file_is_for(name: str) -> None:
    assert f"`{name}`" in (DEPLOY / "README.md").read_text()
