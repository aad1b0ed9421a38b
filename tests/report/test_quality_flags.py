import re
import shutil
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.cli.options import EVERYTHING, setting_parameters
from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.writing import create_plate, write_image
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.report.gallery import choose_fields, typical_field
from deepspot_scale.report.quality_flags import (
    FLAGS,
    count_raw_spots,
    flag_fields,
)
from deepspot_scale.runs.contents import Contents, write_contents
from deepspot_scale.runs.manifest import commit_part, read_fields
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.runs.summarise import summarise_run
from deepspot_scale.settings import assemble, make_settings
from deepspot_scale.simulation import render_spots
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import (
    CELLS,
    QUALITY,
    FieldAddress,
)

SETTINGS = make_settings(channels=["FISH"], cells="cells")
CONTENTS = Contents.of(assemble(SETTINGS))

NO_RAW = pd.DataFrame(columns=["row", "column", "field", "n_raw"])


def rows_of(columns, **values):
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in columns}
    table = pd.DataFrame(zeros | values)
    for column in columns:
        if column.dtype == "bins":
            table[column.name] = [np.zeros(360, np.int32)] * len(table)
    return as_table(table, columns)


def run_of(n_spots, *, cells=None, **values):
    columns = [f"{i:02d}" for i in range(len(n_spots))]
    given = {"row": "B", "column": columns, "field": "0", "status": "done"}
    given |= {"n_spots": n_spots, "part": "all"}
    fields = rows_of(CONTENTS.fields, **(given | values))
    tables = {name: empty_table(known) for name, known in CONTENTS.tables.items()}
    if cells is not None:
        tables["cells"] = cells
    folder = Folder(f"memory://{uuid4()}")
    write_contents(folder, CONTENTS)
    commit_part(folder, "all", tables, fields, CONTENTS)
    summarise_run(folder, SETTINGS, pd.DataFrame(), SETTINGS.channels)
    return RunResults(folder, SETTINGS, {}, read_fields(folder))


def quality_of(focus, saturated=0.0, focus_low=1.0):
    columns = [f"{i:02d}" for i in range(len(focus))]
    given = {"row": "B", "column": columns, "field": "0", "channel": "FISH"}
    measured = {"focus": focus, "focus_low": focus_low}
    return rows_of(QUALITY, **given, **measured, saturated=saturated)


def flagged(flags):
    return list(zip(flags["column"], flags["flag"], strict=True))


def test_a_good_run_has_no_flags():
    run, quality = run_of([5] * 6), quality_of([1.0] * 6)
    assert flag_fields(run, quality, NO_RAW).empty


def test_blur_and_saturation_are_flagged_where_they_are():
    saturated = [0, 0, 0.002, 0, 0, 0]
    quality = quality_of([1.0, 0.2, 1.1, 0.9, 1.2, 1.0], saturated)
    flags = flag_fields(run_of([5] * 6), quality, NO_RAW)
    assert flagged(flags) == [("02", "saturated"), ("01", "out of focus")]


def test_a_field_that_is_blurred_in_part_is_flagged_and_a_whole_one_only_as_whole():
    focus, low = [1.0, 0.2, 0.6, 0.9, 1.2, 1.0], [0.8, 0.1, 0.1, 0.7, 0.9, 0.8]
    flags = flag_fields(run_of([5] * 6), quality_of(focus, 0.0, low), NO_RAW)
    assert flagged(flags) == [("01", "out of focus"), ("02", "partly out of focus")]
    assert flags["detail"].iloc[1] == "13% of the median sharpness of such parts"
    earlier = quality_of(focus).drop(columns="focus_low")
    flags = flag_fields(run_of([5] * 6), earlier, NO_RAW)
    assert flagged(flags) == [("01", "out of focus")]


def test_a_blurred_field_is_not_advised_to_be_enhanced_in_another_way():
    names = {"row": "B", "column": ["00", "01"], "field": "0"}
    raw = pd.DataFrame(names | {"n_raw": [50, 50]})
    quality = quality_of([0.1, 1.0, 1.0, 1.0, 1.0])
    flags = flag_fields(run_of([0, 0, 5, 5, 5]), quality, raw)
    assert flagged(flags) == [
        ("00", "out of focus"),
        ("00", "no spots"),
        ("01", "no spots"),
        ("01", "enhancement blank"),
    ]
    assert "enhance" not in FLAGS["out of focus"]


def test_few_fields_say_nothing_about_the_usual_focus():
    flags = flag_fields(run_of([5] * 3), quality_of([1.0, 0.1, 1.0]), NO_RAW)
    assert flags.empty


def test_a_field_without_spots_whose_raw_image_has_some_is_blank():
    raw = pd.DataFrame(
        {"row": "B", "column": ["00", "01"], "field": "0", "n_raw": [3, 50]}
    )
    flags = flag_fields(run_of([0, 0]), empty_table(QUALITY), raw)
    assert flagged(flags) == [
        ("00", "no spots"),
        ("01", "no spots"),
        ("01", "enhancement blank"),
    ]


def test_fields_whose_spots_lie_below_the_threshold_are_flagged_as_crowded():
    run = run_of([30, 30, 50, 40], n_crowded=[15, 19, 26, 20])
    flags = flag_fields(run, empty_table(QUALITY), NO_RAW)
    assert flagged(flags) == [("02", "crowded")]
    assert (
        flags["detail"].iloc[0] == "26 clear spots below the threshold, 50 spots found"
    )


def test_fields_of_which_most_spots_were_left_out_are_flagged():
    run = run_of([30, 30, 5, 0], n_faint=[30, 31, 19, 20])
    flags = flag_fields(run, empty_table(QUALITY), NO_RAW)
    assert flagged(flags) == [
        ("03", "no spots"),
        ("01", "left out"),
        ("03", "left out"),
    ]
    assert flags["detail"].iloc[1] == "31 left out, 30 kept"


def test_most_cells_at_the_border_are_flagged_once_for_all_planes():
    def cells(column, border):
        n = len(border)
        return rows_of(
            CELLS,
            row="B",
            column=column,
            field="0",
            channel=["FISH"] * n + ["Cy5"] * n,
            cell=[*range(n)] * 2,
            touches_border=border * 2,
        )

    both = [cells("00", [True] * 4 + [False]), cells("01", [True] + [False] * 4)]
    run = run_of([5, 5], cells=pd.concat(both, ignore_index=True))
    flags = flag_fields(run, empty_table(QUALITY), NO_RAW)
    assert flagged(flags) == [("00", "border cells")]
    assert flags["detail"].item() == "4 of 5 cells"


def test_fields_whose_cells_are_grown_nuclei_are_flagged_by_name():
    run = run_of([5, 5, 5])
    counted = run.fields.assign(n_cells_grown=[0, 20, 0])
    run = RunResults(run.folder, run.settings, {}, counted)
    flags = flag_fields(run, empty_table(QUALITY), NO_RAW)
    assert flagged(flags) == [("01", "no cytoplasm")]
    assert flags["detail"].item() == "20 cells"
    assert set(flags["flag"]) <= set(FLAGS)


def test_every_flag_has_words():
    failed = run_of([0], status="failed", reason="gone")
    flags = flag_fields(failed, empty_table(QUALITY), NO_RAW)
    assert flagged(flags) == [("00", "failed")]
    assert flags["detail"].item() == "gone"
    assert set(flags["flag"]) <= set(FLAGS)


def test_options_that_a_flag_advises_are_options_of_a_run():
    advised = {
        word for words in FLAGS.values() for word in re.findall("--[a-z-]+", words)
    }
    names = [each.name.replace("_", "-") for each in setting_parameters(EVERYTHING)]
    assert advised
    assert advised <= {f"--{no}{name}" for name in names for no in ("", "no-")}


@pytest.fixture
def plate(tmp_path):
    """Two fields: with spots, and saturated in large parts."""
    addresses = [FieldAddress("B", c, "0") for c in ("00", "01")]
    create_plate(tmp_path / "plate.zarr", addresses)
    rng = np.random.default_rng(0)
    points = rng.uniform(10, 246, (80, 2))
    spots = render_spots((256, 256), points, np.full(80, 2000.0), np.full(80, 1.4))
    spots = rng.poisson(spots + 100).astype(np.uint16)
    bright = np.full((256, 256), 65535, np.uint16)
    for address, image in zip(addresses, (spots, bright), strict=True):
        layout = ImageLayout("cyx", (1, 256, 256), image.dtype, ("FISH",))
        write_image(tmp_path / "plate.zarr", address, image[None], layout)
    return open_plate(tmp_path / "plate.zarr")


def test_quality_is_measured_by_the_run(plate, run_quickly, tmp_path):
    run_quickly(plate.source, tmp_path / "run", cells=None, nuclei=None)
    run = open_run(tmp_path / "run")
    quality = run.read("quality")
    assert list(quality["column"]) == ["00", "01"]
    assert list(quality["saturated"]) == [0.0, 1.0]
    flags = flag_fields(run, quality, NO_RAW)
    assert ("01", "saturated") in flagged(flags)
    assert ("00", "saturated") not in flagged(flags)


def test_fields_that_can_not_be_read_have_no_quality(plate, run_quickly, tmp_path):
    shutil.rmtree(tmp_path / "plate.zarr" / "B/00/0/0")
    run_quickly(plate.source, tmp_path / "run", cells=None, nuclei=None)
    run = open_run(tmp_path / "run")
    quality = run.read("quality")
    assert list(quality["column"]) == ["01"]
    assert ("00", "failed") in flagged(flag_fields(run, quality, NO_RAW))


def test_fields_that_can_not_be_read_are_left_out(plate):
    counts = count_raw_spots(run_of([0, 9, 0]), plate)
    assert list(counts["column"]) == ["00"]


def test_raw_spots_are_counted_in_fields_without_spots(plate):
    counts = count_raw_spots(run_of([0, 9]), plate)
    assert list(counts["column"]) == ["00"]
    assert counts["n_raw"].item() >= 60


# -- which fields are shown ------------------------------------------------------------


def test_the_typical_field_has_the_middle_number_of_spots():
    run = run_of([3, 100, 9])
    assert typical_field(run.fields) == FieldAddress("B", "02", "0")
    assert typical_field(run_of([3], status="failed").fields) is None


def test_a_typical_a_best_and_a_worst_field_are_shown():
    run = run_of([5, 6, 7, 8, 9, 0])
    quality = quality_of([1.0, 3.0, 1.1, 0.9, 1.2, 1.0])
    flags = flag_fields(run, quality, NO_RAW)
    chosen = choose_fields(run, quality, flags)
    reasons = {a.column: why[0].split(":")[0] for a, why in chosen.items()}
    assert reasons == {
        "02": "typical",
        "01": "best by focus",
        "03": "worst by focus",
        "05": "most flags",
    }


def test_a_field_that_is_several_things_is_shown_once():
    run, quality = run_of([5, 6]), quality_of([1.0, 2.0])
    chosen = choose_fields(run, quality, flag_fields(run, quality, NO_RAW))
    assert len(chosen) == 2
    assert sum(len(why) for why in chosen.values()) == 3


def test_the_most_and_the_least_polarised_field_are_shown(cell_pool):
    rng = np.random.default_rng(0)
    areas = cell_pool.uneven_areas(rng, 30)
    spots = [cell_pool.thrown(rng, areas[:10], f) for f in (1.0, 6.0, 0.1)]
    columns = np.repeat(["00", "01", "02"], 10)
    areas = np.tile(areas[:10], (3, 1))
    cells = cell_pool.cells_table(np.concatenate(spots), areas, column=columns)
    run = run_of([5, 5, 5], cells=as_table(cells, CELLS))
    none = flag_fields(run, empty_table(QUALITY), NO_RAW)
    chosen = choose_fields(run, empty_table(QUALITY), none)
    reasons = {why: a.column for a, all_ in chosen.items() for why in all_}
    most = next(why for why in reasons if why.startswith("most towards"))
    least = next(why for why in reasons if why.startswith("least towards"))
    assert reasons[most] == "01"
    assert reasons[least] == "02"
