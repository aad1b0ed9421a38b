"""The client's side: sends the status of a run to the scheduler, without waiting.

Tables of fields come in; messages are sent twice a second from the client's event
loop, so dispatching fields never waits for them. Any error is logged once, and the run
continues without a page. Nothing here knows what the page shows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepspot_scale.dashboard import events
from deepspot_scale.dashboard.events import TOPIC
from deepspot_scale.vocabulary import FieldAddress

if TYPE_CHECKING:
    from distributed import Client

INTERVAL = 0.5
"""Seconds between messages; rows that come in meanwhile are sent as one."""
END_TIMEOUT = 5.0
"""Maximum seconds that the end of a run waits for its last message to be sent."""
Announce = Callable[[pd.DataFrame], None]
logger = logging.getLogger(__name__)


@contextmanager
def announce_run(
    client: Client | None,
    run: str,
    left: Iterable[FieldAddress],
    before: pd.DataFrame | None = None,
) -> Iterator[Announce]:
    """Publish a run on a client's scheduler, from its beginning to its end.

    Yields a function that takes the rows of finished fields and returns at once. A
    client that is None publishes nothing; the others are as for `begin_message`.
    """
    if client is None:
        yield lambda _: None
        return
    publisher = _Publisher(client, run)
    publisher.begin(left, before)
    how: events.How = "stopped"
    try:
        yield publisher.publish
        how = "finished"
    finally:
        publisher.end(how)


def page_address(client: Client) -> str:
    """Return the address of the page on a client's scheduler."""
    link = str(client.dashboard_link or "")
    return link.removesuffix("/").removesuffix("/status") + "/deepspot"


class _Publisher:
    """Sends messages from the client's event loop, in order, until one fails."""

    def __init__(self, client: Any, run: str) -> None:
        self.client, self.run = client, run
        self.waiting: deque[pd.DataFrame] = deque()
        self.stopped = True

    def begin(self, left: Iterable[FieldAddress], before: pd.DataFrame | None) -> None:
        """Register the page and publish that the run begins."""
        from deepspot_scale.dashboard.scheduler_plugin import FAULTS, RunPage

        try:
            self.client.register_plugin(RunPage())
            for _, problem in self.client.get_events(FAULTS):
                logger.warning("the live page lacks %s", problem)
            self.client.log_event(TOPIC, events.begin_message(self.run, left, before))
        except Exception as error:  # such as a scheduler without this package
            self._give_up(error)
        else:
            self.stopped = False
            self.lock = asyncio.Lock()
            self.client.loop.add_callback(self._send_regularly)

    def publish(self, rows: pd.DataFrame) -> None:
        """Queue rows for the next message."""
        if not self.stopped:
            self.waiting.append(rows)

    def end(self, how: events.How) -> None:
        """Send the remaining rows, and how the run ended."""
        if self.stopped:
            return
        try:
            self.client.sync(self._finish, how, callback_timeout=END_TIMEOUT)
        except Exception as error:  # the scheduler is gone: the run itself reports it
            self._give_up(error)

    async def _send_regularly(self) -> None:
        while not self.stopped:
            await asyncio.sleep(INTERVAL)
            try:
                await self._send_rows()
            except Exception as error:  # the run continues without its page
                self._give_up(error)

    async def _send_rows(self) -> None:
        async with self.lock:  # messages keep their order
            rows = [self.waiting.popleft() for _ in range(len(self.waiting))]
            if rows:
                table = pd.concat(rows, ignore_index=True)
                await self._send(events.rows_message(self.run, table))

    async def _finish(self, how: events.How) -> None:
        self.stopped = True
        await self._send_rows()
        await self._send(events.end_message(self.run, how))

    async def _send(self, message: events.Message) -> None:
        await self.client.scheduler.log_event(topic=TOPIC, msg=message)

    def _give_up(self, error: Exception) -> None:
        self.stopped = True
        self.waiting.clear()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        logger.warning("the run continues without its live page: %s", reason)
