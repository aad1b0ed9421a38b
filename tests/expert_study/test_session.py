"""What an expert is asked and told: everything once, and nothing that gives away."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from deepspot_scale.errors import StudyError
from deepspot_scale.expert_study.access import Access
from deepspot_scale.expert_study.session import Session
from deepspot_scale.io.study_answers import read_answers
from deepspot_scale.io.study_comparisons import Comparison, Shown
from deepspot_scale.io.study_folder import read_choices, read_ratings

ACCESS = Access(bytes(range(32)))


@pytest.fixture
def rated(tmp_path: Path, write_small_study):
    """Session in which six images are rated."""
    with closing(Session(tmp_path, write_small_study(tmp_path), ACCESS)) as session:
        yield session


def compared(folder: Path, study, **changes) -> Session:
    shown = {
        name: Shown({"anna": 40.4 + k, "ben": 90.0}, "anna", 70.7 + k)
        for k, name in enumerate(study.images)
    }
    comparison = Comparison("judge", "JUDGE", "d", "label", shown, (5.5,))
    return Session(folder, study, ACCESS, replace(comparison, **changes))


def answer(session: Session, expert: str, value, **more):
    question = session.state(expert, more.pop("back", 0))["question"]
    said = {"question": question["id"], "revision": question["revision"]}
    return session.keep(expert, said | {"value": value, "milliseconds": 1500} | more)


def test_every_image_is_asked_once_and_kept_with_place_and_time(rated: Session) -> None:
    seen = []
    for number in range(6):
        state = rated.state("anna")
        assert (state["done"], state["total"]) == (number, 6)
        seen.append(state["question"]["id"])
        assert answer(rated, "anna", 10 * number)["done"] == number + 1
    assert len(set(seen)) == 6
    assert rated.state("anna")["question"] is None
    rows = read_answers(rated.folder)
    assert rows["score"].tolist() == [0, 10, 20, 30, 40, 50]
    assert rows["position"].tolist() == list(range(6))
    assert set(rows["milliseconds"]) == {1500}
    assert set(rows["image"]) == set(rated.study.images)


def test_an_unanswered_image_comes_again_and_an_answered_one_never(
    rated: Session,
) -> None:
    first = rated.state("anna")["question"]["id"]
    assert rated.state("anna")["question"]["id"] == first
    next_one = answer(rated, "anna", 5)["question"]["id"]
    after = Session(rated.folder, rated.study, ACCESS)
    with closing(after):
        assert after.state("anna")["question"]["id"] == next_one != first


def test_what_comes_next_is_told_beforehand(rated: Session) -> None:
    ahead = rated.state("anna")["ahead"]
    assert [answer(rated, "anna", 5)["question"]["id"]] == ahead


def test_an_answer_sent_twice_is_kept_once_and_the_kept_one_is_told(
    rated: Session,
) -> None:
    said = {"question": rated.state("anna")["question"]["id"], "value": 70}
    assert rated.keep("anna", said)["kept"]["value"] == 70
    again = rated.keep("anna", said | {"value": 30})
    assert again["kept"]["value"] == 70
    assert again["done"] == 1


def test_answers_are_corrected_one_after_the_other_and_the_old_ones_stay(
    rated: Session,
) -> None:
    for value in (10, 20, 30):
        answer(rated, "anna", value)
    assert rated.state("anna", 1)["question"]["value"] == 30
    second = rated.state("anna", 2)["question"]
    assert (second["value"], second["revision"]) == (20, 1)
    state = answer(rated, "anna", 25, back=2)
    assert (state["done"], state["back"]) == (3, 0)
    assert rated.state("anna", 2)["question"] == second | {"value": 25, "revision": 2}
    assert sorted(read_ratings(rated.folder)["score"]) == [10, 25, 30]
    history = read_answers(rated.folder, history=True)["score"]
    assert sorted(history) == [10, 20, 25, 30]
    assert rated.state("anna", 99)["back"] == 3


@pytest.mark.parametrize("mode", ["rate", "compare"])
def test_the_page_is_told_nothing_that_gives_away(
    tmp_path: Path, write_small_study, mode: str
) -> None:
    study = write_small_study(tmp_path)
    session = Session(tmp_path, study, ACCESS)
    if mode == "compare":
        session = compared(tmp_path, study)
    with closing(session):
        for _ in range(4):
            text = json.dumps(session.state("anna")).lower()
            hidden = ("secret", "b03", "plate", "target", "predict", "random", "judge")
            assert not [word for word in hidden if word in text]
            answer(session, "anna", "left" if mode == "compare" else 50)
            back = json.dumps(session.state("anna", 1)).lower()
            assert not [word for word in hidden if word in back]


def test_a_choice_is_kept_as_what_stood_there(
    tmp_path: Path, write_small_study
) -> None:
    with closing(compared(tmp_path, write_small_study(tmp_path))) as session:
        while question := session.state("anna")["question"]:
            # Of the network's arm the predicted score is the larger one.
            side = "left" if question["left"] > question["right"] else "right"
            assert answer(session, "anna", side)["kept"]["value"] == side
        assert session.state("anna", 1)["question"]["value"] in {"left", "right"}
    rows = read_choices(tmp_path)
    assert len(rows) == 12
    network = rows[rows["arm"] == "network"]
    assert set(network["choice"]) == {"predicted"}
    assert set(rows.loc[rows["arm"] == "random", "choice"]) == {"target"}
    assert (network["predicted"] - network["target"]).round(6).tolist() == [30.3] * 6
    assert rows["stands_left"].value_counts().to_dict() == {"target": 6, "predicted": 6}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("label", [40.4, 40.4, 40.4]), ("own", [40.4, 90.0, 40.4]), ("mean", [65.2] * 3)],
)
def test_the_target_is_that_of_the_label_the_expert_or_the_mean(
    tmp_path: Path, write_small_study, rule: str, expected: list[float]
) -> None:
    session = compared(tmp_path, write_small_study(tmp_path, 1), target=rule)
    with closing(session):
        for expert in ("anna", "ben", "cleo"):
            answer(session, expert, "discard")
    first = read_choices(tmp_path).query("arm == 'network' or arm == 'random'")
    assert first["target"].round(6).tolist() == expected


def test_scores_are_shown_as_whole_numbers(tmp_path: Path, write_small_study) -> None:
    session = compared(tmp_path, write_small_study(tmp_path, 1))
    with closing(session):
        question = session.state("anna")["question"]
        shown = {question["left"], question["right"]}
        assert shown <= {40, 71, 6}
        assert all(isinstance(score, int) for score in shown)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"value": 101}, "a score of 0 to 100"),
        ({"value": "70"}, "a score of 0 to 100"),
        ({"value": True}, "a score of 0 to 100"),
        ({"value": None}, "a score of 0 to 100"),
        ({"value": float("nan")}, "a score of 0 to 100"),
        ({"value": 50, "milliseconds": -1}, "milliseconds"),
        ({"value": 50, "milliseconds": 1.5}, "milliseconds"),
        ({"value": 50, "milliseconds": 10**30}, "milliseconds"),
        ({"value": 10**400}, "a score of 0 to 100"),
        ({"value": 50, "revision": 1}, "revision 1 of an answer of which 0"),
        ({"value": 50, "question": "0" * 32}, "no such question"),
        ({"value": 50, "question": None}, "no such question"),
    ],
)
def test_what_is_no_answer_is_refused(rated: Session, said, words: str) -> None:
    question = rated.state("anna")["question"]["id"]
    with pytest.raises(StudyError, match=words):
        rated.keep("anna", {"question": question} | said)
    assert read_answers(rated.folder).empty


def test_a_choice_is_one_of_four_words(tmp_path: Path, write_small_study) -> None:
    with closing(compared(tmp_path, write_small_study(tmp_path))) as session:
        for wrong in ("target", "predicted", 1, None, ["left"]):
            with pytest.raises(StudyError, match="expected left, right"):
                answer(session, "anna", wrong)


def test_a_question_of_one_comparison_is_none_of_another(
    tmp_path: Path, write_small_study
) -> None:
    study = write_small_study(tmp_path)
    with closing(compared(tmp_path, study)) as one:
        question = one.state("anna")["question"]["id"]
        answer(one, "anna", "left")
    with closing(compared(tmp_path, study, name="other")) as other:
        assert other.state("anna")["done"] == 0
        with pytest.raises(StudyError, match="no such question"):
            other.keep("anna", {"question": question, "value": "left"})


def test_nobody_answers_before_agreeing_to_the_text(
    tmp_path: Path, write_small_study
) -> None:
    study = write_small_study(tmp_path, consent="We keep what you say.")
    with closing(Session(tmp_path, study, ACCESS)) as session:
        assert session.state("anna")["consent"] == study.consent
        with pytest.raises(StudyError, match="consent"):
            answer(session, "anna", 50)
        assert session.agree("anna")["consent"] is None
        assert answer(session, "anna", 50)["done"] == 1
        assert session.state("ben")["consent"] == study.consent


def test_only_named_experts_take_part_where_some_are_named(
    tmp_path: Path, write_small_study
) -> None:
    study = write_small_study(tmp_path, experts=("anna",))
    session = Session(tmp_path, study, ACCESS)
    assert session.check("anna") == "anna"
    with pytest.raises(StudyError, match="ben does not take part"):
        session.check("ben")
    with pytest.raises(StudyError, match="no pseudonym"):
        Session(tmp_path, replace(study, experts=()), ACCESS).check("<b>")
