"""Confusion and domination: counted by hand, averaged over experts, with intervals."""

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.statistics.expert_choices import (
    ALL,
    BINS,
    average_experts,
    bin_of,
    count_choices,
    interval_over_experts,
)


def choices(*rows) -> pd.DataFrame:
    """Rows of (expert, target, choices by first letter)."""
    words = {"t": "target", "p": "predicted", "e": "equivalent", "d": "discard"}
    lines = [
        ("network", expert, words[letter], target)
        for expert, target, letters in rows
        for letter in letters
    ]
    return pd.DataFrame(lines, columns=["arm", "expert", "choice", "target"])


def test_measures_of_one_expert_are_those_by_hand() -> None:
    counts = count_choices(choices(("anna", 10.0, "tttpped"), ("anna", 50.0, "pp")))
    rows = counts.set_index("bin")
    assert rows.index.tolist() == ["0-20", "40-60", ALL]
    first = rows.loc["0-20"]
    assert first[
        ["n_target", "n_predicted", "n_equivalent", "n_discard", "n"]
    ].tolist() == [3, 2, 1, 1, 6]
    assert first["confusion"] == pytest.approx(1 - 1 / 6)
    assert first["domination"] == pytest.approx(2 / 5)
    assert first["win_share"] == pytest.approx(2 / 6)
    # All together is counted anew: 4 predicted against 3 targets of 8.
    assert rows.loc[ALL, "confusion"] == pytest.approx(1 - 1 / 8)
    assert rows.loc[ALL, "domination"] == pytest.approx(4 / 7)


def test_edges_belong_to_the_bin_above_and_100_to_the_last() -> None:
    targets = np.array([0.0, 19.999, 20, 40, 60, 79.9, 80, 100])
    assert [BINS[k] for k in bin_of(targets)] == [
        *("0-20", "0-20", "20-40", "40-60"),
        *("60-80", "60-80", "80-100", "80-100"),
    ]


def test_an_expert_without_a_preference_leaves_the_mean_of_domination_alone() -> None:
    table = choices(("anna", 10, "tp"), ("ben", 10, "ee"), ("cleo", 10, "dd"))
    rows = average_experts(count_choices(table)).set_index(["bin", "measure"])
    domination = rows.loc[("0-20", "domination")]
    assert domination["mean"] == 0.5
    assert domination[["n_experts", "n_undefined", "n", "n_discard"]].tolist() == [
        *(1, 2, 4, 2)
    ]
    assert np.isnan(domination["sd"])
    confusion = rows.loc[("0-20", "confusion")]
    assert confusion[["mean", "n_experts", "n_undefined"]].tolist() == [1.0, 2, 1]


def test_means_are_over_experts_and_not_of_pooled_choices() -> None:
    table = choices(("anna", 90, "t" * 8), ("ben", 90, "pp"))
    rows = average_experts(count_choices(table)).set_index(["bin", "measure"])
    assert rows.loc[("80-100", "domination"), "mean"] == 0.5  # pooled: 0.2
    assert rows.loc[("80-100", "domination"), "sd"] == pytest.approx(np.sqrt(0.5))
    assert rows.loc[("80-100", "confusion"), "mean"] == 0.0  # pooled: 0.4


def test_no_choices_give_tables_without_rows() -> None:
    counts = count_choices(choices())
    assert counts.empty
    assert average_experts(counts).empty


def test_the_interval_holds_the_mean_of_all_experts_in_95_of_100_studies() -> None:
    rng = np.random.default_rng(0)
    p, n, held = 0.6, 30, 0
    for _ in range(1000):
        own = rng.binomial(n, p, 6) / n
        low, high = interval_over_experts(own, 400, rng)
        held += low <= p <= high
    assert 0.93 <= held / 1000 <= 0.97


def test_one_expert_has_no_interval() -> None:
    rng = np.random.default_rng(0)
    assert np.isnan(interval_over_experts(np.array([0.5]), 100, rng)).all()
    assert np.isnan(interval_over_experts(np.array([0.5, 1]), 0, rng)).all()
