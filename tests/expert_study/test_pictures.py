"""Images are shown as PNG, spread between two quantiles."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from deepspot_scale.errors import FieldError
from deepspot_scale.expert_study.pictures import Pictures, draw_picture


def decoded(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)


def test_grey_values_between_the_quantiles_are_spread_and_outliers_cut() -> None:
    pixels = np.linspace(1000, 3000, 10_000).reshape(100, 100)
    pixels[0, 0], pixels[0, 1] = 60_000, 0
    picture = draw_picture(pixels.astype(np.uint16))
    shown = decoded(picture.png)
    assert shown.shape == (100, 100)
    assert shown.dtype == np.uint8
    assert (shown[0, 0], shown[0, 1]) == (255, 0)
    assert picture.low == pytest.approx(1002, abs=2)
    assert picture.high == pytest.approx(2998, abs=2)
    assert int(shown[50, 50]) == pytest.approx(128, abs=2)


@pytest.mark.parametrize("value", [7.0, np.nan])
def test_a_flat_image_and_one_without_values_are_black(value: float) -> None:
    shown = decoded(draw_picture(np.full((8, 8), value, np.float32)).png)
    assert not shown.any()


def test_a_picture_is_drawn_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.arange(64, dtype=np.uint16).reshape(8, 8))
    pictures = Pictures()
    first = pictures.draw(path)
    path.unlink()
    assert pictures.draw(path) is first
    with pytest.raises(FieldError):
        Pictures().draw(path)
