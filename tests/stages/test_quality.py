"""Quality of planes: what saturated, empty and blurred images look like in numbers."""

from __future__ import annotations

from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from deepspot_scale.blockwise.contract import RunContext
from deepspot_scale.blockwise.identity import PlaneIdentity
from deepspot_scale.blockwise.lifting import lift_plane
from deepspot_scale.blockwise.planning import Pipeline, plan_pipeline
from deepspot_scale.errors import FieldError
from deepspot_scale.simulation import broad_image
from deepspot_scale.stages.brightness import Normalisation
from deepspot_scale.stages.quality import QualityOptions, plan_quality
from deepspot_scale.testing import check_steps
from deepspot_scale.verbs.images import measure_quality
from deepspot_scale.vocabulary import QUALITY

few = settings(max_examples=25, deadline=None)
FORMATS = [bool, np.uint8, np.uint16, np.int32, np.float32, np.float64]


def image(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("z", "y", "x")[-values.ndim :])


def test_shares_of_saturated_and_empty_pixels_are_exact() -> None:
    values = np.full((10, 10), 7, np.uint8)
    values[:2] = 255
    values[2] = 0
    row = measure_quality(image(values)).iloc[0]
    assert (row["saturated"], row["zero"]) == (0.2, 0.1)
    assert row["mean"] == values.mean()


def test_focus_is_the_variance_of_the_laplacian_over_the_squared_mean() -> None:
    values = np.random.default_rng(0).random((33, 41))
    expected = ndimage.laplace(values).var() / values.mean() ** 2
    np.testing.assert_allclose(measure_quality(image(values))["focus"], expected)


def test_a_blurred_image_is_less_in_focus() -> None:
    sharp = broad_image(np.random.default_rng(1), 128).image.astype(np.float64)
    both = np.stack([sharp, ndimage.gaussian_filter(sharp, 3)])
    first, second = measure_quality(image(both))["focus"]
    assert first > 10 * second


def test_a_plane_that_is_blurred_in_part_is_less_in_focus_there() -> None:
    sharp = broad_image(np.random.default_rng(1), 128).image.astype(np.float64)
    half = sharp.copy()
    half[:, :64] = ndimage.gaussian_filter(sharp, 3)[:, :64]
    whole, part = measure_quality(image(np.stack([sharp, half]))).to_dict("records")
    assert part["focus"] > whole["focus"] / 3
    assert part["focus_low"] < whole["focus_low"] / 10
    # The slow twin: the fourth least of 16 parts.
    bumps = ndimage.laplace(half)
    edges = range(0, 128, 32)
    boxes = [np.s_[y : y + 32, x : x + 32] for y in edges for x in edges]
    each = sorted(bumps[box].var() / half[box].mean() ** 2 for box in boxes)
    np.testing.assert_allclose(part["focus_low"], each[3], rtol=1e-3)


def test_a_lazy_image_gives_the_same_and_building_computes_nothing() -> None:
    values = np.random.default_rng(2).integers(0, 99, (2, 30, 50)).astype(np.uint16)
    eager = measure_quality(image(values))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed while building")

    with dask.config.set(scheduler=refuse):
        lazy = measure_quality(image(values).chunk({"y": 7, "x": 13}))
    # Each partition of a Dask table counts its rows from 0.
    answer = lazy.compute(scheduler="synchronous").reset_index(drop=True)
    pd.testing.assert_frame_equal(answer, eager)


def test_an_image_of_zeros_has_no_focus() -> None:
    row = measure_quality(image(np.zeros((5, 6), np.float32))).iloc[0]
    assert np.isnan(row["focus"])
    assert row["zero"] == 1


def _plan(block: int = 2560) -> Pipeline:
    quality = plan_quality(QualityOptions(), RunContext())
    works = {"brightness": Normalisation().work(), "quality": quality}
    return plan_pipeline(works, block=block)


def _drawn(dtype: Any, shape: tuple[int, int], seed: int) -> np.ndarray:
    """Draw an image that uses all of its number format, or nearly."""
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "f":
        return (rng.normal(size=shape) * 10.0 ** rng.integers(-9, 9)).astype(dtype)
    if kind == "b":
        return rng.random(shape) < 0.5
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, shape, endpoint=True)
    values[rng.random(shape) < 0.1] = 0
    values[rng.random(shape) < 0.1] = info.max
    return values.astype(dtype)


def _row(values: np.ndarray, block: int, *, lazy: bool = False) -> pd.DataFrame:
    pipeline = _plan(block)
    given = image(values).chunk(y=11, x=17) if lazy else image(values)
    answers = lift_plane(pipeline, {"image": given}).answers
    if lazy:
        answers = answers.compute(scheduler="synchronous")
    (table,) = pipeline.tables
    return table.make(answers, PlaneIdentity())


@few
@given(
    st.sampled_from(FORMATS),
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.integers(0, 999),
    st.integers(9, 40),
    st.booleans(),
)
def test_blocks_of_any_size_give_the_row_of_the_whole_plane_to_the_last_bit(
    dtype: Any, shape: tuple[int, int], seed: int, block: int, lazy: bool
) -> None:
    values = _drawn(dtype, shape, seed)
    whole = _row(values, 2560)
    cut = _row(values, block, lazy=lazy)
    pd.testing.assert_frame_equal(cut, whole, check_exact=True)
    pd.testing.assert_frame_equal(
        measure_quality(image(values)), whole, check_exact=True
    )


@pytest.mark.parametrize("dtype", FORMATS)
def test_quality_keeps_the_contract_of_steps(dtype: Any) -> None:
    check_steps(_plan(), {"image": _drawn(dtype, (90, 70), 5)})


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_numbers_are_those_of_the_plain_formulas(dtype: Any) -> None:
    values = _drawn(dtype, (61, 47), 3)
    if np.dtype(dtype).kind == "f":
        values = np.abs(values)
    row = _row(values, 16).iloc[0]
    plain = values.astype(np.float64)
    limit = np.iinfo(dtype).max if values.dtype.kind in "ui" else plain.max()
    assert row["saturated"] == (plain == limit).mean()
    assert row["zero"] == (plain == 0).mean()
    np.testing.assert_allclose(row["mean"], plain.mean(), rtol=1e-5)
    if plain.mean() > 0:
        focus = ndimage.laplace(plain).var() / plain.mean() ** 2
        np.testing.assert_allclose(row["focus"], focus, rtol=1e-4)


def test_sums_of_a_large_and_glaring_plane_are_whole_numbers() -> None:
    values = np.zeros((2050, 2100), np.uint16)
    values[::2] = 65535
    values[1, 1] = 1  # seen only where no sum is rounded
    rows = [_row(values, block) for block in (2560, 700)]
    pd.testing.assert_frame_equal(*rows, check_exact=True)
    assert rows[0]["mean"][0] == (1025 * 2100 * 65535 + 1) / values.size


def test_the_row_of_a_plane_has_the_declared_columns() -> None:
    row = _row(np.ones((5, 6), np.uint8), 2560)
    assert list(row) == [column.name for column in QUALITY]


def test_pixels_that_are_not_finite_are_a_named_error() -> None:
    values = np.ones((5, 6), np.float32)
    values[2, 3] = np.nan
    with pytest.raises(FieldError, match="1 pixels that are NaN or infinite"):
        measure_quality(image(values))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("block", [2560, 33])
def test_what_was_not_imaged_moves_no_number_but_the_zeros(
    dtype: Any, block: int
) -> None:
    seen = np.random.default_rng(6).normal(100, 6, (96, 120)).round().astype(dtype)
    seen[40, 50] = 255
    hidden = np.pad(seen, ((0, 0), (50, 10)))
    whole, part = _row(seen, block).iloc[0], _row(hidden, block).iloc[0]
    assert part["zero"] == 1 / 3
    assert part["mean"] == pytest.approx(whole["mean"], rel=1e-6)
    assert part["saturated"] == pytest.approx(whole["saturated"], rel=1e-6)
    # The pixels along the rim, of which the Laplacian is not known, are not counted.
    assert part["focus"] == pytest.approx(whole["focus"], rel=0.02)
