"""Profiles as they are drawn: the null is the diagonal, and bands are over wells."""

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.report.radial_curves import Profiles, draw_profiles, profile_words

WAY = np.linspace(0, 1, 11)


def profile(condition, share, n_wells=3):
    names = {"channel": "RNA", "acquisition": 0, "t": 0, "z": 0, "gene": ""}
    half = 0.05 if n_wells > 1 else np.nan
    table = pd.DataFrame({"way": WAY, "share": share, "null": WAY**2})
    table = table.assign(low=table["share"] - half, high=table["share"] + half)
    return table.assign(condition=condition, **names, n_cells=40, n_wells=n_wells)


def test_even_spots_are_drawn_on_the_diagonal_of_the_right_panel():
    table = pd.concat([profile("even", WAY**2), profile("inner", WAY, 1)])
    left, right = draw_profiles(table).axes
    even, inner, diagonal = right.lines
    assert even.get_xdata() == pytest.approx(even.get_ydata())
    assert (inner.get_ydata()[1:-1] > inner.get_xdata()[1:-1]).all()
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    assert len(right.collections) == len(left.collections) == 1  # one well: no band
    words = [text.get_text() for text in right.get_legend().get_texts()]
    assert words[:2] == ["even (40 cells, 3 wells)", "inner (40 cells, 1 well)"]


def test_cells_that_are_left_out_are_counted_in_words():
    words = profile_words(Profiles(pd.DataFrame(), 3, 1), 10)
    assert "3 cells with fewer than 10 such spots" in words
    assert "1 cell without a nucleus" in words
    assert "Left out" not in profile_words(Profiles(pd.DataFrame(), 0, 0), 10)
