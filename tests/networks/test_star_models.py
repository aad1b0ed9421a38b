"""How answers of networks of objects are read, by what their weights say."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.domains import TEXT, make_domain
from deepspot_scale.networks.families import DEEP_STORM, STAR_CONVEX
from deepspot_scale.networks.star_models import DIAMETER, find_star_model
from deepspot_scale.networks.weights import find_weights, write_weights


@pytest.fixture
def weights_of(tmp_path):
    def make(family, **about):
        path = tmp_path / "own.safetensors"
        arrays = [np.zeros(1)]
        write_weights(path, arrays, family.architecture(), family=family, about=about)
        return find_weights(path)

    return make


def test_thresholds_and_size_are_read_from_the_weights(weights_of):
    about = {"threshold": "0.35", "overlap": "0.25", "diameter": "31"}
    model = find_star_model(weights_of(STAR_CONVEX, **about))
    assert (model.threshold, model.overlap, model.diameter) == (0.35, 0.25, 31.0)


def test_weights_that_say_nothing_are_read_as_usual(weights_of):
    model = find_star_model(weights_of(STAR_CONVEX))
    assert (model.threshold, model.overlap, model.diameter) == (0.5, 0.4, DIAMETER)
    assert model.halo == STAR_CONVEX.halo(STAR_CONVEX.architecture())
    assert model.grid == STAR_CONVEX.grid


def test_images_are_compared_with_what_the_network_was_trained_on(weights_of):
    rng = np.random.default_rng(0)
    patches = rng.normal(size=(30, 64, 64))
    patches[:, 10:30, 20:50] += 20
    domain = make_domain(patches)
    model = find_star_model(weights_of(STAR_CONVEX, **{TEXT: domain.to_text()}))
    assert not model.is_unlike(patches[0])
    assert model.is_unlike(-patches[0])
    assert not model.is_unlike(-patches[0, :20])  # too small to be compared
    assert not find_star_model(weights_of(STAR_CONVEX)).is_unlike(-patches[0])


def test_a_network_of_another_family_is_refused_by_its_name(weights_of):
    with pytest.raises(SettingsError, match=r"deep_storm.*expected star_convex"):
        find_star_model(weights_of(DEEP_STORM))
