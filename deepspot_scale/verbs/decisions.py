"""Verbs that decide again: candidates are found once, spots chosen as numbers change.

A table of candidates comes in, a table of spots goes out; no pixel is read, so a choice
takes milliseconds where a search takes seconds. Nothing here knows plates or files.
"""

from __future__ import annotations

import pandas as pd
import xarray as xr

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.networks.weights import find_weights, read_judge
from deepspot_scale.stages.detection.decisions import choose_judged
from deepspot_scale.stages.detection.wavelet import CANDIDATE_DETECTOR
from deepspot_scale.tables import as_table
from deepspot_scale.verbs.images import detect, judging_model
from deepspot_scale.vocabulary import SPOTS

_IMAGE = ["row", "column", "field", "acquisition", "t", "plane", "channel"]


def find_candidates(
    image: xr.DataArray,
    raw: xr.DataArray,
    *,
    model: str | None = None,
    spot_sigma: float | None = None,
) -> pd.DataFrame:
    """Find all that may be a spot, with the probability that it is one.

    Parameters are as in `detect`; both images are in memory.

    Returns
    -------
    pandas.DataFrame
        The columns `vocabulary.SPOTS`, for `choose_spots`.

    Raises
    ------
    SettingsError
        The model brings no judge, so its rules look at pixels again: use `detect`.
    FieldError, WeightsError
        As `detect`.
    """
    if not has_judge(image, raw, model):
        raise SettingsError(
            "the model that gave this image judges no candidates; its spots are found "
            "by rules that look at pixels: use detect"
        )
    found = detect(
        image,
        raw,
        method="enhanced",
        model=model,
        floor=0.0,
        min_relative_intensity=0.0,
        spot_sigma=spot_sigma,
    )
    if not isinstance(found, pd.DataFrame):
        raise FieldError(
            "candidates are chosen among in memory, and the image is lazy; load it "
            "(image.load())"
        )
    return found


def has_judge(image: xr.DataArray, raw: xr.DataArray, model: str | None = None) -> bool:
    """Return whether the model that gave an image judges candidates.

    Parameters and errors are those of `find_candidates`.
    """
    named = judging_model(image, raw, model)
    return named is not None and read_judge(find_weights(named)) is not None


def choose_spots(
    candidates: pd.DataFrame,
    *,
    floor: float | None = None,
    min_relative_intensity: float | None = None,
) -> pd.DataFrame:
    """Choose the spots among candidates: those that `detect` finds with these numbers.

    Parameters
    ----------
    candidates
        Table of `find_candidates`: all of each image, since what is typical of its
        spots is measured anew.
    floor, min_relative_intensity
        As in `detect`.

    Returns
    -------
    pandas.DataFrame
        The columns `vocabulary.SPOTS`.

    Raises
    ------
    SettingsError
        Numbers out of range.
    """
    numbers = {"floor": floor, "min_relative_intensity": min_relative_intensity}
    for name, value in numbers.items():
        if value is not None and not 0 <= value <= 1:
            raise SettingsError(f"{name} lies in 0..1, got {value}")
    usual = CANDIDATE_DETECTOR.adjusted(least_share=min_relative_intensity)
    least = usual.least_probability if floor is None else floor
    parts = [
        choose_judged(rows.reset_index(drop=True), least, usual.least_share)
        for _, rows in candidates.groupby(_IMAGE, sort=False)
    ]
    whole = pd.concat(parts, ignore_index=True) if parts else candidates
    return as_table(whole, SPOTS)
