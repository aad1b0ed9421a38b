"""How answers of networks that localise are read, by what their weights say."""

import json

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.families import CASO_FAST, DEEP_STORM, SUBPIXEL_CNN
from deepspot_scale.networks.localisers import find_localiser
from deepspot_scale.networks.weights import find_weights, write_weights

RECIPE = {"recipe": json.dumps({"movies": {"alpha": 7.0, "d_max": 35.0}})}


@pytest.fixture
def weights_of(tmp_path):
    def make(family, **about):
        path = tmp_path / "own.safetensors"
        arrays = [np.zeros(1)]
        write_weights(path, arrays, family.architecture(), family=family, about=about)
        return find_weights(path)

    return make


def plateau():
    answer = np.zeros((60, 90, 1), np.float32)
    answer[28:33, 10:80] = 0.9
    return answer


def test_a_trained_distance_transform_is_read_by_what_molecules_explain(weights_of):
    trained = find_localiser(weights_of(SUBPIXEL_CNN, threshold="0.4", **RECIPE))
    plain = find_localiser(weights_of(SUBPIXEL_CNN, threshold="0.4"))
    assert len(plain.find(plateau())) == 1
    assert len(trained.find(plateau())) > 5
    assert trained.halo > plain.halo > SUBPIXEL_CNN.halo(SUBPIXEL_CNN.architecture())


def test_a_heat_map_is_read_by_its_maxima_whatever_its_training(weights_of):
    heat = find_localiser(weights_of(DEEP_STORM, threshold="0.4", **RECIPE))
    assert len(heat.find(plateau())) == 1
    assert heat.scale == 8


def test_the_least_certainty_replaces_the_threshold_of_the_model(weights_of):
    weights = weights_of(SUBPIXEL_CNN, threshold="0.4", full="2", **RECIPE)
    assert len(find_localiser(weights).find(plateau())) > 0
    assert len(find_localiser(weights, 0.5).find(plateau())) == 0


def test_a_model_without_threshold_asks_for_the_least_certainty(weights_of):
    weights = weights_of(DEEP_STORM)
    with pytest.raises(SettingsError, match="least certainty"):
        find_localiser(weights)
    assert find_localiser(weights, 0.3).grid == 1


def test_a_network_that_does_not_localise_is_refused(weights_of):
    with pytest.raises(SettingsError, match="does not localise"):
        find_localiser(weights_of(CASO_FAST))
