"""Scores of a study's images that no expert gave: by a file, or by a trained judge.

A study folder comes in, predicted scores go out. Nothing here knows experts' choices.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from deepspot_scale.errors import StudyError
from deepspot_scale.expert_study.comparing import Predicted
from deepspot_scale.io.study_folder import read_scores


def read_predicted(file: Path) -> Predicted:
    """Read scores from a CSV with the columns image and score, 0 to 100.

    Raises StudyError if it cannot be read, or an image has two scores.
    """
    table = read_scores(file)
    twice = table.loc[table["image"].duplicated(), "image"].tolist()
    if twice:
        raise StudyError(f"{file}: {twice[0]} has two scores")
    scores = dict(zip(table["image"], table["score"], strict=True))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Predicted(scores, file.name, digest)
