"""Sectors as labels: which sector each pixel of cytoplasm lies in."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from deepspot_scale.errors import RunError
from deepspot_scale.exports.formats import export_run
from deepspot_scale.exports.sector_labels import write_sectors
from deepspot_scale.io.plate import open_plate
from deepspot_scale.runs.results import open_run


def sectors_of(screen: Any, path: str, t: int = 0) -> Any:
    return open_plate(screen.plate).open(path).read_labels("sectors", t=t)


def test_pixels_by_cell_and_sector_equal_the_areas_of_the_table(
    own_screen: Any, draw_scene: Any, sum_by_sector: Callable[..., list[int]]
) -> None:
    export_run(own_screen.run, "sectors")
    drawn, scene = sectors_of(own_screen, "B/03/0"), draw_scene(0, n=60)
    cells = own_screen.outcome.cells.query("row == 'B' and field == '0'")
    for row in cells.to_dict("records"):
        own = drawn[scene.cells == row["cell"]]
        counted = [int((own == k).sum()) for k in (1, 2, 3)]
        assert counted == sum_by_sector(row["area_bins"], 3)
    assert not drawn[(scene.cells == 0) | (scene.nuclei > 0)].any()


def test_the_first_sector_faces_the_reference(own_screen: Any, draw_scene: Any) -> None:
    export_run(own_screen.run, "sectors", fields=["B/03/0"])
    drawn, scene = sectors_of(own_screen, "B/03/0"), draw_scene(0, n=60)
    for cell in range(1, 7):
        inside = np.argwhere(scene.nuclei == cell).mean(axis=0)
        size = np.array([0.2, 0.1])  # of the plate's pixels
        toward = (np.array([-500, 40]) - inside) * size
        for y, x in np.argwhere((scene.cells == cell) & (scene.nuclei == 0))[::7]:
            own = (np.array([y, x]) - inside) * size
            cosine = own @ toward / np.hypot(*own) / np.hypot(*toward)
            angle = math.degrees(math.acos(np.clip(cosine, -1, 1)))
            if abs(angle - 60) > 1:  # the edge itself falls on whole degrees
                assert (drawn[y, x] == 1) == (angle < 60)


def test_ome_zarr_reads_them_as_labels_of_the_image(own_screen: Any) -> None:
    export_run(own_screen.run, "sectors", fields=["B/03/0"])
    location = parse_url(own_screen.plate / "B/03/0")
    assert location is not None
    nodes = {node.zarr.basename(): node for node in Reader(location)()}
    assert "sectors" in nodes
    np.testing.assert_array_equal(
        np.asarray(nodes["sectors"].data[0]), sectors_of(own_screen, "B/03/0")
    )


def test_nothing_else_in_the_plate_changes(own_screen: Any) -> None:
    before = own_screen.images
    export_run(own_screen.run, "sectors")
    after = own_screen.images
    listings = {path for path in after if path.endswith("labels/zarr.json")}
    assert {p for p in after if after[p] != before.get(p)} == listings
    names = open_plate(own_screen.plate).open("B/03/0").label_names
    assert names == ("cells", "nuclei", "sectors")


def test_existing_labels_are_replaced_only_on_request(own_screen: Any) -> None:
    export_run(own_screen.run, "sectors")
    with pytest.raises(RunError, match="overwrite"):
        export_run(own_screen.run, "sectors")
    export_run(own_screen.run, "sectors", overwrite=True)


def test_a_field_without_cells_has_no_sectors_in_it(own_screen: Any) -> None:
    export_run(own_screen.run, "sectors")
    assert not sectors_of(own_screen, "C/04/0").any()


def test_each_time_point_has_its_own(movie: Any, tmp_path: Path) -> None:
    own = movie.copy(tmp_path)
    export_run(own.run, "sectors")
    first, second = (sectors_of(own, "B/03/0", t) for t in (0, 1))
    np.testing.assert_array_equal(first, second)  # the same cells at both
    assert set(np.unique(first)) == {0, 1, 2, 3}


def test_without_nuclei_sectors_are_about_the_cell(
    tmp_path: Path, screen: Any, run_quickly: Any
) -> None:
    own = screen.copy(tmp_path)
    run = tmp_path / "without"
    run_quickly(str(own.plate), run, nuclei=None, sectors=4)
    export_run(run, "sectors")
    drawn = sectors_of(own, "B/03/0")
    assert (drawn > 0).sum() == open_plate(own.plate).open("B/03/0").read_labels(
        "cells"
    ).astype(bool).sum()
    assert drawn.max() == 4


def test_labels_that_were_changed_since_the_run_are_noticed(own_screen: Any) -> None:
    stored = zarr.open_array(str(own_screen.plate / "B/03/0/labels/cells/0"), mode="r+")
    stored[0, :] = 77
    with pytest.raises(RunError, match=r"1 field changed since the run .*B/03/0"):
        export_run(own_screen.run, "sectors")
    with pytest.raises(RunError, match=r"cell 77 was not there"):  # not compared
        write_sectors(open_run(own_screen.run), overwrite=False)
