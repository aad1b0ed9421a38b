"""One client at a time holds a run folder; one that died is replaced."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from deepspot_scale.errors import RunError
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs import lease as leases
from deepspot_scale.runs.lease import hold_run, is_gone, read_holder

FOREIGN = {"host": "node7", "pid": 12, "since": "noon", "machine": "another"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lease beat every 50 ms and be stale after half a second."""
    monkeypatch.setattr(leases, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(leases, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(leases, "STALE_SECONDS", 0.5)


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """A run folder on a disk, and in another file system."""
    place = tmp_path / "run"
    if request.param == "memory":
        place = f"memory://{uuid.uuid4().hex}/run"
    folder = Folder(str(place))
    folder.write("settings.toml", b"")
    return folder


def _leave(folder: Folder, **facts: Any) -> None:
    """Leave the lease of a client that has not ended in good order."""
    content = json.dumps(FOREIGN | facts).encode()
    folder.write("lease/00000004.json", content)


def test_a_second_client_is_refused_and_told_who_holds_the_run(folder: Folder) -> None:
    with hold_run(folder), pytest.raises(RunError) as refused, hold_run(folder):
        pass
    told = read_holder(folder).facts
    assert f"{told['host']}, process {told['pid']}, since 20" in str(refused.value)
    assert "or stop it there" in str(refused.value)


def test_a_run_whose_client_ended_is_free_at_once(folder: Folder) -> None:
    for number in (1, 2, 3):
        with hold_run(folder, say=pytest.fail) as lease:
            assert lease.number == number
    assert folder.names("lease") == ["00000003.json"]


def test_a_client_that_was_killed_here_is_replaced_at_once(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "run"))
    code = (
        "import os, sys; from deepspot_scale.io.tables import Folder;"
        "from deepspot_scale.runs.lease import hold_run;"
        "run = hold_run(Folder(sys.argv[1])); run.__enter__(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, folder.url], check=False)
    assert not read_holder(folder).released
    with hold_run(folder, say=pytest.fail) as lease:
        assert lease.number == 2


def test_a_live_client_is_not_dead_because_the_clock_was_set(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = psutil.Process.create_time
    with hold_run(folder):
        for step in (0, 6, -6, 3600, -(10**9)):
            # As psutil tells it when the clock was set since: it counts from the epoch.
            monkeypatch.setattr(
                psutil.Process, "create_time", lambda p, step=step: true(p) + step
            )
            assert not is_gone(read_holder(folder))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the ticks")
def test_a_process_that_got_the_number_of_a_dead_client_is_not_taken_for_it(
    folder: Folder,
) -> None:
    with hold_run(folder):
        own = read_holder(folder).facts
    _leave(folder, **own | {"released": False})
    assert not is_gone(read_holder(folder))
    _leave(folder, **own | {"released": False, "start_ticks": "1"})
    assert is_gone(read_holder(folder))
    # A lease of an earlier version tells the start by the clock: only beats count.
    _leave(folder, **own | {"released": False, "start_ticks": "", "started": 1.0})
    assert not is_gone(read_holder(folder))


def test_a_lease_that_does_not_change_is_stale_by_the_watchers_clock(
    folder: Folder,
) -> None:
    # Its own time says tomorrow; only that it stands still counts.
    _leave(folder, at="2999-01-01T00:00:00+00:00", beat=3)
    began, said = time.monotonic(), []
    with hold_run(folder, say=said.append) as lease:
        assert lease.number == 5
    assert time.monotonic() - began > 0.5
    assert "held by node7, process 12, since noon" in said[0]


def test_a_lease_of_another_machine_that_beats_is_respected(folder: Folder) -> None:
    done = threading.Event()

    def beat() -> None:
        for number in range(1000):
            _leave(folder, at="1970-01-01T00:00:00+00:00", beat=number)
            if done.wait(0.1):
                return

    _leave(folder)
    beating = threading.Thread(target=beat)
    beating.start()
    with pytest.raises(RunError, match="node7, process 12"), hold_run(folder):
        pass
    done.set()
    beating.join()


def test_of_many_that_race_for_a_stale_lease_one_gets_it(folder: Folder) -> None:
    _leave(folder)
    start, end = threading.Barrier(8), threading.Event()
    held: list[int] = []
    refused: list[str] = []

    def race() -> None:
        start.wait()
        try:
            with hold_run(Folder(folder.url)) as lease:
                held.append(lease.number)
                end.wait(5)
        except RunError as error:
            refused.append(str(error))
            if len(refused) == 7:
                end.set()

    racers = [threading.Thread(target=race) for _ in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert (held, len(refused)) == ([5], 7)


def test_a_client_that_slept_through_its_own_replacement_notices(
    folder: Folder,
) -> None:
    with hold_run(folder) as lease:
        folder.write("lease/00000009.json", b"{}")
        deadline = time.monotonic() + 5
        while not lease.lost and time.monotonic() < deadline:
            time.sleep(0.02)
        assert lease.lost
    assert read_holder(folder).number == 9
    assert not read_holder(folder).released


def test_a_store_that_fails_for_a_minute_loses_the_lease(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the network is down")

    with hold_run(folder) as lease:
        monkeypatch.setattr(leases, "read_holder", fail)
        time.sleep(0.2)
        assert not lease.lost
        time.sleep(0.8)
        assert lease.lost


def test_a_lease_tells_how_far_the_run_is(folder: Folder) -> None:
    with hold_run(folder) as lease:
        lease.progress = {"done": 7}
        time.sleep(0.3)
        assert read_holder(folder).facts["progress"] == {"done": 7}


def test_a_place_where_no_run_began_is_left_as_it_was(tmp_path: Path) -> None:
    with hold_run(Folder(str(tmp_path / "run"))):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(RunError, match="not empty and holds no run"),
        hold_run(Folder(str(tmp_path))),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_runs_at_once_in_one_folder_are_refused_in_python_too(
    pristine: str, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    import deepspot_scale as ds

    settings = ds.make_settings(channels=("FISH",), enhance=False)
    with (
        hold_run(Folder(str(tmp_path / "run"))),
        pytest.raises(RunError, match="another client works on"),
    ):
        ds.run(pristine, str(tmp_path / "run"), settings)
    end = ds.run(pristine, str(tmp_path / "run"), settings)
    assert end.done == 3
