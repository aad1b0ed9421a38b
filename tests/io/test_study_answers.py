"""Answers are kept once, whatever is sent twice, and corrected ones are not lost."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from deepspot_scale.errors import StudyError
from deepspot_scale.io.study_answers import (
    ANSWERS,
    CHOICE,
    SCORE,
    Answer,
    AnswerFile,
    read_answers,
)

FIRST = Answer("anna", SCORE, "", "", "a", 0, score=70.0, milliseconds=900, time=1.0)
CHOSEN = replace(
    FIRST,
    kind=CHOICE,
    comparison="judge",
    arm="network",
    score=None,
    choice="target",
    stands_left="predicted",
    target=61.0,
    predicted=70.0,
)


def test_an_answer_that_is_sent_twice_is_kept_once(tmp_path: Path) -> None:
    with closing(AnswerFile(tmp_path)) as file:
        assert file.keep(FIRST) == FIRST
        again = file.keep(replace(FIRST, score=20.0, time=2.0))
        assert again == FIRST
        assert file.given("anna", SCORE) == [FIRST]


def test_other_experts_arms_and_comparisons_are_other_questions(tmp_path: Path) -> None:
    others = [
        FIRST,
        replace(FIRST, expert="ben"),
        replace(FIRST, image="b"),
        CHOSEN,
        replace(CHOSEN, arm="random"),
        replace(CHOSEN, comparison="other"),
    ]
    with closing(AnswerFile(tmp_path)) as file:
        for answer in others:
            assert file.keep(answer) == answer
    assert len(read_answers(tmp_path)) == len(others)


def test_a_correction_holds_and_what_was_said_first_stays(tmp_path: Path) -> None:
    corrected = replace(FIRST, score=55.0, revision=1)
    with closing(AnswerFile(tmp_path)) as file:
        file.keep(FIRST)
        assert file.keep(corrected) == corrected
        assert file.keep(replace(corrected, score=1.0)) == corrected
        assert file.given("anna", SCORE) == [corrected]
        with pytest.raises(StudyError, match="revision 3"):
            file.keep(replace(FIRST, revision=3))
    assert read_answers(tmp_path)["score"].tolist() == [55.0]
    assert read_answers(tmp_path, history=True)["score"].tolist() == [70.0, 55.0]


@pytest.mark.parametrize(
    "wrong",
    [
        replace(FIRST, score=101.0),
        replace(FIRST, score=float("nan")),
        replace(FIRST, score=None),
        replace(FIRST, choice="target"),
        replace(CHOSEN, choice="both"),
        replace(FIRST, expert=""),
        replace(FIRST, milliseconds=-1),
    ],
)
def test_what_is_no_answer_is_not_kept(tmp_path: Path, wrong: Answer) -> None:
    with closing(AnswerFile(tmp_path)) as file:
        with pytest.raises(StudyError, match="no valid answer"):
            file.keep(wrong)
        file.keep(FIRST)
    assert len(read_answers(tmp_path)) == 1


def test_many_writers_at_once_keep_one_answer_to_each_question(tmp_path: Path) -> None:
    AnswerFile(tmp_path).close()

    def write(writer: int) -> None:
        with closing(AnswerFile(tmp_path)) as file:
            for k in range(20):
                file.keep(replace(FIRST, image=f"{k}", score=float(writer)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    table = read_answers(tmp_path)
    assert sorted(table["image"]) == sorted(map(str, range(20)))


def test_an_answer_that_was_acknowledged_outlives_its_process(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from deepspot_scale.io.study_answers import Answer, AnswerFile
        file = AnswerFile(Path(sys.argv[1]))
        for k in range(10**6):
            file.keep(Answer("anna", "score", "", "", str(k), 0, score=50.0))
            print(k, flush=True)
        """
    )
    words = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(30)]
        os.kill(process.pid, signal.SIGKILL)
        said += process.stdout.readlines()
    kept = read_answers(tmp_path)["image"].tolist()
    n = sum(line.endswith("\n") for line in said)
    assert kept[:n] == [str(k) for k in range(n)]
    assert len(set(kept)) == len(kept) <= n + 1


def test_consent_is_to_one_text(tmp_path: Path) -> None:
    with closing(AnswerFile(tmp_path)) as file:
        file.consent("anna", "old words")
        file.consent("anna", "old words")
        assert file.has_consent("anna", "old words")
        assert not file.has_consent("anna", "new words")
        assert not file.has_consent("ben", "old words")


def test_a_file_of_another_version_or_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ANSWERS
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version=7")
    with pytest.raises(StudyError, match="version 7, expected 1"):
        AnswerFile(tmp_path)
    with pytest.raises(StudyError, match="version 7, expected 1"):
        read_answers(tmp_path)
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StudyError, match="no file of answers"):
        AnswerFile(tmp_path)
    with pytest.raises(StudyError, match="cannot be read"):
        read_answers(tmp_path)
