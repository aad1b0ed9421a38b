"""Workers as jobs of a batch queue: every queue that dask-jobqueue supports.

Checked options come in, a client goes out; the jobs are cancelled at the end. A queue
is an entry of `QUEUES`, not a class; options that are not set are taken from the
site's ``jobqueue.yaml``. One job runs one worker process, because dask-jobqueue never
replaces one lost worker of a job with several. Nothing here knows what is computed.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from deepspot_scale.cluster.jobs import import_jobqueue, report_waiting, submit
from deepspot_scale.cluster.local import LOOPBACK
from deepspot_scale.cluster.options import GPU, TASKS_AT_A_TIME, Options
from deepspot_scale.cluster.security import (
    Certificates,
    temporary_certificates,
    where_to_listen,
)
from deepspot_scale.cluster.walltime import clock, lifetime, seconds_of
from deepspot_scale.cluster.worker import ENVIRONMENT
from deepspot_scale.errors import SettingsError

if TYPE_CHECKING:
    from distributed import Client

DEFAULTS = {"cores": 4, "memory": "16GB"}
"""Of a job, if neither the options nor the site's configuration set them."""
IDLE_CHECKS = 60
"""Checks, one per second, that a worker idles before an adaptive cluster ends it."""


@dataclass(frozen=True)
class Dialect:
    """How one queue spells the options that all queues have."""

    cluster: str
    """Name of the class in dask-jobqueue."""
    account: str | None
    """Option for the account that pays; None: there is none."""
    gpus: tuple[str, str]
    """Option that requests GPUs, and its usual value."""
    has_limits: bool = True
    """Whether it has named queues and wall times."""
    required: dict[str, Any] = field(default_factory=dict)
    """Options without which dask-jobqueue raises or warns."""


QUEUES = {
    "slurm": Dialect(
        "SLURMCluster", "account", ("job_extra_directives", "--gres=gpu:{gpus}")
    ),
    "pbs": Dialect(
        "PBSCluster",
        "account",
        ("resource_spec", "select=1:ncpus={cores}:mem={megabytes}MB:ngpus={gpus}"),
    ),
    "moab": Dialect(
        "MoabCluster", "account", ("resource_spec", "nodes=1:ppn={cores}:gpus={gpus}")
    ),
    "sge": Dialect("SGECluster", "project", ("job_extra_directives", "-l gpu={gpus}")),
    "lsf": Dialect(
        "LSFCluster", "project", ("job_extra_directives", '-gpu "num={gpus}"')
    ),
    "oar": Dialect(
        "OARCluster",
        "project",
        ("resource_spec", "/nodes=1/gpu={gpus}"),
        required={"memory_per_core_property_name": "not_applicable"},
    ),
    "htcondor": Dialect(
        "HTCondorCluster",
        None,
        ("job_extra_directives", "request_gpus = {gpus}"),
        has_limits=False,
        required={"disk": "4GB"},
    ),
}


class Queue(Options):
    """Jobs of one worker process each."""

    cluster: Literal["slurm", "pbs", "sge", "lsf", "htcondor", "oar", "moab"]
    """The queue."""
    workers: int = Field(1, ge=1)
    """Maximum number of jobs at a time."""
    minimum: int | None = Field(None, ge=0)
    """Minimum number of jobs; None: always `workers`. Lost jobs are replaced."""
    queue: str | None = None
    """Queue or partition."""
    account: str | None = None
    """Account or project that pays."""
    walltime: str | None = None
    """Wall time of each job, ``[days-]hours:minutes:seconds``."""
    cores: int | None = Field(None, ge=1)
    """Processors of each job; the network uses all of them."""
    memory: str | None = None
    """Memory of each job, such as ``16GB``."""
    threads: int = Field(TASKS_AT_A_TIME, ge=1)
    """Fields that a worker has in hand at a time."""
    gpus: int = Field(0, ge=0, le=1)
    """GPUs of each job. For a node with several GPUs in one job use ``srun``."""
    gpu_request: str | None = None
    """The site's request for a GPU, if it is not the queue's usual one."""
    interface: str | None = None
    """Network interface that scheduler and workers use, such as ``ib0``."""
    scheduler_interface: str | None = None
    """The scheduler's interface, if it has another name on that machine."""
    tls: bool | Certificates = True
    """Certificates to use; true: create some for this run; false: none, then anyone on
    the network may run code as you."""
    prologue: tuple[str, ...] = ()
    """Shell lines before the worker's command, such as ``source .../activate``."""
    python: str | None = None
    """Python on the workers; None: the path of the running one."""
    scratch: str | None = None
    """Folder on the node's local disk for data that does not fit in memory; may be
    ``$TMPDIR``."""
    directives: tuple[str, ...] = ()
    """Additional directives of the job script, without ``#SBATCH``."""
    skip_directives: tuple[str, ...] = ()
    """Directives to leave out: those that contain one of these texts."""
    folder: Path = Path("deepspot-jobs")
    """For the jobs' logs and the run's certificates; on a disk that all nodes share."""
    replace_after: float = Field(10.0, gt=0)
    """Seconds that a worker may be lost before its job is replaced."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Additional options of dask-jobqueue's class; they override all others."""

    @field_validator("walltime")
    @classmethod
    def _has_form(cls, walltime: str | None) -> str | None:
        if walltime is not None:
            seconds_of(walltime)
        return walltime

    @model_validator(mode="after")
    def _fits_queue(self) -> Queue:
        known = QUEUES[self.cluster]
        if not known.has_limits and (self.queue, self.walltime) != (None, None):
            raise ValueError(f"{self.cluster} has neither queue nor walltime")
        if known.account is None and self.account is not None:
            raise ValueError(f"{self.cluster} has no account; use directives")
        if self.minimum is not None and self.minimum > self.workers:
            raise ValueError(
                f"minimum must not exceed workers, {self.workers}; got {self.minimum}"
            )
        return self

    @property
    def network_threads(self) -> int:
        """Processor threads that each worker's network may use."""
        return int(self.of_job("cores"))

    @property
    def on_gpus(self) -> bool:
        """Whether every worker has a GPU of its own."""
        return self.gpus > 0

    def of_job(self, name: str) -> Any:
        """Return an option of each job: the user's, the site's, or the default."""
        from dask import config

        given = getattr(self, name)
        if given is None:
            given = config.get(f"jobqueue.{self.cluster}.{name}", None)
        return DEFAULTS.get(name) if given is None else given


def job_options(options: Queue, *, folder: Path) -> dict[str, Any]:
    """Return the keyword arguments for dask-jobqueue's class; logs go to `folder`."""
    known = QUEUES[options.cluster]
    made: dict[str, Any] = {
        **known.required,
        "job_name": "deepspot",
        "processes": 1,
        "cores": options.of_job("cores"),
        "memory": options.of_job("memory"),
        "log_directory": str(folder),
        "worker_extra_args": worker_arguments(options),
        "job_script_prologue": prologue(options),
        "job_extra_directives": list(options.directives),
        "job_directives_skip": list(options.skip_directives),
        "local_directory": options.scratch,
        "interface": options.interface,
        "python": options.python,
    }
    if known.account is not None:
        made[known.account] = options.account
    if known.has_limits:
        made["queue"] = options.queue
        made["walltime"] = _walltime_text(options)
    if options.gpus:
        _request_gpus(options, made)
    if options.cluster == "htcondor":
        pairs = (line.partition("=") for line in made["job_extra_directives"])
        made["job_extra_directives"] = {k.strip(): v.strip() for k, _, v in pairs}
    return {**{k: v for k, v in made.items() if v is not None}, **options.options}


def _request_gpus(options: Queue, made: dict[str, Any]) -> None:
    from dask.utils import parse_bytes

    name, usual = QUEUES[options.cluster].gpus
    text = (options.gpu_request or usual).format(
        gpus=options.gpus,
        cores=made["cores"],
        megabytes=-(-parse_bytes(made["memory"]) // 2**20),
    )
    if name == "job_extra_directives":
        made[name].insert(0, text)
    else:
        made[name] = text


def _walltime_text(options: Queue) -> str | None:
    """Return the wall time in the queue's own format; None: the site's default."""
    if options.walltime is None:
        return None
    lsf = options.cluster == "lsf"
    return clock(seconds_of(options.walltime), with_seconds=not lsf)


def worker_arguments(options: Queue) -> list[str]:
    """Return additional arguments of the worker's command."""
    # The last --nthreads wins. A worker runs few fields at a time; the network of each
    # uses all processors of the job.
    words = ["--nthreads", str(options.threads)]
    # A worker's own dashboard has no password.
    words += ["--dashboard-address", f"{LOOPBACK}:0"]
    if options.gpus:
        words += ["--resources", f"{GPU}={options.gpus}"]
    walltime = options.of_job("walltime")
    if walltime and QUEUES[options.cluster].has_limits:
        mean, spread = lifetime(seconds_of(walltime))
        words += ["--lifetime", f"{mean}s", "--lifetime-stagger", f"{spread}s"]
    return words


def prologue(options: Queue) -> list[str]:
    """Return the shell lines before the worker's command."""
    environment = dict(ENVIRONMENT)
    if "KERAS_BACKEND" in os.environ:
        environment["KERAS_BACKEND"] = os.environ["KERAS_BACKEND"]
    return [
        # Relative paths and the user's own detectors are found as they are here.
        f"cd {shlex.quote(os.getcwd())}",
        *(f"export {name}={shlex.quote(text)}" for name, text in environment.items()),
        *options.prologue,
    ]


@contextmanager
def open_queue(
    options: Queue, *, say: Callable[[str], None] = lambda _: None
) -> Iterator[Client]:
    """Submit jobs and yield their client; cancel them at the end.

    Raises SettingsError if dask-jobqueue is not installed, this machine has no such
    queue, or the queue refuses a job.
    """
    import dask
    from distributed import Client

    kind = getattr(import_jobqueue(), QUEUES[options.cluster].cluster)
    command = kind.job_cls.submit_command.split()[0]
    if shutil.which(command) is None:
        raise SettingsError(
            f"--cluster {options.cluster}: there is no {command} on the PATH; start "
            "on a machine that can submit jobs, such as a login node"
        )
    (folder := options.folder.absolute()).mkdir(0o700, parents=True, exist_ok=True)
    wait = {"distributed.deploy.lost-worker-timeout": f"{options.replace_after}s"}
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(wait))
        listen = where_to_listen(options.scheduler_interface or options.interface)
        scheduler = {**listen, "dashboard_address": f"{LOOPBACK}:0"}
        made: dict[str, Any] = {"scheduler_options": scheduler}
        if options.tls is not False:
            given = options.tls if isinstance(options.tls, Certificates) else None
            files = given or stack.enter_context(temporary_certificates(folder))
            made["security"] = files.security()
        try:
            cluster = kind(**made, **job_options(options, folder=folder))
        except (TypeError, ValueError, OSError) as error:
            raise SettingsError(f"--cluster {options.cluster}: {error}") from error
        stack.enter_context(cluster)
        least = options.workers if options.minimum is None else options.minimum
        submit(cluster, max(1, least), options.cluster)
        limits = {"minimum": least, "maximum": options.workers}
        cluster.adapt(**limits, interval="1s", wait_count=IDLE_CHECKS)
        client = stack.enter_context(Client(cluster, set_as_default=False))
        stack.enter_context(report_waiting(client, folder, say))
        yield client
