"""What all fields of a run have in common, as it is sent to workers.

Nothing here does anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.contents import Contents
from deepspot_scale.settings import Settings


@dataclass(frozen=True)
class Job:
    """What all fields of a run have in common."""

    settings: Settings
    """What is measured."""
    pipeline: Pipeline
    """How it is measured."""
    out: Folder
    """The run folder."""
    token: str = ""
    """Identifies this client's work among that of others on the same workers."""

    @cached_property
    def contents(self) -> Contents:
        """What this work writes of the run folder."""
        return Contents.of(self.pipeline)
