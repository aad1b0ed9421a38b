"""Labels of a run: those that it made are read as those that were stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.runs.made_labels import label_names, with_made
from deepspot_scale.runs.results import RunResults, open_results

FIELDS = ("B/03/0", "B/03/1")
NOTHING: dict[str, Any] = {"cells": None, "nuclei": None}


@pytest.fixture(scope="module")
def bare_plate(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> str:
    """A plate of two fields without labels, and one without an image."""
    target = tmp_path_factory.mktemp("bare") / "plate.zarr"
    scenes = {path: draw_scene(n, n=60) for n, path in enumerate(FIELDS)}
    return write_plate(target, scenes, masks=(), listed=("C/04/0",))


@pytest.fixture(scope="module")
def made(
    bare_plate: str,
    tmp_path_factory: pytest.TempPathFactory,
    run_quickly: Callable[..., Any],
    tissue: str,
) -> RunResults:
    """A run that makes cells and nuclei, on both channels."""
    out = tmp_path_factory.mktemp("made") / "run"
    both = ("DAPI", "FISH")
    given = {"channels": both, "colocalise": ("DAPI:FISH",)}
    run_quickly(bare_plate, out, stages=(tissue,), **given, **NOTHING)
    return open_results(out)


def test_cells_and_nuclei_come_first_whoever_made_them(made: RunResults) -> None:
    assert label_names(made) == {"cells": "cells", "nuclei": "nuclei"}
    assert list(label_names(made)) == ["cells", "nuclei"]


def test_made_labels_are_read_as_stored_ones_are(
    made: RunResults, draw_scene: Callable[..., Any]
) -> None:
    field = with_made(made, made.plate.open(FIELDS[0]))
    window = (slice(30, 100), slice(5, 140))
    for name in ("cells", "nuclei"):
        truth = getattr(draw_scene(0), name)
        for z in (0, "max"):
            read = field.read_labels(name, z=z, window=window)
            np.testing.assert_array_equal(read, truth[window])
        lazy = field.to_datasets()[f"labels/{name}"]["labels"]
        assert lazy.dims == ("y", "x")
        np.testing.assert_array_equal(lazy.compute(), truth)


def test_a_failed_field_has_no_made_labels(made: RunResults) -> None:
    field = made.plate.open(FIELDS[0])
    left = made.only([FIELDS[1]])
    assert with_made(left, field).label_names == ()


def test_made_cells_give_the_tables_that_stored_ones_give(
    made: RunResults,
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> None:
    scenes = {path: draw_scene(n, n=60) for n, path in enumerate(FIELDS)}
    plate = write_plate(tmp_path / "plate.zarr", scenes)
    given = {"channels": ("DAPI", "FISH"), "colocalise": ("DAPI:FISH",)}
    run_quickly(plate, tmp_path / "run", **given)
    stored = open_results(tmp_path / "run")
    for name in ("spots", "cells", "pairs", "cell_pairs"):
        pd.testing.assert_frame_equal(made.read(name), stored.read(name))
    one, other = (run.summaries["colocalisation"] for run in (made, stored))
    pd.testing.assert_frame_equal(one, other)
    assert (made.read("spots")["cell"] > 0).any()
    assert len(made.read("cell_pairs")) == 12  # cells of two fields


def test_a_made_layer_of_the_name_of_stored_labels_gets_another(
    made: RunResults, draw_scene: Callable[..., Any]
) -> None:
    named = made.settings.model_copy(update={"cells": "nuclei"})
    swapped = RunResults(made.folder, named, made.provenance, made.fields)
    assert label_names(swapped) == {"cells": "nuclei", "nuclei": "nuclei_made"}
    field = with_made(swapped, made.plate.open(FIELDS[0]))
    np.testing.assert_array_equal(
        field.read_labels("nuclei_made"), draw_scene(0).nuclei
    )
