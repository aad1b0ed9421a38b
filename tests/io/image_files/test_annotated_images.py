from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.image_files.annotated_images import (
    AnnotatedImage,
    read_annotated,
)

GREY = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40) * 50


def write_image(path: Path, pixels: np.ndarray = GREY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    else:
        tifffile.imwrite(path, pixels)
    return path


def write_table(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spots.csv").write_text(text, encoding="utf-8")
    return folder


def read_only(folder: Path) -> AnnotatedImage:
    (image,) = read_annotated(folder).images
    return image


# -- third-party sets ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_images", "n_spots", "shape", "dtype"),
    [
        ("deepspot_simulated", 101, 8133, (256, 256), np.uint8),
        ("iss_tissue", 1, 416, (1044, 1390), np.uint16),
        ("beads", 1, 115, (300, 300), np.uint16),
        ("spots_on_tissue", 21, 2100, (300, 300), np.uint8),
    ],
)
def test_third_party_sets_are_read_as_they_are(
    shared_data, name, n_images, n_spots, shape, dtype
):
    found = read_annotated(shared_data / name)
    assert found.name == name
    assert len(found.images) == n_images
    assert sum(len(image.points) for image in found.images) == n_spots
    for image in found.images:
        pixels = image.read()
        assert (pixels.shape, pixels.dtype) == (shape, dtype)


def test_originals_are_read_and_not_the_targets_beside_them(shared_data):
    images = read_annotated(shared_data / "deepspot_simulated").images
    for image in images:
        dataset, name = image.name.split("/")
        assert image.path.parts[-3:] == (dataset, "original", name)
    assert {image.name.split("/")[0] for image in images} == {"dataset1", "dataset2"}


def test_points_of_beads_are_their_brightest_places(shared_data):
    image = read_only(shared_data / "beads")
    rows, columns = np.round(image.points).astype(int).T
    pixels = image.read()
    assert np.median(pixels[rows, columns]) > np.quantile(pixels, 0.95)
    # The other way round they would not be.
    assert np.median(pixels[columns, rows]) < np.quantile(pixels, 0.95)


# -- where images lie ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "place", "name"),
    [
        (",a.png", "a.png", "a.png"),
        (",a.png", "images/a.png", "a.png"),
        (",images/a.png", "images/a.png", "images/a.png"),
        (",deep/er/a.tif", "deep/er/a.tif", "deep/er/a.tif"),
        ("d1,a.png", "d1/a.png", "d1/a.png"),
        ("d1,a.png", "d1/original/a.png", "d1/a.png"),
        ("d1,a.png", "a.png", "d1/a.png"),
        ("d1,a.png", "images/a.png", "d1/a.png"),
    ],
)
def test_an_image_is_found_in_each_of_its_places(tmp_path, row, place, name):
    path = write_image(tmp_path / place)
    write_table(tmp_path, f"dataset,image,y,x\n{row},1.5,2\n")
    image = read_only(tmp_path)
    assert (image.path, image.name) == (path, name)
    np.testing.assert_array_equal(image.points, [[1.5, 2]])
    np.testing.assert_array_equal(image.read(), GREY)


def test_a_data_sets_own_image_comes_before_one_of_the_same_name(tmp_path):
    write_image(tmp_path / "a.png")
    own = write_image(tmp_path / "d1" / "a.png")
    write_table(tmp_path, "dataset,image,y,x\nd1,a.png,1,2\n")
    by_name = {image.name: image for image in read_annotated(tmp_path).images}
    assert by_name["d1/a.png"].path == own
    assert len(by_name["a.png"].points) == 0


def test_images_of_one_name_in_two_data_sets_are_two(tmp_path):
    for dataset in ("d1", "d2"):
        write_image(tmp_path / dataset / "a.png")
    write_table(tmp_path, "dataset,image,y,x\nd2,a.png,3,4\nd1,a.png,1,2\n")
    images = read_annotated(tmp_path).images
    assert [image.name for image in images] == ["d1/a.png", "d2/a.png"]
    assert [image.points.tolist() for image in images] == [[[1, 2]], [[3, 4]]]


@pytest.mark.parametrize("place", ["", "images"])
def test_without_a_column_image_the_only_image_is_meant(tmp_path, place):
    path = write_image(tmp_path / place / "only.tif")
    write_table(tmp_path, "y,x\n1,2\n")
    image = read_only(tmp_path)
    assert (image.path, image.name) == (path, "only.tif")
    assert image.points.tolist() == [[1, 2]]


@pytest.mark.parametrize("n", [0, 2])
def test_without_a_column_image_there_must_be_one_image(tmp_path, n):
    for number in range(n):
        write_image(tmp_path / f"{number}.tif")
    write_table(tmp_path, "y,x\n1,2\n")
    with pytest.raises(PlateError, match=f"there are {n}. Add the column"):
        read_annotated(tmp_path)


@pytest.mark.parametrize("place", ["", "images"])
def test_images_without_rows_are_images_without_spots(tmp_path, place):
    write_image(tmp_path / place / "a.tif")
    write_image(tmp_path / place / "b.png")
    (tmp_path / place / "notes.txt").write_text("no image")
    write_table(tmp_path, "image,y,x,snr\nb.png,1,2,5\n")
    empty, full = read_annotated(tmp_path).images
    assert (empty.name, full.name) == ("a.tif", "b.png")
    assert empty.points.shape == (0, 2)
    assert empty.snr.shape == (0,)
    assert empty.sigma is None
    assert len(full.points) == 1
    np.testing.assert_array_equal(empty.read(), GREY)


def test_a_table_without_rows_is_a_set_without_spots(tmp_path):
    write_image(tmp_path / "a.tif")
    write_table(tmp_path, "y,x\n")
    assert len(read_only(tmp_path).points) == 0


def test_pictures_beside_a_folder_of_images_are_none_of_the_set(tmp_path):
    write_image(tmp_path / "overview.png")
    write_image(tmp_path / "images" / "a.png")
    write_table(tmp_path, "image,y,x\na.png,1,2\n")
    assert read_only(tmp_path).name == "a.png"


def test_what_a_data_set_folder_holds_besides_its_images_is_left_out(tmp_path):
    write_image(tmp_path / "d1" / "a.png")
    write_image(tmp_path / "d1" / "enhanced.png")
    write_table(tmp_path, "dataset,image,y,x\nd1,a.png,1,2\n")
    assert read_only(tmp_path).name == "d1/a.png"


# -- the table -------------------------------------------------------------------------

finite = st.floats(-1e9, 1e9, allow_nan=False)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(finite, finite, finite), max_size=5), st.permutations("yxs"))
def test_points_are_read_exactly_in_any_order_of_columns(tmp_path, rows, order):
    write_image(tmp_path / "a.tif")
    names = {"y": "y", "x": "x", "s": "snr"}
    lines = [",".join(names[key] for key in order)]
    lines += [",".join(repr(row["yxs".index(key)]) for key in order) for row in rows]
    write_table(tmp_path, "\n".join(lines))
    image = read_only(tmp_path)
    expected = np.array(rows, float).reshape(-1, 3)
    np.testing.assert_array_equal(image.points, expected[:, :2])
    np.testing.assert_array_equal(image.snr, expected[:, 2])


def test_rows_of_several_images_may_be_mixed_and_keep_their_order(tmp_path):
    for name in "ab":
        write_image(tmp_path / f"{name}.tif")
    write_table(tmp_path, "image,y,x\na.tif,5,1\nb.tif,2,2\na.tif,3,3\n")
    a, b = read_annotated(tmp_path).images
    assert a.points.tolist() == [[5, 1], [3, 3]]
    assert b.points.tolist() == [[2, 2]]


def test_blank_sizes_are_unknown_and_absent_columns_are_none(tmp_path):
    write_image(tmp_path / "a.tif")
    write_table(tmp_path, "y,x,sigma\n1,2,1.5\n3,4,\n5,6,NaN\n")
    image = read_only(tmp_path)
    np.testing.assert_array_equal(image.sigma, [1.5, np.nan, np.nan])
    assert image.snr is None
    assert image.group == ""


def test_tables_as_spreadsheets_write_them_are_read(tmp_path):
    write_image(tmp_path / "a.tif")
    text = "\ufeffY, X ,Image,Group,remark\r\n1, 2 , a.tif ,10,\r\n,,,,\r\n\r\n"
    write_table(tmp_path, text)
    image = read_only(tmp_path)
    assert image.points.tolist() == [[1, 2]]
    assert image.group == "10"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pos_y,x\n1,2\n", "no column 'y'.*pos_y, x. Is it 'pos_y'"),
        ("y,axis\n1,2\n", "no column 'x'.*Is it 'axis'"),
        ("1,2\n3,4\n", "no column 'y'.*Add it"),
        ("y;x\n1;2\n", "no column 'y'.*y;x"),
        ("dataset,y,x\nd1,1,2\n", "no column 'image'"),
        ("y,x,Y\n1,2,3\n", "column 'y' twice"),
        ("y,x\nabc,2\n", "line 2: expected a number for y, found 'abc'"),
        ("y,x\n1,2\n\n3,nan\n", "line 4: expected a number for x, found 'nan'"),
        ("y,x\n1,\n", "line 2: expected a number for x, found ''"),
        ("y,x\n1,inf\n", "number for x, found 'inf'"),
        ("y,x,snr\n1,2,high\n", "number for snr, found 'high'"),
        ("y,x\n1,2,3\n", "more values than it has columns"),
        ("y,x\n1,2\n1,2,3\n", "no CSV table"),
        ("", "no CSV table"),
        ("image,y,x\na.tif,1,2\n,1,2\n", "line 3: expected an image's name"),
        ("image,y,x,group\na.tif,1,2,10\na.tif,1,2,20\n", "the groups 10, 20"),
    ],
)
def test_tables_that_cannot_be_meant_are_refused(tmp_path, text, message):
    write_image(tmp_path / "a.tif")
    write_table(tmp_path, text)
    with pytest.raises(PlateError, match=message):
        read_annotated(tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path):
    write_image(tmp_path / "a.tif")
    (tmp_path / "spots.csv").write_bytes("y,x,spät\n1,2,3\n".encode("latin-1"))
    with pytest.raises(PlateError, match="UTF-8"):
        read_annotated(tmp_path)


# -- what is not there -----------------------------------------------------------------


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(PlateError, match=r"expected a folder.*spots\.csv"):
        read_annotated(tmp_path / "absent")


def test_a_folder_without_a_table_is_refused(tmp_path):
    write_image(tmp_path / "a.tif")
    with pytest.raises(PlateError, match=r"no spots\.csv.*y, x and image"):
        read_annotated(tmp_path)


def test_an_image_that_the_table_names_must_be_there(tmp_path):
    write_table(tmp_path, "image,y,x\na.tif,1,2\n")
    with pytest.raises(PlateError, match=r"not there.*a\.tif or .*images/a\.tif"):
        read_annotated(tmp_path)
    write_table(tmp_path, "dataset,image,y,x\nd1,a.tif,1,2\n")
    with pytest.raises(PlateError, match=r"d1/a\.tif or .*d1/original/a\.tif"):
        read_annotated(tmp_path)


def test_a_set_without_images_is_refused(tmp_path):
    write_table(tmp_path, "image,y,x\n")
    with pytest.raises(PlateError, match="has no images"):
        read_annotated(tmp_path)


def test_an_image_that_may_be_either_of_two_is_refused(tmp_path):
    write_image(tmp_path / "a.tif")
    write_image(tmp_path / "images" / "a.tif")
    write_table(tmp_path, "image,y,x\na.tif,1,2\n")
    with pytest.raises(PlateError, match="Remove or rename one"):
        read_annotated(tmp_path)


def test_an_image_named_in_two_ways_is_refused(tmp_path):
    write_image(tmp_path / "images" / "a.tif")
    write_table(tmp_path, "image,y,x\na.tif,1,2\nimages/a.tif,3,4\n")
    with pytest.raises(PlateError, match="in two ways"):
        read_annotated(tmp_path)


def test_an_image_of_a_data_set_that_may_be_either_of_two_is_refused(tmp_path):
    write_image(tmp_path / "d1" / "a.tif")
    write_image(tmp_path / "d1" / "original" / "a.tif")
    write_table(tmp_path, "dataset,image,y,x\nd1,a.tif,1,2\n")
    with pytest.raises(PlateError, match=r"d1/a\.tif or .*d1/original/a\.tif"):
        read_annotated(tmp_path)


def test_two_images_of_one_name_are_refused(tmp_path):
    write_image(tmp_path / "d1" / "original" / "a.tif")
    write_image(tmp_path / "images" / "d1" / "a.tif")
    write_table(tmp_path, "dataset,image,y,x\nd1,a.tif,1,2\n,d1/a.tif,3,4\n")
    with pytest.raises(PlateError, match=r"are called d1/a\.tif. Rename one"):
        read_annotated(tmp_path)


@pytest.mark.parametrize("name", ["../a.tif", "/a.tif"])
def test_an_image_outside_the_folder_is_refused(tmp_path, name):
    write_image(tmp_path / "a.tif")
    write_table(tmp_path / "set", f"image,y,x\n{name},1,2\n")
    with pytest.raises(PlateError, match="below the folder"):
        read_annotated(tmp_path / "set")


# -- pixels ----------------------------------------------------------------------------


def only(folder: Path, text: str = "y,x\n1,2\n") -> AnnotatedImage:
    return read_only(write_table(folder, text))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_of_equal_colours_is_read_as_grey(tmp_path, dtype, channels):
    grey = np.arange(99, dtype=dtype).reshape(9, 11)
    pixels = np.stack([grey] * 3 + [np.full_like(grey, 200)], axis=2)[..., :channels]
    write_image(tmp_path / "a.png", pixels)
    found = only(tmp_path).read()
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, grey)


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_a_png_of_differing_colours_is_refused(tmp_path, channel):
    pixels = np.full((9, 11, 3), 7, np.uint8)
    pixels[4, 5, channel] = 8
    write_image(tmp_path / "a.png", pixels)
    with pytest.raises(FieldError, match=r"colour image.*grey"):
        only(tmp_path).read()


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5])
def test_a_damaged_file_is_refused_when_it_is_read(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    pixels = noise if suffix == "png" else noise[..., 0]
    path = write_image(tmp_path / f"a.{suffix}", pixels)
    stored = path.read_bytes()
    path.write_bytes(stored[: int(share * len(stored))])
    image = only(tmp_path)
    with pytest.raises(FieldError, match=rf"a\.{suffix}"):
        image.read()


@pytest.mark.parametrize("axes", ["ZYX", "CYX", "TYX"])
def test_a_stack_is_refused_with_what_to_do(tmp_path, axes):
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        np.zeros((3, 20, 20), np.uint16),
        metadata={"axes": axes},
    )
    message = f"more than one plane .{axes[0].lower()} 3.*Save the plane"
    with pytest.raises(FieldError, match=message):
        only(tmp_path).read()


def test_a_stack_of_one_plane_is_that_plane(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", GREY[None], metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(only(tmp_path).read(), GREY)


@pytest.mark.parametrize("point", ["-0.5,-0.5", "29.49,39.49", "0,0"])
def test_points_in_the_outermost_pixels_are_inside(tmp_path, point):
    write_image(tmp_path / "a.tif")
    assert only(tmp_path, f"y,x\n{point}\n").read().shape == (30, 40)


@pytest.mark.parametrize("point", ["-0.51,5", "5,-0.51", "29.5,5", "5,39.5"])
def test_points_outside_are_refused_with_their_number_and_the_first(tmp_path, point):
    write_image(tmp_path / "a.tif")
    image = only(tmp_path, f"y,x\n1,2\n{point}\n1,2\n900,900\n")
    y, x = point.split(",")
    message = f"2 of 4 points lie outside its 30 rows.*the first at y {y}, x {x}"
    with pytest.raises(FieldError, match=message):
        image.read()


# -- stacks ----------------------------------------------------------------------------


def write_stack(path: Path, shape=(5, 30, 40), axes="ZYX", **metadata) -> np.ndarray:
    stack = np.random.default_rng(1).integers(0, 999, shape).astype(np.uint16)
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": axes, **metadata})
    return stack


def test_a_table_with_z_means_stacks_and_places_in_planes_from_0(tmp_path):
    stack = write_stack(tmp_path / "a.ome.tif", PhysicalSizeZ=0.3)
    image = only(tmp_path, "x,y,z\n7,2,0\n8,3,4.25\n")
    assert image.is_stack
    assert image.points.tolist() == [[0, 2, 7], [4.25, 3, 8]]
    assert image.z_step_um == pytest.approx(0.3)
    np.testing.assert_array_equal(image.read(), stack)


def test_a_stack_without_metadata_is_one_along_z(tmp_path):
    stack = np.arange(5 * 30 * 40, dtype=np.uint16).reshape(5, 30, 40)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, metadata=None, photometric="minisblack")
    image = only(tmp_path, "z,y,x\n1,2,3\n")
    assert image.z_step_um is None
    np.testing.assert_array_equal(image.read(), stack)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_places_with_z_in_a_plane_are_refused(tmp_path, name):
    write_image(tmp_path / name)
    with pytest.raises(FieldError, match=r"one plane.*z, y and x.*remove the column z"):
        only(tmp_path, "z,y,x\n0,1,2\n").read()


def test_places_without_z_in_a_stack_are_refused_and_z_is_named(tmp_path):
    write_stack(tmp_path / "a.ome.tif")
    with pytest.raises(FieldError, match=r"z 5.*add the column z \(planes, from 0\)"):
        only(tmp_path).read()


def test_a_stack_of_several_channels_is_refused(tmp_path):
    write_stack(tmp_path / "a.ome.tif", (2, 5, 30, 40), "CZYX")
    with pytest.raises(FieldError, match=r"c 2, z 5.*separate stack"):
        only(tmp_path, "z,y,x\n0,1,2\n").read()


@pytest.mark.parametrize("z", ["-0.51", "4.5", "5"])
def test_places_above_or_below_the_stack_are_refused(tmp_path, z):
    write_stack(tmp_path / "a.ome.tif")
    message = rf"1 of 1 .*5 planes, 30 rows and 40 columns.*z {z}, y 1.*from 0"
    with pytest.raises(FieldError, match=message):
        only(tmp_path, f"z,y,x\n{z},1,2\n").read()


def test_an_image_whose_z_is_blank_is_flat_and_half_blank_is_refused(tmp_path):
    write_stack(tmp_path / "a.ome.tif")
    write_image(tmp_path / "b.tif")
    write_image(tmp_path / "c.tif")
    rows = "image,z,y,x\na.ome.tif,1,2,3\nb.tif,,4,5\n"
    a, b, c = read_annotated(write_table(tmp_path, rows)).images
    assert (a.is_stack, b.is_stack, c.is_stack) == (True, False, True)
    assert b.read().shape == (30, 40)
    assert b.z_step_um is None
    write_table(tmp_path, rows + "b.tif,2,4,5\n")
    with pytest.raises(PlateError, match=r"line 3: .*number for z.* of b\.tif"):
        read_annotated(tmp_path)
