"""Labels that a run made, shown, exported, and written into its plate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import dask
import numpy as np
import pandas as pd
import pytest
import zarr
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader
from scipy import ndimage

from deepspot_scale.errors import RunError
from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.exports.formats import export_run
from deepspot_scale.exports.plate_labels import check_no_labels
from deepspot_scale.exports.viewer import field_layers
from deepspot_scale.io.ome_zarr.writing import write_labels
from deepspot_scale.io.plate import open_plate
from deepspot_scale.networks.segmenters import Segmenter
from deepspot_scale.plugins import own_version
from deepspot_scale.runs.made_labels import with_made
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import assemble
from deepspot_scale.simulation import render_spots
from deepspot_scale.vocabulary import FieldAddress

FIELDS = ("B/03/0", "B/03/1")
NOTHING: dict[str, Any] = {"cells": None, "nuclei": None}


class Segmented(NamedTuple):
    """A plate, and a run that made its labels."""

    plate: Path
    run: Path


@pytest.fixture(scope="module", params=["0.4", "0.5"])
def whole(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    tissue: str,
) -> Segmented:
    """Two fields without labels, in a version of OME-Zarr; never changed."""
    folder = tmp_path_factory.mktemp("segmented")
    scenes = {path: draw_scene(n, n=60) for n, path in enumerate(FIELDS)}
    plate = write_plate(
        folder / "plate.zarr", scenes, masks=(), version=request.param, n_levels=2
    )
    given = {"reference": "point:-500,40", "stages": (tissue,)}
    run_quickly(plate, folder / "run", **given, **NOTHING)
    return Segmented(Path(plate), folder / "run")


@pytest.fixture
def own(whole: Segmented, tmp_path: Path) -> Segmented:
    """A copy that a test may change."""
    plate = Path(shutil.copytree(whole.plate, tmp_path / "plate.zarr"))
    run = Path(shutil.copytree(whole.run, tmp_path / "run"))
    facts = run / "provenance.json"
    facts.write_text(facts.read_text().replace(str(whole.plate), str(plate)))
    return Segmented(plate, run)


def labels_of(plate: Path, path: str, name: str) -> Any:
    return open_plate(plate).open(path).read_labels(name)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_labels_are_written_in_the_plates_version_at_the_images_scale(
    own: Segmented, draw_scene: Callable[..., Any]
) -> None:
    assert export_run(own.run, "labels") == own.plate
    for path in FIELDS:
        field = open_plate(own.plate).open(path)
        assert field.label_names == ("cells", "nuclei")
        for name in field.label_names:
            made = field.open_labels(name)
            assert made.is_aligned
            assert made.stored.spacing_um == field.image.spacing_um
            truth = getattr(draw_scene(0), name)
            np.testing.assert_array_equal(field.read_labels(name), truth)
    old = (own.plate / "B/03/0/labels/cells/.zattrs").is_file()
    assert old == (own.plate / ".zattrs").is_file()


@pytest.mark.filterwarnings("ignore:'version' field not specified")
def test_labels_say_what_made_them_and_stay_valid_to_others(
    own: Segmented, tissue: str
) -> None:
    export_run(own.run, "labels")
    group = zarr.open_group(own.plate / "B/03/0/labels/cells", mode="r")
    attributes = group.attrs.asdict()
    about = attributes["deepspot_scale"]
    assert (about["labels"], about["name"]) == ("cells", tissue)
    assert about["version"] == own_version()
    assert open_plate(own.plate).open("B/03/0").about_labels("cells") == about
    old = group.metadata.zarr_format == 2
    block = attributes if old else attributes["ome"]
    assert block["image-label"]["source"] == {"image": "../../"}
    module = f"ome_zarr_models.v0{'4' if old else '5'}.image_label"
    judge = pytest.importorskip(module).ImageLabel
    judge.model_fields["attributes"].annotation.model_validate(attributes)
    ngio = pytest.importorskip("ngio")
    image = ngio.open_ome_zarr_container(own.plate / "B/03/0")
    truth = labels_of(own.plate, "B/03/0", "cells")
    np.testing.assert_array_equal(image.get_label("cells").get_as_numpy(), truth)
    nodes = Reader(parse_url(own.plate / "B/03/0"))()
    (cells,) = [node for node in nodes if node.zarr.basename() == "cells"]
    np.testing.assert_array_equal(np.asarray(cells.data[0]), truth)


def test_the_copy_tells_how_many_fields_it_has_written(own: Segmented) -> None:
    told: list[tuple[int, int]] = []
    export_run(own.run, "labels", progress=lambda *numbers: told.append(numbers))
    assert told == [(1, 2), (2, 2)]
    shutil.rmtree(own.plate / "B/03/1/labels")
    export_run(own.run, "labels", progress=lambda *numbers: told.append(numbers))
    assert told[2:] == [(1, 1)]


def test_what_is_said_of_equal_labels_is_renewed_only_on_request(
    own: Segmented,
) -> None:
    export_run(own.run, "labels")
    there = files_in(own.plate)
    address = FieldAddress.from_path("B/03/1")
    labels = labels_of(own.plate, "B/03/1", "cells")
    write_labels(own.plate, address, "cells", labels, about={"by": "hand"})
    changed = files_in(own.plate)
    assert changed != there
    export_run(own.run, "labels")
    assert files_in(own.plate) == changed
    export_run(own.run, "labels", overwrite=True)
    about = open_plate(own.plate).open("B/03/1").about_labels("cells")
    assert about["by"] == "stages of one's own"


def test_a_run_on_written_labels_gives_the_tables_of_the_run_that_made_them(
    own: Segmented, run_quickly: Callable[..., Any], tmp_path: Path
) -> None:
    export_run(own.run, "labels")
    run_quickly(str(own.plate), tmp_path / "again", reference="point:-500,40")
    made, again = open_results(own.run), open_results(tmp_path / "again")
    for name in ("spots", "cells"):
        pd.testing.assert_frame_equal(made.read(name), again.read(name))
    for name in ("wells", "polarity"):
        pd.testing.assert_frame_equal(made.summaries[name], again.summaries[name])


def test_the_same_copy_again_changes_nothing_and_continues_a_killed_one(
    own: Segmented,
) -> None:
    export_run(own.run, "labels")
    there = files_in(own.plate)
    shutil.rmtree(own.plate / "B/03/1/labels")
    export_run(own.run, "labels")
    assert files_in(own.plate) == there


def test_other_labels_are_replaced_only_on_request(own: Segmented) -> None:
    address = FieldAddress.from_path(FIELDS[1])
    theirs = np.full((128, 160), 7, np.int32)
    write_labels(own.plate, address, "nuclei", theirs)
    there = files_in(own.plate)
    with pytest.raises(
        RunError, match=r"B/03/1 .* 'nuclei' already; replace them by --overwrite"
    ):
        export_run(own.run, "labels")
    assert files_in(own.plate) == there  # no other field was begun
    export_run(own.run, "labels", overwrite=True)
    assert labels_of(own.plate, FIELDS[1], "nuclei").max() == 6


def test_a_plate_with_such_labels_is_refused_before_a_run(own: Segmented) -> None:
    check_no_labels(open_plate(own.plate), ("cells", "nuclei"))
    export_run(own.run, "labels", fields=[FIELDS[1]])
    with pytest.raises(RunError, match="B/03/1"):
        check_no_labels(open_plate(own.plate), ("cells",))
    check_no_labels(open_plate(own.plate), ("membranes",))


def test_a_run_without_made_labels_has_none_to_write(screen: Any) -> None:
    with pytest.raises(RunError, match="made no labels"):
        export_run(screen.run, "labels")


def test_planes_that_are_alike_become_one(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    tissue: str,
) -> None:
    flat = draw_scene(0)
    times = np.stack([np.stack([flat.image] * 3, axis=1)] * 2)
    scene = replace(flat, image=times)
    plate = write_plate(tmp_path / "p.zarr", {FIELDS[0]: scene}, masks=())
    given = {"stages": (tissue,), "project": "none"}
    run_quickly(plate, tmp_path / "run", **given, **NOTHING)
    export_run(tmp_path / "run", "labels")
    stored = open_plate(plate).open(FIELDS[0]).open_labels("cells").stored
    assert (stored.axes, stored.shape) == ("tyx", (2, 128, 160))


def test_the_viewer_shows_made_labels(
    whole: Segmented, draw_scene: Callable[..., Any]
) -> None:
    layers = field_layers(whole.run, FIELDS[0])
    shown = {look["name"]: data for data, look, kind in layers if kind == "labels"}
    assert list(shown) == ["cells", "nuclei", "sectors"]
    np.testing.assert_array_equal(shown["cells"].compute(), draw_scene(0).cells)


def test_sectors_of_made_cells_are_those_of_stored_ones(
    own: Segmented, run_quickly: Callable[..., Any], tmp_path: Path
) -> None:
    export_run(own.run, "sectors")
    drawn = labels_of(own.plate, FIELDS[0], "sectors")
    export_run(own.run, "labels")
    given = {"reference": "point:-500,40"}
    run_quickly(str(own.plate), tmp_path / "again", **given)
    export_run(tmp_path / "again", "sectors", overwrite=True)
    assert drawn.any()
    np.testing.assert_array_equal(labels_of(own.plate, FIELDS[0], "sectors"), drawn)


# The library itself calls what others announce to remove or change.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
def test_spatialdata_holds_made_labels(
    whole: Segmented, tmp_path: Path, draw_scene: Callable[..., Any]
) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    export_run(whole.run, "spatialdata", tmp_path / "made.zarr")
    data = spatialdata.read_zarr(tmp_path / "made.zarr")
    cells = data.labels["B_03_0_cells"]
    np.testing.assert_array_equal(np.asarray(cells), draw_scene(0).cells)
    assert "cells_FISH" in data.tables


def test_feature_tables_refuse_labels_that_the_plate_lacks(own: Segmented) -> None:
    pytest.importorskip("ngio")
    with pytest.raises(RunError, match="export labels first"):
        export_run(own.run, "ngio")


def _bright(image: np.ndarray) -> np.ndarray:
    return ndimage.label(image > 0.5)[0]


FIND = Segmenter(_bright, largest=40, tile=128)


def test_labels_made_in_a_volume_are_flat(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    flat = draw_scene(0)
    nuclei = np.stack([(100 + 500 * (flat.nuclei > 0)).astype(np.uint16)] * 5)
    fish = np.stack([flat.image[1]] * 5)
    scene = replace(flat, image=np.stack([nuclei, fish]))
    plate = write_plate(tmp_path / "p.zarr", {FIELDS[0]: scene}, masks=())
    given = {"segments": [f"nuclei:{__name__}:FIND@DAPI", "cells:FISH"]}
    given |= {"enhance": True, "model": "deepspot-fast", "volume": True}
    run_quickly(plate, tmp_path / "run", **given, **NOTHING)
    results = open_results(tmp_path / "run")
    field = with_made(results, results.plate.open(FIELDS[0]))
    assert field.open_labels("cells").n_z == 1
    export_run(tmp_path / "run", "labels")
    stored = open_plate(plate).open(FIELDS[0])
    assert stored.open_labels("nuclei").stored.shape == (128, 160)
    np.testing.assert_array_equal(stored.read_labels("nuclei"), flat.nuclei)
    export_run(tmp_path / "run", "sectors")
    named = {"cells": "cells", "nuclei": "nuclei"}
    again = {"enhance": True, "model": "deepspot-fast", "volume": True}
    run_quickly(plate, tmp_path / "again", **again, **named)
    for name in ("spots", "cells"):
        read = open_results(tmp_path / "again").read(name)
        pd.testing.assert_frame_equal(results.read(name), read)


def _bright_volume(image: np.ndarray, least: float) -> np.ndarray:
    assert image.ndim == 3
    return ndimage.label(image > least)[0]


CELLS_IN_VOLUME, NUCLEI_IN_VOLUME = (
    Segmenter(partial(_bright_volume, least=least), largest=40, tile=96, volume=True)
    for least in (0.2, 0.7)
)
WIDE_IN_VOLUME = replace(CELLS_IN_VOLUME, largest=70, tile=256)
DEEP = (150, 64, 74)
IN_VOLUME: dict[str, Any] = {"enhance": True, "model": "deepspot-fast", "volume": True}


def _draw_stack() -> tuple[np.ndarray, np.ndarray]:
    """Return channels (c, z, y, x), and cells (z, y, x), each with a nucleus.

    Seven cells lie above one another, one of them on the cut between blocks.
    """
    z, y, x = np.indices(DEEP)
    off = ((z + 12) % 25 - 12, y % 32 - 16, x % 37 - 18)
    aside = np.maximum(abs(off[1]), abs(off[2]))
    cells = (abs(off[0]) < 10) & (aside < 13)
    nuclei = (abs(off[0]) < 5) & (np.hypot(off[1], off[2]) < 6)
    rng = np.random.default_rng(1)
    points = rng.uniform(3, np.array(DEEP) - 4, (100, 3))
    heights = np.exp(-((np.arange(DEEP[0])[:, None] - points[:, 0]) ** 2) / 4)
    width = np.full(len(points), 1.3)
    light = [render_spots(DEEP[1:], points[:, 1:], 300 * h, width) for h in heights]
    stain = 50 + 300 * cells + 600 * nuclei
    image = np.stack([stain, rng.poisson(100 + np.stack(light))]).astype(np.uint16)
    return image, ndimage.label(cells)[0]


@pytest.fixture
def deep(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Segmented:
    """A field, and a run that makes labels with a depth."""
    scene = replace(draw_scene(0), image=_draw_stack()[0])
    plate = write_plate(
        tmp_path / "p.zarr", {FIELDS[0]: scene}, masks=(), z_step_um=0.3
    )
    segments = [
        f"{kind}:{__name__}:{kind.upper()}_IN_VOLUME@DAPI"
        for kind in ("nuclei", "cells")
    ]
    run_quickly(plate, tmp_path / "run", segments=segments, **IN_VOLUME, **NOTHING)
    return Segmented(Path(plate), tmp_path / "run")


def test_labels_made_with_a_depth_are_measured_as_stored_volumes_are(
    deep: Segmented, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    results, cells = open_results(deep.run), _draw_stack()[1]
    pipeline = assemble(results.settings)
    edges = {block.core.along("z").stop for block in pipeline.blocks(DEEP).blocks}
    assert any(cells[edge - 1].any() and cells[edge].any() for edge in edges - {150})
    made = with_made(results, results.plate.open(FIELDS[0])).open_labels("cells")
    assert made.n_z == DEEP[0]
    export_run(deep.run, "labels")
    files = files_in(deep.plate)
    export_run(deep.run, "labels")
    assert files_in(deep.plate) == files
    stored = open_plate(deep.plate).open(FIELDS[0]).open_labels("cells").stored
    assert (stored.axes, stored.shape) == ("zyx", DEEP)
    np.testing.assert_array_equal(stored[:, :, :], cells)
    run_quickly(str(deep.plate), tmp_path / "again", **IN_VOLUME)
    for name in ("spots", "cells"):
        read = open_results(tmp_path / "again").read(name)
        pd.testing.assert_frame_equal(results.read(name), read)
    table = results.read("cells")
    assert len(table) == cells.max() == 7 * 2 * 2
    assert table["volume_um3"].gt(0).all()
    assert table["n_spots"].sum() > 10
    task = FieldTask(results.plate.entries[0])
    spread = defer_field(task, results.settings, pipeline)
    (result,) = dask.compute(*spread, scheduler="synchronous")
    np.testing.assert_array_equal(result.layers["cells"], cells)
    pd.testing.assert_frame_equal(result.tables["cells"], table)


def test_labels_with_a_depth_stay_volumes_where_all_planes_are_alike(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    flat = draw_scene(0)
    stain = (50 + 900 * (flat.cells > 0)).astype(np.uint16)
    scene = replace(flat, image=np.stack([[stain] * 4, [flat.image[1]] * 4]))
    plate = write_plate(tmp_path / "p.zarr", {FIELDS[0]: scene}, masks=())
    segments = [f"cells:{__name__}:WIDE_IN_VOLUME@DAPI"]
    run_quickly(plate, tmp_path / "run", segments=segments, **IN_VOLUME, **NOTHING)
    export_run(tmp_path / "run", "labels")
    stored = open_plate(plate).open(FIELDS[0]).open_labels("cells").stored
    np.testing.assert_array_equal(stored[:, :, :], [flat.cells] * 4)
    with pytest.raises(RunError, match="label volumes"):
        export_run(tmp_path / "run", "sectors")
    address = FieldAddress.from_path(FIELDS[0])
    write_labels(plate, address, "cells", flat.cells.astype(np.int32))
    with pytest.raises(RunError, match="other labels"):
        export_run(tmp_path / "run", "labels")
