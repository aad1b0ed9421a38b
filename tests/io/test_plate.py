"""Reading of plates: ours, those of other writers, and damaged ones."""

from __future__ import annotations

import json
import pickle
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import dask
import ngio
import numpy as np
import pytest
import xarray as xr
import zarr
from numcodecs import Blosc

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_plate,
    write_image,
    write_labels,
)
from deepspot_scale.io.plate import Plate, open_field, open_plate
from deepspot_scale.vocabulary import FieldAddress

B03 = FieldAddress("B", "03", "0")
RNG = np.random.default_rng(1)
IMAGE = RNG.integers(1, 60000, (2, 3, 2, 50, 70), dtype="uint16")
CELLS = (np.arange(50)[:, None] // 10 * 7 + np.arange(70) // 10 + 1).astype("uint32")


@pytest.fixture
def plate_folder(tmp_path: Path) -> Path:
    """A plate of two wells in version 0.4, of which one field is written."""
    target = tmp_path / "plate.zarr"
    create_plate(target, [B03, FieldAddress("C", "04", "0")], version="0.4")
    layout = ImageLayout(
        "tczyx", IMAGE.shape, "uint16", ("DAPI", "FISH", "GFP"), (0.2, 0.1), chunk=32
    )
    write_image(target, B03, IMAGE, layout)
    write_labels(target, B03, "cells", CELLS)
    return target


def _edit(path: Path, **changes: object) -> None:
    """Replace keys of a JSON document."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _refuse_to_compute(*_: object, **__: object) -> None:
    raise AssertionError("building the tree computed something")


def test_every_plane_window_and_projection_is_read(plate_folder: Path) -> None:
    field = open_plate(plate_folder).open("B/03/0")
    window = (slice(3, 40), slice(31, 70))
    np.testing.assert_array_equal(
        field.read(t=1, channel=2, z=1, window=window), IMAGE[1, 2, 1][window]
    )
    np.testing.assert_array_equal(field.read(channel=1, z="max"), IMAGE[0, 1].max(0))
    mean = field.read(channel=1, z="mean")
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, IMAGE[0, 1].mean(0), rtol=1e-6)
    assert (field.n_t, field.n_z, field.shape_yx) == (2, 2, (50, 70))
    assert field.chunks == (1, 1, 1, 32, 32)


@pytest.mark.parametrize("wrong", [{"t": 2}, {"channel": 3}, {"z": 2}, {"z": -1}])
def test_a_position_out_of_range_is_an_error(
    plate_folder: Path, wrong: dict[str, int]
) -> None:
    with pytest.raises(FieldError, match="counted from 0"):
        open_plate(plate_folder).open("B/03/0").read(**wrong)


def test_channels_go_by_name_or_number(plate_folder: Path) -> None:
    field = open_plate(plate_folder).open("B/03/0")
    assert [field.channel_index(name) for name in ("FISH", "1", "GFP")] == [1, 1, 2]
    for wrong in ("FIHS", "3"):
        with pytest.raises(FieldError, match="DAPI, FISH, GFP"):
            field.channel_index(wrong)
    with pytest.raises(FieldError, match="Did you mean 'FISH'"):
        field.channel_index("FIHS")


def test_two_channels_of_one_name_must_be_told_apart(plate_folder: Path) -> None:
    names = [{"label": "FISH"}, {"label": "FISH"}, {"label": None}]
    _edit(plate_folder / "B/03/0/.zattrs", omero={"channels": names})
    field = open_plate(plate_folder).open("B/03/0")
    assert field.channels == ("FISH", "FISH", "2")
    with pytest.raises(FieldError, match="number"):
        field.channel_index("FISH")


def test_building_a_tree_computes_nothing_and_holds_the_image(
    plate_folder: Path,
) -> None:
    plate = open_plate(plate_folder)
    with dask.config.set(scheduler=_refuse_to_compute):
        tree = plate["B/03/0"]
    image = tree.to_dataset()["image"]
    assert image.dims == tuple("tczyx")
    assert image.data.chunksize == (1, 1, 1, 32, 32)
    assert list(image.c.values) == ["DAPI", "FISH", "GFP"]
    assert image.attrs["pixel_size_um"] == pytest.approx((0.2, 0.1))
    assert image.attrs["address"] == "B/03/0"
    assert float(image.y[2]) == pytest.approx(0.4)
    np.testing.assert_array_equal(image.values, IMAGE)
    np.testing.assert_array_equal(tree["labels/cells"]["labels"].values, CELLS)


def test_a_plate_tree_has_rows_columns_and_fields(tmp_path: Path) -> None:
    addresses = [B03, FieldAddress("B", "03", "1"), FieldAddress("C", "04", "0")]
    create_plate(tmp_path / "p", addresses)
    for address in addresses:
        write_image(tmp_path / "p", address, IMAGE[0, 0], _layout("zyx", IMAGE[0, 0]))
    with dask.config.set(scheduler=_refuse_to_compute):
        tree = open_plate(tmp_path / "p").to_datatree()
    assert sorted(tree.children) == ["B", "C"]
    assert tree["B/03/1"]["image"].shape == (2, 50, 70)
    assert "pixel_size_um" not in tree["B/03/1"]["image"].attrs
    np.testing.assert_array_equal(tree["B/03/1"].y, np.arange(50))


def _layout(axes: str, image: np.ndarray, **options: object) -> ImageLayout:
    return ImageLayout(axes, image.shape, image.dtype, **options)


def test_a_plate_is_a_mapping_that_opens_nothing_by_itself(plate_folder: Path) -> None:
    plate = open_plate(plate_folder)
    assert list(plate) == ["B/03/0", "C/04/0"]
    assert len(plate) == 2
    assert "C/04/0" in plate
    assert "C/04/1" not in plate
    assert plate.get("H/12/0") is None
    with pytest.raises(KeyError, match="nearest is 'B/03/0'"):
        plate["B/3/0"]
    with pytest.raises(FieldError, match="nearest is 'B/03/0'"):
        plate.open("B/3/0")


def test_entries_and_fields_travel_to_other_processes(plate_folder: Path) -> None:
    plate = pickle.loads(pickle.dumps(open_plate(plate_folder)))
    assert isinstance(plate, Plate)
    assert len(pickle.dumps(plate.entries[0])) < 500
    field = pickle.loads(pickle.dumps(open_field(plate.entries[0])))
    np.testing.assert_array_equal(field.read(), IMAGE[0, 0, 0])


# --- labels -----------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("pixel_size", [None, (0.2, 0.1)])
@pytest.mark.parametrize("factor", [2, 3, 5])
def test_coarse_labels_are_looked_up_by_nearest_pixel(
    tmp_path: Path, version: str, pixel_size: tuple[float, float] | None, factor: int
) -> None:
    image = np.zeros((30, 60), "uint8")
    coarse = RNG.integers(0, 99, (30 // factor, 60 // factor), dtype="int32")
    create_plate(tmp_path, [B03], version=version)
    write_image(tmp_path, B03, image, _layout("yx", image, pixel_size_um=pixel_size))
    write_labels(tmp_path, B03, "cells", coarse)
    expected = np.kron(coarse, np.ones((factor, factor), "int32"))
    field = open_plate(tmp_path).open("B/03/0")
    np.testing.assert_array_equal(field.read_labels("cells"), expected)
    window = (slice(7, 23), slice(11, 12))
    np.testing.assert_array_equal(
        field.read_labels("cells", window=window), expected[window]
    )
    lazy = open_plate(tmp_path)["B/03/0"]["labels/cells"]["labels"]
    np.testing.assert_array_equal(lazy.values, expected)


def test_finer_labels_are_looked_up_at_the_centre_of_the_pixel(tmp_path: Path) -> None:
    image = np.zeros((10, 20), "uint8")
    fine = RNG.integers(0, 99, (30, 60), dtype="uint16")
    create_plate(tmp_path, [B03])
    write_image(tmp_path, B03, image, _layout("yx", image, pixel_size_um=(0.3, 0.3)))
    write_labels(tmp_path, B03, "cells", fine)
    labels = open_plate(tmp_path).open("B/03/0").read_labels("cells")
    np.testing.assert_array_equal(labels, fine[1::3, 1::3])


def test_the_label_level_with_the_shape_of_the_image_is_used(tmp_path: Path) -> None:
    create_plate(tmp_path, [B03])
    fine = np.kron(CELLS, np.ones((2, 2), "uint32"))
    large = np.zeros((100, 140), "uint8")
    write_image(tmp_path, B03, large, _layout("yx", large, n_levels=2))
    write_labels(tmp_path, B03, "cells", fine)
    # The same field again, at half the size: its labels keep two levels.
    group = zarr.open_group(tmp_path / "B/03/0", mode="a")
    multiscales = group.attrs["ome"]["multiscales"]
    multiscales[0]["datasets"] = multiscales[0]["datasets"][1:]
    group.attrs["ome"] = {**group.attrs["ome"], "multiscales": multiscales}
    field = open_plate(tmp_path).open("B/03/0")
    assert field.shape == (50, 70)
    assert field.open_labels("cells").stored.source.endswith("cells/1")
    np.testing.assert_array_equal(field.read_labels("cells"), CELLS)


def test_labels_in_planes_are_projected_and_without_t_serve_all(
    plate_folder: Path,
) -> None:
    planes = np.stack([CELLS, np.where(CELLS == 3, 90, 0)]).astype("uint16")
    write_labels(plate_folder, B03, "nuclei", planes, axes="zyx")
    moving = np.stack([CELLS, CELLS + 1])
    write_labels(plate_folder, B03, "moving", moving, axes="tyx")
    field = open_plate(plate_folder).open("B/03/0")
    assert field.label_names == ("cells", "nuclei", "moving")
    for t in (0, 1):
        np.testing.assert_array_equal(field.read_labels("nuclei", t=t), planes.max(0))
        np.testing.assert_array_equal(field.read_labels("moving", t=t), moving[t])


@pytest.mark.parametrize("has_unit", [True, False])
def test_labels_that_cannot_match_are_an_error(
    plate_folder: Path, has_unit: bool
) -> None:
    write_labels(plate_folder, B03, "crop", CELLS[:25, :35])
    attributes = plate_folder / "B/03/0/labels/crop/.zattrs"
    multiscales = json.loads(attributes.read_text())["multiscales"]
    scale = {"type": "scale", "scale": [0.2, 0.1]}
    multiscales[0]["datasets"][0]["coordinateTransformations"] = [scale]
    if not has_unit:
        multiscales[0]["axes"] = [{"name": "y"}, {"name": "x"}]
    _edit(attributes, multiscales=multiscales)
    field = open_plate(plate_folder).open("B/03/0")
    with pytest.raises(FieldError, match="cannot match the image: along y"):
        field.read_labels("crop")


def _transform(folder: Path, **kinds: tuple[float, float]) -> None:
    """Give all levels of an image of version 0.4 these numbers along y and x."""
    multiscales = json.loads((folder / ".zattrs").read_text())["multiscales"]
    n = len(multiscales[0]["axes"])
    for dataset in multiscales[0]["datasets"]:
        dataset["coordinateTransformations"] = [
            {"type": kind, kind: [1.0 if kind == "scale" else 0.0] * (n - 2) + [*yx]}
            for kind, yx in kinds.items()
        ]
    _edit(folder / ".zattrs", multiscales=multiscales)


SIZE = {"scale": (0.2, 0.1)}


def _shifted(labels: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Move labels by pixels; what they leave is background."""
    padded = np.pad(labels, 30)
    height, width = labels.shape
    return padded[30 - dy : 30 - dy + height, 30 - dx : 30 - dx + width]


@pytest.mark.parametrize("image_at", [None, (0.0, 0.0), (40.6, -7.3)])
@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (3, -5), (-20, 1)])
def test_labels_lie_where_translations_place_them(
    plate_folder: Path, image_at: tuple[float, float] | None, dy: int, dx: int
) -> None:
    image, labels = plate_folder / "B/03/0", plate_folder / "B/03/0/labels/cells"
    y, x = image_at or (0.0, 0.0)
    if image_at is not None:
        _transform(image, **SIZE, translation=image_at)
    # Rounded, as writers do.
    at = (round(y + 0.2 * dy, 3), round(x + 0.1 * dx, 3))
    _transform(labels, **SIZE, translation=at)
    plate = open_plate(plate_folder)
    expected, field = _shifted(CELLS, dy, dx), plate.open("B/03/0")
    np.testing.assert_array_equal(field.read_labels("cells"), expected)
    for window in ((slice(1, 40), slice(60, 70)), (slice(0, 2), slice(0, 9))):
        found = field.read_labels("cells", window=window)
        np.testing.assert_array_equal(found, expected[window])
    tree = plate["B/03/0"]
    lazy = tree["labels/cells"]["labels"]
    assert lazy.dtype == CELLS.dtype
    np.testing.assert_array_equal(lazy.values, expected)
    assert tree["image"].coords["y"][0] == y
    np.testing.assert_allclose(tree["image"].coords["x"], x + 0.1 * np.arange(70))


@pytest.mark.parametrize("at", [(0.0, 0.0), (0.2, 0.1)])
def test_coarse_labels_begin_with_the_image_by_corner_or_centre(
    plate_folder: Path, at: tuple[float, float]
) -> None:
    coarse = CELLS[::2, ::2]
    write_labels(plate_folder, B03, "coarse", coarse)
    _transform(plate_folder / "B/03/0", **SIZE, translation=(5.0, 6.0))
    _transform(
        plate_folder / "B/03/0/labels/coarse",
        scale=(0.4, 0.2),
        translation=(5 + at[0] / 2, 6 + at[1] / 2),
    )
    found = open_plate(plate_folder).open("B/03/0").read_labels("coarse")
    np.testing.assert_array_equal(found, np.kron(coarse, np.ones((2, 2), "uint32")))


def test_a_cut_out_of_labels_lies_where_it_was_cut_out(plate_folder: Path) -> None:
    write_labels(plate_folder, B03, "cut", CELLS)
    group, cut = plate_folder / "B/03/0/labels/cut", CELLS[10:30, 20:65]
    stored = zarr.open_array(group / "0", mode="r+")
    stored.resize(cut.shape)
    stored[...] = cut
    _transform(group, **SIZE, translation=(0.2 * 10, 0.1 * 20))
    expected = np.zeros_like(CELLS)
    expected[10:30, 20:65] = CELLS[10:30, 20:65]
    found = open_plate(plate_folder).open("B/03/0").read_labels("cut")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("image_at", "labels", "reason"),
    [
        (None, {**SIZE, "translation": (0.1, 0.0)}, r"begin 0\.5 pixels.*along y"),
        (None, {**SIZE, "translation": (0.0, 0.125)}, r"begin 1\.25 pixels.*along x"),
        (None, {**SIZE, "translation": (10.0, 0.0)}, "lie beside the image"),
        ((10.0, 0.0), SIZE, "labels cells do not say where they begin"),
        (None, {"scale": (0.4, 0.1)}, r"along y a pixel of theirs is 0\.4"),
        (None, {"affine": (1.0, 2.0)}, "transformation of type 'affine'"),
        (None, {**SIZE, "translation": (np.inf, 0.0)}, "translation"),
    ],
)
def test_labels_that_do_not_fit_are_an_error(
    plate_folder: Path,
    image_at: tuple[float, float] | None,
    labels: dict[str, tuple[float, float]],
    reason: str,
) -> None:
    if image_at is not None:
        _transform(plate_folder / "B/03/0", **SIZE, translation=image_at)
    _transform(plate_folder / "B/03/0/labels/cells", **labels)
    with pytest.raises(FieldError, match=reason):
        open_plate(plate_folder).open("B/03/0").read_labels("cells")


def test_written_labels_begin_where_their_image_does(plate_folder: Path) -> None:
    _transform(plate_folder / "B/03/0", **SIZE, translation=(10.0, -3.0))
    write_labels(plate_folder, B03, "cells", CELLS)
    found = open_plate(plate_folder).open("B/03/0").read_labels("cells")
    np.testing.assert_array_equal(found, CELLS)


def test_labels_without_transformations_go_by_the_ratio_of_shapes(
    plate_folder: Path,
) -> None:
    write_labels(plate_folder, B03, "half", CELLS[::2, ::2])
    attributes = plate_folder / "B/03/0/labels/half/.zattrs"
    multiscales = json.loads(attributes.read_text())["multiscales"]
    del multiscales[0]["datasets"][0]["coordinateTransformations"]
    _edit(attributes, multiscales=multiscales)
    labels = open_plate(plate_folder).open("B/03/0").read_labels("half")
    np.testing.assert_array_equal(labels, CELLS)


def test_labels_that_are_absent_or_no_integers_are_an_error(
    plate_folder: Path,
) -> None:
    field = open_plate(plate_folder).open("B/03/0")
    with pytest.raises(FieldError, match="no labels 'nuclei'; it has cells"):
        field.read_labels("nuclei")
    _edit(plate_folder / "B/03/0/labels/cells/0/.zarray", dtype="<f4")
    with pytest.raises(FieldError, match="must be integers"):
        field.read_labels("cells")


# --- other writers ----------------------------------------------------------------


# ngio announces a new default for building pyramids.
@pytest.mark.filterwarnings("ignore:Pyramid consolidation")
# ngio reads the plate that it wrote without a version, as the 0.5 schema has it.
@pytest.mark.filterwarnings("ignore:'version' field not specified")
@pytest.mark.parametrize(
    ("version", "shards"), [("0.4", None), ("0.5", None), ("0.5", (1, 1, 64, 64))]
)
def test_a_plate_written_by_ngio_is_read(
    tmp_path: Path, version: str, shards: tuple[int, ...] | None
) -> None:
    image = RNG.integers(0, 99, (2, 1, 64, 80), dtype="uint16")
    wells = [ngio.ImageInWellPath(row="B", column="3", path="0")]
    target = str(tmp_path / "ngio.zarr")
    plate = ngio.create_empty_plate(target, "n", images=wells, ngff_version=version)
    container = ngio.create_ome_zarr_from_array(
        plate.get_image_store("B", "3", "0"),
        image,
        pixelsize=0.2,
        axes_names=("c", "z", "y", "x"),
        levels=2,
        channels_meta=["DAPI", "FISH"],
        ngff_version=version,
        chunks=(1, 1, 32, 32),
        shards=shards,
        overwrite=True,
    )
    labels = container.derive_label("cells")
    labels.set_array(image[:1, 0].astype(labels.dtype))
    field = open_plate(target).open("B/03/0")
    assert field.channels == ("DAPI", "FISH")
    assert field.pixel_size_um == pytest.approx((0.2, 0.2))
    np.testing.assert_array_equal(field.read(channel=1), image[1, 0])
    np.testing.assert_array_equal(field.read_labels("cells"), image[0, 0])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_written_by_ome_zarr_py_is_read(tmp_path: Path, version: str) -> None:
    writer = pytest.importorskip("ome_zarr.writer")
    formats = pytest.importorskip("ome_zarr.format")
    fmt = formats.FormatV04() if version == "0.4" else formats.FormatV05()
    image = RNG.integers(0, 99, (2, 64, 80), dtype="uint16")
    root = zarr.open_group(tmp_path, mode="w", zarr_format=fmt.zarr_format)
    writer.write_plate_metadata(root, ["A", "B"], ["1", "2"], ["B/2", "A/1"], fmt=fmt)
    for path in ("A/1", "B/2"):
        well = root.require_group(path)
        writer.write_well_metadata(well, ["0"], fmt=fmt)
        group = well.require_group("0")
        writer.write_image(image, group, axes="cyx", fmt=fmt)
        cells = (image[0] // 9).astype("int32")
        writer.write_labels(cells, group, "cells", scaler=None, axes="yx", fmt=fmt)
    plate = open_plate(tmp_path)
    assert list(plate) == ["A/1/0", "B/2/0"]
    field = plate.open("B/2/0")
    assert (field.channels, field.pixel_size_um) == (("0", "1"), None)
    np.testing.assert_array_equal(field.read(channel=1), image[1])
    np.testing.assert_array_equal(field.read_labels("cells"), image[0] // 9)


def test_a_plate_written_by_bioformats2raw_is_read(shared_data: Path) -> None:
    plate = open_plate(shared_data / "plate_bioformats2raw_0.4.zarr")
    assert plate.name == "Plate Name 0"
    assert list(plate) == [f"{r}/{c}/{f}" for r in "AB" for c in "12" for f in "01"]
    for path in plate:
        field = plate.open(path)
        assert field.axes == "tczyx"
        assert field.channels == ("Name", "Channel 1", "Channel 2")
        assert field.read(channel=2).any()


def test_a_plate_written_by_fractal_is_read(shared_data: Path) -> None:
    plate = open_plate(shared_data / "plate_fractal_ones_0.4.zarr")
    field = plate.open("B/03/0")
    assert (field.axes, field.shape) == ("czyx", (2, 2, 4320, 2560))
    assert field.channels == ("some-label-1", "some-label-2")
    assert field.pixel_size_um == (0.1625, 0.1625)
    window = (slice(2100, 2200), slice(0, 50))
    assert (field.read(channel=1, z="max", window=window) == 1).all()


# --- what is not quite a plate ----------------------------------------------------


def test_an_image_outside_a_plate_is_one_field(plate_folder: Path) -> None:
    plate = open_plate(plate_folder / "B/03/0")
    assert list(plate) == ["0"]
    assert plate.entries[0].address == FieldAddress("", "", "0")
    assert plate.open("0").channels == ("DAPI", "FISH", "GFP")
    np.testing.assert_array_equal(plate.open("0").read_labels("cells"), CELLS)
    assert plate["0"]["image"].shape == IMAGE.shape


@pytest.mark.parametrize("names", [None, "czyx", "abcd"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_plain_array_is_one_field(
    tmp_path: Path, names: str | None, zarr_format: int
) -> None:
    named = tuple(names) if names and zarr_format == 3 else None
    target = tmp_path / "stack.ome.zarr"
    zarr.create_array(
        target, data=IMAGE[0], zarr_format=zarr_format, dimension_names=named
    )
    field = open_plate(target).open("stack")
    assert field.axes == "czyx"
    assert (field.channels, field.pixel_size_um) == (("0", "1", "2"), None)
    np.testing.assert_array_equal(field.read(channel=2, z=1), IMAGE[0, 2, 1])


def test_dimension_names_tell_which_axes_a_plain_array_has(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "t", data=IMAGE[:, 0, 0], dimension_names=tuple("tyx"))
    assert open_plate(tmp_path / "t").open("t").axes == "tyx"
    zarr.create_array(tmp_path / "w", data=IMAGE[0, 0], dimension_names=tuple("yzx"))
    with pytest.raises(FieldError, match="in this order"):
        open_plate(tmp_path / "w").open("w")


@pytest.mark.parametrize("is_listed", [True, False])
def test_images_in_the_layout_of_bioformats2raw_are_fields(
    plate_folder: Path, tmp_path: Path, is_listed: bool
) -> None:
    root = zarr.create_group(
        tmp_path / "raw.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3}
    )
    for name in "01":
        shutil.copytree(plate_folder / "B/03/0", tmp_path / "raw.zarr" / name)
    if is_listed:
        root.create_group("OME", attributes={"series": ["1", "0"]})
    plate = open_plate(tmp_path / "raw.zarr")
    assert list(plate) == (["1", "0"] if is_listed else ["0", "1"])
    np.testing.assert_array_equal(plate.open("1").read(), IMAGE[0, 0, 0])


def test_a_plate_is_read_from_a_url() -> None:
    url = "memory://read-from-a-url/p.zarr"
    create_plate(url, [B03], overwrite=True)
    write_image(url, B03, IMAGE[0, 0], _layout("zyx", IMAGE[0, 0]))
    plate = open_plate(url)
    assert plate.name == "p"
    np.testing.assert_array_equal(plate.open("B/03/0").read(z=1), IMAGE[0, 0, 1])
    with pytest.raises(PlateError, match="no Zarr group"):
        open_plate("memory://read-from-a-url/nothing.zarr")


# --- damage -----------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["", "p.zarr"])
def test_a_plate_in_a_zip_file_is_read_by_its_chained_url(
    plate_folder: Path, tmp_path: Path, inside: str
) -> None:
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(plate_folder.rglob("*")):
            if path.is_file():
                archive.write(path, inside / path.relative_to(plate_folder))
    plate = open_plate(f"zip://{inside}::file://{packed}")
    folder = open_plate(plate_folder)
    assert list(plate) == list(folder)
    xr.testing.assert_identical(plate["B/03/0"], folder["B/03/0"])
    with pytest.raises(PlateError, match=r"packed\.zip is a ZIP file\. Unpack it"):
        open_plate(packed)


def test_absent_wells_are_named_and_the_rest_goes_on(plate_folder: Path) -> None:
    (plate_folder / "C/04/.zattrs").write_text("{ no json")
    plate = open_plate(plate_folder)
    assert list(plate) == ["B/03/0"]
    assert plate.missing == ("C/04",)


def test_a_plate_without_any_well_is_an_error(plate_folder: Path) -> None:
    for well in ("B/03", "C/04"):
        (plate_folder / well / ".zgroup").unlink()
    with pytest.raises(PlateError, match="lists 2 wells"):
        open_plate(plate_folder)


def test_an_absent_field_is_an_error_of_that_field_alone(plate_folder: Path) -> None:
    plate = open_plate(plate_folder)
    assert plate.open("B/03/0").read().any()
    with pytest.raises(FieldError, match="C/04/0"):
        plate.open("C/04/0")


@pytest.mark.parametrize(
    "wells",
    [
        [{"path": "../outside"}],
        [{"path": "/etc/passwd"}],
        [{"path": "B/.."}],
        [{"path": "B/03/0"}],
        [{"path": "s3://bucket"}],
        [{"path": "B\\03/0"}],
        [{"path": 3}],
        [{"path": "B/03"}, {"path": "B/03"}],
        "B/03",
    ],
)
def test_a_plate_whose_wells_are_damaged_or_leave_it_is_refused(
    plate_folder: Path, wells: object
) -> None:
    _edit(plate_folder / ".zattrs", plate={"wells": wells})
    with pytest.raises(PlateError):
        open_plate(plate_folder)


@pytest.mark.parametrize("path", ["..", "../../../x", "/tmp", "", ".", "0/1", None])
def test_a_field_path_that_leaves_its_well_is_refused(
    plate_folder: Path, path: object
) -> None:
    _edit(plate_folder / "B/03/.zattrs", well={"images": [{"path": path}]})
    with pytest.raises(PlateError, match="field paths"):
        open_plate(plate_folder)


@pytest.mark.parametrize("path", ["../../../secret", "/tmp/x", "..", 0])
def test_a_level_path_that_leaves_its_image_is_refused(
    plate_folder: Path, path: object
) -> None:
    attributes = plate_folder / "B/03/0/.zattrs"
    multiscales = json.loads(attributes.read_text())["multiscales"]
    multiscales[0]["datasets"][0]["path"] = path
    _edit(attributes, multiscales=multiscales)
    with pytest.raises(FieldError, match="paths of its levels"):
        open_plate(plate_folder).open("B/03/0")


def test_labels_that_leave_their_image_are_refused(plate_folder: Path) -> None:
    _edit(plate_folder / "B/03/0/labels/.zattrs", labels=["../../1"])
    with pytest.raises(FieldError, match="names of labels"):
        open_plate(plate_folder).open("B/03/0")


@pytest.mark.parametrize(
    "shape", [[0, 3, 2, 50, 70], [2, 3, 2, 50, -70], [2, 3, 2, 2**40, 70], [50, 70]]
)
def test_absurd_shapes_are_refused_before_anything_is_read(
    plate_folder: Path, shape: list[int]
) -> None:
    _edit(plate_folder / "B/03/0/0/.zarray", shape=shape, chunks=[32] * len(shape))
    with pytest.raises(FieldError):
        open_plate(plate_folder).open("B/03/0")


@pytest.mark.parametrize("axes", ["xyzct", "ctzyx", "tczy", "tczyy", "abcyx", "tczyxs"])
def test_axes_that_are_not_those_of_ome_in_order_are_refused(
    plate_folder: Path, axes: str
) -> None:
    attributes = plate_folder / "B/03/0/.zattrs"
    multiscales = json.loads(attributes.read_text())["multiscales"]
    multiscales[0]["axes"] = [{"name": axis} for axis in axes]
    del multiscales[0]["datasets"][0]["coordinateTransformations"]
    _edit(attributes, multiscales=multiscales)
    with pytest.raises(FieldError, match="expected a subset of the axes"):
        open_plate(plate_folder).open("B/03/0")


@pytest.mark.parametrize(
    "damage",
    [
        {"multiscales": []},
        {"multiscales": {}},
        {"multiscales": [{"axes": ["y", "x"], "datasets": [{"path": "0"}]}]},
        {"multiscales": [{"axes": [{"name": "y"}, {"name": "x"}]}]},
        {"multiscales": None},
    ],
)
def test_damaged_image_metadata_are_an_error_of_the_field(
    plate_folder: Path, damage: dict[str, object]
) -> None:
    _edit(plate_folder / "B/03/0/.zattrs", **damage)
    with pytest.raises(FieldError, match="multiscales metadata"):
        open_plate(plate_folder).open("B/03/0")


def test_versions_are_not_mixed(tmp_path: Path) -> None:
    plate = {"wells": [{"path": "A/1"}]}
    zarr.create_group(tmp_path / "a", zarr_format=3, attributes={"plate": plate})
    zarr.create_group(tmp_path / "b", zarr_format=2, attributes={"ome": {"plate": 1}})
    for name in "ab":
        with pytest.raises(PlateError, match="without the metadata"):
            open_plate(tmp_path / name)


def _chunk_files(folder: Path) -> list[Path]:
    documents = {"zarr.json", ".zarray", ".zattrs", ".zgroup"}
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and path.name not in documents
    ]


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["0.4", "0.4-blosc", "0.5", "0.5-sharded"])
def test_a_truncated_chunk_is_an_error_and_never_wrong_pixels(
    tmp_path: Path, kind: str, kept: float
) -> None:
    # Compressible: Blosc stores noise as it is, and then does notice.
    image = np.tile(IMAGE[0, 0, 0], (2, 2)) % 500
    version, _, option = kind.partition("-")
    create_plate(tmp_path, [B03], version=version)
    shard = 64 if option == "sharded" else None
    write_image(tmp_path, B03, image, _layout("yx", image, chunk=32, shard=shard))
    if option == "blosc":
        zarr.create_array(
            tmp_path / "B/03/0/0",
            data=image,
            chunks=(64, 64),
            zarr_format=2,
            compressors=Blosc(cname="lz4"),
            chunk_key_encoding={"name": "v2", "separator": "/"},
            overwrite=True,
        )
    field = open_plate(tmp_path).open("B/03/0")
    np.testing.assert_array_equal(field.read(), image)
    chunk = _chunk_files(tmp_path / "B/03/0/0")[0]
    stored = chunk.read_bytes()
    chunk.write_bytes(stored[: int(len(stored) * kept)])
    with pytest.raises(FieldError, match=r"reading .* failed"):
        field.read()
    with pytest.raises(FieldError):
        open_plate(tmp_path)["B/03/0"]["image"].compute(scheduler="synchronous")


def test_an_absent_chunk_is_the_fill_value(plate_folder: Path) -> None:
    for path in _chunk_files(plate_folder / "B/03/0/0/0/0/0"):
        path.unlink()
    field = open_plate(plate_folder).open("B/03/0")
    assert not field.read().any()
    assert field.read(z=1).any()


def test_big_endian_pixels_come_in_native_order(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", data=IMAGE[0, 0, 0].astype(">u2"), zarr_format=2)
    field = open_plate(tmp_path / "a").open("a")
    assert field.dtype.isnative
    assert field.read().dtype.isnative
    np.testing.assert_array_equal(field.read(), IMAGE[0, 0, 0])


def test_what_is_nothing_of_the_kind_says_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for path in (tmp_path / "absent", tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(PlateError):
            open_plate(path)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate_of_384_wells_and_9_fields_opens_fast(
    tmp_path: Path, version: str, record_property: Callable[[str, object], None]
) -> None:
    addresses = [
        FieldAddress(row, f"{column:02d}", str(field))
        for row in "ABCDEFGHIJKLMNOP"
        for column in range(1, 25)
        for field in range(9)
    ]
    create_plate(tmp_path / "p", addresses, version=version)
    start = time.perf_counter()
    plate = open_plate(tmp_path / "p")
    seconds = time.perf_counter() - start
    record_property("seconds", seconds)
    assert [entry.address for entry in plate.entries] == addresses
    # Measured: 0.2 to 0.7 s on two cores. Loose, for machines busy with other work.
    assert seconds < 20
