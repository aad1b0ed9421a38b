"""Who may talk to the workers: certificates, and the way in from outside.

Dask's wire carries code, so whoever can write to it can run anything as the user. On
loopback that is this machine; on a network every connection shows a certificate. The
dashboard has no password at all and never leaves loopback. Nothing here starts a
cluster.
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
from typing import Any
from urllib.parse import urlsplit

from deepspot_scale.config import Strict
from deepspot_scale.dashboard.publisher import page_address
from deepspot_scale.errors import SettingsError


class Certificates(Strict):
    """Files in PEM format that every process of a cluster shows and expects."""

    ca: Path
    """Certificate of the authority that signed the others."""
    cert: Path
    """Certificate of each process."""
    key: Path
    """Its private key."""

    def security(self) -> Any:
        """Return Dask's `Security`, the same for every role.

        Raises
        ------
        SettingsError
            A file that is not there.
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
    """Return the certificates that `write_certificates` wrote into a folder."""
    cert = folder / "cert.pem"
    return Certificates(ca=cert, cert=cert, key=folder / "key.pem")


def write_certificates(folder: Path) -> Certificates:
    """Make a key and its certificate that only this user can read.

    Parameters
    ----------
    folder
        New; made for this user alone, on a file system that the workers see too.

    Raises
    ------
    SettingsError
        ``cryptography`` is not installed.
    """
    from distributed import Security

    try:
        made = Security.temporary()
    except ImportError as error:
        raise SettingsError(
            "making certificates needs: pip install 'deepspot-scale[queue]'; or name "
            "your own under [tls]"
        ) from error
    folder.mkdir(mode=0o700, parents=True)
    files = certificates_in(folder)
    for path, text in (
        (files.key, made.tls_worker_key),
        (files.cert, made.tls_ca_file),
    ):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)) as _:
            path.write_text(text)
    return files


@contextmanager
def made_certificates(folder: Path) -> Iterator[Certificates]:
    """Give certificates made for one cluster, in a folder that is gone at the end."""
    own = folder / f"tls-{secrets.token_hex(8)}"
    try:
        yield write_certificates(own)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def where_to_listen(interface: str | None) -> dict[str, str]:
    """Return Dask's option for the one address that a process listens on.

    Without a named interface it is the address by which this machine reaches others.

    Raises
    ------
    SettingsError
        This machine has no such interface.
    """
    from distributed.utils import get_ip, get_ip_interface

    if interface is None:
        return {"host": get_ip()}
    try:
        get_ip_interface(interface)
    except ValueError as error:
        raise SettingsError(f"interface: {error}") from error
    return {"interface": interface}


def dashboard_lines(client: Any) -> list[str]:
    """Return where the live page is, and how to see it from another machine."""
    services = client.scheduler_info(n_workers=0)["services"]
    port = services.get("dashboard")
    if port is None:
        return []
    # Another's scheduler, or one in a pod: it says where.
    if not hasattr(getattr(client, "cluster", None), "scheduler_spec"):
        return [f"live page: {page_address(client)}"]
    lines = [f"live page: http://127.0.0.1:{port}/deepspot"]
    if not _is_here(client) or "SSH_CONNECTION" in os.environ:
        host, user = socket.getfqdn(), getpass.getuser()
        lines.append(
            f"from your own machine: ssh -N -L {port}:127.0.0.1:{port} {user}@{host}, "
            "then the same address"
        )
    return lines


def _is_here(client: Any) -> bool:
    host = urlsplit(client.scheduler.address).hostname or ""
    return host.startswith("127.")
