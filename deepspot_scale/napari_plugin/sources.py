"""What a user opens in napari: a run folder, or a plate without a run.

A path comes in; its fields and the settings that tuning starts from go out, and a
field's layers, which `exports.viewer` builds. Nothing here knows napari.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.exports.viewer import Layer, field_layers, plate_layers
from deepspot_scale.io.field import Field
from deepspot_scale.io.plate import Plate, open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.made_labels import label_names, with_made
from deepspot_scale.runs.manifest import addresses_of
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.settings import Settings, find_files, load_settings, make_settings
from deepspot_scale.vocabulary import FieldAddress

KEY = "deepspot_scale"
"""Key of a layer's metadata: where it comes from."""


@dataclass(frozen=True)
class Opened:
    """A run or a plate that is open."""

    source: str
    """Path or URL, as the user gave it."""
    plate: Plate
    settings: Settings
    """Of the run; of a plate: its first channel, and labels named cells and nuclei."""
    results: RunResults | None = None
    """None: a plate without a run."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Fields that can be shown, by path; of a run: those that are done."""
        if self.results is None:
            return tuple(entry.address.path for entry in self.plate.entries)
        return tuple(address.path for address in addresses_of(self.results.done))

    @property
    def addresses(self) -> list[FieldAddress]:
        """All fields of the plate, which a file of references may name."""
        return [entry.address for entry in self.plate.entries]

    def open(self, path: str) -> Field:
        """Open a field, with labels that the run made."""
        field = self.plate.open(path)
        return field if self.results is None else with_made(self.results, field)

    @property
    def labels(self) -> dict[str, str]:
        """Stored names of the labels in use, by what they are for."""
        if self.results is not None:
            return label_names(self.results)
        named = {"cells": self.settings.cells, "nuclei": self.settings.nuclei}
        return {use: name for use, name in named.items() if name is not None}

    def layers(self, path: str) -> list[Layer]:
        """Return a field's layers, which say in their metadata where they are from."""
        if self.results is not None:
            layers = field_layers(self.source, path, plate=self.results.opened)
        else:
            layers = plate_layers(self.plate, path)
        origin = {"metadata": {KEY: {"source": self.source, "field": path}}}
        return [(data, given | origin, kind) for data, given, kind in layers]


def is_run(source: str) -> bool:
    """Return whether a folder is that of a run, finished or not."""
    return {"settings.toml", "provenance.json"} <= set(Folder(source).names(""))


def open_source(source: str) -> Opened:
    """Open a run folder or a plate.

    Raises
    ------
    RunError
        The run is not finished, or none of its fields is done.
    PlateError, FieldError
        The plate, or the run's plate, is not to be found or damaged.
    SettingsError
        The run is one of movies, or names code that belongs to no installed package.
    """
    if not is_run(source):
        plate = open_plate(source)
        return Opened(source, plate, _first_settings(plate))
    results = open_run(source)
    if results.done.empty:
        raise RunError(
            f"no field of the run {source} is done, so there is nothing to show; the "
            f"reasons: deepspot-scale status {source}"
        )
    facts: dict[str, Any] = results.provenance
    folder = str(facts.get("working_folder", ""))
    settings = find_files(load_settings(results.settings), folder)
    if settings.of_movies:
        raise SettingsError(
            f"the run {source} localises molecules in movies; spots of images are "
            "shown here. For its localisations: deepspot-scale export --to picasso"
        )
    return Opened(source, results.plate, settings, results)


def _first_settings(plate: Plate) -> Settings:
    first = plate.open(plate.entries[0].address.path)
    labels = {name: name for name in ("cells", "nuclei") if name in first.label_names}
    if "cells" not in labels:
        labels = {}
    return make_settings(channels=first.channels[:1], **labels)
