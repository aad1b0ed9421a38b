"""A study as it is asked and answered: what comes next, and that an answer is kept.

A study folder comes in; plain values for the page go out, and answers go to the disk.
After a restart everything is as the answers on the disk say. Use it from one thread.
Nothing here knows HTTP.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from deepspot_scale.errors import StudyError
from deepspot_scale.expert_study.access import Access
from deepspot_scale.expert_study.questions import (
    Asked,
    Pair,
    order_pairs,
    order_ratings,
)
from deepspot_scale.io.study_answers import (
    CHOICE,
    CHOICES,
    SCORE,
    Answer,
    AnswerFile,
    Choice,
    Question,
)
from deepspot_scale.io.study_comparisons import NETWORK, RANDOM, Comparison
from deepspot_scale.io.study_folder import Study, check_expert, list_images

_LONGEST: Final = 24 * 3600 * 1000
"""Milliseconds of an answer at most: a page that stood open overnight."""

_MOST: Final = 1 << 40
"""Largest whole number that a page may send."""

State = dict[str, Any]
"""What the page shows, as JSON can hold it."""


@dataclass
class Session:
    """One study that experts rate or compare."""

    folder: Path
    study: Study
    access: Access
    comparison: Comparison | None = None
    """None: images are rated."""
    _orders: dict[str, list[Asked]] = field(default_factory=dict)

    @cached_property
    def _answers(self) -> AnswerFile:
        return AnswerFile(self.folder)

    @cached_property
    def _paths(self) -> dict[str, Path]:
        return list_images(self.folder)

    @property
    def kind(self) -> str:
        """Of the questions."""
        return SCORE if self.comparison is None else CHOICE

    @property
    def _name(self) -> str:
        return "" if self.comparison is None else self.comparison.name

    def close(self) -> None:
        """Close the file of answers."""
        self._answers.close()

    def check(self, expert: str) -> str:
        """Return a pseudonym that takes part; StudyError if it does not."""
        check_expert(expert)
        if self.study.experts and expert not in self.study.experts:
            raise StudyError(f"{expert} does not take part in this study")
        return expert

    def state(self, expert: str, back: int = 0) -> State:
        """Return what an expert is asked now, or was asked `back` answers ago."""
        order = self.order(expert)
        given = self._answers.given(expert, self.kind, self._name)
        known = {answer.question for answer in given}
        left = [asked for asked in order if asked.question not in known]
        back = min(max(back, 0), len(given))
        shown = left[0] if left else None
        before = given[-back] if back else None
        if before is not None:
            shown = next(each for each in order if each.question == before.question)
        ahead = (left[1:] if not back else left)[:1]
        return {
            "mode": "rate" if self.comparison is None else "compare",
            "expert": expert,
            "done": len(given),
            "total": len(order),
            "back": back,
            "consent": self._consent(expert),
            "question": None if shown is None else self._as_shown(shown, before),
            "ahead": [self.question_id(each.question) for each in ahead],
        }

    def _consent(self, expert: str) -> str | None:
        """Return the text that an expert has still to agree to."""
        text = self.study.consent
        if not text or self._answers.has_consent(expert, text):
            return None
        return text

    def agree(self, expert: str) -> State:
        """Keep that an expert agrees; return what is asked."""
        self._answers.consent(expert, self.study.consent)
        return self.state(expert)

    def _as_shown(self, asked: Asked, before: Answer | None) -> State:
        """Return a question without what the expert must not see."""
        shown: State = {"id": self.question_id(asked.question), "revision": 0}
        if self.comparison is not None:
            # Whole numbers, as experts give them: decimals would name the network.
            shown |= {"left": _whole(asked.left), "right": _whole(asked.right)}
        if before is not None:
            shown |= {"revision": before.revision + 1}
            shown |= {"value": _said(before, asked)}
        return shown

    def keep(self, expert: str, said: State) -> State:
        """Keep an answer, and return what is asked next once it is on the disk.

        Parameters
        ----------
        expert
            Pseudonym.
        said
            ``question`` (its id), ``value`` (0 to 100; or left, right, equivalent,
            discard), ``milliseconds``, and ``revision``, 0 unless it is a correction.

        Raises
        ------
        StudyError
            It is no answer to a question of this expert, who may have to agree first.
        """
        if self._consent(expert) is not None:
            raise StudyError("the consent has not been given yet")
        order = self.order(expert)
        ids = {self.question_id(asked.question): k for k, asked in enumerate(order)}
        position = ids.get(str(said.get("question")))
        if position is None:
            raise StudyError("there is no such question")
        asked = order[position]
        answer = self._answer(expert, asked, said, position)
        kept = self._answers.keep(answer)
        state = self.state(expert)
        return {**state, "kept": {"id": said["question"], "value": _said(kept, asked)}}

    def _answer(self, expert: str, asked: Asked, said: State, position: int) -> Answer:
        question, value = asked.question, said.get("value")
        revision = _integer(said.get("revision", 0), "revision")
        taken = _integer(said.get("milliseconds", 0), "milliseconds")
        given: State
        if self.comparison is None:
            given = {"score": _score(value)}
        else:
            given = {"choice": _choice(value, asked), "stands_left": asked.stands_left}
            given |= {"target": asked.target, "predicted": asked.predicted}
        return Answer(
            expert,
            question.kind,
            question.comparison,
            question.arm,
            question.image,
            revision,
            position=position,
            milliseconds=min(taken, _LONGEST),
            time=time.time(),
            **given,
        )

    def image_path(self, expert: str, name: str) -> Path:
        """Return the file of a question's id; StudyError if there is none."""
        for asked in self.order(expert):
            if self.question_id(asked.question) == name:
                return self._paths[asked.question.image]
        raise StudyError("there is no such question")

    def question_id(self, question: Question) -> str:
        """Return the name of a question on the page."""
        return self.access.public_name("\0".join(question))

    def order(self, expert: str) -> list[Asked]:
        """Return all that an expert is asked, in the expert's order."""
        if expert not in self._orders:
            study, comparison = self.study, self.comparison
            if comparison is None:
                order = order_ratings(list(study.images), study.seed, expert)
            else:
                pairs = pairs_of(comparison, expert)
                order = order_pairs(pairs, study.seed, expert, comparison.name)
            self._orders[expert] = order
        return self._orders[expert]


def pairs_of(comparison: Comparison, expert: str) -> list[Pair]:
    """Return all that one expert compares, in the order of images."""
    pairs = []
    for image, shown in comparison.images.items():
        target = comparison.target_of(image, expert)
        random = comparison.random_of(image, expert)
        for arm, score in ((NETWORK, shown.predicted), (RANDOM, random)):
            if score is not None:
                question = Question(CHOICE, image, comparison.name, arm)
                pairs.append(Pair(question, target, score))
    return pairs


def _whole(score: float | None) -> int:
    return math.floor((score or 0.0) + 0.5)


def _said(answer: Answer, asked: Asked) -> float | str | None:
    """Return an answer in the words of the page."""
    if answer.choice in {"target", "predicted"}:
        return "left" if answer.choice == asked.stands_left else "right"
    return answer.score if answer.choice is None else answer.choice


def _score(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StudyError(f"expected a score of 0 to 100, got {value!r}")
    if not 0 <= value <= 100:
        raise StudyError(f"expected a score of 0 to 100, got {value!r}")
    return float(value)


def _choice(value: object, asked: Asked) -> Choice:
    other = "predicted" if asked.stands_left == "target" else "target"
    words = {"left": asked.stands_left, "right": other}
    word = words.get(str(value), str(value))
    if not isinstance(value, str) or value not in {*words, *CHOICES[2:]}:
        raise StudyError(f"expected left, right, equivalent or discard, got {value!r}")
    return word  # type: ignore[return-value]  # checked above


def _integer(value: object, name: str) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 0 <= value <= _MOST:  # type: ignore[operator]  # whole
        raise StudyError(f"{name}: expected a whole number of 0 or more, got {value!r}")
    return int(value)  # type: ignore[call-overload, no-any-return]  # whole
