"""A family that an installed package brings runs as the built-in one does."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.errors import ContractError, SettingsError, WeightsError
from deepspot_scale.networks.caso_resnet import Architecture
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import find_loader, get_engine
from deepspot_scale.networks.families import CASO_RESNET, Family, find_family
from deepspot_scale.networks.machine_speed import measure_rate
from deepspot_scale.networks.openvino.cache import export, openvino_file
from deepspot_scale.networks.openvino.engine import int8_file
from deepspot_scale.networks.weights import find_weights, load_weights, write_weights
from deepspot_scale.stages.enhancement import Enhancement
from deepspot_scale.testing import check_engine

PACKAGE = '''
from dataclasses import asdict, dataclass

from deepspot_scale.networks.families import Family


@dataclass(frozen=True)
class Doubler:
    filters: int = 3
    rectifier: str = "ReLU"
    options: tuple = ()

    def to_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        return cls(**values | {"options": tuple(map(tuple, values["options"]))})


def build(architecture, *, dtype="float32"):
    """Two channels in, one of twice the pixels out."""
    import keras

    layers = keras.layers
    image = keras.Input((None, None, 2))
    x = layers.Conv2D(architecture.filters, 3, padding="same")(image)
    x = getattr(layers, architecture.rectifier)(**dict(architecture.options))(x)
    x = layers.Conv2DTranspose(1, 3, strides=2)(x)
    x = layers.Cropping2D(((0, 1), (0, 1)))(x)
    return keras.Model(image, x, name="doubler")


doubler = Family("doubler", Doubler, build, lambda _: 2, 2, scale=2, channels_in=2)
'''


@pytest.fixture
def doubler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Family:
    """Install a package with a family, for this process and those that it starts."""
    place = tmp_path / "site"
    entry = place / "doubler-1.0.dist-info"
    entry.mkdir(parents=True)
    (place / "doubler_family.py").write_text(PACKAGE)
    (entry / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: doubler\nVersion: 1\n"
    )
    (entry / "entry_points.txt").write_text(
        "[deepspot_scale.networks]\ndoubler = doubler_family:doubler\n"
        "twice = doubler_family:doubler\n"
    )
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", str(place), prepend=":")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delitem(sys.modules, "doubler_family", raising=False)
    return find_family("doubler")


def write_doubler(family: Family, path: Path, **numbers: object) -> Path:
    architecture = family.architecture(**numbers)
    rng = np.random.default_rng(0)
    shapes = [array.shape for array in family.build(architecture).get_weights()]
    arrays = [rng.normal(size=shape) for shape in shapes]
    write_weights(path, arrays, architecture, family=family)
    return path


@pytest.fixture
def weights(doubler: Family, tmp_path: Path) -> Path:
    return write_doubler(doubler, tmp_path / "twice.safetensors", filters=4)


def test_a_weights_file_names_its_family(weights: Path, doubler: Family) -> None:
    found = find_weights(weights)
    assert found.family is doubler
    assert found.architecture == doubler.architecture(filters=4)
    assert found.about == {}


@pytest.mark.parametrize("engine", ["keras", "openvino"])
def test_both_engines_run_any_family_in_its_own_shapes(
    engine: str, weights: Path, tmp_path: Path
) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    choice = EngineChoice(str(weights), engine, "float32", "cpu")
    batch = np.random.default_rng(1).random((3, 16, 24, 2), np.float32)
    answer = get_engine(choice).predict(batch)
    assert answer.shape == (3, 32, 48, 1)
    assert answer.dtype == np.float32
    found = find_weights(weights)
    model = found.family.build(found.architecture)
    load_weights(model, found)
    expected = np.asarray(model(batch, training=False))
    assert np.ptp(expected) > 1  # beyond the range of the built-in family
    np.testing.assert_allclose(answer, expected, atol=1e-4)
    check_engine(find_loader(engine), choice)
    assert measure_rate(choice, tmp_path / "rates") > 0


def test_an_answer_that_is_not_the_familys_is_refused(weights: Path) -> None:
    class Same:
        name, pixels_per_call = "same", 1

        def __init__(self, choice: EngineChoice) -> None:
            pass

        def predict(self, batch: np.ndarray) -> np.ndarray:
            return batch

    with pytest.raises(ContractError, match=r"doubler are float32 of \(32, 32, 1\)"):
        check_engine(Same, EngineChoice(str(weights)))


def test_a_layer_that_openvino_does_not_know_is_named(
    doubler: Family, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "normal.safetensors"
    write_doubler(doubler, path, rectifier="LayerNormalization")
    with pytest.raises(WeightsError, match="no translation of LayerNormalization"):
        export(str(path), str(tmp_path / "net.xml"))


def test_an_option_that_the_translation_leaves_out_is_an_error_and_no_other_answer(
    doubler: Family, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    path = tmp_path / "smooth.safetensors"
    options = (("interpolation", "bilinear"),)
    write_doubler(doubler, path, rectifier="UpSampling2D", options=options)
    with pytest.raises(WeightsError, match="lacks an option of one of its layers"):
        openvino_file(find_weights(path), tmp_path / "cache")


def test_a_family_without_calibration_has_no_int8(
    weights: Path, tmp_path: Path
) -> None:
    pytest.importorskip("nncf")
    with pytest.raises(WeightsError, match="doubler, which names no images"):
        int8_file(find_weights(weights), tmp_path / "cache")


def test_a_family_that_is_no_enhancement_does_not_enhance(weights: Path) -> None:
    with pytest.raises(SettingsError, match="family doubler, whose answer is no"):
        Enhancement.of(EngineChoice(str(weights)))


def test_an_unknown_family_is_an_error_that_names_the_known_ones(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the package is gone
    with pytest.raises(WeightsError, match=r"networks 'doubler'.*caso_resnet"):
        find_weights(weights)


@pytest.mark.usefixtures("doubler")
def test_a_package_that_brings_a_family_under_another_name_is_told_so() -> None:
    with pytest.raises(SettingsError, match="no `Family` of that name"):
        find_family("twice")


def test_a_weights_file_cannot_name_a_module_to_import(tmp_path: Path) -> None:
    harmful = Family("this:s", Architecture, CASO_RESNET.build, lambda _: 0, 1)
    write_weights(tmp_path / "a.safetensors", [], Architecture(), family=harmful)
    with pytest.raises(WeightsError, match="no family of networks 'this:s'"):
        find_weights(tmp_path / "a.safetensors")
    assert "this" not in sys.modules


def test_files_without_the_word_are_of_the_first_family() -> None:
    assert find_weights("deepspot").family is find_family("caso_resnet")
    assert "family" not in find_weights("deepspot").about


def test_a_grid_that_the_scale_does_not_divide_is_refused() -> None:
    with pytest.raises(SettingsError, match="grid 3 and the scale 1/2"):
        Family("odd", Architecture, CASO_RESNET.build, lambda _: 0, 3, Fraction(1, 2))
    half = Family("half", Architecture, min, lambda _: 9, 8, Fraction(1, 2), 1, 33)
    assert half.answer_shape((16, 24)) == (8, 12, 33)
    assert half.halo(Architecture()) == 16
