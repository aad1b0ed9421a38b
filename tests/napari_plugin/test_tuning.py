"""What is tuned is what a run with the same settings finds; no window is needed."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import InputWarning, RunError, SettingsError
from deepspot_scale.exports.sector_labels import draw_field
from deepspot_scale.exports.viewer import plate_layers
from deepspot_scale.napari_plugin.reader import get_reader
from deepspot_scale.napari_plugin.sources import KEY, open_source
from deepspot_scale.napari_plugin.tuning import (
    StoppedError,
    cell_rows,
    check_tunable,
    describe_found,
    draw_again,
    enhance_subject,
    find_again,
    fits,
    read_subject,
    tuned_settings,
)
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import make_settings

PATHS = ("B/03/0", "B/03/1")
NUMBERS = {
    "floor": 0.8,
    "min_relative_intensity": 0.4,
    "sectors": 6,
    "reference": "angle:30",
}
PLACE = ["t", "y", "x", "intensity", "probability", "molecules", "site", "cell"]
MEASURES = ["t", "cell", "n_spots_cytoplasm", "reference_deg", "resultant_deg"]


def _tune(source: Any, path: str, **numbers: Any) -> tuple[Any, Any, Any]:
    opened = open_source(str(source))
    settings = tuned_settings(opened.settings, "FISH", **numbers)
    subject = read_subject(opened, path, "FISH")
    enhanced = enhance_subject(subject, opened.settings)
    return enhanced, find_again(enhanced, settings), settings


def _same(found: Any, folder: Path, path: str) -> None:
    results = open_results(folder).only([path])
    spots, cells = results.read("spots"), results.read("cells")
    assert len(spots) > 20
    for tables, columns in (
        ((found.spots, spots), PLACE),
        ((found.cells, cells), MEASURES),
    ):
        one, other = (
            table[columns].sort_values(columns[:3], kind="stable", ignore_index=True)
            for table in tables
        )
        pd.testing.assert_frame_equal(one, other, check_exact=True)


def test_tuned_spots_and_cells_are_those_of_a_run_with_the_settings(
    run: Path, plate: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    given = {"enhance": True, "model": "deepspot-fast"}
    again = run_quickly(str(plate), tmp_path / "again", **given, **NUMBERS)
    _, found, _ = _tune(run, PATHS[1], **NUMBERS)
    _same(found, Path(again.folder.url), PATHS[1])
    before = _tune(run, PATHS[1])[1]
    _same(before, run, PATHS[1])
    assert len(found.spots) < len(before.spots)


@pytest.mark.parametrize("kind", ["max", "mean", "none", "volume"])
def test_stacks_and_time_points_are_tuned_as_a_run_takes_them(
    tmp_path: Path, draw_varied: Any, write_plate: Any, run_quickly: Any, kind: str
) -> None:
    times = []
    for seed in (3, 4):
        scene = draw_varied(seed)
        light = np.multiply.outer((0.2, 1.0, 0.3), scene.image - 50.0) + 50
        times.append(light.swapaxes(0, 1).astype(np.uint16))
    n_t = 1 if kind == "volume" else 2
    scene = replace(scene, image=np.stack(times[:n_t]))
    plate = write_plate(tmp_path / "p.zarr", {PATHS[0]: scene}, z_step_um=0.3)
    own = {"volume": True} if kind == "volume" else {"project": kind}
    given = {"enhance": True, "model": "deepspot-fast", **own}
    run_quickly(str(plate), tmp_path / "run", **given, reference="angle:30")
    enhanced, found, settings = _tune(tmp_path / "run", PATHS[0])
    _same(found, tmp_path / "run", PATHS[0])
    drawn = draw_again(enhanced.subject, found, settings)
    assert drawn is not None
    assert drawn.shape == enhanced.image.shape


def test_a_detector_by_rules_is_tuned_by_searching_again(
    plate: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    given = {"enhance": True, "model": "deepspot-fast", "detector": "paper"}
    run_quickly(str(plate), tmp_path / "run", **given)
    run_quickly(str(plate), tmp_path / "again", **given, floor=0.6)
    enhanced, found, _ = _tune(tmp_path / "run", PATHS[0], floor=0.6)
    assert enhanced.candidates is None
    _same(found, tmp_path / "again", PATHS[0])


def test_the_network_stops_before_its_next_block(run: Path) -> None:
    opened = open_source(str(run))
    subject = read_subject(opened, PATHS[0], "FISH")
    asked = []

    def stopped() -> bool:
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(StoppedError):
        enhance_subject(subject, opened.settings, stopped)
    assert len(asked) == 2
    with pytest.raises(StoppedError):
        read_subject(opened, PATHS[0], "FISH", lambda: True)


def test_wide_spots_ask_for_another_enhanced_image(run: Path) -> None:
    enhanced, _, settings = _tune(run, PATHS[0])
    wide = tuned_settings(settings, "FISH", spot_sigma=5.0)
    assert fits(enhanced, tuned_settings(settings, "FISH", spot_sigma=3.0))
    assert not fits(enhanced, wide)
    with pytest.raises(SettingsError, match="enhance again"):
        find_again(enhanced, wide)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"enhance": False}, "has its own"),
        ({"detector": "raw"}, "has its own"),
        ({"denoise": True}, "denoises"),
    ],
)
def test_settings_whose_numbers_would_not_decide_are_refused(
    given: dict[str, Any], word: str
) -> None:
    with pytest.raises(SettingsError, match=word):
        check_tunable(make_settings(channels=["FISH"], **given))


def test_sectors_are_those_that_an_export_draws(run: Path) -> None:
    enhanced, found, settings = _tune(run, PATHS[0])
    results = open_results(run)
    field = results.plate.open(PATHS[0])
    cells = results.only([PATHS[0]]).read("cells")
    drawn = draw_again(enhanced.subject, found, settings)
    np.testing.assert_array_equal(drawn, draw_field(field, cells, results)[0])


def test_words_and_rows_tell_spots_and_cells(run: Path) -> None:
    _, found, settings = _tune(run, PATHS[0], reference="angle:0")
    words = describe_found(found, settings)
    assert words.startswith(f"{len(found.spots)} spots")
    assert "polarity index" in words
    rows = cell_rows(found, settings)
    assert rows["spots"].tolist() == found.cells["n_spots_cytoplasm"].tolist()
    bins, areas = (np.stack(found.cells[n]) for n in ("spot_bins", "area_bins"))
    near = [*range(60), *range(300, 360)]
    with np.errstate(invalid="ignore"):  # a cell without spots, or none of it there
        share, fair = (each[:, near].sum(1) / each.sum(1) for each in (bins, areas))
        toward = share / fair
    np.testing.assert_allclose(rows["toward"], toward, atol=0.006)


def test_a_plate_without_a_run_begins_with_its_first_channel(plate: Path) -> None:
    opened = open_source(str(plate))
    assert opened.settings.channels == ("DAPI",)
    assert opened.labels == {"cells": "cells", "nuclei": "nuclei"}
    assert opened.paths == PATHS
    layers = [(given["name"], kind) for _, given, kind in opened.layers(PATHS[1])]
    assert layers == [
        ("DAPI", "image"),
        ("FISH", "image"),
        ("cells", "labels"),
        ("nuclei", "labels"),
    ]
    _, given, _ = opened.layers(PATHS[1])[0]
    assert given["metadata"][KEY] == {"source": str(plate), "field": PATHS[1]}
    assert len(plate_layers(plate, PATHS[1])) == len(layers)


def test_a_file_of_references_is_read_once_and_its_gaps_told_once(
    plate: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    lines = tmp_path / "reference.csv"
    lines.write_text("well,field,y,x\nB03,1,10,500\n")
    given = {"enhance": True, "model": "deepspot-fast", "reference": str(lines)}
    run_quickly(str(plate), tmp_path / "run", **given)
    opened = open_source(str(tmp_path / "run"))
    with pytest.warns(InputWarning, match="no reference"):
        subject = read_subject(opened, PATHS[1], "FISH")
    enhanced = enhance_subject(subject, opened.settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _same(find_again(enhanced, opened.settings), tmp_path / "run", PATHS[1])


def test_labels_without_cells_are_tuned_without_polarity(
    tmp_path: Path, draw_scene: Any, write_plate: Any
) -> None:
    scenes = {PATHS[0]: draw_scene(0)}
    plate = write_plate(tmp_path / "p.zarr", scenes, masks=("nuclei",))
    _, found, settings = _tune(plate, PATHS[0])
    assert found.cells is None
    assert "no polarity" in describe_found(found, settings)
    assert cell_rows(found, settings).empty


def test_runs_and_plates_have_a_reader_and_other_folders_have_none(
    run: Path, plate: Path, tmp_path: Path
) -> None:
    assert get_reader(str(run)) is not None
    assert get_reader(str(plate)) is not None
    assert get_reader(str(tmp_path)) is None
    assert get_reader([str(run), str(plate)]) is None


def test_a_run_that_is_not_finished_is_refused(run: Path, tmp_path: Path) -> None:
    for name in ("settings.toml", "provenance.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(RunError, match="let it finish"):
        open_source(str(tmp_path))


def test_code_that_a_run_names_is_not_loaded(run: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    text = (run / "settings.toml").read_text()
    text = text.replace("[detect]", '[detect]\ndetector = "mine:detector"')
    (copied / "settings.toml").write_text(text)
    with pytest.raises(SettingsError, match="belongs to no installed package"):
        open_source(str(copied))


def test_settings_of_several_channels_keep_them() -> None:
    settings = make_settings(channels=["DAPI", "FISH"])
    assert tuned_settings(settings, "FISH").channels == ("DAPI", "FISH")
    assert tuned_settings(settings, "RNA").channels == ("RNA",)
