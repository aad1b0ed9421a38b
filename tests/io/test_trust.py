"""Nothing is followed out of a plate, and nothing is opened that is no file."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.errors import DeepspotError, FieldError, PlateError, SettingsError
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.source_digest import digest_source, list_source
from deepspot_scale.io.trust import check_within, trust_words

CHUNK = "0/c/1/0/0"
FIELD = "B/03/0"


@pytest.fixture
def plate(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> Path:
    """One field with cells."""
    return Path(write_plate(tmp_path / "plate.zarr", {FIELD: draw_scene(0, (64, 64))}))


def _read(source: Path, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    field = open_plate(source, **options).open(FIELD)
    return field.read(channel=1), field.read_labels("cells")


def test_links_may_lead_about_in_a_plate_and_not_out_of_it(tmp_path: Path) -> None:
    plate, other = tmp_path / "plate", tmp_path / "plate-2"
    for place in (plate / "A/1", plate / "B", other):
        place.mkdir(parents=True)
    (plate / "B/1").symlink_to(plate / "A/1")
    (plate / "B/2").symlink_to(other)
    (tmp_path / "by another name").symlink_to(plate)
    check_within(str(plate / "B/1"), str(plate))
    check_within(str(tmp_path / "by another name/A/1"), str(plate))
    # Its name begins as the plate's does, but it is another folder.
    with pytest.raises(FieldError, match="leads out of"):
        check_within(str(plate / "B/2"), str(plate))
    with pytest.raises(FieldError, match="leads out of"):
        check_within(f"{plate}/A/../../plate-2", str(plate))


@pytest.mark.parametrize(
    "part",
    [
        *("B", "B/03", FIELD, f"{FIELD}/0", f"{FIELD}/0/c", f"{FIELD}/0/c/1"),
        *(f"{FIELD}/{CHUNK}", f"{FIELD}/0/zarr.json", f"{FIELD}/zarr.json"),
        *(f"{FIELD}/labels", f"{FIELD}/labels/cells", f"{FIELD}/labels/cells/0"),
        *(f"{FIELD}/labels/cells/0/c", f"{FIELD}/labels/cells/0/c/0/0"),
    ],
)
def test_links_out_of_a_plate_are_read_only_if_they_are_trusted(
    plate: Path, tmp_path: Path, part: str
) -> None:
    image, cells = _read(plate)
    (plate / part).rename(tmp_path / "elsewhere")
    (plate / part).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeepspotError, match=r"leads out of .*: --trust links"):
        _read(plate)
    found = _read(plate, trust=["links"])
    np.testing.assert_array_equal(found[0], image)
    np.testing.assert_array_equal(found[1], cells)


def test_a_plate_may_be_a_link_and_have_links_to_itself(
    plate: Path, tmp_path: Path
) -> None:
    image, _ = _read(plate)
    (plate / FIELD / CHUNK).rename(plate / "chunk")
    (plate / FIELD / CHUNK).symlink_to("../" * 7 + "chunk")
    (tmp_path / "by another name").symlink_to(plate)
    np.testing.assert_array_equal(_read(tmp_path / "by another name")[0], image)


@pytest.mark.parametrize("part", [f"{FIELD}/{CHUNK}", f"{FIELD}/0/c"])
def test_a_broken_link_is_not_black(plate: Path, part: str) -> None:
    (plate / part).rename(plate / "away")
    (plate / part).symlink_to("nowhere")
    with pytest.raises(FieldError, match="is a link that leads nowhere"):
        _read(plate)


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(path.name)
    os.chdir(here)


def _zero(path: Path) -> None:
    try:
        os.mknod(path, 0o20666, os.makedev(1, 5))  # as /dev/zero, which never ends
    except OSError:
        pytest.skip("no right to make a device here")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (_socket, "a socket"),
        (_zero, "a device"),
        (Path.mkdir, "a folder"),
    ],
)
@pytest.mark.parametrize(
    "part", [CHUNK, "0/zarr.json", "labels/cells/zarr.json", "zarr.json"]
)
def test_what_is_no_file_is_refused_before_it_is_opened(
    plate: Path, make: Callable[[Path], None], kind: str, part: str
) -> None:
    (plate / FIELD / part).unlink()
    make(plate / FIELD / part)
    with pytest.raises(FieldError, match=f"is {kind}, no file .*; it was not opened"):
        _read(plate)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["image.tif", "image.png", "image.nd2"])
def test_a_fifo_with_the_name_of_an_image_is_refused(tmp_path: Path, name: str) -> None:
    if name.endswith("nd2"):
        pytest.importorskip("bioio")
    os.mkfifo(tmp_path / name)
    with pytest.raises((FieldError, PlateError), match="is a FIFO, no file"):
        open_plate(tmp_path)["image"]
    with pytest.raises(PlateError, match="neither a file nor a folder"):
        open_plate(tmp_path / name)


def test_a_file_instead_of_a_folder_of_chunks_is_not_black(plate: Path) -> None:
    (plate / FIELD / "0/c").rename(plate / "away")
    (plate / FIELD / "0/c").write_text("see the other disk")
    with pytest.raises(FieldError, match="expected to be a folder, and is none"):
        _read(plate)


def test_a_file_far_larger_than_its_pixels_is_not_read(plate: Path) -> None:
    # A terabyte of nothing takes no room on the disk, and all memory when it is read.
    os.truncate(plate / FIELD / CHUNK, 1 << 40)
    with pytest.raises(FieldError, match="has 1099511627776 bytes, more than the"):
        _read(plate)


def test_a_digest_does_not_look_where_links_lead_out(
    plate: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (plate / FIELD / "0/more").symlink_to(elsewhere)
    field = open_plate(plate).open(FIELD)
    before = digest_source(field, list_source(field, ()))
    (elsewhere / "file").touch()
    assert digest_source(field, list_source(field, ())) == before
    trusting = replace(field, trust=replace(field.trust, words=trust_words(["links"])))
    assert digest_source(trusting, list_source(trusting, ())) != before


def test_only_known_words_are_trusted(plate: Path) -> None:
    with pytest.raises(SettingsError, match=r"links, sizes, holes; got 'link'.*links"):
        open_plate(plate, trust=["link"])
