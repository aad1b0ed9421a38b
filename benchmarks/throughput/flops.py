"""The work of the network: an architecture in, operations for each pixel out."""

from __future__ import annotations

from typing import Any

from deepspot_scale.networks import caso_fast
from deepspot_scale.networks.caso_resnet import Architecture


def flops_per_pixel(architecture: Any) -> float:
    """Return additions and multiplications of the convolutions for one input pixel."""
    if isinstance(architecture, caso_fast.Architecture):
        return _fast(architecture)
    return _resnet(architecture)


def _fast(architecture: caso_fast.Architecture) -> float:
    """Work at 1/2 and 1/4 of the size counts 1/4 and 1/16."""
    entry, filters, last = architecture.entry, architecture.filters, architecture.exit
    half = 4 * entry + 18 * entry**2
    half += 9 * (last + entry) * last + 9 * last**2 + 4 * last
    quarter = 4 * entry**2 + 27 * entry * filters + 4 * filters * last
    quarter += 18 * filters**2 * len(architecture.dilations)
    return 2 * (half / 4 + quarter / 16)


def _resnet(architecture: Architecture) -> float:
    """Work at 1/2, 1/4 and 1/8 of the size counts 1/4, 1/16 and 1/64.

    The paper's network has 336 000.
    """
    macs = 0.0
    for strided in (False, True, False):
        width = 1
        for level, filters in enumerate(architecture.stems):
            at = 4.0 ** -(level + 1 if strided else level)
            macs += at * 9 * width * filters
            width = filters
    inner, filters = 3 * architecture.stems[-1], architecture.filters
    for number in range(architecture.blocks):
        width = inner if number == 0 else filters
        shortcut = width * filters if number == 0 else 0
        macs += (width * filters + 10 * filters**2 + shortcut) / 64
    width = filters
    for level, (first, second, third) in enumerate(architecture.up):
        at = 4.0 ** (level - 3)
        # A transposed convolution of stride 2 meets each input pixel nine times.
        macs += at * 9 * width * (first + third)
        macs += 4 * at * 9 * (first * second + second * third)
        width = third
    return 2 * (macs + width)
