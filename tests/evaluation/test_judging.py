import numpy as np
import pandas as pd
import pytest
import xarray as xr

from deepspot_scale.errors import SettingsError, WeightsError
from deepspot_scale.evaluation.judging import (
    CandidateFinder,
    fit_judge,
    know_dots,
)
from deepspot_scale.networks.weights import (
    find_weights,
    read_arrays,
    read_judge,
    stored_dtype,
    write_weights,
)
from deepspot_scale.simulation import simulate_image
from deepspot_scale.stages.detection.detect import find_detector
from deepspot_scale.verbs.images import detect, enhance

MODEL = "deepspot-fast"


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A model with a judge that has seen a few fields."""
    seen: list[int] = []
    out = tmp_path_factory.mktemp("judge") / "judged.safetensors"
    assert fit_judge(MODEL, out, fields=6, seed=1, on_field=seen.append) == out
    assert seen == [1, 2, 3, 4, 5, 6]
    return str(out)


def test_the_network_of_a_judged_model_stays_as_it_was(judged):
    before, after = find_weights(MODEL), find_weights(judged)
    assert after.architecture == before.architecture
    assert after.about["judge"] == "fitted to 6 fields, seed 1"
    assert stored_dtype(after) == stored_dtype(before) == "float32"
    assert stored_dtype(find_weights("deepspot")) == "float16"
    for one, other in zip(read_arrays(before), read_arrays(after), strict=True):
        np.testing.assert_array_equal(one, other)


def test_spots_of_a_judged_model_have_a_probability(judged):
    truth = simulate_image("dynamic", 5, 2, size=256)
    image = xr.DataArray(truth.image, dims=("y", "x"))
    enhanced = enhance(image, model=judged)
    spots = detect(enhanced, raw=image)
    assert len(spots) > 10
    assert spots["probability"].between(0.5, 1).all()
    # Other rules can still be asked for.
    assert detect(enhanced, raw=image, method="paper")["probability"].isna().all()
    lazy = enhanced.chunk({"y": 100, "x": 256}), image.chunk({"y": 256, "x": 90})
    blocks = detect(lazy[0], raw=lazy[1], block=160).compute()
    pd.testing.assert_frame_equal(
        blocks.reset_index(drop=True), spots, check_exact=True
    )


def test_dots_are_spots_where_the_truth_is_and_each_spot_once():
    truth = simulate_image("paper", 5, 4, size=256)
    known = know_dots(CandidateFinder.of(MODEL), truth.image, truth.points)
    n_spots = int(known.is_spot.sum())
    assert n_spots + known.n_missed == len(truth.points)
    assert n_spots > 0.9 * len(truth.points)
    assert known.dots.certainty[known.is_spot].mean() > 0.6
    assert known.n_pixels == 256**2


def test_a_judge_of_another_version_is_refused(tmp_path):
    weights = find_weights(MODEL)

    class Other:
        def arrays(self):
            return {"weights0": np.zeros((3, 1), np.float32), "biases0": np.zeros(1)}

    path = tmp_path / "other.safetensors"
    write_weights(
        path,
        read_arrays(weights),
        weights.architecture,
        family=weights.family,
        judge=Other(),
    )
    with pytest.raises(WeightsError, match="a judge of spots that this version"):
        read_judge(find_weights(path))
    with pytest.raises(WeightsError, match="a judge of spots"):
        find_detector("enhanced", model=str(path))


def test_where_nothing_can_be_written_no_field_is_drawn(tmp_path):
    with pytest.raises(SettingsError, match="out"):
        fit_judge(MODEL, tmp_path, on_field=lambda _: pytest.fail("drawn"))
