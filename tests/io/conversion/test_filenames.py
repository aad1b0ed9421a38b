"""File names of microscopes: which scheme reads them, and what they mean."""

from __future__ import annotations

import pytest

from deepspot_scale.errors import PlateError
from deepspot_scale.io.conversion.filenames import (
    SCHEMES,
    choose_scheme,
    natural_order,
    read_name,
    read_stem,
    row_letters,
)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
def test_each_scheme_reads_its_own_example_first(scheme):
    assert choose_scheme([scheme.example]) is scheme
    place = read_name(scheme.example, scheme.pattern)
    assert (place.address.row, place.address.column) == ("B", "03")


@pytest.mark.parametrize(
    ("name", "path", "channel", "t", "z"),
    [
        ("r02c03f01p04-ch2sk5fk1fl1.tiff", "B/03/1", "ch2", 5, 4),
        ("Images/r16c24f09p01-ch1.tif", "P/24/9", "ch1", 0, 1),
        ("exp_B03_s2_w1.TIF", "B/03/2", "w1", 0, 0),
        ("exp_B03_w3.tif", "B/03/0", "w3", 0, 0),
        (
            "TimePoint_2/ZStep_3/e_B3_s1_w1A1B2C3D4-1234-1234-1234-123456789ABC.tif",
            "B/03/1",
            "w1",
            2,
            3,
        ),
        ("x_B03_T0002F003L01A01Z04C05.tif", "B/03/3", "C05", 2, 4),
        ("B03_0_FISH.tif", "B/03/0", "FISH", 0, 0),
        ("B03_f0_FISH.png", "B/03/0", "FISH", 0, 0),
        ("B-03-0.tif", "B/03/0", "", 0, 0),
        ("B-3-12-DAPI.tif", "B/03/12", "DAPI", 0, 0),
        ("B/03/0_DAPI.tif", "B/03/0", "DAPI", 0, 0),
        ("B03_1_t2_z3_Cy3_long.tif", "B/03/1", "Cy3_long", 2, 3),
        ("B03_1_Cy3_z3_t2.tif", "B/03/1", "Cy3", 2, 3),
        ("AF48_site7_x.tif", "AF/48/7", "x", 0, 0),
        ("B03.tif", "B/03/0", "", 0, 0),
    ],
)
def test_name_says_where_the_image_belongs(name, path, channel, t, z):
    place = read_name(name, choose_scheme([name]).pattern)
    found = (place.address.path, place.channel, place.t, place.z)
    assert found == (path, channel, t, z)


@pytest.mark.parametrize(
    "name", ["1.png", "cells_MAX_C3-ISP_300_1_nspots100_2.5.png", "image.tif"]
)
def test_names_without_wells_have_no_scheme(name):
    assert choose_scheme([name]) is None


def test_numbers_in_names_sort_as_numbers():
    names = ["w10", "w2", "DAPI", "w1"]
    assert sorted(names, key=natural_order) == ["DAPI", "w1", "w2", "w10"]


def test_rows_count_from_a_to_z_and_then_with_two_letters():
    rows = [row_letters(number) for number in range(1, 703)]
    assert rows[0] == "A"
    assert rows[-1] == "ZZ"
    assert sorted(rows, key=lambda row: (len(row), row)) == rows
    assert len(set(rows)) == len(rows)


def test_most_names_decide_the_scheme():
    names = [f"B0{number}_0_FISH.tif" for number in range(1, 6)]
    assert choose_scheme([*names, "r02c03f01p01-ch1.tiff"]).example == names[2]


def test_names_with_wells_that_no_scheme_reads_are_an_error():
    with pytest.raises(PlateError, match=r"these 2 images.*day0 B03 \(0\)\.tif"):
        choose_scheme(["day0 B03 (0).tif", "day1 B03 (0).tif"])


@pytest.mark.parametrize(
    ("pattern", "name", "reason"),
    [
        (r"(?P<well>[^_]+)_", "3B_0.tif", "well '3B'.*expected B03"),
        (r"(?P<row>\w{3})(?P<column>\d)", "ABC3.tif", "row 'ABC'.*expected B or 2"),
        (r"_(?P<field>.+)\.", "B03_a b.tif", "field 'a b'.*letters and digits"),
        (r"_(?P<z>.+)\.", "B03_top.tif", "z 'top'.*a number"),
    ],
)
def test_a_pattern_that_finds_nonsense_is_an_error_that_shows_it(pattern, name, reason):
    with pytest.raises(PlateError, match=rf"{reason}.*Change the pattern"):
        read_name(name, pattern)


@pytest.mark.parametrize(
    ("name", "needed", "without_channel"),
    [
        ("B03_0_FISH.tif", "B03_0", "B03_0"),
        ("r02c03f01p01-ch1sk1fk1fl1.tiff", "r02c03f01", "r02c03f01p01sk1fk1fl1"),
        ("plate_B03_s1_w1.tif", "plate_B03_s1", "plate_B03_s1"),
        ("B03_0_FISH_t1_z2.tif", "B03_0", "B03_0_t1_z2"),
        ("B03.tif", "B03", "B03"),
    ],
)
def test_a_mask_may_leave_out_the_channel_or_end_after_the_field(
    name, needed, without_channel
):
    stem = read_stem(name, choose_scheme([name]).pattern)
    assert name.startswith(f"{stem.text}.")
    assert stem.text[: stem.n_needed] == needed
    assert stem.without_channel == without_channel


def test_without_a_pattern_a_mask_repeats_the_whole_name():
    assert read_stem("day 1/cells.ome.png", None) == (
        "day 1/cells.ome",
        15,
        "day 1/cells.ome",
    )
