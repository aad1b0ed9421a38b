"""Workers in the pods of a Kubernetes cluster, created by Dask's operator.

Checked options come in; the operator's manifest, then a client, go out. The pods are
deleted at the end. Nothing here knows what is computed.

The operator, and dask-kubernetes in the client, speak plain TCP to the scheduler and
do not support TLS. The pods listen on the cluster's pod network;
``deploy/kubernetes/network.yaml`` blocks every other client there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from deepspot_scale.cluster.options import GPU, TASKS_AT_A_TIME, Options
from deepspot_scale.cluster.worker import ENVIRONMENT
from deepspot_scale.errors import SettingsError
from deepspot_scale.plugins import install_line

if TYPE_CHECKING:
    from distributed import Client

Manifest = dict[str, Any]
"""What ``kubectl apply`` reads, as a dictionary."""
GPU_RESOURCE = "nvidia.com/gpu"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$"
SCHEDULER_PORT, DASHBOARD_PORT = 8786, 8787
"""The operator expects these."""


class Kubernetes(Options):
    """Pods that the operator of dask-kubernetes creates."""

    cluster: Literal["kubernetes"] = "kubernetes"
    image: str = "deepspot-scale:latest"
    """Container image with this package, for scheduler and workers."""
    namespace: str | None = None
    """None: the namespace of the current context."""
    name: str = Field("deepspot-scale", pattern=r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$")
    """Prefix of the names of all created resources."""
    workers: int = Field(1, ge=1)
    """Maximum number of worker pods."""
    minimum: int | None = Field(None, ge=0)
    """Minimum number of worker pods; None: always `workers`."""
    cores: int = Field(2, ge=1)
    """Processors of each worker's pod."""
    memory: str = Field("8Gi", pattern=QUANTITY)
    """Memory of each worker's pod, as Kubernetes writes it."""
    scheduler_memory: str = Field("2Gi", pattern=QUANTITY)
    """Memory of the scheduler's pod; it needs one processor and no GPU."""
    gpus: int = Field(0, ge=0, le=1)
    """GPUs of each worker's pod; a worker uses one at most."""
    env: dict[str, str] = Field(default_factory=dict)
    """Additional environment variables of the pods."""
    secrets: tuple[str, ...] = ()
    """Secrets whose keys become variables, such as an object store's credentials."""
    volumes: dict[str, str] = Field(default_factory=dict)
    """Persistent volume claims and their mount points: ``plates = "/data"``."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels of the nodes that workers may run on."""
    user: int = Field(1000, ge=1)
    """User and group id of the pods and of the files that they write."""
    idle_timeout: int = Field(900, ge=0)
    """Seconds without work until everything is deleted, in case the client has died.
    0: never."""

    @property
    def network_threads(self) -> int:
        """Processor threads that each worker's network may use."""
        return self.cores

    @property
    def on_gpus(self) -> bool:
        """Whether every worker has a GPU of its own."""
        return self.gpus > 0


@contextmanager
def open_kubernetes(
    options: Kubernetes, *, say: Callable[[str], None] = lambda _: None
) -> Iterator[Client]:
    """Ask the operator for a cluster and yield its client; delete it at the end.

    If a dead client left a cluster of the same name behind, that one is used. Raises
    SettingsError if the extra ``kubernetes`` is not installed.
    """
    try:
        from dask_kubernetes.operator import KubeCluster
    except ImportError as error:
        raise SettingsError(
            f"--cluster kubernetes needs: {install_line('kubernetes')}"
        ) from error
    from distributed import Client

    with KubeCluster(
        custom_cluster_spec=cluster_manifest(options),
        namespace=options.namespace,
        shutdown_on_close=True,
        quiet=True,
    ) as cluster:
        if options.minimum is not None:
            cluster.adapt(minimum=options.minimum, maximum=options.workers)
        say(
            f"from outside: kubectl --namespace {cluster.namespace} port-forward "
            f"service/{options.name}-scheduler {DASHBOARD_PORT}, then "
            f"http://127.0.0.1:{DASHBOARD_PORT}/deepspot"
        )
        with Client(cluster, set_as_default=False) as client:
            yield client


def cluster_manifest(options: Kubernetes) -> Manifest:
    """Return the ``DaskCluster`` from which the operator creates pods and a service."""
    return {
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskCluster",
        "metadata": {"name": options.name},
        "spec": {
            "idleTimeout": options.idle_timeout,
            "scheduler": {
                "spec": _pod(options, scheduler_container(options)),
                "service": scheduler_service(options),
            },
            "worker": {
                "replicas": options.workers,
                "spec": _pod(options, worker_container(options)) | _placement(options),
            },
        },
    }


def scheduler_container(options: Kubernetes) -> Manifest:
    """Return the scheduler's container, with probes for its health."""
    resources = {"cpu": "1", "memory": options.scheduler_memory}
    health = {"path": "/health", "port": "http-dashboard"}
    return {
        **_container(options, "scheduler", resources),
        "args": ["scheduler", "--host", "0.0.0.0"],
        "ports": [
            {"name": "tcp-comm", "containerPort": SCHEDULER_PORT},
            {"name": "http-dashboard", "containerPort": DASHBOARD_PORT},
        ],
        "readinessProbe": {"httpGet": health, "periodSeconds": 2},
        "livenessProbe": {
            "httpGet": health,
            "initialDelaySeconds": 30,
            "periodSeconds": 20,
            "failureThreshold": 6,
        },
    }


def worker_container(options: Kubernetes) -> Manifest:
    """Return a worker's container: one process that reads while its network runs."""
    resources = {"cpu": str(options.cores), "memory": options.memory}
    threads, volumes = str(TASKS_AT_A_TIME), options.volumes.items()
    args = ["worker", "--name", "$(DASK_WORKER_NAME)", "--nthreads", threads]
    # A worker's own dashboard has no password, and nobody needs it.
    args += ["--no-dashboard", "--death-timeout", "120"]
    if options.gpus:
        resources[GPU_RESOURCE] = str(options.gpus)
        args += ["--resources", f"{GPU}={options.gpus}"]
    return {
        **_container(options, "worker", resources),
        "args": args,
        "volumeMounts": [{"name": c, "mountPath": p} for c, p in volumes],
    }


def scheduler_service(options: Kubernetes) -> Manifest:
    """Return the service through which the others reach the scheduler."""
    ports = {"tcp-comm": SCHEDULER_PORT, "http-dashboard": DASHBOARD_PORT}
    return {
        "type": "ClusterIP",
        "selector": {
            "dask.org/cluster-name": options.name,
            "dask.org/component": "scheduler",
        },
        "ports": [
            {"name": name, "protocol": "TCP", "port": port, "targetPort": name}
            for name, port in ports.items()
        ],
    }


def _container(options: Kubernetes, name: str, resources: dict[str, str]) -> Manifest:
    """Return what both containers share; requested resources are also the limits."""
    env = {**ENVIRONMENT, **options.env}
    return {
        "name": name,
        "image": options.image,
        # Replaces the image's own entry point.
        "command": ["dask"],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "envFrom": [{"secretRef": {"name": secret}} for secret in options.secrets],
        "resources": {"requests": resources, "limits": resources},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _pod(options: Kubernetes, container: Manifest) -> Manifest:
    return {
        "containers": [container],
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": options.user,
            "runAsGroup": options.user,
            "fsGroup": options.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _placement(options: Kubernetes) -> Manifest:
    """Return what only worker pods have: volumes, and the choice of nodes."""
    placement: Manifest = {
        "volumes": [
            {"name": claim, "persistentVolumeClaim": {"claimName": claim}}
            for claim in options.volumes
        ],
        "nodeSelector": options.node_selector,
    }
    if options.gpus:  # GPU nodes are often tainted against other pods
        placement["tolerations"] = [
            {"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}
        ]
    return placement
