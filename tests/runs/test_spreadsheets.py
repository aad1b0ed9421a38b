"""CSV files as spreadsheets write them: which cell is in which line and column."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import SettingsError
from deepspot_scale.runs.spreadsheets import SEPARATORS, read_sheet

WORDS = st.text("ab ,;\t\"'1.\u00b5", min_size=1, max_size=6)


@given(
    st.lists(st.lists(WORDS, min_size=2, max_size=2), min_size=1, max_size=5),
    st.sampled_from(SEPARATORS),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_written_cells_are_read_back_trimmed(
    cells: list[list[str]], separator: str, encoding: str, end: str
) -> None:
    import tempfile

    text = StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=1)
    writer.writerows([["well", "gene"], *cells])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(text.getvalue().encode(encoding))
        sheet = read_sheet(str(path), "table", ("well", "gene"))
    assert sheet.separator == separator
    trimmed = [[" ".join(cell.split()) for cell in line] for line in cells]
    kept = {n: line for n, line in enumerate(trimmed, 2) if any(line)}
    assert sheet.table.T.to_dict("list") == kept


def test_lines_are_numbered_as_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("sep=;\n# a note\nwell;gene\n\nA1;x\n;\nA2;y\n")
    table = read_sheet(str(path), "table", ("well",)).table
    assert table["gene"].to_dict() == {5: "x", 7: "y"}


def test_a_column_without_a_name_is_not_dropped_with_its_words(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(",well,\n0,A1,\n1,A2,\n")
    assert list(read_sheet(str(path), "table", ("well",)).table) == [
        "(column 1)",
        "well",
    ]
    path.write_text("well,\nA1,x\n")
    with pytest.raises(SettingsError, match=r"line 2 has 2 cells.* 1 columns"):
        read_sheet(str(path), "table", ("well",))
