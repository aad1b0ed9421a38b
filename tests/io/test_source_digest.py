"""The digest of a field changes with whatever is read of it, and with nothing else."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tifffile
import zarr

from deepspot_scale.io.plate import open_field, open_plate
from deepspot_scale.io.source_digest import UNLISTED, digest_source, list_source

FIELD = "B/03/0"
Draw = Callable[..., Any]


@pytest.fixture
def plate(tmp_path: Path, draw_scene: Draw, write_plate: Callable[..., str]) -> Path:
    """One field of two channels in chunks of 64 pixels, with cells and nuclei."""
    scene = draw_scene(0, (128, 128))
    return Path(write_plate(tmp_path / "p.zarr", {FIELD: scene}))


def _digest(plate: Path | str, *labels: str) -> str:
    field = open_field(open_plate(plate).entries[0])
    return digest_source(field, list_source(field, labels))


def _rewrite(array: Path, value: int) -> None:
    zarr.open_array(array, mode="r+")[..., :9, :9] = value


def _edit(document: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(document.read_text())
    change(content["attributes"]["ome"])
    document.write_text(json.dumps(content))


def test_pixels_that_are_written_again_change_the_digest(plate: Path) -> None:
    before = _digest(plate)
    assert _digest(plate) == before
    _rewrite(plate / FIELD / "0", 7)
    assert _digest(plate) != before


def test_bytes_of_the_same_number_written_later_change_the_digest(plate: Path) -> None:
    before = _digest(plate)
    chunk = next(path for path in (plate / FIELD / "0/c").rglob("*") if path.is_file())
    chunk.write_bytes(bytes(reversed(chunk.read_bytes())))
    state = chunk.stat()
    os.utime(chunk, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert _digest(plate) != before


def test_a_chunk_that_is_gone_changes_the_digest(plate: Path) -> None:
    before = _digest(plate)
    next(p for p in (plate / FIELD / "0/c").rglob("*") if p.is_file()).unlink()
    assert _digest(plate) != before


def test_labels_count_only_if_they_are_in_use(plate: Path) -> None:
    image, cells = _digest(plate), _digest(plate, "cells")
    assert image != cells
    _rewrite(plate / FIELD / "labels/cells/0", 3)
    assert _digest(plate) == image
    assert _digest(plate, "cells") != cells


def test_pixel_size_and_channel_names_count_and_display_settings_do_not(
    plate: Path,
) -> None:
    before, document = _digest(plate), plate / FIELD / "zarr.json"
    _edit(document, lambda ome: ome["omero"]["channels"][1].update(color="00FF00"))
    assert _digest(plate) == before
    _edit(document, lambda ome: ome["omero"]["channels"][1].update(label="other"))
    renamed = _digest(plate)
    assert renamed != before
    scale = [1, 0.5, 0.5]
    _edit(
        document,
        lambda ome: ome["multiscales"][0]["datasets"][0].update(
            coordinateTransformations=[{"type": "scale", "scale": scale}]
        ),
    )
    assert _digest(plate) not in {before, renamed}


def test_a_moved_plate_has_the_digest_that_it_had(plate: Path) -> None:
    before = _digest(plate, "cells")
    moved = plate.rename(plate.with_name("moved.zarr"))
    assert _digest(moved, "cells") == before


def test_a_folder_that_leads_to_itself_is_listed_to_an_end(plate: Path) -> None:
    (plate / FIELD / "0/c/round").symlink_to(plate / FIELD / "0/c")
    (plate / FIELD / "0/c/nowhere").symlink_to("absent")
    assert _digest(plate) == _digest(plate)


def test_an_image_file_that_is_written_again_changes_the_digest(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.zeros((9, 9), np.uint16))
    before = _digest(file)
    state = file.stat()
    tifffile.imwrite(file, np.ones((9, 9), np.uint16))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert _digest(file) != before


def test_objects_of_a_store_are_compared_by_its_listing(plate: Path) -> None:
    url = f"memory://{uuid.uuid4().hex}"
    fs = fsspec.filesystem("memory")
    fs.put(str(plate), url, recursive=True)
    before = _digest(url, "cells")
    assert not before.startswith(UNLISTED)
    assert _digest(url, "cells") == before
    name = next(name for name in fs.find(url) if "/0/c/" in name)
    fs.pipe_file(name, bytes(reversed(fs.cat_file(name))))
    assert _digest(url, "cells") != before


def test_a_store_that_lists_nothing_says_that_only_metadata_were_seen(
    plate: Path, served: str
) -> None:
    url = f"{served}/p.zarr"
    before = _digest(url, "cells")
    assert before.startswith(UNLISTED)
    _edit(
        plate / FIELD / "zarr.json",
        lambda ome: ome["omero"]["channels"][1].update(label="other"),
    )
    assert _digest(url, "cells") != before


def test_nothing_is_read_for_a_digest(plate: Path) -> None:
    whole = _digest(plate, "cells")
    copy = shutil.copytree(plate, plate.with_name("copy.zarr"))
    for chunk in copy.rglob("*"):
        if chunk.is_file() and chunk.name != "zarr.json":
            state = chunk.stat()
            chunk.write_bytes(b"x" * state.st_size)
            os.utime(chunk, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert _digest(copy, "cells") == whole
