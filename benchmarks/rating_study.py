"""A study with simulated experts, from a plate to its tables, beside the closed form.

    python -m benchmarks.rating_study --folder FOLDER

Writes a plate whose fields are bad by known degrees, draws a study from it, lets one
simulated expert label the images and eleven others choose between these labels and the
scores of three networks: as good as the label, better and worse. Everything goes
through the files and the session that the page uses. Prints the tables of the paper,
and one row for each network, arm, bin and measure: the mean over experts, its interval,
and what is expected in closed form of these very questions.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepspot_scale.expert_study.access import Access
from deepspot_scale.expert_study.comparing import Choosing, make_comparison
from deepspot_scale.expert_study.drawing import Asked, draw_study
from deepspot_scale.expert_study.predicting import read_predicted
from deepspot_scale.expert_study.report import write_report
from deepspot_scale.expert_study.results import paper_table, read_results
from deepspot_scale.expert_study.session import Session
from deepspot_scale.io.ome_zarr.writing import ImageLayout, create_plate, write_image
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.study_comparisons import Comparison
from deepspot_scale.io.study_folder import Study, study_key
from deepspot_scale.simulation import render_spots, smooth_noise
from deepspot_scale.simulation.experts import Expert
from deepspot_scale.statistics.expected_choices import (
    chances_of_choice,
    expect_unequal,
)
from deepspot_scale.statistics.expert_choices import ALL, BINS, MEASURES, bin_of
from deepspot_scale.vocabulary import FieldAddress

SIZE, WELLS, FIELDS = 224, 6, 4
NETWORKS = {"as good": 10.0, "better": 4.0, "worse": 25.0}
"""Standard deviations of the networks' scores about the true ones."""
LABEL = Expert(error=10.0)
TESTER = Expert(error=8.0, indifference=4.0, discards=0.02)
"""Experts who choose: between scores that are nearly as near they do not."""


@dataclass(frozen=True)
class Scale:
    """How large the study is; as in the paper."""

    images: int = 103
    experts: int = 11


def write_plate(target: Path, seed: int = 0) -> dict[str, float]:
    """Write a plate; return the true score, 0 to 100, of each field."""
    rng = np.random.default_rng(seed)
    addresses = [
        FieldAddress("B", f"{well + 2:02d}", str(field))
        for well in range(WELLS)
        for field in range(FIELDS)
    ]
    create_plate(target, addresses)
    true = rng.permutation(np.linspace(3, 97, len(addresses)))
    shape = (3 * SIZE, 3 * SIZE)
    for address, score in zip(addresses, true, strict=True):
        image = draw_field(rng, shape, 1 - score / 100)
        layout = ImageLayout("cyx", (1, *shape), np.uint16, ("FISH",), (0.1, 0.1))
        write_image(target, address, image[None], layout)
    return {a.path: float(q) for a, q in zip(addresses, true, strict=True)}


def draw_field(
    rng: np.random.Generator, shape: tuple[int, int], bad: float
) -> np.ndarray:
    """Return spots over uneven light: the worse (0 to 1), the broader and darker."""
    n = shape[0] * shape[1] // 900
    points = rng.uniform(0, shape[0] - 1, (n, 2))
    sigma = 1.2 + 2.2 * bad**2
    heights = 600 * rng.uniform(0.6, 1.4, n) * (1.2 / sigma) ** 2
    light = render_spots(shape, points, heights, np.full(n, sigma))
    light += 60 + 120 * smooth_noise(rng, shape, 60)
    return rng.poisson(light * (1 - 0.9 * bad) + 20).astype(np.uint16)


def label(folder: Path, study: Study, true: dict[str, float], seed: int) -> None:
    """Let one expert rate all images on the page's own session."""
    rng = np.random.default_rng((seed, 10))
    scores = {
        name: float(LABEL.rate(rng, np.array([true[at.field]]))[0])
        for name, at in study.images.items()
    }
    with closing(Session(folder, study, Access(study_key(folder)))) as session:
        asked = {session.question_id(a.question): a for a in session.order("label")}
        while question := session.state("label")["question"]:
            image = asked[question["id"]].question.image
            said = {"question": question["id"], "value": scores[image]}
            session.keep("label", said | {"milliseconds": 4000})


def predict(folder: Path, study: Study, true: dict[str, float], error: float) -> Path:
    """Write scores of a network that errs so much; return the file."""
    rng = np.random.default_rng((int(error), 11))
    scores = {
        name: np.clip(true[at.field] + rng.normal(0, error), 0, 100)
        for name, at in study.images.items()
    }
    file = folder / f"network-{error:g}.csv"
    rows = [f"{name},{score:.1f}" for name, score in scores.items()]
    file.write_text("\n".join(["image,score", *rows]) + "\n")
    return file


def choose(session: Session, true: dict[str, float], expert: str, seed: int) -> None:
    """Let one expert compare all pairs, seeing what the page shows."""
    rng = np.random.default_rng([seed, *expert.encode()])
    asked = {session.question_id(a.question): a for a in session.order(expert)}
    while question := session.state(expert)["question"]:
        origin = session.study.images[asked[question["id"]].question.image]
        sides = (np.array([question["left"]]), np.array([question["right"]]))
        (chosen,) = TESTER.choose(rng, np.array([true[origin.field]]), sides)
        # The simulated expert calls the first one target; here it stands left.
        words = {"target": "left", "predicted": "right"}
        said = {"question": question["id"], "value": words.get(chosen, chosen)}
        session.keep(expert, said | {"milliseconds": 2500})


def expect(choices: pd.DataFrame, quality: dict[str, float]) -> pd.DataFrame:
    """Return the closed form of each arm, bin and measure: mean over experts.

    The scores are those that were shown, in whole numbers.
    """
    kept = choices[choices["choice"] != "discard"]
    true = kept["image"].map(quality).to_numpy(np.float64)
    shown = tuple(np.floor(kept[side] + 0.5) for side in ("target", "predicted"))
    arrays = tuple(each.to_numpy(np.float64) for each in shown)
    t, p = chances_of_choice(true, arrays, TESTER.error, TESTER.indifference)
    names = np.array(BINS, dtype=object)[bin_of(kept["target"].to_numpy())]
    table = kept[["arm", "expert"]].assign(t=t, p=p, bin=names)
    table = pd.concat([table, table.assign(bin=ALL)])
    rows = []
    for (arm, name), own in table.groupby(["arm", "bin"]):
        each = [expect_unequal(e["t"], e["p"]) for _, e in own.groupby("expert")]
        means = np.nanmean(np.array(each), axis=0)
        rows += [(arm, name, m, v) for m, v in zip(MEASURES, means, strict=True)]
    return pd.DataFrame(rows, columns=["arm", "bin", "measure", "expected"])


def run_study(folder: Path, scale: Scale, seed: int = 0) -> pd.DataFrame:
    """Make the study in a folder; return measured and expected values of all."""
    true = write_plate(folder / "plate.zarr", seed)
    place = folder / "STUDY"
    asked = Asked(scale.images, "FISH", SIZE, seed=seed)
    study = draw_study(open_plate(folder / "plate.zarr"), place, asked)
    label(place, study, true, seed)
    names: dict[str, str] = {}
    for name, error in NETWORKS.items():
        predicted = read_predicted(predict(folder, study, true, error))
        compared = make_comparison(place, predicted, Choosing(baseline=True))
        names[compared.name] = name
        ask(place, study, compared, true, experts=scale.experts, seed=seed)
    write_report(place, place / "report.html")
    quality = {name: true[at.field] for name, at in study.images.items()}
    parts = []
    for each in read_results(place, seed=seed):
        expected = expect(each.choices, quality)
        table = each.averages.merge(expected, on=["arm", "bin", "measure"])
        table.insert(0, "network", names[each.comparison.name])
        parts.append(table)
        print(f"\nNetwork {names[each.comparison.name]}:\n")
        print(markdown(paper_table(each)))
    return pd.concat(parts, ignore_index=True)


def ask(
    place: Path,
    study: Study,
    compared: Comparison,
    true: dict[str, float],
    *,
    experts: int,
    seed: int,
) -> None:
    """Let all experts compare."""
    access = Access(study_key(place))
    with closing(Session(place, study, access, compared)) as session:
        for number in range(experts):
            choose(session, true, f"expert{number + 1:02d}", seed)


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def draw_page(place: Path, picture: Path) -> None:
    """Save what a browser shows of the comparison page."""
    command = [sys.executable, "-m", "deepspot_scale.cli", "rate", "compare"]
    with subprocess.Popen(
        [*command, str(place), "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        link = next(line for line in server.stderr if "http://" in line)
        address = link.split()[-1] + "#expert=you"
        browser = shutil.which("chromium") or "google-chrome"
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
        size = ("--window-size=1180,720", "--virtual-time-budget=8000")
        subprocess.run(
            [browser, *flags, *size, f"--screenshot={picture}", address],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        server.terminate()


def main() -> None:
    """Parse the command line; print tables and rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="keep plate and study here")
    parser.add_argument("--images", type=int, default=Scale.images)
    parser.add_argument("--experts", type=int, default=Scale.experts)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write rows to a file")
    parser.add_argument("--picture", type=Path, help="PNG of the page to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        table = run_study(folder, Scale(options.images, options.experts), options.seed)
        rows: list[dict[str, Any]] = table.round(4).to_dict("records")
        text = "".join(json.dumps(row) + "\n" for row in rows)
        if options.out is not None:
            options.out.write_text(text.replace("NaN", "null"), encoding="utf-8")
        known = table.dropna(subset=["low", "expected"])
        held = (known["low"] <= known["expected"]) & (
            known["expected"] <= known["high"]
        )
        whole = known["bin"] == ALL
        print(
            f"\nthe closed form is within {held.sum()} of {len(known)} intervals of "
            f"95 %; of all bins together within {held[whole].sum()} of {whole.sum()}"
        )
        if options.picture is not None:
            draw_page(folder / "STUDY", options.picture)


if __name__ == "__main__":
    main()
