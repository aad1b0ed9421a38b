"""A client for every kind of cluster: the one entry point to workers.

A word, an address or a TOML file comes in; checked options, then a client, go out.
Nothing here knows what is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepspot_scale.cluster.external import PREFIXES, External, open_external
from deepspot_scale.cluster.gpu import Gpus, open_gpus
from deepspot_scale.cluster.kubernetes import Kubernetes, open_kubernetes
from deepspot_scale.cluster.local import Local, open_local
from deepspot_scale.cluster.options import Options, check_options, read_values
from deepspot_scale.cluster.queue import QUEUES, Queue, open_queue
from deepspot_scale.cluster.srun import Allocation, open_allocation, serve_allocation
from deepspot_scale.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from distributed import Client

KINDS: dict[str, type[Options]] = {
    "local": Local,
    "gpu": Gpus,
    **dict.fromkeys(QUEUES, Queue),
    "srun": Allocation,
    "kubernetes": Kubernetes,
}


def read_cluster(cluster: str, *, workers: int | None = None) -> Options:
    """Return the checked options for a word, an address or a file.

    Parameters
    ----------
    cluster
        ``local``, ``gpu``, a queue such as ``slurm``, ``srun``, ``kubernetes``;
        ``tcp://host:port``, ``tls://host:port`` or ``file:scheduler.json`` of a
        running scheduler; or a TOML file whose key ``cluster`` is one of these and
        whose other keys are its options.
    workers
        Processes, jobs or pods; None: what the file says, or the kind's default.

    Raises
    ------
    SettingsError
        An unknown word, an unknown option, or an invalid value.
    """
    where = "--cluster"
    values: dict[str, Any] = {"cluster": cluster}
    if cluster.endswith(".toml"):
        where, values = cluster, read_values(Path(cluster))
    if workers is not None:
        if workers < 1:
            raise SettingsError(f"a run needs at least 1 worker, got {workers}")
        values["workers"] = workers
    word = values["cluster"]
    if word.startswith(PREFIXES):
        # An external scheduler has its own workers; we cannot set their number.
        values = {k: v for k, v in values.items() if k != "workers"}
        return check_options(External, values, where)
    if word not in KINDS:
        raise SettingsError(
            f"a cluster is {', '.join(KINDS)}, tcp://host:port or tls://host:port of "
            f"a scheduler, file:scheduler.json, or a TOML file; got {word!r}."
            + did_you_mean(word, KINDS)
        )
    return check_options(KINDS[word], values, where)


@contextmanager
def open_client(
    cluster: str | Options = "local",
    *,
    workers: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Client]:
    """Start workers or connect to a scheduler; stop what was started at the end.

    Parameters
    ----------
    cluster, workers
        As for `read_cluster`, or what it returned.
    say
        Called with each message for a waiting user.

    Yields
    ------
    distributed.Client

    Raises
    ------
    SettingsError
        There is no such cluster, or it cannot be opened with these options.
    DeviceError
        A cluster of GPUs on a machine that has none.
    """
    if isinstance(cluster, str):
        cluster = read_cluster(cluster, workers=workers)
    with _opened(cluster, say) as client:
        yield client


def _opened(
    cluster: Options, say: Callable[[str], None]
) -> AbstractContextManager[Client]:
    match cluster:
        case Local():
            return open_local(cluster)
        case Gpus():
            return open_gpus(cluster)
        case Queue():
            return open_queue(cluster, say=say)
        case Allocation():
            return open_allocation(cluster)
        case Kubernetes():
            return open_kubernetes(cluster, say=say)
        case External():
            return open_external(cluster)
    raise SettingsError(f"no way to open {cluster!r}")


def serve(cluster: Options) -> bool:
    """Serve as a worker of another process's run, if this one was started for that.

    True: this process was a worker, and the run is over.
    """
    return isinstance(cluster, Allocation) and serve_allocation(cluster)
