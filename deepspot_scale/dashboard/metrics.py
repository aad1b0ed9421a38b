"""The status of runs for Prometheus: gauges of every run, labelled with its name.

Runs of any number of schedulers in this process come in, one set of metrics goes out,
because the process has one registry, in which a name can occur once. Nothing here
knows a scheduler or HTTP.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from deepspot_scale.dashboard.state import Runs, Snapshot

GAUGES = {
    "fields_total": ("total", "Fields of the run"),
    "fields_done": ("done", "Fields done, including earlier starts of the run"),
    "fields_failed": ("failed", "Fields failed, including earlier starts of the run"),
    "images_per_second": ("images_per_second", "Recent images per second"),
    "seconds_left": ("seconds_left", "Seconds until the run ends; NaN: unknown"),
    "spots": ("spots", "Spots found"),
    "cells": ("cells", "Cells measured"),
    "score": ("score", "Mean score of the fields, 0 to 1; NaN: not rated"),
    "fields_low": ("low", "Fields with images that score too low to count"),
}
"""Metric without ``deepspot_``: its key in `RunState.snapshot`, and its meaning."""


class RunMetrics(Collector):
    """All runs on the schedulers of this process."""

    def __init__(self) -> None:
        self.watched: list[tuple[str, Runs]] = []

    def watch(self, scheduler: str, runs: Runs) -> None:
        """Add the runs of a scheduler, labelled with its address."""
        if not self.watched:
            REGISTRY.register(self)
        self.watched.append((scheduler, runs))

    def forget(self, runs: Runs) -> None:
        """Remove the runs of a scheduler."""
        left = [pair for pair in self.watched if pair[1] is not runs]
        if self.watched and not left:
            REGISTRY.unregister(self)
        self.watched = left

    def describe(self) -> Iterable[Any]:
        """Return the metrics without values, to let Prometheus find duplicates."""
        return self._families([])

    def collect(self) -> Iterable[Any]:
        """Return the metrics with their current values."""
        now = time.time()
        return self._families(
            [
                (scheduler, state.snapshot(now))
                for scheduler, runs in self.watched
                for state in list(runs.by_name.values())
            ]
        )

    def _families(self, found: list[tuple[str, Snapshot]]) -> list[Any]:
        labels = ["scheduler", "run"]
        families = []
        for name, (key, words) in GAUGES.items():
            family = GaugeMetricFamily(f"deepspot_{name}", words, labels=labels)
            for scheduler, numbers in found:
                value = numbers[key]
                number = float("nan") if value is None else float(value)
                family.add_metric([scheduler, numbers["run"]], number)
            families.append(family)
        stages = GaugeMetricFamily(
            "deepspot_stage_seconds",
            "Seconds of work since this start of the run, by stage",
            labels=[*labels, "stage"],
        )
        for scheduler, numbers in found:
            for stage, seconds in numbers["stages"].items():
                stages.add_metric([scheduler, numbers["run"], stage], seconds)
        return [*families, stages]


METRICS = RunMetrics()
"""The only instance of this process, like the registry."""
