"""The report says what made the cells, and what of them is not sure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from deepspot_scale.io.tables import Folder
from deepspot_scale.report.label_sources import label_sentences
from deepspot_scale.runs.results import RunResults
from deepspot_scale.settings import make_settings


def _run(
    provenance: dict[str, Any], counts: dict[str, int], **given: Any
) -> RunResults:
    places = {"row": ["B", "C"], "column": ["02", "03"], "field": ["0", "1"]}
    fields = pd.DataFrame({**places, "status": ["done", "done"]})
    for name, n in counts.items():
        fields[name] = np.array([n, n])
    settings = make_settings(**{"channels": ["FISH"], **given})
    return RunResults(Folder("."), settings, provenance, fields)


def test_stored_labels_are_named_and_escaped() -> None:
    run = _run({}, {}, cells="a<b", nuclei="nuclei")
    assert list(label_sentences(run)) == [
        "Cells (a&lt;b) and nuclei (nuclei) are labels that were stored with the "
        "images."
    ]


def test_a_run_without_labels_says_nothing() -> None:
    assert list(label_sentences(_run({}, {}))) == []


def test_the_network_and_its_weights_are_named_and_doubts_counted() -> None:
    counts = {"n_segmented_nuclei": 40, "n_cells_grown": 3, "n_unsized": 1}
    counts |= {"n_unlike": 2}
    weights = {"nuclei": {"name": "nuclei", "sha256": "0123456789abcdef"}}
    run = _run(weights, counts, segments=["nuclei:DAPI", "cells:FISH"])
    made, unsized, unlike, cells, grown = label_sentences(run)
    assert made == (
        "80 nuclei were segmented in this run, in DAPI, by the network nuclei "
        "(01234567)."
    )
    assert unsized.startswith("In 2 images of DAPI the size of nuclei could not")
    assert unlike.startswith("4 images of DAPI are unlike those that the network")
    assert cells == "Cells were segmented in this run, in FISH, out from the nuclei."
    assert grown.startswith("6 cells of them are nuclei grown by a distance alone")
    assert "no cytoplasm there (fields B/02/0, C/03/1): read" in grown


def test_cells_of_two_channels_are_not_twice_as_many() -> None:
    counts = {"n_segmented_cells": 14, "n_cut_cells": 2}
    given = {"segments": ["cells:module:find@DAPI"], "channels": ["FISH", "DAPI"]}
    made, cut = label_sentences(_run({}, counts, **given))
    assert made.startswith("14 cells were segmented in this run, in DAPI, by the plug-")
    assert "module:find" in made
    assert cut.startswith("2 cells may be cut")
