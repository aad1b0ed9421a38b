"""The client's side: tells the scheduler how a run stands, without waiting for it.

Tables of fields come in; messages leave twice a second from the client's own loop, so
handing out fields never waits for them. Whatever goes wrong is logged once, and the run
continues without a page. Nothing here knows what is shown.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd

from deepspot_scale.dashboard.events import (
    TOPIC,
    How,
    Message,
    tell_begin,
    tell_end,
    tell_rows,
)
from deepspot_scale.vocabulary import FieldAddress

SECONDS = 0.5
"""Rows that come in within this time leave as one message."""
PATIENCE = 5.0
"""Seconds that the end of a run waits for the scheduler to hear of it."""
Announce = Callable[[pd.DataFrame], None]
logger = logging.getLogger(__name__)


@contextmanager
def announce_run(
    client: Any,
    run: str,
    left: Iterable[FieldAddress],
    before: pd.DataFrame | None = None,
) -> Iterator[Announce]:
    """Tell a client's scheduler of a run, from its beginning to its end.

    Parameters
    ----------
    client
        `distributed.Client`; None tells nobody.
    run
        The run folder.
    left
        The fields to do.
    before
        Rows of the fields that are settled already, columns `vocabulary.FIELDS`.

    Yields
    ------
    callable
        Takes the rows of fields that have come in; returns at once.
    """
    if client is None:
        yield lambda _: None
        return
    teller = _Publisher(client, run)
    teller.begin(left, before)
    how: How = "stopped"
    try:
        yield teller.tell
        how = "finished"
    finally:
        teller.end(how)


def page_address(client: Any) -> str:
    """Return where a client's scheduler shows its runs."""
    link = str(client.dashboard_link or "")
    return link.removesuffix("/").removesuffix("/status") + "/deepspot"


class _Publisher:
    """Sends what it is told from the client's loop, in order, until it cannot."""

    def __init__(self, client: Any, run: str) -> None:
        self.client, self.run = client, run
        self.waiting: deque[pd.DataFrame] = deque()
        self.stopped = True

    def begin(self, left: Iterable[FieldAddress], before: pd.DataFrame | None) -> None:
        """Open the page and say that the run begins."""
        from deepspot_scale.dashboard.scheduler_plugin import FAULTS, RunPage

        try:
            self.client.register_plugin(RunPage())
            for _, problem in self.client.get_events(FAULTS):
                logger.warning("the live page lacks %s", problem)
            self.client.log_event(TOPIC, tell_begin(self.run, left, before))
        except Exception as error:  # such as a scheduler without this package
            self._give_up(error)
        else:
            self.stopped = False
            self.lock = asyncio.Lock()
            self.client.loop.add_callback(self._keep_telling)

    def tell(self, rows: pd.DataFrame) -> None:
        """Take rows, to be sent soon."""
        if not self.stopped:
            self.waiting.append(rows)

    def end(self, how: How) -> None:
        """Send what is left, and how the run ended."""
        if self.stopped:
            return
        try:
            self.client.sync(self._finish, how, callback_timeout=PATIENCE)
        except Exception as error:  # the scheduler has gone: the run says so itself
            self._give_up(error)

    async def _keep_telling(self) -> None:
        while not self.stopped:
            await asyncio.sleep(SECONDS)
            try:
                await self._send_rows()
            except Exception as error:  # the run continues without its page
                self._give_up(error)

    async def _send_rows(self) -> None:
        async with self.lock:  # messages keep their order
            rows = [self.waiting.popleft() for _ in range(len(self.waiting))]
            if rows:
                table = pd.concat(rows, ignore_index=True)
                await self._send(tell_rows(self.run, table))

    async def _finish(self, how: How) -> None:
        self.stopped = True
        await self._send_rows()
        await self._send(tell_end(self.run, how))

    async def _send(self, message: Message) -> None:
        await self.client.scheduler.log_event(topic=TOPIC, msg=message)

    def _give_up(self, error: Exception) -> None:
        self.stopped = True
        self.waiting.clear()
        logger.warning(
            "the run continues without its live page: %s: %s",
            type(error).__name__,
            " ".join(str(error).split()),
        )
