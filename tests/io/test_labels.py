"""Labels at any resolution: each image pixel gets the label at its centre."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import FieldError
from deepspot_scale.io.field import Field
from deepspot_scale.io.label_grid import nearest_index
from deepspot_scale.io.labels import LabelImage
from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image, write_labels
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.stored_image import StoredImage
from deepspot_scale.vocabulary import FieldAddress


def _labels(data: np.ndarray, axes: str, n_image: tuple[int, int]) -> LabelImage:
    """Return labels on the grid of an image that covers the same area."""
    stored = StoredImage(
        "memory", axes, data.shape, data.dtype, data.shape, data.__getitem__
    )
    index = [
        nearest_index(n, size, size / n)
        for n, size in zip(n_image, data.shape[-2:], strict=True)
    ]
    return LabelImage(stored, *index)


@given(data=st.data(), n_labels=st.integers(1, 20), n_image=st.integers(1, 40))
def test_a_window_is_the_same_part_of_the_whole_field(
    data: st.DataObject, n_labels: int, n_image: int
) -> None:
    stored = np.arange(n_labels * 7, dtype=np.uint16).reshape(n_labels, 7)
    labels = _labels(stored, "yx", (n_image, 10))
    start = data.draw(st.integers(0, n_image))
    window = (slice(start, data.draw(st.integers(start, n_image))), slice(3, 8))
    whole = labels.read(0, (slice(0, n_image), slice(0, 10)))
    np.testing.assert_array_equal(labels.read(0, window), whole[window])


def test_labels_of_one_time_and_plane_hold_for_all() -> None:
    stored = np.arange(6, dtype=np.int32).reshape(1, 1, 2, 3)
    labels = _labels(stored, "tzyx", (2, 3))
    window = (slice(0, 2), slice(0, 3))
    np.testing.assert_array_equal(labels.read(5, window, 7), stored[0, 0])


@pytest.mark.parametrize("value", [-1, 2**63])
def test_labels_that_tables_cannot_hold_are_an_error(value: int) -> None:
    stored = np.full((2, 2), value, np.int64 if value < 0 else np.uint64)
    labels = _labels(stored, "yx", (2, 2))
    with pytest.raises(FieldError, match=rf"from {value} to {value}.*Number them"):
        labels.read(0, (slice(0, 2), slice(0, 2)))


def _stack_of_labels(
    plate: Path, n_z: int, step: float, begin: float, *, units: bool = True
) -> tuple[Field, np.ndarray]:
    """Write an image of 4 planes from 7 to 9 um, and labels of other planes."""
    address = FieldAddress("B", "03", "0")
    image = np.zeros((4, 20, 30), np.uint8)
    layout = ImageLayout("zyx", image.shape, image.dtype, pixel_size_um=(0.1, 0.1))
    create_plate(plate, [address], version="0.4")
    write_image(plate, address, image, replace(layout, z_step_um=0.5))
    stack = np.arange(1, n_z * 600 + 1, dtype=np.int32).reshape(n_z, 20, 30)
    write_labels(plate, address, "cells", stack[:1], axes="zyx")
    zarr.create_array(
        f"{plate}/{address.path}/labels/cells/0",
        data=stack,
        overwrite=True,
        zarr_format=2,
    )
    for group, scale, at in (("", 0.5, 7.0), ("labels/cells", step, begin)):
        document = plate / "B/03/0" / group / ".zattrs"
        block = json.loads(document.read_text())
        if not units:
            for axis in block["multiscales"][0]["axes"]:
                axis.pop("unit", None)
        if group:
            del block["multiscales"][0]["datasets"][1:]
        for dataset in block["multiscales"][0]["datasets"]:
            own = dataset["coordinateTransformations"][0]["scale"][1:]
            dataset["coordinateTransformations"] = [
                {"type": "scale", "scale": [scale, *own]},
                {"type": "translation", "translation": [at, 0.0, 0.0]},
            ]
        document.write_text(json.dumps(block))
    return open_plate(plate).open("B/03/0"), stack


@pytest.mark.parametrize(
    ("n_z", "step", "begin", "planes"),
    [
        (4, 0.5, 7.0, [0, 1, 2, 3]),
        (2, 1.0, 7.0, [0, 0, 1, 1]),
        (2, 1.0, 7.25, [0, 0, 1, 1]),  # the centre of the first plane, not its corner
        (8, 0.25, 7.0, [1, 3, 5, 7]),
        (2, 0.5, 7.0, [0, 1, -1, -1]),  # thinner than the image
        (3, 0.5, 7.0, [0, 1, 2, -1]),
        (5, 0.5, 7.0, [0, 1, 2, 3]),
        (5, 0.4, 7.0, [0, 1, 3, 4]),
        (4, 0.5, 7.5, [-1, 0, 1, 2]),
        (2, 1.0, 8.0, [-1, -1, 0, 0]),
        (6, 0.5, 6.5, [1, 2, 3, 4]),
    ],
)
def test_each_plane_has_the_labels_at_its_centre(
    tmp_path: Path, n_z: int, step: float, begin: float, planes: list[int]
) -> None:
    field, stack = _stack_of_labels(tmp_path, n_z, step, begin)
    np.testing.assert_array_equal(field.read_labels("cells"), stack[-1])
    lazy = field.to_datasets()["labels/cells"]["labels"].to_numpy()
    assert lazy.shape == (4, 20, 30)
    for z, plane in enumerate(planes):
        expected = stack[plane] if plane >= 0 else 0 * stack[0]
        np.testing.assert_array_equal(field.read_labels("cells", z=z), expected)
        np.testing.assert_array_equal(lazy[z], expected)


@pytest.mark.parametrize(
    ("n_z", "step", "begin", "reason"),
    [
        (4, 1.0, 7.0, "along z a pixel of theirs is 1 micrometres"),
        (4, 0.5, 7.2, "begin 0.4 pixels from the image's first along z"),
        (4, 0.5, 17.0, "lie beside the image: along z they begin 20 of its 4 pixels"),
    ],
)
def test_planes_of_labels_that_do_not_fit_are_an_error_unless_they_are_projected(
    tmp_path: Path, n_z: int, step: float, begin: float, reason: str
) -> None:
    field, stack = _stack_of_labels(tmp_path, n_z, step, begin)
    np.testing.assert_array_equal(field.read_labels("cells"), stack[-1])
    with pytest.raises(FieldError, match=reason):
        field.read_labels("cells", z=1)
    with pytest.raises(FieldError, match=reason):
        field.to_datasets()


def test_where_metadata_do_not_say_as_many_planes_are_the_same_planes(
    tmp_path: Path,
) -> None:
    field, stack = _stack_of_labels(tmp_path / "a", 4, 1.0, 3.0, units=False)
    np.testing.assert_array_equal(field.read_labels("cells", z=1), stack[1])
    field, _ = _stack_of_labels(tmp_path / "b", 3, 0.5, 7.0, units=False)
    with pytest.raises(FieldError, match=r"along z they cover 1.5 \(3 pixels.*\(4 pix"):
        field.read_labels("cells", z=1)


def test_a_plane_that_the_labels_lack_is_an_error() -> None:
    labels = _labels(np.ones((2, 4, 4), np.uint8), "zyx", (4, 4))
    with pytest.raises(FieldError, match="2 planes, and none for plane 2"):
        labels.read(0, (slice(0, 4), slice(0, 4)), 2)


@pytest.mark.parametrize(("shape", "fits"), [((15, 20), True), ((15, 40), False)])
def test_labels_without_a_scale_must_have_the_images_form(
    tmp_path: Path, shape: tuple[int, int], fits: bool
) -> None:
    """Stretched along one axis only, they would lie on other cells."""
    where = FieldAddress("B", "03", "0")
    plate, image = tmp_path / "p.zarr", np.ones((30, 40), "uint16")
    create_plate(plate, [where])
    write_image(plate, where, image, ImageLayout("yx", image.shape, image.dtype))
    write_labels(plate, where, "cells", np.ones((30, 40), "uint8"))
    zarr.create_array(
        f"{plate}/{where.path}/labels/cells/0",
        data=np.ones(shape, "uint8"),
        overwrite=True,
    )
    for document in Path(plate, where.path).rglob("zarr.json"):
        text = json.loads(document.read_text())
        for each in text["attributes"].get("ome", {}).get("multiscales", []):
            each["datasets"] = [{"path": "0"}]
        document.write_text(json.dumps(text))
    field = open_plate(plate).open(where.path)
    if fits:
        assert (field.read_labels("cells") == 1).all()
    else:
        with pytest.raises(FieldError, match="one resolution"):
            field.read_labels("cells")
