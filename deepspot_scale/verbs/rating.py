"""Verb on images: how good each is, from 0 to 1.

Nothing here knows plates or files.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import xarray as xr

from deepspot_scale.blockwise.answers import IMAGE
from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK
from deepspot_scale.blockwise.identity import gather_tables, plane_identity
from deepspot_scale.blockwise.lifting import check_image, iter_planes, lift_plane
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.kernels.binning import binning_for
from deepspot_scale.networks.engine_types import AUTO, DEFAULT_MODEL, EngineChoice
from deepspot_scale.networks.rater_models import DEFAULT_RATER
from deepspot_scale.stages.brightness import Normalisation
from deepspot_scale.stages.enhancement import Enhancement
from deepspot_scale.stages.rating import Rater

if TYPE_CHECKING:
    from deepspot_scale.verbs.images import AnyTable


def rate(
    image: xr.DataArray,
    *,
    model: str = DEFAULT_RATER,
    engine: EngineChoice | None = None,
    block: int = DEFAULT_BLOCK,
    spot_sigma: float | None = None,
    tiles: bool = False,
) -> AnyTable:
    """Rate each plane, as ``run --rate`` does.

    Where the rater looks at the enhanced image too, it is made first.

    The shipped model foretells recall, precision and F1 of the detector on spots like
    those of the image; it cannot know of an image in which no spot is seen whether
    there are any. A model that was trained on an expert's scores tells the expert's.

    Parameters
    ----------
    image
        Raw counts with dimensions y and x; leading dimensions are mapped over.
    model
        Name of a shipped model or path of a weights file of the family ``rater``.
    engine
        How the network is run, when the default does not serve; it names the model.
    block
        Largest edge of a block in pixels; it changes no score.
    spot_sigma
        Standard deviation of the spots in pixels, when it is above 3.5 px: the network
        then sees binned pixels.
    tiles
        Return a row for each tile of 256 px instead of one for each plane.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The columns `vocabulary.RATINGS`, or `vocabulary.TILE_RATINGS`; lazy when
        `image` is.

    Raises
    ------
    FieldError
        No image, or pixels that are not finite (when computed).
    SettingsError
        The model rates no images.
    WeightsError
        No such model.

    References
    ----------
    .. [1] Robitaille et al. 2018, https://arxiv.org/abs/1803.10806
    """
    image = check_image(image)
    binning = binning_for(spot_sigma)
    engine = engine or EngineChoice(model)
    rater = Rater.of(engine, binning=binning)
    works = {"brightness": Normalisation().work(binning)}
    if rater.model.sees_enhanced:
        network = replace(engine, model=DEFAULT_MODEL, engine=AUTO)
        enhancement = Enhancement.of(network, binning, in_volume=False)
        works["enhance"] = enhancement.work()
    works["rate"] = rater.work()
    pipeline = plan_pipeline(works, block=block)
    planes = [
        (lift_plane(pipeline, {IMAGE: plane}).answers, plane_identity(image, index))
        for index, plane in iter_planes(image)
    ]
    table = pipeline.tables[1 if tiles else 0]
    found: AnyTable = gather_tables(planes, table.make, table.columns)
    return found
