"""Several detectors on one plate: run folders, tables, page; continued, and refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import zarr

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.evaluation.compared_detectors import compare_detectors
from deepspot_scale.evaluation.detector_agreement import Agreement, compare_runs
from deepspot_scale.evaluation.detector_runs import Doing
from deepspot_scale.runs.prepare import Selection
from deepspot_scale.runs.results import open_results

FIELDS = ("B/03/0", "B/03/1", "C/04/0")
DETECTORS = ("raw", "skimage-log:threshold=0.04", "skimage-log:threshold=0.42")
OPTIONS = {"channels": ["FISH"], "cells": "cells", "block": 256}


class Compared(NamedTuple):
    plate: str
    out: Path
    agreement: Agreement


@pytest.fixture(scope="module")
def compared(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> Compared:
    folder = tmp_path_factory.mktemp("compared")
    scenes = {path: draw_scene(n) for n, path in enumerate(FIELDS)}
    dark = scenes[FIELDS[2]]
    image = dark.image.copy()
    image[1] = 7  # no spots for anyone
    scenes[FIELDS[2]] = replace(dark, image=image)
    plate = write_plate(folder / "plate.zarr", scenes)
    out = folder / "out"
    agreement = compare_detectors(plate, out, DETECTORS, options=OPTIONS)
    return Compared(plate, out, agreement)


def pairs_by_hand(one: np.ndarray, other: np.ndarray, radius: float) -> int:
    """Most pairs there can be, by looking for augmenting paths."""
    apart = np.linalg.norm(one[:, None] - other[None], axis=2) <= radius
    owner: dict[int, int] = {}

    def place(i: int, seen: set[int]) -> bool:
        for j in np.flatnonzero(apart[i]):
            if j in seen:
                continue
            seen.add(int(j))
            if int(j) not in owner or place(owner[int(j)], seen):
                owner[int(j)] = i
                return True
        return False

    return sum(place(i, set()) for i in range(len(one)))


def test_pairs_and_f1_are_those_counted_by_hand(compared: Compared) -> None:
    runs = {d: open_results(_run(compared, d)) for d in DETECTORS}
    for line in compared.agreement.pairs.to_dict("records"):
        spots = [runs[line[c]].read("spots") for c in ("detector", "other")]
        k = 0
        for path in FIELDS:
            points = [_of_field(each, path) for each in spots]
            k += pairs_by_hand(*(p[["y", "x"]].to_numpy() for p in points), radius=3.0)
        n, m = map(len, spots)
        assert (line["n_spots"], line["n_other"], line["n_pairs"]) == (n, m, k)
        assert line["f1"] == pytest.approx(2 * k / (n + m))
        assert (line["n_only_detector"], line["n_only_other"]) == (n - k, m - k)


def _of_field(spots: pd.DataFrame, path: str) -> pd.DataFrame:
    own = spots
    for column, word in zip(("row", "column", "field"), path.split("/"), strict=True):
        own = own[own[column] == word]
    return own


def _run(compared: Compared, detector: str) -> str:
    runs = json.loads((compared.out / "compared.json").read_text())["runs"]
    return str(runs[detector])


def test_a_field_without_spots_counts_as_zero_for_each(compared: Compared) -> None:
    fields = compared.agreement.fields
    assert len(fields) == len(FIELDS) * len(DETECTORS)
    empty = fields[fields["row"] == "C"]
    assert (empty["n_spots"] == 0).all()
    totals = fields.groupby("detector")["n_spots"].sum()
    summary = compared.agreement.summary.set_index("detector")["n_spots"]
    assert totals.to_dict() == summary.to_dict()
    assert (summary > 10).all()


def test_a_higher_threshold_finds_nothing_that_the_lower_one_does_not(
    compared: Compared,
) -> None:
    _, low, high = DETECTORS
    spots = compared.agreement.spots
    places = {d: _places(spots[spots["detector"] == d]) for d in (low, high)}
    assert places[high] < places[low]
    own = spots[spots["detector"] == high]
    assert (own["found_by"] >= 2).all()


def _places(spots: pd.DataFrame) -> set[tuple[Any, ...]]:
    return set(spots[["row", "column", "field", "y", "x"]].itertuples(index=False))


def test_differences_are_bland_and_altmans(compared: Compared) -> None:
    cells, differences = compared.agreement.cells, compared.agreement.differences
    assert len(differences) == 2 * 3
    for one, other in combinations(DETECTORS, 2):
        counts = [
            cells[cells["detector"] == d].sort_values(
                ["row", "column", "field", "cell"]
            )
            for d in (one, other)
        ]
        apart = counts[1]["n_spots"].to_numpy() - counts[0]["n_spots"].to_numpy()
        (line,) = differences.query(
            "unit == 'cell' and detector == @one and other == @other"
        ).to_dict("records")
        assert line["n"] == len(apart) > 10
        assert line["mean_difference"] == pytest.approx(apart.mean())
        half = 1.96 * apart.std(ddof=1)
        assert line["high"] - line["low"] == pytest.approx(2 * half)


def test_places_are_where_most_spots_are_not_found_by_all(compared: Compared) -> None:
    places = compared.agreement.places
    assert places
    assert {place.path for place in places} <= set(FIELDS[:2])
    numbers = [place.n_differ for place in places]
    assert numbers == sorted(numbers, reverse=True)
    spots = compared.agreement.spots
    worst = places[0]
    own = _of_field(spots[spots["found_by"] < len(DETECTORS)], worst.path)
    for column, start in (("y", worst.y), ("x", worst.x)):
        own = own[own[column].between(start, start + 96, inclusive="left")]
    assert len(own) == worst.n_differ


def test_the_page_shows_each_detector_and_loads_nothing(compared: Compared) -> None:
    page = (compared.out / "compared.html").read_text("utf-8")
    for detector in DETECTORS:
        assert detector in page
    assert page.count('class="overlay"') == len(compared.agreement.places)
    assert "No detector is taken for the truth" in page
    assert "http:" not in page.replace("http://www.w3.org", "")
    tables = ("summary", "pairs", "fields", "field_pairs", "cells", "differences")
    for name in (*tables, "unmatched", "left_out"):
        assert (compared.out / f"{name}.csv").is_file()
    unmatched = pd.read_csv(compared.out / "unmatched.csv")
    assert len(unmatched) == (compared.agreement.spots["found_by"] == 1).sum()


def test_no_run_of_the_raw_image_has_a_network(compared: Compared) -> None:
    for detector in DETECTORS:
        run = open_results(_run(compared, detector))
        assert not run.settings.options["enhance"].use
        assert "weights" not in run.provenance


def test_the_same_call_does_no_field_again_and_one_more_detector_only_runs(
    compared: Compared,
) -> None:
    began: list[tuple[str, int]] = []
    doing = Doing(
        on_begin=lambda each: began.append((each.detector, 0)),
        on_progress=lambda p: began.append((began[-1][0], p.total)),
    )
    more = (*DETECTORS, "skimage-dog")
    again = compare_detectors(
        compared.plate, compared.out, more, options=OPTIONS, doing=doing
    )
    done = {name: max(n for who, n in began if who == name) for name in more}
    assert done == {**dict.fromkeys(DETECTORS, 0), "skimage-dog": len(FIELDS)}
    first = again.pairs[again.pairs["other"] != "skimage-dog"].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, compared.agreement.pairs)
    assert again.spots["found_by"].max() == 4


def test_a_field_that_one_could_not_do_is_left_out_and_named(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> None:
    plate = write_plate(tmp_path / "p.zarr", {p: draw_scene(1) for p in FIELDS[:2]})
    array = zarr.open_array(f"{plate}/{FIELDS[1]}/0", mode="r+")
    for chunk in Path(plate, FIELDS[1], "0", "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    assert array.shape
    agreement = compare_detectors(
        plate, tmp_path / "out", DETECTORS[:2], options={"channels": ["FISH"]}
    )
    assert set(agreement.fields["field"]) == {"0"}
    assert list(agreement.left_out["detector"]) == list(DETECTORS[:2])
    assert agreement.left_out["reason"].str.len().gt(10).all()
    assert agreement.cells.empty
    assert "1 field left out" in (tmp_path / "out" / "compared.html").read_text("utf-8")


def test_a_stopped_comparison_says_so_and_goes_on(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> None:
    plate = write_plate(tmp_path / "p.zarr", {FIELDS[0]: draw_scene(1)})
    given: dict[str, Any] = {"options": {"channels": ["FISH"]}}
    with pytest.raises(RunError, match="the same call continues"):
        compare_detectors(
            plate,
            tmp_path / "o",
            DETECTORS[:2],
            doing=Doing(stop=lambda: True),
            **given,
        )
    assert len(compare_detectors(plate, tmp_path / "o", DETECTORS[:2], **given).pairs)


@pytest.mark.parametrize(
    ("detectors", "options", "reason"),
    [
        (["raw"], {}, "two detectors or more"),
        (["raw", "raw"], {}, "named twice"),
        (["raw", "skimage-lug"], {}, "Did you mean 'skimage-log'"),
        (["raw", "ufish:weights=none.onnx"], {}, "there is no file"),
        (["raw", "skimage-log"], {"volume": True}, "spots of planes|volume"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_a_field_is_read(
    compared: Compared,
    tmp_path: Path,
    detectors: list[str],
    options: dict[str, Any],
    reason: str,
) -> None:
    with pytest.raises(SettingsError, match=reason):
        compare_detectors(
            compared.plate,
            tmp_path / "out",
            detectors,
            options={"channels": ["FISH"], **options},
        )
    assert not (tmp_path / "out").exists()


def test_runs_of_other_images_or_a_radius_of_zero_are_refused(
    compared: Compared, tmp_path: Path
) -> None:
    other = compare_detectors(
        compared.plate,
        tmp_path / "dapi",
        DETECTORS[:2],
        options={"channels": ["DAPI"]},
        selection=Selection(limit=1),
    )
    assert other.radius == 3.0
    dapi = json.loads((tmp_path / "dapi" / "compared.json").read_text())["runs"]["raw"]
    runs = {"one": open_results(_run(compared, "raw")), "two": open_results(dapi)}
    with pytest.raises(SettingsError, match="plate, channels and projection"):
        compare_runs(runs)
    same = {"one": runs["one"], "two": runs["one"]}
    with pytest.raises(SettingsError, match="radius of a pair is above 0"):
        compare_runs(same, radius=0)
    assert compare_runs(same).pairs["f1"].tolist() == [1.0]
    assert compare_runs(same).places == ()
