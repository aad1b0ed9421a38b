"""The commands of studies: what they write, say and refuse."""

from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from deepspot_scale.expert_study.access import Access
from deepspot_scale.expert_study.session import Session
from deepspot_scale.io.study_comparisons import list_comparisons
from deepspot_scale.io.study_folder import list_images, read_study

PATHS = ("A/01/0", "B/02/0")


@pytest.fixture
def plate(tmp_path: Path, draw_scene, write_plate) -> str:
    """Two fields of 128 x 160 pixels."""
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    return write_plate(tmp_path / "plate.zarr", scenes)


@pytest.fixture
def study(plate: str, tmp_path: Path, command) -> Path:
    """Study of six images that an expert has scored elsewhere."""
    folder = tmp_path / "STUDY"
    words = ("rate", "study", plate, "--images", 6, "--out", folder, "--size", 32)
    ended = command(*words, "--channel", "FISH", "--no-serve")
    assert (ended.code, ended.out.strip()) == (0, str(folder))
    assert "6 images of FISH" in ended.err
    rows = [f"{name},{10 * k},lab" for k, name in enumerate(list_images(folder))]
    (folder / "scores.csv").write_text("\n".join(["image,score,expert", *rows]))
    return folder


def test_a_study_is_drawn_compared_reported_and_exported(
    study: Path, tmp_path: Path, command
) -> None:
    predicted = tmp_path / "predicted.csv"
    rows = [f"{name},55" for name in list_images(study)]
    predicted.write_text("\n".join(["image,score", *rows]))
    words = ("rate", "compare", study, "--scores", predicted, "--baseline")
    ended = command(*words, "--no-serve", "--experts", "anna,ben")
    (compared,) = list_comparisons(study).values()
    assert ended.out.strip() == compared.name
    assert "12 questions on 6 images, scores of predicted.csv" in ended.err
    assert read_study(study).experts == ("anna", "ben")
    access = Access(bytes(32))
    session = Session(study, read_study(study), access, compared)
    with closing(session):
        for _ in range(4):
            question = session.state("anna")["question"]["id"]
            session.keep("anna", {"question": question, "value": "left"})
    ended = command("rate", "report", study)
    assert ended.out.strip() == str(study / "report.html")
    text = (study / "report.html").read_text()
    assert "Comparison with predicted.csv" in text
    out = tmp_path / "answers.csv"
    assert command("rate", "export", study, "--out", out).code == 0
    rows = pd.read_csv(out)
    assert len(rows) == 4
    assert set(rows["well"]) <= {"A01", "B02"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("serve", "STUDY", "--host", "0.0.0.0"), "name the experts"),
        (("serve", "STUDY", "--experts", "two words"), "no pseudonym"),
        (("compare", "STUDY", "--no-serve"), "Begin one: rate compare --model"),
        (("compare", "STUDY", "--scores", "a", "--model", "b"), "give one of them"),
        (("compare", "STUDY", "--scores", "nothing.csv"), "cannot be read"),
        (("report", "elsewhere"), "is no study"),
        (("export", "STUDY", "--out", "no/folder/a.csv"), "there is no folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    study: Path, command, words, said: str
) -> None:
    ended = command("rate", *(study if word == "STUDY" else word for word in words))
    assert ended.code == 2
    assert ended.err.startswith("error: ")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_plate_that_is_too_small_says_how_many_images_it_has(
    plate: str, tmp_path: Path, command
) -> None:
    words = ("rate", "study", plate, "--out", tmp_path / "S", "--size", 64)
    ended = command(*words, "--images", 20, "--no-serve")
    assert ended.code == 2
    assert "has 8 places of 64 x 64 pixels" in ended.err


def test_a_text_that_experts_agree_to_is_in_the_study(
    plate: str, tmp_path: Path, command
) -> None:
    file = tmp_path / "consent.txt"
    words = ("rate", "study", plate, "--out", tmp_path / "S", "--size", 32)
    words = (*words, "--images", 2, "--no-serve", "--consent", file)
    assert "cannot be read" in command(*words).err
    file.write_text("  \n")
    assert "is empty" in command(*words).err
    file.write_text("We keep what you say.\n")
    assert command(*words).code == 0
    assert read_study(tmp_path / "S").consent == "We keep what you say."
