"""Windows of a plate to learn from: spread, apart, the same each time, all counted."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.errors import FieldError, RunError
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_plate,
    write_image,
)
from deepspot_scale.io.plate import Plate, open_plate
from deepspot_scale.training.plate_sample import (
    LEARN,
    PLANTED,
    plate_recipe,
    read_windows,
    take_sample,
)
from deepspot_scale.vocabulary import FieldAddress

WELLS = ("B/02", "B/03", "C/02")
SIZE = 640


def write(path: Path, images: dict[str, np.ndarray], axes: str = "cyx") -> Plate:
    addresses = {FieldAddress.from_path(each): each for each in images}
    create_plate(path, list(addresses))
    for address, name in addresses.items():
        image = images[name]
        n = image.shape[axes.index("c")]
        layout = ImageLayout(axes, image.shape, image.dtype, ("DAPI", "FISH")[:n])
        write_image(path, address, image, layout)
    return open_plate(path)


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Plate:
    """Two fields in each of three wells; DAPI is brighter than any FISH."""
    rng = np.random.default_rng(0)
    images = {}
    for well in WELLS:
        for number in range(2):
            image = rng.poisson([[[900]], [[100]]], (2, SIZE, SIZE)).astype(np.uint16)
            images[f"{well}/{number}"] = image
    return write(tmp_path_factory.mktemp("plates") / "plate.zarr", images)


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "windows.csv").read_text().splitlines()))


def test_windows_are_of_all_wells_one_channel_and_apart(
    plate: Plate, tmp_path: Path
) -> None:
    sample = take_sample(plate, tmp_path, channel="FISH", project="none")
    learned, held = (read_windows(tmp_path, use) for use in (LEARN, PLANTED))
    assert (len(learned), len(held)) == (sample.n_learn, sample.n_planted) == (96, 12)
    assert {w.shape for w in learned} == {(128, 128)}
    assert {w.shape for w in held} == {(256, 256)}
    assert max(w.max() for w in (*learned, *held)) < 300
    assert sample.apart
    counts = Counter(r["field"][:4] for r in rows(tmp_path) if r["use"] == LEARN)
    assert set(counts) == set(WELLS)
    assert min(counts.values()) >= 20
    taken = {path: np.zeros((SIZE, SIZE), int) for path in plate}
    for row in rows(tmp_path):
        edge, bit = (128, 1) if row["use"] == LEARN else (256, 2)
        y, x = int(row["y"]), int(row["x"])
        taken[row["field"]][y : y + edge, x : x + edge] |= bit
    assert max(seen.max() for seen in taken.values()) == 2  # never both
    whole = plate.open(rows(tmp_path)[0]["field"]).read(channel=1)
    y, x = (int(rows(tmp_path)[0][axis]) for axis in "yx")
    first = read_windows(tmp_path, rows(tmp_path)[0]["use"])[0]
    np.testing.assert_array_equal(first, whole[y : y + len(first), x : x + len(first)])


def test_the_same_seed_gives_the_same_bytes_and_a_sample_is_taken_once(
    plate: Plate, tmp_path: Path
) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        folder = tmp_path / name
        take_sample(plate, folder, channel="FISH", project="none", seed=seed)
    one, same, other = (
        {
            p.relative_to(tmp_path / n): p.read_bytes()
            for p in (tmp_path / n).rglob("*.*")
        }
        for n in "abc"
    )
    assert one == same
    assert one != other
    (tmp_path / "a" / "windows.csv").unlink()  # would be written again
    again = take_sample(plate, tmp_path / "a", channel="FISH", project="none")
    assert again.n_learn == 96
    assert not (tmp_path / "a" / "windows.csv").exists()
    with pytest.raises(RunError, match="another channel: 'FISH', not 'DAPI'"):
        take_sample(plate, tmp_path / "a", channel="DAPI", project="none")


def test_a_sample_that_was_killed_is_taken_again(plate: Plate, tmp_path: Path) -> None:
    take_sample(plate, tmp_path / "a", channel="FISH", project="none")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b/sample.json").unlink()
    (tmp_path / "b/learn/0003.tif").write_bytes(b"half")
    take_sample(plate, tmp_path / "b", channel="FISH", project="none")
    for file in (tmp_path / "a").rglob("*.*"):
        twin = tmp_path / "b" / file.relative_to(tmp_path / "a")
        assert twin.read_bytes() == file.read_bytes()


def test_what_is_left_out_is_counted_and_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    good = rng.poisson(100, (1, SIZE, SIZE)).astype(np.float32)
    black, broken = np.zeros_like(good), good.copy()
    broken[:, ::50, ::50] = np.nan
    images = {"B/02/0": good, "B/03/0": black, "B/04/0": broken, "B/05/0": good}
    write(tmp_path / "p.zarr", images)
    shutil.rmtree(tmp_path / "p.zarr/B/05/0")
    plate = open_plate(tmp_path / "p.zarr")
    sample = take_sample(plate, tmp_path / "s", channel="DAPI", project="none")
    assert {row["field"] for row in rows(tmp_path / "s")} == {"B/02/0"}
    assert sample.n_flat > 3
    assert sample.n_not_finite > 3
    assert list(sample.failed) == ["B/05/0"]
    said = "\n".join(sample.describe())
    for words in (f"{sample.n_flat} windows were left out", "NaN", "field B/05/0:"):
        assert words in said


def test_a_plate_of_nothing_but_black_is_an_error_that_says_so(tmp_path: Path) -> None:
    images = {"B/02/0": np.zeros((1, 64, 64), np.uint16)}
    plate = write(tmp_path / "p.zarr", images)
    with pytest.raises(FieldError, match="0 windows of channel DAPI"):
        take_sample(plate, tmp_path / "s", channel="DAPI", project="none")


def test_a_small_plate_is_learned_from_whole_and_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = {"B/02/0": rng.poisson(100, (1, 200, 260)).astype(np.uint16)}
    plate = write(tmp_path / "p.zarr", images)
    sample = take_sample(plate, tmp_path / "s", channel="DAPI", project="none")
    assert not sample.apart
    assert "too small to keep windows apart" in "\n".join(sample.describe())


@pytest.mark.parametrize("project", ["none", "max", "mean"])
def test_stacks_are_drawn_as_the_run_sees_them(tmp_path: Path, project: str) -> None:
    rng = np.random.default_rng(0)
    image = rng.poisson(100, (1, 4, SIZE, SIZE)).astype(np.uint16)
    plate = write(tmp_path / "p.zarr", {"B/02/0": image}, "czyx")
    sample = take_sample(plate, tmp_path / "s", channel="DAPI", project=project)  # type: ignore[arg-type]  # the three words
    assert sample.n_learn == 96
    planes = {row["z"] for row in rows(tmp_path / "s")}
    assert planes == ({"0", "1", "2", "3"} if project == "none" else {project})
    stack = {"none": image[0], "max": image[0].max(0)[None]}.get(
        project, image[0].mean(0, dtype=np.float32)[None]
    )
    row = next(r for r in rows(tmp_path / "s") if r["use"] == LEARN)
    y, x = int(row["y"]), int(row["x"])
    z = int(row["z"]) if project == "none" else 0
    np.testing.assert_array_equal(
        read_windows(tmp_path / "s", LEARN)[0], stack[z, y : y + 128, x : x + 128]
    )


def test_the_recipe_learns_from_the_windows_alone(tmp_path: Path) -> None:
    recipe = plate_recipe(tmp_path, steps=7, doubt=2.0, seed=3)
    assert [part.source for part in recipe.mixture] == [str(tmp_path / "learn")]
    assert (recipe.family, recipe.steps, recipe.seed) == ("denoiser", 7, 3)
    assert recipe.blind.doubt == 2.0
