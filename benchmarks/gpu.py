"""What can be had of a GPU in a quarter of an hour: answers, trained weights, rates.

    KERAS_BACKEND=jax python -m benchmarks.gpu --out OUT --minutes 13
    python -m benchmarks.gpu --out OUT --minutes 1 --tiny          # a rehearsal on CPUs

First the answers of the GPU are compared with those of the CPU, in float32 without
TensorFloat-32. Then each model is trained on from its shipped weights in
mixed_bfloat16, as many steps as fit into its share of the time. Last, whole runs are
timed. OUT gets `rows.jsonl` and the weights, each complete as soon as it is there. They
have no judge yet: `deepspot-scale fit-judge` gives them one, on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from deepspot_scale.kernels.normalisation import SCALES
from deepspot_scale.networks.devices import gpu_names
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import get_engine
from deepspot_scale.networks.weights import find_weights, shipped_models
from deepspot_scale.simulation import simulate_image
from deepspot_scale.training.recipe import Recipe, make_recipe
from deepspot_scale.training.trainer import train

MIXTURES: dict[str, list[dict[str, Any]]] = {
    "caso_resnet": [
        {"source": "broad", "patches": 2},
        {"source": "paper", "patches": 1},
    ],
    "caso_fast": [
        {"source": "dynamic", "patches": 4, "cuts": 5},
        {"source": "broad", "patches": 3, "cuts": 5, "grains": True},
        {"source": "paper", "patches": 2, "cuts": 4},
    ],
}
"""Sets to learn from, by family; a batch has the patches some times over."""
BATCH = 96
WARM, TIMED = 6, 12
"""Steps before the rate is measured, which compile, and steps that are timed."""
SHARE_OF_TRAINING = 0.6
"""Of the whole time; the rest is for comparing, compiling and rates."""


def keep(row: dict[str, Any], out: Path) -> None:
    """Print one row and append it to the rows."""
    line = json.dumps(row)
    print(line, flush=True)
    with (out / "rows.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def forbid_tf32() -> None:
    """Make float32 mean float32 on the backend in use."""
    import keras

    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    else:
        import tensorflow

        tensorflow.config.experimental.enable_tensor_float_32_execution(False)


def compare(model: str, size: int) -> dict[str, Any]:
    """Return how far the GPU's answers are from the CPU's."""
    counts = simulate_image("broad", 3, 1, size=size).image
    family = find_weights(model).family
    image = SCALES[family.normalisation](counts)(counts)[None, ..., None]
    answers, names = [], []
    for device in ("cpu", "auto"):
        choice = EngineChoice(model, "keras", "float32", device)
        engine = get_engine(choice)
        answers.append(engine.predict(image))
        names.append(engine.name)
    far = float(np.abs(answers[0] - answers[1]).max())
    return {"what": "parity", "model": model, "engines": names, "largest": far}


def recipe_for(model: str, steps: int, *, tiny: bool) -> Recipe:
    """Return the recipe of a training that goes on from a shipped model."""
    weights = find_weights(model)
    parts, edge = MIXTURES[weights.family.name], 32 if tiny else 128
    whole = sum(part["patches"] for part in parts)
    n = 1 if tiny else BATCH // whole
    return make_recipe(
        family=weights.family.name,
        architecture=weights.architecture.to_dict(),
        start_from=model,
        target="sharp" if weights.family.name == "caso_fast" else "black",
        mixture=[
            {**part, "patches": n * part["patches"], "size": 2 * edge} for part in parts
        ],
        patch=edge,
        steps=steps,
        learning_rate=1e-3,
        dtype="float32" if tiny else "mixed_bfloat16",
        seed=int(time.time()),  # images that no training has seen
        validation={"every": 0},
    )


def train_for(model: str, seconds: float, out: Path, *, tiny: bool) -> dict[str, Any]:
    """Train a model on for so many seconds; its weights are written to `out`."""
    processes = max(1, (os.cpu_count() or 2) - 2)
    at: list[float] = []
    with tempfile.TemporaryDirectory() as scratch:
        short = recipe_for(model, WARM + TIMED, tiny=tiny)
        train(
            short,
            Path(scratch) / "rate",
            on_step=lambda _: at.append(time.perf_counter()),
            processes=processes,
        )
        rate = TIMED / (at[-1] - at[WARM - 1])
        # Processes and compiling take as long again as before the first step.
        steps = max(1, int(0.9 * seconds * rate))
        recipe = recipe_for(model, steps, tiny=tiny)
        began = time.perf_counter()
        weights = train(recipe, Path(scratch) / "whole", processes=processes)
        took = time.perf_counter() - began
        (out / f"{model}.safetensors").write_bytes(weights.read_bytes())
    return {
        "what": "training",
        "model": model,
        "steps": steps,
        "patches": steps * recipe.batch,
        "patches_per_s": round(steps * recipe.batch / took, 1),
        "processes": processes,
        "dtype": recipe.dtype,
    }


def time_runs(model: str, out: Path, *, tiny: bool) -> None:
    """Time the bare network and whole runs by `benchmarks.throughput`."""
    size, fields = ("256", "2") if tiny else ("2048", "32")
    command = [sys.executable, "-m", "benchmarks.throughput", "endtoend"]
    command += ["--model", model, "--engine", "keras", "--size", size]
    command += ["--fields", fields, "--rounds", "1", "--workers", "1"]
    command += ["--out", str(out / "rows.jsonl")]
    subprocess.run(command, check=True)


def main() -> None:
    """Do all three for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=13)
    parser.add_argument("--model", action="append", help="may be given several times")
    parser.add_argument("--tiny", action="store_true", help="rehearse with tiny sizes")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    models = options.model or sorted(
        name for name in shipped_models() if name.startswith("deepspot")
    )
    keep({"what": "machine", "gpus": gpu_names(), "cpus": os.cpu_count()}, options.out)
    forbid_tf32()
    for model in models:
        keep(compare(model, 64 if options.tiny else 1024), options.out)
    each = 60 * options.minutes * SHARE_OF_TRAINING / len(models)
    for model in models:
        keep(train_for(model, each, options.out, tiny=options.tiny), options.out)
    for model in models:
        time_runs(model, options.out, tiny=options.tiny)


if __name__ == "__main__":
    main()
