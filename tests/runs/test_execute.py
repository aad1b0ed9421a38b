"""A run over a plate: its tables, and how it goes on after it was stopped."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from deepspot_scale.runs import dispatch
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.prepare import Selection, prepare_run
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import make_settings
from deepspot_scale.vocabulary import FieldAddress

PATHS = ("B/03/0", "B/03/1", "C/04/0")


def test_planted_spots_and_cells_are_found(
    complete: Any, draw_scene: Callable[..., Any]
) -> None:
    for seed, path in enumerate(PATHS):
        scene, address = draw_scene(seed), FieldAddress.from_path(path)
        own = complete.spots.query(
            f"row == '{address.row}' and field == '{address.field}'"
        )
        gaps = scene.points[:, None] - own[["y", "x"]].to_numpy()[None]
        assert (np.hypot(*gaps.T).min(axis=0) < 1.5).mean() > 0.9
        assert abs(len(own) - len(scene.points)) < 8
    assert complete.fields["n_cells"].tolist() == [6, 6, 6]
    inside = complete.cells.groupby(["row", "column", "field"])["n_spots"].sum()
    labelled = complete.spots[complete.spots["cell"] > 0]
    counted = labelled.groupby(["row", "column", "field"]).size()
    np.testing.assert_array_equal(inside, counted)


def test_positions_in_micrometres_use_each_axis_own_pixel_size(complete: Any) -> None:
    spots = complete.spots
    np.testing.assert_allclose(spots["y_um"], spots["y"] * 0.2)
    np.testing.assert_allclose(spots["x_um"], spots["x"] * 0.1)
    np.testing.assert_allclose(
        complete.cells["area_um2"], complete.cells["area"] * 0.02
    )


def test_the_summaries_add_up_to_the_parts(complete: Any) -> None:
    wells, conditions = complete.wells, complete.conditions
    n_spots = len(complete.spots)
    assert complete.fields["n_spots"].sum() == wells["n_spots"].sum() == n_spots
    assert conditions["n_spots"].tolist() == [n_spots]
    assert wells[["row", "column", "channel", "n_fields"]].to_numpy().tolist() == [
        ["B", "03", "FISH", 2],
        ["C", "04", "FISH", 1],
    ]


def test_a_plate_map_names_conditions(
    pristine: str, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    table = tmp_path / "wells.csv"
    table.write_text("well,condition,gene\nB3,migrating,RAB13\nC4,control,RAB13\n")
    outcome = run_quickly(pristine, tmp_path / "run", plate_map=str(table))
    conditions = outcome.conditions
    assert outcome.wells["condition"].tolist() == ["migrating", "control"]
    assert conditions["n_wells"].tolist() == [1, 1]


def test_each_channel_has_its_rows_also_without_spots(
    plate: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    for path in PATHS:
        zarr.open_array(str(plate / path / "0"), mode="r+")[0] = 7
    channels = ("0", "FISH")
    outcome = run_quickly(str(plate), tmp_path / "a", channels=channels)
    assert set(outcome.spots["channel"]) == {"FISH"}
    assert set(outcome.cells["channel"]) == {"DAPI", "FISH"}
    only = run_quickly(
        str(plate), tmp_path / "b", channels=channels, cells=None, nuclei=None
    )
    for each in (outcome, only):
        wells = each.wells.query("row == 'B'").set_index("channel")
        assert wells.loc["DAPI", "n_spots"] == 0
        assert wells.loc["FISH", "n_spots"] > 50
        assert wells["n_fields"].tolist() == [2, 2]


def test_without_masks_there_are_spots_and_no_cells(
    pristine: str, tmp_path: Path, complete: Any, run_quickly: Callable[..., Any]
) -> None:
    outcome = run_quickly(pristine, tmp_path / "run", cells=None, nuclei=None)
    blank = complete.spots.assign(cell=0, nucleus=0)
    pd.testing.assert_frame_equal(outcome.spots, blank)
    assert outcome.cells.empty


def test_planes_are_projected_or_kept_apart(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    scene = draw_scene(0, (64, 64), n=8)
    empty = np.full_like(scene.image, 100)
    stack = replace(scene, image=np.stack([empty, scene.image], axis=1))
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": stack})
    kept = run_quickly(plate, tmp_path / "none", project="none")
    assert kept.fields["n_planes"].tolist() == [2]
    assert set(kept.spots["z"]) == {1}
    assert sorted(kept.cells["z"].unique()) == [0, 1]
    assert kept.fields["n_cells"].tolist() == [2]
    top = run_quickly(plate, tmp_path / "max")
    assert set(top.spots["z"]) == {-1}
    mean = run_quickly(plate, tmp_path / "mean", project="mean")
    assert abs(len(mean.spots) - len(kept.spots)) <= 2


class StopError(Exception):
    """A run is killed."""


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_killed_run_goes_on_and_ends_the_same(
    pristine: str,
    tmp_path: Path,
    complete: Any,
    run_quickly: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    monkeypatch.setattr(dispatch, "MAX_BATCH", 1)
    settings = make_settings(
        channels=("FISH",), cells="cells", nuclei="nuclei", enhance=False
    )

    def kill(progress: Any) -> None:
        if progress.done == after:
            raise StopError

    prepared = prepare_run(pristine, str(tmp_path / "run"), settings)
    with pytest.raises(StopError):
        execute_run(prepared, on_progress=kill)
    again = run_quickly(pristine, tmp_path / "run")
    assert (again.progress.done, again.progress.skipped) == (3 - after, after)
    again.assert_same(complete)


def test_a_part_whose_entry_was_not_written_is_done_again(
    pristine: str, tmp_path: Path, complete: Any, run_quickly: Callable[..., Any]
) -> None:
    run_quickly(pristine, tmp_path / "run", selection=Selection(limit=1))
    (entry,) = (tmp_path / "run/manifest").iterdir()
    entry.unlink()
    again = run_quickly(pristine, tmp_path / "run")
    assert again.progress.done == 3
    again.assert_same(complete)


def test_a_trial_is_part_of_the_full_run(
    pristine: str, tmp_path: Path, complete: Any, run_quickly: Callable[..., Any]
) -> None:
    for selection, done in ((Selection(limit=1), 1), (Selection(("B03",)), 1)):
        trial = run_quickly(pristine, tmp_path / "run", selection=selection)
        assert trial.progress.done == done
    full = run_quickly(pristine, tmp_path / "run")
    assert (full.progress.done, full.progress.skipped) == (1, 2)
    full.assert_same(complete)


def test_a_second_run_has_nothing_to_do(
    pristine: str, tmp_path: Path, complete: Any, run_quickly: Callable[..., Any]
) -> None:
    run_quickly(pristine, tmp_path / "run")
    again = run_quickly(pristine, tmp_path / "run")
    assert (again.progress.total, again.progress.skipped) == (0, 3)
    again.assert_same(complete)


def test_batches_do_not_change_the_answer(
    pristine: str,
    tmp_path: Path,
    complete: Any,
    run_quickly: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "MAX_BATCH", 2)
    run_quickly(pristine, tmp_path / "run").assert_same(complete)


def test_progress_counts_every_field(pristine: str, tmp_path: Path) -> None:
    settings = make_settings(channels=("FISH",), enhance=False)
    seen: list[Any] = []
    end = execute_run(
        prepare_run(pristine, str(tmp_path / "run"), settings), on_progress=seen.append
    )
    assert (seen[0].total, seen[0].done, seen[0].last) == (3, 0, None)
    assert sum(len(each.last) for each in seen[1:]) == 3
    assert seen[-1] == end
    assert end.done + end.failed == end.total
    assert end.n_spots == len(open_results(tmp_path / "run").read("spots"))


def test_a_failed_field_is_mended_by_a_retry(
    plate: Path, tmp_path: Path, complete: Any, run_quickly: Callable[..., Any]
) -> None:
    aside = shutil.move(plate / "B/03/1/0", tmp_path / "aside")
    first = run_quickly(str(plate), tmp_path / "run")
    assert list(first.reasons) == ["B/03/1"]
    shutil.move(aside, plate / "B/03/1/0")
    same = run_quickly(str(plate), tmp_path / "run")
    assert (same.progress.done, list(same.reasons)) == (0, ["B/03/1"])
    again = run_quickly(str(plate), tmp_path / "run", retry_failed=True)
    assert (again.progress.done, again.progress.skipped) == (1, 2)
    again.assert_same(complete)


def test_a_run_is_written_to_any_url(
    pristine: str, tmp_path: Path, complete: Any, run_quickly: Callable[..., Any]
) -> None:
    url = f"memory://screen{tmp_path}/run"
    run_quickly(pristine, url, selection=Selection(limit=2))
    again = run_quickly(pristine, url)
    assert (again.progress.done, again.progress.skipped) == (1, 2)
    again.assert_same(complete)
    assert len(again.wells) == 2
