"""Ladders: one place, growing severity, whole numbers, repeatable."""

from __future__ import annotations

import numpy as np

from deepspot_scale.simulation.degradations import KINDS
from deepspot_scale.simulation.quality_ladders import Ladder, draw_ladder


def ladders(n: int) -> list[Ladder]:
    return [
        draw_ladder(np.random.default_rng(seed), steps=4, size=256) for seed in range(n)
    ]


def test_each_step_is_more_severe_and_another_image() -> None:
    for ladder in ladders(12):
        assert ladder.images.shape == (4, 256, 256)
        assert ladder.images.dtype in (np.uint8, np.uint16)
        assert np.all(np.diff(ladder.severities) > 0)
        assert 0 <= ladder.severities[0] < ladder.severities[-1] <= 1
        assert ladder.kind in KINDS
        changed = [
            not np.array_equal(one, two)
            for one, two in zip(ladder.images, ladder.images[1:], strict=False)
        ]
        assert any(changed)


def test_true_spots_lie_inside_and_are_enough_to_count() -> None:
    known = [each.points for each in ladders(12) if each.points is not None]
    assert known
    for points in known:
        assert len(points) >= 20
        assert (points >= -0.5).all()
        assert (points <= 255.5).all()


def test_the_same_chance_gives_the_same_ladder() -> None:
    one, two = (
        draw_ladder(np.random.default_rng(9), steps=3, size=256) for _ in range(2)
    )
    np.testing.assert_array_equal(one.images, two.images)
    assert one.kind == two.kind


def test_what_is_bad_in_parts_alone_has_no_order() -> None:
    for ladder in ladders(12):
        local = ladder.kind in ("debris", "stripes", "saturation")
        assert ladder.is_ordered is not local
