"""The report of a study: one page that loads nothing, and escapes what users wrote."""

from contextlib import closing
from pathlib import Path

import pytest

from deepspot_scale.errors import StudyError
from deepspot_scale.expert_study.access import Access
from deepspot_scale.expert_study.report import write_report
from deepspot_scale.expert_study.session import Session
from deepspot_scale.io.study_comparisons import Comparison, Shown, write_comparison

MODEL = "<script>alert(1)</script>"


def answer_all(session: Session, expert: str, said: str, n: int) -> None:
    for _ in range(n):
        question = session.state(expert)["question"]["id"]
        session.keep(expert, {"question": question, "value": said})


@pytest.fixture
def study(tmp_path: Path, write_small_study) -> Path:
    """Study that anna has compared, and ben in part."""
    study = write_small_study(tmp_path)
    scores = "\n".join(f"{name},{15 * k},lab" for k, name in enumerate(study.images))
    (tmp_path / "scores.csv").write_text(f"image,score,expert\n{scores}\n")
    shown = {
        name: Shown({"lab": 15.0 * k}, "lab", 50.0)
        for k, name in enumerate(study.images)
    }
    comparison = Comparison("j", MODEL, "d", "label", shown, (20.0,), "One note.")
    write_comparison(tmp_path, comparison)
    session = Session(tmp_path, study, Access(bytes(32)), comparison)
    with closing(session):
        answer_all(session, "anna", "left", 12)
        answer_all(session, "ben", "equivalent", 5)
    return tmp_path


def test_the_report_has_tables_intervals_and_what_is_unfinished(study: Path) -> None:
    write_report(study, study / "r.html")
    text = (study / "r.html").read_text()
    for words in (
        "confusion, network",
        "domination, random",
        "random, simulated",
        "undefined",
        "One note.",
        "Not all have finished: ben (5)",
        "2 experts, 17 choices of 12 each",
        "<td>lab</td>",
    ):
        assert words in text, words
    assert MODEL not in text
    assert "&lt;script&gt;" in text
    assert 'src="http' not in text
    assert text.count("data:image/svg+xml;base64") == 1
    write_report(study, study / "again.html")
    assert (study / "again.html").read_text() == text


def test_a_study_that_nobody_has_answered_says_so(
    tmp_path: Path, write_small_study
) -> None:
    write_small_study(tmp_path)
    write_report(tmp_path, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "Nobody has rated images yet." in text
    assert "Nobody has compared scores yet." in text
    assert "6 images of FISH, from PLATE.zarr" in text
    with pytest.raises(StudyError):
        write_report(tmp_path / "nothing", tmp_path / "r.html")
