import base64
import errno
import hashlib
import os
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import RunError, StoreError
from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image, write_labels
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.report.browser_script import SCRIPT
from deepspot_scale.report.html import number, probability, table
from deepspot_scale.report.page import polarity_note, write_report
from deepspot_scale.report.summary import comparison_sentences
from deepspot_scale.runs.contents import OLD, Contents, write_contents
from deepspot_scale.runs.manifest import commit_part
from deepspot_scale.runs.summarise import STATISTICS, summarise_run
from deepspot_scale.settings import assemble, read_settings
from deepspot_scale.statistics.groups import FIELD
from deepspot_scale.statistics.polarity_tests import polarity_statistics
from deepspot_scale.statistics.sector_index import SectorIndex
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import (
    CELLS,
    CLUSTERS,
    QUALITY,
    RADIAL,
    SPOTS,
    FieldAddress,
)

ADDRESSES = [FieldAddress("B", c, "0") for c in ("02", "03")]
NO_MAP = pd.DataFrame()
SETTINGS = 'channels = ["FISH"]\ncells = "cells"\n'
CONTENTS = Contents.of(assemble(read_settings(SETTINGS)))


def rows_of(columns, **values):
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in columns}
    return as_table(pd.DataFrame(zeros | values), columns)


def write_run(
    folder, fields, *, cells=None, plate_map=NO_MAP, spots=None, quality=None
):
    run = Folder(str(folder))
    write_contents(run, CONTENTS)
    run.write("settings.toml", SETTINGS.encode())
    run.write("provenance.json", b"{}")
    if spots is None:
        done = fields[fields["status"] == "done"]
        each = done.loc[done.index.repeat(done["n_spots"]), FIELD]
        spots = rows_of(SPOTS, **each.reset_index(drop=True), channel="FISH")
    cells = empty_table(CELLS) if cells is None else cells
    quality = empty_table(QUALITY) if quality is None else quality
    parts = {"spots": spots, "cells": cells, "quality": quality}
    parts["clusters"], parts["radial"] = empty_table(CLUSTERS), empty_table(RADIAL)
    commit_part(run, "all", parts, fields, CONTENTS)
    summarise_run(run, read_settings(SETTINGS), plate_map, ["FISH"])
    return folder


def fields_of(columns=("02", "03"), **values):
    known = {"row": "B", "column": list(columns), "field": "0", "status": "done"}
    known |= {"n_spots": 5, "n_planes": 1, "seconds": 2.0, "part": "all"}
    return rows_of(CONTENTS.fields, **(known | values))


@pytest.fixture
def draw_cells(cell_pool):
    """Make cells of some wells, 12 in each, polarised or not."""

    def draw(columns=("02", "03"), enrichment=1.0, **values):
        rng = np.random.default_rng(0)
        areas = cell_pool.uneven_areas(rng, 12 * len(columns))
        spots = cell_pool.thrown(rng, areas, enrichment)
        wells = np.repeat(columns, 12)
        cells = cell_pool.cells_table(spots, areas, column=wells, **values)
        return as_table(cells, CELLS)

    return draw


@pytest.fixture
def plate(tmp_path):
    target = tmp_path / "plate.zarr"
    create_plate(target, ADDRESSES)
    image = np.random.default_rng(0).integers(0, 999, (1, 80, 96)).astype(np.uint16)
    labels = np.zeros((80, 96), np.int32)
    labels[20:50, 30:70] = 4
    for address in ADDRESSES:
        layout = ImageLayout("cyx", image.shape, image.dtype, ("FISH",))
        write_image(target, address, image, layout)
        write_labels(target, address, "cells", labels)
    return open_plate(target)


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.targets, self.opened = [], []

    def handle_starttag(self, tag, attrs):
        self.opened.append(tag)
        loaded = {"src", "xlink:href"} | ({"href"} if tag != "a" else set())
        self.targets += [v for k, v in attrs if k in loaded]


def read(folder, **options):
    return write_report(folder, **options).read_text("utf-8")


def test_the_page_is_one_file_that_loads_nothing(tmp_path, plate, draw_cells):
    spots = rows_of(SPOTS, row="B", column="03", field="0", y=[5.0, 9.5], x=[6.0, 7.0])
    spots["channel"] = "FISH"
    run = write_run(tmp_path / "RUN", fields_of(), cells=draw_cells(), spots=spots)
    (run / "provenance.json").write_text('{"versions": {"numpy": "2.0"}}')
    page = write_report(run, plate=plate)
    assert page == run / "report.html"
    text = page.read_text("utf-8")
    links = Links()
    links.feed(text)
    assert links.targets
    assert all(link.startswith(("data:", "#")) for link in links.targets)
    # The one script is a constant of ours, and the policy allows no other by its hash.
    assert links.opened.count("script") == 1
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"<script>{SCRIPT}</script>" in text
    assert f"script-src 'sha256-{digest}'\">" in text
    assert "@import" not in text
    assert "versions.numpy" in text
    assert "typical" in text
    assert text.count("<circle") == 2


def test_each_figure_is_also_an_svg_with_a_csv_that_the_page_links(
    tmp_path, draw_cells
):
    run = write_run(tmp_path / "RUN", fields_of(), cells=draw_cells())
    text = read(run)
    figures = {path.stem for path in (run / "report").glob("*.svg")}
    assert {"polarity", "roses", "plate_spots", "wells_by_condition"} <= figures
    for name in figures:
        assert f'href="report/{name}.svg"' in text
        assert len(pd.read_csv(run / "report" / f"{name}.csv"))
        assert "<text" in (run / "report" / f"{name}.svg").read_text("utf-8")


def test_a_report_removes_what_an_earlier_one_wrote_and_nothing_else(
    tmp_path, draw_cells
):
    run = write_run(tmp_path / "RUN", fields_of(), cells=draw_cells())
    write_report(run)
    own = {path.name for path in (run / "report").iterdir()}
    assert "roses.svg" in own
    (run / "report" / "mine.svg").write_text("drawn by hand")
    (run / "report" / "mine.csv").write_text("counted by eye")
    Folder(str(run)).remove("cells/all.parquet")
    summarise_run(Folder(str(run)), read_settings(SETTINGS), NO_MAP, ["FISH"])
    write_report(run)
    assert not (run / "report" / "roses.svg").exists()
    assert (run / "report" / "mine.svg").read_text() == "drawn by hand"
    assert (run / "report" / "mine.csv").read_text() == "counted by eye"


def counts_of(told):
    """What was told, by what was counted, in the order of its first number."""
    found = {}
    for noun, done, total in told:
        found.setdefault(noun, []).append((done, total))
    return found


def test_all_that_takes_long_in_a_report_is_told_from_none_to_all(
    tmp_path, plate, draw_cells
):
    empty = fields_of(n_spots=[5, 0])
    run = write_run(tmp_path / "RUN", empty, cells=draw_cells())
    for name in STATISTICS:  # as an earlier version left a run
        (run / f"{name}.parquet").unlink()
    told = []
    write_report(run, plate=plate, progress=lambda *numbers: told.append(numbers))
    found = counts_of(told)
    assert list(found) == [
        "parts of cells",
        "statistics",
        "fields without spots",
        "pictures",
        "fields to look at",
        "sections",
    ]
    assert found["parts of cells"] == 2 * [(0, 1), (1, 1)]  # for statistics, flags
    for noun in found.keys() - {"parts of cells"}:
        total = found[noun][0][1]
        assert total > 0
        assert found[noun] == [(done, total) for done in range(total + 1)]
    assert found["pictures"][-1] == (2, 2)
    told.clear()
    write_report(run, progress=lambda *numbers: told.append(numbers))
    assert list(counts_of(told)) == ["parts of cells", "sections"]


def test_a_part_without_cells_is_not_waited_for(tmp_path, draw_cells):
    fields = fields_of().assign(part=["all", "other"])
    run = write_run(tmp_path / "RUN", fields, cells=draw_cells(columns=("02",)))
    told = []
    settings = read_settings(SETTINGS)
    folder = Folder(str(run))
    summarise_run(
        folder, settings, NO_MAP, ["FISH"], tell=lambda *numbers: told.append(numbers)
    )
    assert counts_of(told)["parts of cells"] == [(0, 1), (1, 1)]


def test_the_command_says_how_long_the_rest_of_a_report_takes(
    tmp_path, plate, draw_cells, command, monkeypatch
):
    run = write_run(tmp_path / "RUN", fields_of(), cells=draw_cells())
    monkeypatch.setattr("deepspot_scale.cli.progress.LOG_SECONDS", -1)
    ended = command("report", run, "--plate", plate.source)
    assert (ended.code, ended.out) == (0, f"{run / 'report.html'}\n"), ended.err
    lines = ended.err.splitlines()
    assert "1/2 pictures, 0:00 left" in lines
    assert lines[-1] == "15/15 sections"
    monkeypatch.setattr("deepspot_scale.cli.progress.LOG_SECONDS", 1e9)
    assert command("report", run, "--plate", plate.source).err == ""


def test_a_list_of_files_cannot_make_a_report_delete_elsewhere(tmp_path):
    run = write_run(tmp_path / "RUN", fields_of())
    write_report(run)
    (run / "report" / "files.json").write_text('["../settings.toml", ".."]')
    write_report(run)
    assert (run / "settings.toml").exists()


@pytest.mark.parametrize("name", ["files.json", "plate_spots.svg", "report.html"])
def test_a_report_that_breaks_off_leaves_the_earlier_page_whole(
    tmp_path, draw_cells, monkeypatch, name
):
    run = write_run(tmp_path / "RUN", fields_of(), cells=draw_cells())
    before = read(run)
    (run / "provenance.json").write_text('{"versions": {"numpy": "2.0"}}')
    true = os.replace

    def fail(source, target):
        if os.path.basename(target) == name:
            raise OSError(errno.ENOSPC, "no space left on device")
        true(source, target)

    with monkeypatch.context() as full:
        full.setattr(os, "replace", fail)
        with pytest.raises(StoreError, match="no space"):
            write_report(run)
    assert (run / "report.html").read_text("utf-8") == before
    assert not list(run.rglob("*.partial-*"))
    linked = set(re.findall(r'href="(report/[^"]+)"', before))
    assert "report/roses.svg" in linked
    assert all((run / name).exists() for name in linked)
    assert read(run) != before


def test_a_report_written_again_is_the_same(tmp_path, draw_cells):
    run = write_run(tmp_path / "RUN", fields_of(), cells=draw_cells())
    assert read(run) == read(run)


def test_the_polarity_on_the_page_is_that_of_the_statistics(tmp_path, draw_cells):
    map_ = pd.DataFrame(
        {"row": "B", "column": ["2", "3"], "condition": ["wound", "calm"]}
    )
    cells = draw_cells(enrichment=4.0)
    run = write_run(tmp_path / "RUN", fields_of(), cells=cells, plate_map=map_)
    text = read(run)
    told = polarity_statistics(cells, map_, index=SectorIndex())
    corrected = told[told["measure"] == "index_corrected"]
    for line in corrected.to_dict("records"):
        assert f"<b>{number(line['value'])}</b>" in text
        assert f"q {probability(line['p_adjusted'])}" in text
    assert "<b>wound · FISH</b>: spots lie towards the reference" in text
    written = pd.read_csv(run / "report" / "polarity.csv")
    np.testing.assert_allclose(written["value"], told["value"])


def test_too_few_wells_to_compare_are_said_to_be_too_few(tmp_path, draw_cells):
    map_ = pd.DataFrame({"row": "B", "column": ["2", "3"], "condition": ["a", "b"]})
    run = write_run(tmp_path / "R", fields_of(), cells=draw_cells(), plate_map=map_)
    assert "too few wells to compare" in read(run)


def test_many_conditions_are_not_compared_in_pairs(tmp_path, draw_cells):
    columns = [f"{i:02d}" for i in range(1, 15)]
    names = [f"drug {c}" for c in columns]
    map_ = pd.DataFrame({"row": "B", "column": columns, "condition": names})
    cells = draw_cells(columns).groupby("column").head(2)
    run = write_run(tmp_path / "R", fields_of(columns), cells=cells, plate_map=map_)
    text = read(run)
    assert "14 conditions are too many to compare" in text
    assert "2 more conditions: see the table" in text


def test_the_bias_of_the_published_rotation_stands_beside_the_number():
    told = pd.DataFrame({"rotation": ["published"], "sectors": [3]})
    text = polarity_note(told)
    assert "class='note'" in text
    assert "uniformly give 0.9 to 1, not 0" in text
    assert "class='note'" not in polarity_note(told.assign(rotation="fixed"))


def test_without_cells_the_plate_shows_spots_per_field(tmp_path):
    text = read(write_run(tmp_path / "RUN", fields_of()))
    assert "Spots per field" in text
    assert "No cells were measured" in text
    assert "id='polarity'" not in text


def test_without_a_reference_there_is_no_polarity_and_the_page_says_so(
    tmp_path, draw_cells
):
    cells = draw_cells(reference_deg=np.nan)
    text = read(write_run(tmp_path / "RUN", fields_of(), cells=cells))
    assert "No reference was given" in text
    assert "id='polarity'" not in text


def test_cells_without_enough_spots_are_said_to_have_no_polarity(tmp_path, draw_cells):
    few = draw_cells().head(1)
    text = read(write_run(tmp_path / "RUN", fields_of(), cells=few))
    assert "polarity is not known" in text


def test_failed_fields_are_listed_and_no_word_of_a_user_is_html(
    tmp_path, plate, draw_cells
):
    fields = fields_of(status=["done", "failed"], reason=["", "no <b>labels</b>"])
    names = {"condition": ["<i>x</i> $a_b", "y"], "gene": "<script>1</script>"}
    map_ = pd.DataFrame({"row": ["B", "B"], "column": ["02", "03"]} | names)
    run = write_run(tmp_path / "RUN", fields, cells=draw_cells(), plate_map=map_)
    (run / "provenance.json").write_text('{"input": {"name": "<u>plate</u>"}}')
    text = read(run, plate=plate)
    assert "1 field failed" in text
    assert "no &lt;b&gt;labels" in text
    for tag in ("<b>labels", "<i>", "<script>1", "<u>"):
        assert tag not in text


def test_images_without_a_plate_are_listed_by_name(tmp_path):
    fields = fields_of(row="", column="", field=["first", "second"])
    text = read(write_run(tmp_path / "RUN", fields))
    assert "second" in text
    assert "heat map" not in text


def test_a_run_of_failures_has_a_report(tmp_path, plate):
    fields = fields_of(status="failed", n_spots=0, n_planes=0, reason="gone")
    text = read(write_run(tmp_path / "A", fields), plate=plate)
    assert "0 of 2" in text
    assert "2 fields failed" in text


def test_a_run_of_nothing_has_a_report(tmp_path, plate):
    text = read(write_run(tmp_path / "B", empty_table(CONTENTS.fields)), plate=plate)
    assert "No field was processed" in text


def test_a_field_that_can_not_be_shown_leaves_the_rest_of_the_page(tmp_path, plate):
    run = write_run(tmp_path / "RUN", fields_of(n_spots=0))
    (run / "settings.toml").write_text('channels = ["Cy5"]\n')
    text = read(run, plate=plate)
    assert "It cannot be shown" in text
    assert "Cy5" in text


def test_without_its_plate_the_page_says_that_images_are_missing(tmp_path):
    text = read(write_run(tmp_path / "RUN", fields_of()))
    assert "The plate was not found" in text


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"fields\.parquet"):
        write_report(tmp_path)


def test_a_run_of_an_earlier_version_has_a_report(tmp_path):
    run = write_run(tmp_path / "RUN", fields_of())
    fields_of().drop(columns="n_faint").to_parquet(run / "manifest" / "all.parquet")
    assert "2 of 2" in read(run)


def quality_of(**values):
    given = {"row": "B", "column": ["02", "03"], "field": "0", "channel": "FISH"}
    return rows_of(QUALITY, **(given | values))


def test_saturation_is_flagged_as_the_run_measured_it_and_no_image_is_asked(
    tmp_path, plate
):
    # The images of this plate are far from their limit.
    quality = quality_of(saturated=[0.0, 0.25])
    run = write_run(tmp_path / "RUN", fields_of(), quality=quality)
    for at_hand in (None, plate):
        text = read(run, plate=at_hand)
        assert "Saturation and focus were measured in 2 fields" in text
        flags = pd.read_csv(run / "report" / "flags.csv", dtype=str)
        told = flags[["column", "flag", "detail"]].to_numpy().tolist()
        assert told == [["03", "saturated", "25.00% of the pixels"]]


def test_a_run_of_the_old_kind_has_a_report_without_flags_of_quality(tmp_path):
    quality = quality_of(saturated=1.0)
    run = write_run(tmp_path / "RUN", fields_of(n_spots=[5, 0]), quality=quality)
    (run / "contents.json").unlink()
    known = [column.name for column in OLD.fields]
    fields_of(n_spots=[5, 0])[known].to_parquet(run / "manifest" / "all.parquet")
    text = read(run)
    assert "2 of 2" in text
    assert "Saturation and focus were measured in no field" in text
    flags = pd.read_csv(run / "report" / "flags.csv", dtype=str)
    assert flags[["column", "flag"]].to_numpy().tolist() == [["03", "no spots"]]


def test_a_long_table_says_how_much_is_left():
    text = table(pd.DataFrame({"n_spots": range(1234)}), file="report/x.csv")
    assert text.count("<tr>") == 201
    assert "1,034 more lines" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.nan, "-"),
        (0.0, "0"),
        (0.12349, "0.123"),
        (2e-5, "2e-05"),
        (12345, "12,345"),
        (-1.5, "-1.5"),
        (True, "True"),
        (None, "-"),
    ],
)
def test_numbers_are_written_for_people(value, text):
    assert number(value) == text


def test_a_p_value_is_never_said_to_be_below_what_its_draws_can_give():
    assert probability(0.001, 0.001) == "≤ 0.001"
    assert probability(0.04, 0.001) == "= 0.04"
    assert probability(np.nan) == "not known"


def test_of_many_pairs_only_those_that_differ_are_named():
    once = {"channel": "FISH", "acquisition": 0, "t": 0, "z": 0}
    pairs = once | {"condition": list("abcd"), "versus": "z"}
    numbers = {"difference": 0.5, "p_value": 0.01, "least_p": 0.001, "gene": ""}
    wells = {"n_wells": 4, "n_wells_versus": 4, "p_adjusted": [0.02, 0.3, 0.3, 0.3]}
    told = list(comparison_sentences(pd.DataFrame(pairs | numbers | wells)))
    assert told[0].startswith("Of 4 pairs of conditions 1 differ in polarity")
    assert len(told) == 2
    assert "a against z" in told[1]
    assert "differ in polarity; difference 0.5" in told[1]


def test_the_statistics_on_the_page_are_those_that_the_run_wrote(tmp_path, draw_cells):
    map_ = pd.DataFrame({"row": "B", "column": ["2", "3"], "condition": ["a", "b"]})
    cells = draw_cells(enrichment=4.0)
    run = write_run(tmp_path / "RUN", fields_of(), cells=cells, plate_map=map_)
    before = read(run)
    numbers = {path.name: path.read_bytes() for path in (run / "report").glob("*.csv")}
    assert {"polarity.csv", "comparisons.csv", "roses.csv", "wells.csv"} <= set(numbers)
    (run / "cells" / "all.parquet").unlink()
    # Only the spread of spots over cells is of the cells themselves.
    own = r"<section id='polarity'>.*?</section>"
    assert re.findall(own, read(run)) == re.findall(own, before) != []
    numbers = {k: v for k, v in numbers.items() if not k.startswith("spots_per_cell")}
    for name, content in numbers.items():
        assert (run / "report" / name).read_bytes() == content


def test_a_report_of_a_run_without_statistics_measures_them_first(tmp_path, draw_cells):
    run = write_run(tmp_path / "RUN", fields_of(), cells=draw_cells(enrichment=4.0))
    before = read(run)
    for name in STATISTICS:
        (run / f"{name}.parquet").unlink()
    assert read(run) == before
    assert (run / "polarity.parquet").is_file()


def test_fields_that_came_in_after_the_summary_are_said_to_be_left_out(tmp_path):
    run = write_run(tmp_path / "RUN", fields_of())
    assert "came in later" not in read(run)
    late = fields_of(["04"], part="late")
    parts = {name: empty_table(columns) for name, columns in CONTENTS.tables.items()}
    commit_part(Folder(str(run)), "late", parts, late, CONTENTS)
    assert "1 field came in later" in read(run)
