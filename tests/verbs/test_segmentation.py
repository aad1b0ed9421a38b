"""The verb segment: labels of an image, lazy or not, as a run makes them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import deepspot_scale as ds
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.networks.segmenters import Segmenter
from deepspot_scale.runs.made_labels import with_made
from deepspot_scale.runs.results import open_results


def _bright(image: np.ndarray) -> np.ndarray:
    return ndimage.label(ndimage.gaussian_filter(image, 1) > 0.5)[0]


FIND = Segmenter(_bright, largest=40, tile=128)
NUCLEI = f"{__name__}:FIND@DAPI"
DEEP = replace(FIND, volume=True)
IN_VOLUME = f"{__name__}:DEEP@DAPI"


@pytest.fixture
def image(draw_scene: Callable[..., Any]) -> xr.DataArray:
    """Two channels, whose nuclei and cells can be seen."""
    scene = draw_scene(0, n=60)
    light = np.stack([300 * (scene.nuclei > 0), 60 * (scene.cells > 0)])
    counts = (scene.image + light).astype(np.uint16)
    return xr.DataArray(counts, dims=("c", "y", "x"), coords={"c": ["DAPI", "FISH"]})


def test_labels_are_those_of_a_run(
    image: xr.DataArray,
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    found = ds.segment(image, nuclei=NUCLEI, cells="FISH")
    assert list(found) == ["nuclei", "cells"]
    assert found["cells"].dims == ("y", "x")
    scene = replace(draw_scene(0), image=image.values)
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": scene}, masks=())
    segments = [f"nuclei:{NUCLEI}", "cells:FISH"]
    run_quickly(plate, tmp_path / "run", segments=segments, cells=None, nuclei=None)
    run = open_results(tmp_path / "run")
    field = with_made(run, run.plate.open("B/03/0"))
    for name, labels in found.items():
        np.testing.assert_array_equal(labels, field.read_labels(str(name)))
    assert int(found["nuclei"].max()) == 6


def test_a_lazy_image_gives_lazy_labels_the_same_in_every_block_and_time(
    image: xr.DataArray,
    forbid_computing: AbstractContextManager[None],
    here_and_now: None,
) -> None:
    whole = ds.segment(image, nuclei=NUCLEI, cells="FISH")
    times = xr.concat([image, image[:, ::-1]], dim="t").transpose("t", ...)
    with forbid_computing:
        lazy = times.chunk(y=50, x=70).deepspot.segment(
            nuclei=NUCLEI, cells="FISH", block=64
        )
    assert lazy["cells"].dims == ("t", "y", "x")
    for name in ("nuclei", "cells"):
        computed = lazy[name].compute()
        np.testing.assert_array_equal(computed[0], whole[name])
        assert len(np.unique(computed[1])) == len(np.unique(whole[name]))


def test_a_segmenter_of_volumes_is_given_stacks(
    image: xr.DataArray,
    forbid_computing: AbstractContextManager[None],
    here_and_now: None,
) -> None:
    dark = xr.zeros_like(image)
    stack = xr.concat([dark, *[image] * 3, *[dark] * 3, *[image] * 3], dim="z")
    times = xr.concat([stack, stack[::-1]], dim="t").transpose("t", "c", "z", "y", "x")
    found = ds.segment(times, nuclei=IN_VOLUME)["nuclei"]
    assert found.dims == ("t", "z", "y", "x")
    flat = ds.segment(image, nuclei=NUCLEI)["nuclei"]
    assert [int(each.max()) for each in found] == [2 * int(flat.max())] * 2
    assert (found[0, 2] > 0).any()
    assert not (found[0, 5] > 0).any()
    with forbid_computing:
        lazy = ds.segment(times.chunk(z=2, y=50, x=70), nuclei=IN_VOLUME, block=64)
    np.testing.assert_array_equal(lazy["nuclei"].compute(), found)
    with pytest.raises(SettingsError, match="image with the dimension z"):
        ds.segment(image, nuclei=IN_VOLUME)


def test_what_cannot_be_meant_is_refused(image: xr.DataArray) -> None:
    with pytest.raises(SettingsError, match="say what to label"):
        ds.segment(image)
    with pytest.raises(SettingsError, match="CHANNEL"):
        ds.segment(image, nuclei=f"{__name__}:FIND")
    with pytest.raises(FieldError, match="Did you mean 'DAPI'"):
        ds.segment(image, nuclei=f"{__name__}:FIND@DAPY")
    with pytest.raises(FieldError, match="dimension c"):
        ds.segment(image[0], nuclei=NUCLEI)
    with pytest.raises(SettingsError, match="cell_nm"):
        ds.segment(image, nuclei=NUCLEI, cell_nm=3)
