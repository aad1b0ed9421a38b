import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deepspot_scale.errors import PlateError, RunError, SettingsError
from deepspot_scale.io.image_files.annotated_images import read_annotated
from deepspot_scale.simulation import SIMULATORS, simulate_image
from deepspot_scale.simulation.stacks import StackKind, simulate_stack
from deepspot_scale.training.image_sets import (
    store_counts,
    write_simulated_set,
    write_simulated_stacks,
)

SIZE = 48


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_set_whose_objects_do_not_all_count_is_not_written(tmp_path):
    with pytest.raises(SettingsError, match="evaluate models on it by its name"):
        write_simulated_set(tmp_path / "set", "sites", images=2, size=SIZE)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "name", [name for name, each in SIMULATORS.items() if not each.has_uncounted]
)
def test_what_is_written_reads_as_the_same_truth(tmp_path, name):
    out = write_simulated_set(tmp_path / "set", name, images=6, size=SIZE, seed=3)
    found = read_annotated(out).images
    assert [image.name for image in found] == [f"{i:06d}.tif" for i in range(6)]
    for number, image in enumerate(found):
        truth = simulate_image(name, 3, number, size=SIZE)
        np.testing.assert_array_equal(image.points, truth.points)
        np.testing.assert_array_equal(image.snr, truth.snr)
        np.testing.assert_array_equal(image.sigma, truth.sigma)


@pytest.mark.parametrize("name", ["fixed", "var", "paper"])
def test_pixels_of_the_papers_sets_are_stored_as_they_are(tmp_path, name):
    out = write_simulated_set(tmp_path, name, images=2, size=SIZE)
    for number, image in enumerate(read_annotated(out).images):
        pixels = image.read()
        assert pixels.dtype == np.uint8
        expected = simulate_image(name, 0, number, size=SIZE).image
        np.testing.assert_array_equal(pixels, expected)


def test_pixels_of_broad_are_their_counts_rounded_once_raised_and_scaled(tmp_path):
    out = write_simulated_set(tmp_path, "broad", images=12, size=SIZE, seed=1)
    changed = json.loads((out / "set.json").read_text())["changed"]
    assert changed
    for number, image in enumerate(read_annotated(out).images):
        pixels = image.read()
        assert pixels.dtype == np.uint16
        counts = simulate_image("broad", 1, number, size=SIZE).image
        how = changed.get(image.name, {"offset": 0, "scale": 1.0})
        expected = (counts.astype(np.float64) + how["offset"]) * how["scale"]
        np.testing.assert_allclose(pixels, expected, atol=0.5)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (4, 5), elements=st.floats(-1e4, 1e6, width=32)))
def test_stored_counts_go_back_to_within_half_a_step(counts):
    stored = store_counts(counts)
    assert stored.pixels.dtype == np.uint16
    back = stored.pixels / stored.scale - stored.offset
    np.testing.assert_allclose(back, counts, atol=0.5001 / stored.scale)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (4, 5), elements=st.floats(0, 65535, width=32)))
def test_counts_that_fit_a_file_are_only_rounded(counts):
    stored = store_counts(counts)
    assert (stored.offset, stored.scale) == (0, 1.0)
    np.testing.assert_array_equal(stored.pixels, np.round(counts))


@pytest.mark.parametrize("name", ["paper", "broad"])
def test_the_same_seed_gives_the_same_bytes(tmp_path, name):
    first, second, other = (
        contents(
            write_simulated_set(tmp_path / out, name, images=3, size=SIZE, seed=seed)
        )
        for out, seed in (("a", 4), ("b", 4), ("c", 5))
    )
    assert first == second
    assert first["images/000000.tif"] != other["images/000000.tif"]


def test_a_longer_set_begins_with_the_shorter_one(tmp_path):
    short, long = (
        contents(write_simulated_set(tmp_path / str(n), "broad", images=n, size=SIZE))
        for n in (2, 4)
    )
    assert long["spots.csv"].startswith(short["spots.csv"])
    for name in ("images/000000.tif", "images/000001.tif"):
        assert long[name] == short[name]


def test_images_without_spots_survive(tmp_path):
    out = write_simulated_set(tmp_path, "broad", images=25, size=SIZE)
    empty = [image for image in read_annotated(out).images if len(image.points) == 0]
    assert empty
    for image in empty:
        truth = simulate_image("broad", 0, int(Path(image.name).stem), size=SIZE)
        assert len(truth.points) == 0
        assert image.points.shape == (0, 2)
        assert image.snr.shape == image.sigma.shape == (0,)
        assert image.read().shape == (SIZE, SIZE)


def test_a_set_of_nothing_but_noise_can_be_read(tmp_path):
    out = write_simulated_set(tmp_path, "fixed", images=2, spots=0, size=SIZE)
    assert [len(image.points) for image in read_annotated(out).images] == [0, 0]


def test_the_group_of_the_papers_images_is_their_number_of_spots(tmp_path):
    turn = write_simulated_set(tmp_path / "turn", "var", images=12, size=SIZE)
    groups = [image.group for image in read_annotated(turn).images]
    assert groups == [str(n) for n in (*range(10, 101, 10), 10, 20)]
    same = write_simulated_set(tmp_path / "same", "var", images=2, spots=7, size=SIZE)
    assert [image.group for image in read_annotated(same).images] == ["7", "7"]
    broad = write_simulated_set(tmp_path / "broad", "broad", images=9, size=SIZE)
    assert {image.group for image in read_annotated(broad).images} == {""}


def test_files_are_plain_greyscale_tiffs(tmp_path):
    out = write_simulated_set(tmp_path, "broad", images=1)
    with tifffile.TiffFile(out / "images" / "000000.tif") as file:
        page = file.pages.first
        assert len(file.pages) == 1
        assert page.shape == (256, 256)
        assert page.photometric == tifffile.PHOTOMETRIC.MINISBLACK


def test_the_set_tells_how_it_was_made(tmp_path):
    out = write_simulated_set(tmp_path, "var", images=2, spots=5, size=SIZE, seed=9)
    about = json.loads((out / "set.json").read_text())
    told = {key: about[key] for key in ("set", "images", "spots", "size", "seed")}
    assert told == {"set": "var", "images": 2, "spots": 5, "size": SIZE, "seed": 9}
    assert about["version"]


def test_progress_is_told_after_each_image(tmp_path):
    told = []
    write_simulated_set(
        tmp_path, "broad", images=3, size=SIZE, progress=lambda *n: told.append(n)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_an_interrupted_set_never_looks_finished(tmp_path):
    def stop(done: int, total: int) -> None:
        # Even after the last image.
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_simulated_set(tmp_path, "broad", images=2, size=SIZE, progress=stop)
    assert any((tmp_path / "images").iterdir())
    with pytest.raises(PlateError, match="has not finished"):
        read_annotated(tmp_path)


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        write_simulated_set(tmp_path, "broad", images=1, size=SIZE)
    assert contents(tmp_path) == {"mine.txt": b"mine"}


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "set").write_text("a file")
    with pytest.raises(RunError, match="cannot be written to"):
        write_simulated_set(tmp_path / "set", "broad", images=1, size=SIZE)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("braod", {}, "Did you mean 'broad'"),
        ("Var", {}, "Did you mean 'var'"),
        ("broad", {"spots": 50}, "draws its own number"),
        ("var", {"spots": -1}, "spots of 0 or more, got -1"),
        ("var", {"images": 0}, "images of 1 or more, got 0"),
        ("var", {"size": 15}, "size of 16 or more, got 15"),
        ("var", {"seed": -1}, "seed of 0 or more, got -1"),
    ],
)
def test_settings_that_can_not_be_are_refused_before_anything_is_written(
    tmp_path, name, options, message
):
    with pytest.raises(SettingsError, match=message):
        write_simulated_set(tmp_path / "set", name, **{"images": 1} | options)
    assert not (tmp_path / "set").exists()


STACKS = StackKind((6, 20, 24), spots=7, peak=9.0)


def test_stacks_read_as_the_pixels_and_places_that_were_drawn(tmp_path):
    out = write_simulated_stacks(tmp_path / "set", STACKS, images=3, seed=4)
    found = read_annotated(out).images
    assert len(found) == 3
    for number, image in enumerate(found):
        truth = simulate_stack(STACKS, (4, number))
        assert image.is_stack
        np.testing.assert_array_equal(image.read(), truth.image)
        np.testing.assert_array_equal(image.points, truth.points)
        np.testing.assert_array_equal(image.snr, truth.snr)
        assert image.group == "7"
    assert len({image.read().tobytes() for image in found}) == 3


def test_a_longer_set_of_stacks_begins_with_the_shorter_one(tmp_path):
    one, two = (
        write_simulated_stacks(tmp_path / str(n), STACKS, images=n) for n in (1, 2)
    )
    first = (folder / "images/000000.tif" for folder in (one, two))
    assert len({path.read_bytes() for path in first}) == 1
    about = json.loads((two / "set.json").read_text())
    assert StackKind(tuple(about["shape"]), about["spots"], about["peak"]) == STACKS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (2, 20, 20)}, "planes of 3"),
        ({"shape": (4, 20, 15)}, "size of 16"),
        ({"spots": -1}, "spots of 0"),
        ({"peak": 0.0}, "SNR above 0"),
        ({"sigma": (0.0, 1, 1)}, "sigmas above 0"),
    ],
)
def test_stacks_that_cannot_be_drawn_are_refused(tmp_path, change, message):
    with pytest.raises(SettingsError, match=message):
        write_simulated_stacks(tmp_path / "set", replace(STACKS, **change), images=1)
    assert not (tmp_path / "set").exists()
