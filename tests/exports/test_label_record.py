"""What made a label image is said in full, and read whatever it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deepspot_scale as ds
from deepspot_scale.exports.label_record import describe_record, label_record
from deepspot_scale.networks.segmenters import Segmenter
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.plugins import own_version
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import make_settings

OFF = {name: {"use": False} for name in ("enhance", "detect", "quality", "clusters")}


@pytest.fixture
def record(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> Callable[..., dict[str, Any]]:
    """Return what is said of a layer of labels of a run with these settings."""
    scene = draw_scene(0, (64, 64))
    plate = write_plate(tmp_path / "plate.zarr", {"B/03/0": scene}, masks=())

    def make(layer: str, **settings: Any) -> dict[str, Any]:
        known = make_settings(channels=("1",), **settings, **OFF)
        prepare_run(plate, str(tmp_path / "run"), known)
        results = open_results(tmp_path / "run")
        made = label_record(results, layer, ds.open_plate(plate).open("B/03/0"))
        assert json.loads(json.dumps(made)) == made
        return made

    return make


def test_nuclei_of_the_network_name_its_weights_channel_and_settings(
    record: Callable[..., dict[str, Any]],
) -> None:
    weights = find_weights("nuclei")
    made = record("nuclei", segments=("nuclei:DAPI",), nucleus_um=12.0)
    assert made == {
        "version": own_version(),
        "labels": "nuclei",
        "by": "network",
        "name": "nuclei",
        "sha256": weights.sha256,
        "channel": "DAPI",
        "settings": {
            "nucleus_um": 12.0,
            "nuclei_engine": "auto",
            "nuclei_precision": "auto",
        },
    }
    assert describe_record(made) == (
        f"network nuclei ({weights.sha256[:8]}), channel DAPI, nucleus_um 12.0; "
        f"deepspot-scale {own_version()}"
    )


def test_cells_that_were_grown_say_from_which_nuclei_and_a_number_is_a_name(
    record: Callable[..., dict[str, Any]],
) -> None:
    segments = ("nuclei:0", "cells:1")
    made = record("cells", segments=segments, nucleus_um=9.0, cell_um=20.0)
    assert (made["by"], made["channel"]) == ("growth from nuclei", "FISH")
    assert made["settings"] == {"cell_um": 20.0}
    assert made["nuclei"]["channel"] == "DAPI"
    assert made["nuclei"]["sha256"] == find_weights("nuclei").sha256
    assert made["nuclei"]["settings"]["nucleus_um"] == 9.0
    words = describe_record(made)
    assert "cell_um 20.0, of nuclei by network nuclei (" in words
    assert "nucleus_um 9.0" in words


def _find(image: np.ndarray) -> np.ndarray:
    return (image > image.mean()).astype(np.int32)


def test_a_plugin_names_itself_and_its_files(
    record: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = tmp_path / "net.h5"
    weights.write_text("numbers")
    named = Segmenter(_find, largest=40, tile=128, files=(str(weights),))
    monkeypatch.setitem(globals(), "NAMED", named)
    name = f"{__name__}:NAMED"
    made = record("cells", segments=(f"cells:{name}@FISH",), nucleus_um=9.0)
    assert (made["by"], made["name"], made["channel"]) == ("plug-in", name, "FISH")
    own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert made["sha256"] == own
    digest = hashlib.sha256(b"numbers").hexdigest()
    assert made["files"] == {"net.h5": digest}
    assert "nuclei" not in made
    assert "settings" not in made  # no other setting decides about its labels
    assert f"net.h5 ({digest[:8]})" in describe_record(made)


def test_a_stage_of_ones_own_names_itself_its_file_and_its_options(
    record: Callable[..., dict[str, Any]], tissue: str
) -> None:
    made = record("cells", stages=(tissue,))
    assert made["name"] == tissue
    assert set(made["files"]) == {tissue}
    assert made["settings"] == {"tissue": {"use": True}}
    assert made["channel"] == "1"
    assert f"stages of one's own {tissue}" in describe_record(made)


KEYS = ("by", "name", "sha256", "channel", "settings", "files", "nuclei", "version")


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", [None, 3, "", [1], {}, {"by": [], "nuclei": {}}])
def test_a_record_of_anybody_has_words(key: str, value: object) -> None:
    assert describe_record({key: value})
    assert describe_record(dict.fromkeys(KEYS, value))


def test_nuclei_of_nuclei_end() -> None:
    record: dict[str, Any] = {"by": "me"}
    record["nuclei"] = record
    assert describe_record(record) == "me, of nuclei by me"
