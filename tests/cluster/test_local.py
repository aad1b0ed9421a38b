"""Several worker processes: the same tables, also when workers die."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepspot_scale.cluster.client import open_client
from deepspot_scale.cluster.external import External
from deepspot_scale.cluster.local import threads_per_worker
from deepspot_scale.cluster.security import Certificates
from deepspot_scale.errors import WeightsError
from deepspot_scale.io.tables import Folder
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.runs import dispatch
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.manifest import read_fields
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.runs.progress import Progress
from deepspot_scale.settings import make_settings

PATHS = tuple(f"{row}/0{column}/0" for row in "BC" for column in range(2, 5))


@pytest.fixture(scope="module")
def plate(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> str:
    """Six wells, of which one has a damaged image."""
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    target = tmp_path_factory.mktemp("cluster") / "plate.zarr"
    plate = write_plate(target, scenes)
    # One chunk alone: of several, any could be the first to be noticed.
    (target / "C/03/0/0/c/1/1/1").write_bytes(b"")
    return plate


@pytest.fixture(scope="module")
def alone(
    plate: str,
    tmp_path_factory: pytest.TempPathFactory,
    run_quickly: Callable[..., Any],
) -> Any:
    """The run without any cluster."""
    return run_quickly(plate, tmp_path_factory.mktemp("alone") / "run", enhance=True)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two worker processes."""
    with open_client(workers=2) as client:
        yield client


@pytest.fixture
def mortal() -> Iterator[Any]:
    """Two separate worker processes, for tests that kill some."""
    with open_client(workers=2) as client:
        yield client


@pytest.fixture(autouse=True)
def one_field_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dispatch fields one by one, like large ones."""
    monkeypatch.setattr(dispatch, "MAX_BATCH", 1)


@pytest.mark.cluster
def test_two_workers_write_the_tables_of_one_process(
    plate: str, alone: Any, client: Any, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    spread = run_quickly(plate, tmp_path / "run", client, enhance=True)
    spread.assert_same(alone)
    assert list(spread.reasons) == ["C/03/0"]
    workers = read_fields(spread.folder)["worker"]
    assert str(os.getpid()) not in {worker.split(":")[1] for worker in workers}
    assert workers.nunique() == 2


@pytest.mark.cluster
def test_workers_compare_channels_as_one_process_does(
    client: Any,
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    scenes = {}
    for seed, path in enumerate(PATHS[:3]):
        scene = draw_scene(seed)
        scenes[path] = replace(scene, image=scene.image[[1, 1]])
    plate = write_plate(tmp_path / "plate.zarr", scenes, channels=("A", "B"))
    given = {"channels": ("A", "B"), "colocalise": ("A:B",)}
    here = run_quickly(plate, tmp_path / "here", **given)
    spread = run_quickly(plate, tmp_path / "spread", client, **given)
    spread.assert_same(here)
    assert len(list((tmp_path / "spread/pairs").iterdir())) == len(scenes)


@pytest.mark.cluster
def test_a_field_spread_over_workers_is_the_same(
    client: Any,
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes = {"B/03/0": draw_scene(0, (400, 420), n=200, edge=170)}
    plate = write_plate(tmp_path / "plate.zarr", scenes)
    options = {"block": 160, "reference": "point:0,0"}
    one = run_quickly(plate, tmp_path / "one", **options)
    monkeypatch.setattr(dispatch, "BLOCKS_PER_TASK", 2)
    many = run_quickly(plate, tmp_path / "many", client, **options)
    many.assert_same(one)
    assert len(many.spots) > 150


@pytest.mark.cluster
def test_a_spread_field_that_is_damaged_is_a_row(
    plate: str,
    client: Any,
    tmp_path: Path,
    run_quickly: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "BLOCKS_PER_TASK", 0)
    outcome = run_quickly(plate, tmp_path / "run", client)
    assert outcome.progress.done == 5
    assert "0 bytes" in outcome.reasons["C/03/0"]


class StopError(Exception):
    """A run is killed."""


@pytest.mark.cluster
def test_a_run_killed_on_a_cluster_goes_on_and_ends_the_same(
    plate: str, alone: Any, client: Any, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    def kill(progress: Progress) -> None:
        if progress.done == 2:
            raise StopError

    settings = make_settings(channels=("FISH",), cells="cells", nuclei="nuclei")
    prepared = prepare_run(plate, str(tmp_path / "run"), settings)
    with pytest.raises(StopError):
        execute_run(prepared, client, on_progress=kill)
    again = run_quickly(plate, tmp_path / "run", client, enhance=True)
    assert again.progress.skipped >= 2
    again.assert_same(alone)


@pytest.mark.cluster
def test_a_worker_that_dies_in_a_run_takes_no_field_with_it(
    plate: str, mortal: Any, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    alone = run_quickly(plate, tmp_path / "alone")
    # Small blocks, for fields that take their time.
    settings = make_settings(
        channels=("FISH",), cells="cells", nuclei="nuclei", enhance=False, block=80
    )
    prepared = prepare_run(plate, str(tmp_path / "run"), settings)
    pids = set(mortal.run(os.getpid).values())

    def kill(progress: Progress) -> None:
        if progress.done + progress.failed == 1:
            os.kill(min(pids), signal.SIGKILL)

    end = execute_run(prepared, mortal, on_progress=kill)
    assert (end.done, end.failed) == (5, 1)
    replace(alone, folder=prepared.job.out).assert_same(alone)
    assert min(pids) not in mortal.run(os.getpid).values()


@pytest.mark.cluster
def test_an_existing_scheduler_is_used_and_left_running(
    plate: str, alone: Any, client: Any, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    address = client.scheduler.address
    assert address.startswith("tls://127.0.0.1:")
    keys = tmp_path / "keys.pem"
    security = client.cluster.security
    keys.write_text(security.tls_client_key + security.tls_client_cert)
    tls = Certificates(ca=keys, cert=keys, key=keys)
    with open_client(External(cluster=address, tls=tls)) as other:
        run_quickly(plate, tmp_path / "run", other, enhance=True).assert_same(alone)
    assert len(client.scheduler_info()["workers"]) == 2


@pytest.mark.cluster
def test_a_worker_that_cannot_load_the_network_ends_the_run(
    plate: str, client: Any, tmp_path: Path
) -> None:
    settings = make_settings(channels=("FISH",), model=str(tmp_path / "m.safetensors"))
    weights = tmp_path / "m.safetensors"
    weights.write_bytes(find_weights().path.read_bytes())
    prepared = prepare_run(plate, str(tmp_path / "run"), settings)
    weights.unlink()
    with pytest.raises(WeightsError, match="no model"):
        execute_run(prepared, client)
    assert Folder(str(tmp_path / "run")).names("manifest") == []


def test_the_processors_are_shared_among_workers() -> None:
    cores = os.cpu_count() or 1
    assert threads_per_worker(1) == cores
    assert threads_per_worker(10 * cores) == 1
