"""In which order an expert is asked, and which of two scores stands left: pure.

Names of images, bins and seeds come in; questions go out, the same at each start of the
server. Each expert has an order of their own. Among the questions of one expert, the
expert's and the predicted score stand left equally often: in all, and within each arm
and bin (to one question, where the number is odd). Nothing here knows pages or answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepspot_scale.io.study_answers import CHOICE, SCORE, Question, Side
from deepspot_scale.statistics.expert_choices import bin_of


@dataclass(frozen=True)
class Pair:
    """An image with two scores."""

    question: Question
    target: float
    """An expert's score, 0 to 100."""
    predicted: float
    """The network's score, or a random one, 0 to 100."""


@dataclass(frozen=True)
class Asked:
    """One question as an expert sees it."""

    question: Question
    stands_left: Side = ""
    """Which of the two scores stands left; empty: there are none."""
    target: float | None = None
    predicted: float | None = None

    @property
    def left(self) -> float | None:
        """The score that stands left."""
        return self.target if self.stands_left == "target" else self.predicted

    @property
    def right(self) -> float | None:
        """The score that stands right."""
        return self.predicted if self.stands_left == "target" else self.target


def expert_rng(seed: int, expert: str, what: str) -> np.random.Generator:
    """Return the generator of an expert's order, the same on every machine."""
    words = f"{seed}\0{expert}\0{what}".encode()
    return np.random.default_rng(list(hashlib.sha256(words).digest()))


def order_ratings(images: Sequence[str], seed: int, expert: str) -> list[Asked]:
    """Return the images to rate in the order of an expert."""
    rng = expert_rng(seed, expert, SCORE)
    names = sorted(images)
    return [Asked(Question(SCORE, names[k])) for k in rng.permutation(len(names))]


def order_pairs(
    pairs: Sequence[Pair], seed: int, expert: str, comparison: str
) -> list[Asked]:
    """Return pairs in the order of an expert, sides balanced.

    An image that is there in two arms is asked twice, and not in a row if that can be
    avoided.
    """
    rng = expert_rng(seed, expert, f"{CHOICE}\0{comparison}")
    known = sorted(pairs, key=lambda pair: pair.question)
    shuffled = [known[k] for k in rng.permutation(len(known))]
    bins = bin_of(np.array([pair.target for pair in shuffled]))
    strata = sorted(
        range(len(shuffled)), key=lambda k: (shuffled[k].question.arm, bins[k])
    )
    first, asked = int(rng.integers(2)), [Asked(pair.question) for pair in shuffled]
    for turn, k in enumerate(strata):
        side: Side = "target" if (turn + first) % 2 else "predicted"
        pair = shuffled[k]
        asked[k] = Asked(pair.question, side, pair.target, pair.predicted)
    return _apart([asked[k] for k in rng.permutation(len(asked))])


def _apart(asked: list[Asked]) -> list[Asked]:
    """Move the second of two neighbours with one image behind the next other one."""
    placed: list[Asked] = []
    waiting: list[Asked] = []
    for each in asked:
        if placed and placed[-1].question.image == each.question.image:
            waiting.append(each)
            continue
        placed.append(each)
        while waiting and waiting[0].question.image != placed[-1].question.image:
            placed.append(waiting.pop(0))
    return [*placed, *waiting]
