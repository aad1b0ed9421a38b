"""Whether images lie where a model was trained: a model and images in, a table out.

Images come as the network sees them. See `networks.domains` for the distance. Nothing
here knows how images are scored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.kernels.image_features import LEAST_EDGE
from deepspot_scale.networks.domains import Domain
from deepspot_scale.words import plural

COLUMNS: Final = ("image", "distance", "outside", "feature", "shift")
"""Distance is in units of the limit; see `domains.Distance`."""
_MEANT: Final = {
    "dark": ("darker background", "brighter background"),
    "middle": ("fewer bright pixels", "more bright pixels"),
    "bright": ("fewer bright pixels", "more bright pixels"),
    "noise": ("less noise", "more noise"),
    "contrast": ("objects stand out less", "objects stand out more"),
    "size": ("smaller objects", "larger objects"),
    "slope": ("smoother", "more fine detail"),
}


@dataclass(frozen=True)
class DomainCheck:
    """How far images lie from a model's training images."""

    table: pd.DataFrame
    """`COLUMNS`, one row for each image; empty where nothing is known."""
    words: str
    """What it says, in a sentence or two."""

    @property
    def outside(self) -> frozenset[str]:
        """The images that lie outside."""
        rows = self.table[self.table["outside"].astype(bool)]
        return frozenset(rows["image"])


@dataclass
class DomainRows:
    """Images that are compared one by one, so that none has to be kept."""

    domain: Domain | None
    """That of the model; None: it is not known."""
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    n_small: int = 0

    def add(self, name: str, image: NDArray[Any]) -> None:
        """Compare one image (y, x), as the network sees it."""
        if self.domain is None:
            return
        if min(image.shape) < LEAST_EDGE:
            self.n_small += 1
            return
        far = self.domain.distance(image)
        meant = _MEANT[far.feature][far.shift > 0] if far.feature else "constant"
        self.rows.append((name, far.ratio, far.is_outside, meant, far.shift))

    def check(self) -> DomainCheck:
        """Return how far the images lie."""
        table = pd.DataFrame(self.rows, columns=list(COLUMNS))
        return DomainCheck(table, self._words(table))

    def _words(self, table: pd.DataFrame) -> str:
        if self.domain is None:
            return (
                "The weights do not say what the training images looked like, so it "
                "is not known whether these images are like them."
            )
        if table.empty:
            return f"The images are smaller than {LEAST_EDGE} px, too small to compare."
        return _words(table, self.n_small)


def _words(table: pd.DataFrame, small: int) -> str:
    n = int(table["outside"].sum())
    rest = f" {plural(small, 'image')} too small to compare." if small else ""
    if not n:
        return f"{plural(len(table), 'image')}, all like those of the training.{rest}"
    share = n / len(table)
    named = ", ".join(table.loc[table["outside"], "image"].head(10))
    more = f" and {n - 10} more" if n > 10 else ""
    return (
        f"{n} of {len(table)} images ({share:.0%}) outside what the model was trained "
        f"on: {named}{more}. Its scores on other images say nothing about these.{rest}"
    )
