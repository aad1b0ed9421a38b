import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.normalisation import Scale
from deepspot_scale.training.augmentation import TURNED, Augmentation
from deepspot_scale.training.patches import (
    STAMP,
    BatchShare,
    PatchSettings,
    black_target,
    cut_patches,
    draw_batch,
    draw_validation,
    image_target,
    iter_ahead,
    iter_batches,
    stamp_target,
)
from deepspot_scale.training.scenes import Scene, Simulated

PLAIN = PatchSettings(16, how=TURNED)
SHARES = (
    BatchShare(Simulated("var", (3, 9), 32), 2, PatchSettings(16)),
    BatchShare(Simulated("broad", size=32), 5, PatchSettings(16)),
)


class Fixed:
    """One image, of which every pixel is another number."""

    cuts = 4

    def __init__(self, shape=(24, 40), points=()):
        self.image = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        self.points = np.reshape(points, (-1, 2)).astype(float)

    def draw(self, rng):
        return Scene(self.image, self.points, Scale(0.0, self.image.max() / 5))


def slow_target(points, shape):
    expected = np.zeros(shape, np.float32)
    for row, column in np.round(np.reshape(points, (-1, 2))).astype(int):
        for (i, j), value in np.ndenumerate(STAMP.astype(np.float32)):
            y, x = row + i - 1, column + j - 1
            if 0 <= y < shape[0] and 0 <= x < shape[1]:
                expected[y, x] = max(expected[y, x], value)
    return expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-4, 24), st.floats(-4, 19)), max_size=12))
def test_the_target_has_a_stamp_at_every_spot_and_is_black_elsewhere(points):
    target = stamp_target(np.reshape(points, (-1, 2)), (20, 15))
    np.testing.assert_array_equal(target, slow_target(points, (20, 15)))
    assert target.dtype == np.float32


def test_the_target_of_no_spots_is_black():
    assert not stamp_target(np.zeros((0, 2)), (16, 16)).any()


def test_the_papers_target_keeps_the_background_cut_to_the_range():
    image = np.full((9, 9), 0.25, np.float32)
    image[0, 0], image[8, 8] = -1, 3
    target = stamp_target(np.array([[4, 4]]), (9, 9), image)
    np.testing.assert_array_equal(target[3:6, 3:6], STAMP.astype(np.float32))
    assert (target[0, 0], target[8, 8], target[0, 8]) == (0, 1, 0.25)


@settings(max_examples=40, deadline=None)
@given(
    points=st.lists(st.tuples(st.floats(0, 23), st.floats(0, 39)), max_size=9),
    seed=st.integers(0, 999),
)
def test_a_patch_and_its_target_are_cut_turned_and_mirrored_alike(points, seed):
    source = Fixed(points=points)
    rng = np.random.default_rng(seed)
    whole = slow_target(points, source.image.shape)
    for patch, target in cut_patches(BatchShare(source, 1, PLAIN), rng, 4):
        # Each pixel's number says where it was cut from.
        number = np.round(patch[..., 0] * source.image.max() / 5).astype(int)
        np.testing.assert_array_equal(target[..., 0], whole.ravel()[number])
        assert len(np.unique(number)) == 16 * 16


def test_patches_come_in_all_eight_positions():
    rng = np.random.default_rng(0)
    share = BatchShare(Fixed((16, 16)), 1, PLAIN)
    seen = {patch.tobytes() for patch, _ in cut_patches(share, rng, 200)}
    assert len(seen) == 8


def test_gain_offset_and_noise_stay_within_their_bounds():
    cut = PatchSettings(16, how=Augmentation(gain=0.3, offset=0.1, noise=0.05))
    gains, offsets, noises = [], [], []
    truth = Fixed((16, 16))
    scaled = np.sort((truth.image / truth.image.max() * 5).ravel())
    for patch, _ in cut_patches(
        BatchShare(truth, 1, cut), np.random.default_rng(0), 300
    ):
        # Turns and flips are undone by the two halves' means, whatever way they lie.
        gain, offset = np.polyfit(scaled, np.sort(patch.ravel()), 1)
        gains.append(gain)
        offsets.append(offset)
        noises.append(np.std(np.sort(patch.ravel()) - (gain * scaled + offset)))
    assert np.exp(-0.31) < min(gains) < 0.8
    assert 1.25 < max(gains) < np.exp(0.31)
    assert -0.12 < min(offsets) < -0.08
    assert 0.08 < max(offsets) < 0.12
    assert max(noises) < 0.05


def test_the_target_does_not_depend_on_gain_offset_and_noise():
    source = Fixed(points=[(5, 5), (12, 30)])
    for target in (black_target, image_target):
        plain = PatchSettings(16, target, TURNED)
        loud = replace(plain, how=Augmentation(gain=0.5, offset=0.1, noise=0))
        (_, a), (_, b) = (
            next(cut_patches(BatchShare(source, 1, cut), np.random.default_rng(3), 1))
            for cut in (plain, loud)
        )
        np.testing.assert_array_equal(a, b)


def test_a_batch_holds_each_sources_share():
    white, black = Fixed((16, 16)), Fixed((16, 16))
    white.image[:] = 7
    black.image[:] = 0
    white.draw = lambda rng: Scene(white.image, white.points, Scale(0, 7))
    black.draw = lambda rng: Scene(black.image, black.points, Scale(0, 7))
    shares = (BatchShare(white, 6, PLAIN), BatchShare(black, 3, PLAIN))
    images, targets = draw_batch(shares, seed=0, step=0)
    assert images.shape == targets.shape == (9, 16, 16, 1)
    assert images.dtype == targets.dtype == np.float32
    assert images[:6].min() == 1
    assert images[6:].max() == 0


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    first = draw_batch(SHARES, seed=0, step=7)
    np.random.seed(2)  # noqa: NPY002 - as above
    draw_batch(SHARES, seed=0, step=6)
    again = draw_batch(SHARES, seed=0, step=7)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.isfinite(a).all()
    for seed, step in ((0, 8), (1, 7)):
        assert not np.array_equal(draw_batch(SHARES, seed=seed, step=step)[0], first[0])


def test_validation_patches_are_those_of_no_step():
    tried_on = draw_validation(SHARES, seed=0)[0]
    np.testing.assert_array_equal(tried_on, draw_validation(SHARES, seed=0)[0])
    steps = [draw_batch(SHARES, seed=0, step=step)[0] for step in range(4)]
    assert not any(np.array_equal(tried_on, images) for images in steps)


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_come_in_the_order_of_their_steps(threads):
    for start in (0, 4, 6):
        steps = range(start, 6)
        pool = ThreadPoolExecutor(threads)
        assert list(iter_ahead(lambda step: step, steps, pool, threads)) == [*steps]


def test_batches_that_are_given_up_leave_no_thread():
    before = threading.active_count()
    batches = iter_batches(SHARES, range(9), seed=0)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_an_error_of_a_drawing_thread_reaches_the_training():
    def draw(step):
        if step == 1:
            raise OSError("disk gone")
        return step

    batches = iter_ahead(draw, range(9), ThreadPoolExecutor(1), 1)
    assert next(batches) == 0
    with pytest.raises(OSError, match="disk gone"):
        next(batches)


def test_processes_draw_what_threads_draw():
    in_threads, in_processes = (
        list(iter_batches(SHARES, range(3, 7), seed=2, processes=n)) for n in (0, 2)
    )
    for one, other in zip(in_threads, in_processes, strict=True):
        for image, twin in zip(one, other, strict=True):
            np.testing.assert_array_equal(image, twin)


@pytest.mark.timeout(90)
def test_processes_end_with_a_training_that_is_killed(tmp_path):
    script = tmp_path / "training.py"
    script.write_text(
        "from deepspot_scale.training.patches import *\n"
        "from deepspot_scale.training.scenes import Simulated\n"
        "if __name__ == '__main__':\n"
        "    share = BatchShare(Simulated('var', (3, 9), 32), 2, PatchSettings(16))\n"
        "    batches = iter_batches((share,), range(10**6), seed=0, processes=1)\n"
        "    next(batches)\n"
        "    print('drawn', flush=True)\n"
        "    import time; time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as training:
        assert training.stdout is not None
        assert training.stdout.readline() == b"drawn\n"
        family = psutil.Process(training.pid).children(recursive=True)
        assert family
        training.kill()
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert not alive
    assert gone
