"""Hill curves of wells, with known answers."""

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.statistics.dose_response import (
    fit_hill,
    has_doses,
    iter_curves,
    measure_dose_response,
)

DOSES = np.array([0, *np.geomspace(0.01, 30, 8)])


def plate(noise=0.0, *, bottom=5.0, top=15.0, ec50=0.3, hill=1.5, wells=4, seed=0):
    """Wells at each dose of a known curve; noise as a standard deviation."""
    rng = np.random.default_rng(seed)
    dose = np.repeat(DOSES, wells)
    share = dose**hill / (ec50**hill + dose**hill)
    return dose, bottom + (top - bottom) * share + noise * rng.normal(size=dose.size)


@pytest.mark.parametrize(("bottom", "top"), [(5.0, 15.0), (15.0, 5.0), (-0.2, 0.9)])
def test_a_curve_without_noise_is_found_exactly(bottom, top):
    fit = fit_hill(*plate(bottom=bottom, top=top))
    found = (fit.bottom, fit.top, fit.ec50, fit.hill)
    assert found == pytest.approx((bottom, top, 0.3, 1.5), rel=1e-4)
    assert (fit.n_wells, fit.n_doses, fit.reason) == (36, 9, "")


def test_the_interval_holds_the_ec50_of_nearly_all_noisy_plates():
    fits = [fit_hill(*plate(1.0, seed=seed), n_boot=200) for seed in range(40)]
    assert not any(fit.reason for fit in fits)
    held = np.mean([fit.low <= 0.3 <= fit.high for fit in fits])
    assert held >= 0.85
    # It is not wide for nothing: less than a factor of four in all.
    assert np.median([fit.high / fit.low for fit in fits]) < 4


def test_the_same_wells_in_other_units_give_the_same_curve():
    dose, value = plate(1.0)
    one, other = fit_hill(dose, value), fit_hill(dose * 1000, value)
    assert other.ec50 == pytest.approx(1000 * one.ec50, rel=1e-4)
    assert other.high == pytest.approx(1000 * one.high, rel=1e-4)


def test_a_curve_is_as_good_as_any_nearby():
    dose, value = plate(1.0, seed=3)
    fit = fit_hill(dose, value, n_boot=0)
    least = np.sum((fit.at(dose) - value) ** 2)
    for name in ("bottom", "top", "ec50", "hill"):
        for factor in (0.98, 1.02):
            near = fit._replace(**{name: getattr(fit, name) * factor})
            assert np.sum((near.at(dose) - value) ** 2) > least


def test_three_doses_are_too_few_for_a_curve():
    dose, value = plate()
    few = np.isin(dose, DOSES[[0, 3, 5]])
    fit = fit_hill(dose[few], value[few])
    assert np.isnan(fit.ec50)
    assert fit.reason == "3 doses with a value, and the curve needs 4"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda dose, noise: noise, "no response that goes one way"),
        (lambda dose, noise: 0 * dose + 3, "no response: all wells have the same"),
        (
            lambda dose, noise: (
                np.exp(-(np.log((dose + 1e-9) / 3) ** 2)) + 0.01 * noise
            ),
            "the response turns round",
        ),
        (lambda dose, noise: dose**4 + 0.01 * noise, "lies above all doses"),
    ],
)
def test_what_is_no_curve_is_not_fitted_and_says_why(answer, reason):
    dose, _ = plate()
    noise = np.random.default_rng(1).normal(size=dose.size)
    fit = fit_hill(dose, answer(dose, noise))
    assert reason in fit.reason
    assert np.isnan([fit.ec50, fit.low, fit.high, fit.bottom, fit.top]).all()


def test_an_end_that_the_doses_do_not_bound_is_open():
    dose, value = plate(2.5, ec50=12.0, wells=3, seed=3)
    fit = fit_hill(dose, value)
    assert fit.reason == ""
    assert fit.high == np.inf


def wells_table(conditions, doses, values):
    table = pd.DataFrame({"condition": conditions, "dose": doses})
    table["column"] = [f"{n:02d}" for n in range(len(table))]
    table = table.assign(row="A", channel="RNA", acquisition=0, t=0, z=0, gene="")
    return table.assign(spots_per_cell=values, polarity_corrected=np.nan)


def test_a_solvent_stands_at_dose_0_of_every_drug():
    wells = wells_table(
        ["solvent"] * 2 + ["a"] * 3 + ["b"] * 3, [0, 0, 1, 2, 3, 1, 2, 3], 1.0
    )
    curves = {names["condition"]: own for names, own in iter_curves(wells)}
    assert set(curves) == {"a", "b"}
    assert curves["b"]["dose"].tolist() == [0, 0, 1, 2, 3]


def test_conditions_that_are_doses_are_one_curve():
    wells = wells_table(["none", "low", "high", "high"], [0, 1, 5, 5], 1.0)
    ((names, own),) = iter_curves(wells)
    assert (names["condition"], len(own)) == ("", 4)
    assert has_doses(wells)
    assert not has_doses(wells.assign(dose=3.0))


def test_means_points_and_fits_are_those_of_the_wells():
    dose, value = plate(0.5)
    measured = measure_dose_response(wells_table("drug", dose, value), n_boot=50)
    means = measured["means"]
    assert means["n_wells"].tolist() == [4] * 9
    first = value[dose == 0]
    assert means["mean"].iloc[0] == pytest.approx(first.mean())
    half = 3.182446 * first.std(ddof=1) / 2  # Student's t of three degrees of freedom
    assert means["high"].iloc[0] - first.mean() == pytest.approx(half, rel=1e-5)
    assert len(measured["points"]) == 36
    (fit,) = measured["fits"].to_dict("records")
    assert fit["low"] < 0.3 < fit["high"]
    assert fit["measure"] == "spots_per_cell"  # polarity is known of no well


def test_wells_without_dose_or_value_are_in_no_point():
    dose, value = plate()
    dose[0], value[5] = np.nan, np.nan
    measured = measure_dose_response(wells_table("drug", dose, value), n_boot=0)
    assert len(measured["points"]) == 34
