"""The benchmarks run, on small sizes; they are timed only on request:

pytest benchmarks --benchmark-enable
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.throughput import __main__ as command
from benchmarks.throughput.engine import authors_way
from benchmarks.throughput.flops import flops_per_pixel
from benchmarks.throughput.plates import draw_field, write_fields, write_mosaic
from benchmarks.throughput.plots import draw
from benchmarks.throughput.runs import NO_WORK, WITH_CELLS, prepare
from benchmarks.throughput.standins import Resting, identity
from deepspot_scale.execution.field import run_field, run_fields
from deepspot_scale.io.plate import open_plate
from deepspot_scale.networks import caso_fast
from deepspot_scale.networks.caso_resnet import Architecture
from deepspot_scale.networks.families import CASO_FAST, CASO_RESNET
from deepspot_scale.testing import check_engine


def test_the_stand_in_keeps_the_contract_of_engines() -> None:
    check_engine(identity)


@pytest.mark.parametrize("size", [64, 256])
def test_a_field_without_network(benchmark, tmp_path: Path, size: int) -> None:
    plate = write_fields(tmp_path / "plate", 2, size)
    run = prepare(plate, tmp_path / "run", engine=NO_WORK["engine"], **WITH_CELLS)
    (answer,) = benchmark(run_field, run.tasks[0], run.job.settings, run.job.pipeline)
    assert len(answer.tables["spots"]) > 0
    assert len(answer.tables["cells"]) == (size // 256 or 1) ** 2


def test_tiny_fields_side_by_side(benchmark, tmp_path: Path) -> None:
    plate = write_fields(tmp_path / "plate", 6, 64, labels=False)
    run = prepare(plate, tmp_path / "run", **NO_WORK)
    ends = benchmark(run_fields, run.tasks, run.job.settings, run.job.pipeline)
    assert [len(end.answer) for end in ends] == [1] * 6


def test_a_mosaic_is_written_tile_by_tile(tmp_path: Path) -> None:
    field = open_plate(write_mosaic(tmp_path / "plate", 600, tile=512)).open("A/01/0")
    pixels = field.read()
    assert pixels.shape == (600, 600)
    np.testing.assert_array_equal(pixels[:512, :512], draw_field(512)[0])
    assert (pixels > 0).all()


def test_the_authors_way_sees_every_patch_once() -> None:
    class Counting(Resting):
        seen = 0.0

        def predict(self, batch):
            type(self).seen += batch.sum()
            return batch

    counts = np.ones((512, 512), np.uint16)
    authors_way(Counting(0.0), counts)()
    assert Counting.seen == 512 * 512


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("words", "n_rows", "column"),
    [
        ("plumbing --fields 2 --tiny 3 --workers 1", 2, "images_per_s"),
        ("scaling --numbers 2 --per-worker 1", 1, "efficiency"),
        ("growth --numbers 1 --sizes 600 --workers 1", 2, "peak_bytes"),
        ("endtoend --size 256 --fields 2 --rounds 1 --workers 1", 2, "ratio_to_bare"),
        ("stages --size 256", 7, "share_detect_and_cells"),
        ("engine --size 256", 1, "share_of_product"),
    ],
)
def test_each_command_keeps_its_rows(
    tmp_path: Path, words: str, n_rows: int, column: str
) -> None:
    out = tmp_path / "rows.jsonl"
    command.main([*words.split(), "--out", str(out)])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) >= n_rows
    assert rows[-1][column] > 0
    for row in rows:
        assert row["machine"]["cores"] >= 1
        assert row["seconds"] > 0


@pytest.mark.cluster
def test_peers_that_are_not_here_say_why() -> None:
    from benchmarks.throughput.engine import time_peers

    lines = [row for row in time_peers(64, None) if isinstance(row, str)]
    assert any(
        "U-FISH: not installed" in line or "U-FISH: skipped" in line for line in lines
    )


def test_rows_are_drawn(tmp_path: Path) -> None:
    rows = Path(__file__).parent / "results/throughput.jsonl"
    picture = draw(rows, tmp_path / "new")
    assert picture.read_bytes().startswith(b"\x89PNG")


UPS = ((7, 3, 2), (4, 3, 2), (5, 2, 3))


@pytest.mark.parametrize(
    ("family", "uneven"),
    [
        (CASO_RESNET, Architecture(blocks=2, stems=(3, 4, 5), filters=6, up=UPS)),
        (CASO_FAST, caso_fast.Architecture(3, 5, 4, (1, 2))),
    ],
    ids=["caso_resnet", "caso_fast"],
)
def test_counted_work_is_that_of_the_layers_that_are_built(family, uneven) -> None:
    keras = pytest.importorskip("keras")
    given = keras.Input((64, 64, 1))
    model = keras.models.clone_model(family.build(uneven), input_tensors=given)
    products = 0
    for layer in model.layers:
        if not hasattr(layer, "kernel"):
            continue
        # Each pixel of the smaller side meets the whole kernel once.
        sides = (layer.input.shape[1:3], layer.output.shape[1:3])
        products += np.prod(min(sides)) * np.prod(layer.kernel.shape)
    assert flops_per_pixel(uneven) == 2 * products / 64**2


def test_the_published_network_has_336_000_operations_a_pixel() -> None:
    assert flops_per_pixel(Architecture()) == 336_720
