"""Scenes that a judge learns from: spots everywhere, the same for the same seed."""

from __future__ import annotations

import numpy as np

from deepspot_scale.simulation.fish_scenes import draw_fish_scene

SIZE = 512


def test_the_same_seed_gives_the_same_image() -> None:
    one, two = (
        draw_fish_scene(np.random.default_rng(4), SIZE).photograph(
            np.random.default_rng(5)
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)
    assert one.shape == (SIZE, SIZE)
    np.testing.assert_array_equal(one, np.round(one))


def test_spots_lie_inside_and_their_light_lies_at_them() -> None:
    for seed in range(4):
        scene = draw_fish_scene(np.random.default_rng(seed), SIZE)
        assert (scene.points >= 0).all()
        assert (scene.points <= SIZE - 1).all()
        rows, columns = np.round(scene.points).astype(int).T
        assert scene.glow[rows, columns].mean() > 3 * scene.glow.mean()
