"""Tables inside the plate, read back by ngio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from deepspot_scale.errors import RunError
from deepspot_scale.exports.formats import export_run
from deepspot_scale.exports.fractal_tables import write_fractal_tables
from deepspot_scale.runs.results import open_run

# ngio reads plates without a version, as the 0.5 schema has it, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:'version' field not specified")
ngio = pytest.importorskip("ngio")


@pytest.fixture(scope="module")
def screen_04(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Any,
    write_plate: Any,
    run_quickly: Any,
    make_screen: Any,
) -> Any:
    """The same run on a plate of version 0.4; never changed."""
    folder = tmp_path_factory.mktemp("older")
    return make_screen(folder, draw_scene, write_plate, run_quickly, version="0.4")


@pytest.fixture(params=["0.4", "0.5"])
def own_plate(
    request: pytest.FixtureRequest, tmp_path: Path, screen: Any, screen_04: Any
) -> Any:
    """A copy of a plate of either version, and of its run."""
    return (screen if request.param == "0.5" else screen_04).copy(tmp_path)


BARE = ["deepspot_field_ROI_table", "deepspot_spots_FISH"]


def open_field(screen: Any, path: str) -> Any:
    return ngio.open_ome_zarr_container(str(screen.plate / path))


def test_measures_are_read_back_by_label(own_plate: Any) -> None:
    assert export_run(own_plate.run, "ngio") == own_plate.plate
    table = open_field(own_plate, "B/03/0").get_feature_table("deepspot_cells_FISH")
    cells = own_plate.outcome.cells.query("row == 'B' and field == '0'")
    assert table.reference_label == "cells"
    assert table.dataframe.index.tolist() == cells["cell"].tolist()
    for name in ("area", "n_spots", "resultant_deg", "reference_deg"):
        np.testing.assert_array_equal(table.dataframe[name], cells[name])


def test_the_region_of_interest_is_the_whole_field(own_plate: Any) -> None:
    export_run(own_plate.run, "ngio")
    field = open_field(own_plate, "C/04/0")
    (roi,) = field.get_roi_table("deepspot_field_ROI_table").rois()
    image = field.get_image()
    np.testing.assert_array_equal(image.get_roi(roi), image.get_array())


def test_only_the_group_tables_is_written_to(own_plate: Any) -> None:
    before = own_plate.images
    export_run(own_plate.run, "ngio")
    assert own_plate.images == before
    formats = {
        zarr.open_group(str(own_plate.plate / path), mode="r").metadata.zarr_format
        for path in ("B/03/0", "B/03/0/tables", "B/03/0/tables/deepspot_cells_FISH")
    }
    assert len(formats) == 1


def test_existing_tables_are_replaced_only_on_request(own_screen: Any) -> None:
    export_run(own_screen.run, "ngio")
    with pytest.raises(RunError, match=r"B/03/0 .*deepspot_cells_FISH.*overwrite"):
        export_run(own_screen.run, "ngio")
    export_run(own_screen.run, "ngio", overwrite=True)
    tables = open_field(own_screen, "B/03/0").list_tables()
    assert sorted(tables) == ["deepspot_cells_FISH", *BARE]


def test_tables_of_others_stay(own_screen: Any) -> None:
    field = open_field(own_screen, "B/03/0")
    theirs = field.build_image_roi_table("FOV")
    field.add_table("FOV_ROI_table", theirs, backend="parquet")
    export_run(own_screen.run, "ngio", overwrite=True)
    assert "FOV_ROI_table" in open_field(own_screen, "B/03/0").list_tables()


def test_a_field_without_cells_or_spots_has_no_such_table(own_screen: Any) -> None:
    export_run(own_screen.run, "ngio")
    assert sorted(open_field(own_screen, "C/04/0").list_tables()) == BARE
    spotless = sorted(open_field(own_screen, "B/03/1").list_tables())
    assert spotless == ["deepspot_cells_FISH", "deepspot_field_ROI_table"]


def test_spots_are_read_back(own_plate: Any) -> None:
    export_run(own_plate.run, "ngio")
    table = open_field(own_plate, "B/03/0").get_table("deepspot_spots_FISH")
    spots = own_plate.outcome.spots.query("row == 'B' and field == '0'")
    assert len(spots) > 10
    for name in ("y", "x", "y_um", "snr", "cell", "nucleus"):
        np.testing.assert_array_equal(table.dataframe[name], spots[name])


def test_a_run_without_cells_gives_spots(without_cells: Any, tmp_path: Path) -> None:
    own = without_cells.copy(tmp_path)
    export_run(own.run, "ngio")
    assert sorted(open_field(own, "B/03/0").list_tables()) == BARE


def test_each_channel_has_its_table(two_channels: Any, tmp_path: Path) -> None:
    own = two_channels.copy(tmp_path)
    export_run(own.run, "ngio", fields=["B/03/0"])
    tables = open_field(own, "B/03/0").list_tables("feature_table")
    assert sorted(tables) == ["deepspot_cells_DAPI", "deepspot_cells_FISH"]


def test_each_time_point_has_its_table(movie: Any, tmp_path: Path) -> None:
    own = movie.copy(tmp_path)
    export_run(own.run, "ngio")
    field = open_field(own, "B/03/0")
    names = ["deepspot_cells_FISH_t0", "deepspot_cells_FISH_t1"]
    assert sorted(field.list_tables("feature_table")) == names
    (roi,) = field.get_roi_table("deepspot_field_ROI_table").rois()
    assert field.get_image().get_roi(roi).shape == (2, 2, 3, 128, 160)


def test_images_that_are_no_ome_zarr_take_no_tables(
    tmp_path: Path, run_quickly: Any, draw_scene: Any
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    tifffile.imwrite(folder / "a.tif", draw_scene(0).image[1])
    run_quickly(str(folder), tmp_path / "run", channels=("0",), cells=None, nuclei=None)
    settings = tmp_path / "run/settings.toml"
    settings.write_text('cells = "cells"\n' + settings.read_text())
    results = open_run(tmp_path / "run")  # which has such labels in its settings alone
    with pytest.raises(RunError, match=r"is no OME-Zarr image"):
        write_fractal_tables(results, overwrite=False)


def test_the_region_of_a_volume_is_as_deep_as_its_stack(
    volume: Any, tmp_path: Path
) -> None:
    own = volume.copy(tmp_path)
    export_run(own.run, "ngio")
    field = open_field(own, "B/03/0")
    (roi,) = field.get_roi_table("deepspot_field_ROI_table").rois()
    assert field.get_image().get_roi(roi).shape == (2, 9, 128, 160)
    table = field.get_feature_table("deepspot_cells_FISH").dataframe
    cells = volume.outcome.cells
    np.testing.assert_array_equal(table["n_spots"], cells["n_spots"])
