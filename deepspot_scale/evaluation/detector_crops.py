"""Places where detectors differ, as pictures: the raw image, then each one's spots.

    raw  | default | bigfish | ufish         one line of panels for each place

A ring is blue where all detectors found the spot, thin blue where some did, and thick
orange where this one alone did. Nothing here measures.
"""

from __future__ import annotations

from html import escape
from typing import Final, Literal

import numpy as np
import pandas as pd

from deepspot_scale.errors import DeepspotError
from deepspot_scale.evaluation.detector_agreement import TILE, Agreement, Place
from deepspot_scale.io.plate import Plate
from deepspot_scale.report.figures import ORANGE, SKY, stretch
from deepspot_scale.report.shown_plane import jpeg_text
from deepspot_scale.runs.manifest import ADDRESS
from deepspot_scale.settings import Settings
from deepspot_scale.vocabulary import PROJECTED, FieldAddress
from deepspot_scale.words import plural

_RIM: Final = 16
"""Pixels around a tile that are shown too."""
_ZOOM: Final = 3
"""Pixels of the picture for each of the image, so that JPEG does not blur spots."""
_GAP, _HEAD = 6, 13


def draw_places(agreement: Agreement, plate: Plate, settings: Settings) -> str:
    """Return the pictures of a comparison's places as HTML.

    What cannot be read says why; settings are those of any of the runs.
    """
    if not agreement.places:
        return "<p>All detectors found the same spots.</p>"
    return "".join(
        _draw_place(agreement, plate, settings, place, number)
        for number, place in enumerate(agreement.places)
    )


def _draw_place(
    agreement: Agreement, plate: Plate, settings: Settings, place: Place, number: int
) -> str:
    title = (
        f"<h3>{escape(place.path)} <span class='soft'>"
        f"{plural(place.n_differ, 'spot')} that not all found</span></h3>"
    )
    try:
        field = plate.open(place.path)
        window = _window(place, field.shape_yx)
        projected: Literal["mean", "max"] = (
            "mean" if settings.project == "mean" else "max"
        )
        raw = field.read(
            t=place.t,
            channel=field.channel_index(place.channel),
            z=projected if place.plane == PROJECTED else place.plane,
            window=window,
        )
    except DeepspotError as error:  # the page is still useful without a picture
        return f"{title}<p>It cannot be shown: {escape(str(error))}</p>"
    svg = _panels(agreement, place, window, np.asarray(raw), number)
    rows, columns = (f"{part.start} to {part.stop - 1}" for part in window)
    when = f", t {place.t}" if field.n_t > 1 else ""
    caption = f"{escape(place.channel)}{when}, rows {rows}, columns {columns}."
    return f"{title}<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _window(place: Place, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the tile with what is around it, moved into the field and of one size."""
    starts = (
        max(0, min(start - _RIM, length - TILE - 2 * _RIM))
        for start, length in zip((place.y, place.x), shape, strict=True)
    )
    rows, columns = (
        slice(start, min(length, start + TILE + 2 * _RIM))
        for start, length in zip(starts, shape, strict=True)
    )
    return rows, columns


def _panels(
    agreement: Agreement,
    place: Place,
    window: tuple[slice, slice],
    raw: np.ndarray,
    number: int,
) -> str:
    height, width = raw.shape
    name, step = f"place{number}", width + _GAP
    picture = np.repeat(np.repeat(stretch(raw), _ZOOM, axis=0), _ZOOM, axis=1)
    panels = [
        f'<text x="0" y="9" class="who">raw</text>'
        f'<image id="{name}" y="{_HEAD}" width="{width}" height="{height}" '
        f'href="data:image/jpeg;base64,{jpeg_text(picture)}"/>'
    ]
    near = _spots_near(agreement.spots, place, window)
    for column, detector in enumerate(agreement.detectors, start=1):
        own = near[near["detector"] == detector]
        x = column * step
        panels.append(
            f'<text x="{x}" y="9" class="who">{escape(_short(detector))} '
            f"{len(own)}</text>"
            f'<use href="#{name}" x="{x}"/>'
            f'<svg x="{x}" y="{_HEAD}" width="{width}" height="{height}" fill="none">'
            f"{_rings(own, window, len(agreement.detectors))}</svg>"
        )
    total = (len(agreement.detectors) + 1) * step - _GAP
    told = ", ".join(
        f"{d} {int((near['detector'] == d).sum())}" for d in agreement.detectors
    )
    return (
        f'<svg class="overlay" viewBox="0 0 {total} {height + _HEAD}" role="img" '
        f'aria-label="{escape(place.path)}: spots found by {escape(told)}">'
        "<style>.who{font:600 8.5px system-ui,sans-serif;fill:#1f2937}</style>"
        f"{''.join(panels)}</svg>"
    )


def _short(detector: str) -> str:
    return detector if len(detector) <= 20 else f"{detector[:19]}…"


def _spots_near(
    spots: pd.DataFrame, place: Place, window: tuple[slice, slice]
) -> pd.DataFrame:
    address = FieldAddress.from_path(place.path)
    words = dict(
        zip(ADDRESS, (address.row, address.column, address.field), strict=True)
    )
    there = np.ones(len(spots), bool)
    image = {"t": place.t, "plane": place.plane, "channel": place.channel}
    for column, value in {**words, **image}.items():
        there &= (spots[column] == value).to_numpy(bool)
    for column, part in zip(("y", "x"), window, strict=True):
        values = spots[column].to_numpy()
        there &= (values >= part.start - 0.5) & (values < part.stop - 0.5)
    return spots[there]


def _rings(own: pd.DataFrame, window: tuple[slice, slice], n_detectors: int) -> str:
    """Return a ring around each spot; a pixel's centre is at half a unit in SVG."""
    groups = {
        f'stroke="{SKY}" stroke-width="1.1"': own["found_by"] == n_detectors,
        f'stroke="{SKY}" stroke-width="1.1" stroke-dasharray="2 1.6"': (
            own["found_by"] > 1
        )
        & (own["found_by"] < n_detectors),
        f'stroke="{ORANGE}" stroke-width="1.7"': own["found_by"] == 1,
    }
    parts = []
    for style, chosen in groups.items():
        circles = "".join(
            f'<circle cx="{x - window[1].start + 0.5:.1f}" '
            f'cy="{y - window[0].start + 0.5:.1f}" r="4"/>'
            for y, x in own.loc[chosen, ["y", "x"]].to_numpy()
        )
        parts.append(f"<g {style}>{circles}</g>")
    return "".join(parts)
