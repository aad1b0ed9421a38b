"""The sections of movies: pictures of a run's molecules, and how sure they are.

A run of *localise* in; words, pictures, a table and figures out. Nothing here measures
or alters a value.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.stores import join
from deepspot_scale.report.figures import BLUE, GREY, INK, ORANGE, new_figure
from deepspot_scale.report.html import Plot, number
from deepspot_scale.runs.results import RunResults
from deepspot_scale.stages.localisation import LocaliseOptions
from deepspot_scale.words import plural

MOST_MOVIES: Final = 12
"""Movies that are drawn on the page; the table lists all of them."""
_EDGE: Final = 900
"""Largest edge of a picture on the page, pixels."""
_BRIGHT: Final = 0.995
"""Share of the lit pixels that are not shown as white."""
_KEYS: Final = ["row", "column", "movie", "channel"]


def movie_words(run: RunResults, movies: pd.DataFrame) -> str:
    """Return what was found, as HTML."""
    items = []
    for movie in movies.head(MOST_MOVIES).to_dict("records"):
        text = (
            f"<b>{escape(_title(movie))}</b>: {movie['n_localisations']:,} "
            f"localisations in {plural(int(movie['n_frames']), 'frame')}, "
            f"{number(movie['density'])} per square micrometre and frame"
        )
        if movie["n_molecules"] != movie["n_localisations"]:
            text += f"; {plural(int(movie['n_molecules']), 'molecule')} after merging"
        if np.isfinite(movie["resolution_nm"]):
            text += f"; resolution {number(movie['resolution_nm'])} nm (FRC)"
        if np.isfinite(movie["precision_nm"]):
            text += f"; precision {number(movie['precision_nm'])} nm (NeNA)"
        if np.isfinite(movie["drift_nm"]):
            text += f"; drift of up to {number(movie['drift_nm'])} nm taken off"
        if movie["n_failed"]:
            text += f"; <b>{plural(int(movie['n_failed']), 'frame')} not done</b>"
        items.append(f"<li>{text}.</li>")
    if len(movies) > MOST_MOVIES:
        left = len(movies) - MOST_MOVIES
        items.append(f"<li>{left} more movies: see the table.</li>")
    unmeasured = int(run.done.get("n_unmeasured", pd.Series(dtype=int)).sum())
    if unmeasured:
        items.append(
            f"<li>The light and the uncertainty of {unmeasured:,} localisations are "
            "not known, since the width of the point spread function was not given "
            "(--psf-sigma, or a camera file).</li>"
        )
    elif run.done.size and movies["n_localisations"].sum():
        items.extend(_without_camera(run))
    return f"<ul>{''.join(items)}</ul>"


def _without_camera(run: RunResults) -> Iterator[str]:
    if run.settings.of(LocaliseOptions).camera is None:
        yield (
            "<li>Light is in counts and uncertainties are not known, since offset and "
            "gain of the camera were not given (--camera).</li>"
        )


def _title(movie: dict[Any, Any]) -> str:
    words = (f"{movie['row']}{movie['column']}", movie["movie"], movie["channel"])
    shown = [str(word) for word in words if word]
    return " · ".join(shown[:-1] if shown[-1:] == ["0"] else shown)


def movie_table(movies: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of movies that are shown."""
    kept = [c for c in movies if c not in {"height", "width", "picture"}]
    return movies[kept]


def movie_pictures(run: RunResults, movies: pd.DataFrame) -> str:
    """Return the pictures of the first movies, as HTML."""
    figures = []
    for movie in movies.head(MOST_MOVIES).to_dict("records"):
        path = join(run.folder.url, *str(movie["picture"]).split("/"))
        field = open_plate(path)
        picture = field.open(next(iter(field))).read().astype(np.float64)
        shown, factor = _fit(picture)
        edge = number(float(movie["picture_nm"]) * factor)
        height, width = (
            movie[name] * movie["pixel_nm"] / 1000 for name in ("height", "width")
        )
        caption = (
            f"{escape(_title(movie))}: {number(height)} by {number(width)} um, "
            f"one pixel here is {edge} nm. The whole picture: "
            f"<code>{escape(str(movie['picture']))}</code>."
        )
        figures.append(
            f"<figure><img alt='{escape(_title(movie))}, super-resolved' "
            f"src='data:image/png;base64,{_png(shown)}'>"
            f"<figcaption>{caption}</figcaption></figure>"
        )
    return "".join(figures)


def _fit(picture: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Return the picture with pixels added up until it fits, and how many were."""
    factor = max(1, -(-max(picture.shape) // _EDGE))
    if factor == 1:
        return picture, 1
    lacking = [(0, -n % factor) for n in picture.shape]
    padded = np.pad(picture, lacking)
    rows, columns = (n // factor for n in padded.shape)
    blocks = padded.reshape(rows, factor, columns, factor)
    return blocks.sum(axis=(1, 3)), factor


def _png(picture: NDArray[np.float64]) -> str:
    import matplotlib as mpl
    from PIL import Image

    lit = picture[picture > 0]
    top = float(np.quantile(lit, _BRIGHT)) if lit.size else 1.0
    scaled = np.clip(picture / top, 0, 1) ** 0.6
    colours = (mpl.colormaps["inferno"](scaled)[..., :3] * 255).round()
    buffer = io.BytesIO()
    Image.fromarray(colours.astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def movie_figures(tables: dict[str, pd.DataFrame]) -> Iterator[Plot]:
    """Yield counts, drift and Fourier rings of the first movies."""
    movies = tables["movies"].head(MOST_MOVIES).to_dict("records")
    for i, movie in enumerate(movies):
        end = f"_{i + 1}" if len(movies) > 1 else ""
        title = _title(movie)
        frames = _own(tables["movie_frames"], movie)
        yield _counts(frames, title, f"movie_counts{end}")
        if frames["drift_y_nm"].notna().any():
            yield _drift(frames, title, f"movie_drift{end}")
        rings = _own(tables["rings"], movie)
        if rings["correlation"].notna().any():
            yield _rings(rings, movie, f"movie_rings{end}")


def _own(table: pd.DataFrame, movie: dict[Any, Any]) -> pd.DataFrame:
    own = table
    for key in _KEYS:
        own = own[own[key] == movie[key]]
    return own.reset_index(drop=True)


def _axes(figure: Any, x: str, y: str) -> Any:
    axes = figure.subplots()
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _counts(frames: pd.DataFrame, title: str, name: str) -> Plot:
    figure = new_figure(5.6, 2.6)
    axes = _axes(figure, "frame", "localisations")
    axes.plot(frames["frame"], frames["n_localisations"], color=BLUE, lw=0.8)
    axes.set_ylim(bottom=0)
    numbers = frames[["frame", "n_localisations"]]
    caption = f"{escape(title)}: localisations of each frame."
    return Plot(name, figure, numbers, f"{title}: localisations by frame", caption)


def _drift(frames: pd.DataFrame, title: str, name: str) -> Plot:
    figure = new_figure(5.6, 2.6)
    axes = _axes(figure, "frame", "drift (nm)")
    axes.plot(frames["frame"], frames["drift_x_nm"], color=BLUE)
    axes.plot(frames["frame"], frames["drift_y_nm"], color=ORANGE)
    numbers = frames[["frame", "drift_x_nm", "drift_y_nm"]]
    caption = (
        f"{escape(title)}: drift that was taken off, by redundant cross-correlation; "
        f"<b style='color:{BLUE}'>x</b>, <b style='color:{ORANGE}'>y</b>."
    )
    return Plot(name, figure, numbers, f"{title}: drift by frame", caption)


def _rings(rings: pd.DataFrame, movie: dict[Any, Any], name: str) -> Plot:
    figure = new_figure(5.6, 2.6)
    axes = _axes(figure, "cycles per micrometre", "correlation")
    axes.plot(rings["frequency"], rings["correlation"], color=GREY, lw=0.6)
    axes.plot(rings["frequency"], rings["smooth"], color=BLUE)
    axes.axhline(1 / 7, color=ORANGE, lw=1)
    axes.set_ylim(-0.2, 1.05)
    numbers = rings[["frequency", "correlation", "smooth"]]
    caption = (
        f"{escape(_title(movie))}: Fourier ring correlation of two halves of the "
        f"frames; <b style='color:{ORANGE}'>line</b>: 1/7."
    )
    shown = f"{_title(movie)}: Fourier ring correlation"
    return Plot(name, figure, numbers, shown, caption)
