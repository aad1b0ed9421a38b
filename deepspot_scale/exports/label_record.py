"""What made a label image, as it stands beside the labels in a plate.

A run comes in, plain values go out, and words for people:

    version    of this package when the run began
    labels     cells, nuclei, or the layer of a stage of one's own
    by         network, plug-in, growth from nuclei, or stages of one's own
    name       of the model or the plug-in, and its sha256
    channel    in which they were found; of stages of one's own all channels of the run
    settings   that decide about them
    files      further files that do: those a plug-in names, an engine, by their sha256
    nuclei     of cells that were grown: the same of the nuclei that they grew from

Nothing here reads labels, or knows where they are stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from deepspot_scale.io.field import Field
from deepspot_scale.pipeline import STAGES
from deepspot_scale.runs.results import RunResults
from deepspot_scale.stages.segmentation.segment import Segment, SegmentOptions

_OF_NETWORK: Final = ("nucleus_um", "nuclei_engine", "nuclei_precision")
_GROWTH: Final = "growth from nuclei"
UNSAID: Final = "nothing says what made them"
_SHOWN: Final = 8
"""Digits of a hash that people compare."""


def label_record(results: RunResults, layer: str, field: Field) -> dict[str, Any]:
    """Return what made a layer of labels of a field, as JSON can hold it."""
    made = results.settings.of(SegmentOptions).made
    versions = results.provenance.get("versions", {})
    head = {"version": str(versions.get("deepspot-scale", "")), "labels": layer}
    if layer not in made:
        return head | _by_stages(results)
    record = head | _by_segment(results, made[layer], field)
    if record["by"] == _GROWTH:
        record["nuclei"] = _by_segment(results, made["nuclei"], field)
    return record


def _by_segment(results: RunResults, segment: Segment, field: Field) -> dict[str, Any]:
    options = results.settings.of(SegmentOptions)
    named = segment.channel or results.settings.channels[0]
    channel = {"channel": field.channels[field.channel_index(named)]}
    if segment.plugin is not None:
        role = f"segmenter of {segment.kind}"
        found = _files(results, role, f"{role}, ")
        return {"by": "plug-in", "name": segment.plugin} | found | channel
    names = ("cell_um",) if segment.kind == "cells" else _OF_NETWORK
    settings = {"settings": {name: getattr(options, name) for name in names}}
    if segment.kind == "cells":
        return {"by": _GROWTH} | channel | settings
    found = _files(results, "nuclei", "nuclei engine")
    return {"by": "network"} | found | channel | settings


def _files(results: RunResults, role: str, others: str) -> dict[str, Any]:
    """Return name and hash of the file of a role, and those of roles that begin so."""
    facts = results.provenance
    found: dict[str, Any] = {
        key: str(each) for key, each in facts.get(role, {}).items()
    }
    more = {
        str(file["name"]): str(file["sha256"])
        for key, file in facts.items()
        if key.startswith(others)
    }
    return {**found, "files": more} if more else found


def _by_stages(results: RunResults) -> dict[str, Any]:
    """Return the stages of one's own of a run: one of them gave the layer."""
    built_in = {stage.name for stage in STAGES}
    settings = results.settings.to_dict()
    tables = sorted({*results.settings.options} - built_in)
    return {
        "by": "stages of one's own",
        "name": ", ".join(results.settings.stages),
        "channel": ", ".join(results.settings.channels),
        "settings": {name: settings[name] for name in tables},
    } | _files(results, "", "stage ")


def describe_record(record: Mapping[str, Any]) -> str:
    """Return what made labels in words; a record may hold anything that JSON can.

    Examples
    --------
    >>> made = {"by": "network", "name": "nuclei", "sha256": 64 * "0"}
    >>> describe_record(made | {"channel": "DAPI", "settings": {"nucleus_um": 12}})
    'network nuclei (00000000), channel DAPI, nucleus_um 12'
    """
    made = " ".join(str(record[key]) for key in ("by", "name") if key in record)
    digest = f" ({str(record['sha256'])[:_SHOWN]})" if "sha256" in record else ""
    parts = [f"{made}{digest}" if made else UNSAID]
    parts += [f"channel {record['channel']}"] if "channel" in record else []
    settings, files = (_table(record, key) for key in ("settings", "files"))
    chosen = {k: v for k, v in settings.items() if v is not None and v != "auto"}
    parts += [f"{name} {value}" for name, value in chosen.items()]
    parts += [f"{name} ({str(digest)[:_SHOWN]})" for name, digest in files.items()]
    if nuclei := _table(record, "nuclei"):
        one = {key: nuclei[key] for key in nuclei if key != "nuclei"}
        parts.append(f"of nuclei by {describe_record(one)}")
    text = ", ".join(parts)
    version = record.get("version")
    return f"{text}; deepspot-scale {version}" if version else text


def _table(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}
