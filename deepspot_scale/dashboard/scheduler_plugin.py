"""The scheduler's side: listens to runs, and serves page, JSON and metrics.

Messages of the event log come in, HTTP answers go out. Nothing here knows workers,
fields' files or networks.

Dask promises `SchedulerPlugin` and the event log to its users; how its dashboard is
put together it does not. Each part that needs the latter is added by itself, and what
cannot be added is logged (`FAULTS`) and left out: the page falls back to a plain one,
and a run never waits for any of it.

    http://HOST:8787/deepspot         the page
    http://HOST:8787/deepspot.json    its numbers; ?run=RUN for another than the last
    http://HOST:8787/metrics          with Dask's own, for Prometheus
"""

from __future__ import annotations

import json
import logging
import time
from functools import partial
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.http.utils import RequestHandler

from deepspot_scale.dashboard import markup
from deepspot_scale.dashboard.events import TOPIC
from deepspot_scale.dashboard.state import Runs

FAULTS = "deepspot-page"
"""Name under which the scheduler logs what could not be served, and why."""
PAGE = "deepspot"
logger = logging.getLogger(__name__)


class RunPage(SchedulerPlugin):
    """Counts what runs tell a scheduler, and shows it.

    Registered by the client of a run, or with the scheduler itself:
    ``dask scheduler --preload deepspot_scale.dashboard.scheduler_plugin``.
    """

    name = "deepspot-page"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Catch up with what was told before, then serve whatever can be served."""
        self.scheduler = scheduler
        self.runs = Runs()
        self.problems: set[str] = set()
        for told, message in scheduler.get_events(TOPIC):
            self._take(message, told)
        problem = self._attempt("page", add_page)
        if problem:
            self._attempt("plain page", partial(add_plain_page, problem=problem))
        self._attempt("JSON", add_json)
        self._attempt("metrics", add_metrics)

    async def close(self) -> None:
        """Take the metrics away: the process may go on with another scheduler."""
        self._attempt("an end of its metrics", drop_metrics)

    def log_event(self, topic: str, msg: Any) -> None:
        """Count what a run tells."""
        if topic == TOPIC:
            self._take(msg, time.time())

    def _take(self, message: Any, now: float) -> None:
        try:
            self.runs.take(message, now)
        except Exception as error:  # from another version of this package
            self._complain("a message", error)

    def _attempt(self, what: str, add: Any) -> str:
        """Add a part; return why it could not be, or nothing."""
        try:
            add(self.scheduler, self.runs)
        except Exception as error:  # Dask or Bokeh changed: the run matters more
            return self._complain(what, error)
        return ""

    def _complain(self, what: str, error: Exception) -> str:
        problem = f"{what}: {type(error).__name__}: {error}"
        if problem in self.problems:
            return problem
        self.problems.add(problem)
        logger.warning("the live page lacks %s", problem)
        self.scheduler.log_event(FAULTS, problem)
        return problem


def dask_setup(scheduler: Any) -> None:
    """Register the page as the scheduler starts (``--preload``)."""
    scheduler.add_plugin(RunPage())


def dashboard_prefix(scheduler: Any) -> str:
    """Return what stands before the dashboard's paths: ``/`` or ``/prefix/``."""
    prefixes = (
        getattr(application, "prefix", None)
        for application in scheduler.http_application.applications
    )
    found = next((prefix for prefix in prefixes if isinstance(prefix, str)), "")
    return f"/{found.strip('/')}/" if found.strip("/") else "/"


def add_page(scheduler: Any, runs: Runs) -> None:
    """Add the page to the scheduler's dashboard, and its name to the menu."""
    from bokeh.document import Document
    from distributed.dashboard import scheduler as dashboard
    from distributed.dashboard.components.scheduler import env
    from distributed.dashboard.core import BokehApplication
    from tornado.ioloop import IOLoop

    from deepspot_scale.dashboard.page import fill_document

    fill_document(Document(), runs)  # one that cannot be drawn shall fail here
    template = env.get_template("simple.html")

    def fill(_: Any, variables: dict[str, Any], document: Any) -> None:
        document.template = template
        document.template_variables.update(variables)
        fill_document(document, runs)

    variables = dashboard.template_variables(scheduler)
    application = BokehApplication(
        {f"/{PAGE}": fill},
        scheduler,
        prefix=dashboard_prefix(scheduler),
        template_variables=variables,
    )
    scheduler.http_application.add_application(application)
    application.initialize(IOLoop.current())
    application.start()
    if PAGE not in variables["pages"]:
        variables["pages"].append(PAGE)


def add_plain_page(scheduler: Any, runs: Runs, problem: str) -> None:
    """Add the page that needs no Bokeh."""
    extra = {"runs": runs, "problem": problem}
    _add_route(scheduler, PAGE, PlainPage, extra)


def add_json(scheduler: Any, runs: Runs) -> None:
    """Add the numbers as JSON."""
    _add_route(scheduler, rf"{PAGE}\.json", Numbers, {"runs": runs})


def add_metrics(scheduler: Any, runs: Runs) -> None:
    """Add the numbers to what Prometheus reads."""
    from deepspot_scale.dashboard.metrics import METRICS

    METRICS.watch(scheduler.address, runs)


def drop_metrics(_: Any, runs: Runs) -> None:
    """Take the numbers from what Prometheus reads."""
    from deepspot_scale.dashboard.metrics import METRICS

    METRICS.forget(runs)


def _add_route(scheduler: Any, path: str, handler: Any, extra: dict[str, Any]) -> None:
    route = dashboard_prefix(scheduler) + path
    settings = {"dask_server": scheduler, "extra": extra}
    scheduler.http_application.add_handlers(r".*", [(route, handler, settings)])


class Numbers(RequestHandler):
    """Answers with the numbers of a run."""

    def get(self) -> None:
        """Write them as JSON, or null before the first run."""
        run = self.get_query_argument("run", None)
        numbers = self.extra["runs"].snapshot(time.time(), run)
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(numbers, allow_nan=False))


class PlainPage(RequestHandler):
    """Answers with the page that needs no Bokeh."""

    def get(self) -> None:
        """Write it."""
        numbers = self.extra["runs"].snapshot(time.time())
        self.write(markup.plain_page(numbers, self.extra["problem"]))
