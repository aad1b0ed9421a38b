"""Every smFISH spot and every cell's RNA polarity, from OME-Zarr plates, on Dask.

    import deepspot_scale as ds

    plate = ds.open_plate("PLATE.zarr")
    field = plate["B/03/0"]["image"].sel(c="FISH")
    spots = ds.detect(ds.enhance(field), raw=field)

Names are loaded when first used, so that importing stays light; ``image.deepspot`` is
there from the start.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from deepspot_scale import accessor as _accessor  # noqa: F401 - registers the accessor

if TYPE_CHECKING:
    from deepspot_scale.blockwise.contract import Stage
    from deepspot_scale.io.conversion.convert import convert
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.kernels.references import Reference
    from deepspot_scale.networks.engine_types import EngineChoice
    from deepspot_scale.runs.execute import run
    from deepspot_scale.runs.prepare import Selection
    from deepspot_scale.runs.results import RunResults, open_run
    from deepspot_scale.settings import make_settings
    from deepspot_scale.stages.brightness import Normalisation
    from deepspot_scale.stages.detection.points import PointDetector
    from deepspot_scale.verbs.cells import assign, measure_polarity
    from deepspot_scale.verbs.images import apply, detect, enhance, measure_quality

_HOMES = {
    "EngineChoice": "networks.engine_types",
    "Normalisation": "stages.brightness",
    "PointDetector": "stages.detection.points",
    "Reference": "kernels.references",
    "RunResults": "runs.results",
    "Selection": "runs.prepare",
    "Stage": "blockwise.contract",
    "apply": "verbs.images",
    "assign": "verbs.cells",
    "convert": "io.conversion.convert",
    "detect": "verbs.images",
    "enhance": "verbs.images",
    "make_settings": "settings",
    "measure_polarity": "verbs.cells",
    "measure_quality": "verbs.images",
    "open_plate": "io.plate",
    "open_run": "runs.results",
    "run": "runs.execute",
}

__all__ = [
    "EngineChoice",
    "Normalisation",
    "PointDetector",
    "Reference",
    "RunResults",
    "Selection",
    "Stage",
    "apply",
    "assign",
    "convert",
    "detect",
    "enhance",
    "make_settings",
    "measure_polarity",
    "measure_quality",
    "open_plate",
    "open_run",
    "run",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("deepspot-scale")
    if name not in _HOMES:
        raise AttributeError(f"module 'deepspot_scale' has no attribute {name!r}")
    return getattr(import_module(f"deepspot_scale.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
