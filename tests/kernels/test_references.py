"""The reference of polarity: directions follow the image, and NaN stays NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.references import Reference

COORDINATES = st.floats(-500, 500, width=32)
CORNERS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=1, max_size=4)
Y, X = np.array([3.1, -40.1, 812.3]), np.array([7.3, 90.7, -6.1])


def _turned(degrees: np.ndarray, by: float) -> np.ndarray:
    """Return the direction as a point on the unit circle: 0 equals 360."""
    return np.exp(1j * np.radians(degrees + by))


@given(CORNERS)
def test_a_quarter_turn_of_the_image_turns_the_directions(
    corners: list[tuple[float, float]],
) -> None:
    before = Reference(line=tuple(corners)).directions(Y, X)
    # Counter-clockwise on the screen: (y, x) becomes (-x, y).
    turned = Reference(line=tuple((-x, y) for y, x in corners)).directions(-X, Y)
    np.testing.assert_allclose(_turned(turned, -90), _turned(before, 0), atol=1e-6)


def test_a_point_lies_in_its_direction_on_the_screen() -> None:
    centre = np.zeros(1)
    for point, degrees in {(0, 5): 0, (-5, 0): 90, (0, -5): 180, (5, 0): 270}.items():
        assert Reference(line=(point,)).directions(centre, centre) == degrees


@pytest.mark.parametrize("angle", [-90.0, 270.0, 630.0])
def test_an_angle_is_the_same_for_all_and_from_0_to_360(angle: float) -> None:
    assert Reference(angle_deg=angle).directions(Y, X).tolist() == [270.0] * 3


@pytest.mark.parametrize("given", [{"angle_deg": 30.0}, {"line": ((0.0, 0.0),)}])
def test_a_cell_without_centre_has_no_direction(given: dict[str, object]) -> None:
    y = np.array([np.nan, 1.0])
    directions = Reference(**given).directions(y, y)
    assert np.isnan(directions).tolist() == [True, False]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "either an angle or points"),
        ({"angle_deg": 0.0, "line": ((0.0, 0.0),)}, "either an angle or points"),
        ({"angle_deg": np.inf}, "finite"),
        ({"line": ((0.0, np.nan),)}, "finite"),
    ],
)
def test_an_invalid_reference_is_refused(given: dict[str, object], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        Reference(**given)
