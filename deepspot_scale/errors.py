"""Every error that a user can meet, each ours and also a built-in kind.

A message says what was expected, what arrived and what to do. Code below the
public verbs raises none of these: input is checked once, where it enters.
"""

from __future__ import annotations


class DeepspotError(Exception):
    """Any error that deepspot_scale raises on purpose."""


class PlateError(DeepspotError, ValueError):
    """The input is no plate, image or folder that can be read as one."""


class FieldError(DeepspotError, ValueError):
    """One field can not be processed; the others of a run go on."""


class SettingsError(DeepspotError, ValueError):
    """A setting is out of range, unknown, or contradicts another one."""


class RunError(DeepspotError, RuntimeError):
    """A run folder can not be used as asked."""


class WeightsError(DeepspotError, ValueError):
    """Weights are missing, damaged, or of another architecture."""


class DeviceError(DeepspotError, RuntimeError):
    """The device that was asked for is not there."""
