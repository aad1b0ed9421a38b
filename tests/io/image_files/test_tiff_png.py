"""Single image files and folders of them, as fields."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree.ElementTree import Element

import cv2
import dask
import dask.array as da
import numpy as np
import pytest
import tifffile

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.plate import open_plate
from deepspot_scale.vocabulary import FieldAddress

RNG = np.random.default_rng(2)
TZCYX = RNG.integers(1, 60000, (2, 3, 4, 30, 40), dtype="uint16")
TCZYX = TZCYX.swapaxes(1, 2)
GREY = {"photometric": "minisblack"}


def _png(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())


def _imagej(path: Path) -> None:
    metadata = {"axes": "TZCYX", "unit": r"\u00B5m", "spacing": 0.5}
    resolution = (1 / 0.1, 1 / 0.2)
    tifffile.imwrite(
        path, TZCYX, imagej=True, metadata=metadata, resolution=resolution, **GREY
    )


def _ome(path: Path) -> None:
    sizes = {"X": (100.0, "nm"), "Y": (0.2, "µm"), "Z": (0.5, "µm")}
    metadata = {"axes": "TZCYX", "Channel": {"Name": ["A", "B", "C", "D"]}}
    for axis, (size, unit) in sizes.items():
        metadata[f"PhysicalSize{axis}"] = size
        metadata[f"PhysicalSize{axis}Unit"] = unit
    tifffile.imwrite(path, TZCYX, metadata=metadata, compression="zlib", **GREY)


@pytest.mark.parametrize("writer", [_imagej, _ome])
def test_a_hyperstack_has_axes_and_sizes_from_its_metadata(
    tmp_path: Path, writer: object
) -> None:
    path = tmp_path / "cells.ome.tif"
    writer(path)
    plate = open_plate(path)
    assert list(plate) == ["cells"]
    field = pickle.loads(pickle.dumps(plate.open("cells")))
    assert (field.axes, field.shape) == ("tczyx", TCZYX.shape)
    assert field.pixel_size_um == pytest.approx((0.2, 0.1))
    assert field.image.spacing_um["z"] == pytest.approx(0.5)
    assert field.channels == (tuple("ABCD") if writer is _ome else tuple("0123"))
    window = (slice(3, 20), slice(5, 40))
    read = field.read(t=1, channel=2, z=1, window=window)
    np.testing.assert_array_equal(read, TCZYX[1, 2, 1][window])
    np.testing.assert_array_equal(field.read(channel=3, z="max"), TCZYX[0, 3].max(0))
    some = (slice(1), slice(1, 4, 2), slice(None), slice(1, 20, 3), slice(2, 9, 2))
    np.testing.assert_array_equal(field.image[some], TCZYX[some])


def test_the_tree_of_a_tiff_is_lazy(tmp_path: Path) -> None:
    _imagej(tmp_path / "a.tif")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("building the tree computed something")

    with dask.config.set(scheduler=refuse):
        image = open_plate(tmp_path / "a.tif")["a"]["image"]
    np.testing.assert_array_equal(image.compute(scheduler="synchronous"), TCZYX)


@pytest.mark.parametrize("is_contiguous", [True, False])
def test_pages_without_a_meaning_are_planes(
    tmp_path: Path, is_contiguous: bool
) -> None:
    path = tmp_path / "stack.tiff"
    if is_contiguous:
        tifffile.imwrite(path, TZCYX[0, 0], **GREY)
    else:
        with tifffile.TiffWriter(path) as writer:
            for page in TZCYX[0, 0]:
                writer.write(page, contiguous=False)
    field = open_plate(path).open("stack")
    assert (field.axes, field.shape, field.pixel_size_um) == ("zyx", (4, 30, 40), None)
    np.testing.assert_array_equal(field.read(z=2), TZCYX[0, 0, 2])
    np.testing.assert_array_equal(field.read(z="max"), TZCYX[0, 0].max(0))


def test_a_tiled_file_is_read_tile_by_tile(tmp_path: Path) -> None:
    image = RNG.normal(0, 1, (300, 200)).astype("float32")
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(64, 64), compression="zlib")
    field = open_plate(tmp_path / "a.tif").open("a")
    assert (field.axes, field.chunks) == ("yx", (64, 64))
    window = (slice(50, 299), slice(1, 199))
    np.testing.assert_array_equal(field.read(window=window), image[window])


def test_several_values_of_a_pixel_are_channels(tmp_path: Path) -> None:
    stack, path = TZCYX[0, 0], tmp_path / "a.tif"
    tifffile.imwrite(path, stack, planarconfig="separate", compression="zlib", **GREY)
    field = open_plate(path).open("a")
    assert (field.axes, field.shape) == ("cyx", (4, 30, 40))
    np.testing.assert_array_equal(field.read(channel=2), stack[2])


@pytest.mark.parametrize("kind", ["contig", "separate", "RGB", "RGBA", "LA", "P"])
def test_a_colour_image_is_refused_with_advice(tmp_path: Path, kind: str) -> None:
    if kind in {"contig", "separate"}:
        path = tmp_path / "a.tif"
        image = np.zeros((30, 40, 3) if kind == "contig" else (3, 30, 40), "uint8")
        tifffile.imwrite(path, image, photometric="rgb", planarconfig=kind)
    else:
        path = tmp_path / "a.png"
        _png(
            path,
            np.zeros((30, 40, len(kind)), "uint8") if "R" in kind else TZCYX[0, 0, 0],
        )
        content = bytearray(path.read_bytes())
        content[25] = {"RGB": 2, "P": 3, "LA": 4, "RGBA": 6}[kind]
        path.write_bytes(content)
    with pytest.raises(FieldError, match=r"colour image.*Export the channels"):
        open_plate(path).open("a")


def test_a_folder_of_files_has_one_field_each(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "b.ome.tif", TZCYX[0, 0, 0])
    _png(tmp_path / "a.PNG", TZCYX[0, 0, 1])
    (tmp_path / "._b.tif").write_bytes(b"rubbish of a file system")
    (tmp_path / "notes.txt").write_text("x")
    plate = open_plate(tmp_path)
    assert list(plate) == ["a", "b"]
    assert plate.entries[1].address == FieldAddress("", "", "b")
    np.testing.assert_array_equal(plate.open("a").read(), TZCYX[0, 0, 1])
    np.testing.assert_array_equal(plate.open("b").read(), TZCYX[0, 0, 0])


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", TZCYX[0, 0, 0])
    _png(tmp_path / "a.png", TZCYX[0, 0, 1])
    with pytest.raises(PlateError, match="Rename one"):
        open_plate(tmp_path)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_grey_png_is_read_as_it_is(tmp_path: Path, dtype: str) -> None:
    grey = TZCYX[0, 0, 0].astype(dtype)
    _png(tmp_path / "a.png", grey)
    field = open_plate(tmp_path / "a.png").open("a")
    assert (field.axes, field.dtype) == ("yx", np.dtype(dtype))
    window = (slice(2, 9), slice(0, 40))
    np.testing.assert_array_equal(field.read(window=window), grey[window])


def test_images_of_others_are_read(shared_data: Path) -> None:
    folder = open_plate(shared_data / "spots_on_tissue")
    assert len(folder) == 21
    assert folder.open(next(iter(folder))).shape == (300, 300)
    image = open_plate(shared_data / "iss_tissue").open("image")
    assert (image.shape, image.dtype) == ((1044, 1390), np.uint16)
    assert image.read().max() > 1000


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_damaged_file_is_an_error_of_its_field(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"no image")
    with pytest.raises(FieldError, match=r"opening .* failed"):
        open_plate(path).open("a")


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_truncated_file_is_an_error_of_its_field(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.tif":
        tifffile.imwrite(path, TZCYX[0, 0, 0], compression="zlib")
    else:
        _png(path, TZCYX[0, 0, 0])
    path.write_bytes(path.read_bytes()[:-800])
    with pytest.raises(FieldError, match="failed"):
        open_plate(path).open("a").read()


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata": None},
        {"metadata": None, "compression": "zlib"},
        {"metadata": None, "compression": "zlib", "tile": (16, 16)},
        {"truncate": True},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        # ImageJ itself writes a single page and counts the others in its notes.
        {"imagej": True, "metadata": {"axes": "ZYX"}, "truncate": True},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
    ],
    ids=str,
)
def test_a_stack_without_its_end_is_an_error_and_no_smaller_stack(
    tmp_path: Path, options: dict[str, object], part: float
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, TZCYX[0, 0], **GREY, **options)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    # How long a compressed plane is shows when it is read.
    during = "" if "compression" in options else "opening .*"
    with pytest.raises(FieldError, match=rf"{during}a\.tif failed"):
        open_plate(path).open("a").read(z="max")


def test_a_tile_that_was_never_written_is_an_error_and_not_black(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.tif"
    options = {"tile": (16, 16), "compression": "zlib"}
    tifffile.imwrite(path, TZCYX[0, 0, 0], **GREY, **options)
    with tifffile.TiffFile(path, mode="r+") as file:
        tags = file.pages.first.tags
        for name in ("TileOffsets", "TileByteCounts"):
            tags[name].overwrite((*tags[name].value[:-1], 0))
    with pytest.raises(FieldError, match="incomplete"):
        open_plate(path).open("a").read()


def test_axes_that_ome_has_not_are_refused(tmp_path: Path) -> None:
    metadata = {"axes": "RZYX"}
    tifffile.imwrite(tmp_path / "a.tif", TZCYX[:, :, 0], metadata=metadata, **GREY)
    with pytest.raises(FieldError, match="expected the axes t, c, z, y, x"):
        open_plate(tmp_path / "a.tif").open("a")


@pytest.mark.parametrize("suffix", ["nd2", "czi", "LIF"])
def test_formats_of_microscopes_name_the_extra_that_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / f"a.{suffix}").write_bytes(b"")
    with pytest.raises(PlateError, match=r"pip install 'deepspot-scale\[readers\]'"):
        open_plate(tmp_path / f"a.{suffix}")


class _BioImage:
    """Two scenes through the part of bioio's interface that is used."""

    scenes = ("left", "right")
    channel_names = ("A", "B", "C", "D")
    dims = SimpleNamespace(order="TCZYX", shape=TCZYX.shape)
    physical_pixel_sizes = SimpleNamespace(Z=None, Y=0.2, X=0.1)
    metadata = Element("ImageDocument")  # states no sizes

    def __init__(self, path: str) -> None:
        self.scene = 0
        sizes = self.physical_pixel_sizes
        self.physical_pixel_sizes = (sizes.Z, sizes.Y, sizes.X)

    def set_scene(self, scene: int) -> None:
        self.scene = scene

    def get_image_dask_data(self, order: str) -> da.Array:
        assert order == "TCZYX"
        return da.from_array(TCZYX + self.scene, chunks=(1, 1, 1, 30, 40))


def test_a_name_may_have_a_number_sign(tmp_path: Path) -> None:
    folder = tmp_path / "day #3"
    folder.mkdir()
    for name in ("a.tif", "b#2.tif"):
        tifffile.imwrite(folder / name, np.zeros((8, 8), np.uint16))
    plate = open_plate(folder)
    assert len(plate) == 2
    assert all(plate.open(name).read().shape == (8, 8) for name in plate)


def test_scenes_that_bioio_opens_are_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bioio = ModuleType("bioio")
    bioio.BioImage = _BioImage
    monkeypatch.setitem(sys.modules, "bioio", bioio)
    (tmp_path / "a.czi").write_bytes(b"")
    plate = open_plate(tmp_path / "a.czi")
    assert list(plate) == ["a_0", "a_1"]
    field = plate.open("a_1")
    assert (field.axes, field.channels) == ("tczyx", ("A", "B", "C", "D"))
    assert field.pixel_size_um == (0.2, 0.1)
    read = field.read(t=1, channel=2, z=1)
    np.testing.assert_array_equal(read, TCZYX[1, 2, 1] + 1)
