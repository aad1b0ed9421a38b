"""A private Slurm on this machine, a plate with slow fields, and runs.

Slurm's daemons run as root on loopback, below a temporary folder, with two nodes that
claim more processors than there are and two made-up GPUs each; no systemd, no control
groups. Tests are skipped where its packages are not installed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.manifest import read_fields

NODES, GPUS = 2, 2
CONFIGURATION = """
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
ReturnToService=2
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
KillWait=5
MinJobAge=3600
GresTypes=gpu
{nodes}
PartitionName=short Nodes=ALL Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=500
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 "
    "RealMemory=16000 Gres=gpu:made:2 State=UNKNOWN"
)
DEVICES = (
    "NodeName={name} Name=gpu Type=made Flags=nvidia_gpu_env File={folder}/nvidia[0-1]"
)


def wait_until(fact: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Return the value of `fact` once it is true; fail after a number of seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if said := fact():
            return said
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds:.0f} s: {fact}")


@pytest.fixture(scope="session", name="wait_until")
def _wait_until() -> Callable[..., Any]:
    return wait_until


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@dataclass(frozen=True)
class Slurm:
    """Daemons of one private Slurm."""

    folder: Path

    def configure(self) -> None:
        host = socket.gethostname().partition(".")[0]
        ports = _free_ports(1 + NODES)
        names = [f"node{i}" for i in range(NODES)]
        for name in ("state", "spool", "gpu"):
            (self.folder / name).mkdir()
        for gpu in range(GPUS):  # Slurm takes nothing but devices
            os.mknod(self.folder / f"gpu/nvidia{gpu}", 0o20600, os.makedev(240, gpu))
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        devices = (DEVICES.format(name=n, folder=self.folder / "gpu") for n in names)
        text = "\n".join(["AutoDetect=off", *devices, ""])
        (self.folder / "gres.conf").write_text(text)
        pairs = zip(names, ports[1:], strict=True)
        nodes = "\n".join(NODE.format(name=n, host=host, port=p) for n, p in pairs)
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=host, ports=ports, folder=self.folder, nodes=nodes
            )
        )

    def start(self) -> None:
        at = self.folder
        munge = {"key": "munge.key", "socket": "munge.socket", "pid": "munged.pid"}
        munge |= {"log": "munged.log", "seed": "munge.seed"}
        files = {f"{k}-file" if k != "socket" else k: v for k, v in munge.items()}
        self.call("munged", *(f"--{name}={at / file}" for name, file in files.items()))
        conf = str(at / "slurm.conf")
        self.call("slurmctld", "-f", conf)
        for i in range(NODES):
            self.call("slurmd", "-N", f"node{i}", "-f", conf)
        wait_until(
            lambda: self.call("sinfo", "-hNt", "idle", "-o%N").count("node") == 2
        )

    def stop(self) -> None:
        self.call("scancel", "--user=root")  # a job outlives its node's daemon
        wait_until(lambda: not self.jobs())
        for file in (
            "slurmctld.pid",
            "slurmd.node0.pid",
            "slurmd.node1.pid",
            "munged.pid",
        ):
            _end(int((self.folder / file).read_text()), file.partition(".")[0])

    def call(self, *command: str) -> str:
        """Return what a command of Slurm answers."""
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def jobs(self, *, name: str = "", state: str = "all") -> list[str]:
        """Return the ids of the jobs that are not over."""
        words = ["--name", name] if name else []
        states = "PD,R,CG,CF,S" if state == "all" else state
        return self.call("squeue", "-h", "-o%A", "-t", states, *words).split()


def _end(pid: int, name: str) -> None:
    """End one daemon and wait; it may have ended already."""

    def runs() -> bool:
        try:
            return Path(f"/proc/{pid}/exe").resolve().name.startswith(name)
        except OSError:
            return False

    if runs():
        os.kill(pid, 15)
        wait_until(lambda: not runs(), 20)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A Slurm of two nodes; its commands work in this process and its children."""
    missing = [
        c for c in ("slurmctld", "slurmd", "sbatch", "munged") if not shutil.which(c)
    ]
    if missing or os.geteuid():
        pytest.skip(f"needs root and Debian's slurm-wlm and munge; missing: {missing}")
    # Below /tmp: munged wants that nobody else may write to a folder above.
    folder = tmp_path_factory.mktemp("slurm")
    for each in (folder, folder.parent, folder.parent.parent):
        each.chmod(0o755)
    slurm = Slurm(folder)
    slurm.configure()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        slurm.start()
        try:
            yield slurm
        finally:
            slurm.stop()


FIELDS = tuple(f"{row}/0{column}/0" for row in "BCD" for column in range(2, 6))


@pytest.fixture(scope="session")
def wide_plate(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> str:
    """Twelve fields, each large enough to be dispatched alone."""
    scenes = {}
    for seed, path in enumerate(FIELDS):
        scene = draw_scene(seed, (128, 160))
        scenes[path] = replace(scene, image=np.tile(scene.image, (1, 12, 10)))
    target = tmp_path_factory.mktemp("wide") / "plate.zarr"
    return write_plate(target, scenes, masks=(), chunk=1600)


@dataclass(frozen=True)
class Driver:
    """The command ``run`` in a separate process, as from a new shell."""

    plate: str
    folder: Path
    """Where it starts; holds the run, ``RUN``, and the file ``cluster.toml``."""

    @property
    def arguments(self) -> list[str]:
        """What is run on, without where."""
        return [
            *(self.plate, "--channel", "FISH", "--out", "RUN", "--no-enhance"),
            *("--detector", "slow_detector:detector"),
        ]

    @property
    def words(self) -> list[str]:
        """The command line."""
        command = (sys.executable, "-m", "deepspot_scale.cli", "run")
        return [*command, *self.arguments, "--cluster", "cluster.toml"]

    def environment(self, seconds: float) -> dict[str, str]:
        """Return the environment in which each field takes so long."""
        places = (Path(__file__).parent / "detectors", os.environ.get("PYTHONPATH"))
        log = self.folder / "started"
        log.mkdir(exist_ok=True)
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(place) for place in places if place),
            "SLOW_SECONDS": str(seconds),
            "SLOW_LOG": str(log),
            "SSH_CONNECTION": "192.0.2.9 50000 192.0.2.2 22",  # as on a login node
        }

    def start(self, cluster: str, *, seconds: float = 0.0) -> subprocess.Popen[str]:
        """Start the command with a TOML file that says what cluster."""
        (self.folder / "cluster.toml").write_text(cluster)
        return subprocess.Popen(
            self.words,
            cwd=self.folder,
            env=self.environment(seconds),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, cluster: str, *, seconds: float = 0.0) -> str:
        """Run the command to its good end; return what it said."""
        process = self.start(cluster, seconds=seconds)
        return self.finish(process)

    def finish(self, process: subprocess.Popen[str]) -> str:
        """Wait for the command's good end; return what it said."""
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        return said

    @property
    def n_started(self) -> int:
        """Fields begun so far, again or not."""
        return len(list((self.folder / "started").iterdir()))

    @property
    def out(self) -> Folder:
        """The run folder."""
        return Folder(str(self.folder / "RUN"))

    @property
    def rows(self) -> pd.DataFrame:
        """Rows of the fields written so far."""
        return read_fields(self.out)

    def assert_same(self, other: Any) -> None:
        """Fail unless all tables are those of another run, to the last bit."""
        replace(other, folder=self.out).assert_same(other)


@pytest.fixture(scope="session")
def start_driver(
    wide_plate: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Driver]:
    """Return a run on the plate that has not started, in an empty folder."""
    return lambda: Driver(wide_plate, tmp_path_factory.mktemp("driver"))


@pytest.fixture
def driver(start_driver: Callable[[], Driver]) -> Driver:
    """A run on the plate that has not started, in an empty folder."""
    return start_driver()


@pytest.fixture(scope="session")
def alone(
    wide_plate: str,
    tmp_path_factory: pytest.TempPathFactory,
    run_quickly: Callable[..., Any],
) -> Any:
    """The run of `driver` in one process, without any cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent / "detectors")
        return run_quickly(
            wide_plate,
            tmp_path_factory.mktemp("alone") / "run",
            cells=None,
            nuclei=None,
            detector="slow_detector:detector",
        )
