"""The verb *localise* on arrays: a movie in, the table of its molecules out.

Frames are localised as a run does it, a group of them at a time: at once if the movie
is in memory, as one partition for each group if it is lazy. Nothing here knows files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import IMAGE, MOVIE_SCALE, PIXEL_UM
from deepspot_scale.blockwise.batching import Running, run_together
from deepspot_scale.blockwise.contract import Answers, Pixels, RunContext
from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK, whole_box
from deepspot_scale.blockwise.identity import lazy_table, plane_identity
from deepspot_scale.blockwise.lifting import ArrayReader, check_image
from deepspot_scale.blockwise.planning import Pipeline, plan_pipeline
from deepspot_scale.blockwise.rounds import iter_rounds
from deepspot_scale.config import checked
from deepspot_scale.errors import FieldError
from deepspot_scale.kernels.movie_scale import frame_top, movie_scale, sampled_frames
from deepspot_scale.stages.localisation import LOCALISE, LocaliseOptions, plan_localise
from deepspot_scale.tables import join_tables
from deepspot_scale.vocabulary import LOCALISATIONS, PlaneIdentity

if TYPE_CHECKING:
    from deepspot_scale.verbs.images import AnyTable

_TOGETHER: Final = 64
"""Frames that are held side by side."""


def localise(  # noqa: PLR0913 - what is known of the microscope, and how it is run
    movie: xr.DataArray,
    *,
    model: str = "subpixel",
    pixel_size: float | None = None,
    psf_sigma: float | None = None,
    certainty: float | None = None,
    camera: dict[str, float] | None = None,
    precision: str = "float32",
    engine: str = "auto",
    device: str = "auto",
    block: int = DEFAULT_BLOCK,
) -> AnyTable:
    """Find the molecules of every frame of a movie.

    Parameters
    ----------
    movie
        Counts, dimensions t, y and x; without t it is one frame.
    model
        Shipped model or weights file that localises.
    pixel_size
        Edge of a pixel in micrometres; None: by the movie's coordinates.
    psf_sigma
        Standard deviation of a molecule's light in nanometres; None: light, photons
        and uncertainties are not measured (NaN).
    certainty
        Least height in the network's answer; None: the model's own threshold.
    camera
        ``offset`` (counts) and ``gain`` (counts per electron), and if they are known
        ``quantum_efficiency``, ``em_gain`` and ``read_noise``; None: photons are NaN.
    precision, engine, device
        How the network runs, as in `EngineChoice`.
    block
        Largest edge of a block in pixels; the answer does not depend on it.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The columns `vocabulary.LOCALISATIONS`, positions in nanometres from the outer
        corner of the first pixel; lazy, one partition for each chunk of frames, if the
        movie is.

    Raises
    ------
    FieldError
        No movie of numbers (t, y, x), pixels that are not finite, or of unknown size
        (of lazy movies: when computed).
    SettingsError, WeightsError
        No such model, or options out of range.

    Examples
    --------
    >>> from deepspot_scale.simulation.movies import MovieRecipe, simulate_movie
    >>> frames, _ = simulate_movie(MovieRecipe((32, 32), density=0.5), 2, seed=1)
    >>> table = localise(xr.DataArray(frames, dims=("t", "y", "x")), pixel_size=0.1)
    >>> sorted(set(table["frame"]))
    [0, 1]
    """
    known: dict[str, Any] = {
        "use": True,
        "localiser": model,
        "localiser_engine": engine,
        "localiser_precision": precision,
        "pixel_nm": None if pixel_size is None else 1000 * pixel_size,
        "psf_sigma_nm": psf_sigma,
        "certainty": certainty,
        **{f"camera_{name}": value for name, value in (camera or {}).items()},
    }
    options = checked(LocaliseOptions, known, noun="option", table=LOCALISE.name)
    work = plan_localise(options, RunContext(device=device))
    given = (PIXEL_UM, MOVIE_SCALE)
    pipeline = plan_pipeline({LOCALISE.name: work}, given=given, block=block)
    frames = check_image(movie)
    if "t" not in frames.dims:
        frames = frames.expand_dims("t")
    if set(frames.dims) != {"t", "y", "x"}:
        raise FieldError(
            f"a movie has dimensions t, y and x, got {movie.dims}; choose one channel "
            "and plane first"
        )
    frames = frames.transpose("t", "y", "x")
    whole = plane_identity(frames, {"t": 0})
    find = partial(_find, pipeline=pipeline, identity=whole)
    if isinstance(frames.data, np.ndarray):
        scale = movie_scale(_tops(frames.data, sampled_frames(len(frames))))
        starts = range(0, len(frames), _TOGETHER)
        parts = [find(frames.data[n : n + _TOGETHER], n, scale) for n in starts]
        return join_tables(parts, LOCALISATIONS)
    table: AnyTable = _lazily(frames, find)
    return table


def _tops(frames: NDArray[Any], chosen: NDArray[np.int64]) -> list[float]:
    return [frame_top(frames[n]) for n in chosen]


def _lazily(frames: xr.DataArray, find: Callable[..., pd.DataFrame]) -> Any:
    """Return a Dask DataFrame with a partition for each chunk of frames."""
    from dask.delayed import delayed

    lazy = frames.data.rechunk({1: -1, 2: -1})
    starts = np.cumsum([0, *lazy.chunks[0]])
    chunks = [block[0, 0] for block in lazy.to_delayed()]
    chosen = sampled_frames(len(frames))
    owner = np.searchsorted(starts, chosen, side="right") - 1
    measure = delayed(_tops, pure=False)
    tops = [
        measure(chunks[n], chosen[owner == n] - starts[n]) for n in np.unique(owner)
    ]
    scale = delayed(_scale_of, pure=False)(tops)
    call = delayed(find, pure=False)
    pairs = zip(chunks, starts[:-1].tolist(), strict=True)
    parts = [call(chunk, start, scale) for chunk, start in pairs]
    return lazy_table(parts, LOCALISATIONS)


def _scale_of(tops: list[list[float]]) -> float:
    return movie_scale([top for some in tops for top in some])


def _find(
    frames: NDArray[Any],
    start: int,
    scale: float,
    *,
    pipeline: Pipeline,
    identity: PlaneIdentity,
) -> pd.DataFrame:
    """Return the molecules of frames, of which the first has the number `start`."""
    tables: list[pd.DataFrame] = []
    for first in range(0, len(frames), _TOGETHER):
        some = frames[first : first + _TOGETHER]
        running = [_running(frame, scale, pipeline, identity) for frame in some]
        ends = run_together(running)
        for n, end in enumerate(ends):
            if isinstance(end.answer, Exception):
                raise end.answer
            own = replace(identity, t=start + first + n)
            tables.extend(t.make(end.answer, own) for t in pipeline.tables)
    return join_tables(tables, LOCALISATIONS)


def _running(
    frame: NDArray[Any], scale: float, pipeline: Pipeline, identity: PlaneIdentity
) -> Running:
    reader = ArrayReader({IMAGE: Pixels(whole_box(frame.shape), frame)})
    known = Answers({PIXEL_UM.name: identity.pixel_size_um})
    same: Callable[[], float] = partial(float, scale)
    known[MOVIE_SCALE] = same
    blocks = pipeline.blocks(frame.shape)
    return iter_rounds(pipeline, blocks, reader, known, defaultdict(float))
