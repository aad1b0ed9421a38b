import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from deepspot_scale.errors import WeightsError
from deepspot_scale.networks.caso_resnet import Architecture
from deepspot_scale.networks.weights import (
    SHIPPED,
    find_weights,
    load_weights,
    shipped_models,
    write_weights,
)

TINY = Architecture(blocks=1, stems=(2, 2, 2), filters=2, up=((2, 2, 2),) * 3)


class Model:
    """As much of a Keras model as weights need: `weights` and `set_weights`."""

    def __init__(self, shapes):
        self.weights = [np.zeros(shape, np.float32) for shape in shapes]

    def set_weights(self, arrays):
        self.weights = arrays


ARRAYS = [np.arange(6.0).reshape(2, 3), np.full(4, 0.1), np.array([1e-3, -7.0])]


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "spots.safetensors"
    write_weights(path, ARRAYS, TINY, about={"steps": "3"})
    return path


def test_written_weights_are_read_back(written):
    weights = find_weights(written)
    assert weights.name == "spots"
    assert weights.architecture == TINY
    assert weights.about == {"steps": "3"}
    assert weights.sha256 == hashlib.sha256(written.read_bytes()).hexdigest()
    model = Model([array.shape for array in ARRAYS])
    load_weights(model, weights)
    for got, expected in zip(model.weights, ARRAYS, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected.astype(np.float32))


def test_half_precision_halves_the_file_and_keeps_three_digits(tmp_path):
    arrays = [np.random.default_rng(0).normal(size=(100, 100))]
    for dtype in ("float32", "float16"):
        write_weights(tmp_path / dtype, arrays, TINY, dtype=dtype)
    sizes = [(tmp_path / dtype).stat().st_size for dtype in ("float32", "float16")]
    assert sizes[1] < 0.55 * sizes[0]
    model = Model([(100, 100)])
    load_weights(model, find_weights(tmp_path / "float16"))
    assert model.weights[0].dtype == np.float32
    np.testing.assert_allclose(model.weights[0], arrays[0], rtol=1e-3)


def test_many_arrays_keep_their_order(tmp_path):
    arrays = [np.full(1, i) for i in range(300)]
    write_weights(tmp_path / "many", arrays, TINY)
    model = Model([(1,)] * 300)
    load_weights(model, find_weights(tmp_path / "many"))
    assert [int(array[0]) for array in model.weights] == list(range(300))


def test_equal_weights_are_equal_bytes(tmp_path):
    # Twenty words: that two orders by chance are one is out of the question.
    about = {f"fact {n}": str(n) for n in range(20)}
    files = [tmp_path / f"{n}.safetensors" for n in range(2)]
    for file in files:
        write_weights(file, ARRAYS, TINY, about=about)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert about.items() <= find_weights(files[0]).about.items()


def test_every_shipped_model_is_whole():
    assert shipped_models()
    for name, entry in shipped_models().items():
        weights = find_weights(name)
        assert weights.name == name
        assert weights.sha256 == entry["sha256"]
        assert entry["about"]


def test_an_unknown_name_is_an_error_that_lists_the_models():
    with pytest.raises(WeightsError, match=r"no model 'best'.*deepspot"):
        find_weights("best")


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(WeightsError, match="no model"):
        find_weights(tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_damaged_file_is_an_error(written, keep):
    written.write_bytes(written.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="no whole safetensors file"):
        find_weights(written)


def test_a_shipped_file_that_was_changed_is_an_error(tmp_path, monkeypatch):
    entry = shipped_models()["deepspot"]
    content = bytearray((SHIPPED / entry["file"]).read_bytes())
    content[-1] ^= 1
    (tmp_path / entry["file"]).write_bytes(content)
    (tmp_path / "models.json").write_text(json.dumps({"deepspot": entry}))
    monkeypatch.setattr("deepspot_scale.networks.weights.SHIPPED", tmp_path)
    with pytest.raises(WeightsError, match="is damaged: SHA-256"):
        find_weights("deepspot")


@pytest.mark.parametrize(
    "text",
    [None, {"steps": "3"}, {"architecture": "{}"}, {"architecture": "no JSON"}],
)
def test_a_file_of_another_origin_is_an_error(tmp_path, text):
    path = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(3)}, path, metadata=text)
    with pytest.raises(
        WeightsError, match="names no architecture of the family caso_resnet"
    ):
        find_weights(path)


@pytest.mark.parametrize("shapes", [[(2, 3), (4,)], [(2, 3), (4,), (3,)], []])
def test_arrays_that_do_not_fit_the_architecture_are_an_error(written, shapes):
    model = Model(shapes)
    with pytest.raises(WeightsError, match=f"3 arrays, expected {len(shapes)}"):
        load_weights(model, find_weights(written))
    assert not any(array.any() for array in model.weights)
