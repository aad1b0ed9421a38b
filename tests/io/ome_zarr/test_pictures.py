"""Pictures outside a plate: levels, sizes and places, read back by us and others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from deepspot_scale.errors import SettingsError
from deepspot_scale.io.ome_zarr.pictures import PicturePixels, write_picture
from deepspot_scale.io.plate import open_plate


def draw(shape: tuple[int, int] = (700, 1001)) -> np.ndarray:
    return np.random.default_rng(1).poisson(0.2, shape).astype(np.float32)


def read_ome(target: Path) -> dict:
    return json.loads((target / "zarr.json").read_text())["attributes"]["ome"]


def test_the_picture_is_read_back_with_its_pixel_size(tmp_path: Path) -> None:
    picture = draw()
    write_picture(tmp_path / "p.zarr", picture, PicturePixels(10.0))
    (entry,) = open_plate(tmp_path / "p.zarr").entries
    field = open_plate(tmp_path / "p.zarr").open(entry.address.path)
    assert field.pixel_size_um == (0.01, 0.01)
    np.testing.assert_array_equal(field.read(), picture)


def test_levels_are_means_down_to_a_small_one(tmp_path: Path) -> None:
    picture = draw((512, 1024))
    write_picture(tmp_path / "p.zarr", picture, PicturePixels(10.0))
    group = zarr.open_group(tmp_path / "p.zarr")
    shapes = [group[str(i)].shape for i in range(3)]
    assert shapes == [(512, 1024), (256, 512), (128, 256)]
    assert sorted(group.array_keys()) == ["0", "1", "2"]
    mean = picture.reshape(256, 2, 512, 2).mean((1, 3))
    np.testing.assert_allclose(group["1"][...], mean, rtol=1e-6)


def test_a_picture_over_a_camera_image_begins_at_the_same_corner(
    tmp_path: Path,
) -> None:
    pixels = PicturePixels(10.0, camera_nm=100.0)
    write_picture(tmp_path / "p.zarr", draw(), pixels)
    (multiscale,) = read_ome(tmp_path / "p.zarr")["multiscales"]
    for i, level in enumerate(multiscale["datasets"]):
        steps = level["coordinateTransformations"]
        scale, shift = (step[step["type"]] for step in steps)
        assert scale == pytest.approx([0.01 * 2**i] * 2)
        # The outer corner of the first pixel is that of the camera's first pixel.
        assert shift[0] - scale[0] / 2 == pytest.approx(-0.05)


def test_viewers_open_with_the_lit_pixels_visible(tmp_path: Path) -> None:
    picture = draw()
    write_picture(tmp_path / "p.zarr", picture, PicturePixels(10.0), name="tubes")
    (channel,) = read_ome(tmp_path / "p.zarr")["omero"]["channels"]
    assert channel["label"] == "tubes"
    assert 0 < channel["window"]["end"] <= picture.max()
    black = tmp_path / "black.zarr"
    write_picture(black, np.zeros((9, 9), np.float32), PicturePixels(10.0))
    assert read_ome(black)["omero"]["channels"][0]["window"]["end"] == 1


def test_the_metadata_are_valid(tmp_path: Path) -> None:
    models = pytest.importorskip("ome_zarr_models.v05.image")
    about = {"localisations": {"method": "gaussian"}}
    write_picture(tmp_path / "p.zarr", draw(), PicturePixels(10.0, 100.0), about=about)
    group = zarr.open_group(tmp_path / "p.zarr", mode="r")
    models.Image.from_zarr(group)
    assert group.attrs["localisations"] == {"method": "gaussian"}


def test_only_an_image_is_replaced_and_only_on_request(tmp_path: Path) -> None:
    target = tmp_path / "p.zarr"
    write_picture(target, draw(), PicturePixels(10.0))
    with pytest.raises(SettingsError, match="ask to overwrite"):
        write_picture(target, draw(), PicturePixels(10.0))
    write_picture(target, draw((50, 60)), PicturePixels(10.0), overwrite=True)
    assert zarr.open_group(target)["0"].shape == (50, 60)
    assert sorted(zarr.open_group(target).array_keys()) == ["0"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("five years")
    with pytest.raises(SettingsError, match="is no image"):
        write_picture(mine, draw(), PicturePixels(10.0), overwrite=True)
    assert (mine / "thesis.txt").is_file()


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, np.inf])
def test_pixels_without_a_size_are_refused(tmp_path: Path, size: float) -> None:
    with pytest.raises(SettingsError, match="above 0 nm"):
        write_picture(tmp_path / "p.zarr", draw(), PicturePixels(size))
    with pytest.raises(SettingsError, match="above 0 nm"):
        write_picture(tmp_path / "p.zarr", draw()[None], PicturePixels(10.0))
