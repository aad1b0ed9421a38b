import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deepspot_scale.errors import (
    ContractError,
    DeviceError,
    SettingsError,
    WeightsError,
)
from deepspot_scale.kernels.normalisation import quantile_scale
from deepspot_scale.networks import devices
from deepspot_scale.networks.devices import gpu_names
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import find_loader, get_engine, predict_images
from deepspot_scale.simulation import broad_image
from deepspot_scale.testing import check_engine


def batch_of(n, size=64, seed=0):
    rng = np.random.default_rng(seed)
    images = [broad_image(rng, size).image for _ in range(n)]
    return np.stack([quantile_scale(image)(image) for image in images])[..., None]


@pytest.fixture(scope="module")
def openvino():
    """The default model run by OpenVINO in float32."""
    pytest.importorskip("openvino")
    return get_engine(EngineChoice(engine="openvino", precision="float32"))


def test_openvino_gives_what_keras_gives(openvino):
    keras = get_engine(EngineChoice(engine="keras", precision="float32", device="cpu"))
    assert keras.name == "keras float32 cpu"
    assert openvino.name == "openvino float32 cpu"
    batch = batch_of(1, 128)
    expected = keras.predict(batch)
    assert expected.shape == batch.shape
    assert np.ptp(expected) > 0.5  # there are spots in it
    np.testing.assert_allclose(openvino.predict(batch), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["keras", "openvino"])
def test_built_in_engines_keep_the_contract(name):
    if name == "openvino":
        pytest.importorskip("openvino")
    choice = EngineChoice(engine=name, precision="float32", device="cpu")
    check_engine(find_loader(name), choice)


class Plain:
    """An engine that leaves images as they are; tests spoil it."""

    name = "plain"
    pixels_per_call = 64 * 64 * 3

    def __init__(self, choice=None):
        self.shapes = []

    def predict(self, batch):
        self.shapes.append(batch.shape)
        return batch


def spoil(change):
    """Return a loader of an engine whose answers are changed."""

    class Spoiled(Plain):
        def predict(self, batch):
            return change(batch)

    return Spoiled


def altered(batch):
    batch *= np.float32(0.5)
    return batch


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (lambda choice: object(), "no 'name'"),
        (spoil(lambda batch: batch[:, ::2]), r"are float32 of \(64, 64, 1\)"),
        (spoil(lambda batch: batch[..., 0]), r"are float32 of \(64, 64, 1\)"),
        (spoil(lambda batch: batch.astype(np.float64)), "gave float64"),
        (spoil(lambda batch: batch * 2), "caso_resnet lie in \\[0, 1\\]"),
        (spoil(lambda batch: batch / batch.max()), "what else is in the batch"),
        (
            spoil(lambda batch: batch * (np.arange(3) < 2)[:, None, None, None]),
            "its place",
        ),
    ],
)
def test_an_engine_that_breaks_a_rule_is_told_which(load, reason):
    choice = EngineChoice("deepspot")
    check_engine(Plain, choice)
    with pytest.raises(ContractError, match=reason):
        check_engine(load, choice)


def test_an_engine_that_alters_what_it_is_given_is_told_so():
    class Alone(Plain):
        pixels_per_call = 1
        predict = staticmethod(altered)

    with pytest.raises(ContractError, match="alters the images"):
        check_engine(Alone)


def test_batches_have_one_size_whatever_there_is_to_do():
    engine = Plain()
    images = [np.full((64, 64, 2), i / 10, np.float32) for i in range(4)]
    for n in (1, 3, 4):
        answers = predict_images(engine, images[:n])
        np.testing.assert_array_equal(answers, images[:n])
    assert engine.shapes == [(3, 64, 64, 2)] * 4
    predict_images(engine, [np.zeros((128, 128, 1), np.float32)] * 2)
    assert engine.shapes[4:] == [(1, 128, 128, 1)] * 2


def test_an_engine_of_ones_own_is_found_by_its_name():
    choice = EngineChoice(engine=f"{__name__}:Plain")
    assert isinstance(get_engine(choice), Plain)
    with pytest.raises(SettingsError, match="Did you mean 'openvino'"):
        get_engine(EngineChoice(engine="openvin"))
    with pytest.raises(SettingsError, match="must be a function"):
        get_engine(EngineChoice(engine="deepspot_scale.networks.engines:AUTO"))


def test_weights_trained_anew_into_the_same_file_are_loaded_anew(tmp_path):
    file = tmp_path / "mine.safetensors"
    choice = EngineChoice(str(file), engine=f"{__name__}:Plain")
    file.write_bytes(b"first")
    first = get_engine(choice)
    assert get_engine(choice) is first
    file.write_bytes(b"second one")
    assert get_engine(choice) is not first


def test_an_answer_is_not_overwritten_by_the_next(openvino):
    first = openvino.predict(batch_of(1, seed=1))
    kept = first.copy()
    openvino.predict(batch_of(1, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_any_shape_on_the_grid_is_enhanced(openvino):
    for shape in ((1, 8, 8, 1), (1, 72, 40, 1), (2, 72, 40, 1)):
        answer = openvino.predict(np.zeros(shape, np.float32))
        assert answer.shape == shape
        assert ((answer >= 0) & (answer <= 1)).all()


def test_an_engine_is_loaded_once_even_when_threads_ask_together():
    pytest.importorskip("openvino")
    # One that no other test asks for.
    choice = EngineChoice(engine="openvino", precision="float32", threads=1)
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(get_engine, [choice] * 4))
    engines.append(get_engine(EngineChoice(**vars(choice))))
    assert len({id(engine) for engine in engines}) == 1


def test_a_gpu_that_can_not_be_used_is_told(monkeypatch, caplog):
    monkeypatch.setattr(devices, "_gpu_driver", lambda: True)
    monkeypatch.setattr(devices, "gpu_names", list)
    choice = EngineChoice(engine="auto", precision="float32", threads=2)
    assert get_engine(choice).name.endswith("cpu")
    assert "a GPU that the network cannot use" in caplog.text
    caplog.clear()
    get_engine(EngineChoice(precision="float32", device="cpu", threads=2))
    assert not caplog.text


def test_threads_share_an_engine_without_mixing_answers(openvino):
    batches = [batch_of(1, seed=seed) for seed in range(4)]
    expected = [openvino.predict(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(openvino.predict, batches * 3))
    for i, answer in enumerate(answers):
        np.testing.assert_array_equal(answer, expected[i % 4])


@pytest.mark.parametrize("engine", ["auto", "keras", "openvino"])
def test_a_gpu_that_is_not_there_is_an_error_and_no_slower_run(engine):
    if gpu_names():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match="a GPU was asked for"):
        get_engine(EngineChoice(engine=engine, device="gpu"))


def test_a_precision_that_openvino_lacks_is_an_error():
    pytest.importorskip("openvino")
    with pytest.raises(SettingsError, match="no float16"):
        get_engine(EngineChoice(engine="openvino", precision="float16", device="cpu"))


def test_an_unknown_model_is_an_error_of_its_weights():
    with pytest.raises(WeightsError, match="no model 'best'"):
        get_engine(EngineChoice("best"))


def test_bfloat16_is_refused_where_the_processor_lacks_it(openvino):
    if "BF16" in openvino.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor multiplies bfloat16")
    with pytest.raises(SettingsError, match="does not multiply bfloat16"):
        get_engine(EngineChoice(engine="openvino", precision="bfloat16"))


LOGICAL = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration() for _ in range(2)]
tf.config.set_logical_device_configuration(cpu, two)

import numpy as np
from deepspot_scale.networks.engine_types import (EngineChoice)
from deepspot_scale.networks.keras_engine import place_engine

engine = place_engine(EngineChoice(), "float32", "keras", 1, "cpu:1")
places = {variable.value.device for variable in engine.model.weights}
batch = np.zeros((1, 32, 32, 1), np.float32)
assert engine.predict(batch).shape == (1, 32, 32, 1)
places.add(engine.compiled[batch.shape](batch).device)
print(*sorted(places))
"""


def test_weights_and_work_stay_on_the_device_that_was_chosen():
    done = subprocess.run(
        [sys.executable, "-c", LOGICAL],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (place,) = done.stdout.split()
    assert place.endswith("device:CPU:1")


def test_openvino_is_imported_without_its_message_to_its_makers() -> None:
    ask = (
        "import sys; from deepspot_scale.networks.openvino.library import "
        "import_openvino as get; get().Core(); "
        "print('openvino_telemetry' in sys.modules)"
    )
    asked = subprocess.run([sys.executable, "-c", ask], capture_output=True, check=True)
    assert asked.stdout.split() == [b"False"]


def test_threads_of_several_workers_are_not_put_on_the_same_processors() -> None:
    engine = get_engine(EngineChoice(engine="openvino", precision="float32", threads=1))
    engine.predict(np.zeros((1, 16, 16, 1), np.float32))
    (request,) = engine.compiled.values()
    pinned = request.get_compiled_model().get_property("ENABLE_CPU_PINNING")
    assert pinned is False
