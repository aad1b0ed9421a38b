"""SpatialData: points, labels and tables, read back by spatialdata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.exports import spatialdata_store
from deepspot_scale.exports.formats import export_run
from deepspot_scale.io.ome_zarr.writing import write_labels
from deepspot_scale.io.plate import open_plate
from deepspot_scale.vocabulary import FieldAddress

# The library itself calls what others announce to remove or change.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning"),
]
spatialdata = pytest.importorskip("spatialdata")


def export(screen: Any, folder: Path, **options: Any) -> Any:
    out = export_run(screen.run, "spatialdata", folder / "s.zarr", **options)
    return spatialdata.read_zarr(out)


@pytest.fixture(scope="module")
def back(screen: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return export(screen, tmp_path_factory.mktemp("spatialdata"))


def test_each_field_has_its_elements_and_its_coordinates(back: Any) -> None:
    assert set(back.points) == {"B_03_0_spots", "C_04_0_spots"}
    fields = ("B_03_0", "B_03_1", "C_04_0")
    assert set(back.labels) == {f"{f}_{n}" for f in fields for n in ("cells", "nuclei")}
    assert set(back.tables) == {"cells_FISH"}
    assert set(back.coordinate_systems) == set(fields)


def test_points_are_the_spots_in_micrometres_from_the_corner(
    back: Any, screen: Any
) -> None:
    spots = screen.outcome.spots.query("row == 'B'")
    placed = spatialdata.transform(
        back["B_03_0_spots"], to_coordinate_system="B_03_0"
    ).compute()
    np.testing.assert_allclose(placed["y"], (spots["y"] + 0.5) * 0.2)
    np.testing.assert_allclose(placed["x"], (spots["x"] + 0.5) * 0.1)
    np.testing.assert_array_equal(placed["snr"], spots["snr"])
    assert set(placed["channel"].astype(str)) == {"FISH"}


def test_each_point_lies_on_its_own_cell(back: Any) -> None:
    points = back["B_03_0_spots"].compute()
    for kind, column in (("cells", "cell"), ("nuclei", "nucleus")):
        labels = back[f"B_03_0_{kind}"]
        # Label pixels have their centres at 0.5, 1.5, ...
        assert float(labels["x"][0]) == 0.5
        x, y = (points[axis].to_xarray() for axis in "xy")
        under = labels.sel(x=x, y=y, method="nearest").to_numpy()
        np.testing.assert_array_equal(under, points[column])
    assert points["cell"].gt(0).any()


def test_the_table_annotates_the_labels_of_the_cells(back: Any, screen: Any) -> None:
    table = back["cells_FISH"]
    for field, n in (("B_03_0", 6), ("B_03_1", 6)):
        joined = spatialdata.match_table_to_element(
            back, f"{field}_cells", "cells_FISH"
        )
        labels = np.unique(back[f"{field}_cells"])
        own = table.obs[table.obs["region"] == f"{field}_cells"]
        assert sorted(own["cell"]) == [label for label in labels if label]
        assert joined.n_obs == n
    np.testing.assert_array_equal(
        table[:, "n_spots"].X.ravel(), screen.outcome.cells["n_spots"]
    )


def test_where_it_comes_from_and_what_failed_is_told(back: Any, screen: Any) -> None:
    facts = back.attrs["deepspot_scale"]
    assert json.loads(facts["provenance"])["input"]["source"] == str(screen.plate)
    assert list(facts["failed"]) == ["C/05/0"]


def test_large_labels_have_several_resolutions(
    screen: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spatialdata_store, "_CHUNK", 40)
    back = export(screen, tmp_path, fields=["B/03/0"])
    levels = back["B_03_0_cells"]
    shapes = [level["image"].shape for level in levels.children.values()]
    assert shapes == [(128, 160), (64, 80), (32, 40)]
    cells = np.unique(levels["scale0"]["image"])
    assert set(np.unique(levels["scale2"]["image"])) == set(cells)


def test_images_come_along_on_request(screen: Any, tmp_path: Path) -> None:
    back = export(screen, tmp_path, fields=["B/03/0"], images=True)
    image = back["B_03_0_image"]
    assert list(image["c"].to_numpy()) == ["DAPI", "FISH"]
    assert image.shape == (2, 128, 160)
    assert set(back.images) == {"B_03_0_image"}


def test_each_channel_has_its_table(two_channels: Any, tmp_path: Path) -> None:
    back = export(two_channels, tmp_path, fields=["B/03/0"])
    assert set(back.tables) == {"cells_DAPI", "cells_FISH"}
    assert [back[f"cells_{c}"].n_obs for c in ("DAPI", "FISH")] == [6, 6]


def test_each_time_point_is_a_frame_of_its_own(movie: Any, tmp_path: Path) -> None:
    back = export(movie, tmp_path, images=True)
    assert set(back.coordinate_systems) == {"B_03_0_t0", "B_03_0_t1"}
    numbers = movie.outcome.spots.groupby("t").size()
    assert [len(back[f"B_03_0_t{t}_spots"]) for t in (0, 1)] == numbers.tolist()
    assert set(back["cells_FISH"].obs["region"]) == {
        "B_03_0_t0_cells",
        "B_03_0_t1_cells",
    }
    assert back["B_03_0_t1_image"].shape == (2, 128, 160)


def test_a_run_without_cells_gives_points_alone(
    without_cells: Any, tmp_path: Path
) -> None:
    back = export(without_cells, tmp_path)
    assert set(back.points) == {"B_03_0_spots", "C_04_0_spots"}
    assert not back.labels
    assert not back.tables


def test_it_is_replaced_on_request(screen: Any, tmp_path: Path) -> None:
    export(screen, tmp_path, fields=["B/03/0"])
    assert len(export(screen, tmp_path, fields=["C/04/0"], overwrite=True).points) == 1


def test_another_ending_is_refused(screen: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ending in \.zarr"):
        export_run(screen.run, "spatialdata", tmp_path / "s")


def test_a_volume_has_points_and_image_with_depth_and_flat_labels(
    volume: Any, tmp_path: Path
) -> None:
    back = export(volume, tmp_path, images=True)
    spots = volume.outcome.spots
    placed = spatialdata.transform(
        back["B_03_0_spots"], to_coordinate_system="B_03_0"
    ).compute()
    for axis, size in {"z": 0.3, "y": 0.2, "x": 0.1}.items():
        np.testing.assert_allclose(placed[axis], (spots[axis] + 0.5) * size)
    np.testing.assert_array_equal(placed["z_um"], spots["z_um"])
    image = back["B_03_0_image"]
    assert image.dims == ("c", "z", "y", "x")
    assert image.shape == (2, 9, 128, 160)
    assert back["B_03_0_cells"].shape == (128, 160)
    extent = spatialdata.get_extent(back["B_03_0_image"], coordinate_system="B_03_0")
    np.testing.assert_allclose(extent["z"], (0, 2.7))


def test_each_point_of_a_volume_lies_on_bright_voxels(
    volume: Any, tmp_path: Path
) -> None:
    back = export(volume, tmp_path, images=True)
    points, image = back["B_03_0_spots"].compute(), back["B_03_0_image"].sel(c="FISH")
    places = {axis: points[axis].to_xarray() for axis in "zyx"}
    under = image.sel(**places, method="nearest").to_numpy()
    assert np.median(under) > 2 * np.median(image.to_numpy())


def test_a_large_volume_has_several_resolutions_but_all_its_planes(
    volume: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spatialdata_store, "_CHUNK", 80)
    levels = export(volume, tmp_path, images=True)["B_03_0_image"]
    shapes = [level["image"].shape for level in levels.children.values()]
    assert shapes == [(2, 9, 128, 160), (2, 9, 64, 80)]


def test_labels_of_several_planes_keep_them_in_a_volume(
    volume: Any, tmp_path: Path, run_quickly: Any
) -> None:
    own = volume.copy(tmp_path)
    flat = open_plate(str(own.plate)).open("B/03/0").read_labels("cells")
    deep = np.stack([flat * (z > 3) for z in range(9)])
    address = FieldAddress.from_path("B/03/0")
    write_labels(own.plate, address, "cells", deep, axes="zyx")
    options = {"enhance": True, "model": "deepspot-fast", "volume": True}
    run_quickly(str(own.plate), tmp_path / "deep", polarity=False, **options)
    out = export_run(tmp_path / "deep", "spatialdata", tmp_path / "s.zarr")
    back = spatialdata.read_zarr(out)
    assert back["B_03_0_cells"].dims == ("z", "y", "x")
    np.testing.assert_array_equal(back["B_03_0_cells"], deep)
    assert back["B_03_0_nuclei"].dims == ("y", "x")


def test_an_image_of_several_planes_is_projected_unless_it_is_a_volume(
    movie: Any, tmp_path: Path
) -> None:
    back = export(movie, tmp_path, images=True)
    assert back["B_03_0_t0_image"].dims == ("c", "y", "x")
    assert "depth" in back["B_03_0_t0_spots"]
    assert "z" not in back["B_03_0_t0_spots"]
