"""What is checked before the first field is read, and which fields are left to do."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepspot_scale.errors import PlateError, RunError, SettingsError
from deepspot_scale.io.plate import FieldEntry, Plate, open_plate
from deepspot_scale.runs.prepare import (
    Prepared,
    Selection,
    prepare_run,
    select_fields,
)
from deepspot_scale.settings import make_settings
from deepspot_scale.vocabulary import FieldAddress

PATHS = ("B/03/0", "B/03/1", "C/04/0")


@pytest.fixture(scope="module")
def plate(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> str:
    """Two wells of three fields, none of them ever changed."""
    scenes = {path: draw_scene(0, (40, 40)) for path in PATHS}
    return write_plate(tmp_path_factory.mktemp("plate") / "p.zarr", scenes)


def _prepare(
    plate: str, out: Path, selection: Selection = Selection(), **values: Any
) -> Prepared:
    settings = make_settings(**{"channels": ("FISH",), "enhance": False, **values})
    return prepare_run(plate, str(out), settings, selection=selection)


def _paths(prepared: Prepared) -> list[str]:
    return [task.entry.address.path for task in prepared.tasks]


def test_a_new_run_has_all_fields_to_do(plate: str, tmp_path: Path) -> None:
    prepared = _prepare(plate, tmp_path / "run")
    assert _paths(prepared) == list(PATHS)
    assert (prepared.skipped, prepared.missing) == (0, [])
    assert prepared.channels == ("FISH",)
    assert prepared.job.pipeline.networks == ()


def test_preparing_reads_no_pixels_and_runs_no_field(
    plate: str, tmp_path: Path
) -> None:
    damaged = shutil.copytree(plate, tmp_path / "damaged.zarr")
    for chunk in damaged.glob("*/*/*/0/c/*/*/*"):
        chunk.write_bytes(b"")
    assert len(_prepare(str(damaged), tmp_path / "run").tasks) == 3
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [
        "contents.json",
        "provenance.json",
        "settings.toml",
    ]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(("B03",)), PATHS[:2]),
        (Selection(("c/4", "b3")), PATHS),
        (Selection(("C04", "C04")), PATHS[2:]),
        (Selection(limit=2), PATHS[:2]),
        (Selection(("B03", "C04"), 1), PATHS[:1]),
        (Selection(limit=99), PATHS),
        (Selection(fields=("C/04/0", "B/03/1")), PATHS[1:]),
        (Selection(("B03",), fields=("B/03/1",)), PATHS[1:2]),
    ],
)
def test_a_selection_keeps_the_order_of_the_plate(
    plate: str, selection: Selection, expected: tuple[str, ...]
) -> None:
    chosen = select_fields(open_plate(plate), selection)
    assert tuple(entry.address.path for entry in chosen) == expected


@pytest.mark.parametrize(
    ("selection", "reason"),
    [
        (Selection(("D09",)), "no well 'D09': the plate has B03, C04"),
        (Selection(("B03", "wrong")), "no well 'wrong'"),
        (Selection(limit=0), "at least 1"),
        (Selection(fields=("B/03/7",)), "no field 'B/03/7'.*Did you mean 'B/03/"),
    ],
)
def test_a_selection_of_nothing_is_refused(
    plate: str, tmp_path: Path, selection: Selection, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        _prepare(plate, tmp_path / "run", selection)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("one", "other", "word"),
    [
        ("B/03", "B/3", "B3"),
        ("B/3", "b/3", "b3"),
        ("B/3", "B/0003", "B0003"),
        ("A/11", "A1/1", "A11"),
    ],
)
@pytest.mark.parametrize("absent", [False, True])
def test_wells_that_one_word_would_mean_are_refused_before_the_work(
    tmp_path: Path, one: str, other: str, word: str, absent: bool
) -> None:
    entries = [
        FieldEntry(FieldAddress(*well.split("/"), "0"), well) for well in (one, other)
    ]
    plate = Plate("p.zarr", "p", tuple(entries))
    if absent:
        plate = Plate("p.zarr", "p", tuple(entries[:1]), (other,))
    with pytest.raises(PlateError, match=f"{one} and {other}, and {word} .* both"):
        select_fields(plate, Selection())


@pytest.mark.parametrize("wells", [("A/1-2", "A-1/2"), ("B/3", "B/30"), ("B/0", "B/1")])
def test_wells_that_no_word_mixes_up_are_all_selected(wells: tuple[str, ...]) -> None:
    entries = [FieldEntry(FieldAddress(*w.split("/"), "0"), w) for w in wells]
    plate = Plate("p.zarr", "p", tuple(entries))
    assert select_fields(plate, Selection()) == entries
    for entry in entries:
        chosen = select_fields(plate, Selection((entry.address.well,)))
        assert chosen == [entry]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"channels": ("FIHS",)}, "Did you mean 'FISH'"),
        ({"channels": ("2",)}, "has no channel '2'"),
        ({"segment": {"segments": ("nuclei:DAPY",)}}, "has no channel 'DAPY'"),
        ({"channels": ("FISH", "1")}, "name one channel twice"),
        ({"detector": "best"}, "no detector"),
        ({"detector": "paper"}, "for enhanced images"),
        ({"reference": "absent.csv"}, r"absent\.csv"),
        ({"plate_map": "absent.csv"}, r"absent\.csv"),
    ],
)
def test_a_wrong_setting_is_refused_before_a_folder_is_made(
    plate: str, tmp_path: Path, values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        _prepare(plate, tmp_path / "run", **values)
    assert not (tmp_path / "run").exists()


def test_no_plate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlateError, match=r"nothing\.zarr"):
        _prepare(str(tmp_path / "nothing.zarr"), tmp_path / "run")


def test_a_damaged_first_field_does_not_stop_the_run(
    plate: str, tmp_path: Path
) -> None:
    damaged = shutil.copytree(plate, tmp_path / "damaged.zarr")
    shutil.rmtree(damaged / "B/03/0")
    prepared = _prepare(str(damaged), tmp_path / "run")
    assert _paths(prepared) == list(PATHS)
    with pytest.raises(SettingsError, match="Did you mean"):
        _prepare(str(damaged), tmp_path / "other", channels=("FIHS",))


def test_channel_names_stand_for_indices(plate: str, tmp_path: Path) -> None:
    prepared = _prepare(plate, tmp_path / "run", channels=("1", "DAPI"))
    assert prepared.channels == ("FISH", "DAPI")


def test_two_channels_of_one_name_go_by_number(plate: str, tmp_path: Path) -> None:
    twice = shutil.copytree(plate, tmp_path / "twice.zarr")
    for document in twice.glob("*/*/*/zarr.json"):
        document.write_text(document.read_text().replace('"DAPI"', '"FISH"'))
    with pytest.raises(SettingsError, match=r"2 channels named 'FISH'.*number"):
        _prepare(str(twice), tmp_path / "run")
    assert _prepare(str(twice), tmp_path / "run", channels=("1",)).channels == ("FISH",)
    with pytest.raises(SettingsError, match="all called 'FISH'"):
        _prepare(str(twice), tmp_path / "both", channels=("0", "1"))


def test_a_listed_well_that_is_absent_is_kept_in_mind(
    plate: str, tmp_path: Path
) -> None:
    partial = shutil.copytree(plate, tmp_path / "partial.zarr")
    shutil.rmtree(partial / "C/04")
    prepared = _prepare(str(partial), tmp_path / "run")
    assert [task.entry.address.well for task in prepared.missing] == ["C04"]
    both = _prepare(str(partial), tmp_path / "run", Selection(("B03", "C04")))
    assert len(both.missing) == 1
    one = _prepare(str(partial), tmp_path / "run", Selection(("B03",)))
    assert one.missing == []
    assert _prepare(str(partial), tmp_path / "run", Selection(limit=1)).missing == []
    with pytest.raises(SettingsError, match=r"none of the wells C04 .* exists"):
        _prepare(str(partial), tmp_path / "run", Selection(("C04",)))


def test_a_listed_well_that_is_absent_keeps_its_line_of_the_plate_map(
    plate: str, tmp_path: Path
) -> None:
    partial = shutil.copytree(plate, tmp_path / "partial.zarr")
    shutil.rmtree(partial / "C/04")
    wells = tmp_path / "wells.csv"
    wells.write_text("well,condition\nB3,a\nC4,b\n")
    with warnings.catch_warnings(action="error"):
        prepared = _prepare(str(partial), tmp_path / "run", plate_map=str(wells))
    assert prepared.plate_map["condition"].tolist() == ["a", "b"]


def test_the_provenance_names_input_versions_and_weights(
    plate: str, tmp_path: Path
) -> None:
    _prepare(plate, tmp_path / "run", enhance=True)
    facts = json.loads((tmp_path / "run/provenance.json").read_text())
    assert facts["input"] == {"source": plate, "name": "p", "n_fields": 3}
    assert len(facts["weights"]["sha256"]) == 64
    assert {"zarr", "dask", "keras"} <= set(facts["versions"])


def test_another_plate_in_the_same_folder_is_refused(
    plate: str, tmp_path: Path
) -> None:
    _prepare(plate, tmp_path / "run")
    other = shutil.copytree(plate, tmp_path / "other.zarr")
    with pytest.raises(RunError, match=r"input: .*p\.zarr.* now .*other\.zarr"):
        _prepare(str(other), tmp_path / "run")


def test_a_reference_file_with_other_content_is_refused(
    plate: str, tmp_path: Path
) -> None:
    reference = tmp_path / "wound.csv"
    reference.write_text("row,column,y,x\nB,03,1,2\n")
    first = _prepare(plate, tmp_path / "run", reference=str(reference))
    assert [task.reference is None for task in first.tasks] == [False, False, True]
    reference.write_text("row,column,y,x\nB,03,1,3\n")
    with pytest.raises(RunError, match="reference: "):
        _prepare(plate, tmp_path / "run", reference=str(reference))
