"""The server of a study's page: Tornado, which comes with Dask.

A session and a place come in; requests are answered until the server is told to stop.
Nothing here knows what is requested.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tornado.httpserver import HTTPServer

from deepspot_scale.errors import SettingsError
from deepspot_scale.expert_study.access import Access
from deepspot_scale.expert_study.requests import Desk, make_application
from deepspot_scale.expert_study.session import Session
from deepspot_scale.io.study_comparisons import Comparison
from deepspot_scale.io.study_folder import (
    Study,
    list_images,
    read_image,
    study_key,
)

_LARGEST_REQUEST: Final = 1 << 14
"""Bytes of a request's body at most."""


@dataclass(frozen=True)
class Place:
    """Where the page is served."""

    host: str = "127.0.0.1"
    """Loopback: only users of this machine; else each expert needs a token."""
    port: int = 0
    """0: any free one."""
    certificate: Path | None = None
    """PEM files for HTTPS; None: HTTP."""
    private_key: Path | None = None


def serve_study(
    folder: Path,
    study: Study,
    place: Place,
    *,
    comparison: Comparison | None = None,
    say: Callable[[str], None],
) -> None:
    """Serve a study's page until the process is told to stop.

    Parameters
    ----------
    folder
        Of the study.
    study
        What is in it.
    place
        Where it is served.
    comparison
        What is compared; None: images are rated.
    say
        Takes the links of experts, a line each.

    Raises
    ------
    SettingsError
        The place cannot be used, or experts who need a link are not named.
    StudyError, FieldError
        An image cannot be shown.
    """
    access = Access(study_key(folder), place.host, place.port)
    if access.needs_token and not study.experts:
        raise SettingsError(
            f"--host {place.host} lets others in: name the experts (--experts "
            "anna,ben), each of whom gets a link"
        )
    for path in list_images(folder).values():
        read_image(path)  # an expert could not go past one that is damaged
    asyncio.run(_serve(Session(folder, study, access, comparison), place, say))


@dataclass(frozen=True)
class Running:
    """A server that answers; close it in the loop that it was started in."""

    session: Session
    """With the port that was found."""
    _http: HTTPServer
    _desk: Desk

    async def close(self) -> None:
        """Answer no more, and finish what was begun."""
        self._http.stop()
        await self._http.close_all_connections()
        self._desk.close()


def start(session: Session, place: Place) -> Running:
    """Start to answer requests in the running loop.

    Raises SettingsError if the place cannot be used.
    """
    context = _certificates(place)
    try:
        listening = _listen(place)
    except OSError as error:
        raise SettingsError(
            f"--host {place.host} --port {place.port}: {error.strerror or error}. Give "
            "another port, or 0 for any that is free"
        ) from error
    port = listening.getsockname()[1]
    session.access = replace(session.access, port=port, secure=context is not None)
    desk = Desk(session)
    http = HTTPServer(
        make_application(desk),
        ssl_options=context,
        max_body_size=_LARGEST_REQUEST,
        max_buffer_size=4 * _LARGEST_REQUEST,
        idle_connection_timeout=600,
    )
    http.add_socket(listening)
    return Running(session, http, desk)


def _listen(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listening = socket.create_server((place.host, place.port), family=family)
    listening.setblocking(False)
    return listening


async def _serve(session: Session, place: Place, say: Callable[[str], None]) -> None:
    running = start(session, place)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows Ctrl-C is an exception
            loop.add_signal_handler(number, stop.set)
    for line in welcome(session):
        say(line)
    try:
        await stop.wait()
    finally:
        await running.close()


def welcome(session: Session) -> list[str]:
    """Return the links that experts are given, a line each."""
    access, experts = session.access, session.study.experts
    lines = [f"{expert}: {access.link(expert)}" for expert in experts]
    if not lines:
        lines = [f"page: {access.link()}"]
    if access.needs_token and not access.secure:
        lines.append(
            "warning: links and answers cross the network as they are; give "
            "--certificate and --private-key, or use loopback and ssh -L"
        )
    return [*lines, "Ctrl-C stops the server; answers are kept as they are given"]


def _certificates(place: Place) -> ssl.SSLContext | None:
    if place.certificate is None:
        if place.private_key is not None:
            raise SettingsError("--private-key needs --certificate")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(place.certificate, place.private_key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"--certificate {place.certificate}: no PEM file with its key: {error}"
        ) from error
    return context
