"""What deepspot-scale-run is: deepspot-scale without some of its dependencies.

The repository's pyproject.toml comes in, the metadata of the smaller distribution goes
out. Hatchling calls this when it builds the wheel.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

ROOT = Path(__file__).resolve().parents[2]
TRAINING = {"keras", "tensorflow"}
"""Only for training, for GPUs and for engine keras; the extra `train` brings them."""
UNUSED = {"dask-image", "scikit-learn"}
"""Not imported by the package."""
ENGINE = "openvino"
"""Needed where deepspot-scale can run on Keras instead: without it nothing runs."""
FIELDS = (
    "version",
    "requires-python",
    "license",
    "authors",
    "keywords",
    "classifiers",
)


class RunMetadata(MetadataHookInterface):
    """Fills the dynamic fields."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill `metadata` in place."""
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        metadata.update(run_metadata(tomllib.loads(text)["project"]))
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": readme}


def run_metadata(project: dict[str, Any]) -> dict[str, Any]:
    """Return the smaller distribution's metadata, without its readme."""
    needed: dict[str, list[str]] = {"run": [], "train": [], "unused": []}
    for requirement in project["dependencies"]:
        name = re.split(r"[^\w-]", requirement)[0]
        which = "train" if name in TRAINING else "unused" if name in UNUSED else "run"
        always = requirement.partition(";")[0] if name == ENGINE else requirement
        needed[which].append(always)
    extras = {
        name: requirements
        for name, requirements in project["optional-dependencies"].items()
        if name != "test"  # those of the repository, which has the tests
    }
    extras["tune"] = [*needed["train"], *extras["tune"]]
    (command,) = project["scripts"].values()
    return {field: project[field] for field in FIELDS} | {
        "description": f"{project['description']}; runs, but does not train",
        "dependencies": needed["run"],
        "optional-dependencies": extras | {"train": needed["train"]},
        # `uvx deepspot-scale-run` and pipx look for a command of this name.
        "scripts": {"deepspot-scale": command, "deepspot-scale-run": command},
    }
