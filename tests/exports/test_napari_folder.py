"""napari's CSV files, read back by napari's own reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.exports.formats import export_run

reading = pytest.importorskip("napari_builtins.io")


def read(path: Path) -> Any:
    data, given, kind = reading.csv_to_layer_data(str(path))
    assert kind == "points"
    return data, given["properties"]


def test_spots_lie_in_micrometres_on_an_image_that_has_them(
    screen: Any, tmp_path: Path
) -> None:
    folder = Path(export_run(screen.run, "napari", tmp_path / "napari"))
    data, measures = read(folder / "B_03_0/spots_FISH.csv")
    spots = screen.outcome.spots.query("row == 'B' and field == '0'")
    np.testing.assert_allclose(data, spots[["y_um", "x_um"]])
    np.testing.assert_array_equal(measures["cell"], spots["cell"])
    np.testing.assert_allclose(measures["snr"], spots["snr"])


def test_cells_stand_at_their_centroid(screen: Any, tmp_path: Path) -> None:
    folder = Path(export_run(screen.run, "napari", tmp_path / "napari"))
    data, measures = read(folder / "B_03_1/cells_FISH.csv")
    cells = screen.outcome.cells.query("row == 'B' and field == '1'")
    np.testing.assert_allclose(data, cells[["cell_y", "cell_x"]] * [0.2, 0.1])
    assert set(measures["n_spots"]) == {0}
    assert np.isnan(measures["resultant_length"]).all()
    assert set(measures["condition"]) == {"migrating"}


def test_tables_without_rows_give_no_files(screen: Any, tmp_path: Path) -> None:
    folder = Path(export_run(screen.run, "napari", tmp_path / "napari"))
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.csv")}
    assert files == {
        "B_03_0/spots_FISH.csv",
        "B_03_0/cells_FISH.csv",
        "B_03_1/cells_FISH.csv",
        "C_04_0/spots_FISH.csv",
    }
    assert f"{screen.plate}/B/03/0" in (folder / "README.txt").read_text()


def test_channels_are_layers_of_their_own(two_channels: Any, tmp_path: Path) -> None:
    folder = export_run(two_channels.run, "napari", tmp_path / "n", fields=["B/03/0"])
    data, _ = read(Path(folder) / "B_03_0/cells_DAPI.csv")
    assert len(data) == 6


def test_time_is_the_first_axis_of_a_movie(movie: Any, tmp_path: Path) -> None:
    folder = Path(export_run(movie.run, "napari", tmp_path / "napari"))
    data, _ = read(folder / "B_03_0/spots_FISH.csv")
    spots = movie.outcome.spots
    np.testing.assert_allclose(data, spots[["t", "y_um", "x_um"]])
    assert set(data[:, 0]) == {0, 1}


def test_spots_of_a_volume_lie_in_micrometres_along_z_too(
    volume: Any, tmp_path: Path
) -> None:
    folder = Path(export_run(volume.run, "napari", tmp_path / "napari"))
    data, _ = read(folder / "B_03_0/spots_FISH.csv")
    spots = volume.outcome.spots
    np.testing.assert_allclose(data, spots[["z_um", "y_um", "x_um"]])
    cells, _ = read(folder / "B_03_0/cells_FISH.csv")
    assert cells.shape[1] == 2
