"""The command denoise: it learns from the plate, and says what it does to spots."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.cli import main
from deepspot_scale.errors import FieldError
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_plate,
    write_image,
)
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.planted_table import read_planted
from deepspot_scale.simulation import render_spots
from deepspot_scale.vocabulary import FieldAddress

FIELDS = ("B/03/0", "B/03/1", "C/04/0")
SIZE = 300


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three fields of two channels: dim light, spots, and the noise of photons."""
    path = tmp_path_factory.mktemp("plates") / "plate.zarr"
    addresses = [FieldAddress.from_path(each) for each in FIELDS]
    create_plate(path, addresses, name="noisy")
    for number, address in enumerate(addresses):
        rng = np.random.default_rng(number)
        points = rng.uniform(5, SIZE - 6, (30, 2))
        widths = np.full(30, 1.3)
        light = 100 + render_spots((SIZE, SIZE), points, np.full(30, 150.0), widths)
        image = np.stack([rng.poisson(light), rng.poisson(50, light.shape)])
        layout = ImageLayout(
            "cyx",
            image.shape,
            np.uint16,
            ("FISH", "DAPI"),
            (0.1, 0.1),
            begin_um={"y": 7.0 * number, "x": 1.0},
        )
        write_image(path, address, image.astype(np.uint16), layout)
    return path


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Give a command; returns its exit code."""

    def give(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["deepspot-scale", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return give


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, but those that say who works on it."""
    return {
        str(p): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and "lease" not in p.parts
    }


def test_a_plate_is_denoised_by_what_it_taught_and_twice_is_once(
    plate: Path,
    tmp_path: Path,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, run = tmp_path / "clean.zarr", tmp_path / "clean-denoised"
    words = ("denoise", plate, "--channel", "FISH", "--out", out, "--steps", "3")
    assert call(*words) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == str(out)
    assert "planted spots of 5 times the noise" in said.err
    weights = run / "denoiser/model/weights.safetensors"
    clean, source = open_plate(out), open_plate(plate)
    assert (tuple(clean), clean.name) == (FIELDS, "noisy, denoised")
    for path in FIELDS:
        field, raw = clean.open(path), source.open(path)
        assert (field.channels, field.dtype) == (("FISH",), np.float32)
        assert field.pixel_size_um == raw.pixel_size_um
        assert field.image.origin_um == raw.image.origin_um
        image = xr.DataArray(raw.read(), dims=("y", "x"))
        expected = ds.denoise(image, model=str(weights)).to_numpy()
        np.testing.assert_array_equal(field.read(), expected)
        assert np.std(expected) < np.std(image)
    table = read_planted(Folder(str(run)))
    assert table is not None
    assert (table["n_planted"] > 100).all()
    assert (table["recall_raw"].diff().dropna() >= 0).all()
    assert table["recall_raw"].iloc[-1] > 0.95
    page = (run / "report.html").read_text("utf-8")
    assert "Planted spots" in page
    before = {**files_in(run), **files_in(out)}
    assert call(*words) == 0
    assert "holds all of them already" in capsys.readouterr().err
    after = {**files_in(run), **files_in(out)}
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []


@pytest.fixture(scope="module")
def blur(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a network that takes all for noise: it answers with the mean."""
    from deepspot_scale.kernels.denoising import ABOUT, Denoising
    from deepspot_scale.networks.denoiser import Architecture
    from deepspot_scale.networks.families import DENOISER
    from deepspot_scale.networks.weights import write_weights

    architecture = Architecture(filters=1)
    built = DENOISER.build(architecture)
    arrays = [np.zeros(array.shape, np.float32) for array in built.get_weights()]
    path = tmp_path_factory.mktemp("models") / "blur.safetensors"
    about = {ABOUT: Denoising(100.0, 12.0).to_text()}
    write_weights(path, arrays, architecture, family=DENOISER, about=about)
    return str(path)


def test_weights_that_eat_spots_are_warned_of_and_more_wells_may_follow(
    plate: Path,
    blur: str,
    tmp_path: Path,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "clean.zarr"
    words = ("denoise", plate, "--channel", "FISH", "--out", out, "--model", blur)
    notify = f'echo "$DEEPSPOT_MESSAGE" > {tmp_path / "told"}'
    assert call(*words, "--wells", "C04", "--notify", notify) == 0
    assert (tmp_path / "told").read_text() == f"deepspot-scale: done: {out}\n"
    said = capsys.readouterr().err
    assert "warning: removing noise loses spots" in said
    assert "15 times the noise" in said.split("warning: ")[-1]
    assert tuple(open_plate(out)) == FIELDS[2:]
    assert not (tmp_path / "clean-denoised/denoiser/model").exists()
    page = (tmp_path / "clean-denoised/report.html").read_text("utf-8")
    assert "removing noise loses spots" in page
    assert call(*words) == 0
    assert tuple(open_plate(out)) == FIELDS
    other = ("denoise", plate, "--channel", "DAPI", "--out", out, "--model", blur)
    capsys.readouterr()
    assert call(*other) == 2
    assert "add --overwrite" in capsys.readouterr().err


def test_a_field_that_fails_is_listed_named_and_has_no_image(
    plate: Path,
    blur: str,
    tmp_path: Path,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken, out = tmp_path / "broken.zarr", tmp_path / "clean.zarr"
    shutil.copytree(plate, broken)
    shutil.rmtree(broken / "B/03/1/0/c")  # its pixels are lost
    words = ("denoise", broken, "--channel", "FISH", "--out", out, "--model", blur)
    assert call(*words) == 3
    said = capsys.readouterr().err
    assert "windows were left out, as more than 5%" in said
    assert f"B/03/1 failed and has no image in {out}" in said
    clean = open_plate(out)
    assert tuple(clean) == FIELDS
    assert clean.open("B/03/0").read().shape == (SIZE, SIZE)
    with pytest.raises(FieldError, match="B/03/1"):
        clean.open("B/03/1")


@pytest.mark.parametrize(
    ("channel", "out", "reason"),
    [
        ("FISH", "clean", "ending in .zarr"),
        ("FISH", "memory://a.zarr", "not on a local disk"),
        ("FISCH", "clean.zarr", "Did you mean 'FISH'"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    plate: Path,
    tmp_path: Path,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    *,
    channel: str,
    out: str,
    reason: str,
) -> None:
    place = out if "://" in out else tmp_path / out
    assert call("denoise", plate, "--channel", channel, "--out", place) != 0
    assert not list(tmp_path.rglob("*.tif"))
    assert reason in capsys.readouterr().err


def test_a_plate_that_is_there_is_never_replaced_unasked(
    plate: Path,
    blur: str,
    call: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    mine = tmp_path / "mine.zarr"
    create_plate(mine, [FieldAddress("B", "03", "0")])
    before = files_in(mine)
    words = ("denoise", plate, "--channel", "FISH", "--out", mine, "--model", blur)
    assert call(*words, "--overwrite") == 2
    assert "is no denoised plate" in capsys.readouterr().err
    assert files_in(mine) == before


def test_the_planes_of_a_stack_are_kept_or_become_one(
    blur: str, tmp_path: Path, call: Callable[..., int]
) -> None:
    plate, address = tmp_path / "deep.zarr", FieldAddress("B", "03", "0")
    image = np.random.default_rng(0).poisson(100, (1, 3, 90, 70)).astype(np.uint16)
    create_plate(plate, [address])
    layout = ImageLayout(
        "czyx", image.shape, np.uint16, ("FISH",), (0.1, 0.1), z_step_um=0.3
    )
    write_image(plate, address, image, layout)
    for project, n_z, step in (("none", 3, 0.3), ("max", 1, None)):
        out = tmp_path / f"{project}.zarr"
        words = ("denoise", plate, "--channel", "FISH", "--out", out, "--model", blur)
        assert call(*words, "--project", project) == 0
        field = open_plate(out).open(address.path)
        assert (field.n_z, field.image.spacing_um.get("z")) == (n_z, step)
        assert field.shape_yx == (90, 70)
