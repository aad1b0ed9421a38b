"""The quality sheet of any model: models and data by name in, a folder out.

    OUT/sheet.html   scores with intervals, worst images, training curves, domain check
    OUT/images.csv   one row for each model and image
    OUT/scores.csv   one row for each model and measure
    OUT/scores.json  the same with provenance, for programs
    OUT/report/      figures of the page and their numbers

How models of a kind are scored is said by a `QualityKind`; models that enhance spots
have tables of their own, see `evaluate`. Nothing here knows how a network works.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import pandas as pd

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.evaluation.denoising_scores import DENOISING
from deepspot_scale.evaluation.domain_check import DomainCheck, DomainRows
from deepspot_scale.evaluation.object_scores import OBJECTS
from deepspot_scale.evaluation.quality_kinds import (
    FAILURES,
    QualityKind,
    ShownImage,
)
from deepspot_scale.evaluation.quality_page import Sheet, check_no_sheet, write_sheets
from deepspot_scale.evaluation.rating_scores import RATINGS
from deepspot_scale.evaluation.training_curves import read_curves
from deepspot_scale.io.image_files.paired_files import FilePair
from deepspot_scale.networks.domains import find_domain
from deepspot_scale.networks.engine_types import Device
from deepspot_scale.networks.families import (
    DENOISER,
    DYE_CLASSIFIER,
    RATER,
    RATING_CNN,
    STAR_CONVEX,
)
from deepspot_scale.networks.weights import Weights, find_weights
from deepspot_scale.outputs import check_output_folder
from deepspot_scale.plugins import installed_versions
from deepspot_scale.report.html import Plot
from deepspot_scale.runs.process import FATAL, explain
from deepspot_scale.runs.progress import Tell, counted
from deepspot_scale.tables import as_table, empty_table, guard_words

KINDS: Final[dict[str, QualityKind]] = {
    STAR_CONVEX.name: OBJECTS,
    DENOISER.name: DENOISING,
    RATER.name: RATINGS,
    RATING_CNN.name: RATINGS,
}
"""How models are judged, by their family."""
_WORST: Final = 3
"""Images that are shown."""
_PACKAGES: Final = ("deepspot-scale", "keras", "tensorflow", "openvino", "numpy")


class QualityEvaluation(NamedTuple):
    """The results of an evaluation."""

    sheets: tuple[Sheet, ...]
    """One for each model."""
    page: Path
    """The page; tables and JSON are beside it."""


def is_judged_by_pairs(model: str) -> bool:
    """Return whether a model's truth is a second folder of images.

    Raises SettingsError if models of its family have another command, or none.
    """
    weights = find_weights(model)
    family = weights.family
    if family.name in KINDS:
        return True
    if family.normalisation == "movie":
        raise SettingsError(
            f"{weights.name} localises molecules: run localise, then "
            "evaluate-localisations RUN TRUTH.csv"
        )
    if family.name == DYE_CLASSIFIER.name:
        raise SettingsError(
            f"{weights.name} tells dyes apart; there is no evaluation of that here"
        )
    return False


def evaluate_quality(  # noqa: PLR0913 - what, on what, where to, and how
    models: Sequence[str],
    data: str | Path,
    out: str | Path,
    *,
    images: int | None = None,
    device: Device = "auto",
    overwrite: bool = False,
    progress: Tell | None = None,
) -> QualityEvaluation:
    """Judge models of one kind on images with their truth, and write the sheet.

    Parameters
    ----------
    models
        Names of shipped models or paths of weights files, of one kind.
    data
        Folder of two folders with files of the same names: ``images`` and ``labels``
        for models that find objects; ``noisy`` and ``clean`` for those that remove
        noise, and spots.csv (image, y, x) beside them where spots are known. For
        models that rate images a study, or ``images`` and scores.csv (image, score 0 to
        100), or images with spots.csv.
    out
        Folder to write.
    images
        Only so many images, in the order of their names.
    device
        Where networks run.
    overwrite
        Replace the sheet that an earlier evaluation wrote there.
    progress
        Called with "images seen by" a model, how many these are, and how many it will
        see.

    Raises
    ------
    SettingsError
        There is no model, they are of several kinds or of one that is not judged here,
        or `out` cannot be written to.
    PlateError, WeightsError, DeviceError
        Data, a model or a device cannot be used.
    RunError
        No image could be measured, or there is something in `out` already.
    """
    check_output_folder(Path(out), "out")
    check_no_sheet(Path(out), overwrite=overwrite, with_report=False)
    known = name_models(models)
    kind = _common_kind([find_weights(model) for model in known.values()])
    pairs = kind.pairs(Path(data))[:images]
    sheets = []
    for name, model in known.items():
        judged = _Judged(kind, name, find_weights(model), Path(data).resolve())
        sheets.append(judged.sheet(model, pairs, device, progress))
    page = write_sheets(sheets, Path(out))
    parts = [each.images.assign(model=each.model) for each in sheets]
    whole = pd.concat(parts, ignore_index=True)
    whole.insert(0, "model", whole.pop("model"))
    file = Path(out) / "images.csv"
    guard_words(whole).to_csv(file, index=False, float_format="%.6g")
    return QualityEvaluation(tuple(sheets), page)


def name_models(models: Sequence[str]) -> dict[str, str]:
    """Return the models by their names in tables: the path where a name is taken."""
    if not models:
        raise SettingsError("no model: name a shipped one or a weights file")
    names: dict[str, str] = {}
    for model in dict.fromkeys(models):
        name = find_weights(model).name
        names[model if name in names else name] = model
    return names


def _common_kind(weights: Sequence[Weights]) -> QualityKind:
    families = list(dict.fromkeys(each.family.name for each in weights))
    kinds = [KINDS.get(name) for name in families]
    first = kinds[0]
    if first is None or any(kind is not first for kind in kinds):
        raise SettingsError(
            f"models of the families {', '.join(families)} are not judged together; "
            f"expected models of one of {', '.join(KINDS)}"
        )
    return first


@dataclass(frozen=True)
class _Judged:
    """One model while it is judged."""

    kind: QualityKind
    name: str
    weights: Weights
    data: Path

    def sheet(
        self,
        model: str,
        pairs: Sequence[FilePair],
        device: Device,
        tell: Tell | None,
    ) -> Sheet:
        kind, score = self.kind, self.kind.open(model, device, self.data)
        rows: list[dict[str, Any]] = []
        failed: list[dict[str, str]] = []
        worst: list[tuple[float, str, ShownImage]] = []
        far = DomainRows(find_domain(self.weights))
        noun = f"images seen by {self.name}"
        for pair in counted(pairs, noun, len(pairs), tell):
            try:
                scored = score(pair)
            except FATAL:
                raise
            except Exception as error:  # reported; the others are still scored
                failed.append({"image": pair.name, "reason": explain(error)})
                continue
            rows.append({"image": pair.name, **scored.row})
            far.add(pair.name, scored.seen)
            value = float(scored.row[kind.worst])
            title = f"{pair.name}: {kind.worst.replace('_', ' ')} {value:.3f}"
            worst.append((value, pair.name, ShownImage(title, scored.shown)))
            worst = sorted(worst, key=lambda each: each[:2])[:_WORST]
        if not rows:
            raise RunError(
                f"none of {len(pairs)} images could be measured; the first, "
                f"{failed[0]['image']}: {failed[0]['reason']}"
            )
        images = as_table(pd.DataFrame(rows), kind.image_columns)
        return self._sheet(images, failed, [shown for *_, shown in worst], far.check())

    def _sheet(
        self,
        images: pd.DataFrame,
        failed: list[dict[str, str]],
        worst: list[ShownImage],
        domain: DomainCheck,
    ) -> Sheet:
        kind = self.kind
        table = empty_table(FAILURES)
        if failed:
            table = as_table(pd.DataFrame(failed), FAILURES)
        figure = kind.draw(worst)
        numbers = images.nsmallest(len(worst), kind.worst)
        picture = Plot("worst", figure, numbers, "the worst images", kind.key)
        return Sheet(
            self.name,
            kind.title,
            kind.summarise(images),
            tuple(each.name for each in kind.measures if each.headline),
            images.sort_values([kind.worst, "image"], kind="stable"),
            table,
            (picture,),
            kind.worst,
            domain,
            read_curves(self.weights.path),
            self._provenance(),
        )

    def _provenance(self) -> dict[str, Any]:
        versions = installed_versions(_PACKAGES)
        return {
            "model": self.weights.name,
            "file": "/".join(self.weights.path.parts[-2:]),
            "family": self.weights.family.name,
            "SHA-256 of the weights": self.weights.sha256,
            "data": self.data.name,
            "versions": ", ".join(f"{name} {of}" for name, of in versions.items()),
            "machine": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        }
