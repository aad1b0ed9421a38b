"""Chunks that are not stored are counted; those of images are an error."""

from __future__ import annotations

import pickle
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import tifffile
import zarr

from deepspot_scale.errors import AbsentError, FieldError, InputWarning
from deepspot_scale.io.absent_chunks import check_chunks
from deepspot_scale.io.plate import open_field, open_plate
from deepspot_scale.io.source_digest import list_source
from deepspot_scale.vocabulary import UNKNOWN

FIELD = "B/03/0"
DAPI, FISH = 0, 1
Write = Callable[..., str]


@pytest.fixture
def plate(tmp_path: Path, draw_scene: Any, write_plate: Write) -> Path:
    """One field of two channels, each of 2 x 2 chunks of 64 pixels, with labels."""
    scene = draw_scene(0, (128, 128))
    return Path(write_plate(tmp_path / "p.zarr", {FIELD: scene}))


def _check(
    plate: Path | str,
    *labels: str,
    channel: int = FISH,
    allowed: Any = "none",
    trust: Any = (),
) -> int:
    field = open_field(open_plate(plate, trust=trust).entries[0])
    return check_chunks(field, list_source(field, labels), [channel], allowed)


def _image(path: Path, image: Any, **layout: Any) -> zarr.Array[Any]:
    """Write a plain array by zarr's own defaults, which leave out chunks of zeros."""
    array = zarr.create_array(path, shape=image.shape, dtype=image.dtype, **layout)
    array[...] = image
    return array


def _quarter(edge: int = 64) -> Any:
    """Return ones, with zeros in the last quarter."""
    image = np.ones((edge, edge), np.uint16)
    image[edge // 2 :, edge // 2 :] = 0
    return image


def test_an_image_that_is_all_there_lacks_nothing(plate: Path) -> None:
    assert _check(plate, "cells", "nuclei") == 0


def test_stored_zeros_are_pixels(plate: Path) -> None:
    array = zarr.open_array(plate / FIELD / "0", config={"write_empty_chunks": True})
    array.with_config({"write_empty_chunks": True})[...] = 0
    assert _check(plate) == 0


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("shard", [None, 128])
def test_our_own_writer_stores_zeros(
    tmp_path: Path, draw_scene: Any, write_plate: Write, version: str, shard: Any
) -> None:
    if shard and version == "0.4":
        return  # there are no shards
    scene = draw_scene(0, (128, 128))
    for layer in (scene.image, scene.cells, scene.nuclei):
        layer[...] = 0
    place = tmp_path / "p.zarr"
    write_plate(place, {FIELD: scene}, version=version, shard=shard)
    assert _check(place, "cells", "nuclei") == 0


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_chunk_that_was_lost_is_an_error_that_counts(
    tmp_path: Path, draw_scene: Any, write_plate: Write, version: str
) -> None:
    place = tmp_path / "p.zarr"
    write_plate(place, {FIELD: draw_scene(0, (128, 128))}, version=version)
    folder = place / FIELD / "0" / ("c" if version == "0.5" else "")
    (folder / "1/0/1").unlink()
    with pytest.raises(AbsentError, match="1 of the 4 chunks of the image") as told:
        _check(place)
    assert told.value.n_absent == 1
    assert pickle.loads(pickle.dumps(told.value)).n_absent == 1
    assert _check(place, channel=DAPI) == 0
    assert _check(place, allowed="all") == 1
    with pytest.raises(AbsentError, match="--allow-absent all"):
        _check(place, allowed="labels")


def test_an_image_without_any_chunk_is_an_error(plate: Path) -> None:
    for chunk in (plate / FIELD / "0/c/1").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    with pytest.raises(AbsentError, match="4 of the 4 chunks"):
        _check(plate)


@pytest.mark.parametrize("location", ["start", "end"])
def test_chunks_that_a_shard_lacks_are_counted(tmp_path: Path, location: str) -> None:
    from zarr.codecs import BytesCodec, ShardingCodec

    place = tmp_path / "a.zarr"
    sharding = ShardingCodec(
        chunk_shape=(16, 16), codecs=[BytesCodec()], index_location=location
    )
    zarr.create(
        store=place,
        shape=(64, 80),
        chunks=(32, 32),
        dtype="u2",
        codecs=[sharding],
        zarr_format=3,
    )[...] = np.ones((64, 80), np.uint16)
    assert _check(place, channel=0) == 0
    zarr.open_array(place, mode="r+")[16:32, 64:] = 0
    with pytest.raises(AbsentError, match="1 of the 20 chunks"):
        _check(place, channel=0)
    # Of the shard at the right edge, 2 of 4 chunks are in the image.
    (place / "c/1/2").unlink()
    with pytest.raises(AbsentError, match="3 of the 20 chunks"):
        _check(place, channel=0)


def test_of_a_shard_of_several_channels_those_in_use_count(tmp_path: Path) -> None:
    image = np.stack([_quarter(), np.ones((64, 64), np.uint16)])
    layout = {"chunks": (1, 32, 32), "shards": (2, 64, 64)}
    _image(tmp_path / "a.zarr", image, **layout, dimension_names=tuple("cyx"))
    assert _check(tmp_path / "a.zarr", channel=1) == 0
    with pytest.raises(AbsentError, match="1 of the 4 chunks"):
        _check(tmp_path / "a.zarr", channel=0)


def test_a_shard_that_was_cut_off_is_an_error(tmp_path: Path) -> None:
    _image(tmp_path / "a.zarr", _quarter(), chunks=(16, 16), shards=(32, 32))
    (tmp_path / "a.zarr/c/0/0").write_bytes(b"cut")
    with pytest.raises(FieldError, match="c/0/0 is too short for a shard"):
        _check(tmp_path / "a.zarr", channel=0)


def test_of_shards_with_an_odd_index_nothing_is_known(tmp_path: Path) -> None:
    from zarr.codecs import BytesCodec, ShardingCodec

    sharding = ShardingCodec(
        chunk_shape=(16, 16),
        codecs=[BytesCodec()],
        index_codecs=[BytesCodec(endian="big")],
    )
    zarr.create(
        store=tmp_path / "a.zarr",
        shape=(64, 64),
        chunks=(32, 32),
        dtype="u2",
        codecs=[sharding],
        zarr_format=3,
    )[...] = 1
    assert _check(tmp_path / "a.zarr", channel=0) == UNKNOWN


def test_stores_of_objects_are_looked_at_by_their_listing(tmp_path: Path) -> None:
    _image(tmp_path / "a.zarr", _quarter(), chunks=(32, 32))
    _image(tmp_path / "s.zarr", _quarter(), chunks=(16, 16), shards=(32, 64))
    url = f"memory://{uuid.uuid4().hex}"
    for name, told in (("a.zarr", "1 of the 4"), ("s.zarr", "4 of the 16")):
        fsspec.filesystem("memory").put(
            str(tmp_path / name), f"{url}/{name}", recursive=True
        )
        file = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(file, "w") as archive:
            for path in (tmp_path / name).rglob("*"):
                archive.write(path, path.relative_to(tmp_path))
        for place in (f"{url}/{name}", f"zip://{name}::file://{file}"):
            with pytest.raises(AbsentError, match=f"{told} chunks"):
                _check(place, channel=0)


def test_of_a_store_that_lists_nothing_nothing_is_known(
    plate: Path, served: str
) -> None:
    (plate / FIELD / "0/c/1/0/1").unlink()
    assert _check(f"{served}/p.zarr") == UNKNOWN
    with pytest.warns(InputWarning, match="the store does not list files"):
        open_plate(f"{served}/p.zarr")[FIELD]


def test_an_image_file_has_no_chunks_to_lose(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64), np.uint16), tile=(16, 16))
    assert _check(tmp_path / "a.tif", channel=0) == 0


def test_metadata_that_declare_too_many_chunks_are_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", shape=(9999, 9999), chunks=(1, 1), dtype="u1")
    with pytest.raises(FieldError, match="99980001 chunks, more than"):
        _check(tmp_path / "a", channel=0, trust=["holes"])


def test_a_plate_in_memory_warns_of_what_reads_as_black(plate: Path) -> None:
    (plate / FIELD / "0/c/1/0/1").unlink()
    (plate / FIELD / "labels/cells/0/c/0/0").unlink()
    words = r"B/03/0: 1 of 8 chunks of image, 1 of 4 chunks of labels cells are not"
    with pytest.warns(InputWarning, match=words):
        open_plate(plate)[FIELD]
    with pytest.warns(InputWarning, match=words):
        open_plate(plate).to_datatree()
