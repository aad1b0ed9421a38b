"""Requests of a study's page, and which of them are answered.

A session comes in; an application that answers requests goes out. Answers are written
by one thread and pictures drawn by others, so nobody waits for somebody else's picture;
the next question is sent only once the answer is on the disk. Nothing here knows what
is asked, or where the page is served.

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
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from tornado.web import Application, HTTPError, RequestHandler

from deepspot_scale.errors import FieldError, StudyError
from deepspot_scale.expert_study.access import EXPERT_HEADER, TOKEN_HEADER
from deepspot_scale.expert_study.page import page, page_policy
from deepspot_scale.expert_study.pictures import Pictures
from deepspot_scale.expert_study.session import Session, State

_DRAWERS: Final = 2
"""Threads that draw pictures."""


class Desk:
    """What all requests share: the session and the threads that work for it."""

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

    desk: Desk

    def initialize(self, desk: Desk) -> None:
        """Take what all requests share."""
        self.desk = desk

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
        access, headers = self.desk.session.access, self.request.headers
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
        headers, session = self.request.headers, self.desk.session
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
        self.finish(await self.desk.ask(self.desk.session.state, self.expert, back))


class _Answer(_OfExpert):
    async def post(self) -> None:
        said, session = self.body(), self.desk.session
        try:
            state = await self.desk.ask(session.keep, self.expert, said)
        except StudyError as error:
            raise HTTPError(400, reason=_one_line(error)) from error
        self.finish(state)


class _Consent(_OfExpert):
    async def post(self) -> None:
        self.body()
        self.finish(await self.desk.ask(self.desk.session.agree, self.expert))


class _Image(_OfExpert):
    async def get(self, name: str) -> None:
        session = self.desk.session
        try:
            path = await self.desk.ask(session.image_path, self.expert, name)
            picture = await self.desk.draw(path)
        except (StudyError, FieldError) as error:
            raise HTTPError(404, reason="This image cannot be shown") from error
        self.set_header("Content-Type", "image/png")
        self.set_header("X-Study-Low", f"{picture.low:.6g}")
        self.set_header("X-Study-High", f"{picture.high:.6g}")
        self.finish(picture.png)


def make_application(desk: Desk) -> Application:
    """Return the application that answers requests."""
    given = {"desk": desk}
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
