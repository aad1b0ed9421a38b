"""The layers that the panel keeps in the viewer: enhanced image, spots, sectors.

A viewer and results come in; a layer of each name is there afterwards, and is changed
in place as results change, so that what the user made of its looks stays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deepspot_scale.exports.libraries import load_library
from deepspot_scale.exports.viewer import image_layer, spot_layers
from deepspot_scale.napari_plugin.sources import KEY, Opened
from deepspot_scale.napari_plugin.tuning import Enhanced, Found, Subject, draw_again
from deepspot_scale.settings import Settings

ENHANCED, SPOTS, SECTORS = "tuned: enhanced", "tuned: spots", "tuned: sectors"
"""Names of the layers."""
_SECTOR_COLORS: dict[int | None, str] = {
    None: "transparent",
    1: "yellow",
    **{n: "royalblue" if n % 2 else "teal" for n in range(2, 181)},
}
"""The reference sector stands out of the others."""


def show_field(viewer: Any, opened: Opened, path: str) -> None:
    """Show a field instead of the one of the same source that is shown."""
    layers = load_layers(opened.layers(path))
    clear_tuned(viewer)
    for layer in list(viewer.layers):
        if origin_of(layer).get("source") == opened.source:
            viewer.layers.remove(layer)
    for layer in layers:
        viewer.add_layer(layer)
    viewer.reset_view()


def load_layers(layers: list[Any]) -> list[Any]:
    """Return napari's own layers of (data, metadata, kind)."""
    create = load_library("napari.layers", "napari").Layer.create
    return [create(*layer) for layer in layers]


def origin_of(layer: Any) -> dict[str, str]:
    """Return source and field of a layer; nothing if it is another's."""
    origin: dict[str, str] = layer.metadata.get(KEY, {})
    return origin


def clear_tuned(viewer: Any) -> None:
    """Remove the panel's layers."""
    for name in (ENHANCED, SPOTS, SECTORS):
        if name in viewer.layers:
            viewer.layers.remove(name)


def show_enhanced(viewer: Any, enhanced: Enhanced) -> None:
    """Show the enhanced image."""
    subject = enhanced.subject
    data, given, kind = image_layer(
        enhanced.image, ENHANCED, subject.scale, contrast_limits=(0, 1)
    )
    _place(viewer, data, {**given, "visible": False}, kind)


def show_found(viewer: Any, subject: Subject, found: Found, settings: Settings) -> None:
    """Show spots and sectors."""
    if SPOTS not in viewer.layers:
        _hide_others(viewer)
    sectors = draw_again(subject, found, settings)
    if sectors is not None:
        look = {"name": SECTORS, "scale": subject.scale, "opacity": 0.25}
        _place(viewer, sectors, {**look, "colormap": _SECTOR_COLORS}, "labels")
    axes = subject.axes
    for data, given, kind in spot_layers(found.spots, axes, subject.scale):
        _place(viewer, data, {**given, "name": SPOTS, "face_color": "cyan"}, kind)
    if found.spots.empty and SPOTS in viewer.layers:
        viewer.layers[SPOTS].data = np.zeros((0, len(axes)))


def _hide_others(viewer: Any) -> None:
    """Hide labels and spots of the run, which would lie over the tuned ones."""
    for layer in viewer.layers:
        if origin_of(layer) and layer._type_string in {"labels", "points"}:
            layer.visible = False


def _place(viewer: Any, data: Any, given: dict[str, Any], kind: str) -> None:
    """Add a layer, or change the one of this name."""
    name = given["name"]
    if name not in viewer.layers:
        viewer.add_layer(*load_layers([(data, given, kind)]))
        return
    layer = viewer.layers[name]
    layer.data = data
    if "features" in given:
        layer.features = given["features"]
