"""OME-TIFFs that list more than their own image: sets of files, several images."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepspot_scale.errors import FieldError
from deepspot_scale.io.conversion.convert import convert
from deepspot_scale.io.field import Field
from deepspot_scale.io.plate import open_plate

SHAPE = (24, 32)
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"

Listed = list[tuple[str, list[tuple[int, int, int, str]]]]
"""Images: name, and for each plane c, z, page and file."""


def own_id(file: str) -> str:
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_DNS, file)}"


def ome(images: Listed, own: str, channels=("DAPI", "FISH"), n_z: int = 1) -> str:
    text = ""
    for k, (name, planes) in enumerate(images):
        named = "".join(f'<Channel ID="Channel:{k}:{c}" Name="{c}"/>' for c in channels)
        data = "".join(
            f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="0" IFD="{page}" '
            f'PlaneCount="1"><UUID FileName="{file}">{own_id(file)}</UUID></TiffData>'
            for c, z, page, file in planes
        )
        text += (
            f'<Image ID="Image:{k}" Name="{name}"><Pixels ID="Pixels:{k}" '
            f'DimensionOrder="XYZCT" Type="uint16" SizeX="{SHAPE[1]}" '
            f'SizeY="{SHAPE[0]}" SizeZ="{n_z}" SizeC="{len(channels)}" SizeT="1" '
            f'PhysicalSizeX="0.{k + 1}" PhysicalSizeY="0.{k + 1}">{named}{data}'
            "</Pixels></Image>"
        )
    return f'<?xml version="1.0"?><OME xmlns="{NAMESPACE}" UUID="{own}">{text}</OME>'


def save(path: Path, values: list[int], description: str, **options) -> None:
    with tifffile.TiffWriter(path) as file:
        for k, value in enumerate(values):
            file.write(
                np.full(SHAPE, value, np.uint16),
                description=description.encode() if k == 0 else None,
                metadata=None,
                contiguous=False,
                **options,
            )


def only(path: Path) -> Field:
    plate = open_plate(path)
    (field,) = [plate.open(name) for name in plate]
    return field


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_each_file_of_a_set_has_its_own_channel(tmp_path, compression):
    files = ["a_C0.ome.tif", "a_C1.ome.tif"]
    planes = [(c, 0, 0, file) for c, file in enumerate(files)]
    for k, file in enumerate(files):
        text = ome([("a", planes)], own_id(file))
        save(tmp_path / file, [k + 1], text, compression=compression)
    for k, file in enumerate(files):
        field = only(tmp_path / file)
        assert (field.axes, field.channels) == ("yx", (("DAPI", "FISH")[k],))
        assert set(np.unique(field.read())) == {k + 1}


def test_each_file_of_a_set_has_its_own_planes(tmp_path):
    files = ["a_Z0.ome.tif", "a_Z1.ome.tif"]
    planes = [
        (c, 2 * k + z, 2 * c + z, file)
        for k, file in enumerate(files)
        for c in (0, 1)
        for z in (0, 1)
    ]
    for k, file in enumerate(files):
        values = [100 * k + page for page in range(4)]
        save(tmp_path / file, values, ome([("a", planes)], own_id(file), n_z=4))
    for k, file in enumerate(files):
        field = only(tmp_path / file)
        assert (field.axes, field.shape) == ("czyx", (2, 2, *SHAPE))
        for c, z in ((0, 0), (0, 1), (1, 0), (1, 1)):
            window = (slice(3, 5), slice(4, 9))
            read = field.read(channel=c, z=z, window=window)
            assert (read.shape, set(read.flat)) == ((2, 5), {100 * k + 2 * c + z})


def positions(folder: Path, n: int = 3) -> list[str]:
    """Save a file for each position, as Micro-Manager does; c varies fastest."""
    files = [f"run_MMStack_Pos{k}.ome.tif" for k in range(n)]
    images = [
        (f"Pos{k}", [(i % 2, i // 2, i, file) for i in range(6)])
        for k, file in enumerate(files)
    ]
    for k, file in enumerate(files):
        # The stage's notes make offsets differ between files.
        text = ome(images, own_id(file), n_z=3).replace("<OME", f"<!--{' ' * k}--><OME")
        save(folder / file, [100 * k + i for i in range(6)], text)
    return files


def test_each_position_of_a_set_is_its_own_file(tmp_path):
    for k, file in enumerate(positions(tmp_path)):
        field = only(tmp_path / file)
        assert (field.axes, field.shape) == ("czyx", (2, 3, *SHAPE))
        found = [[field.read(channel=c, z=z)[0, 0] for z in range(3)] for c in (0, 1)]
        assert found == [[100 * k + 2 * z + c for z in range(3)] for c in (0, 1)]
        assert field.pixel_size_um == (pytest.approx(0.1 * (k + 1)),) * 2


def test_positions_become_fields_of_a_plate(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    positions(folder)
    convert(folder, tmp_path / "plate.zarr")
    plate = open_plate(tmp_path / "plate.zarr")
    assert list(plate) == ["A/01/0", "A/01/1", "A/01/2"]
    assert int(plate.open("A/01/2").read(channel=1, z=2)[0, 0]) == 205


def test_one_file_of_a_set_alone_is_read(tmp_path):
    files = positions(tmp_path)
    (tmp_path / files[0]).unlink()
    (tmp_path / files[2]).unlink()
    assert int(only(tmp_path / files[1]).read(channel=0, z=0)[0, 0]) == 100


def test_a_renamed_file_of_a_set_is_known_by_its_id(tmp_path):
    files = positions(tmp_path)
    for k, name in ((0, "x.tif"), (1, "y.tif")):
        (tmp_path / files[k]).rename(tmp_path / name)
        assert int(only(tmp_path / name).read(channel=0, z=0)[0, 0]) == 100 * k


def test_a_file_that_holds_none_of_the_planes_is_refused(tmp_path):
    planes = [(c, 0, 0, f"b{c}.ome.tif") for c in (0, 1)]
    save(tmp_path / "a.ome.tif", [1], ome([("a", planes)], "urn:uuid:0"))
    with pytest.raises(FieldError, match=r"other files \(b0\.ome\.tif, b1\.ome\.tif\)"):
        only(tmp_path / "a.ome.tif")


def test_a_file_whose_pixels_lie_in_one_other_file_is_refused(tmp_path):
    text = ome([("a", [(0, 0, 0, "b.ome.tif")])], "urn:uuid:0", ["A"])
    save(tmp_path / "a.ome.tif", [1], text)
    save(tmp_path / "b.ome.tif", [2], text.replace("urn:uuid:0", own_id("b.ome.tif")))
    assert only(tmp_path / "b.ome.tif").read()[0, 0] == 2
    with pytest.raises(FieldError, match=r"other files \(b\.ome\.tif\)"):
        only(tmp_path / "a.ome.tif")


def test_a_set_split_within_a_stack_names_the_other_file(tmp_path):
    places = [(0, 0), (1, 0), (0, 1), (1, 1)]
    files = ["a.ome.tif", "a.ome.tif", "a.ome.tif", "a_1.ome.tif"]
    planes = [
        (*p, k % 3, f) for k, (p, f) in enumerate(zip(places, files, strict=True))
    ]
    text = ome([("a", planes)], own_id("a.ome.tif"), n_z=2)
    save(tmp_path / "a.ome.tif", [1, 2, 3], text)
    with pytest.raises(FieldError, match=r"not t 0, c 1, z 1.*\(a_1\.ome\.tif\)"):
        only(tmp_path / "a.ome.tif")


def test_a_set_without_its_last_pages_is_incomplete(tmp_path):
    file = "a.ome.tif"
    planes = [(0, 0, 0, file), (0, 0, 0, "b.ome.tif"), (1, 0, 1, file)]
    save(tmp_path / file, [1], ome([("a", planes)], own_id(file)))
    with pytest.raises(FieldError, match="incomplete"):
        only(tmp_path / file)


@pytest.mark.parametrize("n_channels", [1, 2])
def test_several_images_in_one_file_are_refused_and_never_a_stack(tmp_path, n_channels):
    axes = "CYX" if n_channels == 2 else "YX"
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for k in range(3):
            shape = (n_channels, *SHAPE)[-len(axes) :]
            file.write(
                np.full(shape, k, np.uint16),
                metadata={"axes": axes, "Name": f"A0{k + 1}"},
            )
    with pytest.raises(FieldError, match=r"contains 3 images \(A01, A02, A03\)"):
        only(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("in_tiff", [False, True])
def test_a_companion_has_the_meaning_of_the_pages(tmp_path, in_tiff):
    files = ["a_0.ome.tif", "a_1.ome.tif"]
    planes = [(c, 0, 0, file) for c, file in enumerate(files)]
    whole = ome([("a", planes)], own_id(files[0]))
    name = files[0] if in_tiff else "a.companion.ome"
    if in_tiff:
        save(tmp_path / name, [0], whole)
    pointer = (
        f'<OME xmlns="{NAMESPACE}" UUID="{own_id(files[1])}"><BinaryOnly '
        f'MetadataFile="{name}" UUID="urn:uuid:1"/></OME>'
    )
    save(tmp_path / files[1], [7], pointer)
    if not in_tiff:
        with pytest.raises(FieldError, match=r"a\.companion\.ome.*not there"):
            only(tmp_path / files[1])
        (tmp_path / name).write_text(whole, encoding="utf-8")
    assert only(tmp_path / files[1]).channels == ("FISH",)


def test_ome_xml_that_declares_entities_is_refused(tmp_path):
    text = ome([("&x;", [(0, 0, 0, "a.ome.tif")])], own_id("a.ome.tif"), ["A"])
    text = text.replace("<OME", '<!DOCTYPE OME [<!ENTITY x "y">]><OME')
    save(tmp_path / "a.ome.tif", [1], text)
    with pytest.raises(FieldError, match="document type"):
        only(tmp_path / "a.ome.tif")
