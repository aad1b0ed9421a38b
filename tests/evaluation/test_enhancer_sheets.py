"""Enhancers have sheets of the same shape as other models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from deepspot_scale.evaluation.datasets import Sample
from deepspot_scale.evaluation.enhancer_sheets import name_of, seen_by
from deepspot_scale.evaluation.evaluate import Terms, evaluate
from deepspot_scale.kernels.normalisation import SCALES
from deepspot_scale.networks.weights import find_weights


def test_the_sheet_holds_what_the_tables_say(tmp_path: Path) -> None:
    terms = Terms(sample=Sample(images=4))
    result = evaluate(["deepspot-fast"], ["broad", "empty"], tmp_path, terms)
    (sheet,) = result.sheets
    images = pd.read_csv(tmp_path / "images.csv")
    scores = sheet.summary.set_index("measure")
    mean = images["f1_one_to_one"].mean()
    np.testing.assert_allclose(scores.loc["f1_one_to_one", "value"], mean, atol=1e-5)
    assert len(sheet.images) == len(sheet.domain.table) == 8
    assert set(sheet.domain.table["image"]) == set(sheet.images["image"])
    page = result.sheet.read_text("utf-8")
    assert "F1, a detection serves one spot at most" in page
    assert (tmp_path / "scores.json").is_file()
    assert result.report.is_file()


def test_a_name_says_each_word_once() -> None:
    line = {"data": "broad", "set": "broad", "image": "0001"}
    assert name_of(line) == "broad/0001"
    assert name_of(line | {"set": "var_50"}) == "broad/var_50/0001"


def test_the_network_sees_scaled_pixels_of_the_middle_plane() -> None:
    stack = np.random.default_rng(0).poisson(100, (3, 64, 64)).astype(np.uint16)
    for model, scale in (("deepspot", "quantile"), ("deepspot-fast", "noise")):
        seen = seen_by(find_weights(model))
        expected = SCALES[scale](stack[1])(stack[1])
        np.testing.assert_array_equal(seen(stack), expected)
