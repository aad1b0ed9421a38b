"""One field as napari layers, built without a window."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.exports.viewer import (
    _MEASURES,
    field_layers,
    spot_layers,
    view_field,
)


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Path:
    """Two fields of a well, one of them without an image."""
    folder = tmp_path_factory.mktemp("viewed")
    scenes = {"B/03/0": draw_scene(0)}
    plate = write_plate(folder / "p.zarr", scenes, listed=("B/03/1",))
    run_quickly(plate, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def create() -> Callable[..., Any]:
    """Make a layer as napari does."""
    layers = pytest.importorskip("napari.layers")
    return lambda layer: layers.Layer.create(*layer)


def named(layers: list[Any]) -> dict[str, Any]:
    return {meta["name"]: (data, meta, kind) for data, meta, kind in layers}


def test_a_field_has_image_labels_and_spots(run: Path) -> None:
    layers = [(meta["name"], kind) for _, meta, kind in field_layers(run, "B/03/0")]
    assert layers == [
        ("DAPI", "image"),
        ("FISH", "image"),
        ("cells", "labels"),
        ("nuclei", "labels"),
        ("sectors", "labels"),
        ("FISH, spots", "points"),
    ]


def test_building_layers_reads_no_pixel(
    run: Path, forbid_computing: AbstractContextManager[None]
) -> None:
    with forbid_computing:
        assert field_layers(run, "B/03/0")


def test_the_channel_of_the_run_is_shown(run: Path) -> None:
    layers = named(field_layers(run, "B/03/0"))
    assert layers["FISH"][1]["visible"]
    assert not layers["DAPI"][1]["visible"]


def test_pixels_are_those_of_the_plate(run: Path, draw_scene: Any) -> None:
    layers, scene = named(field_layers(run, "B/03/0")), draw_scene(0)
    np.testing.assert_array_equal(layers["FISH"][0], scene.image[1])
    np.testing.assert_array_equal(layers["nuclei"][0], scene.nuclei)


# napari's own modules use what pydantic announces to remove.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_napari_finds_each_spot_on_its_own_cell(
    run: Path, create: Callable[..., Any]
) -> None:
    layers = {
        name: create(given)
        for name, given in named(field_layers(run, "B/03/0")).items()
    }
    spots, cells = layers["FISH, spots"], layers["cells"]
    assert spots.scale.tolist() == [0.2, 0.1]
    under = [
        cells.get_value(spots.data_to_world(point), world=True) for point in spots.data
    ]
    assert [int(value or 0) for value in under] == spots.features["cell"].tolist()
    assert len(spots.data) > 30


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_time_and_planes_line_up_in_all_layers(
    tmp_path: Path, create: Any, draw_scene: Any, write_plate: Any, run_quickly: Any
) -> None:
    scene = draw_scene(3)
    dark = np.full_like(scene.image, 100)
    times = [np.stack([dark, scene.image], axis=1), np.stack([dark, dark], axis=1)]
    scene = replace(scene, image=np.stack(times))
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": scene}, z_step_um=0.5)
    for project, shape in (("none", (2, 2, 128, 160)), ("max", (2, 128, 160))):
        out = tmp_path / project
        run_quickly(plate, out, project=project)
        layers = named(field_layers(out, "B/03/0"))
        assert layers["FISH"][0].shape == layers["cells"][0].shape == shape
        spots = create(layers["FISH, spots"])
        assert spots.ndim == len(shape)
        assert set(spots.data[:, 0]) == {0}
        image = create(layers["FISH"])
        for point in spots.data:
            place = np.rint(image.world_to_data(spots.data_to_world(point)))
            assert image.data[tuple(place.astype(int))] > 120
        if project == "none":
            assert set(spots.data[:, 1]) == {1}
            assert spots.scale.tolist() == [1, 0.5, 0.2, 0.1]


def test_enhanced_images_are_there_when_they_were_kept(
    tmp_path: Path, draw_scene: Any, write_plate: Any, run_quickly: Any
) -> None:
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": draw_scene(0)})
    run_quickly(plate, tmp_path / "run", enhance=True, keep_enhanced=True)
    data, meta, kind = named(field_layers(tmp_path / "run", "B/03/0"))["FISH, enhanced"]
    assert (data.shape, data.dtype, kind) == ((128, 160), np.uint8, "image")
    assert meta["scale"] == (0.2, 0.1)
    assert np.asarray(data).max() > 0


def test_a_field_that_failed_is_shown_without_spots(
    tmp_path: Path, draw_scene: Any, write_plate: Any, run_quickly: Any
) -> None:
    plate = write_plate(
        tmp_path / "p.zarr", {"B/03/0": draw_scene(0)}, masks=("cells",)
    )
    outcome = run_quickly(plate, tmp_path / "run")
    assert outcome.progress.failed == 1
    assert list(named(field_layers(tmp_path / "run", "B/03/0"))) == [
        "DAPI",
        "FISH",
        "cells",
    ]


def test_a_well_of_several_fields_asks_which(run: Path) -> None:
    with pytest.raises(SettingsError, match=r"B03 has the fields B/03/0, B/03/1"):
        field_layers(run, "B03")


def test_an_unknown_field_names_the_nearest(run: Path) -> None:
    with pytest.raises(SettingsError, match=r"Did you mean 'B/03/"):
        field_layers(run, "B/03/7")


def test_a_missing_napari_is_named_with_what_installs_it(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "napari", None)
    with pytest.raises(SettingsError, match=r"pip install 'deepspot-scale\[napari\]'"):
        view_field(run, "B/03/0")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_napari_without_windows_says_so(run: Path) -> None:
    pytest.importorskip("napari")
    if any(map(find_spec, ("PyQt5", "PyQt6", "PySide2", "PySide6"))):
        pytest.skip("a window would open")
    with pytest.raises(SettingsError, match=r"cannot open a window.*\[napari\]"):
        view_field(run, "B/03/0")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_spots_of_a_volume_stand_in_the_stack_where_it_is_bright(
    volume: Any, create: Callable[..., Any]
) -> None:
    layers = named(field_layers(volume.run, "B/03/0"))
    image, cells = create(layers["FISH"]), create(layers["cells"])
    spots = create(layers["FISH, spots"])
    assert image.data.shape == cells.data.shape == (9, 128, 160)
    assert spots.scale.tolist() == image.scale.tolist() == [0.3, 0.2, 0.1]
    np.testing.assert_allclose(
        [spots.data_to_world(point) for point in spots.data],
        volume.outcome.spots[["z_um", "y_um", "x_um"]],
    )
    places = [image.world_to_data(spots.data_to_world(point)) for point in spots.data]
    voxels = np.clip(np.rint(places).astype(int), 0, np.array(image.data.shape) - 1)
    stack = np.asarray(image.data)
    assert np.median(stack[tuple(voxels.T)]) > 2 * np.median(stack)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_napari_shows_each_spot_of_a_volume_in_its_own_plane(
    volume: Any, create: Callable[..., Any]
) -> None:
    model = pytest.importorskip("napari.components").ViewerModel()
    for layer in field_layers(volume.run, "B/03/0"):
        model.add_layer(create(layer))
    assert model.dims.ndim == 3
    depths = model.layers["FISH, spots"].data[:, 0]
    for plane in (2, 5):
        model.dims.set_point(0, 0.3 * plane)
        shown = model.layers["FISH, spots"]._view_data
        assert len(shown) == (np.abs(depths - plane) < 0.5).sum() > 0


def test_a_spot_before_the_first_plane_is_shown_in_it() -> None:
    table = pd.DataFrame({"channel": "A", "z": [-0.4, 7.3], "y": [1.0, 2.0]})
    columns = dict.fromkeys((*_MEASURES, "x"), 0)
    ((places, _, _),) = spot_layers(table.assign(**columns), ["z", "y", "x"], (1.0,))
    assert places[:, 0].tolist() == [0.0, 7.3]
