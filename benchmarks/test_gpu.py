"""A rehearsal of the GPU program on CPUs: small, but every part of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import recipe_for
from deepspot_scale.networks.weights import find_weights, shipped_models

ENHANCING = sorted(m for m in shipped_models() if m.startswith("deepspot"))
"""The models that the GPU program trains."""


@pytest.mark.parametrize("model", ENHANCING)
@pytest.mark.parametrize("tiny", [False, True])
def test_every_shipped_model_that_enhances_can_be_trained_on(
    model: str, tiny: bool
) -> None:
    recipe, weights = recipe_for(model, 5, tiny=tiny), find_weights(model)
    assert recipe.architecture == weights.architecture
    assert recipe.start_from == model
    assert recipe.batch < 10 if tiny else 90 <= recipe.batch <= 96


@pytest.mark.cluster
def test_a_rehearsal_leaves_rows_and_weights(tmp_path: Path) -> None:
    pytest.importorskip("keras")
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--out", str(tmp_path)]
    subprocess.run(
        [*command, "--model", "deepspot-fast", "--minutes", ".1"], check=True
    )
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row.get("what") for row in rows[:3]] == ["machine", "parity", "training"]
    assert rows[1]["largest"] < 1e-4
    assert rows[2]["steps"] >= 1
    assert len(rows) == 5  # the bare network and whole runs
    trained = find_weights(tmp_path / "deepspot-fast.safetensors")
    assert trained.architecture == find_weights("deepspot-fast").architecture
