"""The simulated study runs from its plate to its tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.rating_study import Scale, run_study
from deepspot_scale.statistics.expert_choices import ALL


def test_a_small_study_tells_a_better_network_from_a_worse_one(tmp_path: Path) -> None:
    table = run_study(tmp_path, Scale(images=12, experts=2))
    rows = table[(table["bin"] == ALL) & (table["arm"] == "network")]
    value = rows.set_index(["measure", "network"])["mean"]
    expected = rows.set_index(["measure", "network"])["expected"]
    assert value["domination", "better"] > value["domination", "worse"]
    assert expected["domination", "better"] > 0.5 > expected["domination", "worse"]
    assert np.abs(value - expected).max() < 0.35
    assert (tmp_path / "STUDY/report.html").is_file()
