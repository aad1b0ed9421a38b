"""Dask's own report of a run, on the command line and when it cannot be made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from deepspot_scale.dashboard.performance import check_report, write_performance
from deepspot_scale.errors import SettingsError


def test_a_report_in_a_folder_that_is_not_there_is_refused_before_the_run(
    tmp_path: Path, command: Callable[..., Any]
) -> None:
    words = ("run", tmp_path, "--channel", "FISH", "--out", tmp_path / "RUN")
    ended = command(*words, "--performance-report", tmp_path / "no" / "dask.html")
    assert ended.code == 2
    assert "there is no folder" in ended.err
    assert not (tmp_path / "RUN").exists()
    with pytest.raises(SettingsError, match="is a folder"):
        check_report(tmp_path)


def test_without_a_file_nothing_is_asked_of_the_client() -> None:
    with write_performance(None, None):
        pass


@pytest.mark.cluster
def test_a_run_leaves_the_report_of_its_tasks(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    command: Callable[..., Any],
) -> None:
    plate = write_plate(tmp_path / "plate.zarr", {"B/03/0": draw_scene()})
    report = tmp_path / "dask.html"
    words = ("run", plate, "-c", "FISH", "--no-enhance", "--out", tmp_path / "RUN")
    ended = command(*words, "--performance-report", report)
    assert ended.code == 0
    assert "/deepspot" in ended.err
    text = report.read_text()
    assert "run_batch" in text
    assert "Dask Performance Report" in text


@pytest.mark.cluster
def test_a_report_that_cannot_be_written_is_said_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Client(
            n_workers=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            set_as_default=False,
        ) as client,
        caplog.at_level(logging.WARNING),
        write_performance(client, tmp_path),
    ):
        assert client.submit(sum, [1, 2]).result() == 3
    assert "no performance report: IsADirectoryError" in caplog.text
