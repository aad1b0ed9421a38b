"""Nobody without the certificate talks to a cluster; pages stay on loopback."""

from __future__ import annotations

import asyncio
import gc
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client, Security, SpecCluster
from distributed import comm as comms
from distributed.scheduler import Scheduler

from deepspot_scale.cluster.client import open_client, read_cluster
from deepspot_scale.cluster.security import (
    Certificates,
    dashboard_lines,
    temporary_certificates,
    where_to_listen,
    write_certificates,
)
from deepspot_scale.errors import SettingsError


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return write_certificates(tmp_path_factory.mktemp("keys") / "tls")


@pytest.fixture(scope="module")
def guarded(certificates: Certificates) -> Iterator[str]:
    """Address of a scheduler that requires certificates."""
    security = certificates.security()
    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    options |= {"protocol": "tls://", "security": security}
    with SpecCluster(
        scheduler={"cls": Scheduler, "options": options}, security=security
    ) as cluster:
        yield cluster.scheduler_address


def test_only_this_user_can_read_the_key(tmp_path: Path) -> None:
    with temporary_certificates(tmp_path) as made:
        assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
        assert stat.S_IMODE(made.key.parent.stat().st_mode) == 0o700
        assert "PRIVATE KEY" in made.key.read_text()
        assert "PRIVATE KEY" not in made.cert.read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_is_an_error(certificates: Certificates) -> None:
    gone = certificates.model_copy(update={"ca": Path("absent.pem")})
    with pytest.raises(SettingsError, match=r"no file absent\.pem"):
        gone.security()


def test_an_interface_that_is_not_there_is_an_error() -> None:
    assert where_to_listen("lo") == {"interface": "lo"}
    with pytest.raises(SettingsError, match=r"'ib7' is not a valid network interface"):
        where_to_listen("ib7")


@pytest.mark.cluster
def test_who_has_the_certificates_is_let_in(
    guarded: str, certificates: Certificates, tmp_path: Path
) -> None:
    names = ("ca", "cert", "key")
    lines = [f'{name} = "{getattr(certificates, name)}"' for name in names]
    file = tmp_path / "there.toml"
    file.write_text("\n".join([f'cluster = "{guarded}"', "[tls]", *lines]))
    with open_client(read_cluster(str(file))) as client:
        assert client.scheduler.address == guarded


@pytest.mark.cluster
@pytest.mark.parametrize("wrong", ["none", "other", "plain"])
def test_who_has_not_is_kept_out(guarded: str, wrong: str) -> None:
    own: dict[str, Any] = {"security": Security.temporary()} if wrong == "other" else {}
    address = guarded.replace("tls", "tcp") if wrong == "plain" else guarded
    with pytest.raises((OSError, TypeError)):
        Client(address, timeout="2s", set_as_default=False, **own)
    # A client that never connected closes when it is collected, and hangs there if that
    # falls into the closing of another one.
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is Client]


@pytest.mark.cluster
def test_a_local_cluster_listens_on_loopback_only() -> None:
    with open_client("local") as client:
        client.wait_for_workers(1)
        me = psutil.Process()
        heard = {
            each.laddr.ip
            for process in (me, *me.children(recursive=True))
            for each in process.net_connections("inet")
            if each.status == psutil.CONN_LISTEN
        }
        assert heard == {"127.0.0.1"}
        assert "http://127.0.0.1:" in dashboard_lines(client)[0]


def _private(dask_worker: Any) -> tuple[str, int]:
    """Return where a worker puts data on disk, and the mode of that folder."""
    scratch = Path(dask_worker.local_directory).parents[1]
    return scratch.name, stat.S_IMODE(scratch.stat().st_mode)


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["local", "gpu"])
def test_other_users_of_this_machine_neither_connect_nor_reach_the_scratch_folder(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with open_client(kind) as client:
        client.wait_for_workers(1)
        workers = client.scheduler_info()["workers"].values()
        told = [client.scheduler.address, *(w["nanny"] for w in workers)]
        told += client.scheduler_info()["workers"]
        assert len(told) == 3
        for address in told:
            assert address.startswith("tls://127.0.0.1:")
        (place,) = client.run(_private).values()
        assert place[0].startswith("deepspot-")
        assert place[1] == 0o700
        for address, security in (
            (told[0].replace("tls", "tcp"), None),
            (told[0], Security.temporary()),
        ):
            with pytest.raises((OSError, TypeError), match=r"(?i)close|connect|tls"):
                _call(address, security)
    assert not list(Path(tempfile.gettempdir()).glob(place[0]))


def _call(address: str, security: Security | None = None) -> None:
    """Connect to a scheduler and say something harmless."""

    async def connect() -> None:
        arguments = {} if security is None else security.get_connection_args("client")
        comm = await comms.connect(address, timeout=5, **arguments)
        try:
            await comm.write({"op": "identity"})
            await comm.read()
        finally:
            comm.abort()

    asyncio.run(connect())


@pytest.mark.cluster
def test_the_way_in_from_outside_is_told_to_who_came_by_ssh(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_client("local") as client:
        monkeypatch.delenv("SSH_CONNECTION", raising=False)
        assert len(dashboard_lines(client)) == 1
        monkeypatch.setenv("SSH_CONNECTION", "192.0.2.9 50000 192.0.2.2 22")
        here, outside = dashboard_lines(client)
        port = here.partition("127.0.0.1:")[2].partition("/")[0]
        assert f"ssh -N -L {port}:127.0.0.1:{port} " in outside
