"""How runs stand as Prometheus reads it: gauges of every run, with its name.

Runs of any number of schedulers in this process come in, one set of metrics goes out:
Prometheus' registry is the process's, and a name can stand in it once. Nothing here
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
    "fields_done": ("done", "Fields done, by earlier starts of the run too"),
    "fields_failed": ("failed", "Fields failed, in earlier starts of the run too"),
    "images_per_second": ("images_per_second", "Images per second, lately"),
    "seconds_left": ("seconds_left", "Seconds until the run ends; NaN: not known"),
    "spots": ("spots", "Spots found"),
    "cells": ("cells", "Cells measured"),
}
"""Metric after ``deepspot_``: its name in `RunState.snapshot`, and what it is."""


class RunMetrics(Collector):
    """All runs that this process' schedulers were told of."""

    def __init__(self) -> None:
        self.watched: list[tuple[str, Runs]] = []

    def watch(self, scheduler: str, runs: Runs) -> None:
        """Show the runs of one more scheduler, under its address."""
        if not self.watched:
            REGISTRY.register(self)
        self.watched.append((scheduler, runs))

    def forget(self, runs: Runs) -> None:
        """Show the runs of a scheduler no more."""
        left = [pair for pair in self.watched if pair[1] is not runs]
        if self.watched and not left:
            REGISTRY.unregister(self)
        self.watched = left

    def describe(self) -> Iterable[Any]:
        """Return the metrics without values, which Prometheus compares."""
        return self._families([])

    def collect(self) -> Iterable[Any]:
        """Return the metrics as they are now."""
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
            "Seconds of work of this start of the run, by stage",
            labels=[*labels, "stage"],
        )
        for scheduler, numbers in found:
            for stage, seconds in numbers["stages"].items():
                stages.add_metric([scheduler, numbers["run"], stage], seconds)
        return [*families, stages]


METRICS = RunMetrics()
"""The one of this process, as the registry is."""
