"""Any family is trained by its own task: nothing of the first one is built in."""

import tomllib
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from deepspot_scale.errors import RunError, SettingsError, WeightsError
from deepspot_scale.io.tables import Folder
from deepspot_scale.networks import denoiser
from deepspot_scale.networks.families import DENOISER, FAMILIES, Family
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.training.augmentation import TURNED
from deepspot_scale.training.log import read_log
from deepspot_scale.training.optimiser import compile_network
from deepspot_scale.training.patches import BatchShare, PatchSettings, cut_patches
from deepspot_scale.training.recipe import make_recipe, read_recipe, recipe_text
from deepspot_scale.training.scenes import Scene, Sources
from deepspot_scale.training.tasks import TASKS, Task
from deepspot_scale.training.trainer import train


@dataclass(frozen=True)
class Finer:
    filters: int = 4

    def to_dict(self):
        return asdict(self)

    @classmethod
    def from_dict(cls, values):
        return cls(**values)


def build(architecture, *, dtype="float32"):
    """Two channels in, one of twice the pixels out."""
    import keras

    image = keras.Input((None, None, 2))
    x = keras.layers.Conv2D(architecture.filters, 3, padding="same")(image)
    x = keras.layers.Conv2DTranspose(1, 2, strides=2)(x)
    return keras.Model(image, x)


class Places:
    """One scene whose channels say where each pixel lies, and points between pixels."""

    cuts = 2

    def __init__(self, shape):
        rng = np.random.default_rng(0)
        self.image = np.stack(np.indices(shape, np.float32), axis=-1)
        self.points = rng.uniform(0, np.subtract(shape, 1), (40, len(shape)))

    def draw(self, rng):
        return Scene(self.image, self.points, lambda image, _=(0, 0): image)


def finer_target(patch):
    """Return how many points lie in each pixel of half the edge."""
    edges = [np.arange(2 * n + 1) / 2 - 0.5 for n in patch.image.shape[:-1]]
    return np.histogramdd(patch.points, edges)[0][..., None]


def squares(_recipe):
    def loss(truth, answer):
        from keras import ops

        return ops.mean(ops.square(truth - answer))

    return loss


def open_places(recipe):
    source = Places((24, 30))
    n = len(recipe.mixture)
    return Sources((source,) * n, (source,) * n, "source,image,use\n")


@pytest.fixture
def finer(monkeypatch):
    family = Family("finer", Finer, build, lambda _: 2, 2, scale=2, channels_in=2)
    monkeypatch.setitem(FAMILIES, "finer", family)
    task = Task(open_places, lambda _: finer_target, squares, score=squares)
    monkeypatch.setitem(TASKS, "finer", task)
    return family


def make(**values):
    return make_recipe(
        **{
            "family": "finer",
            "mixture": [{"source": "places", "patches": 3}],
            "patch": 18,
            "steps": 3,
            "learning_rate": 1e-2,
            "dtype": "float32",
            "validation": {"every": 2, "patches": 2},
            **values,
        }
    )


@pytest.mark.usefixtures("eager")
def test_a_second_family_is_trained_by_its_own_task(finer, tmp_path):
    recipe = make(architecture={"filters": 3})
    path = train(recipe, tmp_path)
    weights = find_weights(path)
    assert weights.family is finer
    assert weights.architecture == Finer(3)
    assert read_recipe(tmp_path / "recipe.toml").architecture == Finer(3)
    rows = read_log(Folder(str(tmp_path)))
    assert [row.validation is not None for row in rows] == [False, True, True]
    # A second training goes on from it, as within the first family.
    compile_network(make(architecture={"filters": 3}, start_from=str(path)))
    with pytest.raises(WeightsError, match="finer Finer"):
        compile_network(make(architecture={"filters": 4}, start_from=str(path)))
    with pytest.raises(WeightsError, match=r"finer Finer.*caso_resnet"):
        compile_network(make_recipe(start_from=str(path)))


def test_a_keras_that_builds_otherwise_than_weights_are_read_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def build(architecture, *, dtype="float32", library=None):
        if library is not None:
            return denoiser.build(architecture, library=library)
        more = replace(architecture, filters=architecture.filters + 1)
        return denoiser.build(more, dtype=dtype)

    monkeypatch.setitem(FAMILIES, "denoiser", replace(DENOISER, build=build))
    recipe = make_recipe(
        family="denoiser", mixture=[{"source": "noisy", "patches": 2}], patch=16
    )
    with pytest.raises(RunError, match=r"Keras \d.* builds denoiser otherwise"):
        compile_network(recipe)


@pytest.mark.parametrize("shape", [(24, 30), (18, 24, 20)])
def test_points_stay_where_they_are_in_a_cut_and_turned_image(shape):
    seen = []

    def target(patch):
        inside = ((patch.points >= 0) & (patch.points <= 17)).all(axis=1)
        channels = np.moveaxis(patch.image, -1, 0)
        # Between pixels the channels are as linear as the places that they tell.
        at = [map_coordinates(c, patch.points[inside].T, order=1) for c in channels]
        np.testing.assert_allclose(np.transpose(at), places.points[inside], atol=1e-4)
        whole = np.round(places.points[inside])
        nearest = patch.image[tuple(patch.pixels[inside].astype(int).clip(0, 17).T)]
        kept = ((patch.pixels[inside] >= 0) & (patch.pixels[inside] <= 17)).all(axis=1)
        np.testing.assert_array_equal(nearest[kept], whole[kept])
        seen.append(int(inside.sum()))
        return patch.image

    places = Places(shape)
    cut = PatchSettings(18, target, TURNED)
    share, rng = BatchShare(places, 1, cut), np.random.default_rng(1)
    for patch, wanted in cut_patches(share, rng, 30):
        np.testing.assert_array_equal(patch, wanted)
    assert sum(seen) > 100


def test_the_target_may_be_finer_than_the_image(finer):
    source = Places((24, 30))
    cut = PatchSettings(18, finer_target, TURNED)
    rng = np.random.default_rng(0)
    for patch, target in cut_patches(BatchShare(source, 1, cut), rng, 9):
        assert (patch.shape, target.shape) == ((18, 18, 2), (36, 36, 1))
        low, high = patch.min(axis=(0, 1)) - 0.5, patch.max(axis=(0, 1)) + 0.5
        inside = ((source.points >= low) & (source.points < high)).all(axis=1)
        assert target.sum() == inside.sum() > 0


def test_a_recipe_without_the_word_is_of_the_first_family():
    recipe = make_recipe(architecture={"blocks": 2})
    assert recipe.family == "caso_resnet"
    old = recipe_text(recipe).replace('family = "caso_resnet"\n', "")
    assert "family" not in tomllib.loads(old)
    assert make_recipe(**tomllib.loads(old)) == recipe


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"family": "fine"}, "family: no family of networks 'fine'.*'finer'"),
        ({"patch": 17}, "patch: expected a multiple of 2"),
        ({"architecture": {"blocks": 2}}, "architecture: there is no 'blocks'"),
        ({"architecture": {"filters": "x"}}, "architecture: filters: .*integer"),
        ({"architecture": 3}, "architecture: expected a table of filters"),
    ],
)
@pytest.mark.usefixtures("finer")
def test_values_that_do_not_fit_the_family_are_refused(values, words):
    with pytest.raises(SettingsError, match=words):
        make(**values)


def test_a_family_without_a_task_is_not_trained(finer, monkeypatch, tmp_path):
    monkeypatch.delitem(TASKS, "finer")
    with pytest.raises(SettingsError, match="no training of the family 'finer'"):
        train(make(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
