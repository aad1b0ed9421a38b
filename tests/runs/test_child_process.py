"""Fields in a process of their own: what kills it, and what goes on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepspot_scale.errors import WeightsError
from deepspot_scale.runs import child_process
from deepspot_scale.runs.manifest import read_fields
from deepspot_scale.runs.prepare import Prepared, prepare_run
from deepspot_scale.runs.process import run_isolated
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import make_settings

PATHS = ("B/03/0", "B/03/1", "C/04/0")


@pytest.fixture
def prepared(plate: Path, deadly: Any, tmp_path: Path) -> Prepared:
    settings = make_settings(channels=("FISH",), enhance=False, detector=deadly.name)
    return prepare_run(plate, str(tmp_path / "run"), settings)


def test_a_field_that_kills_its_process_fails_alone_and_says_how(
    prepared: Prepared, plate: Path, deadly: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly.mark(plate, PATHS[0], "SIGSEGV")
    deadly.mark(plate, PATHS[1], "memory")
    monkeypatch.setattr(child_process, "_memory_limit", lambda: 0.9e9)
    rows = run_isolated(prepared.tasks, prepared.job)
    assert rows["status"].tolist() == ["failed", "failed", "done"]
    assert "(SIGSEGV): a compiled library failed on it" in rows["reason"][0]
    assert "needs more than the 0.9 GB of memory" in rows["reason"][1]
    assert read_fields(prepared.job.out).equals(rows)
    assert set(open_results(prepared.job.out.url).read("spots")["row"]) == {"C"}


@pytest.mark.timeout(50)
def test_who_is_left_of_a_dead_process_keeps_nobody_waiting(
    prepared: Prepared, plate: Path, deadly: Any
) -> None:
    deadly.mark(plate, PATHS[1], "orphan")
    rows = run_isolated(prepared.tasks, prepared.job)
    assert rows["status"].tolist() == ["done", "failed", "done"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, r"\(SIGKILL\): most likely the machine had no memory left"),
        (-6, r"\(SIGABRT\): a compiled library failed"),
        (7, "exited by itself with code 7; does the detector"),
    ],
)
def test_how_a_process_ended_is_said_in_words(code: int, words: str) -> None:
    assert re.search(words, str(child_process._explain_end(code)))


def test_the_answer_is_that_of_a_batch(
    prepared: Prepared,
    deadly: Any,
    tmp_path: Path,
    pristine: str,
    run_quickly: Callable[..., Any],
) -> None:
    run_isolated(prepared.tasks, prepared.job)
    alone = run_quickly(
        pristine, tmp_path / "alone", detector=deadly.name, cells=None, nuclei=None
    )
    spots = open_results(prepared.job.out.url).read("spots")
    assert spots.equals(open_results(alone.folder.url).read("spots"))


def test_no_field_is_begun_that_is_no_longer_wanted(prepared: Prepared) -> None:
    answers: Iterator[bool] = iter([True, True, False, False])
    rows = run_isolated(prepared.tasks, prepared.job, wanted=lambda: next(answers))
    assert len(rows) == 1
    assert run_isolated(prepared.tasks, prepared.job, wanted=lambda: False).empty


def test_what_ends_a_run_ends_it_from_there_too(plate: Path, tmp_path: Path) -> None:
    from deepspot_scale.networks.weights import find_weights

    weights = tmp_path / "m.safetensors"
    weights.write_bytes(find_weights().path.read_bytes())
    settings = make_settings(channels=("FISH",), model=str(weights))
    prepared = prepare_run(plate, str(tmp_path / "run"), settings)
    weights.unlink()
    with pytest.raises(WeightsError):
        run_isolated(prepared.tasks, prepared.job)
