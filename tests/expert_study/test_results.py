"""What a study says, beside chance and simulated experts."""

import csv
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import StudyError
from deepspot_scale.expert_study.results import (
    compute_results,
    error_between,
    paper_table,
    read_results,
    simulate_baseline,
    summarise_ratings,
    write_answers,
)
from deepspot_scale.io.study_answers import SCORE, Answer, AnswerFile
from deepspot_scale.io.study_comparisons import Comparison, Shown
from deepspot_scale.simulation.experts import Expert
from deepspot_scale.statistics.expected_choices import expect_measures
from deepspot_scale.statistics.expert_choices import ALL

N_EXPERTS, N_IMAGES = 12, 150


@pytest.fixture(scope="module")
def asked():
    """Comparison with a network as good as the expert; choices of twelve experts."""
    rng = np.random.default_rng(0)
    true = rng.uniform(10, 90, N_IMAGES)
    label, network = (np.clip(true + rng.normal(0, 10, N_IMAGES), 0, 100) for _ in "ab")
    images = {
        f"i{k}": Shown({"lab": label[k]}, "lab", network[k]) for k in range(N_IMAGES)
    }
    comparison = Comparison("j", "J", "d", "label", images, tuple(label))
    rows = []
    for number in range(N_EXPERTS):
        random = [comparison.random_of(image, f"e{number}") for image in images]
        for arm, predicted in (("network", network), ("random", np.array(random))):
            chosen = Expert(10).choose(rng, true, (label, predicted))
            rows.append(
                pd.DataFrame(
                    {
                        "comparison": "j",
                        "arm": arm,
                        "image": list(images),
                        "expert": f"e{number}",
                        "choice": chosen,
                        "target": label,
                        "predicted": predicted,
                    }
                )
            )
    choices = pd.concat(rows, ignore_index=True)
    return comparison, choices


def test_chance_is_that_of_as_many_choices_as_there_are(asked) -> None:
    results = compute_results(*asked)
    rows = results.averages.set_index(["arm", "bin", "measure"])
    whole = rows.loc[("network", ALL, "confusion")]
    assert whole["chance"] == pytest.approx(expect_measures(N_IMAGES, 0.5, 0.5)[0])
    assert whole["chance"] < 0.94
    for name in ("20-40", "40-60"):
        row = rows.loc[("network", name, "confusion")]
        assert row["low"] - 0.1 < row["chance"] < 0.9
    assert np.isnan(rows.loc[("network", ALL, "domination"), "chance"])


def test_simulated_experts_beat_random_scores_as_the_asked_ones_do(asked) -> None:
    comparison, choices = asked
    drawn = simulate_baseline(comparison, choices)
    assert not drawn.measured  # one expert alone has rated
    simulated = drawn.averages.set_index(["bin", "measure"])
    rows = compute_results(comparison, choices).averages
    told = rows[rows["arm"] == "random"].set_index(["bin", "measure"])
    for name in ("confusion", "domination", "win_share"):
        mean = simulated.loc[(ALL, name), "mean"]
        assert mean == pytest.approx(told.loc[(ALL, name), "mean"], abs=0.06)
        low, high = simulated.loc[(ALL, name), ["low", "high"]]
        assert low < mean < high
    assert simulated.loc[(ALL, "domination"), "mean"] < 0.3


def test_the_error_between_experts_is_that_of_the_study_where_it_can_be_measured(
    asked,
) -> None:
    rng, (_, choices) = np.random.default_rng(1), asked
    images = {
        f"i{k}": Shown({e: 50 + rng.normal(0, 7) for e in "ab"}, "a", 50.0)
        for k in range(N_IMAGES)
    }
    drawn = simulate_baseline(Comparison("j", "J", "d", "label", images), choices)
    assert drawn.measured
    assert drawn.error == pytest.approx(7, abs=0.8)
    assert np.isnan(error_between({"a": [5.0]}))


def test_the_table_of_the_paper_has_a_row_for_each_bin_and_both_arms(asked) -> None:
    table = paper_table(compute_results(*asked))
    bins = table["target"].str.replace("\u00a0", " ")
    assert bins.tolist() == [
        *("0-20 %", "20-40 %", "40-60 %", "60-80 %", "80-100 %", "all")
    ]
    columns = ["confusion, network", "confusion, random", "domination, network"]
    assert set(columns) <= set(table.columns)
    mean, sd = table.iloc[-1]["domination, network"].split(" ± ")
    assert 40 < int(mean) < 60
    assert 0 < int(sd) < 15


def test_answers_to_a_comparison_that_is_not_there_are_an_error(
    tmp_path: Path, write_small_study
) -> None:
    write_small_study(tmp_path)
    assert read_results(tmp_path) == []
    with closing(AnswerFile(tmp_path)) as file:
        lost = Answer("a", "choice", "x", "network", "secret000", 0, choice="discard")
        file.keep(lost)
    with pytest.raises(StudyError, match="not there: x"):
        read_results(tmp_path)


def test_how_experts_rate_is_measured_against_the_others(
    tmp_path: Path, write_small_study
) -> None:
    write_small_study(tmp_path)
    lines = ["secret000,40,anna", "secret001,60,anna", "secret000,50,ben"]
    (tmp_path / "scores.csv").write_text("\n".join(["image,score,expert", *lines]))
    rows = summarise_ratings(tmp_path).set_index("expert")
    assert rows.loc["anna", ["n_images", "mean", "n_shared"]].tolist() == [2, 50, 1]
    assert rows.loc["anna", ["difference", "rmse"]].tolist() == [-10, 10]
    assert np.isnan(rows.loc["ben", "sd"])


def test_answers_are_exported_with_where_images_are_from(
    tmp_path: Path, write_small_study
) -> None:
    write_small_study(tmp_path)
    with closing(AnswerFile(tmp_path)) as file:
        first = Answer("anna", SCORE, "", "", "secret001", 0, score=70.0, time=86400.0)
        file.keep(first)
        file.keep(Answer("anna", SCORE, "", "", "secret001", 1, score=55.0))
    for history, scores in ((False, ["55"]), (True, ["70", "55"])):
        write_answers(tmp_path, tmp_path / "a.csv", history=history)
        with (tmp_path / "a.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["score"] for row in rows] == scores
        assert {(row["well"], row["field"]) for row in rows} == {("B03", "B/03/0")}
    assert rows[0]["time"] == "1970-01-02T00:00:00Z"
