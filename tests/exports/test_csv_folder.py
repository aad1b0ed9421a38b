"""CSV: every table of a run, read back by pandas."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.exports.formats import export_run
from deepspot_scale.runs.user_tables import read_plate_map
from deepspot_scale.vocabulary import FieldAddress

WORDS = dict.fromkeys(
    ("row", "column", "field", "channel", "condition", "gene", "replicate"), str
)


# pandas 3 reads every digit, and warns of being asked to.
EXACT: dict[str, Any] = (
    {"float_precision": "round_trip"} if pd.__version__ < "3" else {}
)


def read(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, dtype=WORDS, **EXACT)
    return table.fillna(dict.fromkeys(WORDS, ""))


def test_spots_are_read_back_to_the_last_digit(screen: Any, tmp_path: Path) -> None:
    out = export_run(screen.run, "csv", tmp_path / "csv")
    spots = screen.outcome.spots
    back = read(Path(out) / "spots.csv").astype(spots.dtypes.to_dict())
    pd.testing.assert_frame_equal(back, spots, check_exact=True)


def test_cells_have_sums_by_sector_in_place_of_bins(
    screen: Any, tmp_path: Path, sum_by_sector: Callable[..., list[int]]
) -> None:
    export_run(screen.run, "csv", tmp_path / "csv")
    back, cells = read(tmp_path / "csv/cells.csv"), screen.outcome.cells
    for column in ("cell", "area", "cell_y", "resultant_deg", "touches_border"):
        np.testing.assert_array_equal(back[column], cells[column])
    for kind in ("area", "spot"):
        names = [f"{'spots' if kind == 'spot' else kind}_sector_{k}" for k in range(3)]
        sums = [sum_by_sector(bins, 3) for bins in cells[f"{kind}_bins"]]
        np.testing.assert_array_equal(back[names], sums)
    assert back["spots_sector_0"].sum() > 0
    assert set(back["condition"]) == {"migrating"}


def test_concentration_of_a_sector_is_its_density_over_the_cells(
    screen: Any, tmp_path: Path
) -> None:
    export_run(screen.run, "csv", tmp_path / "csv")
    for row in read(tmp_path / "csv/cells.csv").to_dict("records"):
        area = sum(row[f"area_sector_{k}"] for k in range(3))
        spots = sum(row[f"spots_sector_{k}"] for k in range(3))
        for k in range(3):
            expected = np.nan
            if spots and row[f"area_sector_{k}"]:
                expected = row[f"spots_sector_{k}"] / row[f"area_sector_{k}"]
                expected *= area / spots
            np.testing.assert_allclose(row[f"concentration_sector_{k}"], expected)


def test_every_column_of_every_file_is_explained(screen: Any, tmp_path: Path) -> None:
    export_run(screen.run, "csv", tmp_path / "csv")
    explained = pd.read_csv(tmp_path / "csv/columns.csv")
    assert explained["meaning"].notna().all()
    files = {path.stem: path for path in (tmp_path / "csv").glob("*.csv")}
    assert {"spots", "cells", "fields", "wells", "conditions"} <= set(files)
    for name, path in files.items():
        if name != "columns":
            own = explained.loc[explained["table"] == name, "column"]
            assert list(own) == list(pd.read_csv(path, nrows=0))


def test_a_failed_field_is_told_with_its_reason(screen: Any, tmp_path: Path) -> None:
    export_run(screen.run, "csv", tmp_path / "csv")
    fields = read(tmp_path / "csv/fields.csv")
    assert fields["status"].tolist() == ["done", "done", "done", "failed"]
    assert fields["reason"].notna().tolist() == [False, False, False, True]


def test_only_the_fields_that_were_asked_for(screen: Any, tmp_path: Path) -> None:
    export_run(screen.run, "csv", tmp_path / "csv", fields=["C/04/0"])
    spots, fields = (read(tmp_path / f"csv/{name}.csv") for name in ("spots", "fields"))
    assert set(spots["row"]) == {"C"}
    assert len(fields) == 1
    assert read(tmp_path / "csv/cells.csv").empty


@pytest.mark.parametrize("name", ["cells", "spots"])
def test_a_run_without_cells_has_the_tables_all_the_same(
    without_cells: Any, tmp_path: Path, name: str
) -> None:
    export_run(without_cells.run, "csv", tmp_path / "csv")
    assert len(read(tmp_path / f"csv/{name}.csv")) == len(
        getattr(without_cells.outcome, name)
    )


def test_words_like_formulas_are_text_and_are_read_back_by_a_plate_map(
    screen: Any, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(screen.run, run)
    wells = pd.read_parquet(run / "wells.parquet")
    told = dict.fromkeys(wells["condition"], "=HYPERLINK(1)")
    wells.assign(condition=wells["condition"].map(told)).to_parquet(
        run / "wells.parquet"
    )
    export_run(run, "csv", tmp_path / "csv")
    for name in ("wells", "cells"):
        words = read(tmp_path / f"csv/{name}.csv")["condition"]
        assert set(words) == {"'=HYPERLINK(1)"}
    addresses = [
        FieldAddress(*words, "")
        for words in wells[["row", "column"]].itertuples(index=False)
    ]
    columns = ["row", "column", "condition"]
    read(tmp_path / "csv/wells.csv")[columns].to_csv(tmp_path / "map.csv", index=False)
    again = read_plate_map(str(tmp_path / "map.csv"), addresses)
    assert again["condition"].tolist() == wells["condition"].map(told).tolist()


def test_spots_of_a_volume_have_their_depth_in_planes_and_micrometres(
    volume: Any, tmp_path: Path
) -> None:
    export_run(volume.run, "csv", tmp_path / "csv")
    spots, back = volume.outcome.spots, read(tmp_path / "csv/spots.csv")
    assert len(back) > 50
    for name in ("z", "z_um"):
        np.testing.assert_array_equal(back[name], spots[name])
    np.testing.assert_allclose(back["z_um"], 0.3 * back["z"])
    assert (back["z"] % 1 != 0).mean() > 0.9
    assert set(back["plane"]) == {-1}
