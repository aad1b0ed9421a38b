"""A run with every kind of field, and the content of its tables."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.simulation.stacks import StackKind, simulate_stack
from deepspot_scale.tables import table_of
from deepspot_scale.vocabulary import LOCALISATIONS

ORDINARY, SPOTLESS, BARE, LOST = "B/03/0", "B/03/1", "C/04/0", "C/05/0"


@dataclass(frozen=True)
class Screen:
    """A plate and a run on it."""

    plate: Path
    run: Path
    outcome: Any

    def copy(self, folder: Path) -> Screen:
        """Return a copy that a test may write into."""
        plate = Path(shutil.copytree(self.plate, folder / self.plate.name))
        run = Path(shutil.copytree(self.run, folder / "run"))
        old = str(self.plate)
        facts = run / "provenance.json"
        facts.write_text(facts.read_text().replace(old, str(plate)))
        return Screen(plate, run, self.outcome)

    @property
    def images(self) -> dict[str, bytes]:
        """All files of the plate that are no tables and no sectors, by path."""
        return {
            str(path.relative_to(self.plate)): path.read_bytes()
            for path in self.plate.rglob("*")
            if path.is_file() and not {"tables", "sectors"} & set(path.parts)
        }


def _make_screen(
    folder: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    **options: Any,
) -> Screen:
    """Run on four fields: ordinary, without spots, without cells, without image."""
    scene = draw_scene(0, n=60)
    blank = np.full_like(scene.image, 100)
    none = np.zeros_like(scene.cells)
    scenes = {
        ORDINARY: scene,
        SPOTLESS: replace(draw_scene(1), image=blank),
        BARE: replace(draw_scene(2), cells=none, nuclei=none),
    }
    version = options.pop("version", "0.5")
    target = folder / "plate.zarr"
    plate = write_plate(target, scenes, listed=(LOST,), version=version)
    wells = folder / "wells.csv"
    wells.write_text("well,condition,gene,replicate\nB3,migrating,RAB13,1\n")
    given = {"plate_map": str(wells), "reference": "point:-500,40"} | options
    outcome = run_quickly(plate, folder / "run", **given)
    return Screen(target, folder / "run", outcome)


@pytest.fixture(scope="session")
def make_screen() -> Callable[..., Screen]:
    """Run on four fields: ordinary, without spots, without cells, without image."""
    return _make_screen


@pytest.fixture(scope="session")
def screen(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Screen:
    """A run with cells, on one channel; never changed."""
    folder = tmp_path_factory.mktemp("exported")
    return _make_screen(folder, draw_scene, write_plate, run_quickly)


@pytest.fixture
def own_screen(screen: Screen, tmp_path: Path) -> Screen:
    """A copy of it that a test may change."""
    return screen.copy(tmp_path)


@pytest.fixture(scope="session")
def two_channels(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Screen:
    """The same on both channels; never changed."""
    folder = tmp_path_factory.mktemp("exported")
    both = ("DAPI", "FISH")
    return _make_screen(folder, draw_scene, write_plate, run_quickly, channels=both)


@pytest.fixture(scope="session")
def without_cells(
    screen: Screen, tmp_path_factory: pytest.TempPathFactory, run_quickly: Any
) -> Screen:
    """A run on the same plate without cells; never changed."""
    run = tmp_path_factory.mktemp("cell-less") / "run"
    outcome = run_quickly(str(screen.plate), run, cells=None, nuclei=None)
    return Screen(screen.plate, run, outcome)


@pytest.fixture(scope="session")
def movie(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Screen:
    """One field of two time points and three planes, planes projected."""
    folder = tmp_path_factory.mktemp("movie")
    first, second = draw_scene(3), draw_scene(4)
    dark = np.full_like(first.image, 100)
    times = [np.stack([dark, s.image, dark], axis=1) for s in (first, second)]
    scene = replace(first, image=np.stack(times))
    plate = write_plate(folder / "plate.zarr", {ORDINARY: scene}, z_step_um=0.5)
    outcome = run_quickly(plate, folder / "run")
    return Screen(folder / "plate.zarr", folder / "run", outcome)


@pytest.fixture(scope="session")
def volume(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Screen:
    """A run on a volume of nine planes with flat cells; never changed."""
    folder = tmp_path_factory.mktemp("volume")
    truth = simulate_stack(StackKind((9, 128, 160), spots=60, peak=25.0), 2)
    fish = truth.image.astype(np.uint16)
    scene = replace(draw_scene(5), image=np.stack([fish // 2, fish]))
    plate = write_plate(folder / "plate.zarr", {ORDINARY: scene}, z_step_um=0.3)
    given = {"enhance": True, "model": "deepspot-fast", "volume": True}
    outcome = run_quickly(plate, folder / "run", **given)
    return Screen(folder / "plate.zarr", folder / "run", outcome)


@pytest.fixture(scope="session")
def sum_by_sector() -> Callable[[Any, int], list[int]]:
    """Add up one cell's bins degree by degree, sector 0 about degree 0."""

    def add(bins: Any, n_sectors: int) -> list[int]:
        sums = [0] * n_sectors
        for degree, count in enumerate(bins):
            turned = (degree + 0.5) / 360 * n_sectors
            sums[int(turned + 0.5) % n_sectors] += int(count)
        return sums

    return add


def _draw_localisations(
    seed: int, *, n: int = 200, n_frames: int = 20, camera: bool = True
) -> pd.DataFrame:
    """Draw molecules of a movie of 64 x 48 pixels of 100 nm (x, y)."""
    rng = np.random.default_rng(seed)
    unknown = np.full(n, np.nan)
    photons = rng.normal(2000, 200, n)
    words = dict.fromkeys(("row", "column", "field", "channel"), np.full(n, "", object))
    values = {
        **words,
        "frame": np.sort(rng.integers(0, n_frames, n)),
        "x_nm": rng.uniform(60, 6400, n),
        "y_nm": rng.uniform(60, 4800, n),
        "z_nm": unknown,
        "intensity": 2 * photons,
        "photons": photons if camera else unknown,
        "background": rng.normal(140, 3, n),
        "background_photons": rng.normal(20, 1, n) if camera else unknown,
        "sigma_nm": np.full(n, 110.0),
        "uncertainty_nm": rng.uniform(5, 15, n) if camera else unknown,
        "uncertainty_z_nm": unknown,
        "certainty": rng.uniform(0, 1, n),
        "n_frames": np.ones(n),
    }
    return table_of(values, LOCALISATIONS)


@pytest.fixture(scope="session")
def draw_localisations() -> Callable[..., pd.DataFrame]:
    """Draw a table of localisations."""
    return _draw_localisations
