"""An image is outside where it is farther than training patches are from each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage as ndi

from deepspot_scale.errors import WeightsError
from deepspot_scale.kernels.image_features import FEATURES, measure_features
from deepspot_scale.networks.domains import (
    FILE,
    TEXT,
    Domain,
    find_domain,
    make_domain,
    read_domain,
)
from deepspot_scale.networks.families import CASO_FAST
from deepspot_scale.networks.weights import (
    SHIPPED,
    find_weights,
    shipped_models,
    write_weights,
)

EDGE = 96


def _patch(seed: int, *, edge: int = EDGE, sigma: float = 4.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    places = np.zeros((edge, edge))
    places[tuple(rng.integers(0, edge, (2, max(1, edge**2 // 700))))] = 1
    image = ndi.gaussian_filter(places, sigma * rng.uniform(0.8, 1.2))
    noise = rng.uniform(0.01, 0.03)
    return image / image.max() + noise * rng.standard_normal(image.shape)


def _add_noise(image: np.ndarray) -> np.ndarray:
    return image + np.random.default_rng(9).normal(0, 0.3, image.shape)


def _enlarge(image: np.ndarray) -> np.ndarray:
    return ndi.zoom(image, 4, order=1)[:EDGE, :EDGE]


@pytest.fixture(scope="module")
def domain() -> Domain:
    made = make_domain(np.stack([_patch(seed) for seed in range(80)]))
    assert made is not None
    return made


def test_images_like_those_of_the_training_are_inside(domain: Domain) -> None:
    outside = [domain.distance(_patch(seed)).is_outside for seed in range(100, 160)]
    assert np.mean(outside) <= 0.1


@pytest.mark.parametrize("change", [_add_noise, _enlarge, np.negative])
def test_other_images_are_outside(
    domain: Domain, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    found = [domain.distance(change(_patch(seed))) for seed in range(200, 210)]
    assert all(each.is_outside for each in found)


def test_the_named_feature_differs_most_from_the_nearest_patch(domain: Domain) -> None:
    image = _enlarge(_patch(7))
    gaps = (np.array(measure_features(image)) - domain.patches) / domain.spread
    nearest = gaps[np.linalg.norm(gaps, axis=1).argmin()]
    far = domain.distance(image)
    assert far.feature == FEATURES[np.abs(nearest).argmax()]
    assert far.shift == pytest.approx(nearest[np.abs(nearest).argmax()])


def test_a_brighter_camera_is_the_same_image(domain: Domain) -> None:
    image = _patch(300)
    one, other = domain.distance(image), domain.distance(300 * image + 1000)
    assert one.ratio == pytest.approx(other.ratio)


def test_the_limit_holds_nearly_all_training_patches(domain: Domain) -> None:
    scaled = domain.patches / domain.spread
    gaps = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    third = np.sort(gaps, axis=1)[:, 3]  # without itself
    assert domain.limit == pytest.approx(np.quantile(third, 0.99))


def test_a_large_image_is_judged_by_its_middle_tile(domain: Domain) -> None:
    large = np.tile(_patch(0), (3, 3))
    assert not domain.distance(large).is_outside
    odd = large.copy()
    odd[:EDGE] = -odd[:EDGE]  # three of nine tiles
    assert domain.distance(odd).ratio <= 1
    odd[EDGE : 2 * EDGE] = -odd[EDGE : 2 * EDGE]
    assert domain.distance(odd).is_outside


def test_a_constant_image_is_outside(domain: Domain) -> None:
    far = domain.distance(np.full((EDGE, EDGE), 5.0))
    assert far.is_outside
    assert np.isnan(far.ratio)


def test_a_domain_read_back_is_the_one_written(domain: Domain) -> None:
    again = read_domain(domain.to_text())
    np.testing.assert_array_equal(again.patches, domain.patches)
    assert again.edge == domain.edge == EDGE


@pytest.mark.parametrize(
    "text",
    ["", "{}", '{"edge": 4, "features": ["a"], "patches": [[1]]}'],
)
def test_text_that_is_no_domain_is_an_error(text: str) -> None:
    with pytest.raises(WeightsError, match="domain stored with the weights"):
        read_domain(text)


def test_patches_too_small_to_measure_make_no_domain() -> None:
    assert make_domain(np.zeros((40, 16, 16))) is None
    assert make_domain(np.zeros((40, 64, 64))) is None


def test_the_domain_is_in_the_weights_text(tmp_path: Path, domain: Domain) -> None:
    file = tmp_path / "own.safetensors"
    about = {TEXT: domain.to_text()}
    write_weights(file, [], CASO_FAST.architecture(), family=CASO_FAST, about=about)
    found = find_domain(find_weights(file))
    assert found is not None
    np.testing.assert_array_equal(found.patches, domain.patches)


def test_weights_without_a_domain_have_none(tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    write_weights(file, [], CASO_FAST.architecture(), family=CASO_FAST)
    assert find_domain(find_weights(file)) is None


def test_domains_of_shipped_models_are_of_the_shipped_weights() -> None:
    listed = json.loads((SHIPPED / FILE).read_text("utf-8"))
    assert "deepspot-fast" in listed
    assert set(listed) <= set(shipped_models())
    for name in {*listed, "nuclei", "rater"}:  # these weights files say it
        assert find_domain(find_weights(name)) is not None
