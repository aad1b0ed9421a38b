"""Every error that a user can meet, each ours and also a built-in kind.

A message says what was expected, what arrived and what to do. Code below the
public verbs raises none of these: input is checked once, where it enters.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DeepspotError(Exception):
    """Any error that deepspot_scale raises on purpose."""


class PlateError(DeepspotError, ValueError):
    """The input is no plate, image or folder that can be read as one."""


class FieldError(DeepspotError, ValueError):
    """One field cannot be processed; the run continues with the others."""


class AbsentError(FieldError):
    """Pixels of a field are not stored, and would count as measured zeros."""

    def __init__(self, message: str, n_absent: int = 0) -> None:
        super().__init__(message, n_absent)
        self.n_absent = n_absent
        """Number of chunks that are absent."""

    def __str__(self) -> str:
        """Return the message alone; both arguments survive pickling."""
        return str(self.args[0])


class SettingsError(DeepspotError, ValueError):
    """A setting is out of range, unknown, or contradicts another one."""


class RunError(DeepspotError, RuntimeError):
    """A run folder cannot be used as asked."""


class StudyError(DeepspotError, ValueError):
    """The folder of a study with experts is missing, damaged, or used otherwise."""


class WeightsError(DeepspotError, ValueError):
    """Weights are missing, damaged, or of another architecture."""


class DeviceError(DeepspotError, RuntimeError):
    """The device that was asked for is not there."""


class ClusterError(DeepspotError, ConnectionError):
    """Workers or their scheduler are gone; what is done is kept."""


class StoreError(DeepspotError, OSError):
    """A run folder has no room left, or may not be written to any more."""


class InputWarning(UserWarning):
    """Something in a user's file is not used, or is read in a way worth telling."""


class ContractError(DeepspotError, AssertionError):
    """A method breaks a rule that every method keeps; see `deepspot_scale.testing`."""


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.5) -> str:
    """Return a question that names the known word nearest to `word`, or nothing.

    The case of letters does not count; words that share less than `cutoff`, of 1, are
    not near.

    Examples
    --------
    >>> did_you_mean("FIHS", ["DAPI", "FISH"])
    " Did you mean 'FISH'?"
    """
    by_lower = {each.lower(): each for each in known}
    near = difflib.get_close_matches(word.lower(), by_lower, 1, cutoff)
    return f" Did you mean {by_lower[near[0]]!r}?" if near else ""
