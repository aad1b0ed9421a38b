"""Profiles from nucleus to edge, with known answers."""

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.statistics.radial_profiles import (
    add_profiles,
    mean_profiles,
    sum_profiles,
)
from deepspot_scale.vocabulary import N_RINGS, PLANE, RADIAL

PIXELS = np.arange(1, N_RINGS + 1) * 20
NO_MAP = pd.DataFrame()


def rings_of(spots, columns, pixels=PIXELS):
    numbers = np.hstack([np.broadcast_to(pixels, np.shape(spots)), spots])
    names = [c.name for c in RADIAL[len(PLANE) + 1 :]]
    named = {"row": "A", "field": "0", "channel": "RNA", "cell": 1}
    table = pd.DataFrame(numbers, columns=names).assign(column=columns, **named)
    return table.assign(acquisition=0, t=0, z=-1)


def test_spots_that_are_spread_evenly_lie_on_the_null():
    rng = np.random.default_rng(0)
    spots = rng.multinomial(200, PIXELS / PIXELS.sum(), 60)
    wells = np.repeat([f"{n:02d}" for n in range(6)], 10)
    profile = mean_profiles(sum_profiles(rings_of(spots, wells), 10), NO_MAP)
    assert profile["way"].tolist() == pytest.approx(np.linspace(0, 1, N_RINGS + 1))
    assert profile["share"].to_numpy() == pytest.approx(profile["null"], abs=0.01)
    inside = profile.iloc[1:-1]
    assert (inside["low"] < inside["null"]).mean() > 0.7
    assert (inside["null"] < inside["high"]).mean() > 0.7
    assert profile["null"].iloc[5] == pytest.approx(15 / 55)
    assert set(profile["n_cells"]) == {60}
    assert set(profile["n_wells"]) == {6}


def test_spots_at_the_nucleus_lie_above_the_null_and_those_at_the_edge_below():
    inner, outer = np.zeros((2, 4, N_RINGS), int)
    inner[:, 0], outer[:, -1] = 20, 20
    for spots, expected in ((inner, 1.0), (outer, 0.0)):
        profile = mean_profiles(sum_profiles(rings_of(spots, "01"), 10), NO_MAP)
        assert profile["share"].iloc[1:-1].tolist() == [expected] * (N_RINGS - 1)
        assert (profile["share"].iloc[0], profile["share"].iloc[-1]) == (0, 1)
        assert profile["low"].isna().all()  # of one well


def test_a_cell_counts_once_however_many_spots_it_has_and_so_does_a_well():
    spots = np.zeros((4, N_RINGS), int)
    spots[0, 0], spots[1:, -1] = 500, 10
    one = mean_profiles(sum_profiles(rings_of(spots, "01"), 10), NO_MAP)
    assert one["share"].iloc[5] == 0.25
    wells = ["01", "02", "02", "02"]
    two = mean_profiles(sum_profiles(rings_of(spots, wells), 10), NO_MAP)
    assert two["share"].iloc[5] == 0.5


def test_cells_with_few_spots_are_counted_and_left_out():
    spots = np.zeros((3, N_RINGS), int)
    spots[:, 0] = [9, 10, 0]
    sums = sum_profiles(rings_of(spots, "01"), 10)
    assert (sums["n_cells"].item(), sums["n_few"].item()) == (1, 2)
    none = mean_profiles(sum_profiles(rings_of(spots, "01"), 99), NO_MAP)
    assert none.empty


def test_parts_add_up_to_the_whole():
    spots = np.random.default_rng(1).poisson(3, (20, N_RINGS))
    wells = np.array(["01", "02"] * 10)
    whole = sum_profiles(rings_of(spots, wells), 10)
    parts = [sum_profiles(rings_of(spots[k::2], wells[k::2]), 10) for k in (0, 1)]
    pd.testing.assert_frame_equal(add_profiles(parts), whole)
