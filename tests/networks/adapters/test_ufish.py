"""U-FISH's network in parts: as the whole one, wherever it is cut."""

from __future__ import annotations

import importlib.util
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError, WeightsError
from deepspot_scale.networks.adapters.ufish import (
    GRID,
    REACH,
    Pools,
    UFishNetwork,
    load_network,
    weights_file,
)

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("ufish") is None, reason="ufish is not installed"
)


@pytest.fixture(scope="module")
def network() -> UFishNetwork:
    return load_network(str(weights_file()), 1)


def _values(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


@needs_weights
@pytest.mark.parametrize("shape", [(160, 152), (157, 150)])
def test_two_pieces_answer_what_the_whole_image_does(
    network: UFishNetwork, shape: tuple[int, int]
) -> None:
    image = _values(shape)
    whole = network.enhance(image, None)
    cut = 80
    pieces = [
        (image[: cut + REACH], slice(0, cut)),
        (image[cut - REACH :], slice(REACH, shape[0] - cut + REACH)),
    ]
    columns = slice(0, shape[1])
    known: tuple[Pools, ...] = ()
    for _ in range(2):
        told = [network.measure(part, (rows, columns), known) for part, rows in pieces]
        known += (reduce(add, told),)
    parts = [network.enhance(part, known)[rows] for part, rows in pieces]
    np.testing.assert_allclose(np.concatenate(parts), whole, rtol=0, atol=1e-5)
    alone = network.enhance(pieces[0][0], None)[pieces[0][1]]
    assert np.abs(alone - whole[:cut]).max() > 1e-3  # what is agreed on matters


@needs_weights
def test_an_impulse_never_reaches_beyond_the_declared_pixels(
    network: UFishNetwork,
) -> None:
    image = _values((2 * REACH + 24, 2 * REACH + 24))
    own = (slice(0, image.shape[0]), slice(0, image.shape[1]))
    known: tuple[Pools, ...] = ()
    for _ in range(2):
        known += (network.measure(image, own, known),)
    before = network.enhance(image, known)
    for offset in range(GRID):
        place = REACH + offset
        changed = image.copy()
        changed[place, place] += 200
        touched = np.argwhere(network.enhance(changed, known) != before)
        assert len(touched)
        assert np.abs(touched - place).max() <= REACH - 2  # sharpening, maxima


@needs_weights
def test_the_file_of_the_package_is_found_without_importing_it() -> None:
    assert weights_file().suffix == ".onnx"


def test_files_that_hold_no_such_network_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.onnx"
    with pytest.raises(SettingsError, match="there is no file"):
        weights_file(str(file))
    file.write_bytes(b"no network")
    with pytest.raises(WeightsError, match="cannot be read as a network"):
        load_network(str(weights_file(str(file))))
