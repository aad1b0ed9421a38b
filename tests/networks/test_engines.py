from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from deepspot_scale.artificial import broad_image
from deepspot_scale.errors import DeviceError, SettingsError, WeightsError
from deepspot_scale.kernels.normalisation import quantile_scale
from deepspot_scale.networks.engines import EngineChoice, get_engine, gpu_names


def batch_of(n, size=64, seed=0):
    rng = np.random.default_rng(seed)
    images = [broad_image(rng, size).image for _ in range(n)]
    return np.stack([quantile_scale(image)(image) for image in images])


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


def test_companions_in_a_batch_change_nothing(openvino):
    batch = batch_of(3)
    together = openvino.predict(batch)
    assert together.dtype == np.float32
    changed = batch.copy()
    changed[1:] = changed[1:][::-1] + 0.1
    np.testing.assert_array_equal(openvino.predict(changed)[0], together[0])
    np.testing.assert_array_equal(openvino.predict(batch), together)


def test_an_answer_is_not_overwritten_by_the_next(openvino):
    first = openvino.predict(batch_of(1, seed=1))
    kept = first.copy()
    openvino.predict(batch_of(1, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_any_shape_on_the_grid_is_enhanced(openvino):
    for shape in ((1, 8, 8), (1, 72, 40), (2, 72, 40)):
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
    with pytest.raises(SettingsError, match="float32 and bfloat16"):
        get_engine(EngineChoice(engine="openvino", precision="float16", device="cpu"))


def test_an_unknown_model_is_an_error_of_its_weights():
    with pytest.raises(WeightsError, match="no model 'best'"):
        get_engine(EngineChoice("best"))
