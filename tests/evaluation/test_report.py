"""Summaries of scores, and the report on them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deepspot_scale.evaluation.figures import Panel, draw_images
from deepspot_scale.evaluation.report import write_accuracy
from deepspot_scale.evaluation.tables import (
    EDGES,
    FAILURES,
    IMAGE_SCORES,
    SPOT_SCORES,
    Scores,
    bin_scores,
    cross_scores,
    mean_interval,
    share_interval,
    summarise,
    worst_images,
)
from deepspot_scale.evaluation.text import markdown_table
from deepspot_scale.tables import as_table, empty_table

NAMES = ["model", "data", "set", "group", "image"]
shares = st.lists(st.floats(0, 1), min_size=2, max_size=12)


def make_scores(images: Sequence[dict[str, Any]]) -> Scores:
    """Scores of images: names and numbers as given, one found and one missed spot."""
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in IMAGE_SCORES}
    given_ = {"data": "d", "set": "d", "snr": 5.0, "sigma": 1.2, "n_true": 2}
    given_ |= {"spacing": 9.0, "density": 50.0, "height": 300, "width": 300}
    table = as_table(
        pd.DataFrame([zeros | given_ | row for row in images]), IMAGE_SCORES
    )
    spot = {c.name: "" if c.dtype == "string" else np.nan for c in SPOT_SCORES}
    kinds: list[dict[str, Any]] = [
        {"kind": "found", "error_px": 0.2, "enhanced": 250.0, "y": 5, "x": 5, "snr": 7},
        {"kind": "missed", "enhanced": 10.0, "y": 290, "x": 280, "snr": 2},
        {"kind": "false", "enhanced": 90.0, "y": 285, "x": 285},
    ]
    spots = [
        spot | {name: line[name] for name in NAMES} | kind
        for line, kind in product(table.to_dict("records"), kinds)
    ]
    provenance = {"seed": 1, "SHA-256 of the weights": {"m": "0" * 64}}
    spot_table = as_table(pd.DataFrame(spots), SPOT_SCORES)
    return Scores(table, spot_table, empty_table(FAILURES), provenance)


def rows_of(model: str, f1: Sequence[float], **values: Any) -> Iterator[dict[str, Any]]:
    """Rows of one model, an image for each F1."""
    for number, value in enumerate(f1):
        score = {"f1_one_to_one": value, "f1_nearest": value}
        yield {"model": model, "image": str(number)} | score | values


@settings(deadline=None, max_examples=40)
@given(shares)
def test_the_interval_of_a_mean_is_students(values: list[float]) -> None:
    mean, low, high = mean_interval(values)
    error = stats.sem(values)
    assert mean == pytest.approx(np.mean(values))
    if error > 1e-12:
        ends = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert (low, high) == pytest.approx(np.clip(ends, 0, 1))
    assert 0 <= low <= mean + 1e-12
    assert mean - 1e-12 <= high <= 1


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    assert mean_interval([0.5, np.nan])[0] == 0.5
    assert np.isnan(mean_interval([0.5, np.nan])[1:]).all()
    assert np.isnan(mean_interval([])).all()
    assert np.isnan(share_interval(np.array([]), np.array([]))).all()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 20), min_size=2, max_size=12))
def test_of_images_with_equal_numbers_a_share_is_the_mean(parts: list[int]) -> None:
    part = np.array(parts)
    share = share_interval(part, np.full(len(part), 20))
    assert share == pytest.approx(mean_interval(list(part / 20)))


def test_sets_are_means_over_images_not_over_spots() -> None:
    scores = make_scores([*rows_of("m", [1.0, 0.5]), *rows_of("n", [0.25])])
    table = summarise(scores).set_index("model")
    assert table.loc["m", "f1_one_to_one"] == 0.75
    assert table.loc["m", "f1_one_to_one_least"] == 0.5
    assert (table.loc["m", "n_true"], table.loc["m", "n_images"]) == (4, 2)
    assert table.loc["n", "n_images"] == 1
    assert np.isnan(table.loc["n", "f1_one_to_one_low"])
    # The false detection's brightness is not that of a spot.
    assert table.loc["m", "enhanced_median"] == 130


def test_failed_images_are_counted_with_their_set() -> None:
    scores = make_scores([*rows_of("m", [1.0])])
    names = ["m", "d", "d", "", "bad"]
    failed = pd.DataFrame([[*names, "broken"]], columns=[*NAMES, "reason"])
    scores = scores._replace(failed=failed)
    for keys in (("model",), ("model", "data", "set")):
        assert summarise(scores, keys)["n_failed"].tolist() == [1]


@pytest.mark.parametrize("by", EDGES)
def test_each_image_lies_in_one_bin(by: str) -> None:
    values = [0.0, 0.5, *EDGES[by][1:-1], 1e6, np.inf]
    images = [
        row | {"image": str(n), by: value}
        for n, value in enumerate(values)
        for row in rows_of("m", [0.5])
    ]
    table = bin_scores(make_scores(images)).query("by == @by and measure == 'f1'")
    assert table["n_images"].sum() == len(values)
    for low, high, n in table[["low", "high", "n_images"]].itertuples(index=False):
        inside = [v for v in values if low <= v < high or v == high == np.inf]
        assert n == len(inside)


def test_what_is_not_known_or_has_no_spots_is_in_no_bin() -> None:
    unknown = rows_of("m", [0.5], snr=np.nan, sigma=np.nan, spacing=np.nan)
    bins = bin_scores(make_scores([*unknown, *rows_of("m", [0.0], n_true=0)]))
    assert bins.query("measure == 'f1'")["by"].tolist() == ["density"]
    assert bins.query("measure == 'f1'")["n_images"].tolist() == [1]


def test_recall_is_of_true_spots_by_their_own_snr() -> None:
    bins = bin_scores(make_scores([*rows_of("m", [0.5, 0.5])]))
    recall = bins.query("measure == 'recall' and by == 'snr'").set_index("low")
    assert recall["mean"].to_dict() == {0: 0.0, 6: 1.0}
    assert recall["n_spots"].tolist() == [2, 2]


def test_density_and_sigma_are_crossed() -> None:
    images = [
        row
        for density, sigma in product((5, 500), (1.1, 2.7))
        for row in rows_of("m", [density / 1000], density=density, sigma=sigma)
    ]
    table = cross_scores(make_scores(images))
    assert len(table) == 4
    cell = table.query("density_low == 300 and sigma_low == 2.5")
    assert (cell["mean"].item(), cell["n_images"].item()) == (0.5, 1)


def test_the_worst_images_are_those_of_the_least_f1_and_none_is_perfect() -> None:
    scores = make_scores(
        [*rows_of("m", [0.9, 0.1, 1.0, 0.5, 0.7]), *rows_of("n", [1, 1])]
    )
    assert worst_images(scores.images, 3)["f1_one_to_one"].tolist() == [0.1, 0.5, 0.7]


def test_a_table_keeps_its_columns_whatever_a_name_holds() -> None:
    text = markdown_table(pd.DataFrame({"a": ["x|y", "z"], "b": [1, 2]}))
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in text.split("\n")} == {3}


def test_the_report_links_all_pictures_and_names_what_failed(tmp_path: Path) -> None:
    images = [
        row | {"set": name}
        for model, name in product(("m", "n"), ("var_10", "var_20"))
        for row in rows_of(model, [0.9, 0.8], data="paper-sets")
    ]
    scores = make_scores(images)
    failed = pd.DataFrame(
        [["m", "paper-sets", "var_10", "", "bad.tif", "no | pixels"]],
        columns=[*NAMES, "reason"],
    )
    scores = scores._replace(failed=failed)
    pixels = {("paper-sets", "var_10", "0"): np.eye(300)}
    text = write_accuracy(scores, tmp_path / "out", pixels).read_text("utf-8")
    linked = set(re.findall(r"\]\((\S+\.png)\)", text))
    assert linked == {path.name for path in (tmp_path / "out").glob("*.png")}
    assert {"worst_m_paper-sets.png", "curves_paper-sets.png"} <= linked
    assert "bad.tif | no \\| pixels" in text
    assert "var_10 0.850" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    for table in tables:
        cells = [len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()]
        assert len(set(cells)) == 1


def test_bins_are_listed_from_low_to_high(tmp_path: Path) -> None:
    images = [
        row for snr in (30, 9, 1, 5) for row in rows_of("m", [0.5], snr=float(snr))
    ]
    text = write_accuracy(make_scores(images), tmp_path).read_text("utf-8")
    bins = re.findall(r"\| snr \| f1 \| (\S+) to", text)
    assert bins == ["0", "4", "8", "20"]


def test_scores_of_one_image_without_any_spot_make_a_report(tmp_path: Path) -> None:
    row = {"n_true": 0, "snr": np.nan, "sigma": np.nan, "spacing": np.nan}
    scores = make_scores([*rows_of("m", [1.0], **row)])
    scores = scores._replace(spots=empty_table(SPOT_SCORES))
    text = write_accuracy(scores, tmp_path).read_text("utf-8")
    assert "every image scores 1" in text
    assert "nan" not in text.lower().replace("nan:", "")


def test_models_whose_names_join_alike_have_pictures_of_their_own(
    tmp_path: Path,
) -> None:
    """Words are joined by ``_``, which they may hold, and odd signs become ``_``."""
    pairs = [("a", "b_c"), ("a_b", "c"), ("a b", "C")]
    rows = [
        row
        for model, data in pairs
        for row in rows_of(model, [0.5], data=data, set="s")
    ]
    pixels = {(data, "s", "0"): np.eye(64) for _, data in pairs}
    report = write_accuracy(make_scores(rows), tmp_path, pixels)
    names = {path.name for path in tmp_path.glob("worst_*.png")}
    assert {name.lower() for name in names} == {
        "worst_a_b_c.png",
        "worst_a_b_c_2.png",
        "worst_a_b_c_3.png",
    }
    linked = re.findall(r"\]\((worst_\S+\.png)\)", report.read_text("utf-8"))
    assert sorted(linked) == sorted(names)


def test_of_a_large_image_the_part_with_the_errors_is_shown() -> None:
    spots = make_scores([*rows_of("m", [0.5])]).spots
    figure = draw_images([Panel("title", np.eye(300), spots)])
    (axes,) = figure.axes
    assert axes.get_xlim() == (43.5, 299.5)
    assert axes.get_ylim() == (299.5, 43.5)
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["found (1)", "missed (1)", "false (1)"]


@pytest.fixture(scope="module")
def benchmark_script() -> ModuleType:
    """The script that measures the bars."""
    path = Path(__file__).parents[2] / "benchmarks" / "accuracy.py"
    spec = importlib.util.spec_from_file_location("accuracy_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_bar_is_met_at_its_bound_and_by_whole_data_only(
    benchmark_script: ModuleType,
) -> None:
    def met(model: str, f1: float, data: str = "iss_tissue") -> dict[str, Any]:
        scores = make_scores([*rows_of(model, [f1], data=data, set=data)])
        rows = benchmark_script.measure_bars(scores)
        (row,) = (row for row in rows if row["data"] == "iss_tissue")
        return row

    assert met("deepspot", 0.88)["met"]
    assert not met("deepspot", 0.879)["met"]
    assert met("deepspot-fast", 0.88)["bar"] == ">= 0.88"
    absent = met("deepspot", 1.0, "beads")
    assert (absent["met"], absent["measured"], absent["n_images"]) == (False, None, 0)


@pytest.mark.parametrize(
    ("model", "false", "met"),
    [("deepspot", 2, True), ("deepspot", 2.5, False), ("deepspot-fast", 2, True)],
)
def test_a_bar_may_be_the_most_that_is_allowed(
    benchmark_script: ModuleType, model: str, false: float, *, met: bool
) -> None:
    images = rows_of(model, [0.0], data="empty", set="empty", false_density=false)
    rows = benchmark_script.measure_bars(make_scores([*images]))
    (row,) = (row for row in rows if row["data"] == "empty")
    assert row["met"] == met


def test_the_broad_bar_is_of_clear_images_and_the_rest_is_crossed(
    benchmark_script: ModuleType,
) -> None:
    named = {"data": "broad", "set": "broad"}
    clear = rows_of("deepspot", [0.96], **named)
    close = rows_of("deepspot", [0.3], spacing=2.9, **named)
    dim = rows_of("deepspot", [0.2], snr=3.9, **named)
    empty = rows_of("deepspot", [0.0], n_true=0, **named)
    scores = make_scores([*clear, *close, *dim, *empty])
    rows = benchmark_script.measure_bars(scores)
    (row,) = (row for row in rows if row["data"] == "broad")
    assert (row["measured"], row["met"]) == (0.96, True)
    rest = benchmark_script.cross_rest(scores)
    assert rest["n_images"].sum() == 2


def test_what_sites_cost_is_measured_image_by_image(
    benchmark_script: ModuleType,
) -> None:
    f1 = {"singles": [0.9, 0.8], "sites": [0.88, 0.81]}
    rows = [
        row
        for data, values in f1.items()
        for row in rows_of("deepspot", values, data=data, set=data)
    ]
    bars = benchmark_script.measure_bars(make_scores(rows))
    (row,) = (row for row in bars if row["data"] == "sites singles")
    assert (row["measured"], row["met"], row["n_images"]) == (0.005, True, 4)


def test_fields_of_few_spots_are_right_only_with_the_exact_number(
    benchmark_script: ModuleType,
) -> None:
    named = {"data": "sparse", "set": "sparse", "n_true": 5}
    rows = [
        *rows_of("deepspot", [1.0, 1.0, 1.0], n_found=5, recall_one_to_one=1, **named),
        *rows_of("deepspot", [0.9], n_found=6, recall_one_to_one=1, **named),
    ]
    bars = benchmark_script.measure_bars(make_scores(rows))
    (row,) = (row for row in bars if row["data"] == "sparse")
    assert (row["measured"], row["met"]) == (0.75, False)
