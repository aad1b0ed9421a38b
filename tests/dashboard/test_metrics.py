"""What Prometheus reads: every run, and its name once."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd
import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deepspot_scale.dashboard.events import begin_message, rows_message
from deepspot_scale.dashboard.metrics import METRICS
from deepspot_scale.dashboard.state import Runs
from deepspot_scale.vocabulary import FieldAddress

Rows = Callable[..., pd.DataFrame]


def begin() -> Runs:
    runs = Runs()
    runs.take(begin_message("RUN", [FieldAddress.from_path("B/03/0")]), 0.0)
    return runs


def read(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(f"deepspot_{name}", {"run": "RUN", **labels})


def test_two_schedulers_of_a_process_have_their_own_numbers(
    rows: Rows, failed: Rows
) -> None:
    one, two = begin(), begin()
    one.take(rows_message("RUN", rows("B/03/0", seconds_enhance=3.0)), 1.0)
    two.take(rows_message("RUN", failed("B/03/0")), 1.0)
    try:
        METRICS.watch("tcp://one", one)
        METRICS.watch("tcp://two", two)
        assert read("fields_done", scheduler="tcp://one") == 1
        assert read("fields_done", scheduler="tcp://two") == 0
        assert read("fields_failed", scheduler="tcp://two") == 1
        assert read("spots", scheduler="tcp://one") == 10
        assert read("stage_seconds", scheduler="tcp://one", stage="enhance") == 3
        text = generate_latest().decode()
        families = [f.name for f in text_string_to_metric_families(text)]
        assert families.count("deepspot_fields_done") == 1
        METRICS.forget(one)
        assert read("fields_done", scheduler="tcp://one") is None
        assert read("fields_done", scheduler="tcp://two") == 0
    finally:
        METRICS.forget(one)
        METRICS.forget(two)
    assert "deepspot_" not in generate_latest().decode()


def test_an_unknown_time_left_is_no_number() -> None:
    runs = begin()
    METRICS.watch("tcp://one", runs)
    try:
        left = read("seconds_left", scheduler="tcp://one")
        assert left == pytest.approx(math.nan, nan_ok=True)
    finally:
        METRICS.forget(runs)


def test_what_was_never_watched_may_be_forgotten() -> None:
    METRICS.forget(Runs())
