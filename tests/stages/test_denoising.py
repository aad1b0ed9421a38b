"""The stage denoise: blocks never show, and later stages see its image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.blockwise.contract import RunContext
from deepspot_scale.errors import FieldError, SettingsError, WeightsError
from deepspot_scale.kernels.denoising import ABOUT, Denoising
from deepspot_scale.networks.denoiser import Architecture
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.families import DENOISER
from deepspot_scale.networks.weights import write_weights
from deepspot_scale.pipeline import find_stages
from deepspot_scale.settings import assemble, make_settings
from deepspot_scale.simulation import render_spots
from deepspot_scale.stages.denoising import DenoiseOptions, Denoiser, plan_denoise
from deepspot_scale.verbs.images import apply

SCALE = Denoising(110.0, 25.0, least=90.0, variance=-5.0, slope=1.0, doubt=1.2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights by chance, of a size at which far pixels matter."""
    pytest.importorskip("keras")
    architecture, rng = Architecture(filters=3), np.random.default_rng(0)
    arrays = [
        rng.normal(0, 1 / np.sqrt(max(1, np.prod(a.shape[:-1]))), a.shape)
        for a in DENOISER.build(architecture).get_weights()
    ]
    path = tmp_path_factory.mktemp("models") / "clean.safetensors"
    about = {ABOUT: SCALE.to_text()}
    write_weights(path, arrays, architecture, family=DENOISER, about=about)
    return path


def noisy(shape: tuple[int, ...], seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    points = rng.uniform(4, np.array(shape[-2:]) - 5, (20, 2))
    light = 100 + render_spots(shape[-2:], points, np.full(20, 150.0), np.full(20, 1.3))
    counts = rng.poisson(np.broadcast_to(light, shape)).astype(np.uint16)
    return xr.DataArray(counts, dims=("t", "c", "y", "x")[-len(shape) :])


@pytest.mark.parametrize("block", [100, 128, 200])
@pytest.mark.parametrize("shape", [(131, 210), (64, 200)])
def test_no_block_size_changes_a_pixel(
    model: Path, block: int, shape: tuple[int, int]
) -> None:
    image = noisy(shape)
    engine = EngineChoice(str(model), precision="float32", device="cpu")
    whole = ds.denoise(image, model=str(model), engine=engine, block=512)
    blocks = ds.denoise(image, model=str(model), engine=engine, block=block)
    assert np.ptp(whole.to_numpy()) > 1
    np.testing.assert_array_equal(blocks, whole)


def test_too_small_a_halo_would_show(model: Path) -> None:
    image = noisy((128, 160))
    engine = EngineChoice(str(model), precision="float32", device="cpu")
    method = Denoiser.of(engine)
    assert method.halo % method.grid == 0
    short = replace(method, halo=8)
    pairs = [(each, block) for each in (method, short) for block in (100, 512)]
    answers = [apply_denoiser(each, image, block) for each, block in pairs]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.abs(answers[2] - answers[3]).max() > 2e-3


def apply_denoiser(method: Denoiser, image: xr.DataArray, block: int) -> np.ndarray:
    from deepspot_scale.blockwise.answers import DENOISED
    from deepspot_scale.blockwise.lifting import lift_plane
    from deepspot_scale.blockwise.planning import plan_pipeline

    works = {"denoise": method.work()}
    pipeline = plan_pipeline(works, wanted=(DENOISED,), block=block)
    return np.asarray(lift_plane(pipeline, {"image": image}).layers["denoised"])


def test_each_plane_is_an_image_of_its_own_and_nothing_is_computed_before(
    model: Path, forbid_computing: Any, here_and_now: Any
) -> None:
    image = noisy((2, 2, 40, 56))
    with forbid_computing:
        lazy = image.chunk(y=13).deepspot.denoise(model=str(model))
    clean = lazy.compute()
    assert (clean.dims, clean.dtype) == (image.dims, np.float32)
    alone = ds.denoise(image[1, 0], model=str(model))
    xr.testing.assert_equal(clean[1, 0], alone)


def test_later_stages_take_the_denoised_image(model: Path) -> None:
    names = {"channels": ("0",), "denoise": True, "denoiser": str(model)}
    for enhance in (True, False):
        pipeline = assemble(make_settings(enhance=enhance, **names))
        reads: dict[str, set[str]] = {}
        for round_ in pipeline.rounds:
            for each in round_.steps:
                reads.setdefault(each.step.gives.name, set()).update(each.step.reads)
        assert reads["denoised"] == {"image"}
        assert reads["measured_range"] == {"denoised"}
        if enhance:
            assert reads["enhanced"] == {"scaled"}
            assert reads["scaled"] == {"denoised"}
        else:
            assert "denoised" in reads["survey"] | reads["candidates"]


def test_a_run_denoises_then_enhances_then_finds_spots(model: Path) -> None:
    image = noisy((96, 128)).expand_dims(c=["FISH"])
    settings = make_settings(
        channels=("FISH",), denoise=True, denoiser=str(model), quality=False
    )
    stages = {stage.name: stage for stage in find_stages()}
    wanted = ("denoise", "brightness", "enhance", "detect")
    chosen = {stages[n]: settings.options[n] for n in wanted if n in stages}
    assert "spots" in apply(chosen, image)


def test_unfit_requests_are_named_errors(model: Path, tmp_path: Path) -> None:
    names = {"channels": ("0",), "denoise": True}
    with pytest.raises(SettingsError, match="no denoiser for every camera"):
        assemble(make_settings(**names))
    with pytest.raises(SettingsError, match="removes no noise"):
        assemble(make_settings(**names, denoiser="deepspot-fast"))
    with pytest.raises(SettingsError, match="neither on volumes"):
        make_settings(**names, denoiser=str(model), volume=True)
    options = DenoiseOptions(use=True, denoiser=str(model))
    with pytest.raises(SettingsError, match="the image is averaged"):
        plan_denoise(options, RunContext(image="averaged"))
    bare = tmp_path / "bare.safetensors"
    write_weights(bare, [], Architecture(), family=DENOISER)
    with pytest.raises(WeightsError, match="how bright its training images were"):
        ds.denoise(noisy((40, 40)), model=str(bare))
    broken = noisy((40, 40)).astype(np.float32)
    broken[3, 4] = np.nan
    with pytest.raises(FieldError, match="NaN or infinite"):
        ds.denoise(broken, model=str(model)).compute()


def test_a_field_of_another_exposure_is_counted(model: Path) -> None:
    known = replace(SCALE, darkest=0.0, brightest=400.0)
    method = replace(Denoiser.of(EngineChoice(str(model), device="cpu")), scale=known)
    image = noisy((64, 80))
    bright = image.copy(data=image.to_numpy() + np.uint16(500))
    for given, expected in ((image, 0), (bright, bright.size)):
        assert n_beyond(method, given) == expected


def n_beyond(method: Denoiser, image: xr.DataArray) -> int:
    from deepspot_scale.blockwise.planning import plan_pipeline
    from deepspot_scale.blockwise.rounds import reduce_rounds

    class Stored:
        def __call__(self, _: str, box: Any) -> np.ndarray:
            return image.to_numpy()[box.slices]

        def has(self, name: str) -> bool:
            return name == "image"

        def dtype(self, _: str) -> np.dtype:
            return image.dtype

    work = method.work()
    pipeline = plan_pipeline({"denoise": replace(work, steps=work.steps[1:])}, block=64)
    blocks = pipeline.blocks(image.shape)
    answers = reduce_rounds(pipeline, blocks, Stored())
    (count,) = pipeline.counts
    return count.count(answers[count.of])
