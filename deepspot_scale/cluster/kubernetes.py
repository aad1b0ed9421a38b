"""Workers in the pods of a Kubernetes cluster, made by Dask's operator.

Checked options come in, a client goes out; the pods are gone at the end. Nothing here
knows what is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from pydantic import Field

from deepspot_scale.cluster.options import GPU, TASKS_AT_A_TIME, Options
from deepspot_scale.cluster.worker import ENVIRONMENT
from deepspot_scale.errors import SettingsError


class Kubernetes(Options):
    """Pods that the operator of dask-kubernetes makes."""

    cluster: Literal["kubernetes"] = "kubernetes"
    image: str = "deepspot-scale:latest"
    """Container image with this package, for scheduler and workers."""
    namespace: str | None = None
    """None: that of the current context."""
    name: str = "deepspot-scale"
    """Begins the names of all that is made."""
    workers: int = Field(1, ge=1)
    """Most pods of workers."""
    minimum: int | None = Field(None, ge=0)
    """Fewest pods; None: as many as `workers`, all the time."""
    cores: int = Field(2, ge=1)
    """Processors of each pod."""
    memory: str = "8Gi"
    """Memory of each pod, as Kubernetes writes it."""
    gpus: int = Field(0, ge=0, le=1)
    """GPUs of each pod, of which a worker uses one."""
    env: dict[str, str] = Field(default_factory=dict)
    """More variables of the pods' environment."""

    @property
    def network_threads(self) -> int:
        """Processor threads that each worker's network may use."""
        return self.cores

    @property
    def on_gpus(self) -> bool:
        """Whether every worker has a GPU of its own."""
        return self.gpus > 0


@contextmanager
def open_kubernetes(options: Kubernetes) -> Iterator[Any]:
    """Ask the operator for a cluster and yield its client; delete it at the end.

    Raises
    ------
    SettingsError
        The extra ``kubernetes`` is not installed.
    """
    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError as error:
        raise SettingsError(
            "--cluster kubernetes needs: pip install 'deepspot-scale[kubernetes]'"
        ) from error
    from distributed import Client

    with KubeCluster(
        name=options.name,
        namespace=options.namespace,
        image=options.image,
        n_workers=options.workers,
        env={**ENVIRONMENT, **options.env},
        resources=resources_of(options),
        worker_command=worker_command(options),
    ) as cluster:
        if options.minimum is not None:
            cluster.adapt(minimum=options.minimum, maximum=options.workers)
        with Client(cluster, set_as_default=False) as client:
            yield client


def resources_of(options: Kubernetes) -> dict[str, dict[str, str]]:
    """Return what each pod asks for and may use."""
    asked = {"cpu": str(options.cores), "memory": options.memory}
    if options.gpus:
        asked["nvidia.com/gpu"] = str(options.gpus)
    return {"requests": asked, "limits": asked}


def worker_command(options: Kubernetes) -> list[str]:
    """Return the command that a worker's pod runs."""
    command = ["dask", "worker", "--nthreads", str(TASKS_AT_A_TIME)]
    return command + (["--resources", f"{GPU}={options.gpus}"] if options.gpus else [])
