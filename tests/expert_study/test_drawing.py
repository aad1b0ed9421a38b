"""Images of a study are spread over the plate, and none is there twice."""

import warnings
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.errors import InputWarning, StudyError
from deepspot_scale.expert_study.drawing import Asked, draw_study, places_of
from deepspot_scale.io.plate import Plate, open_plate
from deepspot_scale.io.study_folder import list_images, read_image, read_study

PATHS = ("A/01/0", "A/01/1", "B/02/0", "B/02/1", "C/03/0")
ASKED = Asked(images=12, channel="FISH", size=32)


@pytest.fixture(scope="module")
def plate(tmp_path_factory, draw_scene, write_plate) -> Plate:
    """Five fields of 128 x 160 pixels in three wells: 20 places of 32 in each."""
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    return open_plate(write_plate(tmp_path_factory.mktemp("plate") / "p.zarr", scenes))


def test_images_are_the_pixels_of_the_plate_with_their_size(
    plate: Plate, tmp_path: Path
) -> None:
    study = draw_study(plate, tmp_path, ASKED)
    assert read_study(tmp_path) == study
    paths = list_images(tmp_path)
    assert paths.keys() == study.images.keys()
    for name, at in study.images.items():
        field = plate.open(at.field)
        window = (slice(at.y, at.y + 32), slice(at.x, at.x + 32))
        pixels = field.read(channel=1, window=window)
        np.testing.assert_array_equal(read_image(paths[name]), pixels)
        assert at.channel == "FISH"
        assert at.field.replace("/", "").startswith(at.well)


def test_wells_and_their_fields_take_turns(plate: Plate, tmp_path: Path) -> None:
    study = draw_study(plate, tmp_path, ASKED)
    wells = Counter(at.well for at in study.images.values())
    assert wells == {"A01": 4, "B02": 4, "C03": 4}
    fields = Counter(at.field for at in study.images.values())
    assert fields["A/01/0"] == fields["A/01/1"] == 2


def test_no_two_images_show_one_piece_of_a_field(plate: Plate, tmp_path: Path) -> None:
    study = draw_study(plate, tmp_path, replace(ASKED, images=100))
    for a, b in combinations(study.images.values(), 2):
        apart = abs(a.y - b.y) >= 32 or abs(a.x - b.x) >= 32
        assert a.field != b.field or apart


def test_a_seed_draws_the_same_images_and_another_one_others(
    plate: Plate, tmp_path: Path
) -> None:
    studies = [
        draw_study(plate, tmp_path / name, replace(ASKED, seed=seed))
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert studies[0] == studies[1]
    for name, path in list_images(tmp_path / "a").items():
        assert path.read_bytes() == (tmp_path / f"b/images/{name}.tif").read_bytes()
    assert studies[0].images != studies[2].images


def test_too_few_places_are_an_error_that_says_how_many_and_leaves_no_image(
    plate: Plate, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match=r"has 100 places of 32 x 32 .* 101 images"):
        draw_study(plate, tmp_path, replace(ASKED, images=101))
    assert list_images(tmp_path) == {}
    with pytest.raises(StudyError, match=r"has 0 places.*5 fields are smaller"):
        draw_study(plate, tmp_path, replace(ASKED, size=300))


def test_fields_that_cannot_be_read_are_warned_of(
    tmp_path: Path, draw_scene, write_plate
) -> None:
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    target = write_plate(tmp_path / "p.zarr", scenes)
    (Path(target) / "A/01/1/zarr.json").write_text("{")
    with pytest.warns(InputWarning, match="no image was drawn from field A/01/1"):
        study = draw_study(open_plate(target), tmp_path / "s", ASKED)
    assert len(study.images) == 12
    assert "A/01/1" not in {at.field for at in study.images.values()}


def test_places_of_one_value_are_left_out_and_counted(
    tmp_path: Path, draw_scene, write_plate
) -> None:
    scene = draw_scene(0)
    scene.image[:, 64:] = 7
    plate = open_plate(write_plate(tmp_path / "p.zarr", {"A/01/0": scene}))
    with (
        pytest.warns(InputWarning, match=r"\d+ places were left out"),
        pytest.raises(StudyError, match=r"places show one value"),
    ):
        draw_study(plate, tmp_path / "s", replace(ASKED, images=20))


def test_the_same_command_takes_a_study_up_and_another_one_is_refused(
    plate: Plate, tmp_path: Path
) -> None:
    study = draw_study(plate, tmp_path, replace(ASKED, experts=("anna",)))
    again = draw_study(plate, tmp_path, replace(ASKED, experts=("ben",)))
    assert again == replace(study, experts=("anna", "ben"))
    assert read_study(tmp_path) == again
    for other in (replace(ASKED, seed=1), replace(ASKED, images=3)):
        with pytest.raises(StudyError, match="another"):
            draw_study(plate, tmp_path, other)


def test_planes_of_a_stack_are_drawn_or_projected(
    tmp_path: Path, draw_scene, write_plate
) -> None:
    scene = draw_scene(0)
    stack = np.stack([scene.image, scene.image + 1000], axis=1)
    deep = replace(scene, image=stack)
    target = write_plate(tmp_path / "p.zarr", {"A/01/0": deep}, masks=())
    plate = open_plate(target)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        planes = draw_study(plate, tmp_path / "a", ASKED)
        tops = draw_study(plate, tmp_path / "b", replace(ASKED, project="max"))
    assert {at.z for at in planes.images.values()} == {0, 1}
    assert {at.z for at in tops.images.values()} == {"max"}
    (path, *_) = list_images(tmp_path / "b").values()
    assert read_image(path).min() >= 1000


def test_places_of_a_field_fit_and_fill_it() -> None:
    places = places_of((130, 97), 32, np.random.default_rng(0))
    assert len(set(places)) == 4 * 3
    assert all(0 <= y <= 130 - 32 and 0 <= x <= 97 - 32 for y, x in places)
