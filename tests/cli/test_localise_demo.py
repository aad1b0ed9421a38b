"""The demonstration of localisation: a simulated movie, a run, a picture."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

import deepspot_scale as ds
from deepspot_scale import demo_movie
from deepspot_scale.cli import main
from deepspot_scale.evaluation.localisation_matching import MatchTerms, match_molecules
from deepspot_scale.evaluation.localisation_truth import read_molecules
from deepspot_scale.runs.movie_parts import iter_segments, list_movies


def test_the_demonstration_finds_most_molecules_of_its_movie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo_movie, "FRAMES", 24)
    words = ["deepspot-scale", "localise", "--demo", "--out", str(tmp_path / "RUN")]
    words += ["--notify", f'echo "$DEEPSPOT_STATUS" > {tmp_path / "told"}']
    monkeypatch.setattr(sys, "argv", words)
    assert call() == 0
    assert (tmp_path / "told").read_text() == "done\n"
    assert "report.html" in capsys.readouterr().out
    results = ds.open_run(tmp_path / "RUN")
    (movie,) = list_movies(results)
    found = pd.concat(iter_segments(results, movie))
    truth = read_molecules(tmp_path / "RUN.truth.csv")
    score = match_molecules(found, truth, MatchTerms(tolerance_nm=100))
    assert score.precision > 0.7
    assert score.recall > 0.6
    median = truth["photons"].median()
    assert found["photons"].median() == pytest.approx(median, rel=0.3)
    # Again: everything is done, and another movie is not written over.
    assert call() == 0
    black = np.zeros((5, 64, 64), np.uint16)
    tifffile.imwrite(tmp_path / "RUN.tif", black, imagej=True)
    assert call() == 2
    assert "holds other frames" in capsys.readouterr().err
    assert (tmp_path / "told").read_text() == "error\n"


def call() -> int:
    """Return the exit code of the command."""
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
