"""Groups of wells: every well once, by rows, columns, wells or number."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import SettingsError
from deepspot_scale.io.plate import FieldEntry, Plate
from deepspot_scale.runs.well_groups import group_wells
from deepspot_scale.vocabulary import FieldAddress


def plate(*paths: str, missing: tuple[str, ...] = ()) -> Plate:
    addresses = [FieldAddress.from_path(path) for path in paths]
    entries = tuple(FieldEntry(address, address.path) for address in addresses)
    return Plate("p.zarr", "p", entries, missing)


FOUR = plate("B/03/0", "B/03/1", "B/04/0", "C/03/0", missing=("C/04",))


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("rows", [["B03", "B04"], ["C03", "C04"]]),
        ("columns", [["B03", "C03"], ["B04", "C04"]]),
        ("wells", [["B03"], ["B04"], ["C03"], ["C04"]]),
        ("1", [["B03", "B04", "C03", "C04"]]),
        ("2", [["B03"], ["B04", "C03", "C04"]]),
    ],
)
def test_a_plate_is_cut_as_asked(by: str, groups: list[list[str]]) -> None:
    assert group_wells(FOUR, by) == groups


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=20), n=st.integers(1, 30)
)
def test_each_well_is_in_one_group_and_groups_are_even(
    counts: list[int], n: int
) -> None:
    fields = [f"A/{w}/{f}" for w, m in enumerate(counts) for f in range(m)]
    groups = group_wells(plate(*fields), str(n))
    wells = [well for group in groups for well in group]
    assert wells == [f"A{w}" for w in range(len(counts))]
    assert len(groups) <= n
    sizes = [sum(counts[int(well[1:])] for well in group) for group in groups]
    assert max(sizes) <= sum(counts) / n + max(counts)


@pytest.mark.parametrize("by", ["row", "0", "-1", "1.5", ""])
def test_another_word_is_refused(by: str) -> None:
    with pytest.raises(SettingsError, match="cut by rows, columns, wells or into"):
        group_wells(FOUR, by)


def test_images_outside_of_wells_are_refused() -> None:
    with pytest.raises(SettingsError, match="no wells"):
        group_wells(plate("image"), "rows")


def test_info_prints_a_line_for_each_run(
    draw_scene: Any, write_plate: Any, tmp_path: Any, command: Any
) -> None:
    scenes = {path: draw_scene(0) for path in ("B/03/0", "B/04/0", "C/03/0")}
    target = write_plate(tmp_path / "plate.zarr", scenes)
    assert command("info", target, "--split", "rows").out == "B03,B04\nC03\n"
