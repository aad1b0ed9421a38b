"""Folders of images become plates: what names mean, what is refused, what is stored."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import zarr

from deepspot_scale.errors import PlateError, SettingsError
from deepspot_scale.io.conversion import convert as convert_module
from deepspot_scale.io.conversion.convert import Conversion, convert, plan_conversion
from deepspot_scale.io.plate import open_plate

SHAPE = (40, 56)


def pixels(seed, *leading, shape=SHAPE, dtype=np.uint16):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 200, (*leading, *shape)).astype(dtype)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        assert cv2.imwrite(str(path), image)
    else:
        tifffile.imwrite(path, image, photometric="minisblack", **options)
    return image


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "images"


@pytest.fixture
def target(tmp_path):
    return tmp_path / "plate.zarr"


def stored(target, path):
    return zarr.open_array(target / path / "0", mode="r")[...]


def test_thumbnails_are_left_out_and_listed(folder):
    guid = "A1B2C3D4-1234-1234-1234-123456789ABC"
    save(folder / f"e_B03_s1_w1{guid}.tif", pixels(0))
    save(folder / f"e_B03_s1_w1_thumb{guid}.tif", pixels(1, shape=(4, 4)))
    plan = plan_conversion(folder)
    assert plan.unmatched == (f"e_B03_s1_w1_thumb{guid}.tif",)
    assert [field.channels for field in plan.fields] == [("w1",)]


def test_users_pattern_places_the_files(folder, target):
    images = {
        (letter, place): save(
            folder / f"day1-{letter}7.{place}.dapi.png", pixels(ord(letter) + place)
        )
        for letter in "CD"
        for place in (1, 2)
    }
    pattern = r"-(?P<row>[A-H])(?P<column>\d+)\.(?P<field>\d)\.(?P<channel>\w+)"
    convert(folder, target, Conversion(pattern=pattern))
    for (letter, place), image in images.items():
        np.testing.assert_array_equal(stored(target, f"{letter}/07/{place}")[0], image)


@pytest.mark.parametrize(
    "pattern",
    ["(", "no groups", r"(?P<plate>.)", r"(?P<row>.)", r"(?P<well>.)(?P<row>.)"],
)
def test_pattern_that_can_place_nothing_is_refused(pattern):
    with pytest.raises(SettingsError, match="pattern"):
        Conversion(pattern=pattern)


@pytest.mark.parametrize(
    "settings",
    [
        {"project": "sum"},
        {"version": "0.6"},
        {"pixel_size_um": 0.0},
        {"chunk": 0},
        {"chunk": 512, "shard": 700},
        {"version": "0.4", "shard": 512},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(SettingsError):
        Conversion(**settings)


def test_pattern_that_matches_nothing_shows_names(folder):
    save(folder / "B03_0_FISH.tif", pixels(0))
    with pytest.raises(PlateError, match="B03_0_FISH"):
        plan_conversion(folder, Conversion(pattern=r"(?P<well>X\d)"))


def test_names_with_wells_that_no_scheme_reads_ask_for_a_pattern(folder):
    for i in range(4):
        save(folder / f"day{i} B03 ({i}).tif", pixels(i))
    with pytest.raises(PlateError, match=r"day0 B03 \(0\).*\(\?P<well>"):
        plan_conversion(folder)


def test_names_without_structure_become_fields_of_one_well(folder, target):
    images = [save(folder / f"{i}.png", pixels(i)) for i in (1, 2, 10)]
    convert(folder, target)
    for i, image in enumerate(images):
        np.testing.assert_array_equal(stored(target, f"A/01/{i}")[0], image)
    with (target.parent / "plate.zarr.files.csv").open(newline="") as file:
        rows = [(row["file"], row["field"]) for row in csv.DictReader(file)]
    assert rows == [("1.png", "0"), ("2.png", "1"), ("10.png", "2")]


def test_folder_without_images_is_refused(folder, tmp_path):
    folder.mkdir()
    (folder / "notes.txt").write_text("none")
    with pytest.raises(PlateError, match="no images"):
        plan_conversion(folder)
    with pytest.raises(PlateError, match="folder"):
        plan_conversion(tmp_path / "absent")


def test_two_files_for_one_place_are_an_error(folder):
    save(folder / "B03_0_FISH.tif", pixels(0))
    save(folder / "B3_0_FISH.png", pixels(1))
    with pytest.raises(PlateError, match=r"B03_0_FISH\.tif and B3_0_FISH\.png"):
        plan_conversion(folder)


def test_hole_in_a_stack_is_an_error(folder):
    for z, channel in ((0, "FISH"), (1, "FISH"), (0, "DAPI")):
        save(folder / f"B03_0_z{z}_{channel}.tif", pixels(z))
    with pytest.raises(PlateError, match=r"B/03/0 lacks 1 of 4.*'DAPI', t 0, z 1"):
        plan_conversion(folder)


@pytest.mark.parametrize(
    "settings",
    [
        {"version": "0.4", "chunk": 16},
        {"version": "0.5", "chunk": 16},
        {"version": "0.5", "chunk": 8, "shard": 32},
    ],
    ids=str,
)
def test_plate_holds_the_images_as_they_were(folder, target, settings):
    fields = [("B", "03", "0"), ("B", "03", "1"), ("C", "11", "0")]
    images = {
        (*field, channel): save(
            folder / f"{field[0]}{field[1]}_{field[2]}_{channel}.tif", pixels(7 * i + j)
        )
        for i, field in enumerate(fields)
        for j, channel in enumerate(["DAPI", "FISH"])
    }
    seen = []
    plan = convert(
        folder,
        target,
        Conversion(pixel_size_um=0.108, **settings),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert plan.unmatched == ()
    plate = open_plate(target)
    assert list(plate) == ["B/03/0", "B/03/1", "C/11/0"]
    for row, column, name in fields:
        field = plate.open(f"{row}/{column}/{name}")
        assert (field.channels, field.axes) == (("DAPI", "FISH"), "cyx")
        assert field.pixel_size_um == pytest.approx((0.108, 0.108))
        for c, channel in enumerate(field.channels):
            found = field.read(channel=c)
            assert found.dtype == np.uint16
            np.testing.assert_array_equal(found, images[row, column, name, channel])


def test_planes_and_times_in_names_become_axes(folder, target):
    images = {
        (t, z): save(folder / f"B03_0_FISH_t{t}_z{z}.tif", pixels(10 * t + z))
        for t in (1, 2)
        for z in (3, 4, 10)
    }
    convert(folder, target)
    expected = [[images[t, z] for z in (3, 4, 10)] for t in (1, 2)]
    np.testing.assert_array_equal(stored(target, "B/03/0")[:, 0], expected)


@pytest.mark.parametrize("project", ["none", "max", "mean"])
@pytest.mark.parametrize("inside", [True, False], ids=["one file", "file per plane"])
def test_projection_is_that_of_numpy(folder, target, project, inside):
    stack = pixels(0, 5)
    if inside:
        save(folder / "B03_0_FISH.tif", stack, metadata=None)
    else:
        for z, plane in enumerate(stack):
            save(folder / f"B03_0_z{z}_FISH.tif", plane)
    convert(folder, target, Conversion(project=project))
    found = stored(target, "B/03/0")[0]
    expected = {"none": stack, "max": stack.max(axis=0), "mean": stack.mean(axis=0)}
    np.testing.assert_allclose(found, expected[project], rtol=1e-6)
    assert found.dtype == (np.float32 if project == "mean" else np.uint16)


@pytest.mark.parametrize(
    ("pages", "axes"), [("z", "czyx"), ("c", "cyx"), ("t", "tcyx")]
)
def test_pages_of_a_plain_file_are_the_axis_asked_for(folder, target, pages, axes):
    stack = save(folder / "B03_0.tif", pixels(0, 3), metadata=None)
    convert(folder, target, Conversion(pages=pages))
    field = open_plate(target).open("B/03/0")
    assert field.axes == axes
    np.testing.assert_array_equal(stored(target, "B/03/0").squeeze(), stack)


def test_pages_appended_one_by_one_are_planes(folder, target):
    stack = pixels(0, 3)
    folder.mkdir()
    with tifffile.TiffWriter(folder / "B03_0.tif") as writer:
        for plane in stack:
            writer.write(plane)
    convert(folder, target)
    np.testing.assert_array_equal(stored(target, "B/03/0")[0], stack)


@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_axes_and_pixel_size_come_from_the_files(folder, target, kind):
    stack = pixels(0, 2, 3)  # c, z
    if kind == "ome":
        metadata = {
            "axes": "CZYX",
            "PhysicalSizeX": 108,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.216,
            "PhysicalSizeYUnit": "µm",
            "PhysicalSizeZ": 0.5,
            "Channel": {"Name": ["DAPI", "FISH"]},
        }
        save(folder / "B03_0.ome.tif", stack, metadata=metadata)
    else:
        tifffile.imwrite(
            _in(folder, "B03_0.tif"),
            stack.transpose(1, 0, 2, 3),
            imagej=True,
            resolution=(1 / 0.108, 1 / 0.216),
            metadata={"axes": "ZCYX", "unit": "um", "spacing": 0.5},
        )
    convert(folder, target)
    field = open_plate(target).open("B/03/0")
    assert field.axes == "czyx"
    assert field.channels == (("DAPI", "FISH") if kind == "ome" else ("0", "1"))
    assert field.pixel_size_um == pytest.approx((0.216, 0.108), rel=1e-4)
    np.testing.assert_array_equal(stored(target, "B/03/0"), stack)


def _in(folder, name):
    folder.mkdir(exist_ok=True)
    return folder / name


@pytest.mark.parametrize(
    ("per_unit", "unit", "expected"),
    [(40_000, "CENTIMETER", 0.25), (72, "INCH", None), (1, "NONE", None)],
)
def test_resolution_tag_counts_when_it_is_a_microscopes(
    folder, target, per_unit, unit, expected
):
    options = {"resolution": (per_unit, per_unit), "resolutionunit": unit}
    save(folder / "B03_0.tif", pixels(0), **options)
    convert(folder, target)
    size = open_plate(target).open("B/03/0").pixel_size_um
    assert size == (None if expected is None else pytest.approx((expected, expected)))


def test_different_pixel_sizes_in_one_field_are_an_error(folder, target):
    for channel, per_cm in (("FISH", 40_000), ("DAPI", 80_000)):
        options = {"resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
        save(folder / f"B03_0_{channel}.tif", pixels(0), **options)
    with pytest.raises(PlateError, match="different pixel sizes"):
        convert(folder, target)
    convert(folder, target, Conversion(pixel_size_um=0.25))


@pytest.mark.parametrize(
    "names",
    [
        {"cells": "B03_0_cells.tif", "nuclei": "B03_0_nuclei.png"},
        {"cells": "cells/B03_0_FISH.tif", "nuclei": "nuclei/B03_0.tif"},
        {"cells": "B03_0_FISH_cells.tif", "nuclei": "nuclei/B03_0_cp_masks.tif"},
    ],
    ids=["suffix", "subfolder", "both"],
)
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "beside"])
def test_masks_come_along_as_labels(folder, target, tmp_path, names, inside):
    for place in (0, 1):
        for channel in ("FISH", "DAPI"):
            save(folder / f"B03_{place}_{channel}.tif", pixels(place))
    masks = folder / "masks" if inside else tmp_path / "masks"
    labels = {k: save(masks / n, pixels(len(k))) for k, n in names.items()}
    plan = convert(folder, target, Conversion(masks=masks))
    assert [len(field.masks) for field in plan.fields] == [2, 0]
    field = open_plate(target).open("B/03/0")
    assert sorted(field.label_names) == ["cells", "nuclei"]
    for name, expected in labels.items():
        np.testing.assert_array_equal(field.read_labels(name), expected)


def test_mask_of_a_harmony_stack_serves_all_planes(folder, target, tmp_path):
    for z in (1, 2):
        save(folder / f"r02c03f01p0{z}-ch1sk1fk1fl1.tiff", pixels(z))
    cells = save(tmp_path / "masks/cells/r02c03f01p01-ch1sk1fk1fl1.tiff", pixels(3))
    convert(folder, target, Conversion(masks=tmp_path / "masks"))
    np.testing.assert_array_equal(stored(target, "B/03/1/labels/cells"), cells)


def test_masks_by_time_point_keep_their_order(folder, target, tmp_path):
    labels = []
    for t in (2, 10):
        save(folder / f"B03_0_t{t}_FISH.tif", pixels(t))
        labels.append(save(tmp_path / f"masks/B03_0_t{t}_cells.tif", pixels(t + 50)))
    convert(folder, target, Conversion(masks=tmp_path / "masks"))
    np.testing.assert_array_equal(stored(target, "B/03/0/labels/cells"), labels)


def test_masks_by_plane_are_stored_by_plane_and_never_projected(
    folder, target, tmp_path
):
    save(folder / "B03_0_FISH.tif", pixels(0, 3), metadata=None)
    cells = save(tmp_path / "masks/B03_0_cells.tif", pixels(1, 3), metadata=None)
    masks = tmp_path / "masks"
    convert(folder, target, Conversion(masks=masks))
    np.testing.assert_array_equal(stored(target, "B/03/0/labels/cells"), cells)
    with pytest.raises(PlateError, match=r"B03_0_cells\.tif has shape"):
        convert(folder, target, Conversion(masks=masks, project="max"), overwrite=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("B03_7_cells.tif", "belongs to no image"),
        ("cells/B03_7.tif", "belongs to no image"),
        ("B03_10_cells.tif", "belongs to no image"),
        ("B03_cells.tif", "belongs to no image"),
        ("B03_1.tif", "belongs to no image"),
        ("cells.tif", "belongs to no image"),
    ],
)
def test_mask_of_no_field_is_named(folder, tmp_path, name, message):
    save(folder / "B03_1_FISH.tif", pixels(0))
    save(tmp_path / "masks" / name, pixels(1))
    with pytest.raises(PlateError, match=f"{Path(name).stem}.*{message}"):
        plan_conversion(folder, Conversion(masks=tmp_path / "masks"))


def test_two_masks_of_one_name_are_an_error(folder, tmp_path):
    save(folder / "B03_1_FISH.tif", pixels(0))
    save(tmp_path / "masks/B03_1_cells.tif", pixels(1))
    save(tmp_path / "masks/cells/B03_1.tif", pixels(1))
    with pytest.raises(PlateError, match="are both cells"):
        plan_conversion(folder, Conversion(masks=tmp_path / "masks"))


def test_masks_for_some_time_points_only_are_an_error(folder, tmp_path):
    for t in (0, 1):
        save(folder / f"B03_0_t{t}_FISH.tif", pixels(t))
    save(tmp_path / "masks/B03_0_t1_cells.tif", pixels(1))
    with pytest.raises(PlateError, match="none for t 0"):
        plan_conversion(folder, Conversion(masks=tmp_path / "masks"))


@pytest.mark.parametrize("ending", ["_cp_masks.png", "_masks.tif", "_mask.tif"])
def test_masks_that_cellpose_wrote_beside_the_images_are_no_channel(folder, ending):
    save(folder / "B03_0_FISH.tif", pixels(0))
    save(folder / f"B03_0_FISH{ending}", pixels(1))
    with pytest.raises(PlateError, match=rf"B03_0_FISH{ending} look like masks"):
        plan_conversion(folder)


def test_masks_among_the_images_are_refused(folder):
    save(folder / "B03_1_FISH.tif", pixels(0))
    with pytest.raises(PlateError, match="folder of their own"):
        plan_conversion(folder, Conversion(masks=folder))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (pixels(0, shape=(20, 20)), r"has shape \(20, 20\)"),
        (pixels(0, dtype=np.float32), "float32"),
        (-pixels(0, dtype=np.int16), "negative"),
    ],
    ids=["shape", "floats", "negative"],
)
def test_mask_that_does_not_fit_is_named(folder, target, tmp_path, mask, message):
    save(folder / "B03_1_FISH.tif", pixels(0))
    save(tmp_path / "masks/B03_1_cells.tif", mask)
    with pytest.raises(
        PlateError, match=rf"B03_1_cells\.tif has .*{message}|{message}"
    ):
        convert(folder, target, Conversion(masks=tmp_path / "masks"))
    assert not target.exists()


@pytest.mark.parametrize("kind", ["png", "contig", "separate"])
def test_colour_image_is_refused_with_advice(folder, target, kind):
    colour = np.zeros((*SHAPE, 3), np.uint8)
    if kind == "png":
        cv2.imwrite(str(_in(folder, "B03_0_FISH.png")), colour)
    else:
        path = _in(folder, "B03_0_FISH.tif")
        colour = colour if kind == "contig" else np.moveaxis(colour, -1, 0)
        tifffile.imwrite(path, colour, photometric="rgb", planarconfig=kind)
    with pytest.raises(PlateError, match=r"colour image.*[Ee]xport the channels"):
        convert(folder, target)


@pytest.mark.parametrize(
    "other",
    [pixels(0, shape=(41, 56)), pixels(0, dtype=np.uint8), pixels(0, 2)],
    ids=["shape", "dtype", "planes"],
)
def test_channels_that_differ_in_kind_are_named(folder, target, other):
    save(folder / "B03_0_DAPI.tif", pixels(0), metadata=None)
    save(folder / "B03_0_FISH.tif", other, metadata=None)
    with pytest.raises(PlateError, match=r"B03_0_DAPI\.tif.*B03_0_FISH\.tif"):
        convert(folder, target)


def test_axis_counted_by_names_and_in_files_is_an_error(folder, target):
    for z in (0, 1):
        save(folder / f"B03_0_FISH_z{z}.tif", pixels(z, 3), metadata=None)
    with pytest.raises(PlateError, match="holds 3 planes"):
        convert(folder, target)


TRUNCATED = [
    ("B04_0.png", {}, 0.6, ()),
    ("B04_0.tif", {}, 0.9, ()),
    ("B04_0.tif", {"compression": "zlib"}, 0.9, ()),
    ("B04_0.tif", {"metadata": None}, 0.8, (5,)),
    ("B04_0.tif", {"metadata": None, "compression": "zlib"}, 0.8, (5,)),
    ("B04_0.tif", {"imagej": True}, 0.8, (5,)),
    ("B04_0.ome.tif", {"metadata": {"axes": "CYX"}}, 0.99, (5,)),
    ("B04_0.tif", {}, 0.0, ()),
]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("name", "options", "part", "leading"), TRUNCATED, ids=str)
def test_truncated_file_is_named_and_stops_no_other(
    folder, target, name, options, part, leading
):
    good = save(folder / "B03_0.tif", pixels(0))
    save(folder / "B05_0.tif", pixels(1))
    save(folder / name, pixels(2, *leading), **options)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(len(content) * part)])
    seen = []
    with pytest.raises(PlateError, match=rf"1 of 3 fields.*\n  B/04/0: .*{name}"):
        convert(folder, target, progress=lambda *n: seen.append(n))
    assert seen[-1] == (3, 3)
    assert not target.exists()
    partial = target.with_name("plate.zarr.part")
    np.testing.assert_array_equal(stored(partial, "B/03/0")[0], good)
    assert not (partial / "B/04/0").exists()
    (folder / name).unlink()
    convert(folder, target)
    assert list(open_plate(target)) == ["B/03/0", "B/05/0"]
    assert not partial.exists()


def test_interrupted_conversion_leaves_no_plate(folder, target):
    for i in range(3):
        save(folder / f"B03_{i}.tif", pixels(i))

    def interrupt(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(folder, target, progress=interrupt)
    assert not target.exists()
    convert(folder, target)
    assert len(open_plate(target)) == 3


def test_field_interrupted_halfway_leaves_nothing(folder, target, monkeypatch):
    save(folder / "B03_0.tif", pixels(0, 2), metadata=None)
    calls = []

    def stop_at_second(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(convert_module.writing, "write_window", stop_at_second)
    with pytest.raises(KeyboardInterrupt):
        convert(folder, target)
    assert not (target.with_name("plate.zarr.part") / "B/03/0").exists()


def test_target_is_replaced_only_when_asked_and_a_plate(folder, target):
    save(folder / "B03_0.tif", pixels(0))
    convert(folder, target)
    with pytest.raises(PlateError, match="exists"):
        convert(folder, target)
    image = save(folder / "B03_0.tif", pixels(1))
    convert(folder, target, overwrite=True)
    np.testing.assert_array_equal(stored(target, "B/03/0")[0], image)
    assert {path.name for path in target.parent.iterdir()} == {
        "images",
        "plate.zarr",
        "plate.zarr.files.csv",
    }
    other = target.with_name("precious")
    other.mkdir()
    with pytest.raises(PlateError, match="not overwritten"):
        convert(folder, other, overwrite=True)
    with pytest.raises(PlateError, match="local"):
        convert(folder, "memory://plate.zarr")


def test_failed_conversion_keeps_the_plate_it_should_replace(folder, target):
    image = save(folder / "B03_0.tif", pixels(0))
    convert(folder, target)
    (folder / "B03_0.tif").write_bytes(b"")
    with pytest.raises(PlateError, match="could not be converted"):
        convert(folder, target, overwrite=True)
    np.testing.assert_array_equal(stored(target, "B/03/0")[0], image)


@pytest.mark.cluster
def test_workers_write_the_same_plate(folder, target):
    from distributed import Client

    for i in range(4):
        save(folder / f"B03_{i}.tif", pixels(i))
    (folder / "B03_3.tif").write_bytes(b"bad")
    with Client(n_workers=2, threads_per_worker=1, dashboard_address=":0") as client:
        with pytest.raises(PlateError, match="1 of 4 fields"):
            convert(folder, target, client=client)
        (folder / "B03_3.tif").unlink()
        convert(folder, target, client=client)
    for i in range(3):
        np.testing.assert_array_equal(stored(target, f"B/03/{i}")[0], pixels(i))
