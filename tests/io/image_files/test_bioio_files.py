"""Real ND2, CZI and LIF files, and folders of them; skipped without bioio."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.conversion.convert import convert
from deepspot_scale.io.plate import open_plate

for needed in ("bioio_nd2", "bioio_czi", "bioio_lif"):
    pytest.importorskip(needed, reason="needs pip install 'deepspot-scale[readers]'")

# The readers of others leave files to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

LIF_AXES = {"X": 1, "Y": 2, "Z": 3, "T": 4, "lambda": 5}


def save_lif(path: Path, axes: str | list[str], *images: np.ndarray) -> None:
    """Save grey images of bytes whose axes are named slowest first, as LAS X does."""
    elements, blocks = "", b""
    for k, image in enumerate(images, start=1):
        name = f"MemBlock_{k}"
        elements += (
            f'<Element Name="scan {k}" UniqueID="u{k}"><Data><Image><ImageDescription>'
            '<Channels><ChannelDescription DataType="0" ChannelTag="0" Resolution="8" '
            'NameOfMeasuredQuantity="" Min="0" Max="255" Unit="" LUTName="Green" '
            'IsLUTInverted="0" BytesInc="0" BitInc="0"/></Channels>'
            f"<Dimensions>{_dimensions(axes, image.shape)}</Dimensions>"
            f'</ImageDescription></Image></Data><Memory Size="{image.nbytes}" '
            f'MemoryBlockID="{name}"/><Children/></Element>'
        )
        head = b"\x2a" + struct.pack("<Q", image.nbytes)
        head += b"\x2a" + struct.pack("<I", len(name)) + name.encode("utf-16-le")
        blocks += struct.pack("<II", 0x70, len(head)) + head + image.tobytes()
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="made" UniqueID="r"><Memory '
        f'Size="0" MemoryBlockID="MemBlock_0"/><Children>{elements}</Children>'
        "</Element></LMSDataContainerHeader>"
    )
    text = b"\x2a" + struct.pack("<I", len(xml)) + xml.encode("utf-16-le")
    path.write_bytes(struct.pack("<II", 0x70, len(text)) + text + blocks)


def _dimensions(axes: str | list[str], shape: tuple[int, ...]) -> str:
    step, parts = 1, ""
    for axis, n in zip(reversed(axes), reversed(shape), strict=True):
        parts += (
            f'<DimensionDescription DimID="{LIF_AXES[axis]}" NumberOfElements="{n}" '
            f'Origin="0" Length="{(n - 1) * 1e-7}" Unit="m" BitInc="0" '
            f'BytesInc="{step}"/>'
        )
        step *= n
    return parts


def save_czi(path: Path, images: list[np.ndarray], *, scenes: bool = False) -> None:
    from pylibCZIrw import czi

    with czi.create_czi(str(path)) as file:
        for k, image in enumerate(images):
            place = {"C": 0 if scenes else k, "Z": 0, "T": 0}
            where = {"location": (100 * k, 0), "scene": k} if scenes else {}
            file.write(image, plane=place, **where)
        file.write_metadata(document_name="made", scale_x=1e-7, scale_y=1e-7)


def ramp(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def test_a_lif_image_is_read_and_other_scans_are_refused_when_opened(tmp_path):
    save_lif(tmp_path / "plain.lif", "YX", ramp(6, 9))
    save_lif(tmp_path / "lines.lif", ["lambda", "Y", "X"], ramp(4, 6, 9))
    save_lif(tmp_path / "xz.lif", "ZX", ramp(6, 9))
    plate = open_plate(tmp_path)
    np.testing.assert_array_equal(plate.open("plain").read(), ramp(6, 9))
    with pytest.raises(FieldError, match=r"lines\.lif has the axis λ"):
        plate.open("lines")
    with pytest.raises(FieldError, match=r"xz\.lif has no axis Y"):
        plate.open("xz")


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_colour_czi_is_refused_like_a_colour_tiff(tmp_path, n_channels):
    save_czi(tmp_path / "a.czi", [np.full((6, 9, 3), 7, np.uint8)] * n_channels)
    with pytest.raises(FieldError, match=r"a\.czi is a colour image"):
        open_plate(tmp_path / "a.czi").open("a")


def test_a_czi_of_more_scenes_than_bioio_finds_is_refused(tmp_path):
    images = [np.full((6, 9), 10 * k, np.uint8) for k in range(3)]
    save_czi(tmp_path / "a.czi", images, scenes=True)
    with pytest.raises(PlateError, match="says that it has 3 scenes, but bioio finds"):
        open_plate(tmp_path)


def test_a_czi_of_several_phases_is_refused(tmp_path):
    path = tmp_path / "a.czi"
    save_czi(path, [ramp(6, 9)])
    assert open_plate(path).open("a").shape == (1, 1, 1, 6, 9)
    content = path.read_bytes()
    assert content.count(b"<SizeM>1</SizeM>") == 1
    path.write_bytes(content.replace(b"<SizeM>1</SizeM>", b"<SizeH>2</SizeH>"))
    with pytest.raises(FieldError, match=r"a\.czi has the axis H"):
        open_plate(path).open("a")


def test_a_folder_of_czi_and_lif_becomes_a_plate(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    save_czi(folder / "B03_1.czi", [ramp(6, 9), ramp(6, 9) + 1])
    save_lif(folder / "B04_2.lif", "ZYX", ramp(4, 6, 9))
    convert(folder, tmp_path / "plate.zarr")
    plate = open_plate(tmp_path / "plate.zarr")
    assert list(plate) == ["B/03/1", "B/04/2"]
    np.testing.assert_array_equal(plate.open("B/03/1").read(channel=1), ramp(6, 9) + 1)
    field = plate.open("B/04/2")
    assert field.axes == "czyx"
    np.testing.assert_array_equal(field.read(z=3), ramp(4, 6, 9)[3])
    assert field.pixel_size_um == pytest.approx((0.1, 0.1))


def test_images_of_a_lif_become_fields_of_a_plate(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    save_lif(folder / "night.lif", "YX", ramp(6, 9), ramp(6, 9) + 10)
    assert list(open_plate(folder)) == ["night_0", "night_1"]
    convert(folder, tmp_path / "plate.zarr")
    plate = open_plate(tmp_path / "plate.zarr")
    for path, image in zip(plate, (ramp(6, 9), ramp(6, 9) + 10), strict=True):
        np.testing.assert_array_equal(plate.open(path).read(), image)


def test_a_real_nd2_becomes_a_plate(shared_data, tmp_path):
    folder = shared_data / "vendor" / "nd2"
    if not folder.is_dir():
        pytest.skip(f"no real ND2 in {folder}")
    stored = open_plate(folder / "cluster.nd2").open("cluster")
    assert (stored.axes, stored.shape) == ("tczyx", (3, 2, 10, 31, 38))
    convert(folder, tmp_path / "plate.zarr")
    field = open_plate(tmp_path / "plate.zarr").open("A/01/0")
    assert (field.shape, field.channels) == (stored.shape, stored.channels)
    read = {"t": 2, "channel": 1, "z": 7}
    np.testing.assert_array_equal(field.read(**read), stored.read(**read))
    expected = {"z": 0.5, "y": 0.167809, "x": 0.167809}
    assert field.image.spacing_um == pytest.approx(expected, abs=1e-6)


def test_real_czi_and_lif_are_read_or_refused_with_the_reason(shared_data):
    vendor = shared_data / "vendor"
    if not vendor.is_dir():
        pytest.skip(f"no real CZI and LIF in {vendor}")
    plate = open_plate(vendor / "czi")
    assert plate.open("CD_s_1_t_3_c_2_z_5").shape == (3, 2, 5, 170, 240)
    assert plate.open("tiles_z").shape == (1, 2, 2, 512, 510)
    with pytest.raises(FieldError, match="is a colour image"):
        plate.open("RGB-multichannel")
    for path in (plate := open_plate(vendor / "lif")):
        with pytest.raises(FieldError, match=r"has the axis [λΛ]"):
            plate.open(path)


def test_frames_of_nd2_are_those_that_bioio_reads(shared_data: Path) -> None:
    from bioio import BioImage

    path = shared_data / "vendor" / "nd2" / "cluster.nd2"
    expected = BioImage(path).get_image_data("TCZYX")
    image = open_plate(path).open("cluster").image
    assert image.axes == "tczyx"
    np.testing.assert_array_equal(image[(slice(None),) * 5], expected)
    odd = (slice(0, 3, 2), slice(1, 2), slice(9, 3, -2), slice(4, 20), slice(1, 30, 3))
    np.testing.assert_array_equal(image[odd], expected[odd])
