"""The plug-in in a real window of napari: files dropped, sliders and buttons used."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.napari_plugin.panel import make_panel
from deepspot_scale.napari_plugin.reader import PANEL
from deepspot_scale.napari_plugin.shown import ENHANCED, SECTORS, SPOTS
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import read_settings

PATHS = ("B/03/0", "B/03/1")
LONGEST = 60.0
"""Seconds that a job may take on a busy machine."""
# napari and its libraries use what others announce to remove.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_a_missing_napari_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "napari", None)
    with pytest.raises(SettingsError, match=r"pip install 'deepspot-scale\[napari\]'"):
        make_panel()


@pytest.fixture(scope="module")
def napari() -> Any:
    """Give napari where it is installed, and a display to draw on."""
    if not os.environ.get("DISPLAY"):
        pytest.skip("no display: run under xvfb-run")
    library = pytest.importorskip("napari")
    pytest.importorskip("qtpy.QtWidgets", exc_type=ImportError)
    return library


class Window:
    """A viewer and its panel, driven as a user does."""

    def __init__(self, napari: Any) -> None:
        self.viewer = napari.Viewer()
        self.notices = napari.utils.notifications.notification_manager.records
        self.notices.clear()
        self.panel: Any = None

    def drop(self, path: Path) -> list[str]:
        """Open a path by our reader, as `napari --plugin deepspot-scale PATH` does."""
        self.viewer.open(str(path), plugin="deepspot-scale")
        return self.names

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.viewer.layers]

    def tune(self) -> Any:
        """Open the panel from napari's menu; return its controls."""
        _, container = self.viewer.window.add_plugin_dock_widget(
            "deepspot-scale", PANEL
        )
        self.panel = container.native.panel
        return self.panel.controls

    def settle(self) -> float:
        """Let the window work until nothing is left; return the seconds it took."""
        from qtpy.QtWidgets import QApplication

        begun = time.monotonic()
        QApplication.processEvents()
        while self.panel.busy and time.monotonic() < begun + LONGEST:
            QApplication.processEvents()
            time.sleep(0.002)
        assert not self.panel.busy
        return time.monotonic() - begun

    @property
    def said(self) -> str:
        return "\n".join(notice.message for notice in self.notices)

    @property
    def spots(self) -> np.ndarray:
        return np.asarray(self.viewer.layers[SPOTS].data)


@pytest.fixture
def window(napari: Any) -> Iterator[Window]:
    """A window that is closed again."""
    opened = Window(napari)
    yield opened
    if opened.panel is not None:
        opened.settle()
    opened.viewer.close()


def _places(folder: Path, path: str) -> np.ndarray:
    return open_results(folder).only([path]).read("spots")[["y", "x"]].to_numpy()


def test_the_manifest_is_valid_and_installed(napari: Any) -> None:
    command = [sys.executable, "-m", "npe2", "validate", "deepspot-scale"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "valid" in ended.stdout


def test_a_dropped_run_shows_images_labels_sectors_and_spots(
    window: Window, run: Path
) -> None:
    assert window.drop(run) == [
        *("DAPI", "FISH", "FISH, enhanced"),
        *("cells", "nuclei", "sectors", "FISH, spots"),
    ]
    layers = window.viewer.layers
    np.testing.assert_array_equal(layers["FISH, spots"].data, _places(run, PATHS[0]))
    assert {"probability", "snr", "cell"} <= set(layers["FISH, spots"].features)
    sectors = np.asarray(layers["sectors"].data)
    cytoplasm = np.asarray(layers["cells"].data) > 0
    cytoplasm &= np.asarray(layers["nuclei"].data) == 0
    np.testing.assert_array_equal(sectors > 0, cytoplasm)
    assert f"first of {len(PATHS)}" in window.said


def test_sliders_change_spots_and_sectors_and_the_file_runs_so(
    window: Window, run: Path, plate: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    window.drop(run)
    controls = window.tune()
    assert (controls.field.value, controls.channel.value) == (PATHS[0], "FISH")
    controls.field.value = PATHS[1]
    assert len(window.names) == 7
    controls.enhance.native.click()
    assert controls.enhance.text == "Cancel"
    window.settle()
    assert {ENHANCED, SPOTS, SECTORS} <= set(window.names)
    np.testing.assert_array_equal(window.spots, _places(run, PATHS[1]))
    before = len(window.spots)
    controls.floor.value = 0.8
    controls.faint.value = 0.5
    controls.sectors.value = 6
    controls.angle.value = 90
    assert window.settle() < LONGEST
    assert 0 < len(window.spots) < before
    assert f"{len(window.spots)} spots" in controls.result.value
    assert "polarity index" in controls.result.value
    drawn = np.asarray(window.viewer.layers[SECTORS].data)
    assert set(np.unique(drawn)) == set(range(7))
    assert len(controls.table.to_dict("records")) == 6
    _assert_it_runs_so(window, plate, tmp_path, command)
    controls.reset.native.click()
    window.settle()
    np.testing.assert_array_equal(window.spots, _places(run, PATHS[1]))


def _assert_it_runs_so(
    window: Window, plate: Path, folder: Path, command: Callable[..., Any]
) -> None:
    """Save the settings, run the plate with them, and compare the spots."""
    controls = window.panel.controls
    controls.file.value = folder / "run.toml"
    controls.save.native.click()
    assert "run.toml" in window.said
    out = folder / "again"
    given = ("--config", folder / "run.toml", "--workers", 1, "--out", out)
    ended = command("run", plate, *given)
    assert ended.code == 0
    np.testing.assert_array_equal(window.spots, _places(out, PATHS[1]))
    settings = read_settings((out / "settings.toml").read_text())
    assert settings.reference == "angle:90"


def test_a_plate_is_tuned_without_a_run_in_the_channel_that_is_chosen(
    window: Window, plate: Path
) -> None:
    controls = window.tune()
    controls.enhance.native.click()
    assert "open a run or a plate first" in window.said
    controls.source.value = plate
    assert window.names == ["DAPI", "FISH", "cells", "nuclei"]
    controls.channel.value = "FISH"
    controls.enhance.native.click()
    window.settle()
    assert len(window.spots) > 20
    controls.sigma.value = 5.0
    window.settle()
    assert "press Enhance" in controls.result.value
    controls.sigma.value = 0.0
    window.settle()
    assert "spots" in controls.result.value
    controls.channel.value = "DAPI"  # what was found belongs to the other channel
    assert SPOTS not in window.names
    assert window.panel.found is None


def test_cancel_leaves_nothing_behind(window: Window, run: Path) -> None:
    window.drop(run)
    controls = window.tune()
    controls.enhance.native.click()
    controls.enhance.native.click()
    window.settle()
    assert controls.result.value.startswith("Stopped")
    assert controls.enhance.text == "Enhance"
    assert SPOTS not in window.names
    controls.enhance.native.click()
    window.settle()
    assert SPOTS in window.names


def test_errors_of_ours_are_notices(window: Window, run: Path, tmp_path: Path) -> None:
    for name in ("settings.toml", "provenance.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    assert window.drop(tmp_path) == []
    assert "let it finish" in window.said
    controls = window.tune()
    controls.source.value = tmp_path / "nothing"
    assert "nothing" in window.said
    controls.source.value = run
    controls.file.value = run / "settings.txt"
    controls.save.native.click()
    assert ".toml file" in window.said
    controls.file.value = run / "settings.toml"
    controls.save.native.click()
    assert "exists already" in window.said
