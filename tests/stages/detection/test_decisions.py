"""Decisions by a judge; the rules are tested with the presets in test_detect.py."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.populations import N_FEATURES, Judge
from deepspot_scale.simulation import render_spots
from deepspot_scale.stages.detection.detect import find_detector
from deepspot_scale.stages.detection.wavelet import judged_detector
from deepspot_scale.verbs.images import detect

few = settings(max_examples=15, deadline=None)


def judge_by(**weights):
    """A judge of one layer: a dot's own numbers, and a bias."""
    matrix = np.zeros((N_FEATURES, 1))
    for number, name in enumerate(("certainty", "snr", "contrast", "area")):
        matrix[number] = weights.get(name, 0.0)
    return Judge.of([matrix], [np.array([weights.get("bias", 0.0)])])


def random_judge(seed):
    rng = np.random.default_rng(seed)
    matrices = [rng.normal(0, 0.15, (N_FEATURES, 12)), rng.normal(0, 0.5, (12, 1))]
    return Judge.of(matrices, [rng.normal(0, 0.3, 12), np.zeros(1)])


def field(n=60, sites=(), seed=0, shape=(220, 260)):
    """An enhanced image and its raw counts: single molecules, and sites of several."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.mgrid[10 : shape[0] - 9 : 14, 10 : shape[1] - 9 : 14], -1)
    points = rng.permutation(places.reshape(-1, 2))[: n + len(sites)].astype(float)
    molecules = np.r_[np.exp(rng.normal(0, 0.15, n)), sites]
    sigmas = np.full(len(points), 1.3)
    light = render_spots(shape, points, 300 * molecules, sigmas)
    raw = np.rint(100 + rng.normal(0, 6, shape) + light).clip(0, 65535)
    certain = rng.uniform(0.1, 0.95, len(points))
    enhanced = render_spots(shape, points, certain, np.full(len(points), 1.0))
    as_image = [
        xr.DataArray(plane, dims=("y", "x"))
        for plane in (enhanced.clip(0, 1), raw.astype(np.uint16))
    ]
    return (*as_image, points)


@few
@given(st.integers(0, 99), st.integers(30, 90))
def test_blocks_of_any_size_give_the_decision_of_the_whole_field(seed, core):
    enhanced, raw, _ = field(seed=seed, sites=(6.0, 12.0))
    detector = judged_detector(random_judge(seed))
    block = 2 * detector.halo + core
    tables = [detect(enhanced, raw, method=detector, block=b) for b in (block, 4096)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_probability_says_what_a_spot_is_and_the_least_one_what_is_kept():
    enhanced, raw, points = field(seed=2)
    # The odds are those of the enhanced value itself.
    judge = judge_by(certainty=1.0)
    table = detect(enhanced, raw, method=judged_detector(judge))
    assert 0 < len(table) < len(points)
    np.testing.assert_allclose(table["probability"], table["enhanced"], atol=0.002)
    assert table["probability"].min() >= 0.5
    everything = judged_detector(judge).adjusted(floor=0.0)
    more = detect(enhanced, raw, method=everything)
    assert len(more) == len(points)
    assert (more["probability"] >= 0.5).sum() == len(table)


def test_sites_are_flagged_with_the_molecules_they_stand_for():
    enhanced, raw, _ = field(n=60, sites=(5.0, 20.0))
    every = judged_detector(judge_by(bias=2.0))
    table = detect(enhanced, raw, method=every).sort_values("molecules")
    assert len(table) == 62
    assert table["site"].tolist() == [False] * 60 + [True] * 2
    np.testing.assert_allclose(table["molecules"].iloc[-2:], [5, 20], rtol=0.12)
    np.testing.assert_allclose(table["molecules"].iloc[:60].median(), 1, rtol=0.03)


@pytest.mark.parametrize("n", [0, 1, 9])
def test_of_a_few_spots_none_is_a_site(n):
    enhanced, raw, _ = field(n=n)
    table = detect(enhanced, raw, method=judged_detector(judge_by(bias=2.0)))
    assert len(table) == n
    assert table["molecules"].isna().all()
    assert not table["site"].any()


def test_where_brightness_is_spread_widely_bright_spots_are_no_sites():
    sites = np.exp(np.random.default_rng(0).uniform(0, np.log(60), 80))
    enhanced, raw, _ = field(n=20, sites=tuple(sites))
    table = detect(enhanced, raw, method=judged_detector(judge_by(bias=2.0)))
    assert len(table) == 100
    assert not table["site"].any()


def test_a_user_can_still_ask_for_a_least_intensity():
    enhanced, raw, _ = field(n=60, sites=(5.0, 20.0))
    every = judged_detector(judge_by(bias=2.0))
    table = detect(enhanced, raw, method=every.adjusted(least_share=0.9))
    assert table["molecules"].min() >= 0.9
    assert 30 < len(table) < 62


def test_without_a_judge_there_is_no_probability():
    enhanced, raw, _ = field()
    table = detect(enhanced, raw)
    assert len(table)
    assert table["probability"].isna().all()
    assert table["molecules"].isna().all()
    assert not table["site"].any()
    assert find_detector("enhanced").judge is None
