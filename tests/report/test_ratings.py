"""The report says what scores mean, which images are low, and what is left out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.report.gallery import choose_fields
from deepspot_scale.report.html import svg_text
from deepspot_scale.report.page import write_report
from deepspot_scale.report.plate_browser import plate_browser
from deepspot_scale.report.ratings import (
    LOWEST,
    lowest_images,
    lowest_ratings,
    lowest_words,
    rating_figures,
    rating_table,
    rating_words,
    read_ratings,
)
from deepspot_scale.report.score_map import draw_score_map, map_svg
from deepspot_scale.report.sections import well_figures
from deepspot_scale.report.summary import headline
from deepspot_scale.runs.contents import Contents, write_contents
from deepspot_scale.runs.manifest import commit_part
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.runs.summarise import summarise_run
from deepspot_scale.settings import assemble, make_settings, write_settings
from deepspot_scale.statistics.groups import FIELD
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import QUALITY, RATINGS, TILE_RATINGS, FieldAddress

SHAPE = (300, 520)
WELLS = ("B02", "B03", "C02", "C03")
PLATE_MAP = pd.DataFrame(
    {"row": ["B", "B", "C", "C"], "column": ["02", "03", "02", "03"]}
).assign(condition=["good", "good", "bad", "bad"], gene="Actb")
CORNERS = [(y, x) for y in (0, 44) for x in (0, 256, 264)]


def rows_of(columns: Any, **values: Any) -> pd.DataFrame:
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in columns}
    return as_table(pd.DataFrame(zeros | values), columns)


@pytest.fixture(scope="module")
def contents(raters: Path) -> Contents:
    rater = str(raters / "detection.safetensors")
    return Contents.of(assemble(make_settings(channels=["0"], rate=True, rater=rater)))


Write = Callable[..., RunResults]


@pytest.fixture
def write_run(contents: Contents, raters: Path, tmp_path: Path) -> Write:
    """Write a run of four wells with these scores."""

    def write(
        scores: tuple[float, ...] = (0.9, 0.8, 0.3, 0.2), **options: Any
    ) -> RunResults:
        rater = str(raters / "detection.safetensors")
        chosen = {"channels": ["FISH"], "rate": True, "rater": rater, **options}
        settings = make_settings(**chosen)
        number = len([*tmp_path.glob("RUN*")])  # a folder keeps its least score
        folder = Folder(str(tmp_path / f"RUN{number}"))
        write_contents(folder, contents)
        folder.write("settings.toml", write_settings(settings).encode())
        folder.write("provenance.json", b"{}")
        place = {
            "row": [well[0] for well in WELLS],
            "column": [well[1:] for well in WELLS],
            "field": "0",
        }
        fields = rows_of(
            contents.fields,
            **place,
            status="done",
            n_spots=5,
            n_planes=1,
            n_t=1,
            n_z=1,
            part="all",
            score=scores,
            n_unlike_rated=[0, 0, 0, 1],
        )
        ratings = rows_of(
            RATINGS,
            **place,
            channel="FISH",
            score=scores,
            expected_recall=np.array(scores) / 2,
            expected_precision=1.0,
            n_tiles=6,
            distance=[0.5, 0.5, 0.5, 1.5],
        )
        parts = {name: empty_table(known) for name, known in contents.tables.items()}
        tiles = [
            rows_of(
                TILE_RATINGS,
                row=[well[0]],
                column=well[1:],
                field="0",
                channel="FISH",
                y=y,
                x=x,
                height=256,
                width=256,
                score=score,
            )
            for well, score in zip(WELLS, scores, strict=True)
            for y, x in CORNERS
        ]
        parts |= {"ratings": ratings, "tile_ratings": pd.concat(tiles)}
        commit_part(folder, "all", parts, fields, contents)
        summarise_run(folder, settings, PLATE_MAP, ["FISH"])
        return open_run(folder.url)

    return write


def test_the_words_say_what_a_score_means_and_what_it_cannot_know(
    write_run: Write,
) -> None:
    run = write_run()
    words = rating_words(run, read_ratings(run))
    assert "the F1 that the default detector is expected to reach" in words
    assert "where no spot is seen, the score does not tell" in words
    assert "4 images rated, median score <b>0.55</b>" in words
    assert "1 of 4 images looks unlike all images" in words
    assert "All images count in the statistics" in words


def test_a_rater_of_experts_promises_no_recall(write_run: Write) -> None:
    run = write_run()
    taste = read_ratings(run).assign(expected_recall=np.nan, expected_precision=np.nan)
    words = rating_words(run, taste)
    assert "experts whose scores" in words
    assert "F1" not in words
    assert "expected_recall" not in rating_table(run, taste)


def test_conditions_have_the_means_of_their_images(write_run: Write) -> None:
    run = write_run(min_quality=0.25)
    lines = rating_table(run, read_ratings(run)).set_index("condition")
    assert lines["score"].round(9).to_dict() == {"good": 0.85, "bad": 0.25}
    assert lines["lowest"].to_dict() == {"good": 0.8, "bad": 0.2}
    assert lines["n_left_out"].to_dict() == {"good": 0, "bad": 1}


def test_the_better_half_is_not_listed_among_the_lowest(write_run: Write) -> None:
    run = write_run(min_quality=0.25)
    ratings = read_ratings(run)
    low = lowest_ratings(run, ratings)
    shown = lowest_images(run, low)
    assert shown["score"].tolist() == [0.2, 0.3]
    assert shown["left_out"].tolist() == ["left out", ""]
    assert "The 2 of 4 images that score least" in lowest_words(low, ratings)
    one = lowest_ratings(run, ratings.head(1))
    assert "The 1 of 1 image that scores least" in lowest_words(one, ratings.head(1))
    unknown = ratings.assign(score=np.nan)
    assert lowest_ratings(run, unknown).empty
    many = pd.concat([ratings] * 12)
    assert len(lowest_ratings(run, many)) == LOWEST
    strict = write_run(min_quality=0.85)  # what is left out is listed all the same
    assert len(lowest_ratings(strict, ratings)) == 3


def test_best_and_worst_fields_are_by_the_score_where_there_is_one(
    write_run: Write,
) -> None:
    run = write_run((0.9, 0.8, 0.3, 0.2))
    place = run.fields[["row", "column", "field"]].to_dict("list")
    sharp = rows_of(QUALITY, **place, channel="FISH", focus=[1.0, 1.0, 2.0, 9.0])
    flags = pd.DataFrame([("C", "02", "0", "saturated")], columns=[*FIELD, "flag"])
    reasons = {
        f"{address.row}{address.column}": why
        for address, why in choose_fields(run, sharp, flags).items()
    }
    assert "best by score: 0.90" in reasons["B02"]
    assert reasons["C03"] == ["worst by score: 0.20"]
    assert reasons["C02"] == ["second worst by score: 0.30", "most flags: saturated"]
    assert not any("focus" in word for why in reasons.values() for word in why)


def test_the_figures_hold_every_score(write_run: Write) -> None:
    run = write_run((0.9, 0.8, 0.3, 1.0), min_quality=0.5)
    plate, scores = rating_figures(run, read_ratings(run))
    assert plate.numbers["score"].tolist() == [0.9, 0.8, 0.3, 1.0]
    assert scores.numbers["n_images"].sum() == 4
    assert "left of the line are left out" in scores.caption


def test_the_page_shows_scores_and_says_who_is_left_out(write_run: Write) -> None:
    run = write_run(min_quality=0.25)
    page = write_report(run.folder.local_path).read_text()
    quality = page.partition("id='quality'")[2]
    assert "<b>1 of 4 images</b>, in 1 field, score below 0.25" in quality
    assert "<b>low score</b>, 1 field" in quality
    assert "<b>unlike</b>, 1 field" in quality
    assert "plate_score" in quality
    assert quality.count('class="scores"') == 2  # a map of each image that is listed
    assert "<b>1 of 4 images</b>" in page.partition("id='quality'")[0]  # in short
    assert "came in later" not in page
    assert "least score that counts" in page


def test_a_well_without_an_image_that_counts_is_left_out_and_not_0(
    write_run: Write,
) -> None:
    run = write_run(min_quality=0.25)  # C03 is left out
    assert run.summaries["conditions"].set_index("condition")["n_wells"].to_dict() == {
        "bad": 1,
        "good": 2,
    }
    assert ("3 of 4", "wells with images that count") in headline(run)
    (plot,) = well_figures(run)
    spots = plot.numbers.set_index(["row", "column"])["n_spots"]
    assert np.isnan(spots["C", "03"])
    assert not spots.drop([("C", "03")]).isna().any()
    assert plot.numbers["no_image_counts"].tolist() == ["", "", "", "left out"]
    assert "wells without an image that counts (1 left out)" in plot.caption
    drawn = svg_text(plot.figure)
    assert "left out: no image counts" in drawn
    (axes,) = plot.figure.axes
    of_values, marked = axes.lines
    assert np.isfinite(np.asarray(of_values.get_xdata(), float)).sum() == 3
    assert marked.get_label() == "left out: no image counts"
    assert len(marked.get_xdata()) == 1
    flags = pd.DataFrame(columns=["row", "column", "field", "flag"])
    browser = plate_browser(run, None, flags)
    words = "C03, bad, Actb, left out: 1 image scored too low, none counts, 1 field"
    assert f"aria-label='{words}'" in browser
    assert browser.count("class='empty'") == 1
    assert "grey and hatched: left out" in browser
    assert "<b>FISH</b>: left out: 1 image scored too low" in browser
    page = write_report(run.folder.local_path).read_text()
    assert "1 well is left out whole: C03." in page
    for each in (write_run(), write_run((0.9, 0.8, 0.7, 0.6), min_quality=0.5)):
        assert "hatched" not in plate_browser(each, None, flags)
        (plot,) = well_figures(each)
        assert "no_image_counts" not in plot.numbers
        assert ("4", "wells") in headline(each)


def test_without_ratings_nothing_is_said_of_them(write_run: Write) -> None:
    run = write_run()
    assert rating_words(run, read_ratings(run).iloc[:0]) == ""


def test_a_map_draws_each_tile_and_tiles_before_lie_on_top() -> None:
    tiles = pd.DataFrame(CORNERS, columns=["y", "x"]).assign(height=256, width=256)
    tiles["score"] = [0.0, 0.25, 0.5, 0.75, 1.0, np.nan]
    svg = map_svg(tiles, SHAPE, np.zeros(SHAPE, np.uint16))
    boxes = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)"', svg)
    assert len(boxes) == 6
    assert boxes[-1] == ("0.0", "0.0")  # the last drawn is the first tile
    assert re.findall(r">([\d.-]+)</text>", svg) == [
        *("-", "1.00", "0.75", "0.50", "0.25", "0.00")
    ]
    assert "#440154" in svg  # viridis at 0
    assert "#fde725" in svg  # and at 1
    assert svg.count("<image") == 2
    assert map_svg(tiles, SHAPE).count("<image") == 0


def test_a_field_is_shown_with_its_scores(write_run: Write, tmp_path: Path) -> None:
    run = write_run()
    plate = tmp_path / "plate.zarr"
    address = FieldAddress("B", "02", "0")
    create_plate(plate, [address])
    image = np.random.default_rng(0).integers(0, 99, (1, *SHAPE)).astype(np.uint16)
    write_image(
        plate,
        address,
        image,
        ImageLayout("cyx", image.shape, image.dtype, channels=("FISH",)),
    )
    field = open_plate(plate).open("B/02/0")
    picture = draw_score_map(run, field)
    assert "score <b>0.9</b> (expected recall 0.45, precision 1)" in picture
    assert picture.count("<rect") == 6
