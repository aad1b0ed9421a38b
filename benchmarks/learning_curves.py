"""The loss of trainings that follow one another, against the patches they have seen.

    python benchmarks/learning_curves.py NAME ONE/log.csv TWO/log.csv ... --out FOLDER

Each log is a training's, as `train` writes it; `--batch` says how many patches a step
has. FOLDER gets learning-NAME.csv, the mean loss of every 100 steps and the losses on
patches for validation, and learning-NAME.png. Losses of trainings with other sources
cannot be compared; the rate says where each one begins.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

EVERY = 100
"""Steps of one mean."""


def follow(logs: list[Path], batch: int) -> pd.DataFrame:
    """Return the trainings one after the other: number, patches, losses, rate."""
    parts, before = [], 0
    for number, path in enumerate(logs, 1):
        log = pd.read_csv(path)
        groups = (log["step"] - 1) // EVERY
        table = log.groupby(groups).agg(
            step=("step", "max"),
            loss=("loss", "mean"),
            validation=("validation", "mean"),
            rate=("rate", "mean"),
        )
        table.insert(0, "training", number)
        table.insert(1, "patches", before + batch * table.pop("step"))
        before = int(table["patches"].max())
        parts.append(table)
    return pd.concat(parts, ignore_index=True)


def draw(table: pd.DataFrame, file: Path) -> None:
    """Draw the losses of all trainings."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for number, own in table.groupby("training"):
        (line,) = axes.plot(
            own["patches"] / 1000, own["loss"], linewidth=1, label=f"training {number}"
        )
        seen = own.dropna(subset=["validation"])
        axes.plot(
            seen["patches"] / 1000,
            seen["validation"],
            "o",
            markersize=4,
            color=line.get_color(),
        )
    axes.set(
        xlabel="patches seen, thousands",
        ylabel="loss (dots: validation)",
        yscale="log",
    )
    axes.legend(fontsize="small", frameon=False)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def main() -> None:
    """Write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    table = follow(options.logs, options.batch)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = table.round({"loss": 5, "validation": 5, "rate": 7})
    kept.to_csv(options.out / f"learning-{options.name}.csv", index=False)
    draw(table, options.out / f"learning-{options.name}.png")
    print(table.groupby("training").last().to_string())


if __name__ == "__main__":
    main()
