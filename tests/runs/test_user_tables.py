"""References and plate maps, as people write them and get them wrong."""

from __future__ import annotations

import warnings
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import InputWarning, SettingsError
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
        ("row;column;field;y;z\nB;03;0;1;2\n", "'z' is not known"),
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
    text = "# notes\nrow,column,condition,gene,replicate,day\nB,3,NA,007,1,5\n"
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


PLATE = [FieldAddress(r, c, f) for r in "AB" for c in ("01", "02", "03") for f in "01"]
PLATE_WELLS = PLATE[::2]


def _points(folder: Path, text: str) -> dict[str, Reference]:
    """Return the references of `PLATE` that a table without a warning gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".* fields have no line", InputWarning)
        of_field = read_references(_csv(folder, text), PLATE)
    found = {address.path: of_field(address) for address in PLATE}
    return {path: each for path, each in found.items() if isinstance(each, Reference)}


def _conditions(folder: Path, text: str, *expected: str) -> dict[str, str]:
    """Return the condition by well; each warning has one of the `expected` words."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        table = read_plate_map(_csv(folder, text), PLATE_WELLS)
    texts = [str(each.message) for each in told if "have no line" not in str(each)]
    assert len(texts) == len(expected), texts
    assert all(word in text for word, text in zip(expected, texts, strict=True)), texts
    return _by_well(table)


def _by_well(table: pd.DataFrame) -> dict[str, str]:
    return dict(zip(table["row"] + table["column"], table["condition"], strict=True))


@pytest.mark.parametrize("spelling", ["B3", "B03", "b/3", "B-03", "B/3.0", '"B 03"'])
def test_a_reference_may_name_the_well(tmp_path: Path, spelling: str) -> None:
    text = f"well,field,y,x\n{spelling},1,3,4\nA1,0,5,6\n"
    assert _points(tmp_path, text) == {
        "A/01/0": Reference(line=((5, 6),)),
        "B/03/1": Reference(line=((3, 4),)),
    }


def test_an_angle_of_a_well_holds_for_that_well_alone(tmp_path: Path) -> None:
    given = _points(tmp_path, "well,angle_deg\nA01,90\n")
    assert given == dict.fromkeys(["A/01/0", "A/01/1"], Reference(angle_deg=90))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("row,column", "B,02.0"),
        ("row,column,well", "b,2,B02"),
        ("column,well", "2,B02"),
    ],
)
def test_row_column_and_well_together_mean_one_well(
    tmp_path: Path, header: str, words: str
) -> None:
    given = _points(tmp_path, f"{header},angle_deg\n{words},45\n")
    assert set(given) == {"B/02/0", "B/02/1"}


def test_a_field_by_number_is_that_field(tmp_path: Path) -> None:
    assert set(_points(tmp_path, "field,y,x\n1.0,1,2\n")) == {
        address.path for address in PLATE if address.field == "1"
    }
    both = [FieldAddress("", "", "1"), FieldAddress("", "", "001")]
    with pytest.warns(InputWarning, match="1 of 2 fields have no line.*: 1"):
        of_field = read_references(_csv(tmp_path, "field,y,x\n001,1,2\n"), both)
    assert of_field(both[0]) is None


def test_a_column_named_col_is_the_column_and_the_user_is_told(tmp_path: Path) -> None:
    text = "row,col,angle_deg\n" + "".join(
        f"{r},{c},{c}\n" for r in "AB" for c in "123"
    )
    with pytest.warns(InputWarning, match="'col' is read as 'column'"):
        of_field = read_references(_csv(tmp_path, text), PLATE)
    assert [of_field(address) for address in PLATE[::2]] == [
        Reference(angle_deg=float(c)) for _ in "AB" for c in "123"
    ]


@pytest.mark.parametrize("name", ["image", "position", "plate", "z", "t (min)", "note"])
def test_a_reference_with_a_column_that_is_not_known_is_refused(
    tmp_path: Path, name: str
) -> None:
    table = f"well,{name},y,x\nA1,1,2,3\nA1,1,2,3\n"
    with pytest.raises(SettingsError, match=r"is not known.*has well, row, column, fi"):
        read_references(_csv(tmp_path, table), PLATE)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("well,y,x,angle_deg\nA1,1,2,90\n", "line 2: expected either angle_deg or"),
        ("well,y,angle_deg\nA1,1,90\n", "columns y and x"),
        ("well,row,column,y,x\nA1,B,1,2,3\n", "line 2: well says A1.*say B1"),
        ("well,row,y,x\nA1,B,2,3\n", "line 2: well says A1"),
        ("well,y,x\nA1,1,2\nA01,3,4\n", "line 3: A/01/0, A/01/1 is given twice"),
        ("well,y,x\nA1-A3,1,2\nA02,3,4\n", "line 3: A/02/0.*given twice"),
        ("well,t,y,x\nA1,soon,1,2\n", "line 2: t must be the number"),
        ("well,t,y,x\nA1,-1,1,2\n", "line 2: t must be the number"),
        ('well,y,x\nA1,"1,234",5\n', "line 2: y and x must be numbers.*1,234"),
        ("well;y;x\nA1;1,5;2.5\n", "decimal comma and with a point, 1,5 and 2.5"),
        ("well,y,x\nA1,1,5,2,5\n", "line 2 has 5 cells.*3 columns"),
        ("well,y,x,y\nA1,1,5,2\n", "column y is there twice"),
    ],
)
def test_a_reference_that_can_be_read_in_two_ways_is_refused(
    tmp_path: Path, table: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        read_references(_csv(tmp_path, table), PLATE)


def test_angles_and_points_may_stand_in_different_lines(tmp_path: Path) -> None:
    given = _points(tmp_path, "well,field,y,x,angle_deg\nA1,0,1,2,\nA1,1,,,90\n")
    assert given == {
        "A/01/0": Reference(line=((1, 2),)),
        "A/01/1": Reference(angle_deg=90),
    }


def test_a_reference_may_be_given_by_time_point(tmp_path: Path) -> None:
    table = "well,t,y,x\nA1,0,1,2\nA1,0,3,4\nA1,1.0,5,6\n"
    with pytest.warns(InputWarning, match="10 of 12 fields have no line"):
        of_field = read_references(_csv(tmp_path, table), PLATE)
    assert of_field(PLATE[0]) == {
        0: Reference(line=((1, 2), (3, 4))),
        1: Reference(line=((5, 6),)),
    }


def test_lines_and_fields_that_a_reference_leaves_out_are_counted(
    tmp_path: Path,
) -> None:
    table = "# made by hand\nwell,y,x\nA1,1,2\nH12,3,4\nH12,5,6\n"
    with pytest.warns(InputWarning) as told:
        read_references(_csv(tmp_path, table), PLATE)
    texts = [str(each.message) for each in told]
    assert "2 of 3 lines name no field of this plate: H12 (line 4), H12 " in texts[0]
    assert "10 of 12 fields have no line, and so no reference: A/02/0," in texts[1]


def test_spaces_about_words_are_no_part_of_them(tmp_path: Path) -> None:
    table = "well , condition\nA1, ctrl\n A2,ctrl \nA3,\u00a0ctrl\nB1,heat  shock\n"
    assert _conditions(tmp_path, table) == {
        **dict.fromkeys(["A01", "A02", "A03"], "ctrl"),
        "B01": "heat shock",
    }


@pytest.mark.parametrize(
    "table",
    [
        "\ufeffwell,condition\nA1,x\nA2,y z\n",
        "well;condition\nA1;x\nA2;y z\n",
        "sep=;\nwell;condition\nA1;x\nA2;y z\n",
        "sep=,\r\nwell,condition\r\nA1,x\r\nA2,y z\r\n",
        "well\tcondition\nA1\tx\nA2\ty z\n",
        '"well","condition"\n"A1","x"\n"A2","y z"\n',
        "well,condition,,\nA1,x,,\nA2,y z,,\n,,,\n,,,\n",
        "well,condition\nA1,x,\nA2,y z,\n",
        "well,,condition\nA1,,x\nA2,,y z\n",
        "\n\nWELL,Condition\n\nA1,x\n\nA2,y z\n",
        "row;column;condition\nA;1,0;x\nA;2,0;y z\n",
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, table: str) -> None:
    assert _conditions(tmp_path, table) == {"A01": "x", "A02": "y z"}


def test_unicode_text_of_a_spreadsheet_is_read(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("well\tcondition\nA1\t5 \u00b5M\n", encoding="utf-16")
    with pytest.warns(InputWarning, match="5 of 6 wells"):
        assert _by_well(read_plate_map(str(path), PLATE_WELLS)) == {"A01": "5 \u00b5M"}


def test_words_may_hold_the_separator_in_quotes(tmp_path: Path) -> None:
    table = 'well,condition\nA1,"drug, 5 nM"\n'
    assert _conditions(tmp_path, table) == {"A01": "drug, 5 nM"}


def test_a_decimal_comma_is_read_between_semicolons_and_in_quotes(
    tmp_path: Path,
) -> None:
    expected = {"A/01/0": Reference(line=((1.5, -2.125),))}
    for table in (
        "well;field;y;x\nA1;0;1,5;-2,125\n",
        "well,field,y,x\nA1,0,1.5,-2.125\n",
    ):
        assert _points(tmp_path, table) == expected
    quoted = 'well,field,y,x\nA1,0,"1,5","-2,25"\n'
    assert _points(tmp_path, quoted) == {"A/01/0": Reference(line=((1.5, -2.25),))}


@pytest.mark.parametrize(
    ("word", "wells"),
    [
        ("A-01", "A01"),
        ("a_1", "A01"),
        ("A01-A03", "A01 A02 A03"),
        ("A03 - A01", "A01 A02 A03"),
        ("A1-3", "A01 A02 A03"),
        ("A1:A3", "A01 A02 A03"),
        ("A01\u2013A03", "A01 A02 A03"),
        ("A-02-A-24", "A02 A03"),
        ("A02-B02", "A02 B02"),
        ("A2:B3", "A02 A03 B02 B03"),
    ],
)
def test_a_word_may_mean_several_wells(tmp_path: Path, word: str, wells: str) -> None:
    table = f"well,condition\n{word},x\n"
    assert _conditions(tmp_path, table) == dict.fromkeys(wells.split(), "x")


def test_treatment_is_the_condition_and_other_columns_are_named(tmp_path: Path) -> None:
    table = "plate,well,treatment,dose\nP1,A1,drug,5\n"
    told = ("'treatment' is read as 'condition'", "1 of 4 columns are not read")
    assert _conditions(tmp_path, table, *told) == {"A01": "drug"}
    table = "well,condition,treatment\nA1,drug,5 nM\n"
    assert _conditions(tmp_path, table, "replicate, dose: treatment") == {"A01": "drug"}


def test_a_dose_is_a_number_and_its_unit_is_in_the_columns_name(tmp_path: Path) -> None:
    table = "well;condition;dose_um\nA1;drug;0,5\nA2;drug;10\nA3;none;\n"
    with pytest.warns(InputWarning) as told:
        frame = read_plate_map(_csv(tmp_path, table), PLATE_WELLS)
    assert frame["dose"].tolist()[:2] == [0.5, 10.0]
    assert pd.isna(frame["dose"].iloc[2])
    assert set(frame["dose_unit"]) == {"µM"}
    texts = " ".join(str(each.message) for each in told)
    assert "1 of 3 wells have no dose: A03" in texts
    assert "1 of 2 conditions hold several doses" in texts
    assert "take their wells together: drug" in texts


def test_a_plate_map_may_hold_doses_alone(tmp_path: Path) -> None:
    wells = PLATE_WELLS[:2]
    with pytest.warns(InputWarning, match="several doses"):
        frame = read_plate_map(_csv(tmp_path, "well,dose\nA1,0\nA2,1e-3\n"), wells)
    assert frame[["condition", "dose", "dose_unit"]].to_numpy().tolist() == [
        ["", 0.0, ""],
        ["", 0.001, ""],
    ]


def test_lines_and_wells_that_do_not_match_are_counted(tmp_path: Path) -> None:
    table = "well,condition\nA1,x\nH12,y\nA 1 2,z\n,w\n"
    with pytest.warns(InputWarning) as told:
        read_plate_map(_csv(tmp_path, table), PLATE_WELLS)
    texts = [str(each.message) for each in told]
    assert "3 of 4 lines name no well of this plate: H12 (line 3), A 1 2 (l" in texts[0]
    assert (
        "5 of 6 wells of the plate have no line, and so no condition: A02" in texts[1]
    )


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("well,condition,gene\nA1,,x,y\n", "line 2 has 4 cells.*3 columns"),
        ("well,condition,gene\nA1,,x,\nA2,x,y\n", "line 2 has 4 cells.*3 columns"),
        ('well,condition\nA1,"x\nA2,y\n', "no CSV table"),
        ("well,condition\nA1:B2,x\nA2,y\n", "line 3: well A02 given twice"),
        ("well,condition\nA1-B2,x\n", "line 2: A1-B2 may mean.*A1:B2"),
        ("well,row,column,condition\nA1,A,2,x\n", "line 2: well says A1"),
        ("well,condition,condition\nA1,x,y\n", "column condition is there twice"),
        ("well,genes\nA1,x\n", "Did you mean 'gene'"),
        ("well,day\nA1,5\n", "any of the columns condition, gene, replicate, dose"),
        ("well,dose\nA1,5 uM\n", "line 2: dose must be numbers"),
        ("well,dose\nA1,-5\n", "line 2: a dose is a number of 0 or more, got '-5'"),
        ("well,dose\nA1,nan\n", "line 2: a dose is a number of 0 or more"),
        ("well;dose\nA1;1,5\nA2;1.5\n", "decimal comma and with a point"),
        ("well,dose,dose_um\nA1,5,5\n", "2 columns of doses, dose, dose_um"),
        ("plate,well,gene\nP1,A1,x\nP2,A2,y\n", "names 2 plates, P1, P2"),
    ],
)
def test_a_plate_map_that_can_be_read_in_two_ways_is_refused(
    tmp_path: Path, table: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        read_plate_map(_csv(tmp_path, table), PLATE_WELLS)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["ctrl", "Ctrl"], "'ctrl' and 'Ctrl' are taken as different words"),
        (["siRNA 1", "siRNA-1"], "'siRNA 1' and 'siRNA-1'"),
        (["5 \u00b5M", "5 \u03bcM"], "5 \u00b5M' and"),
        (["ctrl", ""], "1 of 2 wells of the map have no condition: A02"),
    ],
)
def test_words_that_may_be_a_slip_are_named(
    tmp_path: Path, words: list[str], reason: str
) -> None:
    table = f"well,condition,gene\nA1,{words[0]},g\nA2,{words[1]},g\n"
    assert list(_conditions(tmp_path, table, reason).values()) == words
    _conditions(tmp_path, "well,condition\nA1,drug +\nA2,drug -\n")


def test_a_line_with_too_few_cells_is_named(tmp_path: Path) -> None:
    table = "well,condition,gene\nA1,x,g\nA2,y\n"
    told = ("1 lines have fewer cells than the 3 columns", "no gene: A02")
    assert _conditions(tmp_path, table, *told) == {"A01": "x", "A02": "y"}
