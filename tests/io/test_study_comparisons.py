"""A comparison is read as it was written."""

from pathlib import Path

import pytest

from deepspot_scale.errors import StudyError
from deepspot_scale.io.study_comparisons import (
    Comparison,
    Shown,
    list_comparisons,
    write_comparison,
)

IMAGES = {"a": Shown({"anna": 10.0, "ben": 30.0}, "ben", 50.0)}
MADE = Comparison("j", "JUDGE", "d" * 64, "label", IMAGES, (7.5,), "a note", 3)


def test_a_comparison_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert list_comparisons(tmp_path) == {}
    write_comparison(tmp_path, MADE)
    assert list_comparisons(tmp_path) == {"j": MADE}


def test_a_damaged_or_renamed_one_is_an_error(tmp_path: Path) -> None:
    write_comparison(tmp_path, MADE)
    path = tmp_path / "comparisons/j.json"
    text = path.read_text()
    path.rename(path.with_name("k.json"))
    with pytest.raises(StudyError, match="expected 1 and k"):
        list_comparisons(tmp_path)
    path.with_name("k.json").write_text(text[:50])
    with pytest.raises(StudyError, match="is damaged"):
        list_comparisons(tmp_path)
