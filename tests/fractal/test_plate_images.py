"""The plate around an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepspot_scale.errors import PlateError
from deepspot_scale.fractal.plate_images import open_image


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_of_a_plate_has_its_address_in_the_plate(
    tmp_path: Path, draw_scene: Any, write_plate: Any, version: Any
) -> None:
    scenes = {path: draw_scene(0) for path in ("B/03/0", "C/04/1")}
    target = write_plate(tmp_path / "p.zarr", scenes, version=version)
    plate, path = open_image(f"{target}/C/04/1/")
    assert (plate.source, path) == (target, "C/04/1")
    assert list(plate) == ["B/03/0", "C/04/1"]


def test_an_image_below_ordinary_folders_is_its_own(
    tmp_path: Path, draw_scene: Any, write_plate: Any
) -> None:
    target = Path(write_plate(tmp_path / "p.zarr", {"B/03/0": draw_scene(0)}))
    alone = (target / "B/03/0").rename(tmp_path / "alone.zarr")
    plate, path = open_image(alone)
    assert (plate.source, path) == (str(alone), "alone")


def test_an_image_in_a_url_has_its_plate(draw_scene: Any, write_plate: Any) -> None:
    target = write_plate("memory://fractal/p.zarr", {"B/03/0": draw_scene(0)})
    plate, path = open_image(f"{target}/B/03/0")
    assert (plate.source, path) == (target, "B/03/0")


def test_no_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PlateError, match="there is no file or folder"):
        open_image(tmp_path / "a/b/c")
