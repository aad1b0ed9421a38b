"""The plate browser as text: bounded, named, and honest about what it leaves out."""

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.report import plate_browser as module
from deepspot_scale.report.plate_browser import plate_browser
from deepspot_scale.report.thumbnails import EDGE, MOST_BYTES, draw_thumbnail
from deepspot_scale.runs.contents import Contents, write_contents
from deepspot_scale.runs.manifest import commit_part
from deepspot_scale.runs.results import open_run
from deepspot_scale.runs.summarise import summarise_run
from deepspot_scale.settings import assemble, read_settings
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import FieldAddress

SETTINGS = 'channels = ["FISH"]\n'
CONTENTS = Contents.of(assemble(read_settings(SETTINGS)))
NO_FLAGS = pd.DataFrame(columns=["row", "column", "field", "flag"])


def write_run(folder, places, **values):
    """Write the tables of a run with one line for each (row, column, field)."""
    run = Folder(str(folder))
    write_contents(run, CONTENTS)
    run.write("settings.toml", SETTINGS.encode())
    run.write("provenance.json", b"{}")
    named = pd.DataFrame(places, columns=["row", "column", "field"])
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in CONTENTS.fields}
    known = {"status": "done", "n_planes": 1, "part": "all", "n_t": 1, "n_z": 1}
    fields = pd.DataFrame(zeros | known | dict(named) | values)
    fields = as_table(fields, CONTENTS.fields)
    parts = {name: empty_table(columns) for name, columns in CONTENTS.tables.items()}
    commit_part(run, "all", parts, fields, CONTENTS)
    map_ = pd.DataFrame({"row": ["B"], "column": ["10"], "condition": ["<i>drug</i>"]})
    map_ = map_.assign(dose=2.5, dose_unit="µM")
    summarise_run(run, read_settings(SETTINGS), map_, ["FISH"])
    return open_run(str(folder))


def write_plate(target, places, edge=40):
    addresses = [FieldAddress(*place) for place in places]
    create_plate(target, addresses)
    for address in addresses:
        image = np.random.default_rng(0).poisson(100, (1, edge, edge))
        image[0, :, edge // 2 :] += 900
        layout = ImageLayout("cyx", image.shape, np.dtype("uint16"), ("FISH",))
        write_image(target, address, image.astype(np.uint16), layout)
    return open_plate(target)


PLACES = [("B", "9", "0"), ("B", "10", "0"), ("B", "10", "1"), ("AA", "9", "0")]


def test_each_well_is_a_link_with_words_and_a_section_with_its_fields(tmp_path):
    run = write_run(tmp_path / "RUN", PLACES, n_spots=[5, 1, 2, 7])
    flags = pd.DataFrame([("B", "10", "1", "blurred")], columns=[*NO_FLAGS])
    text = plate_browser(run, None, flags)
    assert text.count("<a href='#well-") == 3
    assert text.index(">9</th>") < text.index(">10</th>")  # not as words
    assert text.index(">B</th>") < text.index(">AA</th>")
    words = "B10, &lt;i&gt;drug&lt;/i&gt;, dose 2.5 µM, 0 spots of the well, 2 fields"
    assert f"aria-label='{words}, 1 field with flags'" in text
    assert text.count("class='flagged'") == 1
    assert "id='well-B10'" in text
    assert "<td>1</td><td class='number'>2</td>" in text
    assert "<td>blurred</td>" in text
    assert "<i>" not in text
    assert "there are no pictures" in text


def test_pictures_are_bounded_by_plate_and_by_well_and_the_rest_is_counted(
    tmp_path, monkeypatch
):
    places = [("A", str(c), str(f)) for c in range(1, 5) for f in range(9)]
    run = write_run(tmp_path / "RUN", places)
    plate = write_plate(tmp_path / "plate.zarr", places)
    text = plate_browser(run, plate, NO_FLAGS)
    assert text.count("<img") == 4 * module.MOST_OF_WELL
    assert "24 pictures of 36 fields" in text
    monkeypatch.setattr(module, "MOST_THUMBNAILS", 2)
    monkeypatch.setattr(module, "MOST_LINES", 16)
    few = plate_browser(run, plate, NO_FLAGS)
    assert few.count("<img") == 2
    assert few.count("5 more fields in the tables.") == 4


def test_a_well_whose_fields_failed_has_no_numbers(tmp_path):
    status = ["done", "failed", "done", "failed"]
    text = plate_browser(
        write_run(tmp_path / "RUN", PLACES, status=status), None, NO_FLAGS
    )
    assert "aria-label='AA9, no numbers: its fields failed, 1 field'" in text
    assert text.count("class='empty'") == 1  # of B10 one field is done
    assert "grey and hatched: failed, so that no image counts" in text


def test_what_cannot_be_shown_is_said(tmp_path):
    run = write_run(tmp_path / "RUN", PLACES[:2])
    plate = write_plate(tmp_path / "plate.zarr", PLACES[:1])
    text = plate_browser(run, plate, NO_FLAGS)
    assert "1 picture of 2 fields" in text
    assert "1 picture could not be read" in text


def test_images_on_no_plate_have_no_browser(tmp_path):
    run = write_run(tmp_path / "RUN", [("", "", "first")])
    assert plate_browser(run, None, NO_FLAGS) == ""


@pytest.mark.parametrize("edge", [40, 700, 2300])
def test_a_thumbnail_is_small_and_looks_like_the_field(tmp_path, edge):
    import base64

    import cv2

    plate = write_plate(tmp_path / "plate.zarr", PLACES[:1], edge)
    text = draw_thumbnail(plate.open("B/9/0"), "FISH")
    data = base64.b64decode(text.removeprefix("data:image/jpeg;base64,"))
    assert len(data) <= MOST_BYTES
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture.shape == (min(edge, EDGE),) * 2
    half = picture.shape[1] // 2
    assert picture[:, half + 4 :].mean() > 5 * picture[:, : half - 4].mean()
