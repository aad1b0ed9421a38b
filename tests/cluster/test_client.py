"""Words, addresses and files become checked options, or an error that tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspot_scale.cluster.client import KINDS, open_client, read_cluster, serve
from deepspot_scale.cluster.external import External
from deepspot_scale.cluster.gpu import Gpus
from deepspot_scale.cluster.kubernetes import Kubernetes
from deepspot_scale.cluster.local import Local, threads_per_worker
from deepspot_scale.cluster.queue import QUEUES, Queue
from deepspot_scale.cluster.srun import (
    Allocation,
    find_task,
    pin,
)
from deepspot_scale.errors import DeviceError, SettingsError

TASK = {
    "SLURM_JOB_ID": "12",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
}


def test_a_word_stands_for_a_kind_with_its_defaults() -> None:
    assert read_cluster("local") == Local(workers=1)
    assert read_cluster("local", workers=3) == Local(workers=3)
    assert read_cluster("gpu") == Gpus(workers=None)
    assert read_cluster("srun") == Allocation()
    assert read_cluster("kubernetes", workers=4) == Kubernetes(workers=4)
    for name in QUEUES:
        assert read_cluster(name, workers=2) == Queue(cluster=name, workers=2)
    for place in ("tcp://host:8786", "tls://host:8786", "file:scheduler.json"):
        assert read_cluster(place, workers=5) == External(cluster=place)


def test_a_file_holds_the_word_and_its_options(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(
        'cluster = "slurm"\nworkers = 8\nminimum = 2\nqueue = "gpu"\ngpus = 1\n'
        '[tls]\nca = "ca.pem"\ncert = "cert.pem"\nkey = "key.pem"\n'
    )
    read = read_cluster(str(file))
    assert isinstance(read, Queue)
    assert (read.workers, read.minimum, read.queue, read.on_gpus) == (8, 2, "gpu", True)
    assert read_cluster(str(file), workers=9) == read.model_copy(update={"workers": 9})


BAD = [
    ('cluster = "slurm"\nworker = 3', "no option 'worker'. Did you mean 'workers'?"),
    ('cluster = "slurn"', "got 'slurn'. Did you mean 'slurm'?"),
    ('cluster = "slurm"\nwalltime = "4h"', "expected .days-.hours:minutes:seconds"),
    ('cluster = "slurm"\nworkers = 2\nminimum = 3', "must not exceed workers, 2"),
    ('cluster = "slurm"\ngpus = 4', "gpus: Input should be less than or equal to 1"),
    ('cluster = "htcondor"\nqueue = "long"', "htcondor has neither queue nor wall"),
    ('cluster = "htcondor"\naccount = "lab"', "htcondor has no account"),
    ('cluster = "local"\nworkers = 0', "workers: "),
    ("workers = 3", 'add a first line such as cluster = "slurm"'),
    ("workers 3", "is no TOML"),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_an_unfit_file_is_refused_with_its_reason(
    text: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "site.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=reason):
        read_cluster(str(file))


@pytest.mark.parametrize("cluster", ["", "somewhere", "http://127.0.0.1:8786"])
def test_another_word_for_a_cluster_is_refused(cluster: str) -> None:
    with pytest.raises(SettingsError, match="tcp://host:port"), open_client(cluster):
        pass


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_cluster(str(tmp_path / "absent.toml"))
    place = f"file:{tmp_path / 'scheduler.json'}"
    with pytest.raises(SettingsError, match="there is no file"), open_client(place):
        pass


def test_a_run_without_workers_is_refused() -> None:
    with (
        pytest.raises(SettingsError, match="at least 1 worker"),
        open_client(workers=0),
    ):
        pass


def test_the_network_gets_the_processors_that_a_worker_has() -> None:
    assert read_cluster("local", workers=1).network_threads == threads_per_worker(1)
    assert Queue(cluster="slurm", cores=7).network_threads == 7
    assert Kubernetes(cores=3).network_threads == 3


# --- what srun started -----------------------------------------------------------


def test_a_task_of_srun_is_a_worker_or_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    task = find_task(TASK)
    assert (task.job, task.rank, task.local_rank, task.n_local) == ("12.0-0", 5, 1, 4)
    assert find_task({**TASK, "SLURM_RESTART_COUNT": "1"}).job == "12.0-1"
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    with pytest.raises(SettingsError, match="works only under srun"):
        serve(Allocation())
    assert not serve(Local())


def test_a_task_sees_the_gpu_of_its_number_on_the_node() -> None:
    task = find_task(TASK)
    assert pin(task, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}) == {
        "CUDA_VISIBLE_DEVICES": "1"
    }
    # Bound by Slurm itself.
    assert pin(task, {"CUDA_VISIBLE_DEVICES": "3"}) == {"CUDA_VISIBLE_DEVICES": "3"}
    assert pin(task, {}) == {}


def test_more_tasks_than_gpus_on_a_node_are_refused() -> None:
    task = find_task({**TASK, "SLURM_LOCALID": "3"})
    with pytest.raises(DeviceError, match="srun --ntasks-per-node=2"):
        pin(task, {"CUDA_VISIBLE_DEVICES": "0,1"})


def test_every_kind_names_itself() -> None:
    for name in KINDS:
        assert read_cluster(name).cluster == name
