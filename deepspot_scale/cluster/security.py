"""Certificates of a cluster, its network address, and access to its dashboard.

Dask's messages carry code, so whoever can send one can run anything as the user: on a
network, and on loopback every user of this machine. Every connection must therefore
present a certificate. The dashboard has no password and listens on loopback only: users
of this machine can see it, but it takes no code. Nothing here starts a cluster.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from deepspot_scale.config import Strict
from deepspot_scale.dashboard.publisher import page_address
from deepspot_scale.errors import SettingsError

if TYPE_CHECKING:
    from distributed import Client, Security


class Certificates(Strict):
    """PEM files that every process of a cluster presents and requires."""

    ca: Path
    """Certificate of the authority that signed the others."""
    cert: Path
    """Certificate of each process."""
    key: Path
    """Its private key."""

    def security(self) -> Security:
        """Return Dask's `Security`, the same for every role.

        Raises SettingsError if a file does not exist.
        """
        from distributed import Security

        for path in (self.ca, self.cert, self.key):
            if not path.is_file():
                raise SettingsError(f"tls: there is no file {path}")
        roles = {
            f"tls_{role}_{part}": str(path.absolute())
            for role in ("client", "scheduler", "worker")
            for part, path in (("cert", self.cert), ("key", self.key))
        }
        ca = str(self.ca.absolute())
        return Security(require_encryption=True, tls_ca_file=ca, **roles)


def certificates_in(folder: Path) -> Certificates:
    """Return the certificates that `write_certificates` wrote to a folder."""
    cert = folder / "cert.pem"
    return Certificates(ca=cert, cert=cert, key=folder / "key.pem")


def memory_certificates() -> Security:
    """Return a new key and its certificate, which are in no file.

    They hold for one cluster, and reach its processes through their pipes.
    """
    from distributed import Security

    made: Security = Security.temporary()
    return made


@contextmanager
def private_scratch() -> Iterator[dict[str, str]]:
    """Create a folder for what workers put on disk, and delete it at the end.

    Yields Dask's option that names it. It has mode 700: Dask reads pickles from there,
    which carry code, and its own folder in ``/tmp`` may be another user's.
    """
    import dask

    place = dask.config.get("temporary-directory", None)
    with TemporaryDirectory(
        prefix="deepspot-", dir=place, ignore_cleanup_errors=True
    ) as own:
        yield {"temporary-directory": own}


def write_certificates(folder: Path) -> Certificates:
    """Create a key and its certificate, readable by this user only.

    The folder is created with mode 700; it must be on a disk that the workers share.
    """
    made: Any = memory_certificates()  # what its type leaves out
    folder.mkdir(mode=0o700, parents=True)
    files = certificates_in(folder)
    texts = {files.key: made.tls_worker_key, files.cert: made.tls_ca_file}
    for path, text in texts.items():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)) as _:
            path.write_text(text)
    return files


@contextmanager
def temporary_certificates(folder: Path) -> Iterator[Certificates]:
    """Create certificates for one cluster and delete them at the end."""
    own = folder / f"tls-{secrets.token_hex(8)}"
    try:
        yield write_certificates(own)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def where_to_listen(interface: str | None) -> dict[str, str]:
    """Return Dask's option for the one address that a process listens on.

    Without an interface it is the address from which this machine reaches others.
    Raises SettingsError if this machine has no such interface.
    """
    from distributed.utils import get_ip, get_ip_interface

    if interface is None:
        return {"host": get_ip()}
    try:
        get_ip_interface(interface)
    except ValueError as error:
        raise SettingsError(f"interface: {error}") from error
    return {"interface": interface}


def dashboard_lines(client: Client) -> list[str]:
    """Return the address of the live page, and how to reach it from elsewhere."""
    services = client.scheduler_info(n_workers=0)["services"]
    port = services.get("dashboard")
    if port is None:
        return []
    # An external scheduler, or one in a pod, reports its own address.
    if not hasattr(getattr(client, "cluster", None), "scheduler_spec"):
        return [f"live page: {page_address(client)}"]
    lines = [f"live page: http://127.0.0.1:{port}/deepspot"]
    address: Any = client.scheduler  # what its type leaves out
    scheduler = str(urlsplit(address.address).hostname or "")
    if not scheduler.startswith("127.") or "SSH_CONNECTION" in os.environ:
        host, user = socket.getfqdn(), getpass.getuser()
        lines.append(
            f"from your own machine: ssh -N -L {port}:127.0.0.1:{port} {user}@{host}, "
            "then the same address"
        )
    return lines
