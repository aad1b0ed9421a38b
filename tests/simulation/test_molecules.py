"""Molecules lie where their structure is, and shine as long as they should."""

import numpy as np
import pytest

from deepspot_scale.simulation.molecules import (
    STRUCTURES,
    Photons,
    blink,
    draw_molecules,
    filaments,
)

SHAPE = (40, 50)


@pytest.mark.parametrize("kind", ["normal", "gamma", "lognormal", "exponential"])
def test_photons_have_the_mean_and_the_spread_asked_for(kind):
    spread = 1.0 if kind == "exponential" else 0.25
    photons = Photons(800, spread, kind).draw(np.random.default_rng(0), 200_000)
    assert photons.mean() == pytest.approx(800, rel=0.01)
    assert photons.std() == pytest.approx(800 * spread, rel=0.02)
    assert (photons >= 0).all()


@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_gives_as_many_molecules_as_asked_for_in_the_frame(name):
    rng = np.random.default_rng(1)
    structure = STRUCTURES[name](rng, SHAPE, 3.0)
    for gradient in (0.0, 1.0):
        points = draw_molecules(rng, structure, 300, gradient)
        assert points.shape == (300, 2)
        inside = (points > -20) & (points < np.array(SHAPE) + 20)
        assert inside.all()


def test_the_walls_of_a_tube_are_its_radius_from_the_middle():
    rng = np.random.default_rng(2)
    tube = filaments(rng, SHAPE, 0.0, n=1, radius=4.0, bend=0.0)
    places = tube.draw(rng, 5000)
    assert tube.normals is not None
    across = (places - tube.points[0]) @ tube.normals[0]
    assert np.abs(across).max() == pytest.approx(4.0, abs=1.0)
    # The projection of a ring is densest at its walls.
    assert (np.abs(across) > 3).mean() > 0.4


def test_a_full_gradient_leaves_few_molecules_at_the_bottom():
    rng = np.random.default_rng(3)
    structure = STRUCTURES["random"](rng, SHAPE, 0.0)
    rows = draw_molecules(rng, structure, 20_000, 1.0)[:, 0]
    top, bottom = (rows < 10).mean(), (rows > 29.5).mean()
    assert top > 4 * bottom


def test_as_many_molecules_shine_at_any_moment_as_asked_for():
    rng = np.random.default_rng(4)
    _, frame, share = blink(rng, 400, per_frame=50, on_time=3)
    light = np.bincount(frame, share, minlength=400)
    assert light.mean() == pytest.approx(50, rel=0.05)
    assert light[:20].mean() == pytest.approx(light[-20:].mean(), rel=0.25)
    assert ((share > 0) & (share <= 1)).all()


def test_shining_times_are_exponential():
    rng = np.random.default_rng(5)
    molecule, frame, share = blink(rng, 3000, per_frame=20, on_time=4)
    # Those at the ends of the movie are cut.
    starts = np.full(molecule.max() + 1, 10_000)
    np.minimum.at(starts, molecule, frame)
    seen = np.bincount(molecule, share)[(starts > 0) & (starts < 2900)]
    assert seen.mean() == pytest.approx(4, rel=0.05)
    assert seen.std() == pytest.approx(4, rel=0.07)


def test_frames_of_a_molecule_follow_each_other():
    molecule, frame, _ = blink(np.random.default_rng(6), 50, 10, 5)
    same = np.diff(molecule) == 0
    assert (np.diff(frame)[same] == 1).all()


def test_without_on_time_each_shines_through_one_whole_frame():
    molecule, frame, share = blink(np.random.default_rng(7), 30, 10, 0)
    assert len(set(molecule)) == len(molecule)
    assert (share == 1).all()
    assert frame.max() < 30
