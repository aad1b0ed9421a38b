"""The panel: one field and channel, enhanced once, tuned live, saved as settings.

A viewer comes in; a dock widget goes out. What is slow runs in a thread of its own, one
job at a time: the network when the user asks for it, the decisions at each change, of
which only the latest counts. Errors of ours are notices, with what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

from deepspot_scale.errors import DeepspotError, SettingsError
from deepspot_scale.exports.libraries import load_library
from deepspot_scale.napari_plugin import shown
from deepspot_scale.napari_plugin.controls import SECTORS, fill, make_controls, offer
from deepspot_scale.napari_plugin.sources import Opened, open_source
from deepspot_scale.napari_plugin.tuning import (
    NO_CELLS,
    Enhanced,
    Found,
    StoppedError,
    cell_rows,
    check_tunable,
    describe_found,
    enhance_subject,
    find_again,
    fits,
    read_subject,
    tuned_settings,
)
from deepspot_scale.settings import Settings, write_settings
from deepspot_scale.stages.detection.detect import DetectOptions
from deepspot_scale.stages.polarity.measure import PolarityOptions

_USUAL = {"floor": 0.5, "min_relative_intensity": 0.0}
"""Where sliders stand while the settings leave the number to the detector."""


def make_panel(viewer: Any = None) -> Any:
    """Return the dock widget for a viewer; None: the one that is open.

    Raises SettingsError if napari is not installed.
    """
    napari = load_library("napari", "napari")
    panel = TuningPanel(viewer or napari.current_viewer())
    container = panel.controls.container
    container.native.panel = panel  # which lives as long as its widget
    return container


class TuningPanel:
    """What the controls do."""

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.controls = make_controls()
        self.opened: Opened | None = None
        self.enhanced: Enhanced | None = None
        self.found: Found | None = None
        self.numbers: dict[str, Any] = {}
        """What the user has moved; all else is as in the settings."""
        self._notices = load_library("napari.utils.notifications", "napari")
        self._threads = load_library("napari.qt.threading", "napari")
        self._worker: Any = None
        self._stop = Event()
        self._late = False
        self._quiet = False
        self._written: Path | None = None
        self._connect()
        self._look_around()

    # -- what the user does ------------------------------------------------------

    def _connect(self) -> None:
        controls = self.controls
        controls.source.changed.connect(lambda path: self._on(self.open, str(path)))
        controls.field.changed.connect(lambda path: self._on(self._show_field, path))
        controls.channel.changed.connect(lambda _: self._on(self._forget))
        controls.enhance.changed.connect(lambda _: self._on(self.enhance))
        controls.reset.changed.connect(lambda _: self._on(self.reset))
        controls.save.changed.connect(lambda _: self._on(self.save))
        for name, widget in controls.numbers.items():
            widget.changed.connect(
                lambda value, name=name: self._on(self._tune, name, value)
            )
        self.viewer.layers.events.inserted.connect(lambda _: self._look_around())

    def _on(self, action: Callable[..., None], *arguments: Any) -> None:
        """Do what the user asks for, unless the panel moves its controls itself."""
        if not self._quiet:
            with self._noticed():
                action(*arguments)

    @contextmanager
    def _noticed(self) -> Iterator[None]:
        try:
            yield
        except (DeepspotError, OSError) as error:
            self._notices.show_error(str(error))

    @contextmanager
    def _silence(self) -> Iterator[None]:
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _look_around(self) -> None:
        """Take the run or plate that is in the viewer, if none is open."""
        origins = [shown.origin_of(layer) for layer in self.viewer.layers]
        origin = next(filter(None, origins), None)
        if self.opened is None and origin is not None and not self._quiet:
            with self._noticed():
                self.open(origin["source"], origin["field"])

    # -- run or plate, field, channel --------------------------------------------

    def open(self, source: str, path: str | None = None) -> None:
        """Open a run or a plate; a field is shown unless `path` is shown already."""
        opened = open_source(source)
        first = path or opened.paths[0]
        field = opened.open(first)
        channels = field.channels
        self.opened = opened
        self.enhanced = self.found = None
        controls = self.controls
        number = field.channel_index(opened.settings.channels[0])
        with self._silence():
            controls.source.value = source
            offer(controls.field, opened.paths, first)
            offer(controls.channel, channels, channels[number])
            controls.file.value = _free_name(Path(source).parent)
        self.reset()
        self._forget()
        if path is None:
            self._show_field(first)

    def _show_field(self, path: str) -> None:
        if self.opened is not None and path is not None:
            self._forget()
            with self._silence():
                shown.show_field(self.viewer, self.opened, path)

    def _forget(self) -> None:
        """Forget what was enhanced: another field or channel is chosen."""
        self._stop.set()
        self.enhanced = self.found = None
        shown.clear_tuned(self.viewer)
        fill(self.controls.table, NO_CELLS)
        self._say("Press Enhance to begin.")

    # -- numbers -----------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """The settings as tuned."""
        if self.opened is None:
            raise SettingsError("open a run or a plate first")
        channel = self.controls.channel.value
        return tuned_settings(self.opened.settings, channel, **self.numbers)

    def _tune(self, name: str, value: Any) -> None:
        if name == "reference":
            value = f"angle:{value:g}"
        if name == "spot_sigma" and value == 0:
            value = None
        self.numbers[name] = value
        self._find()

    def reset(self) -> None:
        """Move all sliders back to the settings of the run."""
        self.numbers.clear()
        settings = self.settings
        detect, reference = settings.of(DetectOptions), settings.reference or ""
        kind, _, angle = reference.partition(":")
        floor, share = detect.floor, detect.min_relative_intensity
        controls = self.controls
        with self._silence():
            controls.floor.value = _USUAL["floor"] if floor is None else floor
            controls.faint.value = 0.0 if share is None else share
            controls.sigma.value = settings.spot_sigma or 0.0
            sectors = settings.of(PolarityOptions).sectors
            offer(controls.sectors, sorted({*SECTORS, sectors}), sectors)
            toward = float(angle) % 360 if kind == "angle" else 0.0
            controls.angle.value = min(toward, controls.angle.max)
        self._find()

    # -- jobs --------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a job runs, or waits for the one that runs."""
        return self._worker is not None

    def enhance(self) -> None:
        """Run the network on the field and channel; while it runs: stop it."""
        if self.busy:
            self._stop.set()
            return
        opened, settings = self.opened, self.settings
        if opened is None:
            return
        check_tunable(settings)
        path, channel = self.controls.field.value, self.controls.channel.value
        self._stop = stop = Event()

        def job() -> tuple[Enhanced, Found]:
            subject = read_subject(opened, path, channel, stop.is_set)
            enhanced = enhance_subject(subject, settings, stop.is_set)
            return enhanced, find_again(enhanced, settings)

        self.controls.enhance.text = "Cancel"
        self._say(f"Enhancing {channel} of {path} ...")
        self._start(job, self._take_enhanced, stop)

    def _take_enhanced(self, answer: tuple[Enhanced, Found]) -> None:
        self.enhanced = answer[0]
        with self._silence():
            shown.show_enhanced(self.viewer, self.enhanced)
        self._take_found(answer[1])
        self._find()  # sliders may have moved meanwhile

    def _find(self) -> None:
        """Decide again, now or after the job that runs."""
        enhanced = self.enhanced
        self._late = self.busy
        if enhanced is None or self.busy:
            return
        settings, stop = self.settings, self._stop
        if not fits(enhanced, settings):
            self._say("Spots of this width are seen in other pixels: press Enhance.")
            return
        self._start(lambda: find_again(enhanced, settings), self._take_found, stop)

    def _take_found(self, found: Found) -> None:
        enhanced, settings = self.enhanced, self.settings
        if enhanced is None:
            return
        self.found = found
        with self._silence():
            shown.show_found(self.viewer, enhanced.subject, found, settings)
            fill(self.controls.table, cell_rows(found, settings))
        self._say(describe_found(found, settings))

    def _start(
        self, job: Callable[[], Any], take: Callable[[Any], None], stop: Event
    ) -> None:
        def guarded() -> tuple[Any, Exception | None]:
            try:
                return job(), None
            except (DeepspotError, OSError, StoppedError) as error:
                return None, error

        def end(answer: tuple[Any, Exception | None] | None) -> None:
            self._worker = None
            self.controls.enhance.text = "Enhance"
            if stop.is_set():
                self._say("Stopped. Press Enhance to begin.")
            elif answer is not None:
                self._take(answer, take)
            if self._late:
                self._on(self._find)

        self._worker = self._threads.create_worker(
            guarded, _start_thread=False, _connect={"returned": end}
        )
        self._worker.errored.connect(lambda _: end(None))
        self._worker.start()

    def _take(
        self, answer: tuple[Any, Exception | None], take: Callable[[Any], None]
    ) -> None:
        value, error = answer
        if error is not None:
            self._say(str(error))
            self._notices.show_error(str(error))
            return
        with self._noticed():
            take(value)

    def _say(self, text: str) -> None:
        self.controls.result.value = text

    # -- settings ----------------------------------------------------------------

    def save(self) -> None:
        """Write the settings as tuned, for ``deepspot-scale run --config``.

        Raises
        ------
        SettingsError
            Nothing is open, or there is a file of this name that is not ours.
        """
        settings, path = self.settings, Path(self.controls.file.value)
        if path.suffix != ".toml":
            raise SettingsError(f"settings are a .toml file, and {path} is none")
        if path.exists() and path != self._written:
            raise SettingsError(f"{path} exists already; give another name")
        path.write_text(write_settings(settings), encoding="utf-8")
        self._written = path
        plate = self.opened.plate.source if self.opened is not None else ""
        self._notices.show_info(
            f"written: {path}. Next: deepspot-scale run {plate} --config {path} "
            "--out RUN"
        )


def _free_name(folder: Path) -> Path:
    """Return run.toml in a folder, or run2.toml ... if there is one."""
    names = (f"run{number or ''}.toml" for number in (0, *range(2, 1000)))
    return next(folder / name for name in names if not (folder / name).exists())
