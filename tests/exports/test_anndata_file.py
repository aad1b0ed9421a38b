"""AnnData: cells and measures, read back by anndata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.exports.formats import export_run
from deepspot_scale.settings import read_settings

anndata = pytest.importorskip("anndata")


@pytest.fixture
def back(screen: Any, tmp_path: Path) -> Any:
    return anndata.read_h5ad(export_run(screen.run, "anndata", tmp_path / "a.h5ad"))


def test_measures_are_those_of_the_run(back: Any, screen: Any) -> None:
    cells = screen.outcome.cells
    assert back.n_obs == len(cells) > 6
    for name in ("area", "n_spots", "resultant_length", "reference_deg"):
        np.testing.assert_array_equal(back[:, name].X.ravel(), cells[name])
    assert back.var["meaning"].str.len().min() > 5


def test_cells_know_their_well_and_what_it_holds(back: Any, screen: Any) -> None:
    assert back.obs_names.is_unique
    assert back.obs_names[0] == "B/03/0/FISH/t0/z0/1"
    assert set(back.obs["plate"]) == {"plate"}
    assert set(back.obs["well"]) == {"B03"}
    words = back.obs[["condition", "gene", "replicate", "channel"]]
    assert words.drop_duplicates().to_numpy().tolist() == [
        ["migrating", "RAB13", "1", "FISH"]
    ]
    np.testing.assert_array_equal(back.obs["cell"], screen.outcome.cells["cell"])


def test_places_are_x_then_y(back: Any, screen: Any) -> None:
    np.testing.assert_array_equal(
        back.obsm["spatial"], screen.outcome.cells[["cell_x", "cell_y"]]
    )


def test_cells_without_spots_are_there_with_zero(back: Any) -> None:
    spotless = back[back.obs["field"] == "1"]
    assert spotless.n_obs > 0
    assert (spotless[:, "n_spots"].X == 0).all()
    assert np.isnan(spotless[:, "resultant_length"].X).all()


def test_where_it_comes_from_is_told(back: Any, screen: Any) -> None:
    assert json.loads(back.uns["provenance"])["input"]["source"] == str(screen.plate)
    assert read_settings(back.uns["settings"]).cells == "cells"
    fields = back.uns["fields"]
    assert fields["status"].tolist() == ["done", "done", "done", "failed"]
    assert fields["reason"].tolist()[-1]


def test_each_channel_of_a_cell_is_a_row(two_channels: Any, tmp_path: Path) -> None:
    out = export_run(two_channels.run, "anndata", tmp_path / "a.h5ad")
    back = anndata.read_h5ad(out)
    assert back.obs["channel"].value_counts().nunique() == 1
    assert set(back.obs["channel"]) == {"DAPI", "FISH"}
    assert back.obs_names.is_unique


def test_a_field_without_cells_gives_no_rows(screen: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.h5ad"
    export_run(screen.run, "anndata", out, fields=["C/04/0"])
    assert anndata.read_h5ad(out).n_obs == 0


def test_a_run_without_cells_says_so(without_cells: Any, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"AnnData holds cells.*without --cells"):
        export_run(without_cells.run, "anndata", tmp_path / "a.h5ad")
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused(screen: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ending in \.h5ad"):
        export_run(screen.run, "anndata", tmp_path / "a.csv")


def test_cells_of_a_volume_are_flat_and_count_the_spots_of_all_planes(
    volume: Any, tmp_path: Path
) -> None:
    out = export_run(volume.run, "anndata", tmp_path / "a.h5ad")
    back = anndata.read_h5ad(out)
    assert set(back.obs["z"]) == {-1}
    spots = volume.outcome.spots
    inside = spots[spots["cell"] > 0].groupby("cell").size()
    counts = back[:, "n_spots"].X.ravel()
    expected = inside.reindex(back.obs["cell"], fill_value=0)
    np.testing.assert_array_equal(counts, expected)
