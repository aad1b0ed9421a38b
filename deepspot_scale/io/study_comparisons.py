"""What experts compare, frozen when it begins: an expert's and a predicted score.

    STUDY/comparisons/NAME.json    scores of each image, and where they are from

Scores are frozen because ratings may come in while others compare: an answer stays an
answer to what was shown. Nothing here knows how scores are predicted or shown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from deepspot_scale.errors import StudyError
from deepspot_scale.io.tables import Folder

COMPARISONS: Final = "comparisons"
NETWORK, RANDOM = "network", "random"
"""Arms: where the predicted score is from."""
Target = Literal["label", "own", "mean"]
_VERSION: Final = 1


@dataclass(frozen=True)
class Shown:
    """The scores of one image, 0 to 100."""

    scores: Mapping[str, float]
    """Of each expert who rated it."""
    label: str
    """The expert whose score is the target, unless it is the mean or the own one."""
    predicted: float
    """By the network."""


@dataclass(frozen=True)
class Comparison:
    """All that is compared."""

    name: str
    """Digest of where the predicted scores are from and of what is the target."""
    model: str
    """What predicted, for people: a path or a file's name."""
    digest: str
    """SHA-256 of the weights or of the file of scores."""
    target: Target
    """Whose score is the target: that of one labelling expert, the expert's own where
    there is one, or the mean of all."""
    images: Mapping[str, Shown]
    """By name."""
    labels: tuple[float, ...] = ()
    """Scores from which random ones are drawn; none: there is no such arm."""
    note: str = ""
    """What is to be known of the images, such as that a network learned from them."""
    seed: int = 0
    version: int = field(default=_VERSION)

    @property
    def n_asked(self) -> int:
        """Questions to each expert."""
        return len(self.images) * (2 if self.labels else 1)

    def random_of(self, image: str, expert: str) -> float | None:
        """Return the random score that an expert is shown; None: there are none.

        Another expert is shown another one: what was drawn is then chance between
        experts, and in the interval over them.
        """
        if not self.labels:
            return None
        words = f"{self.seed}\0{self.name}\0{image}\0{expert}".encode()
        drawn = int.from_bytes(hashlib.sha256(words).digest()[:8], "big")
        return self.labels[drawn % len(self.labels)]

    def target_of(self, image: str, expert: str) -> float:
        """Return the target that an expert is shown, 0 to 100."""
        shown = self.images[image]
        if self.target == "mean":
            return sum(shown.scores.values()) / len(shown.scores)
        own = shown.scores.get(expert) if self.target == "own" else None
        return shown.scores[shown.label] if own is None else own


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write a comparison into the folder of its study."""
    text = json.dumps(asdict(comparison), indent=1, ensure_ascii=False)
    Folder(str(folder)).write(f"{COMPARISONS}/{comparison.name}.json", text.encode())


def list_comparisons(folder: Path) -> dict[str, Comparison]:
    """Return the comparisons of a study by name, those begun first first.

    Raises StudyError if one is damaged.
    """
    place = folder / COMPARISONS
    paths = place.glob("*.json") if place.is_dir() else ()
    known = sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name))
    return {path.stem: _read(path) for path in known}


def _read(path: Path) -> Comparison:
    try:
        read: dict[str, Any] = json.loads(path.read_text("utf-8"))
        images = {name: Shown(**shown) for name, shown in read.pop("images").items()}
        version, name = read["version"], read["name"]
        labels = tuple(map(float, read.pop("labels")))
        comparison = Comparison(images=images, labels=labels, **read)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"{path} is damaged: {error}") from error
    if version != _VERSION or name != path.stem:
        raise StudyError(
            f"{path} has version {version} and name {name}, expected {_VERSION} and "
            f"{path.stem}"
        )
    return comparison
