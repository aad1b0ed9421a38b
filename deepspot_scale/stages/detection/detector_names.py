"""Detectors by name: presets, those of other libraries, plug-ins, with their numbers.

    enhanced                         a preset
    bigfish:sigma=1.3,threshold=40   another library's, with its numbers
    my_module:detector               a detector of one's own
    my_module:make:sigma=1.3         what one's own function makes of some numbers

Names are plain text, for the command line, settings files and tables. Nothing here
finds spots.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from deepspot_scale.blockwise.spots import Detector, require_detector
from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.plugins import DETECTORS, load_plugin
from deepspot_scale.stages.detection.adapters.bigfish import BigFishDetector
from deepspot_scale.stages.detection.adapters.skimage_blobs import BLOB_DETECTORS
from deepspot_scale.stages.detection.adapters.spotiflow import SpotiflowDetector
from deepspot_scale.stages.detection.adapters.ufish import UFishDetector
from deepspot_scale.stages.detection.wavelet import PRESETS

OTHERS: Final[Mapping[str, Callable[..., Detector]]] = {
    "bigfish": BigFishDetector,
    "spotiflow": SpotiflowDetector,
    "ufish": UFishDetector,
    **BLOB_DETECTORS,
}
"""Detectors of other libraries. All work on the raw image."""
KNOWN: Final = (*PRESETS, *OTHERS)
"""All names that need no plug-in."""


class DetectorName(NamedTuple):
    """A detector as it is named, taken apart."""

    name: str
    """Preset, other library's, entry point or ``module:attribute``."""
    options: dict[str, Any]
    """Its numbers."""

    @property
    def works_on_raw(self) -> bool:
        """Whether it is known, without loading any code, to need no network."""
        return self.name in OTHERS


def read_detector_name(word: str) -> DetectorName:
    """Take a detector's name apart: ``NAME``, or ``NAME:option=value,option=value``.

    Raises
    ------
    SettingsError
        Options that cannot be read.

    Examples
    --------
    >>> read_detector_name("bigfish:sigma=1.3,refine=true").options
    {'sigma': 1.3, 'refine': True}
    >>> read_detector_name("my_module:detector").name
    'my_module:detector'
    """
    before, equals, _ = word.partition("=")
    if not equals:
        return DetectorName(word, {})
    name = before.rpartition(":")[0]
    if not name:
        raise SettingsError(
            f"a detector with options reads NAME:option=value,option=value, got "
            f"{word!r}"
        )
    options: dict[str, Any] = {}
    for part in word[len(name) + 1 :].split(","):
        option, sign, value = part.partition("=")
        if not (sign and option.strip() and value.strip()) or option in options:
            raise SettingsError(
                f"options of a detector read option=value, each once, got {part!r} in "
                f"{word!r}"
            )
        options[option.strip()] = _value(value.strip())
    return DetectorName(name, options)


def _value(word: str) -> Any:
    """Return a number or a truth value; else the word itself."""
    try:
        return tomllib.loads(f"value = {word}")["value"]
    except tomllib.TOMLDecodeError:
        return word


def named_detector(word: str) -> Detector:
    """Return the detector of a name that is no preset.

    Raises
    ------
    SettingsError
        No such detector, or options that it does not have.
    """
    name, options = read_detector_name(word)
    if name in PRESETS:
        raise SettingsError(
            f"the detector {name!r} has no options of its own; its numbers are --floor "
            "and --min-relative-intensity"
        )
    if name in OTHERS:
        return require_detector(_make(name, OTHERS[name], options))
    found = load_plugin(name, DETECTORS, known=KNOWN)
    if not options:
        return require_detector(found)
    if not callable(found):
        raise SettingsError(
            f"{name!r} is a {type(found).__name__}, which takes no options; name a "
            "function that makes a detector of them"
        )
    return require_detector(_make(name, found, options))


def _make(name: str, maker: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    parameters = inspect.signature(maker).parameters.values()
    named = [p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY]
    hidden = {"kind", "binning", "threads"} if name in OTHERS else set()
    known = [each for each in named if each not in hidden]
    open_ = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for option in options:
        if option not in known and not open_:
            raise SettingsError(
                f"the detector {name} has no option {option!r}; it has "
                f"{', '.join(known)}.{did_you_mean(option, known)}"
            )
    try:
        return maker(**options)
    except TypeError as error:
        raise SettingsError(
            f"the detector {name} cannot be made of {dict(options)}: {error}"
        ) from error
