"""The sample of a shift is bounded, and does not depend on what comes first."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.statistics import shift_sample
from deepspot_scale.statistics.channel_pairs import IMAGE, NEEDED, ImageSpots
from deepspot_scale.statistics.shift_sample import choose_images, measure_on

KEYS = [("B", "03", str(number), 0, 0, 0) for number in range(40)]


def _image(key: tuple[object, ...]) -> ImageSpots:
    rng = np.random.default_rng(int(str(key[2])))
    one = pd.DataFrame(rng.uniform(0, 300, (90, 2)), columns=["y", "x"])
    one = one.assign(**dict.fromkeys(NEEDED[:-5], 0), z=0.0, cell=0, nucleus=0)
    names = {**dict(zip(IMAGE, key, strict=True)), "channel": "A", "other": "B"}
    moved = one.assign(y=one["y"] + 1, x=one["x"] - 4)
    return ImageSpots.of(names, one, moved, depth=False)


def test_images_are_chosen_by_name_whatever_their_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shift_sample, "MOST_IMAGES", 10)
    chosen = choose_images(KEYS)
    assert len(chosen) == 10
    assert choose_images(KEYS[::-1]) == chosen
    assert chosen != KEYS[:10]


def test_a_shift_does_not_depend_on_the_order_of_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shift_sample, "MOST_SPOTS", 30)
    images = [(key, _image(key)) for key in KEYS]
    shift = measure_on(choose_images(KEYS[:20]), images)
    assert measure_on(choose_images(KEYS[19::-1]), images[::-1]) == shift
    assert (round(shift.dy, 6), round(shift.dx, 6)) == (1.0, -4.0)
    assert shift.n_pairs <= 20 * 100


def test_no_images_have_no_shift() -> None:
    assert measure_on([], []).how == "not measurable"
