"""One worker for each GPU, pinned before anything is imported; fields stay on GPUs."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Nanny, Scheduler, SpecCluster

from deepspot_scale.cluster import gpu as gpu_module
from deepspot_scale.cluster.client import open_client
from deepspot_scale.cluster.gpu import find_gpus
from deepspot_scale.cluster.worker import SHARE, EngineLoader, field_resources
from deepspot_scale.errors import DeviceError
from deepspot_scale.networks import engines
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.runs import dispatch
from deepspot_scale.runs.manifest import read_fields

PINNED = ("CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH")
PINNED += ("XLA_PYTHON_CLIENT_PREALLOCATE",)


def _see() -> tuple[str, ...]:
    """Return a worker's process and what it knows about GPUs."""
    return (str(os.getpid()), *(os.environ[name] for name in PINNED))


def _loads() -> int:
    """Return how many networks this process has loaded."""
    return engines._load.cache_info().misses


@pytest.mark.parametrize(
    ("told", "gpus"),
    [
        ("0,1", ["0", "1"]),
        ("3", ["3"]),
        ("GPU-8f3, GPU-11c", ["GPU-8f3", "GPU-11c"]),
        ("1,-1,2", ["1"]),
    ],
)
def test_the_environment_says_which_gpus_there_are(told: str, gpus: list[str]) -> None:
    assert find_gpus({"CUDA_VISIBLE_DEVICES": told}) == gpus


@pytest.mark.parametrize("told", ["", "-1", "-1,0"])
def test_gpus_that_the_environment_hides_are_not_there(told: str) -> None:
    with pytest.raises(DeviceError, match=r"CUDA_VISIBLE_DEVICES=.* hides all"):
        find_gpus({"CUDA_VISIBLE_DEVICES": told})


def test_the_drivers_tool_is_asked_where_the_environment_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_gpus({}) == ["0", "1", "2"]
    tool.write_text("#!/bin/sh\necho 'No devices were found'; exit 6\n")
    monkeypatch.setattr(gpu_module, "_find_devices", lambda: ["0"])
    assert find_gpus({}) == ["0"]


def test_no_gpu_is_an_error_that_says_what_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpu_module, "_find_devices", list)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    looked = "CUDA_VISIBLE_DEVICES is not set, nvidia-smi is not on the PATH, and there"
    with pytest.raises(DeviceError, match=looked), open_client("gpu"):
        pass


def test_more_workers_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with (
        pytest.raises(DeviceError, match="there are 2 GPUs: 0, 1"),
        open_client("gpu", workers=3),
    ):
        pass


def _seen(client: Any) -> dict[str, tuple[str, ...]]:
    """Return what each worker that answers sees, by its process."""
    seen = client.run(_see, on_error="ignore")
    return {pid: rest for pid, *rest in seen.values()}


@pytest.mark.cluster
def test_each_gpu_has_a_worker_that_sees_it_alone_also_after_a_kill(
    monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    pinned = [["5", "true", "false"], ["7", "true", "false"]]
    with open_client("gpu") as client:
        client.wait_for_workers(2)
        before = _seen(client)
        assert sorted(before.values()) == pinned
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [worker["resources"] for worker in workers] == [{"GPU": 1}] * 2
        assert {worker["nthreads"] for worker in workers} == {2}
        killed = min(before)
        os.kill(int(killed), signal.SIGKILL)
        wait_until(lambda: killed not in (seen := _seen(client)) and len(seen) == 2)
        assert sorted(_seen(client).values()) == pinned


@pytest.fixture(scope="module")
def mixed() -> Iterator[Any]:
    """Two workers, one of which declares a GPU."""
    options = {"nthreads": 2, "host": "127.0.0.1", "silence_logs": logging.ERROR}
    having = {**options, "resources": {"GPU": 1}}
    with (
        SpecCluster(
            scheduler={
                "cls": Scheduler,
                "options": {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"},
            },
            workers={
                "without": {"cls": Nanny, "options": options},
                "with": {"cls": Nanny, "options": having},
            },
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(2)
        yield client


def _named(client: Any, answers: dict[str, Any]) -> dict[str, Any]:
    """Return the workers' answers by their names instead of addresses."""
    known = client.scheduler_info(n_workers=-1)["workers"]
    return {known[address]["name"]: answer for address, answer in answers.items()}


@pytest.fixture(scope="module")
def plate(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> str:
    """Eight small fields."""
    scenes = {f"B/{i:02d}/0": draw_scene(i, (64, 64)) for i in range(2, 10)}
    return write_plate(tmp_path_factory.mktemp("gpu") / "plate.zarr", scenes)


@pytest.mark.cluster
@pytest.mark.parametrize("spread", [False, True])
def test_fields_that_need_the_network_run_on_workers_with_a_gpu_only(
    mixed: Any,
    plate: str,
    tmp_path: Path,
    run_quickly: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    spread: bool,
) -> None:
    monkeypatch.setattr(dispatch, "MAX_BATCH", 1)
    if spread:
        monkeypatch.setattr(dispatch, "BLOCKS_PER_TASK", 0)
    ended = run_quickly(plate, tmp_path / "run", mixed, enhance=True)
    assert ended.progress.done == 8
    pids = _named(mixed, mixed.run(os.getpid))
    workers = set(read_fields(ended.folder)["worker"])
    assert {worker.partition(":")[2] for worker in workers} == {str(pids["with"])}
    # Loaded once, by one of the two threads; never where no field may run.
    assert _named(mixed, mixed.run(_loads)) == {"with": 1, "without": 0}


@pytest.mark.cluster
def test_fields_without_the_network_run_everywhere(
    mixed: Any,
    plate: str,
    tmp_path: Path,
    run_quickly: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "MAX_BATCH", 1)
    ended = run_quickly(plate, tmp_path / "run", mixed)
    assert read_fields(ended.folder)["worker"].nunique() == 2


@pytest.mark.cluster
def test_a_gpu_is_asked_for_where_any_worker_has_one(mixed: Any) -> None:
    assert field_resources(mixed, "auto") == {"GPU": SHARE}
    assert field_resources(mixed, "gpu") == {"GPU": SHARE}
    assert field_resources(mixed, "cpu") == {}


@pytest.mark.cluster
def test_workers_that_say_nothing_of_gpus_are_asked_for_none() -> None:
    with open_client("local") as client:
        assert field_resources(client, "auto") == {}
        assert field_resources(client, "gpu") == {}
        client.cluster.scale(0)
        while client.scheduler_info()["workers"]:
            pass
        assert field_resources(client, "gpu") == {"GPU": SHARE}


@pytest.mark.cluster
def test_a_worker_that_joins_late_loads_the_network_before_its_first_field() -> None:
    with open_client("local") as client:
        client.register_plugin(EngineLoader((EngineChoice(),)))
        client.cluster.scale(2)
        client.wait_for_workers(2)
        assert list(client.run(_loads).values()) == [1, 1]
