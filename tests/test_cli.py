"""The command line: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from deepspot_scale.io.plate import open_plate

DONE, USAGE, FAILED = 0, 2, 3
PATHS = ("B/03/0", "B/03/1", "C/04/0")
MASKS = ("--cells", "cells", "--nuclei", "nuclei")

Command = Callable[..., Any]


@pytest.fixture
def plate(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> Path:
    """Two wells of three fields."""
    scenes = {path: draw_scene(seed, (64, 64)) for seed, path in enumerate(PATHS)}
    return Path(write_plate(tmp_path / "plate.zarr", scenes))


@pytest.fixture(scope="module")
def untouched(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> Path:
    """The same plate, for tests that write nothing into it."""
    scenes = {path: draw_scene(seed, (64, 64)) for seed, path in enumerate(PATHS)}
    target = tmp_path_factory.mktemp("untouched") / "plate.zarr"
    return Path(write_plate(target, scenes))


@pytest.fixture
def images(tmp_path: Path, draw_scene: Callable[..., Any]) -> Path:
    """A folder of a TIFF and a PNG."""
    folder = tmp_path / "images"
    folder.mkdir()
    image = draw_scene(0, (64, 64), n=12).image[1]
    tifffile.imwrite(folder / "a.tif", image)
    Image.fromarray((image // 4).astype(np.uint8)).save(folder / "b.png")
    return folder


# --- run --------------------------------------------------------------------------


def test_a_bad_field_ends_in_its_row_and_code_3_and_the_rest_is_done(
    plate: Path, tmp_path: Path, command: Command
) -> None:
    (plate / "B/03/1/0/c/1/0/0").write_bytes(b"")
    words = ("run", plate, "-c", "FISH", *MASKS, "--no-enhance", "--out")
    ended = command(*words, tmp_path / "run")
    assert ended.code == FAILED
    assert ended.out.strip() == str(tmp_path / "run/report.html")
    assert "2 fields done, 1 failed, 0 skipped" in ended.err
    assert "failed: B03/1: reading " in ended.err
    assert "http://127.0.0.1:" in ended.err
    fields = pd.read_parquet(tmp_path / "run/fields.parquet")
    assert fields["status"].tolist() == ["done", "failed", "done"]
    assert "0 bytes" in fields["reason"][1]
    spots = pd.read_parquet(tmp_path / "run/spots")
    assert len(spots) == fields["n_spots"].sum() > 20
    assert len(pd.read_parquet(tmp_path / "run/cells")) == 2
    assert (tmp_path / "run/report.html").is_file()
    # Nothing is left to do, but not all is well either.
    again = command(*words, tmp_path / "run")
    assert again.code == FAILED
    assert "3 fields were tried before and are skipped" in again.err
    assert "2 skipped as done before, 1 as failed before" in again.err
    assert f"retry {tmp_path / 'run'} --failed" in again.err


def test_a_run_tells_how_it_stands_and_is_mended_without_its_options(
    plate: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk, out = plate / "B/03/1/0/c/1/0/0", tmp_path / "run"
    whole = chunk.read_bytes()
    chunk.write_bytes(b"")
    (tmp_path / "wells.csv").write_text("well,condition\nB03,drug\n")
    monkeypatch.chdir(tmp_path)
    words = ("-c", "FISH", *MASKS, "--no-enhance", "--plate-map", "wells.csv")
    command("run", plate, *words, "--wells", "B03", "--out", "run")
    monkeypatch.chdir("/")
    told = command("status", out)
    assert told.code == DONE
    assert "1 of 3 fields done, 1 failed, 1 left" in told.out
    assert "no client works on it; the last was " in told.out
    assert "1 failed: reading " in told.out
    assert "(B/03/1)" in told.out
    standing = json.loads(command("status", out, "--json").out)
    assert [standing[name] for name in ("total", "done", "failed", "left")] == [
        3,
        1,
        1,
        1,
    ]
    assert standing["failures"][0]["fields"] == ["B/03/1"]
    assert standing["holder"]["released"] is True
    assert standing["progress"]["failed"] == 1
    chunk.write_bytes(whole)
    mended = command("retry", out, "--failed")
    assert mended.code == DONE
    assert "1 field done, 0 failed, 0 skipped" in mended.err
    rest = command("retry", out)
    assert rest.code == DONE
    assert "1 field done, 0 failed, 2 skipped" in rest.err
    assert "3 of 3 fields done, 0 failed, 0 left" in command("status", out).out
    wells = pd.read_parquet(out / "wells.parquet")
    assert wells["condition"].tolist() == ["drug", ""]


WEARY = """
import numpy as np
import deepspot_scale as ds

seen = []

def find(image):
    seen.append(image)
    if len(seen) > 1:
        raise KeyboardInterrupt
    return np.argwhere(image > np.quantile(image, 0.999))

detector = ds.PointDetector(find, halo=16, on="raw")
"""
STAGE = """
from deepspot_scale.blockwise.contract import Stage, StageOptions

stage = Stage("idle", StageOptions, lambda options, context: None)
"""


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (
            ("--no-enhance", "--detector", "lone_detector:detector"),
            WEARY.replace("> 1", "> 99"),
        ),
        (("--no-enhance", "--stage", "lone_stage:stage"), STAGE),
    ],
)
def test_code_that_a_run_names_runs_again_only_if_it_is_named_again(
    plate: Path,
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    module: str,
) -> None:
    mark = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    name = words[-1].partition(":")[0]
    (tmp_path / f"{name}.py").write_text(mark + module)
    monkeypatch.chdir(tmp_path)
    command("run", plate, "-c", "FISH", *words, "--wells", "B03", "--out", "run")
    (tmp_path / "ran").unlink()

    def call(*words: object, folder: Path = tmp_path) -> Any:
        words = (sys.executable, "-m", "deepspot_scale.cli", *map(str, words))
        return subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False
        )

    for told in ("status", "retry"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        refused = command(told, tmp_path / "run")
        assert not (tmp_path / "ran").exists()
    assert refused.code == USAGE
    flags = words[1:]
    told = f"It runs only if you name it again: {WHERE}{' '.join(flags)}"
    assert told in refused.err
    # The run folder does not say either where modules are looked for.
    ended = call("retry", tmp_path / "run", *flags, folder=Path("/"))
    assert "start where its module lies" in ended.stderr
    assert not (tmp_path / "ran").exists()
    ended = call("retry", tmp_path / "run", *flags)
    assert ended.returncode == DONE, ended.stderr
    assert (tmp_path / "ran").exists()
    assert "1 field done, 0 failed, 2 skipped" in ended.stderr


WHERE = "in the folder where its module lies, give the same command with "


def test_links_out_of_a_plate_are_followed_by_every_command_that_is_told_so(
    plate: Path, tmp_path: Path, command: Command
) -> None:
    (plate / "B/03/1/0/c").rename(tmp_path / "raw")
    (plate / "B/03/1/0/c").symlink_to(tmp_path / "raw")
    out = tmp_path / "run"
    words = ("run", plate, "-c", "FISH", *MASKS, "--no-enhance", "--out", out)
    assert command(*words).code == FAILED
    fields = pd.read_parquet(out / "fields.parquet")
    assert fields["status"].tolist() == ["done", "failed", "done"]
    assert "leads out of" in fields["reason"][1]
    assert "--trust links" in fields["reason"][1]
    assert command("retry", out, "--failed").code == FAILED
    ended = command("retry", out, "--failed", "--trust", "links")
    assert ended.code == DONE, ended.err
    for words in (("report", out), ("export", out, "--to", "sectors")):
        ended = command(*words, "--trust", "links")
        assert ended.code == DONE, ended.err
    assert command("run", plate, "-c", "FISH", "--out", out, "--trust", "all").code == 2


def test_only_a_run_folder_stands_somehow(tmp_path: Path, command: Command) -> None:
    for words in (("status",), ("retry", "--failed")):
        ended = command(*words, tmp_path / "nothing")
        assert ended.code == USAGE
        assert "holds no run" in ended.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_converted_tried_and_run_with_the_network(
    tmp_path: Path, draw_scene: Callable[..., Any], command: Command
) -> None:
    folders = {"images": tmp_path / "images", "masks": tmp_path / "masks"}
    for folder in folders.values():
        folder.mkdir()
    for seed, well in enumerate(("B03", "C04")):
        scene = draw_scene(seed, (64, 64), n=12)
        for number, channel in enumerate(("DAPI", "FISH")):
            image = scene.image[number]
            tifffile.imwrite(folders["images"] / f"{well}_0_{channel}.tif", image)
        mask = scene.cells.astype(np.uint16)
        tifffile.imwrite(folders["masks"] / f"{well}_0_cells.tif", mask)
    plate, out = tmp_path / "plate.zarr", tmp_path / "run"
    ended = command(
        "convert", folders["images"], plate, "--masks", folders["masks"],
        "--pixel-size", 0.108,
    )  # fmt: skip
    assert (ended.code, ended.out.strip()) == (DONE, str(plate))
    words = ("run", plate, "-c", "FISH", "-c", "DAPI", "--cells", "cells")
    words = (*words, "--keep-enhanced", "--out", out)
    trial = command(*words, "--limit", 1, "--wells", "c4")
    assert trial.code == DONE
    assert "1 field done, 0 failed, 0 skipped" in trial.err
    # The file of a run stands for its flags: other settings would be refused.
    full = command("run", plate, "--config", out / "settings.toml", "--out", out)
    assert full.code == DONE
    assert "1 field done, 0 failed, 1 skipped as done before" in full.err
    wells = pd.read_parquet(out / "wells.parquet")
    assert wells[["row", "channel"]].to_numpy().tolist() == [
        ["B", "DAPI"],
        ["B", "FISH"],
        ["C", "DAPI"],
        ["C", "FISH"],
    ]
    assert wells.query("channel == 'FISH'")["n_spots"].between(8, 14).all()
    _check_enhanced(out / "enhanced.zarr", pd.read_parquet(out / "spots"))


def _check_enhanced(plate: Path, spots: pd.DataFrame) -> None:
    """Check that the kept images are the ones that spots were found on."""
    enhanced = open_plate(plate)
    assert list(enhanced) == ["B/03/0", "C/04/0"]
    field = enhanced.open("B/03/0")
    assert (field.channels, field.dtype) == (("FISH", "DAPI"), np.uint8)
    assert field.pixel_size_um == pytest.approx((0.108, 0.108))
    image = field.read(channel=0)
    own = spots.query("row == 'B' and channel == 'FISH'")
    rows, columns = np.round(own[["y", "x"]].to_numpy()).astype(int).T
    assert image[rows, columns].mean() > 4 * image.mean()


USAGE_ERRORS: list[tuple[tuple[str, ...], str]] = [
    (("-c", "FIHS"), "no channel 'FIHS'; it has DAPI, FISH. Did you mean 'FISH'?"),
    (("-c", "FISH", "-c", "1"), "name one channel twice"),
    (("-c", "FISH", "--wells", "B03,H12"), "no well 'H12': the plate has B03, C04"),
    (("-c", "FISH", "--limit", "0"), "limit is at least 1"),
    (("-c", "FISH", "--nuclei", "nuclei"), "nuclei need cells"),
    (("-c", "FISH", "--sectors", "7"), "divisor of 180"),
    (("-c", "FISH", "--block", "10"), "block"),
    (("-c", "FISH", "--wells", "B30"), "no well 'B30': the plate has B03, C04. Did "),
    (("-c", "FISH", "--detector", "best"), "no detector 'best'"),
    (("-c", "FISH", "--detector", "papper"), "Did you mean 'paper'?"),
    (("-c", "FISH", "--detector", "json:loads"), "loads is no detector, it has no on"),
    (("-c", "FISH", "--detector", "nowhere:it"), "'nowhere:it' cannot be imported"),
    (("-c", "FISH", "--detector", "json:lods"), "no 'lods'. Did you mean 'loads'?"),
    (("-c", "FISH", "--detector", "raw"), "is for raw images"),
    (("-c", "FISH", "--no-enhance", "--detector", "paper"), "is for enhanced images"),
    (("-c", "FISH", "--no-enhance", "--keep-enhanced"), "no enhanced images to keep"),
    (("-c", "FISH", "--reference", "wound.csv"), "no file wound.csv"),
    (("-c", "FISH", "--reference", "angle:north"), "more than numbers"),
    (("-c", "FISH", "--plate-map", "wells.csv"), "no file wells.csv"),
    (("-c", "FISH", "--cluster", "moon"), "tcp://host:port"),
    (("-c", "FISH", "--workers", "0"), "at least 1 worker"),
]


@pytest.mark.parametrize(("words", "reason"), USAGE_ERRORS)
def test_bad_usage_ends_in_one_line_and_code_2(
    untouched: Path,
    tmp_path: Path,
    command: Command,
    words: tuple[str, ...],
    reason: str,
) -> None:
    ended = command("run", untouched, "--out", tmp_path / "run", *words)
    assert ended.code == USAGE
    (line,) = [text for text in ended.err.splitlines() if text.startswith("error: ")]
    assert reason in line
    assert not (tmp_path / "run/spots").exists()


@pytest.mark.parametrize(
    ("option", "text", "reason"),
    [
        ("--plate-map", "well,condtion\nB03,drug", "Did you mean 'condition'?"),
        ("--reference", "angel_deg\n90", "Did you mean 'angle_deg'?"),
    ],
)
def test_a_column_that_is_all_but_right_is_refused(
    untouched: Path,
    tmp_path: Path,
    command: Command,
    option: str,
    text: str,
    reason: str,
) -> None:
    (tmp_path / "given.csv").write_text(text)
    words = ("-c", "FISH", option, tmp_path / "given.csv", "--out", tmp_path / "run")
    ended = command("run", untouched, *words)
    assert ended.code == USAGE
    assert reason in ended.err


def test_what_a_plate_map_leaves_out_is_said(
    untouched: Path, tmp_path: Path, command: Command
) -> None:
    (tmp_path / "wells.csv").write_text("well;treatment;batch\nB3; drug;1,5\nH12;x;2\n")
    words = ("-c", "FISH", "--no-enhance", "--plate-map", tmp_path / "wells.csv")
    ended = command("run", untouched, *words, "--wells", "B03", "--out", tmp_path / "r")
    assert ended.code == DONE
    told = [line for line in ended.err.splitlines() if line.startswith("warning: ")]
    for line, words in zip(
        told,
        (
            "'treatment' is read as 'condition'",
            "1 of 3 columns are not read, as they are none of condition, gene, rep",
            "1 of 2 lines name no well of this plate: H12 (line 3)",
            "1 of 2 wells of the plate have no line, and so no condition: C04",
        ),
        strict=True,
    ):
        assert words in line


@pytest.mark.parametrize(
    "words", [(), ("run",), ("fly",), ("run", "p", "--out", "r", "--project", "sum")]
)
def test_words_that_are_no_command_end_in_code_2(
    command: Command, words: tuple[str, ...]
) -> None:
    assert command(*words).code == USAGE


def test_an_absent_plate_ends_in_code_2(tmp_path: Path, command: Command) -> None:
    for words in (("run", "--out", tmp_path / "run", "-c", "0"), ("info",)):
        ended = command(*words, tmp_path / "no.zarr")
        assert ended.code == USAGE
        assert "there is no file or folder" in ended.err


@pytest.mark.parametrize("content", ["file", "folder"])
def test_a_place_that_is_taken_ends_in_code_2(
    plate: Path, tmp_path: Path, command: Command, content: str
) -> None:
    out = tmp_path / "taken"
    if content == "file":
        out.write_text("a thesis")
    else:
        out.mkdir()
        (out / "thesis.txt").write_text("a thesis")
    ended = command("run", plate, "-c", "FISH", "--out", out)
    assert ended.code == USAGE
    assert "--out" in ended.err


def test_changed_settings_in_one_folder_end_in_code_2_and_are_shown(
    plate: Path, tmp_path: Path, command: Command, run_quickly: Callable[..., Any]
) -> None:
    run_quickly(str(plate), tmp_path / "run")
    words = ("run", plate, "-c", "FISH", *MASKS, "--no-enhance", "--sectors", 4)
    ended = command(*words, "--min-spots", 2, "--out", tmp_path / "run")
    assert ended.code == USAGE
    assert "sectors: 3 there, now 4" in ended.err
    assert "min_spots: 10 there, now 2" in ended.err
    assert "project" not in ended.err


# --- detect -----------------------------------------------------------------------


def test_detect_writes_a_row_for_each_spot(
    images: Path, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "spots.csv"
    ended = command("detect", images / "a.tif", images / "b.png", "--out", out)
    assert (ended.code, ended.out.strip()) == (DONE, str(out))
    table = pd.read_csv(out)
    assert list(table)[:3] == ["image", "y", "x"]
    assert "cell" not in table
    counts = table["image"].value_counts()
    assert set(counts.index) == {"a", "b"}
    assert counts.between(8, 14).all()
    assert f"{len(table)} spots in 2 images" in ended.err


def test_detect_writes_names_like_formulas_as_text(
    images: Path, tmp_path: Path, command: Command
) -> None:
    (images / "a.tif").rename(images / "=1+1.tif")
    out = tmp_path / "spots.csv"
    command("detect", images / "=1+1.tif", "--no-enhance", "--out", out)
    assert set(pd.read_csv(out)["image"]) == {"'=1+1"}


def test_detect_names_a_bad_file_and_does_the_others(
    images: Path, tmp_path: Path, command: Command
) -> None:
    (images / "c.tif").write_bytes(b"no tiff")
    ended = command("detect", images, "--no-enhance", "--out", tmp_path / "spots.csv")
    assert ended.code == FAILED
    assert f"failed: {images}/c.tif: opening" in ended.err
    assert set(pd.read_csv(tmp_path / "spots.csv")["image"]) == {"a", "b"}


def test_detect_without_spots_writes_the_columns(
    tmp_path: Path, command: Command
) -> None:
    tifffile.imwrite(tmp_path / "dark.tif", np.zeros((32, 32), np.uint8))
    words = ("detect", tmp_path / "dark.tif", "--no-enhance")
    assert command(*words, "--out", tmp_path / "spots.csv").code == DONE
    table = pd.read_csv(tmp_path / "spots.csv")
    assert table.empty
    assert {"image", "y", "x", "snr"} <= set(table)


@pytest.mark.parametrize(
    ("out", "reason"), [("no/spots.csv", "there is no folder"), (".", "is a folder")]
)
def test_detect_refuses_a_place_that_can_not_hold_a_file(
    images: Path, tmp_path: Path, command: Command, out: str, reason: str
) -> None:
    ended = command("detect", images, "--out", tmp_path / out)
    assert ended.code == USAGE
    assert reason in ended.err


def test_detect_keeps_the_rows_of_what_was_done(
    images: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weary.py").write_text(WEARY)
    monkeypatch.syspath_prepend(tmp_path)
    words = ("detect", images, "--no-enhance", "--detector", "weary:detector")
    assert command(*words, "--out", tmp_path / "spots.csv").code != DONE
    assert not (tmp_path / "spots.csv").exists()
    assert set(pd.read_csv(tmp_path / "spots.csv.partial")["image"]) == {"a"}


def test_detect_says_which_of_several_channels_it_took(
    tmp_path: Path, command: Command
) -> None:
    tifffile.imwrite(
        tmp_path / "two.ome.tif",
        np.zeros((2, 32, 32), np.uint8),
        metadata={"axes": "CYX", "Channel": {"Name": ["DAPI", "FISH"]}},
    )
    words = ("detect", tmp_path, "--no-enhance", "--out", tmp_path / "spots.csv")
    said = "of the channels DAPI, FISH the first was used; others by --channel"
    assert said in command(*words).err
    assert said not in command(*words, "--channel", "FISH").err


# --- info, convert ----------------------------------------------------------------


def test_info_says_what_is_there_and_what_a_run_will_need(
    plate: Path, command: Command
) -> None:
    ended = command("info", plate)
    assert ended.code == DONE
    for words in (
        "2 wells, 3 fields",
        "cyx 2 x 64 x 64 uint16",
        "channels: DAPI, FISH",
        "labels: cells, nuclei",
        "0.2 x 0.1 um",
        "3 fields of 1 plane",
        "memory: about",
    ):
        assert words in ended.out


def test_info_counts_the_planes_of_a_run(plate: Path, command: Command) -> None:
    assert "fields of 2 planes" in command("info", plate, "-c", "0", "-c", "FISH").out
    ended = command("info", plate, "-c", "FIHS")
    assert ended.code == USAGE
    assert "Did you mean 'FISH'" in ended.err


def test_info_names_images_of_a_folder_that_cannot_be_read(
    tmp_path: Path, command: Command
) -> None:
    for name, shape in (("a.tif", (8, 8, 3)), ("b.tif", (8, 8))):
        kind = "rgb" if len(shape) == 3 else "minisblack"
        tifffile.imwrite(tmp_path / name, np.zeros(shape, "u1"), photometric=kind)
    ended = command("info", tmp_path, "--no-enhance")
    assert ended.code == DONE
    assert "first field b: yx 8 x 8 uint8" in ended.out
    assert f"cannot be read: {tmp_path / 'a.tif'} is a colour image" in ended.out


def test_convert_says_what_it_leaves_out(tmp_path: Path, command: Command) -> None:
    (tmp_path / "images").mkdir()
    for name in ("B03_FISH.tif", "B03_FISH_thumb.tif"):
        tifffile.imwrite(tmp_path / "images" / name, np.zeros((8, 8), "u1"))
    ended = command("convert", tmp_path / "images", tmp_path / "plate.zarr")
    assert ended.code == DONE
    assert "left out 1 files, such as B03_FISH_thumb.tif" in ended.err


def test_info_detect_and_run_say_what_they_leave_out_once(
    tmp_path: Path, command: Command
) -> None:
    (tmp_path / "images").mkdir()
    spots = np.random.default_rng(0).poisson(100, (64, 64)).astype("u2")
    for name in ("p_B03_s1_w1.tif", "p_B03_s1_w1_thumb.tif"):
        tifffile.imwrite(tmp_path / "images" / name, spots)
    said = "left out 1 of 2 files, such as p_B03_s1_w1_thumb.tif"
    folder, one = tmp_path / "images", ("--no-enhance", "--channel", "0")
    ended = command("info", folder, "--no-enhance")
    assert ended.err.count(said) == 1
    assert "1 field" in ended.out
    ended = command("detect", folder, "--out", tmp_path / "s.csv", *one)
    assert ended.err.count(said) == 1
    assert " in 1 image" in ended.err
    ended = command("run", folder, "--out", tmp_path / "run", *one)
    assert ended.code == DONE
    assert ended.err.count(said) == 1


def test_info_names_wells_that_are_absent(plate: Path, command: Command) -> None:
    (plate / "C/04/zarr.json").unlink()
    assert "listed but missing: C/04" in command("info", plate).out


def test_convert_refuses_to_overwrite_unasked(
    images: Path, plate: Path, command: Command
) -> None:
    (images / "a.tif").rename(images / "B03_0_FISH.tif")
    (images / "b.png").unlink()
    assert command("convert", images, plate).code == USAGE
    assert len(open_plate(plate)) == 3
    assert command("convert", images, plate, "--overwrite").code == DONE
    assert list(open_plate(plate)) == ["B/03/0"]


def test_demo_refuses_a_folder_that_exists(tmp_path: Path, command: Command) -> None:
    ended = command("demo", "--out", tmp_path)
    assert ended.code == USAGE
    assert "exists" in ended.err


# --- as a program -----------------------------------------------------------------


def test_the_program_explains_itself_without_loading_the_network() -> None:
    call = [sys.executable, "-X", "importtime", "-m", "deepspot_scale.cli", "--help"]
    answer = subprocess.run(call, capture_output=True, text=True, check=True)
    for command in ("run", "detect", "convert", "info", "demo", "report", "models"):
        assert command in answer.stdout
    for heavy in ("tensorflow", "keras", "openvino", "distributed"):
        assert f" {heavy}\n" not in answer.stderr
