"""Plates that we write: valid, read back the same by us and by others."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from itertools import product
from pathlib import Path

import ngio
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.errors import FieldError, PlateError, SettingsError
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_image,
    create_plate,
    write_image,
    write_labels,
    write_levels,
    write_window,
)
from deepspot_scale.io.plate import open_plate
from deepspot_scale.vocabulary import FieldAddress

ADDRESSES = [
    FieldAddress(row, column, field)
    for row, column in (("B", "03"), ("A", "02"), ("A", "10"))
    for field in ("0", "1")
]
FIRST = ADDRESSES[0]


def _image(address: FieldAddress, dtype: str = "uint16") -> np.ndarray:
    rng = np.random.default_rng(ADDRESSES.index(address))
    return rng.integers(1, 200, (2, 3, 90, 131)).astype(dtype)


def _write_plate(
    target: Path, version: str, shard: int | None, addresses: list[FieldAddress]
) -> None:
    numbers = {address: int(address.field) for address in addresses}
    create_plate(target, addresses, name="assay", version=version, acquisitions=numbers)
    for address in addresses:
        image = _image(address)
        layout = ImageLayout(
            "czyx",
            image.shape,
            image.dtype,
            ("DAPI", "FISH"),
            (0.2, 0.1),
            chunk=32,
            shard=shard,
            n_levels=3,
            z_step_um=0.5,
        )
        write_image(target, address, image, layout)
        write_labels(target, address, "cells", (image[0, 0] // 50).astype("uint32"))


@pytest.fixture(scope="module", params=["0.4", "0.5", "0.5-sharded"])
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A full plate, shared by the tests that only read it."""
    version, _, sharded = request.param.partition("-")
    target = tmp_path_factory.mktemp("written") / "plate.zarr"
    _write_plate(target, version, 64 if sharded else None, ADDRESSES)
    return target


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A plate of one field that a test may change."""
    _write_plate(tmp_path / "small.zarr", "0.5", None, [FIRST])
    return tmp_path / "small.zarr"


def test_a_full_plate_written_then_read_is_the_same(written: Path) -> None:
    plate = open_plate(written)
    assert list(plate) == ["A/02/0", "A/02/1", "A/10/0", "A/10/1", "B/03/0", "B/03/1"]
    assert [entry.acquisition for entry in plate.entries] == [0, 1] * 3
    assert (plate.name, plate.missing) == ("assay", ())
    for address in ADDRESSES:
        field, image = plate.open(address.path), _image(address)
        assert field.channels == ("DAPI", "FISH")
        assert field.pixel_size_um == pytest.approx((0.2, 0.1))
        assert field.image.spacing_um["z"] == pytest.approx(0.5)
        for c, z in np.ndindex(2, 3):
            np.testing.assert_array_equal(field.read(channel=c, z=z), image[c, z])
        np.testing.assert_array_equal(field.read_labels("cells"), image[0, 0] // 50)


# The 0.5 schema leaves plate.version out; these judges warn of it.
NO_VERSION = pytest.mark.filterwarnings("ignore:'version' field not specified")


@NO_VERSION
@pytest.mark.parametrize(
    ("path", "module", "model"),
    [
        ("", "hcs", "HCS"),
        ("A/02", "well", "Well"),
        ("A/02/0", "image", "Image"),
        ("A/02/0/labels/cells", "image_label", "ImageLabel"),
    ],
)
def test_metadata_validate_against_the_models_of_ome_ngff(
    written: Path, path: str, module: str, model: str
) -> None:
    pytest.importorskip("ome_zarr_models")
    group = zarr.open_group(written / path, mode="r")
    version = "v04" if group.metadata.zarr_format == 2 else "v05"
    judge = getattr(import_module(f"ome_zarr_models.{version}.{module}"), model)
    attributes = judge.model_fields["attributes"].annotation
    attributes.model_validate(group.attrs.asdict())


@NO_VERSION
def test_ngio_reads_the_plate_back(written: Path) -> None:
    container = ngio.open_ome_zarr_plate(written, mode="r").get_image("B", "03", "0")
    image = container.get_image()
    np.testing.assert_array_equal(image.get_as_numpy(), _image(FIRST))
    assert list(image.channel_labels) == ["DAPI", "FISH"]
    assert (image.pixel_size.z, image.pixel_size.y, image.pixel_size.x) == (
        pytest.approx((0.5, 0.2, 0.1))
    )
    labels = container.get_label("cells", path="0").get_as_numpy()
    np.testing.assert_array_equal(labels, _image(FIRST)[0, 0] // 50)


def test_ome_zarr_py_reads_the_plate_back(written: Path) -> None:
    io = pytest.importorskip("ome_zarr.io")
    reader = pytest.importorskip("ome_zarr.reader")
    location = io.parse_url(str(written / "B/03/0"))
    image = next(iter(reader.Reader(location)()))
    assert len(image.data) == 3
    np.testing.assert_array_equal(np.asarray(image.data[0]), _image(FIRST))
    plate = next(iter(reader.Reader(io.parse_url(str(written)))()))
    assert [type(spec).__name__ for spec in plate.specs] == ["Plate"]


def test_each_version_keeps_its_metadata_where_it_belongs(tmp_path: Path) -> None:
    for version in ("0.4", "0.5"):
        create_plate(tmp_path / version, ADDRESSES, version=version)
    old = json.loads((tmp_path / "0.4/.zattrs").read_text())
    new = json.loads((tmp_path / "0.5/zarr.json").read_text())["attributes"]
    assert old["plate"]["version"] == "0.4"
    assert list(new) == ["ome"]
    assert new["ome"]["version"] == "0.5"
    assert "version" not in new["ome"]["plate"]


def test_dimension_names_are_the_axes(tmp_path: Path) -> None:
    _write_plate(tmp_path / "p", "0.5", 64, [FIRST])
    array = zarr.open_array(tmp_path / "p/B/03/0/1", mode="r")
    assert array.metadata.dimension_names == tuple("czyx")
    assert (array.chunks, array.shards) == ((1, 1, 32, 32), (1, 1, 64, 64))


def test_coarser_levels_are_means_of_two_by_two_pixels(written: Path) -> None:
    group = zarr.open_group(written / "B/03/0", mode="r")
    fine, coarse = np.asarray(group["0"][:]), np.asarray(group["1"][:])
    assert group["2"].shape == (2, 3, 23, 33)
    even = np.concatenate([fine, fine[..., -1:]], axis=-1).astype(float)
    expected = np.rint(even.reshape(2, 3, 45, 2, 66, 2).mean(axis=(3, 5)))
    np.testing.assert_array_equal(coarse, expected)


def test_coarser_labels_hold_only_labels_that_are_there(small: Path) -> None:
    labels = np.kron(np.array([[7, 0], [0, 90000]], "uint32"), np.ones((45, 65), "u4"))
    write_labels(small, FIRST, "cells", labels.astype("uint32"))
    group = zarr.open_group(small / "B/03/0/labels/cells", mode="r")
    for level in ("0", "1", "2"):
        assert set(np.unique(np.asarray(group[level][:]))) == {0, 7, 90000}


@pytest.mark.parametrize(
    ("version", "shard"), [("0.4", None), ("0.5", None), ("0.5", 64)]
)
def test_windows_in_any_order_make_the_same_image_as_one_write(
    tmp_path: Path, version: str, shard: int | None
) -> None:
    _write_plate(tmp_path, version, shard, [FIRST])
    image, levels = _image(FIRST), ("0", "1", "2")
    group = tmp_path / FIRST.path
    expected = [zarr.open_array(group / level, mode="r")[:] for level in levels]
    layout = ImageLayout(
        "czyx", image.shape, "uint16", chunk=32, shard=shard, n_levels=3
    )
    create_image(tmp_path, FIRST, layout)
    corners = [(y, x) for y in (64, 0) for x in (0, 128, 64)]
    for (c, z), (y, x) in product(np.ndindex(2, 3), corners):
        window = (slice(y, min(y + 64, 90)), slice(x, min(x + 64, 131)))
        data, index = image[c, z][window], {"c": c, "z": z}
        write_window(tmp_path, FIRST, data, index=index, window=window)
    write_levels(tmp_path, FIRST)
    for level, pixels in zip(levels, expected, strict=True):
        again = zarr.open_array(group / level, mode="r")[:]
        np.testing.assert_array_equal(again, pixels)


@pytest.mark.parametrize("start", [16, 1])
def test_a_window_that_cuts_through_a_chunk_is_refused(small: Path, start: int) -> None:
    window = (slice(start, 64), slice(0, 32))
    data = np.zeros((64 - start, 32), "uint16")
    with pytest.raises(SettingsError, match="whole stored pieces of 32"):
        write_window(small, FIRST, data, index={"c": 0, "z": 0}, window=window)


@settings(max_examples=25, deadline=None)
@given(
    axes=st.sampled_from(["yx", "cyx", "zyx", "tyx", "tzyx", "tczyx", "czyx", "tcyx"]),
    dtype=st.sampled_from(["uint8", "uint16", "int32", "float32"]),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    chunk=st.integers(1, 50),
    version=st.sampled_from(["0.4", "0.5"]),
    sharded=st.booleans(),
)
def test_any_axes_dtype_and_chunking_read_back_the_same(
    axes: str,
    dtype: str,
    sizes: tuple[int, int],
    chunk: int,
    version: str,
    sharded: bool,
) -> None:
    shape = (*range(2, len(axes)), *sizes)
    image = np.random.default_rng(0).normal(50, 20, shape).astype(dtype)
    shard = 2 * chunk if sharded and version == "0.5" else None
    target = "memory://any-axes"
    create_plate(target, [FIRST], version=version, overwrite=True)
    layout = ImageLayout(axes, shape, dtype, chunk=chunk, shard=shard)
    write_image(target, FIRST, image, layout)
    field = open_plate(target).open(FIRST.path)
    assert (field.axes, field.shape, field.dtype) == (axes, shape, image.dtype)
    last = {axis: n - 1 for axis, n in zip(axes, shape, strict=True)}
    read = field.read(t=last.get("t", 0), channel=last.get("c", 0), z=last.get("z", 0))
    np.testing.assert_array_equal(read, image[(-1,) * (len(axes) - 2)])


class _Interrupted(np.ndarray):
    """An image whose reader fails after a few chunks."""

    n_reads = 0

    def __getitem__(self, key: object) -> np.ndarray:
        type(self).n_reads += 1
        if self.n_reads > 3:
            raise OSError("the disk is full")
        return super().__getitem__(key)


def test_an_interrupted_write_never_looks_finished(small: Path) -> None:
    image = _image(FIRST)
    layout = ImageLayout("czyx", image.shape, "uint16", chunk=32)
    with pytest.raises(OSError, match="disk is full"):
        write_image(small, FIRST, image.view(_Interrupted), layout)
    assert (small / "B/03/0/0/zarr.json").exists()
    with pytest.raises(FieldError, match="multiscales"):
        open_plate(small).open(FIRST.path)
    write_image(small, FIRST, image, layout)
    np.testing.assert_array_equal(
        open_plate(small).open(FIRST.path).read(), image[0, 0]
    )


def test_an_interrupted_replacement_of_labels_is_not_listed(small: Path) -> None:
    labels = (_image(FIRST)[0, 0] // 50).astype("uint32")
    for name in ("cells", "nuclei"):
        write_labels(small, FIRST, name, labels)
    with pytest.raises(OSError, match="disk is full"):
        write_labels(small, FIRST, "cells", (labels + 1).view(_Interrupted))
    assert open_plate(small).open(FIRST.path).label_names == ("nuclei",)
    write_labels(small, FIRST, "cells", labels)
    assert open_plate(small).open(FIRST.path).label_names == ("nuclei", "cells")


def test_a_plate_that_is_there_is_kept_unless_told(small: Path) -> None:
    with pytest.raises(PlateError, match="exists"):
        create_plate(small, [FIRST])
    assert (small / "B/03/0/0").exists()
    create_plate(small, [FIRST], version="0.4", overwrite=True)
    assert not (small / "B/03/0/0").exists()


def test_what_is_no_plate_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("data")
    with pytest.raises(PlateError, match="no OME-Zarr plate"):
        create_plate(tmp_path, [FIRST], overwrite=True)
    zarr.create_group(tmp_path / "group.zarr")
    with pytest.raises(PlateError, match="no OME-Zarr plate"):
        create_plate(tmp_path / "group.zarr", [FIRST], overwrite=True)
    assert (tmp_path / "precious.txt").exists()


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        [FIRST, FIRST],
        [FieldAddress("..", "1", "0")],
        [FieldAddress("A", "1/2", "0")],
        [FieldAddress("", "", "name")],
    ],
)
def test_addresses_that_cannot_make_a_plate_are_refused(
    tmp_path: Path, addresses: list[FieldAddress]
) -> None:
    with pytest.raises(PlateError):
        create_plate(tmp_path / "p", addresses)
    assert not (tmp_path / "p").exists()


def test_a_field_that_the_plate_does_not_list_cannot_be_written(
    tmp_path: Path,
) -> None:
    create_plate(tmp_path / "p", [FIRST])
    layout = ImageLayout("yx", (8, 8), "uint8")
    for address in (FieldAddress("B", "03", "9"), FieldAddress("H", "12", "0")):
        with pytest.raises(PlateError, match="Create the plate with all"):
            create_image(tmp_path / "p", address, layout)


def test_shards_in_version_04_are_refused(tmp_path: Path) -> None:
    create_plate(tmp_path / "p", [FIRST], version="0.4")
    with pytest.raises(SettingsError, match="no shards"):
        create_image(
            tmp_path / "p", FIRST, ImageLayout("yx", (8, 8), "uint8", chunk=4, shard=8)
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"axes": "yxc"},
        {"axes": "cyx"},
        {"shape": ()},
        {"shape": (0, 8)},
        {"shape": (8, 2**40)},
        {"dtype": "complex64"},
        {"channels": ("a", "b")},
        {"pixel_size_um": (0.1, float("nan"))},
        {"chunk": 0},
        {"chunk": 4, "shard": 6},
        {"n_levels": 9},
    ],
)
def test_a_layout_that_cannot_be_stored_is_refused(wrong: dict[str, object]) -> None:
    good = {"axes": "yx", "shape": (8, 8), "dtype": "uint8"}
    with pytest.raises(SettingsError, match="cannot be stored"):
        ImageLayout(**{**good, **wrong})


def test_labels_must_be_integers_of_zero_or_more(small: Path) -> None:
    for labels in (np.ones((90, 131)), np.ones((90, 131), bool)):
        with pytest.raises(SettingsError, match="integers"):
            write_labels(small, FIRST, "cells", labels)
    with pytest.raises(SettingsError, match="0 or more"):
        write_labels(small, FIRST, "cells", np.full((90, 131), -1))
    with pytest.raises(SettingsError, match="name"):
        write_labels(small, FIRST, "../cells", np.ones((90, 131), "u4"))


@pytest.mark.parametrize("shape", [(45, 66), (45, 65), (180, 262), (30, 44)])
def test_labels_may_be_finer_or_coarser(small: Path, shape: tuple[int, int]) -> None:
    write_labels(small, FIRST, "cells", np.ones(shape, "uint8"))
    assert (open_plate(small).open(FIRST.path).read_labels("cells") == 1).all()


@pytest.mark.parametrize("shape", [(45, 131), (90, 66), (90, 120), (131, 90)])
def test_labels_of_a_part_of_the_image_are_refused(
    small: Path, shape: tuple[int, int]
) -> None:
    with pytest.raises(SettingsError, match="whole image"):
        write_labels(small, FIRST, "cells", np.ones(shape, "uint8"))


def test_labels_of_an_image_that_is_not_written_are_refused(tmp_path: Path) -> None:
    create_plate(tmp_path / "p", [FIRST])
    with pytest.raises(FieldError, match="Create it first"):
        write_labels(tmp_path / "p", FIRST, "cells", np.ones((8, 8), "uint8"))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_where_an_image_begins_is_read_back(tmp_path: Path, version: str) -> None:
    path = tmp_path / "p.zarr"
    create_plate(path, [FIRST], version=version)  # type: ignore[arg-type]  # both words
    image = np.linspace(90, 700, 40 * 60, dtype=np.float32).reshape(40, 60)
    begin = {"y": -3.5, "x": 12.0}
    layout = ImageLayout("yx", image.shape, np.float32, (), (0.2, 0.1), begin_um=begin)
    write_image(path, FIRST, image, layout)
    assert open_plate(path).open(FIRST.path).image.origin_um == (-3.5, 12.0)


def test_floats_are_shown_from_the_least_to_the_largest(tmp_path: Path) -> None:
    create_plate(tmp_path / "p.zarr", [FIRST])
    image = np.linspace(-5, 700, 40 * 60, dtype=np.float32).reshape(40, 60)
    write_image(
        tmp_path / "p.zarr", FIRST, image, ImageLayout("yx", image.shape, np.float32)
    )
    group = zarr.open_group(tmp_path / "p.zarr" / FIRST.path, mode="r")
    (channel,) = group.attrs["ome"]["omero"]["channels"]
    assert channel["window"] == {"min": -5, "max": 700, "start": -5, "end": 700}


@pytest.mark.parametrize("about", [None, "words", ["a list"], {}])
def test_attributes_of_others_under_our_name_say_nothing_of_labels(
    written: Path, tmp_path: Path, about: object
) -> None:
    plate = shutil.copytree(written, tmp_path / "plate.zarr")
    field = open_plate(plate).open(FIRST.path)
    assert field.about_labels("cells") == {}
    group = zarr.open_group(plate / FIRST.path / "labels/cells", mode="r+")
    group.attrs["deepspot_scale"] = about
    assert field.about_labels("cells") == {}
    with pytest.raises(FieldError):
        field.about_labels("none")
