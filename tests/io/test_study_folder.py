"""A study is read as it was written, and scores are never taken from a wrong place."""

import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepspot_scale.errors import StudyError
from deepspot_scale.io.image_files.tiff_png import open_file
from deepspot_scale.io.study_answers import CHOICE, SCORE, Answer, AnswerFile
from deepspot_scale.io.study_folder import (
    KEY_FILE,
    Origin,
    Study,
    list_images,
    read_choices,
    read_image,
    read_ratings,
    read_study,
    study_key,
    with_experts,
    write_crop,
    write_study,
)

STUDY = Study(
    {"a1": Origin("B03", "B/03/0", "FISH", 0, 2, 5, 7), "b2": Origin(z="max")},
    "PLATE.zarr",
    "FISH",
    16,
    3,
    ("anna", "ben"),
    "agree?",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in STUDY.images:
        pixels = rng.integers(0, 60000, (16, 16)).astype(np.uint16)
        write_crop(tmp_path, name, pixels, (0.2, 0.1))
    write_study(tmp_path, STUDY)
    return tmp_path


def scored(folder: Path, text: str) -> Path:
    (folder / "scores.csv").write_text(text)
    return folder


def test_a_study_is_read_as_it_was_written(folder: Path) -> None:
    assert read_study(folder) == STUDY


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_pixels_and_their_size_are_kept(tmp_path: Path, dtype: str) -> None:
    pixels = np.arange(12, dtype=dtype).reshape(3, 4)
    write_crop(tmp_path, "a", pixels, (0.2, 0.1))
    (path,) = list_images(tmp_path).values()
    back = read_image(path)
    np.testing.assert_array_equal(back, pixels)
    assert back.dtype == dtype
    assert open_file(str(path)).pixel_size_um == pytest.approx((0.2, 0.1), rel=1e-6)


def test_scores_of_the_study_and_of_a_file_are_read_together(folder: Path) -> None:
    scored(folder, "image, score, expert\na1.tif, 12.5, lab\nb2, 100,\n")
    with closing(AnswerFile(folder)) as file:
        file.keep(Answer("anna", SCORE, "", "", "a1", 0, score=70.0))
        file.keep(Answer("anna", SCORE, "", "", "a1", 1, score=60.0))
    rows = read_ratings(folder).values.tolist()
    assert rows == [["a1", "anna", 60.0], ["a1", "lab", 12.5], ["b2", "labels", 100.0]]


def test_a_folder_of_images_and_scores_is_enough(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images/one.tif", np.zeros((8, 8), np.uint8))
    table = read_ratings(scored(tmp_path, "\ufeffscore,image\n42,one.tif\n"))
    assert table.values.tolist() == [["one", "labels", 42.0]]
    assert table.columns.tolist() == ["image", "expert", "score"]


def test_a_study_that_nobody_has_rated_has_no_rows(folder: Path) -> None:
    assert read_ratings(folder).empty
    assert read_choices(folder).empty
    assert read_ratings(folder)["score"].dtype == "float64"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,score\na1,101\n", "line 2: '101' is no score"),
        ("image,score\na1,50\nb2,\n", "line 3: '' is no score"),
        ("image,score\na1,nan\n", "is no score"),
        ("image,score\nc3,50\n", "not there.*c3"),
        ("image,score\na1,50\na1.tif,60\n", "two scores of a1"),
        ("image,rating\na1,50\n", "expected columns image and score"),
        ("image,score\na1,0.5\nb2,1\n", "Multiply them by 100"),
    ],
)
def test_scores_that_mean_something_else_are_an_error(
    folder: Path, text: str, words: str
) -> None:
    with pytest.raises(StudyError, match=words):
        read_ratings(scored(folder, text))


def test_choices_are_read_with_what_was_shown(folder: Path) -> None:
    chosen = Answer(
        "ben",
        CHOICE,
        "judge",
        "random",
        "b2",
        0,
        choice="equivalent",
        stands_left="target",
        target=61.0,
        predicted=8.0,
        position=4,
        milliseconds=1200,
        time=5.0,
    )
    with closing(AnswerFile(folder)) as file:
        file.keep(chosen)
        file.keep(replace(chosen, choice="discard", revision=1))
    (row,) = read_choices(folder).to_dict("records")
    expected = {"comparison": "judge", "arm": "random", "image": "b2", "expert": "ben"}
    expected |= {"choice": "discard", "stands_left": "target", "position": 4}
    assert row == expected | {
        "target": 61.0,
        "predicted": 8.0,
        "milliseconds": 1200,
        "time": 5.0,
    }


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda p: (p / "study.json").write_text("{"), "is damaged"),
        (lambda p: (p / "study.json").write_text('{"version": 9}'), "version 9"),
        (lambda p: (p / "study.json").write_text('{"version": 1}'), "is damaged"),
        (lambda p: (p / "images/a1.tif").unlink(), "a1 of study.json not in images"),
        (lambda p: (p / "images/a1.png").write_bytes(b""), "have one name"),
    ],
)
def test_a_damaged_study_is_an_error(folder: Path, break_it, words: str) -> None:
    break_it(folder)
    with pytest.raises(StudyError, match=words):
        read_study(folder)


def test_a_folder_of_something_else_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is no study"):
        read_study(tmp_path / "nowhere")


def test_the_key_stays_and_is_its_owners_alone(folder: Path) -> None:
    key = study_key(folder)
    assert study_key(folder) == key
    assert len(key) == 32
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    (folder / KEY_FILE).write_bytes(b"")
    with pytest.raises(StudyError, match="damaged"):
        study_key(folder)


def test_experts_are_added_once_and_only_by_words(folder: Path) -> None:
    grown = with_experts(folder, STUDY, ("ben", "cleo"))
    assert grown.experts == ("anna", "ben", "cleo")
    assert read_study(folder) == grown
    for wrong in ("", "two words", "x" * 41, "../up", "<b>"):
        with pytest.raises(StudyError, match="no pseudonym"):
            with_experts(folder, grown, (wrong,))
