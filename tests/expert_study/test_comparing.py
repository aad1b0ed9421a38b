"""What is compared is frozen when it begins, and only what can be compared is."""

from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.errors import StudyError
from deepspot_scale.expert_study.comparing import (
    Choosing,
    Predicted,
    find_comparison,
    make_comparison,
)
from deepspot_scale.io.study_comparisons import list_comparisons

SCORES = {f"secret{k:03d}": 10.0 * k for k in range(6)}
PREDICTED = Predicted(SCORES, "JUDGE", "digest")


@pytest.fixture
def study(tmp_path: Path, write_small_study) -> Path:
    """Images of which anna has rated five, and ben four of these."""
    write_small_study(tmp_path)
    rows = [f"secret{k:03d},{20 + k},anna" for k in range(5)]
    rows += [f"secret{k:03d},{60 + k},ben" for k in range(4)]
    (tmp_path / "scores.csv").write_text("\n".join(["image,score,expert", *rows]))
    return tmp_path


def test_images_with_both_scores_are_compared(study: Path) -> None:
    made = make_comparison(study, PREDICTED, Choosing())
    assert sorted(made.images) == [f"secret{k:03d}" for k in range(5)]
    shown = made.images["secret003"]
    assert dict(shown.scores) == {"anna": 23, "ben": 63}
    assert shown.label in shown.scores
    assert (shown.predicted, made.random_of("secret003", "anna")) == (30.0, None)
    assert list_comparisons(study) == {made.name: made}


def test_the_same_command_takes_up_what_was_begun_though_ratings_came_in(
    study: Path,
) -> None:
    made = make_comparison(study, PREDICTED, Choosing())
    with (study / "scores.csv").open("a") as file:
        file.write("\nsecret005,99,anna")
    assert make_comparison(study, PREDICTED, Choosing()) == made
    other = make_comparison(study, PREDICTED, Choosing("mean"))
    assert other.name != made.name
    assert len(other.images) == 6
    assert find_comparison(study, made.name) == made
    assert find_comparison(study, None) == other


def test_one_labelling_expert_gives_all_targets(study: Path) -> None:
    made = make_comparison(study, PREDICTED, Choosing(labeller="ben"))
    assert sorted(made.images) == [f"secret{k:03d}" for k in range(4)]
    assert made.target_of("secret001", "cleo") == 61


def test_random_scores_are_drawn_from_the_experts_scores(
    tmp_path: Path, write_small_study
) -> None:
    write_small_study(tmp_path, 60, 8)
    names = [f"secret{k:03d}" for k in range(60)]
    rows = [f"{name},{10 * (k % 3)}" for k, name in enumerate(names)]
    (tmp_path / "scores.csv").write_text("\n".join(["image,score", *rows]))
    given = Predicted(dict.fromkeys(names, 50.0), "J", "d")
    made = make_comparison(tmp_path, given, Choosing(baseline=True))
    drawn = [made.random_of(name, "anna") for name in names]
    assert drawn == [made.random_of(name, "anna") for name in names]
    assert drawn != [made.random_of(name, "ben") for name in names]
    assert np.unique(drawn).tolist() == [0, 10, 20]
    assert np.unique(drawn, return_counts=True)[1].min() > 10


@pytest.mark.parametrize(
    ("scores", "choosing", "words"),
    [
        ({"secret000": 101.0}, Choosing(), "is not 0 to 100"),
        ({"secret000": float("nan")}, Choosing(), "is not 0 to 100"),
        ({"nothing": 50.0}, Choosing(), "1 images that the study has not"),
        ({"secret005": 50.0}, Choosing(), "no image has a score of JUDGE and of"),
        (SCORES, Choosing(labeller="cleo"), "cleo has rated no image; anna, ben have"),
        ({"secret004": 5.0}, Choosing(labeller="ben"), "no image has a predicted"),
    ],
)
def test_what_cannot_be_compared_is_an_error(
    study: Path, scores, choosing: Choosing, words: str
) -> None:
    with pytest.raises(StudyError, match=words):
        make_comparison(study, Predicted(scores, "JUDGE", "digest"), choosing)


def test_without_ratings_or_comparisons_the_next_step_is_told(
    tmp_path: Path, write_small_study
) -> None:
    write_small_study(tmp_path)
    with pytest.raises(StudyError, match="rate images first"):
        make_comparison(tmp_path, PREDICTED, Choosing())
    with pytest.raises(StudyError, match="rate compare --model"):
        find_comparison(tmp_path, None)
