"""The commands of studies with experts: ``rate study``, ``serve``, ``compare``, ...

Nothing here draws, serves or counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from deepspot_scale.cli.application import app, say
from deepspot_scale.cli.options import TrustWords
from deepspot_scale.errors import SettingsError
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from deepspot_scale.expert_study.comparing import Predicted
    from deepspot_scale.expert_study.server import Place
    from deepspot_scale.io.study_comparisons import Comparison
    from deepspot_scale.io.study_folder import Study

rate = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Let experts rate images, and compare a network's scores with theirs.\n\n"
    "Example: deepspot-scale rate report STUDY",
)
app.add_typer(rate, name="rate")

PORT = 8790

StudyFolder = Annotated[
    Path, typer.Argument(help="Folder of a study, or one with images/ and scores.csv.")
]
Experts = Annotated[
    str, typer.Option(help="Pseudonyms that take part, such as anna,ben.")
]
Host = Annotated[
    str, typer.Option(help="Where the page listens; others than loopback need tokens.")
]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Port of the page; 0: any free one.")
]
Certificate = Annotated[
    Path | None, typer.Option(help="PEM file of a certificate, for HTTPS.")
]
PrivateKey = Annotated[
    Path | None, typer.Option(help="PEM file of its key, unless it is in the same.")
]
NoServe = Annotated[
    bool, typer.Option("--no-serve", help="Write the files and serve no page.")
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all randomness.")]


@rate.command()
def study(
    plate: Annotated[str, typer.Argument(help="OME-Zarr plate, image, or folder.")],
    out: Annotated[Path, typer.Option(help="Folder of the study.")],
    images: Annotated[int, typer.Option(min=1, help="How many are drawn.")] = 200,
    channel: Annotated[
        str | None,
        typer.Option("--channel", "-c", help="Channel, by name or index; else first."),
    ] = None,
    size: Annotated[
        int, typer.Option(min=16, help="Edge of an image in pixels.")
    ] = 224,
    project: Annotated[
        Literal["max", "mean", "none"],
        typer.Option(help="How a z-stack becomes a plane; none: planes are drawn."),
    ] = "none",
    seed: Seed = 0,
    experts: Experts = "",
    consent: Annotated[
        Path | None, typer.Option(help="Text file that experts agree to first.")
    ] = None,
    host: Host = "127.0.0.1",
    port: Port = PORT,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    no_serve: NoServe = False,
    trust: TrustWords = None,
) -> None:
    """Draw images from a plate, and serve a page on which experts rate them.

    Example: deepspot-scale rate study PLATE.zarr --images 200 --out STUDY

    Images are spread over wells and fields; no two show one piece of a field. The same
    command again goes on where the experts stopped.
    """
    from deepspot_scale.expert_study.drawing import Asked, draw_study
    from deepspot_scale.io.plate import open_plate
    from deepspot_scale.outputs import check_output_folder

    check_output_folder(out, "--out")
    asked = Asked(
        images, channel, size, project, seed, _names(experts), _read_text(consent)
    )
    drawn = draw_study(open_plate(plate, trust=trust or ()), out, asked)
    number = plural(len(drawn.images), "image")
    say(f"{number} of {drawn.channel} in {out / 'images'}")
    if no_serve:
        typer.echo(str(out))
        return
    _serve(out, drawn, _place(host, port, certificate, private_key))


@rate.command()
def serve(
    folder: StudyFolder,
    experts: Experts = "",
    host: Host = "127.0.0.1",
    port: Port = PORT,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
) -> None:
    """Serve the page of a study again, on which experts rate images.

    Example: deepspot-scale rate serve STUDY --experts anna,ben
    """
    opened = _open(folder, experts)
    _serve(folder, opened, _place(host, port, certificate, private_key))


@rate.command()
def compare(
    folder: StudyFolder,
    model: Annotated[
        str | None,
        typer.Option(help="Trained judge: folder of a training, or weights file."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="CSV of scores from elsewhere instead: image, score."),
    ] = None,
    target: Annotated[
        Literal["label", "own", "mean"],
        typer.Option(
            help="The expert's score: of one who rated the image, of whoever looks, or "
            "the mean of all."
        ),
    ] = "label",
    labeller: Annotated[
        str | None, typer.Option(help="With label: whose scores; else chance decides.")
    ] = None,
    baseline: Annotated[
        bool, typer.Option(help="Ask each image once more, with a random score.")
    ] = False,
    every: Annotated[
        bool,
        typer.Option(help="Also images that the judge learned from, which flatter it."),
    ] = False,
    seed: Seed = 0,
    experts: Experts = "",
    host: Host = "127.0.0.1",
    port: Port = PORT,
    certificate: Certificate = None,
    private_key: PrivateKey = None,
    no_serve: NoServe = False,
) -> None:
    """Serve the blind page: an expert's score or the network's, equivalent, discard.

    Example: deepspot-scale rate compare STUDY --model JUDGE --baseline

    Without --model and --scores the comparison that was begun last is served again.
    """
    from deepspot_scale.expert_study.comparing import (
        Choosing,
        find_comparison,
        make_comparison,
    )

    if model is not None and scores is not None:
        raise SettingsError("--model and --scores: give one of them")
    opened = _open(folder, experts)
    if model is None and scores is None:
        compared = find_comparison(folder, None)
    else:
        predicted = _predicted(folder, model, scores, every=every)
        choosing = Choosing(target, labeller, baseline, seed)
        compared = make_comparison(folder, predicted, choosing)
    for line in _describe(compared):
        say(line)
    if no_serve:
        typer.echo(compared.name)
        return
    _serve(folder, opened, _place(host, port, certificate, private_key), compared)


@rate.command("report")
def report_(
    folder: StudyFolder,
    out: Annotated[
        Path | None, typer.Option(help="HTML file; else report.html in the study.")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Write the report of a study: confusion and domination, by bin and by expert.

    Example: deepspot-scale rate report STUDY
    """
    from deepspot_scale.expert_study.report import write_report
    from deepspot_scale.outputs import check_output_file

    file = folder / "report.html" if out is None else out
    _open(folder, "")
    check_output_file(file, "--out")
    write_report(folder, file, seed=seed)
    typer.echo(str(file))


@rate.command("export")
def export_(
    folder: StudyFolder,
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    history: Annotated[
        bool, typer.Option(help="Also answers that were corrected later.")
    ] = False,
) -> None:
    """Write all answers of a study as CSV, with where each image is from.

    Example: deepspot-scale rate export STUDY --out answers.csv
    """
    from deepspot_scale.expert_study.results import write_answers
    from deepspot_scale.outputs import check_output_file

    check_output_file(out, "--out")
    write_answers(folder, out, history=history)
    typer.echo(str(out))


def _names(experts: str) -> tuple[str, ...]:
    words = (word.strip() for word in experts.split(","))
    return tuple(dict.fromkeys(word for word in words if word))


def _read_text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"--consent: {path} cannot be read: {error}") from error
    if not text:
        raise SettingsError(f"--consent: {path} is empty")
    return text


def _open(folder: Path, experts: str) -> Study:
    from deepspot_scale.io.study_folder import read_study, with_experts

    opened, names = read_study(folder), _names(experts)
    return with_experts(folder, opened, names) if names else opened


def _place(
    host: str, port: int, certificate: Path | None, private_key: Path | None
) -> Place:
    from deepspot_scale.expert_study.server import Place

    return Place(host, port, certificate, private_key)


def _serve(
    folder: Path, opened: Study, place: Place, compared: Comparison | None = None
) -> None:
    from deepspot_scale.expert_study.server import serve_study

    serve_study(folder, opened, place, comparison=compared, say=say)


def _predicted(
    folder: Path, model: str | None, scores: Path | None, *, every: bool
) -> Predicted:
    from deepspot_scale.expert_study.predicting import predict_images, read_predicted

    if scores is not None:
        return read_predicted(scores)
    return predict_images(folder, model or "", every=every)


def _describe(compared: Comparison) -> list[str]:
    lines = [
        f"comparison {compared.name}: {compared.n_asked} questions on "
        f"{plural(len(compared.images), 'image')}, scores of {compared.model}"
    ]
    return [*lines, compared.note] if compared.note else lines
