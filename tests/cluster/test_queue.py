"""Job scripts contain the options, in the syntax of each queue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import dask_jobqueue
import pytest

from deepspot_scale.cluster.client import open_client
from deepspot_scale.cluster.jobs import last_log_line
from deepspot_scale.cluster.queue import QUEUES, Queue, job_options
from deepspot_scale.errors import SettingsError

FULL: dict[str, Any] = {
    "queue": "gpu",
    "account": "lab",
    "walltime": "1-02:00:00",
    "cores": 8,
    "memory": "32GiB",
    "gpus": 1,
    "interface": "ib0",
    "scratch": "$TMPDIR",
    "prologue": ["module load cuda", "source venv/bin/activate"],
    "directives": ["--mark=1"],
}
SAID = {
    "slurm": [
        "#SBATCH -p gpu",
        "#SBATCH -A lab",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=32G",
        "#SBATCH -t 26:00:00",
        "#SBATCH --gres=gpu:1",
    ],
    "pbs": [
        "#PBS -q gpu",
        "#PBS -A lab",
        "#PBS -l select=1:ncpus=8:mem=32768MB:ngpus=1",
        "#PBS -l walltime=26:00:00",
    ],
    "moab": ["#PBS -q gpu", "#PBS -A lab", "#PBS -l nodes=1:ppn=8:gpus=1"],
    "sge": ["#$ -q gpu", "#$ -P lab", "#$ -l h_rt=26:00:00", "#$ -l gpu=1"],
    "lsf": ["#BSUB -q gpu", "#BSUB -n 8", "#BSUB -W 26:00", '#BSUB -gpu "num=1"'],
    "oar": ["#OAR -q gpu", "#OAR --project lab", "#OAR -l /nodes=1/gpu=1"],
    "htcondor": ["MY.DaskWorkerCores = 8", "request_gpus = 1", "mark = 1"],
}


def _script(options: Queue) -> str:
    kind = getattr(dask_jobqueue, QUEUES[options.cluster].cluster).job_cls
    keywords = job_options(options, folder=Path("/logs"))
    return str(kind("tls://10.0.0.1:8786", name="worker", **keywords).job_script())


def _full(name: str) -> Queue:
    given = dict(FULL)
    if name == "htcondor":
        for unknown in ("queue", "account", "walltime"):
            del given[unknown]
        given["directives"] = ["mark = 1"]
    return Queue(cluster=name, **given)


@pytest.mark.parametrize("name", QUEUES)
def test_each_queue_is_asked_in_its_own_words(name: str) -> None:
    script = _script(_full(name))
    for line in SAID[name]:
        assert line in script
    for words in ("--nthreads 2", "--resources GPU=1", "--interface ib0"):
        assert words in script
    for words in ("module load cuda", "TF_FORCE_GPU_ALLOW_GROWTH=true", "$TMPDIR"):
        assert words in script
    # One process a job: of several, those that are lost would never be replaced.
    assert "--nworkers" not in script
    # The worker's own page has no password.
    assert "--dashboard-address 127.0.0.1:0" in script
    if name != "htcondor":
        assert "--lifetime 93060s --lifetime-stagger 240s" in script
        assert script.index("source venv") < script.index("dask_worker")


def test_the_request_for_a_gpu_can_be_the_sites_own() -> None:
    own = Queue(cluster="slurm", gpus=1, gpu_request="--gpus=a100:{gpus}")
    script = _script(own)
    assert "#SBATCH --gpus=a100:1" in script
    assert "--gres" not in script


def test_dask_jobqueues_own_options_win() -> None:
    own = {"resource_spec": "select=1:ncpus=4:model=rome"}
    script = _script(Queue(cluster="pbs", gpus=1, options=own))
    assert "#PBS -l select=1:ncpus=4:model=rome" in script
    assert "ngpus" not in script


def test_what_is_left_open_is_the_sites_configuration() -> None:
    site = {"cores": 12, "memory": "48GB", "queue": "site", "walltime": "10:00:00"}
    with dask.config.set({f"jobqueue.slurm.{k}": v for k, v in site.items()}):
        options = Queue(cluster="slurm")
        script = _script(options)
        assert options.network_threads == 12
        assert _script(Queue(cluster="slurm", queue="mine")).count("-p mine") == 1
    for words in ("-p site", "--cpus-per-task=12", "-t 10:00:00", "--lifetime 35460s"):
        assert words in script
    assert Queue(cluster="slurm").network_threads == 4


def test_a_queue_that_is_not_here_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(SettingsError, match="no bsub on the PATH; start on a machine"),
        open_client("lsf"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_who_waits_is_told_what_the_newest_log_ends_with(tmp_path: Path) -> None:
    assert "wait in the queue" in last_log_line(tmp_path, 0.0)
    (tmp_path / "deepspot-1.err").write_text("")
    assert "wait in the queue" in last_log_line(tmp_path, 0.0)
    log = tmp_path / "deepspot-2.err"
    log.write_text("a line\nNo module named deepspot_scale\n")
    assert last_log_line(tmp_path, 0.0).endswith("No module named deepspot_scale")
    assert "wait in the queue" in last_log_line(tmp_path, log.stat().st_mtime + 60)
