from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import RunError
from deepspot_scale.io.layout import ImageLayout
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.writing import create_plate, write_image, write_labels
from deepspot_scale.report.figures import overlay_svg, stretch
from deepspot_scale.report.page import write_report
from deepspot_scale.report.picture import typical_field
from deepspot_scale.report.polarity import SectorIndex
from deepspot_scale.report.statistics import summarise_conditions, summarise_wells
from deepspot_scale.vocabulary import (
    CELLS,
    FIELDS,
    SPOTS,
    FieldAddress,
    as_table,
    empty_table,
)

ADDRESSES = [FieldAddress("B", c, "0") for c in ("02", "03")]
NO_MAP = pd.DataFrame()


def table(columns, **values):
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in columns}
    return as_table(pd.DataFrame(zeros | values), columns)


def write_run(folder, fields, *, cells=None, plate_map=NO_MAP, spots=None):
    folder.mkdir(exist_ok=True)
    cells = empty_table(CELLS) if cells is None else cells
    inputs = (fields, cells, plate_map)
    quick = {"channels": ["FISH"], "index": SectorIndex(n_boot=20, n_null=20)}
    fields.to_parquet(folder / "fields.parquet")
    summarise_wells(*inputs, **quick).to_parquet(folder / "wells.parquet")
    summarise_conditions(*inputs, **quick).to_parquet(folder / "conditions.parquet")
    if spots is not None:
        (folder / "spots").mkdir()
        spots.to_parquet(folder / "spots" / "part.parquet")


def two_fields(**values):
    known = {"row": "B", "column": ["02", "03"], "field": "0", "status": "done"}
    return table(FIELDS, **(known | {"n_spots": [3, 9], "n_planes": 1} | values))


def cells_of(column, n=12):
    rng = np.random.default_rng(0)
    bins = [rng.integers(0, 2, 360) for _ in range(n)]
    counts = [int(b.sum()) for b in bins]
    return table(
        CELLS,
        row="B",
        column=column,
        field="0",
        channel="FISH",
        cell=np.arange(n) + 1,
        n_spots=counts,
        n_spots_cytoplasm=counts,
        area_bins=[np.full(360, 20)] * n,
        spot_bins=bins,
    )


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
        self.targets += [v for k, v in attrs if k in {"src", "href", "xlink:href"}]


def test_the_page_is_one_file_that_loads_nothing(tmp_path, plate):
    spots = table(SPOTS, row="B", column="03", field="0", y=[5.0, 9.5], x=[6.0, 7.0])
    spots["channel"] = "FISH"
    run = tmp_path / "RUN"
    write_run(run, two_fields(), cells=cells_of("02"), spots=spots)
    (run / "settings.toml").write_text('channels = ["FISH"]\ncells = "cells"\n')
    (run / "provenance.json").write_text('{"versions": {"numpy": "2.0"}}')
    page = write_report(run, plate=plate)
    assert page == run / "report.html"
    text = page.read_text("utf-8")
    links = Links()
    links.feed(text)
    assert links.targets
    assert all(link.startswith("data:") for link in links.targets)
    assert "script" not in links.opened
    assert "link" not in links.opened
    assert "@import" not in text
    assert text.count("<circle") == 2
    assert "A typical field: B/03/0" in text
    assert "versions.numpy" in text


def test_the_summary_says_what_the_tables_say(tmp_path):
    map_ = pd.DataFrame({"row": ["B"], "column": ["2"], "condition": ["migrating"]})
    cells = cells_of("02")
    write_run(tmp_path / "RUN", two_fields(), cells=cells, plate_map=map_)
    text = write_report(tmp_path / "RUN").read_text("utf-8")
    assert "2 of 2 fields done." in text
    assert f"12 spots, and 12 cells with {cells['n_spots'].mean():.3g} each" in text
    assert "migrating · FISH: spots lie" in text
    assert "spots per cell" in text
    assert "Polarity per condition" in text


def test_without_cells_the_plate_shows_spots_per_field(tmp_path):
    write_run(tmp_path / "RUN", two_fields())
    text = write_report(tmp_path / "RUN").read_text("utf-8")
    assert "spots per field" in text
    assert "Polarity" not in text


def test_cells_without_enough_spots_are_said_to_have_no_polarity(tmp_path):
    few = cells_of("02", n=1)
    write_run(tmp_path / "RUN", two_fields(), cells=few)
    text = write_report(tmp_path / "RUN").read_text("utf-8")
    assert "polarity can not be told" in text


def test_failed_fields_are_listed_with_their_reason_and_nothing_is_html(tmp_path):
    fields = two_fields(status=["done", "failed"], reason=["", "no <b>labels</b>"])
    map_ = pd.DataFrame({"row": ["B"], "column": ["02"], "condition": ["<i>x</i>"]})
    write_run(tmp_path / "RUN", fields, cells=cells_of("02"), plate_map=map_)
    text = write_report(tmp_path / "RUN").read_text("utf-8")
    assert "1 field failed" in text
    assert "no &lt;b&gt;labels" in text
    assert "<b>" not in text
    assert "<i>" not in text


def test_images_without_a_plate_are_listed_by_name(tmp_path):
    fields = two_fields(row="", column="", field=["first", "second"])
    write_run(tmp_path / "RUN", fields)
    text = write_report(tmp_path / "RUN").read_text("utf-8")
    assert "second" in text
    assert "heat map" not in text


def test_a_run_of_failures_and_a_run_of_nothing_have_a_report(tmp_path, plate):
    write_run(tmp_path / "A", two_fields(status="failed", n_spots=0, n_planes=0))
    assert "0 of 2 fields done." in write_report(tmp_path / "A").read_text("utf-8")
    write_run(tmp_path / "B", empty_table(FIELDS))
    text = write_report(tmp_path / "B", plate=plate).read_text("utf-8")
    assert "0 of 0 fields done." in text


def test_a_field_that_can_not_be_shown_leaves_the_rest_of_the_page(tmp_path, plate):
    write_run(tmp_path / "RUN", two_fields())
    (tmp_path / "RUN" / "settings.toml").write_text('channels = ["Cy5"]\n')
    text = write_report(tmp_path / "RUN", plate=plate).read_text("utf-8")
    assert "It can not be shown" in text
    assert "Cy5" in text


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"fields\.parquet"):
        write_report(tmp_path)


def test_the_typical_field_has_the_middle_number_of_spots():
    fields = two_fields()
    more = fields.assign(field="1", n_spots=[5, 100])
    got = typical_field(pd.concat([fields, more]))
    assert got in {FieldAddress("B", "02", "1"), FieldAddress("B", "03", "0")}
    assert typical_field(two_fields(status="failed")) is None


def test_rings_stand_on_pixel_centres_and_outlines_follow_the_cells():
    cells = np.zeros((40, 40), int)
    cells[10:20, 5:9] = 7
    svg = overlay_svg(np.zeros((40, 40)), np.array([[3.0, 4.25]]), cells)
    assert 'cx="4.8" cy="3.5"' in svg
    assert svg.count("M5.5,10.5") == 1


def test_a_noisy_picture_stays_below_600_kb():
    noise = np.random.default_rng(0).integers(0, 65535, (1024, 1024))
    assert len(overlay_svg(noise, np.empty((0, 2)))) < 1.4 * 600_000


@pytest.mark.parametrize("value", [0, 7, np.nan])
def test_a_constant_or_empty_image_is_stretched_without_complaint(value):
    assert stretch(np.full((4, 4), value, np.float32)).max() == 0
