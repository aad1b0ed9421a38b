"""The sheet says what it must, in HTML that holds no foreign code, and in JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.evaluation.domain_check import COLUMNS, DomainCheck
from deepspot_scale.evaluation.quality_kinds import FAILURES, SUMMARY
from deepspot_scale.evaluation.quality_page import Sheet, write_sheets
from deepspot_scale.evaluation.training_curves import judge_curves
from deepspot_scale.tables import empty_table

EVIL = "<script>alert(1)</script>"


def _domain(*outside: bool) -> DomainCheck:
    rows = [(f"im{n}", 0.5 + each, each, "more noise", 2.0) for n, each in enumerate(outside)]  # fmt: skip # noqa: E501
    return DomainCheck(pd.DataFrame(rows, columns=list(COLUMNS)), "words on the domain")


@pytest.fixture
def sheet() -> Sheet:
    summary = pd.DataFrame(
        [
            ("ap_50", 0.912, 0.85, 0.95, 3, "AP at IoU 0.5"),
            ("count_error", np.nan, np.nan, np.nan, 3, "count error"),
        ],
        columns=[column.name for column in SUMMARY],
    )
    images = pd.DataFrame({"image": ["im0", "im1", "im2"], "ap_50": [0.1, 0.9, 1.0]})
    return Sheet(
        "nuclei",
        "Objects",
        summary,
        ("ap_50", "count_error"),
        images,
        empty_table(FAILURES),
        (),
        "ap_50",
        _domain(False, True, False),
        None,
        {"data": "held out"},
    )


def _page(sheets: list[Sheet], out: Path) -> str:
    return write_sheets(sheets, out).read_text("utf-8")


def test_the_page_holds_numbers_with_intervals(sheet: Sheet, tmp_path: Path) -> None:
    page = _page([sheet], tmp_path)
    assert "<b>0.912</b>AP at IoU 0.5 (95 %: 0.85 to 0.95)" in page
    assert "<b>-</b>count error<" in page  # not known
    assert "held out" in page


def test_images_outside_are_a_warning_at_the_top(sheet: Sheet, tmp_path: Path) -> None:
    page = _page([sheet], tmp_path)
    top = page.index("<p class='note'>words on the domain</p>")
    assert top < page.index("<h3>Scores</h3>")
    calm = replace(sheet, domain=_domain(False, False))
    assert "class='note'" not in _page([calm], tmp_path)


def test_an_over_fitted_model_is_a_warning(sheet: Sheet, tmp_path: Path) -> None:
    tried = np.r_[np.linspace(1, 0.1, 10), np.linspace(0.1, 0.5, 10)]
    falling = np.linspace(1, 0, 20)
    log = {"step": np.arange(20), "loss": falling, "validation": tried}
    curves = judge_curves(pd.DataFrame(log))
    page = _page([replace(sheet, curves=curves)], tmp_path)
    assert "a sign of over-fitting" in page
    assert page.count("while the loss of the batches went on falling") == 2
    assert "over-fitting" in replace(sheet, curves=curves).headline


def test_without_a_log_it_is_said_that_nothing_is_known(
    sheet: Sheet, tmp_path: Path
) -> None:
    assert "no log of the training beside the weights" in _page([sheet], tmp_path)


def test_images_that_failed_are_listed(sheet: Sheet, tmp_path: Path) -> None:
    failed = pd.DataFrame({"image": ["bad"], "reason": ["it has three planes"]})
    page = _page([replace(sheet, failed=failed)], tmp_path)
    assert "1 image could not be measured" in page
    assert "it has three planes" in page


def test_names_are_text_not_code(sheet: Sheet, tmp_path: Path) -> None:
    images = sheet.images.assign(image=[EVIL, "im1", "im2"])
    domain = DomainCheck(sheet.domain.table.assign(image=[EVIL, "im1", "im2"]), EVIL)
    evil = replace(sheet, model=EVIL, title=EVIL, images=images, domain=domain)
    assert "<script" not in _page([evil], tmp_path)


def test_two_models_of_one_name_have_files_of_their_own(
    sheet: Sheet, tmp_path: Path
) -> None:
    write_sheets([sheet, sheet], tmp_path)
    files = {path.name for path in (tmp_path / "report").glob("*-scores.csv")}
    assert len(files) == 2


def test_json_holds_the_numbers_and_null_for_what_is_not_known(
    sheet: Sheet, tmp_path: Path
) -> None:
    write_sheets([sheet], tmp_path)
    (numbers,) = json.loads((tmp_path / "scores.json").read_text())
    scores: Any = numbers["scores"]
    assert scores["ap_50"] == {
        "value": 0.912,
        "low": 0.85,
        "high": 0.95,
        "n_images": 3,
    }
    assert scores["count_error"]["value"] is None
    assert numbers["outside_domain"] == ["im1"]
    assert numbers["over_fitting"] is None
    table = pd.read_csv(tmp_path / "scores.csv")
    assert table["model"].tolist() == ["nuclei", "nuclei"]


def test_the_headline_is_one_line(sheet: Sheet) -> None:
    assert sheet.headline == (
        "nuclei: ap_50 0.912, count_error -, 1 of 3 images outside"
    )
