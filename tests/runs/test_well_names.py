"""Words for wells, against a slow twin that writes every well out."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.runs.well_names import find_wells, group_by_well
from deepspot_scale.vocabulary import FieldAddress, row_letters

PLATE = [
    FieldAddress(row_letters(r), f"{c:02}", "0")
    for r in range(1, 33)
    for c in range(1, 49)
]
WELLS = group_by_well(PLATE)
PLACES = st.tuples(st.integers(1, 32), st.integers(1, 48))


@given(PLACES, PLACES, st.sampled_from(["{}{}:{}{}", "{}{:02}:{}{:02}", "{}/{}:{}/{}"]))
def test_a_block_is_every_well_between_its_corners(
    one: tuple[int, int], other: tuple[int, int], spelling: str
) -> None:
    (r0, c0), (r1, c1) = one, other
    word = spelling.format(row_letters(r0), c0, row_letters(r1), c1)
    rows, columns = (range(min(p), max(p) + 1) for p in ((r0, r1), (c0, c1)))
    expected = {(row_letters(r), str(c)) for r, c in product(rows, columns)}
    assert set(find_wells({"well": word}, WELLS)) == expected


def test_columns_narrow_the_wells_and_none_means_all() -> None:
    assert len(find_wells({}, WELLS)) == len(PLATE)
    assert len(find_wells({"row": "af"}, WELLS)) == 48
    assert len(find_wells({"column": "07.0"}, WELLS)) == 32
    assert find_wells({"row": "B", "column": "7"}, WELLS) == [("B", "7")]
    assert find_wells({"row": "B", "column": ""}, WELLS) == []
    assert find_wells({"row": "B", "column": "49"}, WELLS) == []
