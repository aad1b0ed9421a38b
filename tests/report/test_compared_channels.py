"""The section of compared channels: there if channels were, and in plain words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.report.compared_channels import (
    compared_figures,
    compared_words,
    count_distances,
)
from deepspot_scale.report.page import write_report
from deepspot_scale.runs.results import RunResults, open_run


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> RunResults:
    """A run on two wells, whose two channels show the same spots."""
    folder, scenes = tmp_path_factory.mktemp("compared"), {}
    for seed, path in enumerate(("B/03/0", "C/04/0")):
        scene = draw_scene(seed, (192, 192), n=60)
        own = vars(scene) | {"image": np.stack([scene.image[1]] * 2)}
        scenes[path] = SimpleNamespace(**own)
    names = ("A<b>", "B")
    plate = write_plate(folder / "plate.zarr", scenes, channels=names)
    done = run_quickly(plate, folder / "run", channels=names, colocalise=("A<b>:B",))
    return open_run(done.folder.url)


def test_the_page_has_the_section_with_its_figures_and_tables(run: RunResults) -> None:
    page = write_report(run.folder.local_path).read_text("utf-8")
    assert "<h2>Channels compared</h2>" in page
    assert "A&lt;b&gt;:B: " in page
    assert "A<b>" not in page
    written = {path.name for path in (run.folder.local_path / "report").iterdir()}
    assert {"shares_A_b_B.svg", "distances_A_b_B.svg", "colocalisation.csv"} <= written
    assert "table_pairs.csv" not in written


def test_figures_show_every_share_and_every_pair(run: RunResults) -> None:
    shares, distances = compared_figures(run)
    table = run.summaries["colocalisation"]
    pd.testing.assert_frame_equal(shares.numbers, table[table["share"].notna()])
    assert distances.numbers["n_pairs"].sum() == len(run.read("pairs"))
    assert distances.numbers["n_pairs"][0] == len(run.read("pairs"))  # the same spots
    edges = count_distances(run, "A<b>", "B")
    assert edges["from_px"].iloc[0] == 0.0
    assert edges["to_px"].iloc[-1] == run.settings.pair_distance


def test_a_run_that_compares_nothing_has_no_section(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    plate = write_plate(tmp_path / "plate.zarr", {"B/03/0": draw_scene(0)})
    done = open_run(run_quickly(plate, tmp_path / "run").folder.url)
    assert compared_words(done) == ""
    assert "Channels compared" not in write_report(tmp_path / "run").read_text("utf-8")
