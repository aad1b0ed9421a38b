"""Which channels are meant, what a file of shifts says, and what is told of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.chromatic import Shift
from deepspot_scale.runs.compared_channels import (
    describe_compared,
    read_shifts,
    resolve_pairs,
)
from deepspot_scale.settings import make_settings
from deepspot_scale.statistics.channel_pairs import shift_table
from deepspot_scale.tables import make_table
from deepspot_scale.vocabulary import COLOCALISATION


def _pairs(words: tuple[str, ...], *names: str) -> Any:
    settings = make_settings(channels=["0", "Cy5", "a:b"], colocalise=words)
    return resolve_pairs(settings, names or ("DAPI", "Cy5", "a:b"))


def test_channels_are_named_as_the_plate_or_the_run_does() -> None:
    assert _pairs(("DAPI:Cy5", "Cy5:0")) == [("DAPI", "Cy5"), ("Cy5", "DAPI")]
    assert _pairs(("a:b:0",)) == [("a:b", "DAPI")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("DAPI:GFP",), "does not name two of the run's channels"),
        (("DAPI:0",), "names one channel twice"),
        (("DAPI:Cy5", "0:Cy5"), "a pair again"),
    ],
)
def test_other_words_are_refused(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        _pairs(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["AB"], "reads A:B"),
        ([":B"], "reads A:B"),
        (["A:A"], "is one"),
        (["A:B", "A:B"], "twice"),
    ],
)
def test_settings_refuse_what_is_no_pair(words: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_settings(channels=["A", "B"], colocalise=words)


@pytest.mark.parametrize("name", ["pair_distance", "pair_planes"])
def test_distances_are_above_0(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        make_settings(channels=["A"], **{name: 0})


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_what_a_run_wrote_is_read_again(tmp_path: Path, kind: str) -> None:
    shift = Shift("measured", 1.25, -4.0, 0.5, 512.0, 500.0, 0.001, 0.002, 0.003, 0.004)
    table, path = shift_table({("A", "B"): shift}), tmp_path / f"shifts.{kind}"
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "parquet":
        table.to_parquet(path)
    else:
        path.write_text(json.dumps(json.loads(table.to_json(orient="records"))))
    found = read_shifts(str(path), [("A", "B")])[("A", "B")]
    assert found.how == "given"
    for name in (
        "dy",
        "dx",
        "dz",
        "centre_y",
        "centre_x",
        "dy_y",
        "dy_x",
        "dx_y",
        "dx_x",
    ):
        assert getattr(found, name) == getattr(shift, name)


def test_four_columns_are_enough_and_spreadsheets_are_understood(
    tmp_path: Path,
) -> None:
    (tmp_path / "s.csv").write_text("channel;other;dy;dx\nA;B;1,5;-4\n")
    found = read_shifts(str(tmp_path / "s.csv"), [("A", "B")])
    assert found == {("A", "B"): Shift("given", 1.5, -4.0)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("channel,other,dy,dx\nB,A,1,2\n", "no shift of A:B; it has B:A"),
        ("channel,other,dy\nA,B,1\n", "lacks dx"),
        ("channel,other,dy,dx\nA,B,1,far\n", "dx must be a number"),
        ("channel,other,dy,dx\nA,B,1,nan\n", "dx must be a number"),
        ("channel,other,dy,dx,angle\nA,B,1,2,3\n", "unknown 'angle'"),
        ("channel,other,dy,dx\nA,B,1,2\nA,B,1,2\n", "come twice"),
        ("channel,other,how,dy,dx\nA,B,not measurable,0,0\n", "was not measurable"),
    ],
)
def test_files_that_are_not_understood_are_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_shifts(str(tmp_path / "s.csv"), [("A", "B")])


def test_a_file_that_is_not_there_or_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Did you mean 'measured'"):
        read_shifts("mesured", [("A", "B")])
    for text in ("[1]", "{", '"A"'):
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(SettingsError, match=r"s\.json"):
            read_shifts(str(tmp_path / "s.json"), [("A", "B")])
    assert read_shifts("measured", [("A", "B")]) == {}
    assert read_shifts("anything", []) == {}


def _line(**known: Any) -> pd.DataFrame:
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in COLOCALISATION}
    return make_table([zeros | {"channel": "A", "other": "B"} | known], COLOCALISATION)


def test_words_say_what_share_is_of_what() -> None:
    settings = make_settings(channels=["A", "B"], cells="cells")
    counts = {"n_spots": 1000, "n_pairs": 812, "chance": 0.121}
    line = _line(**counts, n_spots_cells=500, n_pairs_cells=415)
    shift = Shift("measured", 1.28, -4.23, n_pairs=1276, median_after=0.14)
    first, second = describe_compared(line, shift_table({("A", "B"): shift}), settings)
    assert first == (
        "A:B: B lies 1.28 px lower, 4.23 px further left (measured on 1,276 pairs; "
        "median distance then 0.14 px), which is undone"
    )
    assert second == (
        "A:B: 812 of 1,000 spots of A have a partner in B within 2 px (in cells 83.0%, "
        "by chance 12.1%)"
    )
    lost = shift_table({("A", "B"): Shift("not measurable")})
    first, second = describe_compared(line, lost, make_settings(channels=["A", "B"]))
    assert "could not be measured" in first
    assert "that needs cells" in second
    none = shift_table({("A", "B"): Shift()})
    first, second = describe_compared(_line(), none, settings)
    assert "no shift" in first
    assert "none of them in a cell" in second
