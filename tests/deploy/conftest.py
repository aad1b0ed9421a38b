"""Kubernetes' own schemas, strict: an unknown key is an error. Workflows' plate."""

from __future__ import annotations

import copy
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepspot_scale.io.tables import Folder

VERSIONS = ("1.29", "1.34", "1.37")
"""Of Kubernetes; job failure policies were beta in the oldest."""
Manifest = dict[str, Any]
Check = Callable[[Manifest], None]


def _strict(schema: Any) -> Any:
    """Return a schema of a custom resource that refuses unknown fields.

    As shipped, they are silently dropped.
    """
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    is_open = made.get("x-kubernetes-preserve-unknown-fields", False)
    # The word may also be the name of a property, whose value is then a schema.
    if made.get("type") == "object" and "properties" in made and not is_open:
        made.setdefault("additionalProperties", False)
    return made


@cache
def _custom_schemas() -> dict[str, Manifest]:
    package = pytest.importorskip("dask_kubernetes", reason="no dask-kubernetes")
    folder = Path(package.__file__).parent / "operator" / "deployment" / "helm"
    schemas = {}
    for file in folder.glob("*/crds/*.yaml"):
        for each in yaml.safe_load_all(file.read_text()):
            names, versions = each["spec"]["names"], each["spec"]["versions"]
            schema = _strict(copy.deepcopy(versions[0]["schema"]["openAPIV3Schema"]))
            schema["properties"] |= {
                "apiVersion": {"const": f"{each['spec']['group']}/v1"},
                "kind": {"const": names["kind"]},
                "metadata": {"type": "object"},
            }
            schemas[names["kind"]] = schema
    assert "DaskCluster" in schemas
    return schemas


def _check(manifest: Manifest) -> None:
    if manifest["apiVersion"].startswith("kubernetes.dask.org/"):
        import jsonschema

        schema = _custom_schemas()[manifest["kind"]]
        jsonschema.Draft7Validator(schema).validate(manifest)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, of the libraries they use
        validate = pytest.importorskip(
            "kubernetes_validate", reason="no kubernetes-validate"
        ).validate
        for version in VERSIONS:
            validate(manifest, version, strict=True)


@pytest.fixture(scope="session")
def check_manifest() -> Check:
    """Check a manifest against the schemas of Kubernetes and of the operator."""
    return _check


@pytest.fixture(scope="session")
def shell() -> dict[str, str]:
    """Environment in which ``deepspot-scale`` is that of the Python that tests run in.

    It comes first, and tools that are elsewhere stay on the path.
    """
    own = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{own}{os.pathsep}{os.environ['PATH']}"}


@dataclass(frozen=True)
class Screened:
    """A plate of two rows, and one run on all of it."""

    plate: str
    whole: Any
    options: str
    """Those of the run, for a shell."""

    def assert_same(self, run: Path) -> None:
        """Fail unless another run folder has equal tables."""
        kind = type(self.whole)
        self.whole.assert_same(kind(self.whole.progress, Folder(str(run))))


@pytest.fixture(scope="module")
def screened(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
) -> Screened:
    """A plate of two rows, whose last well is lost, and one run on all of it."""
    folder = tmp_path_factory.mktemp("screened")
    scenes = {path: draw_scene(seed) for seed, path in enumerate(("B/03/0", "C/04/0"))}
    plate = write_plate(folder / "plate.zarr", scenes, listed=("C/05/0",))
    whole = run_quickly(plate, folder / "whole")
    options = "--channel FISH --cells cells --nuclei nuclei --no-enhance"
    return Screened(plate, whole, options)
