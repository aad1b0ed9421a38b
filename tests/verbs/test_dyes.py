"""The dye of each localisation of a movie."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.simulation.dyes import gaussian_spread
from deepspot_scale.verbs.dyes import classify_dyes

PAIR = [gaussian_spread(nm, aperture=1.45, pixel_nm=110) for nm in (580, 670)]
RNG = np.random.default_rng(0)
DYE = RNG.integers(2, size=24)
PLACES = np.stack(
    [np.repeat([7.3, 19.6, 32.0], 8), np.tile(np.arange(8) * 14 + 6.4, 3)]
)


def movie() -> np.ndarray:
    light = np.full((2, 40, 120), 10.0)
    for number, (dye, place) in enumerate(zip(DYE, PLACES.T, strict=True)):
        corner = np.round(place).astype(int) - 5
        window = tuple(slice(start, start + 11) for start in corner)
        light[number % 2][window] += 3000 * PAIR[dye](place[None] - corner)[0]
    return RNG.poisson(light).astype(np.float32)


def table() -> pd.DataFrame:
    y, x = (PLACES + 0.5) * 110  # nanometres from the outer corner
    return pd.DataFrame({"frame": np.arange(24) % 2, "x_nm": x, "y_nm": y})


@pytest.mark.parametrize("spreads", [PAIR, None], ids=["likelihood", "network"])
def test_every_molecule_gets_its_dye(spreads) -> None:
    found = classify_dyes(table(), movie(), pixel_nm=110, spreads=spreads)
    np.testing.assert_array_equal(found["dye"], DYE)
    assert (found["dye_probability"] > 0.9).all()
    assert list(found.columns[:3]) == list(table().columns)


def test_a_molecule_at_the_border_has_no_dye() -> None:
    near = table().assign(x_nm=330.0)
    found = classify_dyes(near, movie(), pixel_nm=110, spreads=PAIR)
    assert (found["dye"] == -1).all()
    assert found["dye_probability"].isna().all()


def test_places_count_from_the_outer_corner_of_the_first_pixel() -> None:
    # A window of 11 reaches 5 pixels from the middle one; the frame has 120 columns.
    corners = np.array([4.9, 5.1, 114.9, 115.1])
    near = table()[:4].assign(x_nm=110 * corners, y_nm=110 * 20.0)
    found = classify_dyes(near, movie(), pixel_nm=110, spreads=PAIR)
    assert (found["dye"] >= 0).tolist() == [False, True, True, False]


def test_an_empty_table_stays_empty() -> None:
    for spreads in (PAIR, None):
        found = classify_dyes(table()[:0], movie(), pixel_nm=110, spreads=spreads)
        assert len(found) == 0
        assert found["dye"].dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"table": table().drop(columns="x_nm")}, "this one has no x_nm"),
        ({"movie": np.zeros((9, 9))}, r"a movie is \(t, y, x\)"),
        ({"movie": np.zeros((1, 40, 120))}, "the movie has 0 to 0"),
        ({"spreads": PAIR[:1]}, "two or more dyes"),
        ({"model": "deepspot"}, "tells no dyes apart"),
    ],
)
def test_input_that_does_not_fit_is_refused(changes, words) -> None:
    given = {"table": table(), "movie": movie(), "pixel_nm": 110, **changes}
    with pytest.raises(SettingsError, match=words):
        classify_dyes(given.pop("table"), given.pop("movie"), **given)
