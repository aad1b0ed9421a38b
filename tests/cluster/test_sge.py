"""A run whose workers are jobs of a real Grid Engine."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cluster

ROOT = Path("/var/lib/gridengine")
"""Of the cell that Debian's packages bring."""
JOBS = """
cluster = "sge"
workers = 2
cores = 2
memory = "2GB"
walltime = "00:30:00"
interface = "lo"
queue = "private.q"
directives = ["-V", "-pe smp 2"]
"""
ENVIRONMENT = """
pe_name smp
slots 99
user_lists NONE
xuser_lists NONE
start_proc_args /bin/true
stop_proc_args /bin/true
allocation_rule $pe_slots
control_slaves FALSE
job_is_first_task TRUE
urgency_slots min
accounting_summary FALSE
qsort_args NONE
"""


def _call(*command: str, check: bool = True, **options: Any) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0 or not check, (command, done.stdout, done.stderr)
    return done.stdout


def _running(name: str) -> list[int]:
    """Return the processes of a daemon, without zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/exe"):
        try:
            if path.resolve().name == name:
                found.append(int(path.parent.name))
        except OSError:  # gone meanwhile, or a kernel's
            continue
    return found


def _configure(folder: Path, host: str) -> None:
    """Make this host a node with one fast queue that root may use too."""
    for flag in ("-ah", "-as"):
        _call("qconf", flag, host, check=False)
    _call("qconf", "-am", "root", check=False)
    settings = {"min_uid": "0", "min_gid": "0", "execd_params": "none"}
    lines = _call("qconf", "-sconf").splitlines()
    kept = [
        line for line in lines if line.split()[:1] and line.split()[0] not in settings
    ]
    text = "\n".join([*kept, *(f"{k} {v}" for k, v in settings.items()), ""])
    (folder / "global").write_text(text)
    _call("qconf", "-Mconf", str(folder / "global"))
    (folder / "smp").write_text(ENVIRONMENT.lstrip())
    _call("qconf", "-Ap", str(folder / "smp"), check=False)
    default = _call("qconf", "-sq").splitlines()  # a queue as it would be by itself
    own = {"qname": "private.q", "hostlist": host, "slots": "8", "pe_list": "smp"}
    own |= {"shell": "/bin/bash", "shell_start_mode": "unix_behavior"}
    own |= {"load_thresholds": "NONE"}
    lines = [line for line in default if line.split()[0] not in own]
    (folder / "queue").write_text(
        "\n".join([*(f"{k} {v}" for k, v in own.items()), *lines, ""])
    )
    _call("qconf", "-Aq", str(folder / "queue"), check=False)
    lines = _call("qconf", "-ssconf").splitlines()
    quick = {"schedule_interval": "0:0:1", "flush_submit_sec": "1"}
    quick |= {"flush_finish_sec": "1"}
    lines = [line for line in lines if line.split()[0] not in quick]
    text = "\n".join([*lines, *(f"{k} {v}" for k, v in quick.items()), ""])
    (folder / "scheduler").write_text(text)
    _call("qconf", "-Msconf", str(folder / "scheduler"))


@pytest.fixture(scope="module")
def grid_engine(
    tmp_path_factory: pytest.TempPathFactory, wait_until: Callable[..., Any]
) -> Iterator[None]:
    """Grid Engine with this machine as its one node."""
    commands = ("sge_qmaster", "sge_execd", "qsub", "qconf")
    missing = [command for command in commands if not shutil.which(command)]
    if missing or os.geteuid():
        pytest.skip(f"needs root and Debian's gridengine; missing: {missing}")
    if _running("sge_qmaster") or _running("sge_execd"):
        pytest.skip("another Grid Engine runs here")
    host = socket.gethostname().partition(".")[0]
    common = ROOT / "default/common"
    (common / "act_qmaster").write_text(f"{host}\n")
    # The way back from 127.0.0.1 leads to localhost: the same machine.
    (common / "host_aliases").write_text(f"{host} localhost\n")
    user = pwd.getpwnam("sgeadmin")
    for name in ("qmaster", "execd"):
        spool = Path("/var/spool/gridengine", name)
        spool.mkdir(parents=True, exist_ok=True)
        for path in (spool, *spool.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGE_ROOT", str(ROOT))
        patch.setenv("SGE_CELL", "default")
        _call("sge_qmaster")
        try:
            wait_until(lambda: _call("qconf", "-sh", check=False))
            _configure(tmp_path_factory.mktemp("sge"), host)
            _call("sge_execd")  # after root may run jobs: it reads that at its start
            wait_until(_is_ready)
            yield
        finally:
            _call("qdel", "-u", "root", "-f", check=False)
            for name in ("sge_execd", "sge_qmaster"):
                for pid in _running(name):
                    os.kill(pid, 15)
            wait_until(lambda: not _running("sge_execd") + _running("sge_qmaster"))


def _is_ready() -> bool:
    """Return whether the node has reported: a state, such as u, means not yet."""
    lines = _call("qstat", "-f", "-q", "private.q", check=False).splitlines()
    rows = [line.split() for line in lines if line.startswith("private.q")]
    return bool(rows) and len(rows[0]) == 5


@pytest.mark.usefixtures("grid_engine")
def test_jobs_of_grid_engine_do_a_run(
    driver: Any, wide_plate: str, alone: Any, wait_until: Callable[..., Any]
) -> None:
    said = driver.run(JOBS, seconds=2.0)  # for both jobs to come
    assert "12 fields done" in said
    driver.assert_same(alone)
    assert driver.rows["worker"].nunique() == 2
    wait_until(lambda: not _call("qstat"))
