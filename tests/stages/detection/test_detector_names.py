"""Detectors by name: presets, others' with options, plug-ins, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from deepspot_scale.cli.describe import describe_run
from deepspot_scale.errors import SettingsError
from deepspot_scale.plugins import hash_files
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.settings import (
    find_sources,
    load_settings,
    make_settings,
    read_settings,
    write_settings,
)
from deepspot_scale.stages.detection.detect import DetectOptions, find_detector
from deepspot_scale.stages.detection.detector_names import (
    named_detector,
    read_detector_name,
)
from deepspot_scale.stages.enhancement import EnhanceOptions
from deepspot_scale.verbs.images import detect

OWN = """
import numpy as np
import deepspot_scale as ds

def find(image):
    return np.argwhere(image > 0.9)

detector = ds.PointDetector(find, halo=4, on="raw")

def make(halo=4, on="raw"):
    return ds.PointDetector(find, halo=halo, on=on)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_points.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "own_points"


@pytest.mark.parametrize(
    ("word", "name", "options"),
    [
        ("enhanced", "enhanced", {}),
        ("a.b:c", "a.b:c", {}),
        ("bigfish:sigma=1.5", "bigfish", {"sigma": 1.5}),
        ("a:b:n=2,x=yes", "a:b", {"n": 2, "x": "yes"}),
        ("ufish:weights=C:\\x.onnx", "ufish", {"weights": "C:\\x.onnx"}),
        ("ufish:weights='a,b'", "ufish", None),
    ],
)
def test_a_name_is_taken_apart(
    word: str, name: str, options: dict[str, Any] | None
) -> None:
    if options is None:
        with pytest.raises(SettingsError, match="read option=value"):
            read_detector_name(word)
    else:
        assert read_detector_name(word) == (name, options)


@pytest.mark.parametrize(
    "word", ["sigma=2", "bigfish:sigma=", "bigfish:=2", "b:a=1,a=2"]
)
def test_options_that_cannot_be_read_are_refused(word: str) -> None:
    with pytest.raises(SettingsError, match="option"):
        read_detector_name(word)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("bigfish:sigmas=2", "no option 'sigmas'.*Did you mean 'sigma'"),
        ("bigfish:binning=2", "no option 'binning'"),
        ("bigfish:sigma=wide", "cannot be made"),
        ("paper:floor=2", "--floor"),
        ("bigfsh", "Did you mean 'bigfish'"),
        ("spotiflow", "missing 1 required positional argument: 'model'"),
    ],
)
def test_what_a_detector_does_not_have_is_refused(word: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        named_detector(word)


def test_a_function_of_ones_own_makes_detectors_of_its_options(own: str) -> None:
    assert find_detector(f"{own}:detector").halo == 4
    assert find_detector(f"{own}:make:halo=9").halo == 9
    with pytest.raises(SettingsError, match="no option 'hallo'"):
        find_detector(f"{own}:make:hallo=9")
    with pytest.raises(SettingsError, match="which takes no options"):
        find_detector(f"{own}:detector:halo=9")


def test_a_detector_of_the_raw_image_needs_no_network() -> None:
    settings = make_settings(channels=["FISH"], detector="skimage-log:threshold=0.3")
    assert not settings.of(EnhanceOptions).use
    assert read_settings(write_settings(settings)) == settings
    kept = make_settings(channels=["FISH"], detector="skimage-log", keep_enhanced=True)
    assert kept.of(EnhanceOptions).use  # it was asked for


def test_a_run_says_that_no_network_is_run(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> None:
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": draw_scene(1)})
    settings = make_settings(channels=["FISH"], detector="skimage-log:threshold=0.3")
    lines = list(describe_run(prepare_run(plate, str(tmp_path / "run"), settings)))
    assert any("no network is run" in line for line in lines)


def test_code_of_ones_own_runs_only_if_it_is_named_also_with_options(own: str) -> None:
    word = f"{own}:make:halo=9"
    settings = make_settings(channels=["FISH"], detector=word, enhance=False)
    with pytest.raises(SettingsError, match="only if you name it again"):
        load_settings(settings)
    for allowed in (word, f"{own}:make"):
        loaded = load_settings(settings, allowed=[allowed])
        assert loaded.of(DetectOptions).detector == word
    with pytest.raises(SettingsError, match="do not name other"):
        load_settings(settings, allowed=[word, "other:code"])


def test_files_that_decide_about_spots_are_sources_of_a_run(own: str) -> None:
    settings = make_settings(channels=["FISH"], detector="skimage-dog")
    (file,) = named_detector("skimage-dog").files  # type: ignore[attr-defined] # its
    digest = hash_files([file])["blob.py"]
    assert find_sources(settings)["detector, blob.py"]["sha256"] == digest
    settings = make_settings(channels=["FISH"], detector=f"{own}:make:halo=9")
    assert find_sources(settings)["detector"]["name"] == f"{own}:make:halo=9"


def test_options_change_what_is_found() -> None:
    rng = np.random.default_rng(0)
    counts = rng.poisson(100, (60, 60)).astype(np.uint16)
    image = xr.DataArray(counts, dims=("y", "x"))
    numbers = [
        len(detect(image, method=f"skimage-log:threshold={t}")) for t in (0.1, 0.4)
    ]
    assert numbers[0] > numbers[1]
