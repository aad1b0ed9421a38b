"""A judge's scores of a study's images, but not of those that it learned from."""

import os
from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.errors import StudyError, WeightsError
from deepspot_scale.expert_study.predicting import predict_images, read_predicted
from deepspot_scale.networks import rating_cnn
from deepspot_scale.networks.families import RATING_CNN
from deepspot_scale.networks.rater import RECALL_PRECISION, SCORE
from deepspot_scale.networks.weights import write_weights

SMALL = {"maps": (4, 4, 4, 4, 4, 4), "dense": 4}


@pytest.fixture(scope="module")
def judges(tmp_path_factory) -> Path:
    """Networks that were never trained: of an expert's score, and of detection."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    pytest.importorskip("keras")
    folder, rng = tmp_path_factory.mktemp("judges"), np.random.default_rng(0)
    for name, outputs in (("score", SCORE), ("detection", RECALL_PRECISION)):
        network = rating_cnn.Architecture(**SMALL, outputs=outputs)
        shapes = [each.shape for each in rating_cnn.build(network).weights]
        arrays = [rng.normal(0, 0.3, shape).astype(np.float32) for shape in shapes]
        # Variances of batches, which the square keeps above 0.
        arrays = [a**2 + 0.1 if a.ndim == 1 else a for a in arrays]
        (folder / name).mkdir()
        path = folder / name / "weights.safetensors"
        write_weights(path, arrays, network, family=RATING_CNN)
    return folder


@pytest.fixture
def study(tmp_path: Path, write_small_study) -> Path:
    """Five rated images of six, 240 px."""
    write_small_study(tmp_path, 6, 240)
    rows = [f"secret{k:03d},{20 + k}" for k in range(5)]
    (tmp_path / "scores.csv").write_text("\n".join(["image,score", *rows]))
    return tmp_path


def write_split(folder: Path, **uses: str) -> None:
    rows = [f"/somewhere,{name},{use}" for name, use in uses.items()]
    rows.append("ladders,secret003,learn")  # a simulated image of the same name
    (folder / "split.csv").write_text("\n".join(["source,image,use", *rows]))


def test_images_that_a_judge_learned_from_are_left_out_and_counted(
    study: Path, judges: Path
) -> None:
    folder = judges / "score"
    uses = {"secret000": "learn", "secret001": "validate", "secret002": "left out"}
    write_split(folder, **uses)
    given = predict_images(study, str(folder))
    assert sorted(given.scores) == ["secret002", "secret003", "secret004"]
    assert all(0 <= score <= 100 for score in given.scores.values())
    assert len(set(given.scores.values())) == 3
    assert given.note == "2 images that the judge learned from are left out."
    every = predict_images(study, str(folder / "weights.safetensors"), every=True)
    assert len(every.scores) == 5
    assert every.scores["secret003"] == given.scores["secret003"]
    assert "learned from 2 of these images, which flatters it" in every.note
    write_split(folder, **{f"secret{k:03d}": "learn" for k in range(5)})
    with pytest.raises(StudyError, match=r"all 5 images .* prove nothing"):
        predict_images(study, str(folder))
    (folder / "split.csv").unlink()
    assert "it is not known whether" in predict_images(study, str(folder)).note


def test_a_judge_of_detection_is_told_from_one_of_taste(
    judges: Path, tmp_path: Path, write_small_study
) -> None:
    write_small_study(tmp_path)
    note = predict_images(tmp_path, str(judges / "detection")).note
    assert "has not learned from experts" in note


def test_no_model_is_an_error(study: Path) -> None:
    with pytest.raises(WeightsError):
        predict_images(study, str(study / "nowhere"))
    with pytest.raises(WeightsError):
        predict_images(study, str(study))


def test_scores_of_a_file_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    file.write_text("image,score\na.tif,5\nb,70\n")
    given = read_predicted(file)
    assert (given.scores, given.model) == ({"a": 5.0, "b": 70.0}, "scores.csv")
    file.write_text("image,score\na.tif,5\na,70\n")
    with pytest.raises(StudyError, match="a has two scores"):
        read_predicted(file)
