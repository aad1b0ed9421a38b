"""The server of a study's page: Tornado, which comes with Dask.

A session comes in; requests are answered until the server is told to stop. Answers are
written by one thread and pictures drawn by others, so nobody waits for somebody else's
picture; the next question is sent only once the answer is on the disk. Nothing here
knows what is asked.

    GET  /                  the page, the same for everyone, which loads nothing else
    POST /api/state         what an expert is asked now
    POST /api/answer        an answer; what is asked next
    POST /api/consent       the expert agrees
    GET  /image/ID          PNG of a question's image

All but the page need the header with the expert's pseudonym, and a token if others can
reach the server.
"""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from tornado.httpserver import HTTPServer
from tornado.web import Application, HTTPError, RequestHandler

from deepspot_scale.errors import FieldError, SettingsError, StudyError
from deepspot_scale.expert_study.access import (
    EXPERT_HEADER,
    TOKEN_HEADER,
    Access,
)
from deepspot_scale.expert_study.page import page, page_policy
from deepspot_scale.expert_study.pictures import Pictures
from deepspot_scale.expert_study.session import Session, State
from deepspot_scale.io.study_comparisons import Comparison
from deepspot_scale.io.study_folder import (
    Study,
    list_images,
    read_image,
    study_key,
)

_LARGEST_REQUEST: Final = 1 << 14
"""Bytes of a request's body at most."""
_DRAWERS: Final = 2
"""Threads that draw pictures."""


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


class _Server:
    """What all requests share."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.pictures = Pictures()
        self.writer = ThreadPoolExecutor(1, "answers")
        self.drawers = ThreadPoolExecutor(_DRAWERS, "pictures")

    async def ask(self, work: Callable[..., Any], *values: Any) -> Any:
        """Do what reads or writes answers, one after the other."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.writer, work, *values)

    async def draw(self, path: Path) -> Any:
        """Draw a picture beside other work."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.drawers, self.pictures.draw, path)

    def close(self) -> None:
        """Finish what was begun."""
        self.writer.submit(self.session.close).result()
        self.writer.shutdown()
        self.drawers.shutdown(cancel_futures=True)


class _Guarded(RequestHandler):
    """A request that is answered only if it is from our own page."""

    server: _Server

    def initialize(self, server: _Server) -> None:
        """Take what all requests share."""
        self.server = server

    def set_default_headers(self) -> None:
        """Forbid caching, guessing and framing."""
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Frame-Options", "DENY")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Content-Security-Policy", page_policy())
        self.clear_header("Server")

    def prepare(self) -> None:
        """Refuse other hosts and other sites."""
        access, headers = self.server.session.access, self.request.headers
        if not access.knows_host(self.request.host):
            raise HTTPError(421, reason="This server has another name")
        if not access.knows_origin(headers.get("Origin"), self.request.host):
            raise HTTPError(403, reason="Requests of other sites are refused")
        if headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
            self.refuse_other_site()

    def refuse_other_site(self) -> None:
        """Refuse what another site asks for."""
        raise HTTPError(403, reason="Requests of other sites are refused")

    def write_error(self, status_code: int, **_: Any) -> None:
        """Say what is wrong, without details of this machine."""
        self.finish({"error": self._reason})


class _Page(_Guarded):
    def refuse_other_site(self) -> None:
        """Allow a link in a message to the page, which holds nothing of the study."""

    def get(self) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(page())


class _OfExpert(_Guarded):
    """A request of an expert, who is known by the end of `prepare`."""

    expert: str

    def prepare(self) -> None:
        """Refuse who is not let in."""
        super().prepare()
        headers, session = self.request.headers, self.server.session
        if EXPERT_HEADER not in headers:
            raise HTTPError(403, reason="No pseudonym was given")
        name, token = unquote(headers[EXPERT_HEADER]), headers.get(TOKEN_HEADER, "")
        try:
            known = session.check(name)
        except StudyError as error:
            # A guess learns nothing of who takes part.
            if session.access.needs_token:
                raise HTTPError(403, reason=_NO_ENTRY) from error
            raise HTTPError(403, reason=_one_line(error)) from error
        if not session.access.allows(known, token):
            raise HTTPError(403, reason=_NO_ENTRY)
        self.expert = known

    def body(self) -> State:
        """Return the values that were sent."""
        kind = self.request.headers.get("Content-Type", "")
        try:
            read = json.loads(self.request.body)
        except ValueError as error:
            raise HTTPError(400, reason="Expected JSON") from error
        if kind.partition(";")[0].strip() != "application/json" or not isinstance(
            read, dict
        ):
            raise HTTPError(400, reason="Expected JSON")
        return read


_NO_ENTRY: Final = "This link is not valid. Ask for your own link"


def _one_line(error: Exception) -> str:
    """Return an error's words as a header can hold them."""
    return " ".join(str(error).split()).encode("ascii", "replace").decode()[:200]


class _State(_OfExpert):
    async def post(self) -> None:
        back = self.body().get("back", 0)
        if isinstance(back, bool) or not isinstance(back, int):
            raise HTTPError(400, reason="back: expected a whole number")
        self.finish(await self.server.ask(self.server.session.state, self.expert, back))


class _Answer(_OfExpert):
    async def post(self) -> None:
        said, session = self.body(), self.server.session
        try:
            state = await self.server.ask(session.keep, self.expert, said)
        except StudyError as error:
            raise HTTPError(400, reason=_one_line(error)) from error
        self.finish(state)


class _Consent(_OfExpert):
    async def post(self) -> None:
        self.body()
        self.finish(await self.server.ask(self.server.session.agree, self.expert))


class _Image(_OfExpert):
    async def get(self, name: str) -> None:
        session = self.server.session
        try:
            path = await self.server.ask(session.image_path, self.expert, name)
            picture = await self.server.draw(path)
        except (StudyError, FieldError) as error:
            raise HTTPError(404, reason="This image cannot be shown") from error
        self.set_header("Content-Type", "image/png")
        self.set_header("X-Study-Low", f"{picture.low:.6g}")
        self.set_header("X-Study-High", f"{picture.high:.6g}")
        self.finish(picture.png)


def make_application(server: _Server) -> Application:
    """Return the application that answers requests."""
    given = {"server": server}
    return Application(
        [
            (r"/", _Page, given),
            (r"/api/state", _State, given),
            (r"/api/answer", _Answer, given),
            (r"/api/consent", _Consent, given),
            (r"/image/([0-9a-f]{32})", _Image, given),
        ],
        log_function=lambda _: None,
        default_handler_class=_Absent,
        default_handler_args=given,
    )


class _Absent(_Guarded):
    def prepare(self) -> None:
        """Say that there is nothing."""
        super().prepare()
        raise HTTPError(404)


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
    _server: _Server

    async def close(self) -> None:
        """Answer no more, and finish what was begun."""
        self._http.stop()
        await self._http.close_all_connections()
        self._server.close()


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
    server = _Server(session)
    http = HTTPServer(
        make_application(server),
        ssl_options=context,
        max_body_size=_LARGEST_REQUEST,
        max_buffer_size=4 * _LARGEST_REQUEST,
        idle_connection_timeout=600,
    )
    http.add_socket(listening)
    return Running(session, http, server)


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
