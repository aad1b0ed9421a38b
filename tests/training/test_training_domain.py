"""The domain of a training is that of its patches, and changes no weight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from deepspot_scale.networks.domains import TEXT, read_domain
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.training.augmentation import TURNED
from deepspot_scale.training.dye_recipe import DyeRanges
from deepspot_scale.training.dye_scenes import dye_pairs
from deepspot_scale.training.patches import BatchShare, PatchSettings
from deepspot_scale.training.recipe import make_recipe
from deepspot_scale.training.scenes import Simulated
from deepspot_scale.training.trainer import train
from deepspot_scale.training.training_domain import measure_domain

SHARES = (
    BatchShare(Simulated("paper", (10, 30), 96), 3, PatchSettings(48, how=TURNED)),
    BatchShare(Simulated("broad", size=96), 5, PatchSettings(48, how=TURNED)),
)


def test_about_as_many_patches_as_asked_for_are_measured() -> None:
    domain = measure_domain(SHARES, seed=0, patches=30)
    assert domain is not None
    assert domain.edge == 48
    assert len(domain.patches) == 24  # whole batches
    least = measure_domain(SHARES, seed=0, patches=1)
    assert least is not None
    assert len(least.patches) == 8


def test_the_middle_of_patches_can_stand_for_them() -> None:
    whole, middle = (
        measure_domain(SHARES, seed=0, patches=8, edge=edge) for edge in (99, 33)
    )
    assert whole is not None
    assert middle is not None
    assert (whole.edge, middle.edge) == (48, 33)
    known = measure_domain(SHARES, seed=0, patches=8)
    assert known is not None
    np.testing.assert_array_equal(whole.patches, known.patches)
    assert not np.array_equal(middle.patches, known.patches)


class Pairs(NamedTuple):
    """Pairs of noise whose further channels are other images."""

    channels: int
    cuts: int = 2

    def draw_pairs(self, rng: np.random.Generator, n: int) -> Iterator[Any]:
        for _ in range(n):
            image = rng.normal(0, 0.3, (48, 48, 1)).astype(np.float32)
            others = [image + 7 * k for k in range(1, self.channels)]
            yield np.concatenate([image, *others], axis=-1), np.zeros((1, 1, 1))


def test_of_several_channels_the_image_is_measured() -> None:
    alone, both = (
        measure_domain([BatchShare(Pairs(n), 4, PatchSettings(48))], seed=0, patches=8)
        for n in (1, 2)
    )
    assert alone is not None
    assert both is not None
    np.testing.assert_array_equal(alone.patches, both.patches)


def test_the_seed_decides() -> None:
    one, again, other = (measure_domain(SHARES, seed=s, patches=8) for s in (0, 0, 1))
    assert one is not None
    assert again is not None
    assert other is not None
    np.testing.assert_array_equal(one.patches, again.patches)
    assert not np.array_equal(one.patches, other.patches)


def test_patches_that_are_too_small_have_no_domain() -> None:
    pairs = BatchShare(dye_pairs(DyeRanges()), 40, PatchSettings(11))
    assert measure_domain([pairs], seed=0, patches=40) is None


def test_a_training_stores_its_domain_with_the_weights(tmp_path) -> None:
    recipe = make_recipe(
        family="caso_fast",
        architecture={"entry": 2, "filters": 2, "exit": 2, "dilations": [1]},
        mixture=[{"source": "paper", "patches": 4}],
        patch=48,
        steps=3,
        dtype="float32",
        validation={"every": 0},
    )
    weights = find_weights(train(recipe, tmp_path / "a"))
    domain = read_domain(weights.about[TEXT])
    assert (domain.edge, len(domain.patches)) == (48, 12)  # no more than were seen
    again = find_weights(train(recipe, tmp_path / "a", resume=True))
    assert again.about[TEXT] == weights.about[TEXT]
