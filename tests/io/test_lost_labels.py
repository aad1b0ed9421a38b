"""Labels may leave out empty chunks; chunks that were lost are told from these."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from deepspot_scale.errors import AbsentError
from deepspot_scale.io.absent_chunks import check_chunks
from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image, write_labels
from deepspot_scale.io.plate import open_field, open_plate
from deepspot_scale.io.source_digest import list_source
from deepspot_scale.vocabulary import FieldAddress

EDGE, CHUNK = 256, 64
ADDRESS = FieldAddress("B", "03", "0")


def _discs(places: Sequence[tuple[float, float]], radius: float) -> Any:
    y, x = np.indices((EDGE, EDGE))
    labels = np.zeros((EDGE, EDGE), np.uint16)
    for number, (row, column) in enumerate(places, 1):
        labels[np.hypot(y - row, x - column) <= radius] = number
    return labels


IN_ONE_CHUNK = [(20, 20), (45, 45)]
"""Two cells in the first of 16 chunks."""
EVERYWHERE = [(y, x) for y in range(16, EDGE, 25) for x in range(16, EDGE, 25)]


def _write(path: Path, levels: int = 1, **labels: Any) -> Path:
    """Write a plate whose labels leave out empty chunks, as zarr does by default."""
    create_plate(path, [ADDRESS])
    axes = "yx" if all(each.ndim == 2 for each in labels.values()) else "zyx"
    shape = (4, EDGE, EDGE)[-len(axes) :]
    layout = ImageLayout(axes, shape, np.dtype("u2"), chunk=CHUNK, n_levels=levels)
    write_image(path, ADDRESS, np.full(shape, 7, np.uint16), layout)
    for name, values in labels.items():
        write_labels(path, ADDRESS, name, values, axes="zyx"[-values.ndim :])
        array = zarr.open_array(_labels(path, name), mode="r+")
        array[...] = 0
        array[...] = values
    return path


def _labels(plate: Path, name: str = "cells") -> Path:
    return plate / ADDRESS.path / "labels" / name / "0"


def _lose(plate: Path, name: str, *chunks: str) -> None:
    for chunk in chunks:
        (_labels(plate, name) / "c" / chunk).unlink()


def _check(plate: Path, *labels: str, allowed: Any = "none") -> int:
    field = open_field(open_plate(plate).entries[0])
    return check_chunks(field, list_source(field, labels), [0], allowed)


def test_places_without_cells_are_counted(tmp_path: Path) -> None:
    cells, nuclei = _discs(IN_ONE_CHUNK, 10), _discs(IN_ONE_CHUNK, 3)
    plate = _write(tmp_path / "p.zarr", cells=cells, nuclei=nuclei)
    assert _check(plate, "cells", "nuclei") == 15 + 15
    assert _check(plate, "cells") == 15


def test_a_field_without_any_cell_is_counted(tmp_path: Path) -> None:
    none = np.zeros((EDGE, EDGE), np.uint16)
    plate = _write(tmp_path / "p.zarr", cells=none, nuclei=none)
    assert _check(plate, "cells", "nuclei") == 32


def test_a_cell_that_ends_by_chance_where_an_empty_chunk_begins_is_whole(
    tmp_path: Path,
) -> None:
    cells = _discs([(20, 53), (45, 20), (20, 20), (45, 45)], 10)  # columns 43 to 63
    assert cells[:, 63].any()
    assert not cells[:, 64].any()
    assert _check(_write(tmp_path / "p.zarr", cells=cells), "cells") == 15


def test_a_cell_that_reaches_into_a_place_without_nuclei_is_no_sign(
    tmp_path: Path,
) -> None:
    cells, nuclei = _discs([(20, 20), (30, 58)], 10), _discs([(20, 20), (30, 58)], 3)
    plate = _write(tmp_path / "p.zarr", cells=cells, nuclei=nuclei)
    assert _check(plate, "cells", "nuclei") == 14 + 15


@pytest.mark.parametrize(("lost", "other"), [("cells", "nuclei"), ("nuclei", "cells")])
def test_objects_of_the_other_labels_tell_of_a_loss(
    tmp_path: Path, lost: str, other: str
) -> None:
    places = [*IN_ONE_CHUNK, (100, 100), (90, 80)]
    cells, nuclei = _discs(places, 8), _discs(places, 3)
    plate = _write(tmp_path / "p.zarr", cells=cells, nuclei=nuclei)
    assert _check(plate, "cells", "nuclei") == 28
    _lose(plate, lost, "1/1")
    words = rf"15 of the 16 chunks of the labels {lost} .* {other} have 2 objects there"
    with pytest.raises(AbsentError, match=words) as told:
        _check(plate, "cells", "nuclei")
    assert told.value.n_absent == 15
    assert _check(plate, "cells", "nuclei", allowed="labels") == 29


def test_all_cells_lost_while_nuclei_are_there(tmp_path: Path) -> None:
    cells, nuclei = _discs(EVERYWHERE, 10), _discs(EVERYWHERE, 3)
    plate = _write(tmp_path / "p.zarr", cells=cells, nuclei=nuclei)
    zarr.open_array(_labels(plate), mode="r+")[...] = 0
    with pytest.raises(AbsentError, match=r"labels nuclei have 100 objects there"):
        _check(plate, "cells", "nuclei")


def test_cells_that_are_cut_off_tell_of_a_loss(tmp_path: Path) -> None:
    plate = _write(tmp_path / "p.zarr", cells=_discs(EVERYWHERE, 10))
    assert _check(plate, "cells") == 0
    _lose(plate, "cells", "1/2")
    with pytest.raises(AbsentError, match="objects around them are cut off"):
        _check(plate, "cells")


def test_labels_of_half_the_resolution_are_compared_where_they_lie(
    tmp_path: Path,
) -> None:
    cells = _discs(EVERYWHERE, 10)[::2, ::2]
    plate = _write(tmp_path / "p.zarr", cells=cells, nuclei=_discs(EVERYWHERE, 3))
    assert _check(plate, "cells", "nuclei") == 0
    _lose(plate, "cells", "1/1")
    words = "1 of the 4 chunks .* nuclei have 25 objects there"
    with pytest.raises(AbsentError, match=words):
        _check(plate, "cells", "nuclei")


def test_a_writer_that_stores_empty_chunks_leaves_none_out(tmp_path: Path) -> None:
    plate = tmp_path / "p.zarr"
    cells = _discs([*IN_ONE_CHUNK, (100, 100)], 8)
    _write(plate, cells=cells)
    write_labels(plate, ADDRESS, "cells", cells)  # every chunk
    assert _check(plate, "cells") == 0
    _lose(plate, "cells", "1/1")
    with pytest.raises(AbsentError, match="other chunks without labels are stored"):
        _check(plate, "cells")


def test_a_coarser_level_tells_of_a_loss(tmp_path: Path) -> None:
    cells = _discs([*IN_ONE_CHUNK, (100, 100)], 8)
    plate = _write(tmp_path / "p.zarr", levels=2, cells=cells)
    assert _check(plate, "cells") == 14
    _lose(plate, "cells", "1/1")
    with pytest.raises(AbsentError, match="cells at a coarser level have 1 objects"):
        _check(plate, "cells")


def test_a_fill_value_that_is_a_label_is_an_error(tmp_path: Path) -> None:
    plate = _write(tmp_path / "p.zarr", cells=_discs(EVERYWHERE, 10))
    _lose(plate, "cells", "3/3")
    document = _labels(plate) / "zarr.json"
    document.write_text(
        document.read_text().replace('"fill_value": 0', '"fill_value": 9')
    )
    with pytest.raises(AbsentError, match="their fill value is not 0"):
        _check(plate, "cells")


def test_planes_without_cells_are_counted_and_lost_ones_are_an_error(
    tmp_path: Path,
) -> None:
    cells, nuclei = (np.zeros((4, EDGE, EDGE), np.uint16) for _ in range(2))
    cells[1:3], nuclei[1:3] = _discs(EVERYWHERE, 10), _discs(EVERYWHERE, 3)
    plate = _write(tmp_path / "p.zarr", cells=cells, nuclei=nuclei)
    assert _check(plate, "cells", "nuclei") == 64
    _lose(plate, "cells", "1/2/2", "2/2/2")
    with pytest.raises(AbsentError, match=r"34 of the 64 .* nuclei have \d objects"):
        _check(plate, "cells", "nuclei")
    with pytest.raises(AbsentError, match="cut off"):
        _check(plate, "cells")
