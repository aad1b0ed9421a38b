"""Importing the package is light; names come when they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import deepspot_scale
from deepspot_scale.plugins import install_line, installed_versions

HEAVY = (
    "tensorflow",
    "keras",
    "openvino",
    "torch",
    "jax",
    "distributed",
    "zarr",
    "cv2",
    "matplotlib",
    "skimage",
    "sklearn",
)


def _python(code: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return answer.stdout


def test_importing_loads_no_network_and_no_cluster() -> None:
    loaded = _python("import sys, deepspot_scale; print(*sys.modules)").split()
    assert "deepspot_scale" in loaded
    assert not set(HEAVY) & set(loaded)


def test_the_command_line_answers_without_them_too() -> None:
    code = "import sys, deepspot_scale.cli; print(*sys.modules)"
    assert not set(HEAVY) & set(_python(code).split())


def test_importing_brings_little_beside_xarray() -> None:
    """Counted, since seconds depend on the machine."""
    alone = set(_python("import sys, xarray; print(*sys.modules)").split())
    loaded = set(_python("import sys, deepspot_scale; print(*sys.modules)").split())
    assert loaded - alone == {"deepspot_scale", "deepspot_scale.accessor"}


@pytest.mark.parametrize("name", deepspot_scale.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(deepspot_scale, name).__doc__
    assert name in dir(deepspot_scale)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'enhence'"):
        deepspot_scale.enhence  # noqa: B018 - asking is what is tested


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ({"deepspot-scale": "1"}, "1"),
        ({"deepspot-scale-run": "2"}, "2"),
        ({"deepspot-scale": "2", "deepspot-scale-run": "2"}, "2"),
        (
            {"deepspot-scale": "1", "deepspot-scale-run": "2"},
            "1 of deepspot-scale, 2 of deepspot-scale-run",
        ),
    ],
)
def test_the_version_is_that_of_what_was_installed(
    versions: dict[str, str],
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, version in versions.items():
        about = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        about.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (about / "METADATA").write_text(text)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert deepspot_scale.__version__ == expected
    assert installed_versions(["deepspot-scale"]) == {"deepspot-scale": expected}
    first = next(iter(versions))
    assert install_line("queue") == f"pip install '{first}[queue]'"
