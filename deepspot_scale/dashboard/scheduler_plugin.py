"""The scheduler's side: counts the messages of runs; serves page, JSON and metrics.

Messages of the event log come in, HTTP answers go out. Nothing here knows workers,
files or networks.

`SchedulerPlugin` and the event log are public interfaces of Dask; the structure of its
dashboard is not. Each part that depends on the latter is added separately; a part that
cannot be added is logged (`FAULTS`) and left out. The page then falls back to a plain
one, and the run never waits for any of it.

    http://HOST:8787/deepspot         the page
    http://HOST:8787/deepspot.json    its numbers, of the latest run or of ?run=RUN
    http://HOST:8787/metrics          for Prometheus, together with Dask's own
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
"""Topic under which the scheduler logs which parts are missing, and why."""
PAGE = "deepspot"
logger = logging.getLogger(__name__)


class RunPage(SchedulerPlugin):
    """Counts the messages of runs and serves the results.

    Registered by the client of a run, or when the scheduler starts:
    ``dask scheduler --preload deepspot_scale.dashboard.scheduler_plugin``.
    """

    name = "deepspot-page"
    idempotent = True

    async def start(self, scheduler: Any) -> None:
        """Process earlier messages, then add all parts that can be added."""
        self.scheduler = scheduler
        self.runs = Runs()
        self.problems: set[str] = set()
        for time_, message in scheduler.get_events(TOPIC):
            self._take(message, time_)
        problem = self._attempt("page", add_page)
        if problem:
            plain = partial(_add_route, path=PAGE, handler=PlainPage, problem=problem)
            self._attempt("plain page", plain)
        as_json = partial(_add_route, path=rf"{PAGE}\.json", handler=Numbers)
        self._attempt("JSON", as_json)
        self._attempt("metrics", add_metrics)

    async def close(self) -> None:
        """Remove the metrics: the process may start another scheduler."""
        self._attempt("removal of its metrics", drop_metrics)

    def log_event(self, topic: str, msg: Any) -> None:
        """Process a message of a run."""
        if topic == TOPIC:
            self._take(msg, time.time())

    def _take(self, message: Any, now: float) -> None:
        try:
            self.runs.take(message, now)
        except Exception as error:  # from another version of this package
            self._report("a message", error)

    def _attempt(self, what: str, add: Any) -> str:
        """Add a part; return why it failed, or an empty text."""
        try:
            add(self.scheduler, self.runs)
        except Exception as error:  # Dask or Bokeh changed: the run must not fail
            return self._report(what, error)
        return ""

    def _report(self, what: str, error: Exception) -> str:
        problem = f"{what}: {type(error).__name__}: {error}"
        if problem in self.problems:
            return problem
        self.problems.add(problem)
        logger.warning("the live page lacks %s", problem)
        self.scheduler.log_event(FAULTS, problem)
        return problem


def dask_setup(scheduler: Any) -> None:
    """Register the page when the scheduler starts (``--preload``)."""
    scheduler.add_plugin(RunPage())


def dashboard_prefix(scheduler: Any) -> str:
    """Return the prefix of the dashboard's paths: ``/`` or ``/prefix/``."""
    prefixes = (
        getattr(application, "prefix", None)
        for application in scheduler.http_application.applications
    )
    found = next((prefix for prefix in prefixes if isinstance(prefix, str)), "")
    return f"/{found.strip('/')}/" if found.strip("/") else "/"


def add_page(scheduler: Any, runs: Runs) -> None:
    """Add the page and its menu entry to the scheduler's dashboard."""
    from bokeh.document import Document
    from distributed.dashboard import scheduler as dashboard
    from distributed.dashboard.components.scheduler import env
    from distributed.dashboard.core import BokehApplication
    from tornado.ioloop import IOLoop

    from deepspot_scale.dashboard.page import fill_document

    fill_document(Document(), runs)  # raise here if the page cannot be drawn
    template = env.get_template("simple.html")

    def fill(_: Any, variables: dict[str, Any], document: Any) -> None:
        document.template = template
        document.template_variables.update(variables)
        fill_document(document, runs)

    variables = dashboard.template_variables(scheduler)
    prefix = dashboard_prefix(scheduler)
    application = BokehApplication(
        {f"/{PAGE}": fill}, scheduler, prefix=prefix, template_variables=variables
    )
    scheduler.http_application.add_application(application)
    application.initialize(IOLoop.current())
    application.start()
    if PAGE not in variables["pages"]:
        variables["pages"].append(PAGE)


def add_metrics(scheduler: Any, runs: Runs) -> None:
    """Add the numbers to the metrics for Prometheus."""
    from deepspot_scale.dashboard.metrics import METRICS

    METRICS.watch(scheduler.address, runs)


def drop_metrics(_: Any, runs: Runs) -> None:
    """Remove the numbers from the metrics for Prometheus."""
    from deepspot_scale.dashboard.metrics import METRICS

    METRICS.forget(runs)


def _add_route(
    scheduler: Any, runs: Runs, path: str, handler: Any, **extra: Any
) -> None:
    route = dashboard_prefix(scheduler) + path
    settings = {"dask_server": scheduler, "extra": {"runs": runs, **extra}}
    scheduler.http_application.add_handlers(r".*", [(route, handler, settings)])


class Numbers(RequestHandler):
    """Serves the numbers of a run."""

    def get(self) -> None:
        """Write them as JSON; null before the first run."""
        run = self.get_query_argument("run", None)
        numbers = self.extra["runs"].snapshot(time.time(), run)
        self.set_header("Content-Type", "application/json")
        self.write(json.dumps(numbers, allow_nan=False))


class PlainPage(RequestHandler):
    """Serves the page without Bokeh."""

    def get(self) -> None:
        """Write the page."""
        numbers = self.extra["runs"].snapshot(time.time())
        self.write(markup.plain_page(numbers, self.extra["problem"]))
