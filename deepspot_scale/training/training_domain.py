"""What a network's training images look like: shares of a batch in, a domain out.

Patches are drawn as steps draw them, changed by the recipe's augmentation, from random
numbers that no step uses, so the weights do not depend on it. Nothing here knows
networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deepspot_scale.networks.domains import PATCHES, Domain, make_domain
from deepspot_scale.training.patches import BatchShare, draw_patches


def measure_domain(
    shares: Sequence[BatchShare],
    *,
    seed: int,
    patches: int = PATCHES,
    edge: int | None = None,
) -> Domain | None:
    """Return the domain of some batches.

    Parameters
    ----------
    shares
        Those of a batch.
    seed
        The recipe's.
    patches
        About how many are measured: whole batches, one at least.
    edge
        Of larger patches so many pixels in the middle are measured; None: all.

    Returns
    -------
    Domain or None
        None: the patches are no planes, or too small to measure. Of several channels
        the first is measured, the image.
    """
    apart = np.random.SeedSequence(seed, spawn_key=(2,))
    rng = np.random.default_rng(apart)
    batch = sum(share.n for share in shares)
    images = []
    for _ in range(max(1, patches // batch)):
        drawn, _ = draw_patches(shares, rng)
        if drawn.ndim != 4:
            return None
        images.append(drawn[..., 0])
    drawn_ones = np.concatenate(images)
    middle = (slice(None), *(_middle(n, edge or n) for n in drawn_ones.shape[1:]))
    return make_domain(drawn_ones[middle])


def _middle(length: int, edge: int) -> slice:
    start = max(0, length - edge) // 2
    return slice(start, start + min(length, edge))
