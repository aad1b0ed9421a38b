"""Molecules that stay on over frames: planted ones, parts, and a slow twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.linking import link, no_links, still_open


def draw(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    frames = np.sort(rng.integers(0, 12, n))
    return frames, rng.uniform(0, 60, (n, 2))


def slow(
    frames: np.ndarray, places: np.ndarray, distance: float, dark: int
) -> list[int]:
    """Link with a list of open molecules, all pairs of a frame sorted by distance."""
    numbers = [-1] * len(frames)
    last: list[int] = []  # the last localisation of each molecule
    for frame in np.unique(frames):
        own = np.flatnonzero(frames == frame)
        pairs = []
        for molecule, i in enumerate(last):
            if frame - frames[i] <= dark + 1:
                for j in own:
                    away = float(np.sqrt(((places[i] - places[j]) ** 2).sum()))
                    pairs.append((away, molecule, j))
        taken: set[int] = set()
        for away, molecule, j in sorted(pairs):
            if away <= distance and molecule not in taken and numbers[j] < 0:
                numbers[j] = molecule
                taken.add(molecule)
        for j in own:
            if numbers[j] < 0:
                numbers[j] = len(last)
                last.append(j)
            last[numbers[j]] = j
    return numbers


@given(seed=st.integers(0, 500), dark=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_numbers_are_those_of_the_slow_twin(seed: int, dark: int) -> None:
    frames, places = draw(seed)
    _, numbers = link(no_links(), frames, places, 9.0, dark)
    assert numbers.tolist() == slow(frames, places, 9.0, dark)


@given(seed=st.integers(0, 500), cut=st.integers(0, 12))
@settings(max_examples=30, deadline=None)
def test_parts_of_a_movie_give_the_numbers_of_the_whole(seed: int, cut: int) -> None:
    frames, places = draw(seed)
    whole, expected = link(no_links(), frames, places, 9.0, 2)
    links, numbers = no_links(), []
    for own in (frames < cut, frames >= cut):
        links, found = link(links, frames[own], places[own], 9.0, 2)
        numbers += found.tolist()
    assert numbers == expected.tolist()
    assert links.n == whole.n == len(set(numbers))


def test_a_molecule_comes_back_after_so_many_dark_frames_and_no_more() -> None:
    frames, places = np.array([0, 2, 5]), np.zeros((3, 2))
    assert link(no_links(), frames, places, 1.0, 1)[1].tolist() == [0, 0, 1]
    assert link(no_links(), frames, places, 1.0, 2)[1].tolist() == [0, 0, 0]
    assert link(no_links(), frames, places, 1.0, 0)[1].tolist() == [0, 1, 2]


def test_the_nearest_goes_on() -> None:
    frames = np.array([0, 0, 1])
    places = np.array([[0.0, 0], [0, 10], [0, 7]])
    assert link(no_links(), frames, places, 20.0, 0)[1].tolist() == [0, 1, 1]


def test_molecules_are_open_until_their_dark_frames_are_over() -> None:
    links, _ = link(no_links(), np.array([3, 4]), np.array([[0.0, 0], [9, 9]]), 1.0, 2)
    assert still_open(links, 5, 2).tolist() == [0, 1]
    assert still_open(links, 6, 2).tolist() == [1]
    assert still_open(links, 7, 2).tolist() == []


def test_molecules_far_apart_are_linked_as_picasso_links_them() -> None:
    pytest.importorskip("picasso", reason="picassosr is not installed")
    from picasso.postprocess import _get_link_groups

    rng = np.random.default_rng(8)
    y, x = np.divmod(np.arange(100), 10)
    at, start = np.column_stack([y, x]) * 5.0 + 2, rng.integers(0, 300, 100)
    rows: list[Any] = []
    for place, first in zip(at, start, strict=True):
        on = np.flatnonzero(rng.random(12) < 0.6) + first
        rows += [(t, *(place + rng.normal(0, 0.1, 2))) for t in on]
    table = np.array(sorted(rows))
    frames, places = table[:, 0].astype(np.int64), table[:, 1:]
    for dark in (1, 3):
        _, numbers = link(no_links(), frames, places, 1.0, dark)
        same = np.zeros(len(frames), np.int32)
        theirs = _get_link_groups(frames, *places.T[::-1], 1.0, dark, same)
        np.testing.assert_array_equal(numbers, theirs)
