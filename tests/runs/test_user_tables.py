"""References and plate maps, as people write them and get them wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.references import Reference
from deepspot_scale.runs.user_tables import read_plate_map, read_references
from deepspot_scale.vocabulary import FieldAddress

FIELDS = [FieldAddress("B", c, f) for c in ("03", "04") for f in ("0", "1")]
WELLS = [FIELDS[0], FIELDS[2]]


def _csv(folder: Path, text: str) -> str:
    path = folder / "table.csv"
    path.write_text(text)
    return str(path)


def test_without_a_reference_no_field_has_one() -> None:
    assert read_references(None, FIELDS)(FIELDS[0]) is None


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("angle:90", Reference(angle_deg=90.0)),
        ("angle:-22.5", Reference(angle_deg=-22.5)),
        ("point:3,4", Reference(line=((3.0, 4.0),))),
        ("line:0,1,2,3", Reference(line=((0.0, 1.0), (2.0, 3.0)))),
        ("line:0, 1, 2, 3, 4, 5", Reference(line=((0, 1), (2, 3), (4, 5)))),
    ],
)
def test_a_word_is_the_reference_of_every_field(
    text: str, reference: Reference
) -> None:
    of_field = read_references(text, FIELDS)
    assert all(of_field(address) == reference for address in FIELDS)


@pytest.mark.parametrize(
    "text",
    [
        "angle:",
        "angle:up",
        "angle:1,2",
        "angle:nan",
        "point:1",
        "point:1,2,3",
        "point:inf,1",
        "line:1,2",
        "line:1,2,3",
    ],
)
def test_a_word_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        read_references(text, FIELDS)


def test_one_row_a_field_is_a_point_and_several_are_a_line(tmp_path: Path) -> None:
    table = "row,column,field,y,x\nB,03,0,1,2\nB,03,1,3,4\nB,03,1,5,6.5\n"
    of_field = read_references(_csv(tmp_path, table), FIELDS)
    assert of_field(FIELDS[0]) == Reference(line=((1, 2),))
    assert of_field(FIELDS[1]) == Reference(line=((3, 4), (5, 6.5)))


def test_fields_that_the_table_leaves_out_have_no_reference(tmp_path: Path) -> None:
    table = "row,column,field,angle_deg\nB,03,0,45\n"
    of_field = read_references(_csv(tmp_path, table), FIELDS)
    assert of_field(FIELDS[0]) == Reference(angle_deg=45)
    assert [of_field(address) for address in FIELDS[1:]] == [None] * 3


@pytest.mark.parametrize(
    ("table", "n"),
    [("y,x\n1,2\n", 4), ("field,y,x\n1,1,2\n", 2), ("row,column,y,x\nB,04,1,2\n", 2)],
)
def test_columns_that_are_left_out_mean_all(tmp_path: Path, table: str, n: int) -> None:
    of_field = read_references(_csv(tmp_path, table), FIELDS)
    assert sum(of_field(address) is not None for address in FIELDS) == n


def test_a_spreadsheet_may_drop_zeros_and_use_other_case(tmp_path: Path) -> None:
    table = "Row, Column ,Field,Y,X\nb,3,0,1,2\n"
    of_field = read_references(_csv(tmp_path, table), FIELDS)
    assert of_field(FIELDS[0]) == Reference(line=((1, 2),))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("", "no CSV table"),
        ("row;column;field;y;x\nB;03;0;1;2\n", "columns y and x"),
        ("row,column,field,y\nB,03,0,1\n", "columns y and x"),
        ("row,column,field,y,x\nB,03,0,one,2\n", "must be numbers"),
        ("row,column,field,y,x\nB,03,0,,2\n", "must be numbers"),
        ("row,column,field,y,x\nB,03,0,nan,2\n", "finite"),
        ("row,column,angle_deg\nB,03,1\nB,03,2\n", "2 angles for one field"),
        ("row,column,angle_deg\nB,03,1\nB,3,2\n", "given twice"),
        ("row,column,field,y,x\nG,11,0,1,2\n", "no field of this plate.* G 11 0"),
        ("row,column,field,y,x\n", "no field of this plate"),
    ],
)
def test_a_reference_table_that_can_not_serve_is_refused(
    tmp_path: Path, table: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        read_references(_csv(tmp_path, table), FIELDS)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"wound\.csv"):
        read_references(str(tmp_path / "wound.csv"), FIELDS)
    with pytest.raises(SettingsError, match=r"wells\.csv"):
        read_plate_map(str(tmp_path / "wells.csv"), WELLS)


def test_a_table_with_bytes_that_are_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"row,column\n\xff\xfe\x00,1\n")
    with pytest.raises(SettingsError, match="no CSV table"):
        read_plate_map(str(tmp_path / "table.csv"), WELLS)


def test_without_a_plate_map_there_are_no_rows() -> None:
    assert read_plate_map(None, WELLS).empty


@given(
    st.sampled_from(["B03", "b3", "B3", "B/03", "B/3", " B03 ", "B 03", "B003"]),
)
def test_every_spelling_of_a_well_is_that_well(spelling: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        text = f"well,condition\n{spelling},migrating\n"
        table = read_plate_map(_csv(Path(folder), text), WELLS)
    assert table.to_dict("records") == [
        {
            "row": "B",
            "column": "03",
            "condition": "migrating",
            "gene": "",
            "replicate": "",
        }
    ]


def test_a_plate_map_by_row_and_column_keeps_text_as_text(tmp_path: Path) -> None:
    text = "# notes\nrow,column,condition,gene,replicate,dose\nB,3,NA,007,1,5\n"
    table = read_plate_map(_csv(tmp_path, text), WELLS)
    assert table.iloc[0].tolist() == ["B", "03", "NA", "007", "1"]


def test_a_name_of_a_plate_map_may_have_a_number_sign(tmp_path: Path) -> None:
    text = "well,condition,gene\nB03,siRNA #1,TP53\n"
    table = read_plate_map(_csv(tmp_path, text), WELLS)
    assert table.iloc[0][["condition", "gene"]].tolist() == ["siRNA #1", "TP53"]


def test_wells_of_the_map_that_the_plate_has_not_are_passed_over(
    tmp_path: Path,
) -> None:
    text = "well,condition\nB03,a\nH12,b\n"
    assert len(read_plate_map(_csv(tmp_path, text), WELLS)) == 1


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("condition\na\n", "column well"),
        ("well,condition\nB03,a\nB3,b\n", "B03 given twice"),
        ("well,condition\nH12,a\n", "no well of this plate"),
    ],
)
def test_a_plate_map_that_can_not_serve_is_refused(
    tmp_path: Path, table: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        read_plate_map(_csv(tmp_path, table), WELLS)
