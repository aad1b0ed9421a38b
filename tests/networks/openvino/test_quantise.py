import importlib.util
import shutil

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError, WeightsError
from deepspot_scale.kernels.normalisation import noise_scale
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import find_loader, get_engine
from deepspot_scale.networks.openvino import engine as openvino_engine
from deepspot_scale.networks.openvino.cache import openvino_file
from deepspot_scale.networks.openvino.engine import int8_file
from deepspot_scale.networks.openvino.quantise import quantise, require_alike
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.simulation import simulate_image
from deepspot_scale.testing import check_engine

INT8 = EngineChoice("deepspot-fast", engine="openvino", precision="int8")
FLOAT = EngineChoice("deepspot-fast", engine="openvino", precision="float32")


@pytest.fixture(scope="module")
def int8():
    """The small model in whole numbers."""
    pytest.importorskip("nncf")
    return get_engine(INT8)


def test_whole_numbers_find_what_single_precision_finds(int8):
    truth = simulate_image("var", 5, 0, spots=40, size=256)
    batch = noise_scale(truth.image)(truth.image)[None, ..., None]
    expected, found = get_engine(FLOAT).predict(batch), int8.predict(batch)
    assert int8.name == "openvino int8 cpu"
    difference = np.abs(found - expected)
    assert difference.max() > 1e-4  # else these are not whole numbers
    assert difference.mean() < 2e-3
    bright = expected >= 0.6
    assert bright.sum() >= 40
    assert (found[bright] >= 0.3).all()
    assert (found[expected < 0.1] < 0.3).mean() > 0.999


def test_whole_numbers_keep_the_contract_of_engines(int8):
    check_engine(find_loader("openvino"), INT8)


def test_quantising_again_gives_the_same_bytes(int8, tmp_path):
    weights = find_weights(INT8.model)
    source, kept = openvino_file(weights), int8_file(weights)
    quantise(str(source), "dynamic", "noise", str(tmp_path / "net.xml"))
    again = (tmp_path / "net.bin").read_bytes()
    assert again == kept.with_suffix(".bin").read_bytes()


def test_a_network_whose_whole_numbers_differ_is_refused(int8):
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    kept = int8_file(find_weights(INT8.model))
    good, plain = (
        core.read_model(file)
        for file in (kept, openvino_file(find_weights(FLOAT.model)))
    )
    for network in (good, plain):
        network.reshape([1, 1, 64, 64])
    truth = simulate_image("var", 5, 0, spots=10, size=64)
    images = [noise_scale(truth.image)(truth.image)[None, None]]
    require_alike(core, plain, good, images)
    # As if every answer had saturated: a quarter too low.
    low = openvino.opset13.multiply(
        plain.outputs[0].get_node().input_value(0), np.float32(0.6)
    )
    worse = openvino.Model([low], plain.get_parameters())
    with pytest.raises(ValueError, match=r"whole numbers its bright answers differ"):
        require_alike(core, plain, worse, images)


def test_a_network_that_can_not_be_quantised_says_what_to_use_instead(tmp_path):
    pytest.importorskip("nncf")
    weights = find_weights(INT8.model)
    kept = openvino_file(weights).parent
    shutil.copytree(kept, tmp_path / kept.name)
    network = openvino_file(weights, tmp_path)
    network.write_text("<net/>")
    with pytest.raises(WeightsError, match=r"not be quantised: .*--precision float32"):
        int8_file(weights, tmp_path)
    assert list(tmp_path.iterdir()) == [network.parent]


def test_int8_without_nncf_says_what_to_install(monkeypatch):
    pytest.importorskip("openvino")
    real = importlib.util.find_spec

    def without(name, *rest):
        return None if name == "nncf" else real(name, *rest)

    monkeypatch.setattr(openvino_engine, "find_spec", without)
    with pytest.raises(SettingsError, match=r"pip install 'deepspot-scale\[int8\]'"):
        find_loader("openvino")(INT8)


def test_keras_has_no_int8():
    with pytest.raises(SettingsError, match="engine openvino"):
        get_engine(EngineChoice(engine="keras", precision="int8", device="cpu"))
