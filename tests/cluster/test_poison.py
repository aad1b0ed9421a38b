"""Fields that kill their workers do not affect other fields."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepspot_scale.cluster.client import open_client
from deepspot_scale.runs import dispatch

PATHS = tuple(f"{row}/0{column}/{n}" for row in "BC" for column in (2, 3) for n in "01")


@pytest.mark.cluster
def test_only_the_fields_that_kill_their_workers_fail(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    deadly: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two threads a worker and several fields a task: whoever dies has company.
    monkeypatch.setattr(dispatch, "MAX_BATCH", 3)
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    plate = write_plate(tmp_path / "plate.zarr", scenes)
    clean = run_quickly(plate, tmp_path / "clean", detector=deadly.name)
    deadly.mark(plate, PATHS[1], "SIGSEGV")
    deadly.mark(plate, PATHS[6], "exit")
    with open_client(workers=2) as client:
        client.cluster.scheduler.allowed_failures = 1
        outcome = run_quickly(plate, tmp_path / "run", client, detector=deadly.name)
        assert len(client.scheduler_info()["workers"]) > 0
    assert list(outcome.reasons) == [PATHS[1], PATHS[6]]
    assert "(SIGSEGV)" in outcome.reasons[PATHS[1]]
    assert "exited by itself with code 7" in outcome.reasons[PATHS[6]]
    places = clean.spots["row"] + clean.spots["column"] + clean.spots["field"]
    others = clean.spots[~places.isin(["B021", "C030"])]
    assert len(others) > 100
    assert outcome.spots.equals(others.reset_index(drop=True))
