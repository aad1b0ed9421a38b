"""Folders as microscopes write them become plates with the right wells and planes."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepspot_scale.errors import PlateError
from deepspot_scale.io.conversion.convert import Conversion, convert, plan_conversion
from deepspot_scale.io.conversion.schemes import find_aside
from deepspot_scale.io.plate import Plate, open_plate

CAMERA_PIXEL = (4294967295, 2770410)
"""Per cm, in the tags of every Harmony export: 6.45 um, whatever the objective."""


def save(path: Path, value: int, shape: tuple[int, int] = (16, 24), **more) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full(shape, value, np.uint16)
    tifffile.imwrite(path, image, **{"metadata": None} | more)


def read(plate: Plate, path: str) -> list[list[int]]:
    """Return the first pixel of each channel and plane."""
    field = plate.open(path)
    return [
        [int(field.read(channel=c, z=z)[0, 0]) for z in range(field.n_z)]
        for c in range(len(field.channels))
    ]


def to_plate(folder: Path, target: Path, **settings) -> Plate:
    convert(folder, target, Conversion(**settings))
    return open_plate(target)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "images"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "plate.zarr"


@pytest.fixture(scope="session")
def vendor(shared_data: Path) -> Path:
    """Folder of real files of microscopes; the test is skipped where it is absent."""
    found = shared_data / "vendor"
    if not found.is_dir():
        pytest.skip(f"no files of microscopes at {found}")
    return found


# -- names ----------------------------------------------------------------------------

ID = str(uuid.UUID(int=5, version=4)).upper()


@pytest.mark.parametrize(
    ("name", "fields", "channels"),
    [
        ("{w[0]}{n}_{c}.tif", ["B/03/0", "C/12/0"], ("DAPI", "FISH")),
        ("{w} - {n:02}(fld {f} wv {c} - {c}).tif", ["B/03/1", "C/12/1"], None),
        ("{w} - {n}(fld 01 wv {c} z 1).tif", ["B/03/1", "C/12/1"], ("DAPI", "FISH")),
        ("AS_09125_05011_{w}{n:02}f00d{k}.TIF", ["B/03/0", "C/12/0"], ("d0", "d1")),
        ("e_MMStack_{w}{n}-Site_{k}.ome.tif", ["B/03/0", "B/03/1"], ("0",)),
        ("{w}{n}-Site_4/img_000000000_{c}_000.tif", ["B/03/4", "C/12/4"], None),
        (
            "{w}{n}/img_channel00{k}_position007_time000000000_z000.tif",
            ["B/03/7", "C/12/7"],
            ("000", "001"),
        ),
        ("P7_{w}{n:02}_s1_w{k}3" + ID[1:] + ".tif", ["B/03/1", "C/12/1"], ("w0", "w1")),
        ("P7_{l}{n:02}_s1_w{k}A" + ID[1:] + ".tif", ["B/03/1", "C/12/1"], ("w0", "w1")),
        ("P7_{w}{n:02}_s{k}3" + ID[1:] + ".tif", ["B/03/0", "B/03/1"], ("0",)),
        ("P7_{w}{n:02}_w{k}9" + ID[1:] + ".tif", ["B/03/0", "C/12/0"], ("w0", "w1")),
    ],
)
def test_wells_fields_and_channels_are_those_of_the_names(
    folder, target, name, fields, channels
):
    for w, n in (("B", 3), ("C", 12)):
        for k, c in enumerate(("DAPI", "FISH")):
            save(folder / name.format(w=w, l=w.lower(), n=n, k=k, f=1, c=c), 10 * n + k)
    plate = to_plate(folder, target)
    assert list(plate)[:2] == fields
    found = plate.open(fields[0]).channels
    assert found == (channels or found)
    assert {int(plate.open(p).read(channel=0)[0, 0]) // 10 for p in plate} == {3, 12}
    assert len(found) * len(plate) == 4


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["day_A1_x.tif", "day_A2_x.tif"], "No known scheme"),
        (["img b03 x.tif", "img b04 x.tif"], "No known scheme"),
        (["C1_cells.tif", "C2_cells.tif"], "C1, C2 may be wells, or channels"),
        (["B03_DAPI_s1.tif", "B03_DAPI_s2.tif"], "'DAPI_s1' seems to have a field"),
        (["B03_x81.tif", "B03_x82.tif"], "'x81' seems to have a field"),
        (["B03_DAPI_001.tif", "B03_DAPI_002.tif"], "'DAPI_001' seems to have a field"),
        (["B3_02_1_1_DAPI.tif", "B3_02_1_2_DAPI.tif"], "'1_1_DAPI' seems to have a"),
        (["B3_1_00h05m.tif", "B3_1_00h10m.tif"], "'00h05m' seems to have .* a time"),
        (["WellA1_DAPI.tif", "WellB1_DAPI.tif"], "No known scheme"),
        (["a1_dapi.tif", "b1_dapi.tif"], "No known scheme"),
        (["B03_a81f.tif", "B04_c20e.tif"], "No two of 2 fields have a channel"),
    ],
)
def test_names_that_may_mean_something_else_ask_for_a_pattern(folder, names, reason):
    for k, name in enumerate(names):
        save(folder / name, k)
    with pytest.raises(PlateError, match=rf"{reason}.*{names[0]}.*--pattern"):
        plan_conversion(folder)


def test_files_without_wells_become_fields_of_one_well_and_this_is_said(folder):
    for name in ("DAPI_1.tif", "FISH_1.tif"):
        save(folder / name, 1)
    (note,) = plan_conversion(folder).notes
    assert "No name has a well, so each of 2 images" in note
    assert "--pattern" in note


@pytest.mark.parametrize("pattern", [None, r"(?P<well>[A-P]\d\d)_(?P<channel>\w+)\."])
def test_thumbnails_are_left_out_whatever_reads_the_names(folder, pattern):
    for name in ("B03_FISH.tif", "B04_FISH.tif", "B03_FISH_thumb.tif"):
        save(folder / name, 1)
    plan = plan_conversion(folder, Conversion(pattern=pattern))
    assert [len(field.images) for field in plan.fields] == [1, 1]
    assert plan.unmatched == ("B03_FISH_thumb.tif",)
    (note,) = plan.notes
    assert "left out 1 files, such as B03_FISH_thumb.tif" in note


_CV = ["W1_A01_T0001F001L01A01Z01C01.tif", "W1_A01_T0001F001L01A01Z01C02.tif"]
_CALIBRATION = ["DC_DCAM#1_CAM3.tif", "SC_BP445-45_20x v2_M01_CH01.tif"]


@pytest.mark.parametrize(
    ("names", "aside"),
    [
        ([*_CALIBRATION, *_CV], _CALIBRATION),
        # Anyone's images may begin like this.
        (["DC_1.tif", "SC_2.tif", "B03_0_FISH.tif"], []),
        (["p_B03_s1_w1_thumb.tif", "p_B03_s1_w1.tif"], ["p_B03_s1_w1_thumb.tif"]),
        (["sick_thumb.tif"], []),
        (["thumbs_up.tif", "a.tif"], []),
    ],
)
def test_what_lies_beside_the_images_is_found_by_name(names, aside):
    assert find_aside(names) == aside


def test_fields_that_lack_a_channel_are_counted(folder):
    for name in ("B03_DAPI.tif", "B03_FISH.tif", "B04_FISH.tif"):
        save(folder / name, 1)
    (note,) = plan_conversion(folder).notes
    assert note.startswith("1 of 2 fields lack channels")
    assert "B/04/0 without DAPI" in note


# -- MetaXpress's stacks --------------------------------------------------------------


def save_metaxpress(folder: Path, kind: str, *, channels=(1, 2), depth=3) -> None:
    """Save planes 11, 12, ... of w1 and 21, ... of w2, and 99 for their projections."""
    for c in channels:
        for z in range(depth + 1):
            step = "" if kind == "raw" and z == 0 else f"ZStep_{z}"
            path = folder / "TimePoint_1" / step / f"P7_B02_s1_w{c}.TIF"
            save(path, 10 * c + z if z else 99)


@pytest.mark.parametrize("kind", ["raw", "exported"])
def test_the_projection_beside_a_stack_is_not_its_plane(folder, target, kind):
    save_metaxpress(folder, kind)
    assert read(to_plate(folder, target), "B/02/1") == [[11, 12, 13], [21, 22, 23]]
    (note,) = plan_conversion(folder).notes
    assert note.startswith("left out 2 files")
    assert "projection" in note


def test_a_stack_of_one_site_and_wavelength_is_read_by_its_folders(folder, target):
    for z in range(4):
        save(folder / "TimePoint_1" / f"ZStep_{z}" / "9987_B02.TIF", z or 99)
    assert read(to_plate(folder, target), "B/02/0") == [[1, 2, 3]]


def test_projections_without_planes_are_the_images(folder, target):
    save_metaxpress(folder, "exported", depth=0)
    plate = to_plate(folder, target)
    assert read(plate, "B/02/1") == [[99], [99]]
    assert plan_conversion(folder).notes == ()


def test_channels_with_different_numbers_of_planes_are_projected_or_refused(
    folder, target
):
    save_metaxpress(folder, "raw", channels=[1])
    save(folder / "TimePoint_1" / "P7_B02_s1_w2.TIF", 77)
    for project in ("none", "mean"):
        with pytest.raises(PlateError, match=r"w1 3, w2 1.*--project max"):
            plan_conversion(folder, Conversion(project=project))
    assert read(to_plate(folder, target, project="max"), "B/02/1") == [[13], [77]]


def save_metamorph(path: Path, value: int, plane: int) -> None:
    """Save a file that says its plane as MetaXpress says it; 0: a projection."""
    said = "Z Step" if plane else "Z Projection Method"
    kind, text = ("float", plane) if plane else ("string", "Maximum")
    props = f'<custom-prop id="{said}" type="{kind}" value="{text}"/>'
    description = f"<MetaData><PlaneInfo>{props}</PlaneInfo></MetaData>"
    save(path, value, description=description, software="MetaSeries")


@pytest.mark.parametrize("said", [0, 1])
def test_one_image_exported_for_each_plane_is_no_stack(folder, target, said):
    for z in (1, 2):
        place = folder / "TimePoint_1" / f"ZStep_{z}"
        save_metamorph(place / "P7_B02_s1_w1.TIF", 10 + z, z)
        save_metamorph(place / "P7_B02_s1_w2.TIF", 77, said)
    what = "the same as all" if said else "a projection"
    with pytest.raises(PlateError, match=rf"w2\.TIF.* {what}.*--project max"):
        convert(folder, target)
    assert read(to_plate(folder, target, project="max"), "B/02/1") == [[12], [77]]


def test_real_metaxpress_files_of_several_times_are_read(vendor, target):
    plate = to_plate(vendor / "imagexpress_zmix_t", target)
    assert list(plate) == ["C/07/1", "C/07/2"]
    field = plate.open("C/07/1")
    assert (field.axes, field.channels) == ("tcyx", ("w1", "w2", "w3"))
    place = vendor / "imagexpress_zmix_t" / "2024-04-22" / "1697" / "TimePoint_2"
    (path,) = place.glob("*_s1_w3*.tif")
    np.testing.assert_array_equal(field.read(t=1, channel=2), tifffile.imread(path))


def test_a_real_metaxpress_export_of_mixed_stacks_is_projected(vendor, target):
    folder = vendor / "imagexpress_exported_3434"
    with pytest.raises(PlateError, match=r"w2\.TIF.*projection.*--project max"):
        convert(folder, target)
    plate = to_plate(folder, target, project="max")
    assert len(plate) == 4
    field = plate.open("B/03/2")
    steps = [folder / "TimePoint_1" / f"ZStep_{z}" for z in (1, 2)]
    for c in (1, 2, 3):
        images = [tifffile.imread(step / f"9987_B03_s2_w{c}.TIF") for step in steps]
        found = field.read(channel=c - 1)
        np.testing.assert_array_equal(found, np.max(images, axis=0))
    assert field.pixel_size_um == pytest.approx((1.3672, 1.3672))


# -- files beside the images ----------------------------------------------------------


def index_xml(version: int) -> str:
    """Return an index of Harmony 5 (sizes for each image) or 7 (for each channel)."""
    size = "".join(
        f'<ImageResolution{a} Unit="m">5.98e-07</ImageResolution{a}>' for a in "XY"
    )
    images, entries = "", ""
    for c, name in ((1, "Alexa 647"), (2, "DAPI")):
        named = f"<ChannelName>{name}</ChannelName>"
        entries += f'<Entry ChannelID="{c}">{(named + size) * (version > 5)}</Entry>'
        for z in (1, 2):
            images += (
                f'<Image Version="1"><Row>2</Row><Col>3</Col><FieldID>1</FieldID>'
                f"<PlaneID>{z}</PlaneID><ChannelID>{c}</ChannelID>"
                f'{(named + size) * (version == 5)}<PositionZ Unit="m">{5e-7 * z:g}'
                "</PositionZ></Image>"
            )
    return (
        '<?xml version="1.0" encoding="utf-8"?><EvaluationInputData xmlns="http://www.'
        f'perkinelmer.com/PEHH/HarmonyV{version}"><Maps><Map>{entries}</Map></Maps>'
        f"<Images>{images}</Images></EvaluationInputData>"
    )


def save_harmony(folder: Path, n_z: int = 2) -> None:
    for c in (1, 2):
        for z in range(1, n_z + 1):
            save(
                folder / f"r02c03f01p{z:02}-ch{c}sk1fk1fl1.tiff",
                10 * c + z,
                resolution=(CAMERA_PIXEL, CAMERA_PIXEL),
                resolutionunit="CENTIMETER",
            )


@pytest.mark.parametrize(
    ("name", "version"), [("Index.idx.xml", 5), ("Index.xml", 7)], ids=["5", "7"]
)
def test_an_operettas_index_has_the_sizes_and_names(folder, target, name, version):
    save_harmony(folder)
    (folder / name).write_text(index_xml(version), encoding="utf-8")
    plate = to_plate(folder, target)
    field = plate.open("B/03/1")
    assert field.channels == ("Alexa 647", "DAPI")
    assert read(plate, "B/03/1") == [[11, 12], [21, 22]]
    assert field.image.spacing_um == pytest.approx({"z": 0.5, "y": 0.598, "x": 0.598})
    one = open_plate(folder / "r02c03f01p01-ch2sk1fk1fl1.tiff")
    (alone,) = [one.open(path) for path in one]
    assert (alone.channels, alone.pixel_size_um) == (
        ("DAPI",),
        pytest.approx((0.598, 0.598)),
    )


def test_without_an_index_an_operettas_pixel_size_is_unknown(folder, target):
    save_harmony(folder, n_z=1)
    field = to_plate(folder, target).open("B/03/1")
    assert (field.pixel_size_um, field.channels) == (None, ("ch1", "ch2"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (index_xml(5)[:-40], "cannot be read"),
        (index_xml(5).replace("5.98e-07", "6e-07", 1), "different pixel sizes"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
    ],
    ids=["damaged", "unlike", "entity"],
)
def test_an_index_that_cannot_be_trusted_is_refused(folder, target, text, reason):
    save_harmony(folder)
    (folder / "Index.idx.xml").write_text(text, encoding="utf-8")
    with pytest.raises(PlateError, match=rf"Index\.idx\.xml.*{reason}"):
        convert(folder, target)


def test_a_real_opera_phenix_export_has_the_samples_pixel_size(vendor, target):
    field = to_plate(vendor / "operetta_v1", target).open("A/01/1")
    assert field.channels == ("Alexa 647", "Alexa 568")
    assert field.pixel_size_um == pytest.approx((0.597976, 0.597976), abs=1e-6)


def save_cellvoyager(folder: Path, steps: tuple[float, ...]) -> None:
    space = 'xmlns:bts="http://www.yokogawa.co.jp/BTS/BTSSchema/1.0"'
    records = ""
    for z, height in enumerate(steps, start=1):
        name = f"P_B03_T0001F001L01A01Z{z:02}C01.tif"
        save(folder / name, z)
        records += (
            f'<bts:MeasurementRecord bts:Type="IMG" bts:Row="2" bts:Column="3" '
            f'bts:FieldIndex="1" bts:TimePoint="1" bts:ActionIndex="1" bts:Ch="1" '
            f'bts:ZIndex="{z}" bts:Z="{height}">{name}</bts:MeasurementRecord>'
        )
    (folder / "MeasurementData.mlf").write_text(f"<bts:M {space}>{records}</bts:M>")
    (folder / "MeasurementDetail.mrf").write_text(
        f'<bts:M {space}><bts:MeasurementChannel bts:Ch="1" '
        'bts:HorizontalPixelDimension="0.2" bts:VerticalPixelDimension="0.1"/></bts:M>'
    )


@pytest.mark.parametrize(
    ("heights", "z"), [((0.0, 1.5, 3.0), {"z": 1.5}), ((0.0, 1.5, 9.0), {})]
)
def test_a_cellvoyagers_files_have_the_voxel_size(folder, target, heights, z):
    save_cellvoyager(folder, heights)
    field = to_plate(folder, target).open("B/03/1")
    expected = {"y": 0.1, "x": 0.2} | z
    assert dict(field.image.spacing_um) == pytest.approx(expected)


def test_a_real_cellvoyager_acquisition_is_read(vendor, target):
    folder = next((vendor / "cv8000").glob("*/*/"))
    plan = plan_conversion(folder)
    assert [len(field.images) for field in plan.fields] == [8] * 12
    (note,) = plan.notes  # corrections of shading and of the cameras
    assert note.startswith("left out 6 files")
    name = plan.fields[0].images[0].path
    plate = open_plate(folder / name)
    (field,) = [plate.open(path) for path in plate]
    assert field.pixel_size_um == pytest.approx((0.325, 0.325))
