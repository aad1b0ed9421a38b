"""Objects are scored as a run finds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.errors import FieldError
from deepspot_scale.evaluation.object_scores import (
    COLUMNS,
    OBJECTS,
    open_objects,
    score_labels,
    segment_array,
    segmentation_pipeline,
)
from deepspot_scale.io.image_files.paired_files import FilePair
from deepspot_scale.simulation.nuclei import draw_nuclei


def _image(seed: int = 3) -> np.ndarray:
    made = draw_nuclei(np.random.default_rng(seed), (200, 232), diameter=24, cover=0.3)
    return made.counts.astype(np.uint16)


def test_labels_are_those_of_the_verb() -> None:
    image = _image()
    found, seen = segment_array(image, segmentation_pipeline("nuclei"))
    channels = xr.DataArray(image[None], dims=tuple("cyx"), coords={"c": ["DAPI"]})
    labels = ds.segment(channels, nuclei="DAPI")["nuclei"]
    np.testing.assert_array_equal(found, labels.values)
    assert found.max() > 20
    assert seen.shape == image.shape  # objects of this size are not reduced


def test_scores_of_equal_labels_are_the_best() -> None:
    labels = draw_nuclei(np.random.default_rng(0), (90, 90), diameter=14).labels
    row = score_labels(labels, labels)
    assert row["ap"] == row["boundary_f"] == row["panoptic"] == 1.0
    assert row["count_error"] == 0
    assert row["n_true"] == row["matched_90"] > 3


def test_an_empty_image_in_which_nothing_is_found_is_right() -> None:
    nothing = np.zeros((12, 12), np.int64)
    row = score_labels(nothing, nothing)
    assert row["ap"] == row["ap_50"] == row["boundary_f"] == row["panoptic"] == 1.0
    assert row["count_error"] == 0


def test_scores_are_those_counted_by_hand() -> None:
    true, found = np.zeros((2, 20, 40), np.int64)
    true[2:12, 2:12], true[2:12, 20:30] = 1, 2
    found[2:12, 2:10], found[14:18, 20:30] = 7, 9  # IoU .8 of one; the other is false
    row = score_labels(true, found)
    assert [row[f"ap_{p}"] for p in (50, 60, 70, 80, 90)] == [1 / 3] * 4 + [0]
    assert row["ap"] == pytest.approx(4 / 15)
    assert (row["n_true"], row["n_found"], row["matched_50"]) == (2, 2, 1)
    assert row["mean_iou"] == 0.8
    assert set(row) == {column.name for column in COLUMNS}


def test_a_pair_of_files_is_scored(tmp_path: Path) -> None:
    import tifffile

    made = draw_nuclei(np.random.default_rng(5), (160, 160), diameter=24, cover=0.3)
    paths = [tmp_path / "image.tif", tmp_path / "labels.tif"]
    tifffile.imwrite(paths[0], made.counts.astype(np.uint16))
    tifffile.imwrite(paths[1], made.labels)
    score = open_objects("nuclei", "auto", tmp_path)
    scored = score(FilePair("image", *paths))
    assert scored.row["ap_50"] > 0.5
    np.testing.assert_array_equal(scored.shown[1], made.labels)
    tifffile.imwrite(paths[1], made.labels.astype(np.float32))
    with pytest.raises(FieldError, match="not whole numbers"):
        score(FilePair("image", *paths))


def test_the_summary_weighs_images_as_it_says() -> None:
    known = {
        "n_true": [9, 1, 0],
        "n_found": [12, 0, 0],
        "matched_50": [9, 0, 0],
        "ap_50": [0.75, 0.0, 1.0],
        "count_error": [1 / 3, -1.0, 0.0],
    }
    images = pd.DataFrame({column.name: 0.5 for column in COLUMNS}, range(3))
    images = images.assign(**known)
    summary = OBJECTS.summarise(images).set_index("measure")["value"]
    assert summary["ap_50"] == pytest.approx(1.75 / 3)
    assert summary["ap_50_pooled"] == 9 / 13
    assert summary["count_error"] == 0.2
    assert summary["count_error_per_image"] == pytest.approx(4 / 9)


def test_an_image_with_false_objects_alone_leaves_the_count_error_finite() -> None:
    true, found = np.zeros((2, 12, 12), np.int64)
    found[2:5, 2:5] = 1
    row = score_labels(true, found)
    other = score_labels(found, found)
    summary = OBJECTS.summarise(pd.DataFrame([row, other])).set_index("measure")
    assert row["count_error"] == np.inf
    assert summary.loc["count_error", "value"] == 1.0
    assert summary.loc["count_error_per_image", "value"] == 0.0
    assert summary.loc["count_error_per_image", "n_images"] == 1
