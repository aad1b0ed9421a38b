"""Models that remove noise, on pairs of noisy and clean images.

Every noisy image goes through the pipeline that `assemble` makes for a run with
``denoise``. Where the spots of an image are known, the default detector looks for them
with that stage and without it, because a network may remove spots together with noise,
which no score of pixels shows. Nothing here writes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.evaluation.matching import REACH, match_one_to_one
from deepspot_scale.evaluation.quality_figures import draw_rows
from deepspot_scale.evaluation.quality_kinds import (
    Measure,
    QualityKind,
    Scored,
    Scorer,
    ShownImage,
)
from deepspot_scale.evaluation.scores import detect_array
from deepspot_scale.io.image_files.annotated_table import SPOTS_FILE, read_points
from deepspot_scale.io.image_files.paired_files import FilePair
from deepspot_scale.io.image_files.tiff_png import stem
from deepspot_scale.kernels.image_fidelity import (
    range_of,
    scale_invariant_signal_to_noise,
    signal_to_noise,
    structural_similarity,
)
from deepspot_scale.networks.engine_types import Device, EngineChoice
from deepspot_scale.settings import assemble, make_settings
from deepspot_scale.statistics.image_bootstrap import (
    Estimate,
    estimate_mean,
    estimate_ratio,
)
from deepspot_scale.verbs.images import denoise
from deepspot_scale.vocabulary import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DB: Final = "dB over the range of the clean image"
COLUMNS: Final = (
    Column("height", "int64", "pixels along y"),
    Column("width", "int64", "pixels along x"),
    Column("psnr_noisy", "float64", f"PSNR of the noisy image, {_DB}"),
    Column("psnr", "float64", f"PSNR of the image without noise, {_DB}"),
    Column("psnr_gain", "float64", "the difference in dB"),
    Column("si_psnr_noisy", "float64", "the same after the best gain and offset"),
    Column("si_psnr", "float64", "the same"),
    Column("ssim_noisy", "float64", "structural similarity of the noisy image"),
    Column("ssim", "float64", "structural similarity of the image without noise"),
    Column("n_spots", "float64", "true spots; NaN: not known"),
    Column("n_noisy", "float64", "spots found in the noisy image"),
    Column("n_found", "float64", "spots found in the image without noise"),
    Column("matched_noisy", "float64", "true spots found in the noisy image"),
    Column("matched_found", "float64", "true spots found in the one without noise"),
)


def score_images(
    clean: NDArray[Any], noisy: NDArray[Any], denoised: NDArray[Any]
) -> dict[str, Any]:
    """Return `COLUMNS` of one image (y, x) without those of spots.

    Raises SettingsError if the clean image is constant, a pixel is not finite, or an
    axis has fewer than 11 pixels.
    """
    span = range_of(clean)
    row: dict[str, Any] = {"height": clean.shape[0], "width": clean.shape[1]}
    for image, end in ((noisy, "_noisy"), (denoised, "")):
        row[f"psnr{end}"] = signal_to_noise(clean, image, span)
        row[f"si_psnr{end}"] = scale_invariant_signal_to_noise(clean, image)
        row[f"ssim{end}"] = structural_similarity(clean, image, span)
    return row | {"psnr_gain": row["psnr"] - row["psnr_noisy"]}


def read_spots(folder: Path) -> dict[str, NDArray[np.float64]] | None:
    """Return the true spots (n, 2) of a data set's images, by name without ending.

    None: there is no ``spots.csv``. Raises PlateError if it cannot be read.
    """
    file = folder / SPOTS_FILE
    if not file.is_file():
        return None
    table = read_points(file)
    names = table["image"].map(lambda name: stem(str(name)))
    return {
        str(name): rows[["y", "x"]].to_numpy(np.float64)
        for name, rows in table.groupby(names)
    }


def open_denoiser(model: str, device: Device, folder: Path) -> Scorer:
    """Return what scores a pair of a data set with a model."""
    spots = read_spots(folder)
    detectors: dict[str, Pipeline] = {}
    if spots is not None:
        detectors["noisy"] = _spot_pipeline(device, use=False)
        detectors["found"] = _spot_pipeline(device, use=True, denoiser=model)
    return partial(
        _score_pair, model=model, device=device, spots=spots, detectors=detectors
    )


def _spot_pipeline(device: Device, **denoise: Any) -> Pipeline:
    off: dict[str, Any] = {name: {"use": False} for name in ("quality", "clusters")}
    settings = make_settings(channels=("0",), denoise=denoise, **off)
    return assemble(settings, device=device)


def _score_pair(
    pair: FilePair,
    *,
    model: str,
    device: Device,
    spots: Mapping[str, NDArray[np.float64]] | None,
    detectors: Mapping[str, Pipeline],
) -> Scored:
    import xarray as xr

    noisy, clean = pair.read()
    began = time.monotonic()
    engine = EngineChoice(model, device=device)
    image = xr.DataArray(noisy, dims=("y", "x"))
    made = np.asarray(denoise(image, model=model, engine=engine).values)
    row: dict[str, Any] = {"seconds": time.monotonic() - began}
    try:
        row |= score_images(clean, noisy, made)
    except SettingsError as error:  # of this image alone
        raise FieldError(f"{pair.second}: {error}") from error
    row |= dict.fromkeys((column.name for column in COLUMNS[9:]), np.nan)
    if spots is not None:
        true = spots.get(pair.name, np.zeros((0, 2)))
        for name, detector in detectors.items():
            found = detect_array(noisy, detector)
            score = match_one_to_one(found.points, true, REACH.radius(2))
            row |= {f"n_{name}": score.n_found, f"matched_{name}": score.n_matched}
        row["n_spots"] = len(true)
    return Scored(row, noisy, (noisy, made, clean))


# -- over all images -------------------------------------------------------------------


def _mean(images: pd.DataFrame, *, of: str) -> Estimate:
    return estimate_mean(images[of])


def _share(images: pd.DataFrame, *, part: str, whole: str) -> Estimate:
    known = images[images["n_spots"].notna()]
    if known.empty:
        return Estimate(np.nan)
    return estimate_ratio(known[part], known[whole])


def _lost(images: pd.DataFrame) -> Estimate:
    known = images[images["n_spots"].notna()]
    if known.empty:
        return Estimate(np.nan)
    gain = known["matched_found"] - known["matched_noisy"]
    return estimate_ratio(gain, known["n_spots"])


MEASURES: Final = (
    Measure("psnr_gain", partial(_mean, of="psnr_gain"), "gain of PSNR in dB", True),
    Measure("psnr", partial(_mean, of="psnr"), "PSNR without noise, dB", True),
    Measure("psnr_noisy", partial(_mean, of="psnr_noisy"), "PSNR of noisy images, dB"),
    Measure("si_psnr", partial(_mean, of="si_psnr"), "scale-invariant PSNR, dB"),
    Measure(
        "si_psnr_noisy",
        partial(_mean, of="si_psnr_noisy"),
        "scale-invariant PSNR of noisy images, dB",
    ),
    Measure("ssim", partial(_mean, of="ssim"), "SSIM without noise", True),
    Measure("ssim_noisy", partial(_mean, of="ssim_noisy"), "SSIM of noisy images"),
    Measure(
        "spot_recall",
        partial(_share, part="matched_found", whole="n_spots"),
        "spots found after noise was removed, of all true ones",
        True,
    ),
    Measure(
        "spot_recall_noisy",
        partial(_share, part="matched_noisy", whole="n_spots"),
        "spots found in noisy images, of all true ones",
    ),
    Measure("spot_recall_change", _lost, "change of the recall of spots"),
    Measure(
        "spot_precision",
        partial(_share, part="matched_found", whole="n_found"),
        "true ones of the spots found after noise was removed",
    ),
    Measure(
        "spot_precision_noisy",
        partial(_share, part="matched_noisy", whole="n_noisy"),
        "true ones of the spots found in noisy images",
    ),
)


def _draw(shown: Sequence[ShownImage]) -> Figure:
    return draw_rows(shown, ("noisy", "noise removed", "clean"))


DENOISING: Final = QualityKind(
    "Noise removed",
    ("noisy", "clean"),
    COLUMNS,
    MEASURES,
    "psnr_gain",
    open_denoiser,
    _draw,
    "From top to bottom the noisy image, the same after noise was removed, and the "
    "clean one, all with the grey values of the clean one, from its 1st to its 99.8th "
    "percentile.",
)
