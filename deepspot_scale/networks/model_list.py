"""Which models there are, whether their files are whole, and their cached exports.

Weights files come in, lines of text and sizes go out. Nothing here runs a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from deepspot_scale.networks import domains
from deepspot_scale.networks.domains import find_domain
from deepspot_scale.networks.openvino.cache import cache_folder
from deepspot_scale.networks.weights import SHIPPED, find_weights, shipped_models


class CachedExport(NamedTuple):
    """A network that was exported to OpenVINO and is kept."""

    folder: Path
    """Its folder, which may be removed at any time, and is then made again."""
    model: str
    """Name of the shipped model; empty for other weights."""
    n_bytes: int
    """Size on disk."""


def list_models() -> Iterator[str]:
    """Yield one line for each shipped model: name, size, description."""
    for name, entry in sorted(shipped_models().items()):
        size = (SHIPPED / entry["file"]).stat().st_size
        yield f"{name}: {size / 1e6:.1f} MB, {entry['about']}"


def describe_model(model: str) -> Iterator[str]:
    """Yield lines on one model, by name or path.

    Raises
    ------
    WeightsError
        The model does not exist, or its file is damaged.
    """
    weights = find_weights(model)
    yield f"name: {weights.name}"
    yield f"file: {weights.path}"
    yield f"sha256: {weights.sha256}"
    family = weights.family
    yield f"family: {family.name}"
    yield f"channels: {family.channels_in} in, {family.channels_out} out"
    yield f"scale: {family.scale}"
    about = {n: text for n, text in weights.about.items() if n != domains.TEXT}
    for part in (weights.architecture.to_dict(), about):
        yield from (f"{name}: {value}" for name, value in part.items())
    domain = find_domain(weights)
    if domain is not None:
        n = len(domain.patches)
        yield f"domain: features of {n} training patches of {domain.edge} px"
    card = weights.path.with_suffix(".md")
    if card.is_file():
        yield f"model card: {card}"


def verify_models() -> list[str]:
    """Check all shipped models against their SHA-256, and return their names.

    Raises
    ------
    WeightsError
        A model is damaged.
    """
    return [find_weights(name).name for name in sorted(shipped_models())]


def cached_exports(folder: Path | None = None) -> list[CachedExport]:
    """Return the exported networks in the user's cache, or in another folder."""
    kept = folder or cache_folder()
    shipped = {e["sha256"][:16]: name for name, e in shipped_models().items()}
    return [
        CachedExport(
            place.parent,
            shipped.get(place.parent.name.partition("-")[0], ""),
            sum(f.stat().st_size for f in place.parent.iterdir() if f.is_file()),
        )
        for place in sorted(kept.glob("*-openvino-*/net.xml"))
    ]
