"""The page of a real run, in a real browser, beside the run's own tables."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import pandas as pd
import pytest
from distributed import Client, LocalCluster
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deepspot_scale.cluster.client import open_client
from deepspot_scale.dashboard import page
from deepspot_scale.dashboard import scheduler_plugin as plugin
from deepspot_scale.dashboard.publisher import announce_run, page_address
from deepspot_scale.runs import manifest
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.runs.progress import Progress
from deepspot_scale.settings import make_settings
from deepspot_scale.vocabulary import FieldAddress

pytestmark = pytest.mark.cluster
PATHS = tuple(f"{row}/0{column}/0" for row in "BC" for column in range(2, 5))
NUMBERS = """
(() => {
  const all = node => [...node.querySelectorAll("*")].flatMap(
    each => [each, ...(each.shadowRoot ? all(each.shadowRoot) : [])]);
  return Object.fromEntries(all(document).filter(e => e.dataset?.number)
    .map(e => [e.dataset.number, e.textContent]));
})()
"""
WELLS = """
(({well, done, failed, spots}) => (
  {well: [...well], done: [...done], failed_wells: [...failed], spots_wells: [...spots]}
))(Bokeh.documents[0].get_model_by_name("wells").data)
"""


@pytest.fixture(scope="module")
def plate(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> str:
    """Six wells, of which one has a damaged image."""
    target = tmp_path_factory.mktemp("live") / "plate.zarr"
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    plate = write_plate(target, scenes)
    (target / "C/03/0/0/c/1/1/1").write_bytes(b"")
    return plate


@pytest.fixture(scope="module")
def watched() -> Iterator[Any]:
    """One worker process, for one run that is observed."""
    with open_client(workers=1) as client:
        yield client


@contextmanager
def open_small() -> Iterator[Any]:
    """Yield a client of a scheduler and worker in this process, which start fast."""
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def client() -> Iterator[Any]:
    """A separate scheduler for one test."""
    with open_small() as client:
        yield client


def get(address: str) -> str:
    with urlopen(address, timeout=20) as answer:
        text: str = answer.read().decode()
    return text


def read_json(address: str) -> Any:
    return json.loads(get(f"{address}.json"))


def read_metrics(address: str) -> dict[str, float]:
    text = get(address.replace("/deepspot", "/metrics"))
    return {
        " ".join([sample.name, *sample.labels.get("stage", "").split()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("deepspot_")
    }


def prepare(
    plate: str, out: Path, rated: dict[str, Any] | None = None, **options: Any
) -> Any:
    labels = {"cells": "cells", "nuclei": "nuclei"}
    settings = make_settings(
        channels=("FISH",), enhance=False, **labels, **(rated or {})
    )
    return prepare_run(plate, str(out), settings, **options)


def until(truth: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not truth():
        assert time.monotonic() < end
        time.sleep(0.1)


class Panel(NamedTuple):
    """What was shown of a run, and its table of fields."""

    address: str
    halfway: Any
    """The page when three of six fields had come in: its numbers and wells."""
    end: Any
    text: str
    fields: pd.DataFrame


@pytest.fixture(scope="module")
def shown(
    plate: str, watched: Any, tab: Any, tmp_path_factory: pytest.TempPathFactory
) -> Panel:
    """A run that a browser shows while it is in progress."""
    prepared = prepare(plate, tmp_path_factory.mktemp("shown") / "RUN")
    address, looks = page_address(watched), []

    def look(progress: Progress) -> None:
        if progress.done + progress.failed == 3:
            tab.open(address)
            tab.wait_for("3 / 6 fields")
            looks.append(tab.evaluate(NUMBERS) | tab.evaluate(WELLS))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deepspot_scale.runs.dispatch.MAX_BATCH", 1)
        execute_run(prepared, watched, on_progress=look)
    text = tab.wait_for("6 / 6 fields")
    tab.wait_for("finished")
    assert tab.methods("Runtime.exceptionThrown") == []
    end = tab.evaluate(NUMBERS) | tab.evaluate(WELLS)
    return Panel(address, *looks, end, text, manifest.read_fields(prepared.job.out))


CHOOSE_SCORE = """
(() => {
  const page = Bokeh.documents[0];
  const of = name => [...page._all_models.values()].filter(m => m.type == name);
  const group = of("RadioButtonGroup")[0];
  group.active = group.labels.indexOf("score");
  return group.labels;
})()
"""
TITLE = """
[...Bokeh.documents[0]._all_models.values()].filter(m => m.type == "Title")
  .map(m => m.text).join()
"""
SCORES = """
(({well, value, low}) => ({well: [...well], value: [...value], low: [...low]}))(
  Bokeh.documents[0].get_model_by_name("wells").data)
"""


def test_scores_are_seen_while_fields_come_in(
    plate: str, client: Any, tab: Any, raters: Path, tmp_path: Path
) -> None:
    rater = str(raters / "detection.safetensors")
    how = {"rate": True, "rater": rater, "rater_engine": "keras", "min_quality": 0.999}
    prepared = prepare(plate, tmp_path / "RUN", rated=how)
    seen = []

    def look(progress: Progress) -> None:
        if progress.done + progress.failed == 2:
            tab.open(page_address(client))
            tab.wait_for("2 / 6 fields")
            assert "score" in tab.evaluate(CHOOSE_SCORE)
            tab.wait_for("fields that score too low")
            until(lambda: "score" in tab.evaluate(TITLE))
            numbers = tab.evaluate(NUMBERS)
            numbers["low_fields"] = numbers["low"]
            seen.append(numbers | tab.evaluate(SCORES))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deepspot_scale.runs.dispatch.MAX_BATCH", 1)
        execute_run(prepared, client, on_progress=look)
    fields = manifest.read_fields(prepared.job.out)
    truth = dict(zip(fields["row"] + fields["column"], fields["score"], strict=True))
    (halfway,) = seen
    known = {
        well: value
        for well, value in zip(halfway["well"], halfway["value"], strict=True)
        if isinstance(value, float) and not math.isnan(value)
    }
    assert len(known) == sum(halfway["low"]) == int(halfway["low_fields"]) == 2
    for well, value in known.items():
        assert value == pytest.approx(truth[well], abs=1e-4)
    mean = sum(known.values()) / 2
    assert float(halfway["score"]) == pytest.approx(mean, abs=0.01)
    assert tab.methods("Runtime.exceptionThrown") == []


def test_the_page_follows_a_run(shown: Panel) -> None:
    assert sum(shown.halfway["done"]) + sum(shown.halfway["failed_wells"]) == 3
    assert shown.halfway["settled"] == "3 / 6"
    assert shown.end["settled"] == "6 / 6"
    assert shown.end["failed"] == "1"


def test_the_page_shows_what_the_tables_say(shown: Panel) -> None:
    fields, end = shown.fields, shown.end
    n_spots, n_cells = fields["n_spots"].sum(), fields["n_cells"].sum()
    assert end["spots"] == f"{n_spots:,}"
    assert float(end["spots_per_cell"]) == pytest.approx(n_spots / n_cells, rel=0.01)
    wells = dict(zip(end["well"], end["spots_wells"], strict=True))
    assert wells == dict(
        zip(fields["row"] + fields["column"], fields["n_spots"], strict=True)
    )
    assert fields.loc[fields["status"] == "failed", "reason"].item() in shown.text
    assert fields["worker"].iloc[0] in shown.text
    assert "no network" in shown.text


def test_the_json_says_what_the_tables_say(shown: Panel) -> None:
    fields, numbers = shown.fields, read_json(shown.address)
    assert (numbers["done"], numbers["failed"], numbers["total"]) == (5, 1, 6)
    assert numbers["images"] == fields["n_planes"].sum()
    assert numbers["cells"] == fields["n_cells"].sum()
    assert numbers["state"] == "finished"
    (worker,) = numbers["workers"]
    assert worker["worker"] == fields["worker"].iloc[0]
    assert worker["seconds"] == pytest.approx(fields["seconds"].sum())


def test_prometheus_reads_what_the_tables_say(shown: Panel) -> None:
    metrics, numbers = read_metrics(shown.address), read_json(shown.address)
    assert metrics["deepspot_fields_done"] == 5
    assert metrics["deepspot_fields_failed"] == 1
    rate = metrics["deepspot_images_per_second"]
    assert rate == pytest.approx(5 / numbers["seconds"])
    columns = [name for name in shown.fields if name.startswith("seconds_")]
    stages = [name.removeprefix("seconds_") for name in columns]
    assert {"brightness", "detect", "quality"} <= {*stages}
    for stage in stages:
        seconds = shown.fields[f"seconds_{stage}"].sum()
        assert metrics[f"deepspot_stage_seconds {stage}"] == pytest.approx(seconds)


def test_a_run_taken_up_again_counts_what_was_done_before(
    plate: str, client: Any, tmp_path: Path
) -> None:
    out = tmp_path / "RUN"
    execute_run(prepare(plate, out), client)
    execute_run(prepare(plate, out, retry_failed=True), client)
    numbers = read_json(page_address(client))
    assert (numbers["done"], numbers["failed"], numbers["total"]) == (5, 1, 6)
    assert (numbers["before"], numbers["images"]) == (5, 0)


class StopError(Exception):
    """A run is stopped."""


def test_a_run_that_is_stopped_shows_as_stopped(
    plate: str, client: Any, tmp_path: Path
) -> None:
    def stop(progress: Progress) -> None:
        if progress.done:
            raise StopError

    with pytest.raises(StopError):
        execute_run(prepare(plate, tmp_path / "RUN"), client, on_progress=stop)
    assert read_json(page_address(client))["state"] == "stopped"


def test_two_schedulers_in_one_process_do_not_collide(
    plate: str, tmp_path: Path
) -> None:
    fields = 'deepspot_fields_done{{run="{}/{}",scheduler="{}"}} 5.0'
    with open_small() as one:
        with open_small() as other:
            execute_run(prepare(plate, tmp_path / "ONE"), one)
            execute_run(prepare(plate, tmp_path / "OTHER"), other)
            names = [read_json(page_address(each))["run"] for each in (one, other)]
            assert names == [str(tmp_path / "ONE"), str(tmp_path / "OTHER")]
            text = get(page_address(other).replace("/deepspot", "/metrics"))
            assert text.count("# TYPE deepspot_fields_done") == 1
            assert fields.format(tmp_path, "ONE", one.scheduler.address) in text
            assert fields.format(tmp_path, "OTHER", other.scheduler.address) in text
        text = get(page_address(one).replace("/deepspot", "/metrics"))
        assert f"{tmp_path}/ONE" in text
        assert f"{tmp_path}/OTHER" not in text
    assert str(tmp_path) not in generate_latest().decode()


def _break(*_: Any, **__: Any) -> None:
    raise RuntimeError("Bokeh has changed")


def test_a_page_that_raises_stops_no_run_and_a_plain_one_is_shown(
    plate: str,
    client: Any,
    tab: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(page, "fill_document", _break)
    with caplog.at_level(logging.WARNING):
        end = execute_run(prepare(plate, tmp_path / "RUN"), client)
    assert (end.done, end.failed) == (5, 1)
    assert "the live page lacks page: RuntimeError: Bokeh has changed" in caplog.text
    tab.open(page_address(client))
    text = tab.wait_for("6 / 6 fields")
    assert "Plain page" in text
    assert "Bokeh has changed" in text
    assert read_json(page_address(client))["done"] == 5


def test_a_dashboard_that_lacks_everything_stops_no_run(
    plate: str,
    client: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(plugin, "dashboard_prefix", _break)
    monkeypatch.setattr(plugin, "add_metrics", _break)
    monkeypatch.setattr("deepspot_scale.dashboard.state.Runs.take", _break)
    with caplog.at_level(logging.WARNING):
        end = execute_run(prepare(plate, tmp_path / "RUN"), client)
    assert (end.done, end.failed) == (5, 1)
    for part in ("page", "plain page", "JSON", "metrics", "a message"):
        assert f"the live page lacks {part}: RuntimeError" in caplog.text


@contextmanager
def scheduler(tmp_path: Path, *words: str) -> Iterator[str]:
    """Start a scheduler in a separate process; yield its address."""
    file = tmp_path / "scheduler.json"
    command = [sys.executable, *words, "--host", "127.0.0.1", "--port", "0"]
    command += ["--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        until(lambda: file.exists() and bool(file.read_text()), 60)
        yield json.loads(file.read_text())["address"]
    finally:
        process.terminate()
        process.wait(30)


def dask_words(before: str = "") -> tuple[str, ...]:
    code = f"{before}; from distributed.cli.dask_scheduler import main; main()"
    return ("-c", code.removeprefix("; "))


def test_a_scheduler_without_this_package_runs_without_a_page(
    tmp_path: Path, rows: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    words = dask_words("import sys; sys.modules['deepspot_scale'] = None")
    with (
        scheduler(tmp_path, *words) as address,
        Client(address, set_as_default=False) as client,
        caplog.at_level(logging.WARNING),
        announce_run(client, "RUN", []) as announce,
    ):
        announce(rows("B/03/0"))
    assert "continues without its live page: ModuleNotFoundError" in caplog.text


def test_a_scheduler_of_its_own_process_shows_the_run(
    tmp_path: Path, rows: Callable[..., Any]
) -> None:
    words = (*dask_words(), "--dashboard-prefix", "lab")
    with (
        scheduler(tmp_path, *words) as address,
        Client(address, set_as_default=False) as client,
    ):
        page = page_address(client).replace("/deepspot", "/lab/deepspot")
        left = [FieldAddress.from_path(path) for path in PATHS]
        with announce_run(client, "RUN", left) as announce:
            announce(rows(*PATHS[:-1]))
            until(lambda: read_json(page)["done"] == 5)
            assert 'data-root-id="' in get(page)
            assert read_json(page)["state"] == "running"
            announce(rows(PATHS[-1]))
        numbers = read_json(page)
        assert (numbers["state"], numbers["left"]) == ("finished", 0)


def test_a_scheduler_may_be_given_the_page_as_it_starts(
    tmp_path: Path, rows: Callable[..., Any]
) -> None:
    words = (*dask_words(), "--preload", "deepspot_scale.dashboard.scheduler_plugin")
    with (
        scheduler(tmp_path, *words) as address,
        Client(address, set_as_default=False) as client,
    ):
        page = page_address(client)
        assert read_json(page) is None
        with announce_run(client, "RUN", [FieldAddress("B", "03", "0")]) as announce:
            announce(rows("B/03/0"))
        assert read_metrics(page)["deepspot_fields_done"] == 1


def test_a_scheduler_that_dies_lets_the_publisher_continue(
    tmp_path: Path, rows: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING, "deepspot_scale"),
        scheduler(tmp_path, *dask_words()) as address,
        Client(address, set_as_default=False, timeout=3) as client,
    ):
        with announce_run(client, "RUN", []) as announce:
            pid = client.run_on_scheduler(os.getpid)
            os.kill(pid, 9)
            died = time.monotonic()
            announce(rows("B/03/0"))
            time.sleep(1.5)
            announce(rows("B/03/1"))
        assert time.monotonic() - died < 30
        assert "continues without its live page" in caplog.text
