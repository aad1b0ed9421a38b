"""Images outside the domain are named, and what is not known is said."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.evaluation.domain_check import COLUMNS, DomainRows
from deepspot_scale.networks.domains import Domain, make_domain


def _image(seed: int, edge: int = 64) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(edge, edge))
    image[10:30, 20:50] += 20
    return image


@pytest.fixture(scope="module")
def domain() -> Domain:
    made = make_domain(np.stack([_image(seed) for seed in range(40)]))
    assert made is not None
    return made


def test_images_outside_are_named(domain: Domain) -> None:
    rows = DomainRows(domain)
    for seed in range(50, 53):
        rows.add(f"like{seed}", _image(seed))
    rows.add("inverted", -_image(60))
    check = rows.check()
    assert check.outside == {"inverted"}
    assert tuple(check.table.columns) == COLUMNS
    assert "1 of 4 images (25%)" in check.words
    assert "inverted" in check.words


def test_images_like_the_training_are_said_to_be_so(domain: Domain) -> None:
    rows = DomainRows(domain)
    rows.add("one", _image(50))
    assert rows.check().words == "1 image, all like those of the training."


def test_only_ten_are_named(domain: Domain) -> None:
    rows = DomainRows(domain)
    for number in range(12):
        rows.add(f"i{number:02d}", -_image(number))
    check = rows.check()
    assert len(check.outside) == 12
    assert "i09 and 2 more" in check.words


def test_a_model_without_a_domain_says_that_it_is_not_known() -> None:
    rows = DomainRows(None)
    rows.add("one", _image(0))
    check = rows.check()
    assert check.table.empty
    assert "not known" in check.words


def test_small_images_are_counted_and_not_compared(domain: Domain) -> None:
    rows = DomainRows(domain)
    rows.add("small", _image(0)[:20])
    assert "too small" in rows.check().words
    rows.add("one", _image(50))
    check = rows.check()
    assert len(check.table) == 1
    assert "1 image too small" in check.words


def test_a_constant_image_is_outside(domain: Domain) -> None:
    rows = DomainRows(domain)
    rows.add("black", np.zeros((64, 64)))
    check = rows.check()
    assert check.outside == {"black"}
    assert check.table["feature"].tolist() == ["constant"]
