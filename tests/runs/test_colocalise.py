"""Channels compared at the end of a run: planted partners, chance, resuming, depth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from deepspot_scale import colocalise, measure_chromatic_shift
from deepspot_scale.errors import InputWarning
from deepspot_scale.exports.csv_folder import write_csv
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    write_image,
    write_labels,
)
from deepspot_scale.io.tables import Folder
from deepspot_scale.kernels.chromatic import Shift
from deepspot_scale.kernels.pairing import pair_one_to_one
from deepspot_scale.runs.prepare import Selection
from deepspot_scale.runs.results import open_results, open_run
from deepspot_scale.simulation import render_spots
from deepspot_scale.verbs.images import detect
from deepspot_scale.vocabulary import FieldAddress

SHARES = {"B/03/0": 0.5, "B/03/1": 0.5, "C/04/0": 0.0, "C/04/1": 0.0}
MOVED = np.array([1.3, -3.6])
TOGETHER = {"channels": ("A", "B"), "colocalise": ("A:B",)}


def draw_channels(seed: int, share: float, n: int = 150, edge: int = 96) -> Any:
    """Draw four cells with spots of two channels; a share of them are partners."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((2 * edge, 2 * edge))
    number = y // edge * 2 + x // edge + 1
    far = np.hypot(y % edge - edge // 2, x % edge - edge // 2)
    cells = np.where(far < 0.44 * edge, number, 0).astype(np.uint32)
    nuclei = np.where(far < 0.16 * edge, number, 0).astype(np.uint32)
    inside = np.argwhere(cells > 0)
    one, other = (inside[rng.integers(0, len(inside), n)] for _ in range(2))
    one, other = (each + rng.uniform(-0.5, 0.5, each.shape) for each in (one, other))
    other[: int(share * n)] = one[: int(share * n)]
    light = [
        render_spots(cells.shape, points, np.full(n, 900.0), np.full(n, 1.1))
        for points in (one, other + MOVED)
    ]
    image = rng.poisson(100 + np.stack(light)).astype(np.uint16)
    return SimpleNamespace(image=image, cells=cells, nuclei=nuclei, points=one)


@pytest.fixture(scope="module")
def plate(
    tmp_path_factory: pytest.TempPathFactory, write_plate: Callable[..., str]
) -> str:
    """Two wells of two fields; in the first, half of the spots have partners."""
    scenes = {
        path: draw_channels(seed, share)
        for seed, (path, share) in enumerate(SHARES.items())
    }
    target = tmp_path_factory.mktemp("channels") / "plate.zarr"
    return write_plate(target, scenes, channels=("A", "B"))


@pytest.fixture(scope="module")
def whole(
    plate: str,
    tmp_path_factory: pytest.TempPathFactory,
    run_quickly: Callable[..., Any],
) -> Any:
    """What one uninterrupted run on the plate comes to."""
    return run_quickly(plate, tmp_path_factory.mktemp("whole") / "run", **TOGETHER)


def _files(folder: Folder) -> dict[str, bytes]:
    root = folder.local_path
    names = ("pairs", "cell_pairs", "colocalisation", "chromatic_shifts")
    found = sorted(path for name in names for path in root.glob(f"{name}*/**/*"))
    found += [root / f"{name}.parquet" for name in names[2:]]
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def test_planted_partners_are_found_and_others_are_chance(whole: Any) -> None:
    run = open_run(whole.folder.url)
    (shift,) = run.summaries["chromatic_shifts"].to_dict("records")
    assert shift["how"] == "measured"
    np.testing.assert_allclose([shift["dy"], shift["dx"]], MOVED, atol=0.1)
    table = run.summaries["colocalisation"]
    wells = table[table["row"] != ""].set_index("row")
    together, apart = wells.loc["B"], wells.loc["C"]
    assert together["low"] < 0.5 < together["high"] + 0.05
    assert together["share"] > together["chance_high"] + 0.2
    assert apart["chance_low"] < apart["share"] < apart["chance_high"]
    (all_wells,) = table[table["row"] == ""].to_dict("records")
    assert all_wells["n_wells"] == 2
    for name in ("n_spots", "n_other", "n_pairs", "n_cells", "n_pairs_cells"):
        assert all_wells[name] == wells[name].sum()
    cells = run.read("cell_pairs")
    assert (cells[cells["row"] == "B"]["p_value"] < 0.05).mean() > 0.9
    assert (cells[cells["row"] == "C"]["p_value"] < 0.05).mean() < 0.4


def test_tables_agree_with_each_other(whole: Any) -> None:
    run = open_run(whole.folder.url)
    pairs, cells, spots = (run.read(n) for n in ("pairs", "cell_pairs", "spots"))
    keys = ["row", "column", "field", "cell"]
    counted = pairs[pairs["cell"] > 0].groupby(keys).size()
    listed = cells.set_index(keys)["n_pairs"]
    assert counted.to_dict() == listed[listed > 0].to_dict()
    for channel, name in (("A", "n_spots"), ("B", "n_other")):
        own = spots[(spots["channel"] == channel) & (spots["cell"] > 0)]
        assert (
            own.groupby(keys).size().to_dict() == cells.set_index(keys)[name].to_dict()
        )
    found = {*spots[["row", "field", "y", "x"]].itertuples(index=False, name=None)}
    for places in (["y", "x"], ["other_y", "other_x"]):
        rows = pairs[["row", "field", *places]].itertuples(index=False, name=None)
        assert {*rows} <= found
    gaps = pairs[["other_y", "other_x"]].to_numpy() - pairs[["y", "x"]].to_numpy()
    assert pairs["distance"].max() <= 2.0
    np.testing.assert_allclose(np.median(gaps, axis=0), MOVED, atol=0.15)
    # Pixels of the plate are 0.2 by 0.1 micrometres.
    assert (pairs["distance_um"] <= 0.2 * pairs["distance"] + 1e-9).all()
    assert (pairs["distance_um"] >= 0.1 * pairs["distance"] - 1e-9).all()


def test_a_run_in_pieces_says_the_same_to_the_last_bit(
    plate: str, whole: Any, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    run_quickly(plate, tmp_path / "run", selection=Selection(limit=1), **TOGETHER)
    run_quickly(plate, tmp_path / "run", selection=Selection(limit=3), **TOGETHER)
    again = run_quickly(plate, tmp_path / "run", **TOGETHER)
    again.assert_same(whole)
    before = _files(again.folder)
    # What an earlier end left of a part that is no more.
    (tmp_path / "run/pairs/old.parquet").write_bytes(b"stale")
    (tmp_path / "run/manifest/old.parquet").unlink(missing_ok=True)
    assert run_quickly(plate, tmp_path / "run", **TOGETHER).progress.skipped == 4
    assert _files(again.folder) == before


def test_fields_that_are_done_again_leave_no_old_pairs(
    plate: str, whole: Any, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    import shutil

    copy = Path(shutil.copytree(plate, tmp_path / "plate.zarr"))
    labels = copy / "B/03/1/labels"
    labels.rename(copy / "hidden")
    out = tmp_path / "run"
    first = run_quickly(str(copy), out, **TOGETHER)
    assert first.progress.failed == 1
    assert len(open_results(first.folder.url).read("pairs")) > 0
    (copy / "hidden").rename(labels)
    second = run_quickly(str(copy), out, retry_failed=True, **TOGETHER)
    second.assert_same(whole)


def test_a_field_without_spots_has_its_cells_and_no_pairs_of_an_earlier_end(
    tmp_path: Path, write_plate: Callable[..., str], run_quickly: Callable[..., Any]
) -> None:
    dark, light = draw_channels(0, 0.5), draw_channels(1, 0.5)
    dark.image = np.full_like(dark.image, 100)
    scenes, names = {"B/03/0": dark, "B/03/1": light}, ("A", "B")
    plate = write_plate(tmp_path / "plate.zarr", scenes, channels=names)
    out = tmp_path / "run"
    run_quickly(plate, out, selection=Selection(limit=1), **TOGETHER)
    run = open_run(run_quickly(plate, out, **TOGETHER).folder.url)
    cells = run.read("cell_pairs")
    empty = cells[cells["field"] == "0"]
    assert empty["cell"].tolist() == [1, 2, 3, 4]
    assert empty["n_spots"].tolist() == [0] * 4
    assert empty["share"].isna().all()
    assert [path.stem for path in (out / "pairs").iterdir()] == ["B-03-1"]
    stale = out / "pairs/B-03-0.parquet"
    stale.write_bytes((out / "pairs/B-03-1.parquet").read_bytes())
    run_quickly(plate, out, **TOGETHER)
    assert not stale.exists()


def test_python_gives_the_tables_of_a_run(plate: str, whole: Any) -> None:
    run = open_run(whole.folder.url)
    (line,) = run.summaries["chromatic_shifts"].to_dict("records")
    words = {"channel", "other"}
    shift = Shift(**{name: value for name, value in line.items() if name not in words})
    spots = run.read("spots")
    by_channel = (spots[spots["channel"] == channel] for channel in "AB")
    assert measure_chromatic_shift(*by_channel) == shift
    own = spots[(spots["row"] == "B") & (spots["field"] == "1")]
    one, other = (own[own["channel"] == channel] for channel in "AB")
    scene = draw_channels(1, SHARES["B/03/1"])
    labels = {
        name: xr.DataArray(getattr(scene, name), dims=("y", "x"))
        for name in ("cells", "nuclei")
    }
    found = colocalise(one.sample(frac=1, random_state=0), other, shift=shift, **labels)
    for name, table in (("pairs", found.pairs), ("cell_pairs", found.cells)):
        expected = run.read(name)
        mine = (expected["row"] == "B") & (expected["field"] == "1")
        pd.testing.assert_frame_equal(table, expected[mine].reset_index(drop=True))


def test_a_shift_from_a_file_gives_the_same_pairs(
    plate: str, whole: Any, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    lines = open_run(whole.folder.url).summaries["chromatic_shifts"]
    lines.to_csv(tmp_path / "shifts.csv", index=False)
    given = {**TOGETHER, "chromatic_shift": str(tmp_path / "shifts.csv")}
    again = run_quickly(plate, tmp_path / "run", **given)
    run = open_run(again.folder.url)
    assert run.summaries["chromatic_shifts"]["how"].tolist() == ["given"]
    assert "shifts" in json.loads(again.folder.read("provenance.json"))
    pd.testing.assert_frame_equal(
        run.read("pairs"), open_run(whole.folder.url).read("pairs")
    )
    none = run_quickly(plate, tmp_path / "none", **TOGETHER, chromatic_shift="none")
    assert len(open_run(none.folder.url).read("pairs")) < 0.6 * len(run.read("pairs"))


def test_without_cells_there_are_pairs_and_no_chance(
    plate: str, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    run = open_run(
        run_quickly(
            plate, tmp_path / "r", cells=None, nuclei=None, **TOGETHER
        ).folder.url
    )
    assert "cell_pairs" not in run.contents.tables
    table = run.summaries["colocalisation"]
    assert table["chance"].isna().all()
    assert table["share"].isna().all()
    assert table["n_cells"].tolist() == [0] * len(table)
    (share,) = table[table["row"] == "B"]["share_all"]
    assert share > 0.4


def test_a_run_that_compares_nothing_has_empty_tables(
    plate: str, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    run = open_run(run_quickly(plate, tmp_path / "run", channels=("A",)).folder.url)
    assert not {"pairs", "cell_pairs"} & set(run.contents.tables)
    assert run.summaries["colocalisation"].empty
    assert run.summaries["chromatic_shifts"].empty


def test_each_time_point_and_plane_has_pairs_of_its_own(
    tmp_path: Path, write_plate: Callable[..., str], run_quickly: Callable[..., Any]
) -> None:
    scenes = [draw_channels(seed, 0.5) for seed in range(4)]
    whole = scenes[0]
    stack = np.stack([scene.image for scene in scenes])
    whole.image = stack.reshape(2, 2, 2, 192, 192).transpose(0, 2, 1, 3, 4)
    plate = write_plate(tmp_path / "p.zarr", {"B/03/0": whole}, channels=("A", "B"))
    alone = run_quickly(plate, tmp_path / "run", project="none", **TOGETHER)
    run = open_run(alone.folder.url)
    pairs = run.read("pairs")
    occasions = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert sorted({*zip(pairs["t"], pairs["plane"], strict=True)}) == occasions
    cells = run.read("cell_pairs")
    assert cells.groupby(["t", "z"]).size().tolist() == [4] * 4
    table = run.summaries["colocalisation"]
    assert len(table) == 2 * 4
    assert (table["share"] > table["chance_high"]).all()
    projected = run_quickly(plate, tmp_path / "max", **TOGETHER)
    run = open_run(projected.folder.url)
    assert {*run.read("pairs")["plane"]} == {-1}
    assert len(run.summaries["colocalisation"]) == 2 * 2


def test_fields_with_other_names_of_channels_are_told(
    tmp_path: Path, write_plate: Callable[..., str], run_quickly: Callable[..., Any]
) -> None:
    scene = draw_channels(0, 0.5)
    given = {"listed": ("B/04/0",), "channels": ("A", "B")}
    plate = write_plate(tmp_path / "plate.zarr", {"B/03/0": scene}, **given)
    image, address = scene.image, FieldAddress("B", "04", "0")
    layout = ImageLayout("cyx", image.shape, image.dtype, ("A", "C"), (0.2, 0.1))
    write_image(plate, address, image, layout)
    for name in ("cells", "nuclei"):
        write_labels(plate, address, name, getattr(scene, name))
    chosen = {"channels": ("0", "1"), "colocalise": ("0:1",)}
    with pytest.warns(
        InputWarning, match="1 other channel names are not compared.*: C"
    ):
        run_quickly(plate, tmp_path / "run", **chosen)


def test_exports_hold_the_pairs(whole: Any, tmp_path: Path) -> None:
    run = open_run(whole.folder.url)
    write_csv(run, tmp_path / "csv")
    for name in ("pairs", "cell_pairs"):
        assert len(pd.read_csv(tmp_path / f"csv/{name}.csv")) == len(run.read(name))
    assert len(pd.read_csv(tmp_path / "csv/colocalisation.csv"))


@pytest.mark.parametrize("deep_labels", [False, True])
def test_partners_in_a_stack_are_at_one_depth(
    tmp_path: Path,
    write_plate: Callable[..., str],
    run_quickly: Callable[..., Any],
    deep_labels: bool,
) -> None:
    flat = draw_channels(9, 0.0)
    rng, n, shape = np.random.default_rng(9), 60, (12, 192, 192)
    y, x = rng.uniform(8, 184, (2, 2, n))
    z = rng.uniform(2, 9, (2, n))
    y[1, :30], x[1, :30], z[1, :30] = y[0, :30], x[0, :30], z[0, :30]
    # The next ten are at one place in the plane, and four planes deeper.
    y[1, 30:40], x[1, 30:40] = y[0, 30:40], x[0, 30:40]
    z[0, 30:40], z[1, 30:40] = 3.0, 8.0
    planes = np.arange(shape[0])[:, None]
    image = np.full((2, *shape), 100.0)
    for channel in range(2):
        profile = np.exp(-0.5 * ((planes - z[channel]) / 1.2) ** 2)
        for plane in range(shape[0]):
            points = np.stack([y[channel], x[channel]], axis=1)
            image[channel, plane] += render_spots(
                shape[1:], points, 2500 * profile[plane], np.full(n, 1.2)
            )
    flat.image, names = rng.poisson(image).astype(np.uint16), ("A", "B")
    plate = write_plate(tmp_path / "plate.zarr", {"B/03/0": flat}, channels=names)
    for name in ("cells", "nuclei") if deep_labels else ():
        deep = np.stack([getattr(flat, name)] * shape[0])
        write_labels(plate, FieldAddress("B", "03", "0"), name, deep, axes="zyx")
    given = {**TOGETHER, "volume": True, "enhance": True}
    done = run_quickly(plate, tmp_path / "run", **given)
    run = open_run(done.folder.url)
    pairs, cells = run.read("pairs"), run.read("cell_pairs")
    assert 24 <= len(pairs) <= 36
    assert pairs["distance_z"].max() <= 1.5
    assert pairs["distance_z"].max() > 0
    assert (run.summaries["chromatic_shifts"]["how"] == "measured").all()
    assert len(cells) == 4
    assert cells["chance"].max() < 0.1
    assert (cells["n_pairs"].sum() > 0) == (pairs["cell"] > 0).any()


def test_beads_of_two_channels_are_paired_within_the_bars(shared_data: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    folder = shared_data / "beads_two_channels"
    if not folder.is_dir():
        pytest.skip(f"no beads at {folder}")
    one, other = (
        detect(
            xr.DataArray(
                tifffile.imread(folder / f"Beads_1_{name}.tif"), dims=("y", "x")
            ),
            method="raw",
        )
        for name in ("w1conf561-488dual", "w2conf488-561dual")
    )
    shift = measure_chromatic_shift(one, other)
    found = colocalise(one, other, shift=shift)
    share = len(found.pairs) / min(len(one), len(other))
    distances = found.pairs["distance"].to_numpy()
    assert share >= 0.97
    assert np.sqrt((distances**2).mean()) <= 0.25
    assert np.median(distances) <= 0.25
    places = [table[["y", "x"]].to_numpy() for table in (one, other)]
    assert len(pair_one_to_one(places[0] / 2, places[1] / 2, 1.0)) < 0.2 * len(one)
