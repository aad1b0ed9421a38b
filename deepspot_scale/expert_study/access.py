"""Who may ask the server of a study what: tokens, hosts and origins.

A study's key, words of a request and the place of listening come in; yes or no, names
and links go out. On loopback every user of this machine can take part; elsewhere each
expert has a link with a token. A page of another site can neither read nor answer: its
name is not among the hosts (DNS rebinding), its origin is not ours, and it cannot send
the header that every request needs. Nothing here knows Tornado.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

EXPERT_HEADER: Final = "X-Study-Expert"
TOKEN_HEADER: Final = "X-Study-Token"
_LETTERS: Final = 32
"""Of tokens and of the names that images have on the page; 128 bits."""


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


@dataclass(frozen=True)
class Access:
    """What a study's key and its place of listening allow."""

    key: bytes
    """Secret of the study."""
    host: str = "127.0.0.1"
    """Where it listens."""
    port: int = 0
    secure: bool = False
    """Whether by HTTPS."""

    @property
    def needs_token(self) -> bool:
        """Whether an expert has to show a token."""
        return not is_loopback(self.host)

    def token(self, expert: str) -> str:
        """Return the token of an expert, the same at each start."""
        return self._digest("token", expert)

    def allows(self, expert: str, token: str) -> bool:
        """Return whether a token is that of an expert, in a time that tells nothing."""
        if not self.needs_token:
            return True
        return hmac.compare_digest(self.token(expert).encode(), token.encode())

    def public_name(self, image: str) -> str:
        """Return the name that an image has on the page, which says nothing of it."""
        return self._digest("image", image)

    def _digest(self, kind: str, word: str) -> str:
        words = f"{kind}\0{word}".encode()
        return hmac.new(self.key, words, hashlib.sha256).hexdigest()[:_LETTERS]

    def knows_host(self, header: str) -> bool:
        """Return whether a request's Host is one that we are called by.

        An address is: a site that rebinds its name to us is called by that name.
        """
        name = _host_name(header)
        if _address(name) is not None:
            return not is_loopback(self.host) or is_loopback(name)
        names = {"localhost", self.host.lower()}
        if not is_loopback(self.host):
            names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        return name in names

    def knows_origin(self, origin: str | None, host: str) -> bool:
        """Return whether a request is from our own page, as its browser says.

        A browser that names no origin sent no request to another site.
        """
        if origin is None:
            return True
        scheme = "https" if self.secure else "http"
        return origin.lower() == f"{scheme}://{host.lower()}"

    def link(self, expert: str = "") -> str:
        """Return the page's address, for an expert with name and token.

        They stand behind #, so they are in no request line and no log.
        """
        host = self._shown_host()
        scheme = "https" if self.secure else "http"
        place = f"{scheme}://{host}:{self.port}/"
        if not expert:
            return place
        words = f"expert={quote(expert)}"
        if self.needs_token:
            words += f"&token={self.token(expert)}"
        return f"{place}#{words}"

    def _shown_host(self) -> str:
        address = _address(self.host)
        if address is None:
            return self.host
        if address.is_unspecified:
            return socket.getfqdn()
        return f"[{address}]" if address.version == 6 else str(address)


def _host_name(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""
