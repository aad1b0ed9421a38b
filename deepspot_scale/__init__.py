"""Every smFISH spot and every cell's RNA polarity, from OME-Zarr plates, on Dask.

    import deepspot_scale as ds

    plate = ds.open_plate("PLATE.zarr")
    field = plate["B/03/0"]["image"].sel(c="FISH")
    spots = ds.detect(ds.enhance(field), raw=field)

Names are loaded when first used, so that importing stays light; ``image.deepspot`` is
there from the start.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from deepspot_scale import accessor as _accessor  # noqa: F401 - registers the accessor

if TYPE_CHECKING:
    from deepspot_scale.blockwise.contract import Stage
    from deepspot_scale.evaluation.compared_detectors import compare_detectors
    from deepspot_scale.io.conversion.convert import convert
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.kernels.chromatic import Shift
    from deepspot_scale.kernels.references import Reference
    from deepspot_scale.networks.engine_types import EngineChoice
    from deepspot_scale.networks.segmenters import Segmenter
    from deepspot_scale.runs.execute import run
    from deepspot_scale.runs.prepare import Selection
    from deepspot_scale.runs.results import RunResults, open_run
    from deepspot_scale.settings import make_settings
    from deepspot_scale.stages.brightness import Normalisation
    from deepspot_scale.stages.detection.points import PointDetector
    from deepspot_scale.verbs.cells import assign, measure_polarity
    from deepspot_scale.verbs.channels import colocalise, measure_chromatic_shift
    from deepspot_scale.verbs.dyes import classify_dyes
    from deepspot_scale.verbs.images import (
        apply,
        denoise,
        detect,
        enhance,
        measure_quality,
    )
    from deepspot_scale.verbs.movies import localise
    from deepspot_scale.verbs.rating import rate
    from deepspot_scale.verbs.segmentation import segment

_HOMES = {
    "EngineChoice": "networks.engine_types",
    "Normalisation": "stages.brightness",
    "PointDetector": "stages.detection.points",
    "Reference": "kernels.references",
    "RunResults": "runs.results",
    "Segmenter": "networks.segmenters",
    "Selection": "runs.prepare",
    "Shift": "kernels.chromatic",
    "Stage": "blockwise.contract",
    "apply": "verbs.images",
    "assign": "verbs.cells",
    "classify_dyes": "verbs.dyes",
    "colocalise": "verbs.channels",
    "compare_detectors": "evaluation.compared_detectors",
    "convert": "io.conversion.convert",
    "denoise": "verbs.images",
    "detect": "verbs.images",
    "enhance": "verbs.images",
    "localise": "verbs.movies",
    "make_settings": "settings",
    "measure_chromatic_shift": "verbs.channels",
    "measure_polarity": "verbs.cells",
    "measure_quality": "verbs.images",
    "open_plate": "io.plate",
    "open_run": "runs.results",
    "rate": "verbs.rating",
    "run": "runs.execute",
    "segment": "verbs.segmentation",
}

__all__ = [
    "EngineChoice",
    "Normalisation",
    "PointDetector",
    "Reference",
    "RunResults",
    "Segmenter",
    "Selection",
    "Shift",
    "Stage",
    "apply",
    "assign",
    "classify_dyes",
    "colocalise",
    "compare_detectors",
    "convert",
    "denoise",
    "detect",
    "enhance",
    "localise",
    "make_settings",
    "measure_chromatic_shift",
    "measure_polarity",
    "measure_quality",
    "open_plate",
    "open_run",
    "rate",
    "run",
    "segment",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("deepspot_scale.plugins").own_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'deepspot_scale' has no attribute {name!r}")
    return getattr(import_module(f"deepspot_scale.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
