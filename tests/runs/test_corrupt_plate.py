"""One plate with every damage we know: each field a reason, the good ones done.

A row of `DAMAGE` is a kind of damage: what is done to the folder of a field, and the
words that must be in its reason.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.plate import FieldEntry, open_field, open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.manifest import read_fields
from deepspot_scale.vocabulary import FieldAddress

SHAPE = (64, 64)
CHUNK = "0/c/1/0/0"
Damage = Callable[[Path], object]


def _pixel(value: complex, dtype: type) -> np.ndarray:
    """Return an image of ones with one pixel of another value in FISH."""
    image = np.ones((2, *SHAPE), dtype)
    image[1, 3, 4] = value
    return image


def _array(path: str, values: np.ndarray) -> Damage:
    def damage(field: Path) -> None:
        shutil.rmtree(field / path)
        zarr.create_array(str(field / path), data=values, chunks=values.shape)

    return damage


def _remove(path: str) -> Damage:
    return lambda field: shutil.rmtree(field / path)


def _write(path: str, content: bytes) -> Damage:
    return lambda field: (field / path).write_bytes(content)


def _cut(path: str, n: int) -> Damage:
    return lambda field: os.truncate(field / path, (field / path).stat().st_size - n)


def _metadata(path: str, change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(field: Path) -> None:
        file = field / path / "zarr.json"
        document = json.loads(file.read_text())
        change(document)
        file.write_text(json.dumps(document))

    return damage


def _chunk_shape(document: dict[str, Any], shape: list[int]) -> None:
    document["chunk_grid"]["configuration"]["chunk_shape"] = shape


def _level_path(document: dict[str, Any], path: str) -> None:
    multiscale = document["attributes"]["ome"]["multiscales"][0]
    multiscale["datasets"][0]["path"] = path


def _links(document: dict[str, Any]) -> None:
    document["attributes"]["ome"]["labels"] = ["../../../../secret"]


def _move_out(field: Path) -> None:
    out = field.parents[3] / f"elsewhere-{field.parent.name}"
    shutil.move(field, out)
    field.symlink_to(out)


def _move_labels_out(field: Path) -> None:
    out = field.parents[3] / f"masks-{field.parent.name}"
    shutil.move(field / "labels/cells", out)
    (field / "labels/cells").symlink_to(out)


def _loop(field: Path) -> None:
    shutil.rmtree(field)
    field.symlink_to(field)


def _file_instead(field: Path) -> None:
    shutil.rmtree(field / "0")
    (field / "0").write_text("see the other disk")


def _shard(field: Path) -> None:
    shutil.rmtree(field / "0")
    image = _pixel(9, np.uint16)
    options = {"chunks": (1, 32, 32), "shards": (1, 64, 64)}
    zarr.create_array(str(field / "0"), data=image, **options)
    _cut(CHUNK, 7)(field)


def _pickled(field: Path) -> None:
    shutil.rmtree(field / "0")
    document = {
        "zarr_format": 2, "shape": [2, 64, 64], "chunks": [2, 64, 64], "dtype": "<u2",
        "compressor": {"id": "pickle", "protocol": 5}, "filters": None,
        "fill_value": 0, "order": "C",
    }  # fmt: skip
    (field / "0").mkdir()
    (field / "0/.zarray").write_text(json.dumps(document))


def _set(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.update({name: value})


DAMAGE: dict[str, tuple[Damage, str]] = {
    "no group": (_remove(""), "no Zarr group or array at"),
    "bad JSON": (_write("zarr.json", b"{"), "failed: .*Copy or convert the file again"),
    "empty metadata": (_write("zarr.json", b""), "failed: .*Copy or convert"),
    "no metadata of the pixels": (
        lambda field: (field / "0/zarr.json").unlink(),
        "no Zarr group or array at .*/0",
    ),
    "another format": (_metadata("0", _set("zarr_format", 9)), "zarr_format"),
    "missing level": (_remove("0"), "no Zarr group or array at .*/0"),
    "file instead of a folder": (_file_instead, "/0 failed: .*Copy or convert"),
    "truncated chunk": (_cut(CHUNK, 9), "reading .*/0 failed: "),
    "empty chunk": (_write(CHUNK, b""), "c/1/0/0 holds 0 bytes instead of"),
    "garbage in a chunk": (_write(CHUNK, b"to be done" * 9), "reading .*/0 failed: "),
    "truncated index of a shard": (_shard, "reading .*/0 failed: "),
    "no cells": (_remove("labels/cells"), "labels/cells"),
    "no labels": (_remove("labels"), "no labels 'cells': the field has no labels"),
    "labels of floats": (
        _array("labels/cells/0", np.ones(SHAPE, np.float32)),
        "labels cells must be integers, .*float32",
    ),
    "labels of another size": (
        _array("labels/nuclei/0", np.ones((50, 64), np.uint16)),
        "labels nuclei cannot match the image",
    ),
    "negative labels": (
        _array("labels/cells/0", np.full(SHAPE, -1, np.int32)),
        "go from -1 to -1; expected 0 for background",
    ),
    "labels too large": (
        _array("labels/cells/0", np.full(SHAPE, 2**63 + 1, np.uint64)),
        "Number them again",
    ),
    "NaN": (_array("0", _pixel(np.nan, np.float64)), "1 pixels that are NaN or inf"),
    "infinite": (_array("0", _pixel(-np.inf, np.float32)), "that are NaN or infinite"),
    "huge": (_array("0", _pixel(1e300, np.float64)), "beyond what can be measured"),
    "complex": (_array("0", _pixel(1j, np.complex64)), "integers or floats, found co"),
    "yes and no": (_array("0", _pixel(1, np.bool_)), "integers or floats, found bool"),
    "texts": (_metadata("0", _set("data_type", "string")), "/0 failed: "),
    "array of another version": (_pickled, "no Zarr group or array at .*/0"),
    "one channel": (_array("0", np.ones((1, *SHAPE), np.uint8)), "no channel 'FISH'"),
    "no channel axis": (_array("0", np.ones(SHAPE, np.uint8)), "with the axes cyx"),
    "no pixels": (_metadata("0", _set("shape", [2, 0, 64])), "expected 1 to .* pixels"),
    "negative size": (_metadata("0", _set("shape", [2, -64, 64])), "failed: "),
    "absurd size": (
        _metadata("0", _set("shape", [2, 2**30, 2**30])),
        "says that it has the shape .* no microscope gives that",
    ),
    "sizes that overflow": (
        _metadata("0", _set("shape", [2, 2**62, 2**62])),
        "no microscope gives that",
    ),
    "chunk that unpacks to all memory": (
        _metadata("0", lambda document: _chunk_shape(document, [1, 60000, 60000])),
        "one of its chunks, .* unpacks to 7.2 GB, for an image of",
    ),
    "level outside": (
        _metadata("", lambda document: _level_path(document, "../1/0")),
        r"expected the paths of its levels, such as 0, found \['../1/0'\]",
    ),
    "level at an absolute place": (
        _metadata("", lambda document: _level_path(document, "/etc")),
        "expected the paths of its levels",
    ),
    "labels outside": (_metadata("labels", _links), "expected names of labels such as"),
    "link out of the plate": (_move_out, "leads out of .*; it was not read"),
    "link of labels out of the plate": (_move_labels_out, "leads out of"),
    "link to itself": (_loop, "is a link that leads nowhere or to itself"),
}
GOOD = ("A/01/0", "C/01/0", "H/12/0")


@pytest.fixture(scope="module")
def corrupt(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Any:
    """What a run on the corrupt plate comes to."""
    folder = tmp_path_factory.mktemp("corrupt")
    places = {kind: f"B/{n:02d}/0" for n, kind in enumerate(DAMAGE, 1)}
    scene = draw_scene(0, SHAPE, n=9)
    plate = write_plate(
        folder / "plate.zarr", dict.fromkeys((*GOOD, *places.values()), scene)
    )
    for kind, (damage, _) in DAMAGE.items():
        damage(Path(plate) / places[kind])
    return run_quickly(plate, folder / "run"), places


def test_all_good_fields_are_done_and_all_others_have_a_row(corrupt: Any) -> None:
    outcome, places = corrupt
    fields = outcome.fields
    assert len(places) >= 30
    assert len(fields) == len(places) + len(GOOD)
    done = fields[fields["status"] == "done"]
    assert done[["row", "column", "field"]].agg("/".join, axis=1).tolist() == [*GOOD]
    assert (done["n_spots"] > 3).all()
    assert done["n_spots"].nunique() == 1


@pytest.mark.parametrize("kind", DAMAGE)
def test_each_damage_is_named(corrupt: Any, kind: str) -> None:
    outcome, places = corrupt
    reason = outcome.reasons[places[kind]]
    assert re.search(DAMAGE[kind][1], reason), reason
    assert "Traceback" not in reason
    assert len(reason) < 600


# -- damage of the plate itself --------------------------------------------------------


def _wells(plate: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    document = json.loads((plate / "zarr.json").read_text())
    change(document["attributes"]["ome"]["plate"]["wells"])
    (plate / "zarr.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda wells: wells.append(wells[0]), "B/03 is listed more than once"),
        (
            lambda wells: wells[0].update(path="../B/03"),
            "such as B/03, found '../B/03'",
        ),
        (lambda wells: wells[0].update(path="/etc/x"), "such as B/03, found '/etc/x'"),
        (lambda wells: wells[0].update(path=7), "such as B/03, found 7"),
        (lambda wells: wells.clear(), "none with fields could be read"),
    ],
)
def test_a_plate_whose_listing_is_wrong_is_refused(
    plate: Path, change: Callable[..., object], reason: str
) -> None:
    _wells(plate, change)
    with pytest.raises(PlateError, match=re.escape(reason)):
        open_plate(plate)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"zarr_format": 9}'])
def test_a_plate_without_metadata_that_can_be_read_is_refused(
    plate: Path, content: bytes
) -> None:
    (plate / "zarr.json").write_bytes(content)
    with pytest.raises(PlateError):
        open_plate(plate)


def test_a_dangling_well_is_a_row(
    plate: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    _wells(plate, lambda wells: wells.append({"path": "H/12", "rowIndex": 0}))
    outcome = run_quickly(str(plate), tmp_path / "run")
    assert outcome.progress.done == 3
    assert "does not exist" in outcome.reasons["H/12/"]


# -- who may read, and where there is room ---------------------------------------------

AS_NOBODY = """
import os, sys
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.settings import make_settings
settings = make_settings(channels=("FISH",), enhance=False)

def go(out):
    execute_run(prepare_run(sys.argv[1], out, settings))

go(sys.argv[2] + "-before")  # others may have no right to read Python's own files
os.setgid(65534)
os.setuid(65534)
go(sys.argv[2])
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that others may enter; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="root alone can be others"
)
def test_what_another_user_may_not_read_is_a_row_that_says_so(
    pristine: str, open_folder: Path
) -> None:
    plate = Path(shutil.copytree(pristine, open_folder / "plate.zarr"))
    out = open_folder / "run"
    out.mkdir()
    os.chown(out, 65534, 65534)
    (plate / "B/03/1/0/c/1/0/0").chmod(0)
    (plate / "C/04/0").chmod(0)
    command = [sys.executable, "-c", AS_NOBODY, str(plate), str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    fields = read_fields(Folder(str(out)))
    assert fields["status"].tolist() == ["done", "failed", "failed"]
    assert "no right to read it" in fields["reason"][1]
    assert "no right to read it" in fields["reason"][2]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no right to mount a small disk here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_ends_the_run_with_what_to_do_and_the_run_goes_on_later(
    pristine: str, small_disk: Path, command: Callable[..., Any]
) -> None:
    filler, out = small_disk / "filler", small_disk / "run"
    filler.write_bytes(bytes(256 * 1024 - 4096 * 5))
    words = ("run", pristine, "-c", "FISH", "--no-enhance", "--out", out)
    ended = command(*words)
    # 2 when there was not even room to begin.
    assert ended.code in {1, 2}
    assert "No space left on device" in ended.err
    assert "Traceback" not in ended.err
    filler.unlink()
    command(*words)  # the report may still find too little room; the fields do not
    fields = read_fields(Folder(str(out)))
    assert fields["status"].tolist() == ["done"] * 3


def test_a_codec_that_runs_code_is_refused_before_it_runs(tmp_path: Path) -> None:
    import pickle

    marker = tmp_path / "was here"

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    field = tmp_path / "x"
    (field / "0").mkdir(parents=True)
    _pickled(field)
    (field / "0/0.0.0").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(FieldError, match="may hide a program"):
        open_field(FieldEntry(FieldAddress("", "", "x"), str(field / "0"))).read()
    assert not marker.exists()
