"""Chance is what independent spots in the same cells give, counted by the same rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import kstest

from deepspot_scale.kernels import chance_pairs
from deepspot_scale.kernels.chance_pairs import (
    Movable,
    count_chance_pairs,
    seed_words,
)
from deepspot_scale.kernels.compartments import Compartments, find_compartments
from deepspot_scale.kernels.pairing import pair_one_to_one

Scene = tuple[np.ndarray, np.ndarray, Compartments]


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Cells and nuclei of 160 x 160 pixels, four cells."""
    y, x = np.indices((160, 160))
    number = y // 80 * 2 + x // 80 + 1
    far = np.hypot(y % 80 - 40, x % 80 - 40)
    cells, nuclei = np.where(far < 38, number, 0), np.where(far < 14, number, 0)
    return cells, nuclei, find_compartments([(cells, nuclei)])


def _throw(rng: np.random.Generator, cells: np.ndarray, n: int) -> np.ndarray:
    inside = np.argwhere(cells > 0)
    return inside[rng.integers(0, len(inside), n)] + rng.uniform(-0.5, 0.5, (n, 2))


def _at(labels: np.ndarray, places: np.ndarray) -> np.ndarray:
    y, x = np.floor(places + 0.5).astype(int).T
    return labels[y, x].astype(np.int64)


def _movable(scene: Scene, places: np.ndarray) -> Movable:
    cells, nuclei, compartments = scene
    cell = _at(cells, places)
    own = compartments.find(cell, _at(nuclei, places) > 0)
    return Movable(places, cell, np.where(cell > 0, own, -1))


def _count(scene: Scene, one: np.ndarray, other: Movable, **options: Any) -> Any:
    given: dict[str, Any] = {
        "undo": lambda places: places,
        "reach": (2.0, 2.0),
        "n_draws": 60,
        "key": [1],
    } | options
    return count_chance_pairs(one, _at(scene[0], one), other, scene[2], **given)


def test_draws_are_counted_as_measured_pairs_are(scene: Scene) -> None:
    rng = np.random.default_rng(0)
    one = _throw(rng, scene[0], 400)
    other = _movable(scene, rng.uniform(0, 159, (400, 2)))

    def undo(places: np.ndarray) -> np.ndarray:
        return places * 1.001 - [0.7, -1.3]

    labels, counts = _count(scene, one, other, undo=undo, n_draws=5)
    ranks = chance_pairs._draw_ranks(other, scene[2], 5, [1])
    for draw in range(5):
        moved = chance_pairs._move(other, scene[2], ranks[draw : draw + 1], True)
        pairs = pair_one_to_one(one / 2.0, undo(moved) / 2.0, 1.0)
        # Which of several spots has the partner is free; how many have one is not.
        cell = _at(scene[0], one)[pairs[:, 0]]
        assert counts[:, draw].sum() == (cell > 0).sum()
        np.testing.assert_array_less(
            np.abs(counts[:, draw] - [(cell == each).sum() for each in labels]), 2
        )


def test_spots_stay_in_their_compartment_and_those_outside_stay(scene: Scene) -> None:
    rng = np.random.default_rng(1)
    other = _movable(scene, rng.uniform(0, 159, (500, 2)))
    ranks = chance_pairs._draw_ranks(other, scene[2], 4, [1])
    moved = chance_pairs._move(other, scene[2], ranks, True).reshape(4, 500, 2)
    for drawn in moved:
        for labels in scene[:2]:
            np.testing.assert_array_equal(
                _at(labels, drawn)[other.cell > 0],
                _at(labels, other.places)[other.cell > 0],
            )
        np.testing.assert_array_equal(
            drawn[other.cell == 0], other.places[other.cell == 0]
        )
    # Whole pixels: a place inside its pixel is kept.
    steps = moved - other.places
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)


def test_batches_of_draws_and_other_cells_change_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    one, places = _throw(rng, scene[0], 200), _throw(rng, scene[0], 200)
    other = _movable(scene, places)
    labels, counts = _count(scene, one, other)
    monkeypatch.setattr(chance_pairs, "_TOGETHER", 300)
    again = _count(scene, one, other)
    np.testing.assert_array_equal(again[1], counts)
    alone = _at(scene[0], places) == 2
    own = _count(scene, one[_at(scene[0], one) == 2], _movable(scene, places[alone]))
    np.testing.assert_array_equal(own[1][0], counts[labels.tolist().index(2)])


def test_p_values_of_independent_channels_are_uniform(scene: Scene) -> None:
    rng = np.random.default_rng(3)
    p_values, shares, chances = [], [], []
    for number in range(100):
        one, places = (_throw(rng, scene[0], 500) for _ in range(2))
        pairs = pair_one_to_one(one / 2, places / 2, 1.0)
        labels, counts = _count(
            scene, one, _movable(scene, places), n_draws=100, key=[number]
        )
        found = _at(scene[0], one)[pairs[:, 0]]
        measured = np.array([(found == each).sum() for each in labels])
        # Ties are split at random, without which whole numbers are not uniform.
        above = (counts > measured[:, None]).sum(axis=1)
        equal = (counts == measured[:, None]).sum(axis=1)
        p_values += list((above + rng.uniform(size=4) * (equal + 1)) / 101)
        shares.append(measured.sum())
        chances.append(counts.sum(axis=0).mean())
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(shares) == pytest.approx(np.mean(chances), rel=0.02)


def test_in_a_label_volume_spots_move_in_depth_and_else_keep_it(scene: Scene) -> None:
    cells = np.repeat(scene[0][None], 6, axis=0)
    cells[4:] = 0
    volume = find_compartments((plane, None) for plane in cells)
    rng = np.random.default_rng(4)
    places = np.c_[rng.uniform(0, 3, 100), _throw(rng, scene[0], 100)]
    cell = _at(scene[0], places[:, 1:])
    other = Movable(places, cell, volume.find(cell, cell < 0))
    ranks = chance_pairs._draw_ranks(other, volume, 1, [1])
    deep = chance_pairs._move(other, volume, ranks, False)
    assert deep[:, 0].max() < 4
    assert not np.array_equal(deep[:, 0], places[:, 0])
    flat = Movable(places, cell, scene[2].find(cell, cell < 0))
    ranks = chance_pairs._draw_ranks(flat, scene[2], 1, [1])
    kept = chance_pairs._move(flat, scene[2], ranks, True)
    np.testing.assert_array_equal(kept[:, 0], places[:, 0])
    labels, counts = count_chance_pairs(
        places,
        cell,
        other,
        volume,
        undo=lambda each: each,
        reach=(1.5, 2.0, 2.0),
        n_draws=3,
        key=[1],
        flat=False,
    )
    assert counts.shape == (len(labels), 3)


def test_cells_do_not_share_their_random_numbers(scene: Scene) -> None:
    places = np.array([[30.0, 30.0], [30.0, 110.0], [110.0, 30.0], [110.0, 110.0]])
    ranks = chance_pairs._draw_ranks(_movable(scene, places), scene[2], 50, [1])
    assert (ranks[:, 0] != ranks[:, 1]).any()
    assert (ranks[:, 2] != ranks[:, 3]).any()


@pytest.mark.parametrize("reach", [(2.0, 2.0), (0.4, 0.4), (3.3, 1.7)])
def test_every_place_in_reach_is_near(reach: tuple[float, float]) -> None:
    rng = np.random.default_rng(6)
    one, places = rng.uniform(0, 9, (4, 2)), rng.uniform(-5, 14, (20000, 2))
    near = chance_pairs._PixelNeighbours.of(one, reach)
    matched = near.match(places, len(places)).any(axis=1)  # one place in each draw
    gaps = (places[:, None] - one) / reach
    np.testing.assert_array_equal(matched, ((gaps**2).sum(axis=2) <= 1).any(axis=1))


def test_without_spots_there_are_no_pairs(scene: Scene) -> None:
    one = _throw(np.random.default_rng(5), scene[0], 20)
    _, counts = _count(scene, one, _movable(scene, one[:0]))
    assert counts.sum() == 0
    labels, _ = _count(scene, one[:0], _movable(scene, one))
    assert len(labels) == 0


def test_seeds_depend_on_every_word() -> None:
    assert seed_words(["B", "03", 0]) != seed_words(["B", "03", 1])
