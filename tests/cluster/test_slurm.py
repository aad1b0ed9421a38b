"""A run whose workers are jobs of a real Slurm, also when jobs are cancelled."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepspot_scale.cluster import jobs, liveness
from deepspot_scale.cluster.client import open_client
from deepspot_scale.errors import ClusterError, SettingsError
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.settings import make_settings

pytestmark = pytest.mark.cluster

DEPLOY = Path(__file__).parents[2] / "deploy"

JOBS = """
cluster = "slurm"
workers = 2
cores = 2
memory = "2GB"
walltime = "00:30:00"
interface = "lo"
replace_after = 2
"""


@pytest.fixture(scope="module", autouse=True)
def overdue(slurm: Any, start_driver: Callable[..., Any]) -> Any:
    """A run in a separate job that cannot end within its minute of wall time.

    It goes on beside the other tests, which saves the minute.
    """
    driver = start_driver()
    (driver.folder / "cluster.toml").write_text('cluster = "local"')
    command = ["sbatch", "--parsable", "--time=1", "--mem=4000", "--output=log"]
    script = f"#!/bin/sh\nexec {' '.join(driver.words)}\n"
    job = subprocess.run(
        command,
        input=script,
        cwd=driver.folder,
        env=driver.environment(15.0),
        capture_output=True,
        text=True,
        check=True,
    )
    return driver, job.stdout.strip()


def test_jobs_do_a_run_and_leave_nothing_behind(
    slurm: Any, driver: Any, alone: Any
) -> None:
    said = driver.run(JOBS + "gpus = 1\n", seconds=2.0)  # for both jobs to come
    driver.assert_same(alone)
    assert driver.rows["worker"].nunique() == 2
    assert "12 fields done, 0 failed" in said
    assert "ssh -N -L" in said
    assert slurm.jobs(name="deepspot") == []
    logs = (driver.folder / "deepspot-jobs").iterdir()
    assert sorted(path.suffix for path in logs) == [".err", ".err", ".out", ".out"]


def test_jobs_with_a_gpu_see_one_each_and_talk_by_certificate(
    slurm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "three.toml").write_text(JOBS + "gpus = 1\n")

    def see() -> tuple[str, ...]:
        names = ("SLURMD_NODENAME", "CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH")
        return tuple(os.environ[name] for name in names)

    with open_client("three.toml", workers=3) as client:
        client.wait_for_workers(3, timeout=120)
        seen = client.run(see)
        assert len({(node, gpu) for node, gpu, _ in seen.values()}) == 3
        assert {(gpu, growth) for _, gpu, growth in seen.values()} <= {
            ("0", "true"),
            ("1", "true"),
        }
        assert all(address.startswith("tls://127.0.0.1:") for address in seen)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        assert [worker["resources"] for worker in workers] == [{"GPU": 1}] * 3
        assert {worker["nthreads"] for worker in workers} == {2}
        (keys,) = (tmp_path / "deepspot-jobs").glob("tls-*")
        assert stat.S_IMODE(keys.stat().st_mode) == 0o700
        modes = {stat.S_IMODE(path.stat().st_mode) for path in keys.iterdir()}
        assert modes == {0o600}
    assert not keys.exists()


def test_a_job_that_is_cancelled_is_replaced_and_no_field_is_done_twice(
    slurm: Any, driver: Any, alone: Any, wait_until: Callable[..., Any]
) -> None:
    process = driver.start(JOBS, seconds=3.0)
    wait_until(lambda: driver.n_started >= 4)
    first = slurm.jobs(name="deepspot", state="R")
    slurm.call("scancel", first[0])
    wait_until(lambda: set(slurm.jobs(name="deepspot")) - set(first))
    driver.finish(process)
    driver.assert_same(alone)
    assert not driver.rows.duplicated(["row", "column", "field"]).any()
    assert 12 <= driver.n_started <= 14  # again at most what was in hand


def test_jobs_come_as_there_is_work(
    slurm: Any, driver: Any, alone: Any, wait_until: Callable[..., Any]
) -> None:
    process = driver.start(JOBS + "minimum = 0\n", seconds=3.0)
    wait_until(lambda: len(slurm.jobs(name="deepspot")) == 1)
    wait_until(lambda: len(slurm.jobs(name="deepspot")) == 2)
    driver.finish(process)
    driver.assert_same(alone)


@pytest.fixture
def torque(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's ``qsub`` and ``qdel``, which speak PBS.

    Unpacked, not installed: beside Grid Engine's there is no room for them.
    """
    package = "slurm-wlm-torque"
    for command in (["apt-get", "download", "-q", package], ["dpkg", "-x"]):
        found = [str(path) for path in tmp_path.glob(f"{package}*.deb")]
        words = [*command, *(found and [*found, str(tmp_path)])]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"{package} cannot be had: {done.stderr.decode().strip()}")
    for command in ("sbatch", "scancel"):  # which they look for beside themselves
        (tmp_path / "usr/bin" / command).symlink_to(str(shutil.which(command)))
    monkeypatch.setenv("PATH", str(tmp_path / "usr/bin"), prepend=os.pathsep)


@pytest.mark.usefixtures("torque")
def test_jobs_that_are_submitted_as_pbs_has_it_do_a_run(
    slurm: Any, driver: Any, alone: Any
) -> None:
    said = driver.run(JOBS.replace("slurm", "pbs"), seconds=2.0)
    driver.assert_same(alone)
    assert driver.rows["worker"].nunique() == 2
    assert "12 fields done" in said
    assert slurm.jobs(name="deepspot") == []


def test_what_the_queue_refuses_is_said(
    slurm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "typo.toml").write_text(JOBS + 'queue = "lnog"\n')
    with (
        pytest.raises(SettingsError, match=r"slurm refused a job: .*invalid partition"),
        open_client("typo.toml"),
    ):
        pass
    assert slurm.jobs(name="deepspot") == []


def test_one_allocation_is_all_workers_each_with_its_gpu(
    slurm: Any, driver: Any, alone: Any
) -> None:
    (driver.folder / "cluster.toml").write_text('cluster = "srun"\ninterface = "lo"\n')
    srun = ["srun", "--nodes=2", "--ntasks-per-node=2", "--gpus-per-node=2"]
    done = subprocess.run(
        [*srun, "--mem=4000", *driver.words],
        cwd=driver.folder,
        env=driver.environment(2.0),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    driver.assert_same(alone)
    assert driver.rows["worker"].nunique() == 4
    left = (driver.folder / "deepspot-jobs").rglob("*")
    assert [path.name for path in left if path.is_file()] == ["over"]


def test_jobs_of_a_run_that_was_killed_end_by_themselves(
    slurm: Any, driver: Any, alone: Any, wait_until: Callable[..., Any]
) -> None:
    process = driver.start(JOBS, seconds=3.0)
    wait_until(lambda: driver.n_started >= 4)
    process.kill()
    process.communicate()
    wait_until(lambda: not slurm.jobs(name="deepspot"))
    driver.run(JOBS)
    driver.assert_same(alone)


def test_jobs_that_die_too_early_are_told_of_and_need_not_be_waited_for(
    slurm: Any, wide_plate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # The first message may come before a job has said why it died.
    monkeypatch.setattr(jobs, "FIRST_MESSAGE", 2.0)
    monkeypatch.setattr(jobs, "NEXT_MESSAGE", 2.0)
    lines = 'prologue = ["module load python || exit 1"]\n'
    (tmp_path / "typo.toml").write_text(JOBS + lines)
    settings = make_settings(channels=("FISH",), enhance=False)
    prepared = prepare_run(wide_plate, str(tmp_path / "run"), settings)
    said: list[str] = []

    def told() -> bool:
        return any("module: command not found" in each for each in said)

    with open_client("typo.toml", say=said.append) as client:
        end = execute_run(prepared, client, stop=told)
    assert told()
    assert (end.done, end.failed) == (0, 0)


def test_jobs_that_are_cancelled_while_they_wait_end_the_run_in_words(
    slurm: Any,
    wide_plate: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., Any],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "FIRST_MESSAGE", 1.0)
    monkeypatch.setattr(jobs, "NEXT_MESSAGE", 1.0)
    monkeypatch.setattr(liveness, "LOOK", 1.0)
    lines = 'directives = ["--hold"]\n'  # they wait until somebody releases them
    (tmp_path / "held.toml").write_text(JOBS + lines)
    settings = make_settings(channels=("FISH",), enhance=False)
    prepared = prepare_run(wide_plate, str(tmp_path / "run"), settings)
    said: list[str] = []
    with open_client("held.toml", say=said.append) as client:
        first, second = sorted(slurm.jobs(name="deepspot"), key=int)
        slurm.call("scancel", first)
        wait_until(lambda: f"job {first} left the queue" in " ".join(said))
        assert f"job {second} left" not in " ".join(said)
        slurm.call("scancel", second)
        with pytest.raises(ClusterError, match=f"no job is left.*{first}, {second}"):
            execute_run(prepared, client)
    assert slurm.jobs(name="deepspot") == []


def test_the_script_of_deploy_submits_itself_again_until_the_run_is_done(
    slurm: Any, driver: Any, alone: Any, wait_until: Callable[..., Any]
) -> None:
    text = (DEPLOY / "slurm.sbatch").read_text()
    changes = {
        "partition=gpu": "partition=short",
        "account=mylab": "comment=none",
        "ntasks-per-node=4": "ntasks-per-node=2",
        "gpus-per-node=4": "gpus-per-node=2",
        "cpus-per-task=8": "cpus-per-task=2",
        "mem-per-cpu=4G": "mem-per-cpu=750M",
        'source "$HOME/deepspot/.venv/bin/activate"': 'cd "$PWD"',
    }
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    # Without it Slurm's plugins for affinity, not in use here, bind a task to one core.
    assert 'srun --kill-on-bad-exit=0 --cpus-per-task="$SLURM_CPUS_PER_TASK"' in text
    (driver.folder / "slurm.sbatch").write_text(text)
    environment = driver.environment(5.0)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    subprocess.run(
        ["sbatch", "slurm.sbatch", *driver.arguments],
        cwd=driver.folder,
        env=environment,
        check=True,
    )
    wait_until(lambda: driver.n_started >= 4)
    (job,) = slurm.jobs(name="deepspot-run")
    slurm.call("scancel", "--signal=USR1", job)  # as Slurm itself warns
    wait_until(lambda: slurm.jobs(name="deepspot-run") not in ([job], []))
    assert "ExitCode=75:0" in slurm.call("scontrol", "show", "job", job)
    wait_until(lambda: not slurm.jobs(name="deepspot-run"), 300)
    assert driver.n_started == 12  # what was in hand was not lost
    driver.assert_same(alone)


def test_a_run_that_the_wall_time_ended_goes_on_by_the_same_command(
    overdue: Any, slurm: Any, alone: Any, wait_until: Callable[..., Any]
) -> None:
    driver, job = overdue
    wait_until(lambda: job not in slurm.jobs(), 150)
    before = len(driver.rows)
    assert 0 < before < 12
    assert "JobState=TIMEOUT" in slurm.call("scontrol", "show", "job", job)
    said = driver.run(JOBS)
    assert f"{before} fields were tried before and are skipped" in said
    driver.assert_same(alone)
